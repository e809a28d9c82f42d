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

// Hooks get no argument that says for which parameter they are called, so there is one of each for
// every place in the table.
constexpr std::size_t kMaxSettings = 64;

union SettingStorage {
  char* text;
  bool boolean;
  int integer;
};
std::array<SettingStorage, kMaxSettings> values;

// The real values of secrets. The parameters themselves always hold the empty string, because the
// server writes a parameter's value into its log when a reload changes it (guc-file.l, "parameter
// \"%s\" changed to \"%s\"") and shows it in pg_settings. Points to the `extra` of the parameter.
std::array<const char*, kMaxSettings> secrets;

std::uint64_t generation = 0;

// What stands in the configuration before the library is loaded is looked at when its settings are
// defined. Where a value is wrong then, the server warns, starts all the same, and has the default
// in force, which may be the contrary of what was meant: without a passphrase, no encryption. So
// nothing is done until each such setting has been set rightly. (A reload with a wrong value leaves
// the value from before, which was right.) The text is why a setting was refused; empty: it was
// not.
using Reason = std::array<char, 256>;
std::array<Reason, kMaxSettings> refused;
// A name with our prefix that is not ours; the server passes over it with a warning. Empty: none.
Reason unknown_name;
// No such name is in the command line, which no reload changes.
bool unknown_names_are_in_files = true;
// What is assigned from then on is so by a reload.
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

template <std::size_t Index>
bool CheckText(char** new_value, void** extra, GucSource) {
  const char* const text = *new_value != nullptr ? *new_value : "";
  ErrorReport report;
  if (!Validate(Index, text, &report)) {
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

// A name that is mistyped in a file makes the server, at a reload, put the default in force for
// what was meant, and assign the rest. It does not say so, so the files are read. That is done
// while the server reads them: what is in them later may not be in force yet. In doubt it stays as
// it is.
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
  // A parallel worker is given all settings at its start: that is no reload. Of one reload, which
  // sets PgReloadTime at its end, the files are read once.
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
  const int secrecy = spec.secret ? GUC_SUPERUSER_ONLY | GUC_NOT_IN_SAMPLE : 0;
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

// Whether it has the default because nothing else was accepted.
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
    // By the server's rules for numbers it may be wrong all the same.
    snprintf(report.message, sizeof report.message, "invalid value for \"%s\"", name);
  }
  DefineSetting(index, name);
  if (given != nullptr && IsDefault(name)) {
    strlcpy(refused[index].data(), report.message, refused[index].size());
  }
}

// Of the names with our prefix, those that are defined are ours.
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
    return MakeError(ErrorCode::kInvalidArgument, "{}, as it was when the server was started",
                     found->data())
        .WithHint(
            "The default is not taken in its place, as it may mean something else. Correct it and "
            "reload. If it was removed from the file instead, restart the server.");
  }
  if (unknown_name[0] == '\0') {
    return Ok();
  }
  return MakeError(ErrorCode::kInvalidArgument,
                   "there is no setting \"{}\", which the configuration has", unknown_name.data())
      .WithHint(unknown_names_are_in_files
                    ? "What was meant has its default, which may mean something else. Correct the "
                      "name and reload. If you only remove the line, restart the server."
                    : "What was meant has its default, which may mean something else. Correct the "
                      "command line of the server and restart it.");
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
  // PostgreSQL keeps the pointers to the names.
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
