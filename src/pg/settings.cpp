#include "pg/settings.h"

#include <array>
#include <cstdlib>
#include <string>
#include <utility>

#include "core/config/config.h"
#include "core/config/settings.h"
//
#include "pg/boundary.h"
#include "pg/compat.h"

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

template <std::size_t Index>
void AssignText(const char*, void* extra) {
  secrets[Index] = static_cast<const char*>(extra);
  ++generation;
}

void AssignBoolean(bool, void*) {
  ++generation;
}
void AssignInteger(int, void*) {
  ++generation;
}

template <std::size_t Index>
const char* ShowSecret() {
  return secrets[Index] != nullptr ? "********" : "";
}

struct TextHooks {
  GucStringCheckHook check;
  GucStringAssignHook assign;
  GucShowHook show_secret;
};

template <std::size_t... Indexes>
constexpr std::array<TextHooks, sizeof...(Indexes)> MakeTextHooks(std::index_sequence<Indexes...>) {
  return {TextHooks{CheckText<Indexes>, AssignText<Indexes>, ShowSecret<Indexes>}...};
}
constexpr auto kTextHooks = MakeTextHooks(std::make_index_sequence<kMaxSettings>());

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
                               nullptr, AssignBoolean, nullptr);
      return;
    case SettingType::kInteger:
      DefineCustomIntVariable(name, spec.description, nullptr, &values[index].integer,
                              static_cast<int>(std::strtol(spec.default_value, nullptr, 10)),
                              spec.min, spec.max, PGC_SIGHUP, unit, nullptr, AssignInteger,
                              nullptr);
      return;
    case SettingType::kString:
    case SettingType::kEnum:
      DefineCustomStringVariable(name, spec.description, nullptr, &values[index].text,
                                 spec.default_value, PGC_SIGHUP, secrecy, kTextHooks[index].check,
                                 kTextHooks[index].assign,
                                 spec.secret ? kTextHooks[index].show_secret : nullptr);
      return;
  }
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
  static_assert(kMaxSettings == kTextHooks.size());
  // PostgreSQL keeps the pointers to the names.
  for (std::size_t index = 0; index < AllSettings().size(); ++index) {
    char* const name = MemoryContextStrdup(TopMemoryContext,
                                           psprintf("veza_backup.%s", AllSettings()[index].name));
    DefineSetting(index, name);
  }
  MarkGUCPrefixReserved("veza_backup");
}

Result<Config> CurrentConfig() {
  std::optional<Config> config;
  RETURN_IF_ERROR(CatchExceptions([&]() -> Status {
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
      return values[index].text != nullptr && values[index].text[0] != '\0';
    }
  }
  return false;
}

}  // namespace veza::pg
