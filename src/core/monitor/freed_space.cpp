#include "core/monitor/freed_space.h"

#include "core/codec/json.h"

namespace veza {

namespace {

std::string Days(int days) {
  return fmt::format("{} {}", days, days == 1 ? "day" : "days");
}

std::string DescribeRule(const LifecycleRule& rule, const std::optional<DefaultRetention>& lock) {
  std::string text =
      fmt::format("which lifecycle rule \"{}\" removes {} after they were deleted", rule.id,
                  rule.noncurrent_days > 0 ? Days(rule.noncurrent_days) : "some days");
  if (lock) {
    text += fmt::format(", but not before they are {} old ({} lock)", Days(lock->days), lock->mode);
  }
  return text;
}

}  // namespace

const char* SpaceIsFreeName(SpaceIsFree when) {
  switch (when) {
    case SpaceIsFree::kAtOnce:
      return "at once";
    case SpaceIsFree::kLater:
      return "later";
    case SpaceIsFree::kNever:
      return "never";
    case SpaceIsFree::kUnknown:
      break;
  }
  return "unknown";
}

FreedSpace JudgeFreedSpace(const Config& config, const std::optional<BucketRules>& bucket) {
  if (!bucket || bucket->versioning == Versioning::kNever) {
    return {.when = SpaceIsFree::kAtOnce};
  }
  if (!bucket->versioning || !bucket->rules) {
    return {.when = SpaceIsFree::kUnknown, .detail = bucket->unknown};
  }
  if (bucket->versioning == Versioning::kSuspended) {
    // Which versions have an id of their own, nobody has looked.
    return {.when = SpaceIsFree::kUnknown,
            .detail =
                "versioning of the bucket is suspended, so what was stored since then is free "
                "at once, and what was stored before stays as old versions"};
  }
  const std::string prefix = config.s3.prefix.empty() ? "" : config.s3.prefix + "/";
  if (const LifecycleRule* const rule =
          FindRemovingOldVersions(*bucket->rules, prefix, config.s3.objects.tags)) {
    return {.when = SpaceIsFree::kLater, .detail = DescribeRule(*rule, bucket->retention)};
  }
  return {.when = SpaceIsFree::kNever,
          .detail = "and no lifecycle rule ever removes them",
          .hint = MissingRuleHint(config)};
}

FreedSpace ReadFreedSpace(const Config& config, const Environment& environment) {
  return JudgeFreedSpace(config, config.kind == RepositoryKind::kS3
                                     ? std::optional(ReadBucketRules(config.s3, environment))
                                     : std::nullopt);
}

std::string MissingRuleHint(const Config& config) {
  const Json rule = {
      {"ID", "veza_backup-old-versions"},
      {"Status", "Enabled"},
      {"Filter", {{"Prefix", config.s3.prefix.empty() ? "" : config.s3.prefix + "/"}}},
      {"NoncurrentVersionExpiration", {{"NoncurrentDays", 30}}},
      {"Expiration", {{"ExpiredObjectDeleteMarker", true}}}};
  return fmt::format(
      "Add a rule that removes noncurrent versions some weeks after they were deleted: {}",
      rule.Print());
}

}  // namespace veza
