// Values that somebody was meant to replace and did not.
#pragma once

#include <string_view>

namespace veza {

// "<bucket>", "${BUCKET}", "CHANGEME", "replace-me", "YOUR_KEY", "xxx" and the like: left over from
// a template, whatever the setting.
bool IsPlaceholder(std::string_view value);

// All of the above, and what is no secret: "password", "my-secret-passphrase", "changeme123", one
// character repeated.
bool IsPlaceholderSecret(std::string_view value);

}  // namespace veza
