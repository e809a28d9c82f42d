// vezactl import-config: prints the veza_backup.conf that means what another tool's configuration
// means.
#include <unistd.h>

#include <utility>

#include "cli/command.h"
#include "cli/output.h"
#include "core/import/imported_conf.h"
#include "core/import/pgbackrest.h"
#include "core/import/pgbackrest_file.h"
#include "core/import/secret_directory.h"
#include "core/import/wal_g.h"
#include "core/import/wal_g_file.h"

namespace veza::cli {
namespace {

struct ImportArguments {
  bool wal_g = false;
  std::optional<std::string> file;
  std::optional<std::string> include_directory;
  std::optional<std::string> secrets_directory;
  std::string stanza;
  int repository = 0;
};

Variables EnvironmentVariables() {
  Variables variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string_view text = *variable;
    const std::size_t equals = text.find('=');
    if (equals != std::string_view::npos) {
      variables.emplace_back(text.substr(0, equals), text.substr(equals + 1));
    }
  }
  return variables;
}

Status WriteSecrets(const ImportedConf& conf, const ImportOptions& import) {
  RETURN_IF_ERROR(WriteSecretFiles(import.secrets_directory, conf.secrets()));
  if (!conf.secrets().empty() && geteuid() == 0) {
    PrintWarning("root owns the files with the secrets, so the server cannot read them",
                 "Give them to the server's group: chgrp postgres FILE, chmod 0640 FILE.");
  }
  return Ok();
}

Json ToJson(const ImportedConf& conf, const std::vector<std::string>& files,
            const std::string& text) {
  Json lines = Json::Array();
  for (const ImportedLine& line : conf.lines()) {
    Json settings = Json::Array();
    for (const ImportedSetting& setting : line.settings) {
      settings.push_back(
          {{"name", setting.name}, {"value", setting.value}, {"in_force", setting.in_force}});
    }
    lines.push_back({{"origin", line.origin},
                     {"settings", std::move(settings)},
                     {"remark", line.remark},
                     {"to_do", line.to_do}});
  }
  Json secrets = Json::Array();
  for (const ImportedSecret& secret : conf.secrets()) {
    secrets.push_back(secret.file);
  }
  return {{"files", files},
          {"lines", std::move(lines)},
          {"secret_files", std::move(secrets)},
          {"to_do", conf.CountToDo()},
          {"configuration", text}};
}

std::string Heading(const char* tool, const std::vector<std::string>& files) {
  std::string heading =
      fmt::format("# Made by \"vezactl import-config\" from {}'s configuration:\n", tool);
  for (const std::string& file : files) {
    heading += "#   " + Printable(file) + "\n";
  }
  return heading +
         fmt::format(
             "# It is for a new repository, beside {}'s, which is neither read nor changed.\n"
             "# \"TO DO\" marks what somebody has to decide.\n",
             tool);
}

Result<ImportOptions> OptionsFrom(const ImportArguments& arguments) {
  ImportOptions import{.stanza = arguments.stanza, .repository = arguments.repository};
  if (!arguments.secrets_directory) {
    return import;
  }
  if (!arguments.secrets_directory->starts_with('/')) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not an absolute path",
                     *arguments.secrets_directory)
        .WithHint("Give the full path of a directory for the files with secrets.");
  }
  import.secrets_directory = *arguments.secrets_directory;
  while (import.secrets_directory.ends_with('/')) {
    import.secrets_directory.pop_back();
  }
  import.writes_secrets = true;
  return import;
}

struct Imported {
  const char* tool;
  std::vector<std::string> files;  // or what else was read
  ImportedConf conf;
};

Result<Imported> ImportFromPgBackRest(const ImportArguments& arguments,
                                      const ImportOptions& options) {
  ASSIGN_OR_RETURN(PgBackRestFiles old, ReadPgBackRest(arguments.file, arguments.include_directory,
                                                       EnvironmentVariables()));
  ASSIGN_OR_RETURN(ImportedConf conf, ImportPgBackRest(old.settings, options));
  return Imported{"pgBackRest", std::move(old.files), std::move(conf)};
}

Result<OldSettings> ReadWalG(const ImportArguments& arguments) {
  return arguments.file ? ReadWalGFile(*arguments.file)
                        : Result<OldSettings>(WalGVariables(EnvironmentVariables()));
}

Result<Imported> ImportFromWalG(const ImportArguments& arguments, const ImportOptions& options) {
  ASSIGN_OR_RETURN(const OldSettings old, ReadWalG(arguments));
  if (old.all().empty()) {
    return MakeError(ErrorCode::kNotFound, "there are no settings of WAL-G")
        .WithHint("Name WAL-G's file: vezactl import-config --wal-g FILE.");
  }
  ASSIGN_OR_RETURN(ImportedConf conf, ImportWalG(old, options));
  return Imported{"WAL-G", {arguments.file.value_or("the environment")}, std::move(conf)};
}

Result<int> RunImport(const GlobalOptions& options, const ImportArguments& arguments) {
  ASSIGN_OR_RETURN(const ImportOptions import, OptionsFrom(arguments));
  ASSIGN_OR_RETURN(const Imported imported, arguments.wal_g
                                                ? ImportFromWalG(arguments, import)
                                                : ImportFromPgBackRest(arguments, import));
  const ImportedConf& conf = imported.conf;
  if (import.writes_secrets) {
    RETURN_IF_ERROR(WriteSecrets(conf, import));
  }
  const std::string text = conf.Format(Heading(imported.tool, imported.files));
  if (options.json) {
    PrintJson(ToJson(conf, imported.files, text));
  } else {
    PrintText(text);
  }
  const std::size_t to_do = conf.CountToDo();
  if (to_do == 0) {
    return kDone;
  }
  PrintWarning(fmt::format("{} of the old lines need a decision", to_do),
               "Look for \"TO DO\" in what was printed.");
  return kBadAnswer;
}

}  // namespace

Subcommand AddImportConfig(Command parent) {
  auto arguments = std::make_shared<ImportArguments>();
  Command command = parent.AddCommand(
      "import-config",
      "Print the veza_backup.conf that means what the configuration of pgBackRest or WAL-G means");
  command
      .Add("FILE", arguments->file,
           "Its configuration file. Default for pgBackRest: what PGBACKREST_CONFIG says, "
           "/etc/pgbackrest/pgbackrest.conf, or /etc/pgbackrest.conf; variables PGBACKREST_... of "
           "the environment count, too. Default for WAL-G: the environment")
      .TypeName("FILE");
  Option wal_g = command.AddFlag("--wal-g", arguments->wal_g,
                                 "Read settings of WAL-G. FILE has lines KEY=VALUE, or JSON");
  command
      .Add("--include-dir", arguments->include_directory,
           "Directory with more of pgBackRest's files, *.conf; default: conf.d beside FILE")
      .TypeName("DIR")
      .Excludes(wal_g);
  command.Add("--stanza", arguments->stanza, "The stanza, if pgBackRest's has several")
      .TypeName("NAME")
      .Excludes(wal_g);
  command
      .Add("--repo", arguments->repository,
           "The number of the repository, if pgBackRest has several; default: the first")
      .Range(1, 256)
      .TypeName("N")
      .Excludes(wal_g);
  command
      .Add(
          "--secrets-dir", arguments->secrets_directory,
          "Write each secret into a new file in this directory, with mode 0600; nobody else may be "
          "able to write there. Without it, secrets are not copied. They are never printed")
      .TypeName("DIR");
  command.SetFooter(
      "Exit codes: 0 all of it has a counterpart; 1 lines marked \"TO DO\" need a decision; 2 the\n"
      "old configuration cannot be read.");
  return {command,
          [arguments](const GlobalOptions& options) { return RunImport(options, *arguments); },
          DefaultExitCode};
}

}  // namespace veza::cli
