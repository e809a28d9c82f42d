// Files that hold one secret.
#pragma once

#include <string>

#include "core/error.h"
#include "core/secret_string.h"

namespace veza {

// The content of the file without its line end. The file must be regular and keep PostgreSQL's rule
// for private keys (libpq/be-secure-common.c, check_ssl_key_file_permissions): owned by the user
// who reads with no access for group or others, or owned by root with at most read access for the
// group. Root may read anybody's file that keeps the rule. It must hold one line that is not empty.
Result<SecretString> ReadSecretFile(const std::string& path);

}  // namespace veza
