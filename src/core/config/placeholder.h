// Recognises placeholders: values from a template that nobody has replaced.
#pragma once

#include <string_view>

namespace veza {

// True for "<bucket>", "${BUCKET}", "CHANGEME", "replace-me", "YOUR_KEY", "xxx" and the like. Such
// a value is a placeholder in every setting.
bool IsPlaceholder(std::string_view value);

// True for all of the above, and for values that are too obvious for a secret: "password",
// "my-secret-passphrase", "changeme123", or one character repeated.
bool IsPlaceholderSecret(std::string_view value);

}  // namespace veza
