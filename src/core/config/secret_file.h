// Files that hold one secret.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/secret_string.h"

namespace veza {

// Returns the content of the file without its line end. The file must be a regular file with one
// line that is not empty. It must keep PostgreSQL's rule for private keys
// (libpq/be-secure-common.c, check_ssl_key_file_permissions): either the user who reads it owns it,
// and group and others have no access; or root owns it, and the group has at most read access. Root
// may read anybody's file that keeps this rule.
Result<SecretString> ReadSecretFile(const std::string& path);

// A secret is one line of at most so many bytes, wherever it comes from.
inline constexpr std::size_t kLongestSecret = 4096;
// The secret that `content` holds as its only line, without the line end. `source` begins the
// message of an error, for example `secret file "/etc/key"`. The caller wipes `content`.
Result<SecretString> ParseSecretLine(std::string_view content, const std::string& source);

}  // namespace veza
