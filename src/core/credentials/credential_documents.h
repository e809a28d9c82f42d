// Reads the documents in which credentials are handed out. Pure functions. Messages quote names
// that the caller gave, and error codes, but nothing else of a document: any part of it may be
// secret.
#pragma once

#include <string>
#include <string_view>

#include "core/s3/credentials.h"

namespace veza {

// All errors are kCredentials. What these functions return can be sent in headers: keys and token
// are printable ASCII of a bounded length.

// A profile of a credentials file of AWS (an INI file). Only keys and session token are read:
// profiles that name a role, a process or single sign-on are refused.
Result<S3Credentials> ParseProfile(std::string_view text, std::string_view profile);

// The JSON of the instance metadata service and of container credential services.
Result<S3Credentials> ParseCredentialJson(std::string_view text);

// The XML with which STS answers AssumeRoleWithWebIdentity.
Result<S3Credentials> ParseStsCredentials(std::string_view text);

// The code of an error of STS or of a credentials service, XML or JSON, for a message: letters,
// digits and dots. Empty when there is none.
std::string ErrorCodeIn(std::string_view text);

// Checks what came from a file or from the environment in the same way.
Result<S3Credentials> CheckCredentials(S3Credentials credentials);

}  // namespace veza
