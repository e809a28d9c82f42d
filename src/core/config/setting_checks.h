// The checks that the table in settings.cpp names: what a value must fulfil in addition to its
// type. All have the contract of ValidateSetting().
#pragma once

#include <string_view>

#include "core/config/settings.h"

namespace veza {

Status CheckRepository(const SettingSpec& spec, std::string_view value);
Status CheckCluster(const SettingSpec& spec, std::string_view value);
Status CheckS3Endpoint(const SettingSpec& spec, std::string_view value);
Status CheckS3Proxy(const SettingSpec& spec, std::string_view value);
Status CheckStorageClass(const SettingSpec& spec, std::string_view value);
Status CheckKmsKeyId(const SettingSpec& spec, std::string_view value);
Status CheckCustomerKeyFile(const SettingSpec& spec, std::string_view value);
Status CheckTags(const SettingSpec& spec, std::string_view value);
Status CheckRegion(const SettingSpec& spec, std::string_view value);
Status CheckMetricsFile(const SettingSpec& spec, std::string_view value);
Status CheckCaFile(const SettingSpec& spec, std::string_view value);
Status CheckKey(const SettingSpec& spec, std::string_view value);
Status CheckPassphrase(const SettingSpec& spec, std::string_view value);
Status CheckKeyFile(const SettingSpec& spec, std::string_view value);
// Only the path. Another program writes the file, perhaps after the server has started: a setting
// that is refused then stays refused until a reload.
Status CheckRotatingFile(const SettingSpec& spec, std::string_view value);
Status CheckProfile(const SettingSpec& spec, std::string_view value);
Status CheckRoleArn(const SettingSpec& spec, std::string_view value);
Status CheckRoleSessionName(const SettingSpec& spec, std::string_view value);
Status CheckStsEndpoint(const SettingSpec& spec, std::string_view value);
Status CheckProxyLoginFile(const SettingSpec& spec, std::string_view value);
Status CheckPassphraseFile(const SettingSpec& spec, std::string_view value);
Status CheckSchedule(const SettingSpec& spec, std::string_view value);
Status CheckRetentionKeep(const SettingSpec& spec, std::string_view value);
Status CheckTimeZone(const SettingSpec& spec, std::string_view value);

// The error for a value that is still a placeholder.
Error PlaceholderError(const SettingSpec& spec);

}  // namespace veza
