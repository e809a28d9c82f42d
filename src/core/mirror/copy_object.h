// Copies one object from a repository to its mirror, as it is.
#pragma once

#include <cstdint>
#include <string>

#include "core/error.h"
#include "core/rate_limiter.h"
#include "core/storage/store.h"

namespace veza {

struct CopyOptions {
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
  kUnreadable,  // the repository does not give it out, or not as long as its listing says
};

struct CopiedObject {
  CopyOutcome outcome = CopyOutcome::kCopied;
  std::string reason{};  // of kUnreadable, a clause
};

// `object` is from a listing of `from`. Creates the object, and never replaces one. On success with
// kCopied it is durable, and the mirror has confirmed the digest of the bytes that were read: by
// the checksum of the request, or read back. Takes up to 20 MiB of memory, and the disk beyond. An
// error is one of the mirror, of the disk, or says that a store does not answer.
Result<CopiedObject> CopyObject(Store& from, Store& to, const ObjectInfo& object,
                                const CopyOptions& options, RateLimiter& limiter);

}  // namespace veza
