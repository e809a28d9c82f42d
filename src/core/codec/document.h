// The signed JSON documents of FORMAT.md section 5. Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "core/codec/json.h"
#include "core/codec/seal.h"
#include "core/error.h"

namespace veza {

// Returns the document as the text to store: indented, with `mac_algorithm` and `mac` added.
// `document` must be an object with the member "format" and without floating-point numbers.
// Anything else is kInvalidArgument. So is text that is not UTF-8, and a document that exceeds a
// reader's limits (core/limits.h). kFailedPrecondition when the policy's key and cipher do not go
// together.
Result<std::string> SignDocument(Json document, const SealPolicy& policy,
                                 std::string_view object_name);

// Verifies the document and returns it without the two members that SignDocument() added. Errors
// name the object: kDataCorrupted (it is no such document, or its mac does not match),
// kPermissionDenied (it is signed without a key although encryption is configured), kWrongKey (it
// is signed with a key and none is configured), kUnsupported (a newer format or an unknown
// algorithm).
Result<Json> OpenDocument(std::string_view text, const SealPolicy& policy,
                          std::string_view object_name);

// Reads the document without its mac, for those who have no key. Anybody who can write to the store
// may have written it. Errors are those of OpenDocument() that do not concern the mac.
Result<Json> OpenUnverifiedDocument(std::string_view text, std::string_view object_name);

// Whether an error of reading a document concerns this document alone, and not the store.
bool IsUnreadable(const Error& error);

}  // namespace veza
