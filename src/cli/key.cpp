// vezactl key: the passphrases of a repository (`list`, `add`, `remove`), its wrapped key on paper
// (`export`, `import`), and putting back what was deleted (`restore`, and `import`, too).
#include <fstream>
#include <iostream>
#include <iterator>

#include "cli/command.h"
#include "cli/output.h"
#include "core/codec/key_sheet.h"
#include "core/config/setting_checks.h"
#include "core/repository/connect.h"
#include "core/repository/key_restore.h"
#include "core/repository/key_wraps.h"
#include "core/secret_file.h"

namespace veza::cli {
namespace {

struct KeyArguments {
  std::string from;
  std::string key_id;
  bool dry_run = false;
  bool even_if_removed = false;
  std::string passphrase_file;
  std::string name;
  std::string wrap;  // id or name
  std::string sheet;
};

// Far more than the few hundred bytes of a key wrap.
constexpr std::size_t kLargestWrap = 64U << 10;

Result<std::string> ReadAll(std::istream& input, const std::string& what, const char* hint) {
  std::string text(kLargestWrap + 1, '\0');
  input.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (input.bad()) {
    return MakeError(ErrorCode::kIo, "could not read {}", what).WithHint(hint);
  }
  text.resize(static_cast<std::size_t>(input.gcount()));
  if (text.size() > kLargestWrap) {
    return MakeError(ErrorCode::kInvalidArgument, "{} is too large for a key wrap", what)
        .WithHint(hint);
  }
  return text;
}

Result<std::string> ReadFile(const std::string& path, const char* hint) {
  std::ifstream file(path, std::ios::binary);
  if (!file.is_open()) {
    return MakeError(ErrorCode::kIo, "could not read file \"{}\"", path).WithHint(hint);
  }
  return ReadAll(file, fmt::format("file \"{}\"", path), hint);
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
  if (report.given_fits) {
    document["given_fits"] = *report.given_fits;
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
  if (report.given_fits.value_or(false)) {
    text += "with this passphrase, the copy that you have given opens this key\n";
  }
  return text;
}

// `wrap`: from outside the repository.
Result<int> Restore(const GlobalOptions& options, const Config& config,
                    const KeyArguments& arguments, std::optional<std::string> wrap) {
  ASSIGN_OR_RETURN(const std::shared_ptr<Store> store, Connect(options, config, {}));
  KeyRestoreRequest request;
  request.dry_run = arguments.dry_run;
  request.even_if_removed = arguments.even_if_removed;
  request.wrap = std::move(wrap);
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
  if (!report.given_fits.value_or(true)) {
    PrintWarning(
        "with this passphrase, the copy that you have given does not open the key of the "
        "repository",
        "It was made of another key, or for another passphrase: test it with a "
        "configuration that has that one.");
    return kBadAnswer;
  }
  return kDone;
}

Result<int> RunRestore(const GlobalOptions& options, const KeyArguments& arguments) {
  ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));
  std::optional<std::string> wrap;
  if (!arguments.from.empty()) {
    ASSIGN_OR_RETURN(wrap,
                     ReadFile(arguments.from, "--from needs a copy of an object below \"key/\"."));
  }
  return Restore(options, config, arguments, std::move(wrap));
}

Result<int> RunImport(const GlobalOptions& options, const KeyArguments& arguments) {
  constexpr const char* kHint =
      "The file has to hold the lines that \"vezactl key export\" prints.";
  ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));
  ASSIGN_OR_RETURN(const std::string sheet, arguments.sheet == "-"
                                                ? ReadAll(std::cin, "standard input", kHint)
                                                : ReadFile(arguments.sheet, kHint));
  ASSIGN_OR_RETURN(const Bytes packed, ReadKeySheet(sheet));
  ASSIGN_OR_RETURN(std::string wrap,
                   UnpackWrap(packed, HostName(), options.environment.clock->Now()));
  return Restore(options, config, arguments, std::move(wrap));
}

const char* StateInWords(KeyWrapInfo::State state) {
  switch (state) {
    case KeyWrapInfo::State::kInUse:
      return "in use";
    case KeyWrapInfo::State::kSigned:
      return "good";
    case KeyWrapInfo::State::kUnsigned:
      return "not proven";
    case KeyWrapInfo::State::kUnusable:
      return "unusable";
  }
  return "";
}

Json ToJson(const KeyWrapInfo& wrap) {
  Json document = {{"id", wrap.id},
                   {"state", StateInWords(wrap.state)},
                   {"stored", FormatUtc(wrap.stored)},
                   {"backups", wrap.backups}};
  if (!wrap.name.empty()) {
    document["name"] = wrap.name;
  }
  if (!wrap.node.empty()) {
    document["node"] = wrap.node;
  }
  if (!wrap.problem.empty()) {
    document["problem"] = wrap.problem;
  }
  if (!wrap.copy_of.empty()) {
    document["copy_of"] = wrap.copy_of;
  }
  return document;
}

Result<int> RunList(const GlobalOptions& options) {
  ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenRepository(options, config));
  ASSIGN_OR_RETURN(const std::vector<KeyWrapInfo> wraps, ListKeyWraps(*repository));
  const std::string& key_id = repository->identities().front().key_id;
  Json list = Json::Array();
  Table table({{"id"}, {"name"}, {"state"}, {"stored"}, {"node"}, {"backups", true}});
  bool is_bad = false;
  for (const KeyWrapInfo& wrap : wraps) {
    list.push_back(ToJson(wrap));
    is_bad = is_bad || IsDamagedWrap(wrap);
    std::string state = StateInWords(wrap.state);
    if (!wrap.problem.empty()) {
      state += ": " + wrap.problem;
    }
    if (!wrap.copy_of.empty()) {
      state += ", the same as " + wrap.copy_of;
    }
    table.AddRow({Printable(wrap.id), wrap.name.empty() ? "-" : Printable(wrap.name),
                  Printable(std::move(state)), FormatUtc(wrap.stored),
                  wrap.node.empty() ? "-" : Printable(wrap.node),
                  std::to_string(wrap.backups.size())});
  }
  if (options.json) {
    PrintJson({{"key_id", key_id}, {"passphrases", std::move(list)}});
  } else {
    PrintText(fmt::format("key {}\n{}", key_id, table.Format()));
  }
  return is_bad ? kBadAnswer : kDone;
}

// The same rules as for the passphrase in the configuration.
Result<SecretString> ReadPassphrase(const std::string& path) {
  ASSIGN_OR_RETURN(SecretString passphrase, ReadSecretFile(path));
  Status checked = CheckPassphrase(*FindSetting("cipher_passphrase"), passphrase.text());
  if (!checked) {
    return std::move(checked.error()).WithContext(fmt::format("file \"{}\"", path));
  }
  return passphrase;
}

Result<int> RunAdd(const GlobalOptions& options, const KeyArguments& arguments) {
  ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));
  ASSIGN_OR_RETURN(const SecretString passphrase, ReadPassphrase(arguments.passphrase_file));
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenRepository(options, config));
  ASSIGN_OR_RETURN(const AddedPassphrase added,
                   AddPassphrase(*repository, passphrase.text(), arguments.name));
  if (options.json) {
    PrintJson({{"id", added.wrap_id}, {"added", added.is_new}, {"name", added.name}});
  } else if (!options.quiet && !added.is_new) {
    PrintText(fmt::format(
        "the passphrase opens the repository already, nothing was changed: {}{}\n", added.wrap_id,
        added.name.empty() ? "" : fmt::format(", named \"{}\"", Printable(added.name))));
  } else if (!options.quiet) {
    PrintText(fmt::format(
        "added passphrase {}\nIt opens everything that is stored and everything that will be. Only "
        "backups from now on hold a copy of its wrap: take one, or keep what \"vezactl key export "
        "{}\" prints, before you rely on it.\n",
        added.wrap_id, added.wrap_id));
  }
  if (!arguments.name.empty() && added.name != arguments.name) {
    PrintWarning(fmt::format("the passphrase does not get the name \"{}\"", arguments.name),
                 "A wrap keeps its name. To change it, remove the passphrase and add it again.");
  }
  return kDone;
}

std::string CopiesInWords(const KeyWrapInfo& removed) {
  return removed.backups.empty()
             ? "No backup holds a copy of its wrap. Old versions of a bucket and exported sheets "
               "may."
             : fmt::format(
                   "Copies of its wrap are in {} backups (the last one listed is \"{}\"), in old "
                   "versions of a bucket and in exported sheets: the passphrase still opens them, "
                   "and with them everything.",
                   removed.backups.size(), removed.backups.back());
}

// Nothing is removed from a mirror by copying.
std::string MirrorInWords(const GlobalOptions& options) {
  const Result<Config> mirror = LoadMirrorConfig(options.config_file);
  return !mirror && mirror.error().code == ErrorCode::kFailedPrecondition
             ? ""
             : "The mirror keeps its copy of the wrap, and the passphrase goes on opening the "
               "mirror. Remove it there, too: \"vezactl key remove\" with a configuration whose "
               "repository is the mirror's place.\n";
}

Result<int> RunRemove(const GlobalOptions& options, const KeyArguments& arguments) {
  ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenRepository(options, config));
  ASSIGN_OR_RETURN(const RemovedPassphrase removed, RemovePassphrase(*repository, arguments.wrap));
  WarnOfLock(removed.not_released);
  if (options.json) {
    PrintJson({{"removed", removed.wrap.object.name},
               {"objects", removed.objects},
               {"still_opens", !removed.still_opens.empty()},
               {"backups", removed.wrap.backups}});
    return kDone;
  }
  std::string text;
  for (const std::string& name : removed.objects) {
    text += fmt::format("removed {}\n", Printable(name));
  }
  if (!removed.still_opens.empty()) {
    text += fmt::format("Its passphrase still opens the repository, by {}.\n",
                        Printable(removed.still_opens));
  } else if (removed.wrap.packed.empty()) {
    text += "It could not be read as a wrap of the key, so nothing tells whose it was.\n";
  } else {
    text += fmt::format(
        "{} The data key is the same as before: if the passphrase has leaked, make a new "
        "repository.\nA node whose configuration has that passphrase archives nothing until it has "
        "another one.\n",
        CopiesInWords(removed.wrap));
    text += MirrorInWords(options);
  }
  if (!options.quiet) {
    PrintText(text);
  }
  return kDone;
}

Result<int> RunExport(const GlobalOptions& options, const KeyArguments& arguments) {
  ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenRepository(options, config));
  if (repository->key_wraps().empty()) {
    return MakeError(ErrorCode::kFailedPrecondition, "repository \"{}\" is not encrypted",
                     repository->store().location())
        .WithHint("There is no key to export.");
  }
  NamedText wrap = repository->key_wraps().front();
  if (!arguments.wrap.empty()) {
    ASSIGN_OR_RETURN(const KeyWrapInfo found, FindKeyWrap(*repository, arguments.wrap));
    if (found.state != KeyWrapInfo::State::kInUse && found.state != KeyWrapInfo::State::kSigned) {
      return MakeError(ErrorCode::kFailedPrecondition,
                       "nothing proves that object \"{}\" is a true wrap of the key",
                       found.object.name)
          .WithHint("Export it with a configuration that has its passphrase.");
    }
    wrap = found.object;
  }
  ASSIGN_OR_RETURN(const Bytes packed, PackWrap(wrap.text));
  const std::string sheet = PrintKeySheet(packed);
  if (options.json) {
    PrintJson({{"object", wrap.name}, {"sheet", sheet}});
    return kDone;
  }
  PrintText(fmt::format(
      "# veza_backup: the wrapped key of repository \"{}\"\n"
      "# Object \"{}\", {}\n"
      "# It opens the backups together with its passphrase, which is not on this sheet. Keep that\n"
      "# elsewhere. To put the key back: vezactl key import FILE, with these lines in the file.\n"
      "{}",
      repository->store().location(), wrap.name, FormatUtc(options.environment.clock->Now()),
      sheet));
  return kDone;
}

}  // namespace

Subcommand AddKey(Command parent) {
  auto arguments = std::make_shared<KeyArguments>();
  Command command =
      parent.AddCommand("key", "Manage the key of the repository and its passphrases");
  command.RequireCommand();
  constexpr const char* kKeyId =
      "ID of the key; needed if the repository holds data of several keys, or if an identity names "
      "a key without a copy";
  const Command list =
      command.AddCommand("list", "List the passphrases, by the ids of their wraps");
  Command add = command.AddCommand(
      "add", "Let another passphrase open the repository as well; no data is touched");
  add.Add("--passphrase-file", arguments->passphrase_file,
          "File with the new passphrase as its only line, mode 0600")
      .TypeName("FILE")
      .Required();
  add.Add("--name", arguments->name, "A name for it, for \"key list\"").TypeName("NAME");
  Command remove =
      command.AddCommand("remove", "Remove a passphrase, but never the one in the configuration");
  remove.Add("passphrase", arguments->wrap, "Its id or name in \"key list\"").Required();
  Command print =
      command.AddCommand("export", "Print the wrapped key as lines that can be typed in again");
  print.Add("passphrase", arguments->wrap,
            "Id or name in \"key list\"; default: the passphrase in the configuration");
  Command import = command.AddCommand(
      "import",
      "Put back the key, and the identity, from the lines that \"key export\" has printed");
  import.Add("file", arguments->sheet, "The file with the lines; - for standard input")
      .TypeName("FILE")
      .Required();
  import.Add("--key-id", arguments->key_id, kKeyId).TypeName("ID");
  constexpr const char* kEvenIfRemoved =
      "Put back the wrap of this passphrase beside those of others, although it may have been "
      "removed on purpose";
  import.AddFlag("--even-if-removed", arguments->even_if_removed, kEvenIfRemoved);
  import.AddFlag("--dry-run", arguments->dry_run,
                 "Only test the lines, and show what would be written");
  Command restore = command.AddCommand(
      "restore", "Put back an identity and a key that were deleted from the repository");
  restore
      .Add("--from", arguments->from,
           "A copy of an object below \"key/\"; default: the copies in the backups")
      .TypeName("FILE");
  restore.Add("--key-id", arguments->key_id, kKeyId).TypeName("ID");
  restore.AddFlag("--even-if-removed", arguments->even_if_removed, kEvenIfRemoved);
  restore.AddFlag("--dry-run", arguments->dry_run, "Only show what would be written");
  return {command,
          [=](const GlobalOptions& options) {
            return list.was_given()     ? RunList(options)
                   : add.was_given()    ? RunAdd(options, *arguments)
                   : remove.was_given() ? RunRemove(options, *arguments)
                   : print.was_given()  ? RunExport(options, *arguments)
                   : import.was_given() ? RunImport(options, *arguments)
                                        : RunRestore(options, *arguments);
          },
          DefaultExitCode};
}

}  // namespace veza::cli
