// The values of settings that are in force, and how values come from files and the environment. For
// those who make a Config.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/config/config.h"
#include "core/config/settings.h"
#include "core/error.h"
#include "core/secret_string.h"

namespace veza {

// What was set, or else the default. `values` must outlive it. Names are without the prefix and
// must be in the table.
class SettingsInForce {
 public:
  explicit SettingsInForce(const SettingValues& values) : values_(values) {}

  // Checks every value. With a repository in a directory, settings for S3 are not validated. The
  // server does the same: it warns of a wrong value when it starts and continues with the default.
  Status Validate() const;

  std::string Text(std::string_view name) const;
  SecretString Secret(std::string_view name) const;
  // Whether it has a value that is not empty.
  bool IsSet(std::string_view name) const;
  std::vector<InlineSecret> InlineSecrets() const;
  bool Boolean(std::string_view name) const { return *ParseBoolean(Text(name)); }
  int Integer(std::string_view name) const { return *ParseInteger(*FindSetting(name), Text(name)); }
  // Returns the choice as the table spells it.
  std::string_view Choice(std::string_view name) const;

 private:
  const SettingValues& values_;
};

// True when only a repository on S3 uses the setting. s3_connections limits the requests to any
// kind of repository, despite its name.
bool IsOfS3Alone(std::string_view name);

// The file that "<name>_file" names; empty when there is none. kInvalidArgument when the secret is
// given in both ways.
Result<std::string> FileOfSecret(const SettingsInForce& settings, std::string_view name);

// Reads a secret from its setting or from the file that "<name>_file" names. Empty when neither is
// set.
Result<SecretString> SecretOf(const SettingsInForce& settings, std::string_view name);

// A value from the environment, validated like the setting that it stands for. Empty when it is not
// set.
Result<std::string> FromEnvironment(const EnvLookup& environment, const char* variable,
                                    std::string_view setting);

}  // namespace veza
