#include "core/config/settings_in_force.h"

#include <algorithm>
#include <utility>

#include "core/ascii.h"
#include "core/config/repository_url.h"
#include "core/secret_file.h"

namespace veza {

bool IsOfS3Alone(std::string_view name) {
  return name.starts_with("s3_") && name != "s3_connections";
}

Status SettingsInForce::Validate() const {
  const auto url = ParseRepositoryUrl(Text("repository"));
  const bool is_directory = url && url->kind == RepositoryKind::kDirectory;
  for (const auto& [name, value] : values_) {
    const SettingSpec* spec = FindSetting(name);
    if (spec == nullptr) {
      return MakeError(ErrorCode::kInvalidArgument, "unknown setting \"{}{}\"", kSettingPrefix,
                       name);
    }
    if (is_directory && IsOfS3Alone(name)) {
      continue;
    }
    if (auto status = ValidateSetting(*spec, value.text); !status.has_value()) {
      return value.source.empty() ? std::move(status.error())
                                  : std::move(status.error()).WithContext(value.source);
    }
  }
  return Ok();
}

std::string SettingsInForce::Text(std::string_view name) const {
  const auto found = values_.find(name);
  return found != values_.end() ? found->second.text : FindSetting(name)->default_value;
}

SecretString SettingsInForce::Secret(std::string_view name) const {
  const auto found = values_.find(name);
  return SecretString(found != values_.end() ? std::string_view(found->second.text) : "");
}

bool SettingsInForce::IsSet(std::string_view name) const {
  const auto found = values_.find(name);
  return found != values_.end() && !found->second.text.empty();
}

std::vector<InlineSecret> SettingsInForce::InlineSecrets() const {
  std::vector<InlineSecret> secrets;
  for (const auto& [name, value] : values_) {
    const SettingSpec* const spec = FindSetting(name);
    if (spec->secret && !value.text.empty()) {
      secrets.push_back({spec->name, value.file, SecretString(value.text)});
    }
  }
  return secrets;
}

std::string_view SettingsInForce::Choice(std::string_view name) const {
  const std::string text = LowerCase(Text(name));
  const auto choices = FindSetting(name)->choices;
  return *std::ranges::find_if(choices, [&](const char* choice) { return text == choice; });
}

Result<std::string> FileOfSecret(const SettingsInForce& settings, std::string_view name) {
  std::string file = settings.Text(fmt::format("{}_file", name));
  if (!file.empty() && settings.IsSet(name)) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "\"veza_backup.{0}\" and \"veza_backup.{0}_file\" are both set", name)
        .WithHint("Keep the file and remove the other one.");
  }
  return file;
}

Result<SecretString> SecretOf(const SettingsInForce& settings, std::string_view name) {
  ASSIGN_OR_RETURN(const std::string file, FileOfSecret(settings, name));
  return file.empty() ? Result<SecretString>(settings.Secret(name)) : ReadSecretFile(file);
}

Result<std::string> FromEnvironment(const EnvLookup& environment, const char* variable,
                                    std::string_view setting) {
  std::string value = environment(variable).value_or("");
  if (auto status = ValidateSetting(*FindSetting(setting), value); !status.has_value()) {
    return std::move(status.error()).WithContext(fmt::format("environment variable {}", variable));
  }
  return value;
}

}  // namespace veza
