// Files that hold secrets.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/secret_string.h"

namespace veza {

// A secret is one line of at most so many bytes, wherever it comes from, unless a rule says else.
inline constexpr std::size_t kLongestSecret = 4096;

// What a file of secrets may be, besides the rule for a file with one password.
struct SecretFileRule {
  std::size_t size = kLongestSecret;  // the largest, in bytes
  bool many_lines = false;            // its content is returned as it is
  bool others_may_read = false;       // its owner and mode do not matter
};

// A session token of AWS may have several KiB.
inline constexpr SecretFileRule kTokenFile{.size = 16384};
// The token of a Kubernetes service account. Kubernetes decides on owner and mode, and rotates it
// by a symbolic link.
inline constexpr SecretFileRule kIdentityTokenFile{.size = 16384, .others_may_read = true};
// An INI file with credentials.
inline constexpr SecretFileRule kProfileFile{.size = 65536, .many_lines = true};

// Returns the content of the file without its line end. The file must be a regular file with one
// line that is not empty. It must keep PostgreSQL's rule for private keys
// (libpq/be-secure-common.c, check_ssl_key_file_permissions): either the user who reads it owns it,
// and group and others have no access; or root owns it, and the group has at most read access. Root
// may read anybody's file that keeps this rule. Messages quote nothing of the content.
Result<SecretString> ReadSecretFile(const std::string& path, const SecretFileRule& rule = {});

// The same for credentials of the store. All errors are kCredentials: that the file is absent,
// closed or empty says nothing about an object, and it may be there again in a moment.
Result<SecretString> ReadCredentialFile(const std::string& path, const SecretFileRule& rule = {});

// The secret that `content` holds as its only line, without the line end. `source` begins the
// message of an error, for example `secret file "/etc/key"`. The caller wipes `content`.
Result<SecretString> ParseSecretLine(std::string_view content, const std::string& source,
                                     std::size_t most = kLongestSecret);

}  // namespace veza
