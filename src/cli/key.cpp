// vezactl key: `restore` puts back identity and key wrap that were deleted from the repository.
#include <fstream>
#include <iterator>

#include "cli/command.h"
#include "cli/output.h"
#include "core/repository/key_restore.h"

namespace veza::cli {
namespace {

struct KeyArguments {
  std::string from;
  std::string key_id;
  bool dry_run = false;
};

// Far more than the few hundred bytes of a key wrap.
constexpr std::size_t kLargestWrap = 64U << 10;

Result<std::string> ReadWrap(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(kLargestWrap + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad()) {
    return MakeError(ErrorCode::kIo, "could not read file \"{}\"", path)
        .WithHint("--from needs a copy of an object below \"key/\".");
  }
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kLargestWrap) {
    return MakeError(ErrorCode::kInvalidArgument, "file \"{}\" is too large for a key wrap", path)
        .WithHint("--from needs a copy of an object below \"key/\".");
  }
  return text;
}

Json ToJson(const KeyRestoreReport& report, bool dry_run) {
  Json document = {{"dry_run", dry_run},
                   {"written", report.written},
                   {"backups", report.backups},
                   {"unreadable_backups", report.unfitting},
                   {"unreadable_wal", report.unfitting_wal}};
  if (!report.key_id.empty()) {
    document["key_id"] = report.key_id;
  }
  if (!report.source.empty()) {
    document["source"] = report.source;
  }
  return document;
}

std::string ToText(const KeyRestoreReport& report, bool dry_run) {
  std::string text;
  if (!report.key_id.empty()) {
    text += fmt::format("key {}: fits {} backups\n", report.key_id, report.backups.size());
  }
  if (!report.source.empty()) {
    text += fmt::format("the key wrap comes from {}\n", report.source);
  }
  for (const std::string& name : report.written) {
    text += fmt::format("{} {}\n", dry_run ? "would write" : "wrote", name);
  }
  if (report.written.empty()) {
    text += "identity and key are in place; nothing has to be written\n";
  }
  return text;
}

Result<int> RunRestore(const GlobalOptions& options, const KeyArguments& arguments) {
  ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));
  ASSIGN_OR_RETURN(const std::shared_ptr<Store> store, Connect(options, config, {}));
  KeyRestoreRequest request;
  request.dry_run = arguments.dry_run;
  if (!arguments.from.empty()) {
    ASSIGN_OR_RETURN(request.wrap, ReadWrap(arguments.from));
  }
  if (!arguments.key_id.empty()) {
    request.key_id = arguments.key_id;
  }
  ASSIGN_OR_RETURN(const KeyRestoreReport report,
                   RestoreKey(store, OptionsOf(config), options.environment, request));
  if (options.json) {
    PrintJson(ToJson(report, arguments.dry_run));
  } else if (!options.quiet) {
    PrintText(ToText(report, arguments.dry_run));
  }
  if (!report.unfitting.empty()) {
    PrintWarning(fmt::format("the key does not fit {} backups, for example \"{}\"",
                             report.unfitting.size(), report.unfitting.back()),
                 "They are damaged, or need another key. See \"When identity or key were "
                 "deleted\" in docs/backups.md.");
  }
  if (!report.unfitting_wal.empty()) {
    PrintWarning(fmt::format("the key does not decrypt {} of the WAL files that were tested, for "
                             "example \"{}\"",
                             report.unfitting_wal.size(), report.unfitting_wal.front()),
                 "They are damaged, or need another key. \"vezactl verify\" tests all of them.");
  }
  return kDone;
}

}  // namespace

Subcommand AddKey(Command parent) {
  auto arguments = std::make_shared<KeyArguments>();
  Command command = parent.AddCommand("key", "Manage the key of the repository");
  command.RequireCommand();
  Command restore = command.AddCommand(
      "restore", "Put back an identity and a key that were deleted from the repository");
  restore
      .Add("--from", arguments->from,
           "A copy of an object below \"key/\"; default: the copies in the backups")
      .TypeName("FILE");
  restore
      .Add("--key-id", arguments->key_id,
           "ID of the key; needed if the repository holds data of several keys, or if an identity "
           "names a key without a copy")
      .TypeName("ID");
  restore.AddFlag("--dry-run", arguments->dry_run, "Only show what would be written");
  return {command,
          [arguments](const GlobalOptions& options) { return RunRestore(options, *arguments); },
          DefaultExitCode};
}

}  // namespace veza::cli
