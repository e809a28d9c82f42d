// Copies one object from a repository to its mirror, as it is.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "core/codec/digest.h"
#include "core/codec/seal.h"
#include "core/error.h"
#include "core/rate_limiter.h"
#include "core/storage/store.h"

namespace veza {

struct CopyOptions {
  // By which sealed objects (WAL, packs, manifests, indexes) are opened while they are copied.
  SealPolicy policy{};
  // The digest that the object must have. Of any content without it.
  std::optional<Sha256Digest> expected{};
  std::string spill_directory;  // for objects that do not fit into memory
  // Read each object back from the mirror and compare it. For a mirror whose Put() does not send
  // the digest of the content along.
  bool reads_back = false;
};

enum class CopyOutcome {
  kCopied,
  kThere,       // the mirror has the same bytes: another pass was faster
  kGone,        // the repository does not have it any more
  kDiffers,     // the mirror has other bytes under the name, which stay
  kRefused,     // the mirror takes others, but not this one
  kUnreadable,  // the repository does not give it out, or not as long as its listing says, or it is
                // damaged
};

struct CopiedObject {
  CopyOutcome outcome = CopyOutcome::kCopied;
  std::string reason{};  // of kUnreadable and kRefused, a clause
};

// `object` is from a listing of `from`. Creates the object, and never replaces one. On success with
// kCopied it is durable, and the mirror has confirmed the digest of the bytes that were read: by
// the checksum of the request, or read back. What is sealed has been opened whole: a damaged object
// would take the name on the mirror, and could not be mended. Takes up to 32 MiB of memory, and the
// disk beyond. An
// error is one of the mirror, of the disk, or says that a store does not answer.
Result<CopiedObject> CopyObject(Store& from, Store& to, const ObjectInfo& object,
                                const CopyOptions& options, RateLimiter& limiter);

// The digest of an object, read whole.
Result<Sha256Digest> DigestOf(Store& store, const std::string& name);

}  // namespace veza
