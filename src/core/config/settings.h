// The one table of settings. PostgreSQL's registration (pg/settings.cpp) loops over it, and
// vezactl's reader of the same file (conf_parser.h) looks names up in it.
//
// Values are text, in the syntax the server accepts: booleans as in parse_bool(), integers with
// units as in parse_int() (utils/misc/guc.c), choices in any case.
#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/error.h"

namespace veza {

enum class SettingType { kString, kBool, kInteger, kEnum };
enum class SettingUnit { kNone, kSeconds, kKilobytes };

struct SettingSpec {
  const char* name;  // without "veza_backup."
  SettingType type;
  const char* default_value;
  const char* description;  // one sentence, for pg_settings
  // Integers only.
  int min = 0;
  int max = 0;
  SettingUnit unit = SettingUnit::kNone;
  // Enumerations only.
  std::span<const char* const> choices{};
  // Strings only: empty is a value although it is not the default.
  bool may_be_empty = false;
  // Never shown to ordinary users and never part of a message.
  bool secret = false;
  // Of no interest to vezactl, which a wrong value does not keep from restoring.
  bool server_only = false;
  // What the type alone does not say; null when there is nothing.
  Status (*check)(const SettingSpec& spec, std::string_view value) = nullptr;
};

inline constexpr std::string_view kSettingPrefix = "veza_backup.";

std::span<const SettingSpec> AllSettings();

// By name without prefix, in any case; null when there is none.
const SettingSpec* FindSetting(std::string_view name);

// Whether `value` may be given to the setting, on its own. kInvalidArgument with the reason and a
// hint; kNotFound or kPermissionDenied for a file that cannot be used. Reads secret files, so that
// a bad one is refused when it is set and not when it is needed. Neither message nor hint holds the
// value of a secret. Thread-safe; calls nothing of PostgreSQL.
Status ValidateSetting(const SettingSpec& spec, std::string_view value);

// Values of that type; callers have the spec for the message.
std::optional<bool> ParseBoolean(std::string_view text);
Result<int> ParseInteger(const SettingSpec& spec, std::string_view text);

// What somebody set, by name without prefix. Absent means the default. `source` is for messages,
// for example `file "/etc/x.conf" line 3`; it may be empty, as may `file`, its path.
struct SettingValue {
  std::string text;
  std::string source{};
  std::string file{};
};
using SettingValues = std::map<std::string, SettingValue, std::less<>>;

// Wipes the values of secrets; nothing else may be asked of them afterwards.
void WipeSecrets(SettingValues& values);

// "invalid value for "veza_backup.<name>": <reason>", the form of every refusal.
Error InvalidSetting(const SettingSpec& spec, std::string_view reason);

}  // namespace veza
