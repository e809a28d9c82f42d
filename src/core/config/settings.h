// The one table of settings. pg/settings.cpp registers every row with PostgreSQL. vezactl's reader
// of configuration files (conf_parser.h) looks names up in it.
//
// Values are text in the syntax that the server accepts: booleans as in parse_bool(), integers with
// units as in parse_int() (utils/misc/guc.c), choices in upper or lower case.
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
  const char* description;  // one sentence, shown by pg_settings
  // For integers only.
  int min = 0;
  int max = 0;
  SettingUnit unit = SettingUnit::kNone;
  // For enumerations only.
  std::span<const char* const> choices{};
  // For strings only: the empty string is allowed although the default is another.
  bool may_be_empty = false;
  // The value is never shown to ordinary users and never appears in a message.
  bool secret = false;
  // The value is not secret, but only superusers and members of pg_read_all_settings see it.
  bool superuser_only = false;
  // Only the server uses it. vezactl ignores it, so that a wrong value cannot prevent a restore.
  bool server_only = false;
  // Checks what the type does not express; null when there is nothing to check.
  Status (*check)(const SettingSpec& spec, std::string_view value) = nullptr;
};

inline constexpr std::string_view kSettingPrefix = "veza_backup.";

std::span<const SettingSpec> AllSettings();

// Finds a setting by its name without prefix, in upper or lower case. Null when there is none.
const SettingSpec* FindSetting(std::string_view name);

// Checks whether `value` is valid for the setting, regardless of other settings. kInvalidArgument
// with the reason and a hint; kNotFound or kPermissionDenied for a file that cannot be used, or
// kCredentials when it holds credentials of the store. Reads
// secret files, so that a bad one is refused when it is set and not when it is needed. Neither
// message nor hint contains the value of a secret. Thread-safe; calls no function of PostgreSQL.
Status ValidateSetting(const SettingSpec& spec, std::string_view value);

// Convert a value. ParseBoolean() returns nothing when it is not a Boolean; the caller makes the
// message.
std::optional<bool> ParseBoolean(std::string_view text);
Result<int> ParseInteger(const SettingSpec& spec, std::string_view text);

// The values that were set, by name without prefix. A setting that is absent has its default.
// `source` says in messages where the value was set, for example `file "/etc/x.conf" line 3`.
// `file` is the path of that file. Both may be empty.
// `writers` is of the file as it was read: by its path, another one could be found afterwards.
struct FileWriters {
  std::uint32_t owner = 0;  // an account; 0 is root
  bool others = false;      // its group, or all accounts
};
struct SettingValue {
  std::string text;
  std::string source{};
  std::string file{};
  FileWriters writers{};
};
using SettingValues = std::map<std::string, SettingValue, std::less<>>;

// Wipes the values of secrets. They must not be used afterwards.
void WipeSecrets(SettingValues& values);

// The form of every refusal of a value: invalid value for "veza_backup.<name>": <reason>
Error InvalidSetting(const SettingSpec& spec, std::string_view reason);

}  // namespace veza
