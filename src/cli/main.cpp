// vezactl: what must work while the server is dead.
#include <sys/prctl.h>

#include <exception>
#include <new>
#include <vector>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "cli/wal_prefetch.h"

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

// CLI11 begins its messages with a capital.
Error ArgumentError(std::string message) {
  if (message.size() > 1 && message[0] >= 'A' && message[0] <= 'Z') {
    message[0] = static_cast<char>(message[0] - 'A' + 'a');
  }
  return Error{ErrorCode::kInvalidArgument, std::move(message),
               "See \"vezactl --help\" and \"vezactl COMMAND --help\"."};
}

// The exit code for arguments that do not parse. When wal-get was meant, as far as can be told, it
// is that of wal-get: PostgreSQL would take any other for "there is no such file".
int ArgumentErrorCode(const std::vector<Subcommand>& subcommands, int argc, char** argv,
                      const Error& error) {
  for (int i = 1; i < argc; ++i) {
    for (const Subcommand& subcommand : subcommands) {
      if (subcommand.app->get_name() == argv[i]) {
        return subcommand.exit_code(error);
      }
    }
  }
  return kFailed;
}

int Run(int argc, char** argv) {
  GlobalOptions options;
  options.config_file = DefaultConfigFile();
  std::string output = "text";

  CLI::App app("Shows, checks and restores what veza_backup keeps of a PostgreSQL cluster.",
               "vezactl");
  app.set_version_flag("--version", "vezactl " VEZA_VERSION);
  app.add_option("--config", options.config_file,
                 "Configuration file; the environment variable VEZA_BACKUP_CONFIG sets the default")
      ->type_name("FILE")
      ->take_last()
      ->capture_default_str();
  app.add_option("--output", output, "text for people, json for programs")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  app.add_flag("--quiet", options.quiet, "No progress, warnings or confirmations");
  app.require_subcommand(0, 1);
  app.fallthrough();
  app.footer(
      "Exit codes: 0 done; 1 what was found is not as it should be; 2 the environment or the\n"
      "arguments are wrong. wal-get has its own, see vezactl wal-get --help.");
  const std::vector<Subcommand> subcommands = {AddInfo(app),   AddCheck(app),  AddRestore(app),
                                               AddVerify(app), AddWalGet(app), AddWalPrefetch(app),
                                               AddDrill(app),  AddKey(app)};
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help, --version
    app.exit(success);
    return FlushOutput() ? kDone : kFailed;
  } catch (const CLI::ParseError& parse_error) {
    const Error error = ArgumentError(parse_error.what());
    return Report(options, error, ArgumentErrorCode(subcommands, argc, argv, error));
  }
  options.json = output == "json";

  InstallSignalHandlers(*options.environment.cancellation, SecondSignal::kKills);
  for (const Subcommand& subcommand : subcommands) {
    if (!subcommand.app->parsed()) {
      continue;
    }
    const Result<int> exit_code = subcommand.run(options);
    if (!exit_code.has_value()) {
      return Report(options, exit_code.error(), subcommand.exit_code(exit_code.error()));
    }
    if (!FlushOutput()) {
      const Error error = MakeError(ErrorCode::kIo, "could not write to standard output");
      return Report(options, error, subcommand.exit_code(error));
    }
    return *exit_code;
  }
  return Report(options, ArgumentError("there is no command"), kFailed);
}

}  // namespace
}  // namespace veza::cli

int main(int argc, char** argv) {
  // Secrets are in the memory of this process: no core dump, and no debugger but root's. Programs
  // that it starts are as they always are.
  prctl(PR_SET_DUMPABLE, 0);
  // 126 and not 2: should it be wal-get that hits the bug, PostgreSQL must not go on.
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
