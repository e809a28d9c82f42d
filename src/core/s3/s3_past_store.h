// A bucket with versioning, as it was at an earlier time. Of each object the newest version counts
// that is not younger than that time; one that had been deleted by then is not there. Source:
// "ListObjectVersions" of the S3 documentation.
//
// - Times are the store's, in whole seconds: some servers tell no fractions. So the time means the
//   end of its second, and it must have passed, so that nothing can be added to the answer.
// - Of two versions of one second, that one counts which S3 lists first: it was stored later.
// - The view changes only when versions are removed for good, by a lifecycle rule or by somebody
//   who may do that. While versioning is suspended, whoever may write may do that: a version with
//   the id "null" replaces the one before. An older version of the object then counts, or none.
// - Whatever writes or deletes is kUnsupported.
// - Now() is that time.
//
// A listing holds one page in memory. It reads all versions of what it lists, those of later times
// included. Reading an object costs a listing of its versions in addition, and ListDirectories()
// costs one for each directory.
#pragma once

#include <memory>

#include "core/s3/s3_address.h"
#include "core/s3/s3_store.h"

namespace veza {

// `options.as_of` is set. Sends no request. The first call finds out whether the bucket keeps
// versions (kUnsupported if not) and whether the time has passed (kInvalidArgument if not).
std::unique_ptr<Store> MakeS3PastStore(S3Options options, S3Address address,
                                       Environment environment);

// Whether the bucket knows of any object with the prefix, of any time, also after `options.as_of`,
// which is set. A delete marker counts: what is left of an object whose versions a lifecycle rule
// has removed. Sends requests, without retries. The errors are those of the store.
Result<bool> HasEverHeld(S3Options options, Environment environment, std::string_view prefix);

}  // namespace veza
