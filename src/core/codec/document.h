// The signed JSON documents of FORMAT.md section 5. Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "core/codec/json.h"
#include "core/codec/seal.h"
#include "core/error.h"

namespace veza {

// The document as the text to store: indented, with `mac_algorithm` and `mac`. `document` is an
// object that has its "format" and no floating-point number; other than that, text that is not
// UTF-8 included, is kInvalidArgument, and so is what no reader would take (core/limits.h).
// kFailedPrecondition when the policy's key and cipher do not go together.
Result<std::string> SignDocument(Json document, const SealPolicy& policy,
                                 std::string_view object_name);

// The document, verified, without the two members that SignDocument added. Errors name the object:
// kDataCorrupted (not such a document, or its mac does not match), kPermissionDenied (signed
// without a key although encryption is configured), kWrongKey (signed with a key and none is
// configured), kUnsupported (a newer format, an unknown algorithm).
Result<Json> OpenDocument(std::string_view text, const SealPolicy& policy,
                          std::string_view object_name);

}  // namespace veza
