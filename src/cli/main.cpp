// vezactl: the program for everything that must work while the server is down.
#include <sys/prctl.h>

#include <exception>
#include <new>
#include <vector>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "cli/wal_prefetch.h"
#include "core/restore/target_time.h"

namespace veza::cli {
namespace {

constexpr const char* kDefaultConfigFile = "/etc/veza_backup/veza_backup.conf";

std::string DefaultConfigFile() {
  const std::optional<std::string> from_environment = ProcessEnvironment()("VEZA_BACKUP_CONFIG");
  return from_environment.value_or("").empty() ? kDefaultConfigFile : *from_environment;
}

int Report(const GlobalOptions& options, const Error& error, int exit_code) {
  PrintError(error);
  if (options.json) {
    PrintJson({{"error", ErrorToJson(error)}});
    FlushOutput();
  }
  return error.code == ErrorCode::kCancelled && CaughtSignal() != 0 ? 128 + CaughtSignal()
                                                                    : exit_code;
}

// The exit code for arguments that cannot be parsed. If the command seems to be wal-get, it is
// wal-get's own: PostgreSQL would take any other for "there is no such file".
int ArgumentErrorCode(const std::vector<Subcommand>& subcommands, int argc, char** argv,
                      const Error& error) {
  for (int i = 1; i < argc; ++i) {
    for (const Subcommand& subcommand : subcommands) {
      if (subcommand.command.name() == argv[i]) {
        return subcommand.exit_code(error);
      }
    }
  }
  return kFailed;
}

// Returns the second in which the time lies.
Result<TimePoint> ParseAsOf(const std::string& text) {
  ASSIGN_OR_RETURN(const TimePoint time, ParseTargetTime(text));
  return std::chrono::floor<std::chrono::seconds>(time);
}

// A command that writes must not be believed to have changed the past, or the mirror.
Status RequireReader(const GlobalOptions& options, const Subcommand& subcommand) {
  if (subcommand.only_reads || (!options.as_of && !options.mirror)) {
    return Ok();
  }
  return MakeError(ErrorCode::kInvalidArgument, "\"vezactl {}\" cannot be used with {}",
                   subcommand.command.name(), options.as_of ? "--as-of" : "--repository mirror")
      .WithHint(options.as_of
                    ? "The past can be looked at by info, timeline and verify, and restored."
                    : "The mirror can be looked at by info, timeline and verify, and restored.");
}

Error NoCommand() {
  return MakeError(ErrorCode::kInvalidArgument, "no command was given").WithHint(kSeeHelp);
}

int Run(int argc, char** argv) {
  GlobalOptions options;
  options.config_file = DefaultConfigFile();
  std::string output = "text";
  std::string repository = "first";

  CommandLine command_line("vezactl", "vezactl " VEZA_VERSION,
                           "Shows, checks and restores the backups that veza_backup keeps of a "
                           "PostgreSQL cluster.");
  Command root = command_line.root();
  root.Add("--config", options.config_file,
           "Configuration file; the environment variable VEZA_BACKUP_CONFIG sets the default")
      .TypeName("FILE")
      .TakesLast()
      .ShowsDefault();
  root.Add("--output", output, "text for people, json for programs")
      .OneOf({"text", "json"})
      .ShowsDefault();
  root.AddFlag("--quiet", options.quiet,
               "Print no progress, retries or results of success; warnings and errors stay");
  root.AddEach(
          "--as-of",
          [&options](const std::string& text) -> Status {
            ASSIGN_OR_RETURN(options.as_of, ParseAsOf(text));
            return Ok();
          },
          "Read a bucket with versioning as it was then, for example \"2026-11-22 02:00:00+00\"; "
          "local time without a zone. For info, restore, timeline, verify")
      .TypeName("TIME");
  root.Add("--repository", repository,
           "Read the first repository, veza_backup.repository, or its mirror, veza_backup.mirror. "
           "For info, restore, timeline, verify, wal-get")
      .OneOf({"first", "mirror"})
      .ShowsDefault();
  root.SetFooter(
      "Exit codes: 0 success; 1 the command worked, and found something bad; 2 the environment\n"
      "or the arguments are wrong. wal-get has its own, see vezactl wal-get --help.");
  const std::vector<Subcommand> subcommands = {
      AddInfo(root),       AddCheck(root),       AddRestore(root), AddVerify(root),
      AddWalGet(root),     AddWalPrefetch(root), AddDrill(root),   AddKey(root),
      AddRepository(root), AddTimeline(root),    AddIndex(root),   AddReport(root),
      AddExpire(root),     AddKeep(root),        AddMirror(root),  AddImportConfig(root),
      AddCompletion(root), AddManual(root)};
  const Result<bool> has_work = command_line.Parse(argc, argv);
  if (!has_work) {
    return Report(options, has_work.error(),
                  ArgumentErrorCode(subcommands, argc, argv, has_work.error()));
  }
  if (!*has_work) {
    return FlushOutput() ? kDone : kFailed;
  }
  options.json = output == "json";
  options.mirror = repository == "mirror";

  InstallSignalHandlers(*options.environment.cancellation, SecondSignal::kKills);
  for (const Subcommand& subcommand : subcommands) {
    if (!subcommand.command.was_given()) {
      continue;
    }
    const Status reader = RequireReader(options, subcommand);
    const Result<int> exit_code = reader ? subcommand.run(options) : reader.error();
    if (!exit_code.has_value()) {
      return Report(options, exit_code.error(), subcommand.exit_code(exit_code.error()));
    }
    if (!FlushOutput()) {
      const Error error = MakeError(ErrorCode::kIo, "could not write to standard output");
      return Report(options, error, subcommand.exit_code(error));
    }
    return *exit_code;
  }
  return Report(options, NoCommand(), kFailed);
}

}  // namespace
}  // namespace veza::cli

int main(int argc, char** argv) {
  // This process holds secrets, so there must be no core dump, and no debugger but root's. The
  // programs that it starts are not affected.
  prctl(PR_SET_DUMPABLE, 0);
  // 126 and not 2: if wal-get meets the bug, PostgreSQL must stop and not end recovery.
  constexpr int kBug = 126;
  try {
    return veza::cli::Run(argc, argv);
  } catch (const std::bad_alloc&) {
    veza::cli::PrintError({veza::ErrorCode::kInternal, "out of memory"});
  } catch (const std::exception& exception) {
    veza::cli::PrintError(
        veza::MakeError(veza::ErrorCode::kInternal, "unexpected exception: {}", exception.what())
            .WithHint("This is a bug in veza_backup; please report it."));
  }
  return kBug;
}
