// Reads what a bucket does with its objects by itself: versioning and lifecycle rules.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
#include "core/s3/s3_store.h"

namespace veza {

struct LifecycleRule {
  std::string id;
  std::string prefix{};     // empty: the rule applies to all objects
  S3Tags tags{};            // applies only to objects that have all of them
  bool needs_size = false;  // applies only to objects of some sizes
  bool expires_current = false;
  bool expires_noncurrent = false;
};

struct BucketRules {
  // The first two are set when the server has told; otherwise `unknown` has the reason.
  std::optional<bool> keeps_versions;
  std::optional<std::vector<LifecycleRule>> rules;  // only enabled rules
  std::string unknown;
};

// Sends two requests, without retries. What the credentials may not ask, or the server does not
// support, stays unset.
BucketRules ReadBucketRules(const S3Options& options, const Environment& environment);

// Returns the enabled rules of a LifecycleConfiguration document. Nothing when the text is not one.
std::optional<std::vector<LifecycleRule>> ParseLifecycle(std::string_view xml);

// Returns whether a VersioningConfiguration document says that old versions are kept. Nothing when
// the text is not one.
std::optional<bool> ParseVersioning(std::string_view xml);

// Returns the first rule that deletes current objects below `prefix`, which may be empty, that have
// the tags `ours`. Null when there is none.
const LifecycleRule* FindExpiring(const std::vector<LifecycleRule>& rules, std::string_view prefix,
                                  const S3Tags& ours);
// True when some rule deletes old versions of every such object.
bool RemovesOldVersions(const std::vector<LifecycleRule>& rules, std::string_view prefix,
                        const S3Tags& ours);

}  // namespace veza
