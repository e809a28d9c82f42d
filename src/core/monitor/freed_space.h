// When the space of what was deleted is free again. A bucket with versioning keeps it until a
// lifecycle rule removes old versions, and one with object lock at least until the lock ends.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/config/config.h"
#include "core/environment.h"
#include "core/s3/s3_bucket.h"

namespace veza {

enum class SpaceIsFree { kAtOnce, kLater, kNever, kUnknown };
const char* SpaceIsFreeName(SpaceIsFree when);  // "at once", "later", "never", "unknown"

struct FreedSpace {
  SpaceIsFree when = SpaceIsFree::kUnknown;
  std::string detail{};  // goes on after "old versions, ", or after "not known: "; may be empty
  std::string hint{};    // the rule that is missing; may be empty
};

// `bucket` is empty for a directory.
FreedSpace JudgeFreedSpace(const Config& config, const std::optional<BucketRules>& bucket);

// The same. Reads the bucket's rules by three requests.
FreedSpace ReadFreedSpace(const Config& config, const Environment& environment);

// A hint with the lifecycle rule that removes old versions of this repository, in the form that
// "aws s3api put-bucket-lifecycle-configuration" takes.
std::string MissingRuleHint(const Config& config);

}  // namespace veza
