#include "pg/settings.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string>
#include <utility>

#include "core/config/conf_parser.h"
#include "core/config/config.h"
#include "core/config/settings.h"
//
#include "pg/boundary.h"
#include "pg/compat.h"

extern "C" {
#include <access/parallel.h>
#include <utils/timestamp.h>
}

namespace veza::pg {

namespace {

// A GUC hook is not told which parameter it is called for. So each place in the table has hooks of
// its own, made from templates.
constexpr std::size_t kMaxSettings = 96;

union SettingStorage {
  char* text;
  bool boolean;
  int integer;
};
std::array<SettingStorage, kMaxSettings> values;

// The real values of secrets. The parameters themselves always hold the empty string, because the
// server shows a parameter's value in pg_settings and, when a reload changes it, writes it into its
// log (guc-file.l, "parameter \"%s\" changed to \"%s\""). Each pointer points to the `extra` of its
// parameter.
std::array<const char*, kMaxSettings> secrets;

std::uint64_t generation = 0;

// Values in the configuration are checked when the library defines its settings. When one is wrong,
// the server only warns and uses the default, which may mean the contrary: without a passphrase
// there is no encryption. So this library refuses to work until every such setting has been given a
// valid value. (A reload with a wrong value is harmless: the server keeps the previous value, which
// was valid.)
//
// The text says why the setting was refused. It is empty when the setting was not refused.
using Reason = std::array<char, 256>;
std::array<Reason, kMaxSettings> refused;
// A name with our prefix that is not one of our settings. The server ignores it with a warning.
// Empty when there is none.
Reason unknown_name;
// False when such a name is on the server's command line, which no reload changes.
bool unknown_names_are_in_files = true;
// True once DefineSettings() has ended. An assignment after that comes from a reload.
bool are_defined = false;
// PgReloadTime when the files were last read for unknown names.
TimestampTz looked_at_reload = -1;

bool FailCheck(const ErrorReport& report) {
  GUC_check_errcode(report.sqlstate);
  GUC_check_errmsg("%s", report.message);
  if (report.hint[0] != '\0') {
    GUC_check_errhint("%s", report.hint);
  }
  return false;
}

bool Validate(std::size_t index, const char* value, ErrorReport* report) {
  return !Failed(CatchExceptions([&] { return ValidateSetting(AllSettings()[index], value); }),
                 report);
}

// Whether a file with keys for S3 is away or cannot be used. Another program may write it after the
// server has started. Then the value is kept, and whoever needs the keys looks at the file again.
bool MayPass(const ErrorReport& report) {
  return report.sqlstate == ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
}

template <std::size_t Index>
bool CheckText(char** new_value, void** extra, GucSource) {
  const char* const text = *new_value != nullptr ? *new_value : "";
  ErrorReport report;
  if (!Validate(Index, text, &report) && (are_defined || !MayPass(report))) {
    return FailCheck(report);
  }
  if (AllSettings()[Index].secret && text[0] != '\0') {
    *extra = GucStrdup(text);
    char* const empty = GucStrdup("");
    if (*extra == nullptr || empty == nullptr) {
      return false;
    }
    explicit_bzero(*new_value, strlen(*new_value));
    GucFree(*new_value);
    *new_value = empty;
  }
  return true;
}

// Reads the configuration files for unknown names. When somebody mistypes a name that was right
// before, a reload resets the setting that was meant to its default and assigns the other settings.
// The server does not report this to us. The files have to be read during the reload: what they
// contain later may not be in force yet. When a file cannot be read, the previous finding stays.
void LookForUnknownNamesInFiles() {
  bool is_certain = true;
  std::string found;
  for (const char* const path : {static_cast<const char*>(ConfigFileName), PG_AUTOCONF_FILENAME}) {
    const Status read = CatchExceptions([&]() -> Status {
      ASSIGN_OR_RETURN(std::string name, UnknownNameIn(path));
      if (found.empty()) {
        found = std::move(name);
      }
      return Ok();
    });
    is_certain = is_certain && (read || read.error().code == ErrorCode::kNotFound);
  }
  if (!found.empty() || is_certain) {
    strlcpy(unknown_name.data(), found.c_str(), unknown_name.size());
  }
}

void Assigned(std::size_t index) {
  ++generation;
  refused[index][0] = '\0';
  // A parallel worker receives all settings when it starts, which is not a reload. A reload sets
  // PgReloadTime at its end, so the files are read once per reload.
  if (are_defined && unknown_names_are_in_files && !InitializingParallelWorker &&
      looked_at_reload != PgReloadTime) {
    looked_at_reload = PgReloadTime;
    LookForUnknownNamesInFiles();
  }
}

template <std::size_t Index>
void AssignText(const char*, void* extra) {
  secrets[Index] = static_cast<const char*>(extra);
  Assigned(Index);
}

template <std::size_t Index>
void AssignBoolean(bool, void*) {
  Assigned(Index);
}

template <std::size_t Index>
void AssignInteger(int, void*) {
  Assigned(Index);
}

template <std::size_t Index>
const char* ShowSecret() {
  return secrets[Index] != nullptr ? "********" : "";
}

struct Hooks {
  GucStringCheckHook check;
  GucStringAssignHook assign_text;
  GucBoolAssignHook assign_boolean;
  GucIntAssignHook assign_integer;
  GucShowHook show_secret;
};

template <std::size_t... Indexes>
constexpr std::array<Hooks, sizeof...(Indexes)> MakeHooks(std::index_sequence<Indexes...>) {
  return {Hooks{CheckText<Indexes>, AssignText<Indexes>, AssignBoolean<Indexes>,
                AssignInteger<Indexes>, ShowSecret<Indexes>}...};
}
constexpr auto kHooks = MakeHooks(std::make_index_sequence<kMaxSettings>());

int UnitOf(SettingUnit unit) {
  switch (unit) {
    case SettingUnit::kNone:
      return 0;
    case SettingUnit::kSeconds:
      return GUC_UNIT_S;
    case SettingUnit::kKilobytes:
      return GUC_UNIT_KB;
  }
  return 0;
}

void DefineSetting(std::size_t index, const char* name) {
  const SettingSpec& spec = AllSettings()[index];
  const int unit = UnitOf(spec.unit);
  const int secrecy = spec.secret           ? GUC_SUPERUSER_ONLY | GUC_NOT_IN_SAMPLE
                      : spec.superuser_only ? GUC_SUPERUSER_ONLY
                                            : 0;
  switch (spec.type) {
    case SettingType::kBool:
      DefineCustomBoolVariable(name, spec.description, nullptr, &values[index].boolean,
                               ParseBoolean(spec.default_value).value_or(false), PGC_SIGHUP, 0,
                               nullptr, kHooks[index].assign_boolean, nullptr);
      return;
    case SettingType::kInteger:
      DefineCustomIntVariable(name, spec.description, nullptr, &values[index].integer,
                              static_cast<int>(std::strtol(spec.default_value, nullptr, 10)),
                              spec.min, spec.max, PGC_SIGHUP, unit, nullptr,
                              kHooks[index].assign_integer, nullptr);
      return;
    case SettingType::kString:
    case SettingType::kEnum:
      DefineCustomStringVariable(name, spec.description, nullptr, &values[index].text,
                                 spec.default_value, PGC_SIGHUP, secrecy, kHooks[index].check,
                                 kHooks[index].assign_text,
                                 spec.secret ? kHooks[index].show_secret : nullptr);
      return;
  }
}

// Whether the setting has its default because no other value was accepted.
bool IsDefault(const char* name) {
  bool is_default = false;
  int count = 0;
  config_generic** const settings = GucVariables(&count);
  for (int i = 0; i < count; ++i) {
    if (strcmp(settings[i]->name, name) == 0) {
      is_default = settings[i]->source == PGC_S_DEFAULT;
    }
  }
  FreeGucVariables(settings);
  return is_default;
}

void DefineSettingAndLook(std::size_t index, const char* name) {
  const char* const given = GetConfigOption(name, true, false);
  ErrorReport report{};
  if (given != nullptr && Validate(index, given, &report)) {
    // The server's own rules for numbers may still refuse it.
    snprintf(report.message, sizeof report.message, "invalid value for \"%s\"", name);
  }
  DefineSetting(index, name);
  if (given != nullptr && IsDefault(name)) {
    strlcpy(refused[index].data(), report.message, refused[index].size());
  }
}

// Remembers a name with our prefix that no setting of ours has defined.
void LookForUnknownNames() {
  int count = 0;
  config_generic** const settings = GucVariables(&count);
  for (int i = 0; i < count; ++i) {
    if (pg_strncasecmp(settings[i]->name, kSettingPrefix.data(), kSettingPrefix.size()) == 0 &&
        (settings[i]->flags & GUC_CUSTOM_PLACEHOLDER) != 0) {
      strlcpy(unknown_name.data(), settings[i]->name, unknown_name.size());
      unknown_names_are_in_files = unknown_names_are_in_files && settings[i]->source == PGC_S_FILE;
    }
  }
  FreeGucVariables(settings);
}

Status RequireNoneRefused() {
  const auto found =
      std::ranges::find_if(refused, [](const Reason& why) { return why[0] != '\0'; });
  if (found != refused.end()) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "a setting was invalid when the server was started: {}", found->data())
        .WithHint(
            "The default is not used instead, because it may mean something else. Correct the "
            "value and reload the configuration. If you remove the setting from the file, restart "
            "the server.");
  }
  if (unknown_name[0] == '\0') {
    return Ok();
  }
  return MakeError(ErrorCode::kInvalidArgument, "unknown setting \"{}\" in the configuration",
                   unknown_name.data())
      .WithHint(unknown_names_are_in_files
                    ? "The setting that was meant has its default, which may mean something else. "
                      "Correct the name and reload the configuration. If you only remove the line, "
                      "restart the server."
                    : "The setting that was meant has its default, which may mean something else. "
                      "Correct the command line of the server and restart it.");
}

std::string TextOf(std::size_t index) {
  const SettingSpec& spec = AllSettings()[index];
  switch (spec.type) {
    case SettingType::kBool:
      return values[index].boolean ? "on" : "off";
    case SettingType::kInteger:
      return std::to_string(values[index].integer);
    case SettingType::kString:
    case SettingType::kEnum:
      break;
  }
  const char* const text = spec.secret ? secrets[index] : values[index].text;
  return text != nullptr ? text : "";
}

}  // namespace

void DefineSettings() {
  static_assert(kMaxSettings == kHooks.size());
  // PostgreSQL keeps pointers to the names, so they are never freed.
  for (std::size_t index = 0; index < AllSettings().size(); ++index) {
    char* const name = MemoryContextStrdup(TopMemoryContext,
                                           psprintf("veza_backup.%s", AllSettings()[index].name));
    DefineSettingAndLook(index, name);
  }
  LookForUnknownNames();
  are_defined = true;
  MarkGUCPrefixReserved("veza_backup");
}

Result<Config> CurrentConfig() {
  std::optional<Config> config;
  RETURN_IF_ERROR(CatchExceptions([&]() -> Status {
    RETURN_IF_ERROR(RequireNoneRefused());
    SettingValues settings;
    for (std::size_t index = 0; index < AllSettings().size(); ++index) {
      settings[AllSettings()[index].name] = SettingValue{TextOf(index)};
    }
    Result<Config> built = BuildConfig(settings, ProcessEnvironment());
    WipeSecrets(settings);
    ASSIGN_OR_RETURN(config, std::move(built));
    return Ok();
  }));
  return std::move(*config);
}

void ReadSecretSources(SecretSources* sources) {
  int count = 0;
  config_generic** const settings = GucVariables(&count);
  *sources = {};
  for (std::size_t index = 0; index < AllSettings().size(); ++index) {
    if (secrets[index] == nullptr || sources->count == kMostSecrets) {
      continue;
    }
    SecretSource* const source = &sources->of[sources->count++];
    strlcpy(source->setting, AllSettings()[index].name, sizeof source->setting);
    for (int i = 0; i < count; ++i) {
      const char* const name = settings[i]->name;
      if (strncmp(name, kSettingPrefix.data(), kSettingPrefix.size()) == 0 &&
          strcmp(name + kSettingPrefix.size(), source->setting) == 0 &&
          settings[i]->sourcefile != nullptr) {
        strlcpy(source->file, settings[i]->sourcefile, sizeof source->file);
      }
    }
  }
  FreeGucVariables(settings);
}

std::uint64_t SettingsGeneration() {
  return generation;
}

bool RepositoryIsSet() {
  for (std::size_t index = 0; index < AllSettings().size(); ++index) {
    if (strcmp(AllSettings()[index].name, "repository") == 0) {
      return refused[index][0] != '\0' ||
             (values[index].text != nullptr && values[index].text[0] != '\0');
    }
  }
  return false;
}

}  // namespace veza::pg
