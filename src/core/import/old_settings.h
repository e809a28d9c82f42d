// The settings of another backup tool, as they stand in its files and variables.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"

namespace veza {

struct OldSetting {
  std::string source;   // for people: `/etc/pgbackrest.conf line 3`, `environment`
  std::string section;  // empty in an environment
  std::string key;      // as it stands there
  std::string value;
  // Whether the key is what stands before the first '=' of a line. Where it is no option's name,
  // the line may be part of a secret, or its '=' was forgotten.
  bool is_of_line = false;
};

// Whether it may hold a password beside other things: before an '@', as in a URL, or after
// "password=" and the like, as in a connection string.
bool MayHoldASecret(std::string_view value);

// The setting for people: source, section, key and value. "..." stands for what may be a secret: a
// value of a setting that is `secret` or not `known`, the key of a line that is not known, a value
// that MayHoldASecret, and one that should be the path of a file and is none.
std::string ForPeople(const OldSetting& setting, bool known, bool secret);

// In the order in which they were read. Any value may be a secret, so all are wiped in the end.
class OldSettings {
 public:
  OldSettings() = default;
  OldSettings(OldSettings&&) = default;
  OldSettings& operator=(OldSettings&&) = delete;
  OldSettings(const OldSettings&) = delete;
  OldSettings& operator=(const OldSettings&) = delete;
  ~OldSettings();

  void Add(OldSetting setting) { settings_.push_back(std::move(setting)); }
  const std::deque<OldSetting>& all() const { return settings_; }

 private:
  std::deque<OldSetting> settings_;  // which copies nothing when it grows
};

// Calls `each` for the lines of a file that say something: neither empty nor a comment, without the
// `blanks` around them. `source` names the file and the line. Stops at the first error.
Status ForEachLine(
    std::string_view text, const std::string& file, std::string_view blanks,
    const std::function<Status(std::string_view line, const std::string& source)>& each);

// The names and values of environment variables.
using Variables = std::vector<std::pair<std::string, std::string>>;

}  // namespace veza
