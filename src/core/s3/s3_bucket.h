// What a bucket does by itself with objects that lie in it: versioning and lifecycle rules.
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
  std::string prefix;       // empty: of all objects
  bool needs_tag = false;   // of objects with some tag, which ours do not have
  bool needs_size = false;  // of objects of some sizes
  bool expires_current = false;
  bool expires_noncurrent = false;
};

struct BucketRules {
  // Nothing: the server did not say, for the reason in `unknown`.
  std::optional<bool> keeps_versions;
  std::optional<std::vector<LifecycleRule>> rules;  // enabled ones
  std::string unknown;
};

// Two requests, without retries. What may not be asked, or is not known to the server, is unknown.
BucketRules ReadBucketRules(const S3Options& options, const Environment& environment);

// The rules of a LifecycleConfiguration. Nothing if the text is none.
std::optional<std::vector<LifecycleRule>> ParseLifecycle(std::string_view xml);

// Of a VersioningConfiguration.
std::optional<bool> ParseVersioning(std::string_view xml);

// The first rule that deletes current objects below `prefix`, which may be empty; null: none does.
const LifecycleRule* FindExpiring(const std::vector<LifecycleRule>& rules, std::string_view prefix);
// Whether old versions of all objects below `prefix` are deleted some day.
bool RemovesOldVersions(const std::vector<LifecycleRule>& rules, std::string_view prefix);

}  // namespace veza
