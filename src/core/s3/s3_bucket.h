// Reads what a bucket does with its objects by itself: versioning, lifecycle rules, object lock.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
#include "core/s3/s3_store.h"

namespace veza {

class S3Client;

struct LifecycleRule {
  std::string id;
  std::string prefix{};     // empty: the rule applies to all objects
  S3Tags tags{};            // applies only to objects that have all of them
  bool needs_size = false;  // applies only to objects of some sizes
  bool expires_current = false;
  // Removes all old versions some time after they were overwritten or deleted. A rule that keeps
  // the newest of them removes nothing of an object that was written once.
  bool expires_noncurrent = false;
  int noncurrent_days = 0;  // 0: not said
};

// For how long a bucket with object lock locks each object that does not say it itself.
struct DefaultRetention {
  std::string mode;  // GOVERNANCE or COMPLIANCE
  int days = 0;
};

// Whether the bucket keeps what is overwritten or deleted. Suspended: it keeps the old versions
// from before, and no more of what is stored since.
enum class Versioning { kNever, kEnabled, kSuspended };

struct BucketRules {
  // The first two are set when the server has told; otherwise `unknown` has the reason.
  std::optional<Versioning> versioning;
  std::optional<std::vector<LifecycleRule>> rules;  // only enabled rules
  std::string unknown;
  // Empty also when it could not be found out.
  std::optional<DefaultRetention> retention{};
};

// Sends three requests, without retries. What the credentials may not ask, or the server does not
// support, stays unset.
BucketRules ReadBucketRules(const S3Options& options, const Environment& environment);

// Returns the enabled rules of a LifecycleConfiguration document. Nothing when the text is not one.
std::optional<std::vector<LifecycleRule>> ParseLifecycle(std::string_view xml);

// What a VersioningConfiguration document says. Nothing when the text is not one.
std::optional<Versioning> ParseVersioning(std::string_view xml);

// Asks the bucket, by one request. kUnavailable when the response is no such document.
Result<Versioning> ReadVersioning(S3Client& client, const S3Options& options,
                                  const Environment& environment);
// The same, with a client of its own.
Result<Versioning> ReadVersioning(const S3Options& options, const Environment& environment);

// What an ObjectLockConfiguration document says: nothing without a default retention. kUnsupported
// when the text is not one.
Result<std::optional<DefaultRetention>> ParseObjectLock(std::string_view xml);

// Asks the bucket, by one request. A store without object lock answers in many ways; each is an
// error here, except for that of a bucket of AWS without it.
Result<std::optional<DefaultRetention>> ReadDefaultRetention(S3Client& client,
                                                             const S3Options& options,
                                                             const Environment& environment);

// Returns the first rule that deletes current objects below `prefix`, which may be empty, that have
// the tags `ours`. Null when there is none.
const LifecycleRule* FindExpiring(const std::vector<LifecycleRule>& rules, std::string_view prefix,
                                  const S3Tags& ours);
// Returns the rule that deletes old versions of every such object the soonest. Null when there is
// none.
const LifecycleRule* FindRemovingOldVersions(const std::vector<LifecycleRule>& rules,
                                             std::string_view prefix, const S3Tags& ours);

}  // namespace veza
