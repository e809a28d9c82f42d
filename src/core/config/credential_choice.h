// Decides where the credentials for S3 come from: the settings s3_credentials and those beside it.
#pragma once

#include <string_view>
#include <vector>

#include "core/config/config.h"
#include "core/config/settings_in_force.h"
#include "core/error.h"

namespace veza {

// Fills `options.credentials`, and for keys that lie in settings and files also the members beside
// it. The region and what concerns TLS and the proxy must be there already. Makes no request.
//
// Nothing is guessed: settings of another provider than the chosen one are refused, and so are
// settings of two providers with "auto". Then "auto" takes the provider of which a setting is set;
// else the first one of which the environment says something (keys, web identity, profile,
// container); else the instance. It never goes on from a provider that fails to the next. The
// environment is only looked at for the provider that is chosen, and by "auto".
Status ResolveCredentials(const SettingsInForce& settings, const EnvLookup& environment,
                          S3Options& options);

// Whether the settings alone say which credentials these are: a pair of keys, or another provider.
bool SettingsNameCredentials(const SettingsInForce& settings);

// A token that the environment gives for web-identity or container is sent to a service, and
// whoever has it gets credentials. These are the settings that lead it there: whoever can write
// them can have it sent elsewhere. Empty when ResolveCredentials(), for the same settings, takes no
// such token from the environment. AWS_SESSION_TOKEN is none: it goes to s3_endpoint, but nobody
// can use it without the secret key, which is never sent.
std::vector<std::string_view> SettingsThatLeadAToken(const SettingsInForce& settings,
                                                     const EnvLookup& environment);

}  // namespace veza
