#include "core/s3/s3_bucket.h"

#include <algorithm>
#include <pugixml.hpp>

#include "core/limits.h"
#include "core/s3/s3_address.h"
#include "core/s3/s3_client.h"
#include "core/s3/s3_error.h"
#include "core/s3/s3_xml.h"

namespace veza {

namespace {

// Makes text from the server safe for a message.
std::string Printable(std::string text) {
  std::ranges::replace_if(
      text, [](unsigned char c) { return c < 0x20 || c > 0x7e; }, '?');
  return text;
}

LifecycleRule ParseRule(const pugi::xml_node& node) {
  LifecycleRule rule;
  rule.id = Printable(node.child_value("ID"));
  rule.prefix = node.child_value("Prefix");  // the older form, without a filter
  const pugi::xml_node filter = node.child("Filter");
  const pugi::xml_node all = filter.child("And") ? filter.child("And") : filter;
  if (all.child("Prefix")) {
    rule.prefix = all.child_value("Prefix");
  }
  for (const pugi::xml_node& tag : all.children("Tag")) {
    rule.tags.emplace_back(tag.child_value("Key"), tag.child_value("Value"));
  }
  rule.needs_size = all.child("ObjectSizeGreaterThan") || all.child("ObjectSizeLessThan");
  const pugi::xml_node expiration = node.child("Expiration");
  rule.expires_current = expiration.child("Days") || expiration.child("Date");
  const pugi::xml_node noncurrent = node.child("NoncurrentVersionExpiration");
  rule.expires_noncurrent = noncurrent && !noncurrent.child("NewerNoncurrentVersions");
  rule.noncurrent_days = noncurrent.child("NoncurrentDays").text().as_int();
  return rule;
}

bool AppliesTo(const LifecycleRule& rule, const S3Tags& ours) {
  return std::ranges::all_of(rule.tags, [&](const S3Tags::value_type& tag) {
    return std::ranges::find(ours, tag) != ours.end();
  });
}

// Requests one configuration document of the bucket. `none` is the error code with which the server
// says that there is no such document; the result is then empty.
Result<std::string> Ask(S3Client& client, const S3Options& options, const Environment& environment,
                        const char* what, std::string_view none) {
  S3Call call{"GET", ""};
  call.query.emplace_back(what, "");
  call.body_limit = limits::kBucketConfiguration;
  const std::string purpose =
      fmt::format("could not read the {} of bucket \"{}\"", what, options.bucket);
  ASSIGN_OR_RETURN(S3Response response, client.Send(call, purpose));
  if (response.status == 200) {
    return std::move(response.body);
  }
  const auto document = ParseS3Error(response.body);
  if (response.status == 404 && document && document->code == none) {
    return std::string();
  }
  return S3ResponseError(response, purpose, options, environment.clock->Now());
}

}  // namespace

std::optional<std::vector<LifecycleRule>> ParseLifecycle(std::string_view xml) {
  pugi::xml_document document;
  if (!ParseXml(xml, limits::kBucketConfiguration, document)) {
    return std::nullopt;
  }
  const pugi::xml_node root = document.child("LifecycleConfiguration");
  if (!root) {
    return std::nullopt;
  }
  std::vector<LifecycleRule> rules;
  for (const pugi::xml_node& node : root.children("Rule")) {
    if (std::string_view(node.child_value("Status")) == "Enabled") {
      rules.push_back(ParseRule(node));
    }
  }
  return rules;
}

std::optional<Versioning> ParseVersioning(std::string_view xml) {
  pugi::xml_document document;
  if (!ParseXml(xml, limits::kBucketConfiguration, document)) {
    return std::nullopt;
  }
  const pugi::xml_node root = document.child("VersioningConfiguration");
  if (!root) {
    return std::nullopt;
  }
  const std::string_view status = root.child_value("Status");
  if (status.empty()) {
    return Versioning::kNever;
  }
  return status == "Enabled" ? Versioning::kEnabled : Versioning::kSuspended;
}

Result<Versioning> ReadVersioning(S3Client& client, const S3Options& options,
                                  const Environment& environment) {
  ASSIGN_OR_RETURN(const std::string document, Ask(client, options, environment, "versioning", ""));
  const std::optional<Versioning> found = ParseVersioning(document);
  if (!found) {
    return MakeError(ErrorCode::kUnavailable,
                     "the response about versioning of bucket \"{}\" is not a document of S3",
                     options.bucket)
        .WithHint("Check that veza_backup.s3_endpoint names an S3 server.");
  }
  return *found;
}

Result<Versioning> ReadVersioning(const S3Options& options, const Environment& environment) {
  ASSIGN_OR_RETURN(S3Address address, MakeS3Address(options));
  S3Client client(options, std::move(address), environment);
  return ReadVersioning(client, options, environment);
}

Result<std::optional<DefaultRetention>> ParseObjectLock(std::string_view xml) {
  pugi::xml_document document;
  if (!ParseXml(xml, limits::kBucketConfiguration, document) ||
      !document.child("ObjectLockConfiguration")) {
    return MakeError(ErrorCode::kUnsupported, "the response is not a configuration of object lock");
  }
  const pugi::xml_node retention =
      document.child("ObjectLockConfiguration").child("Rule").child("DefaultRetention");
  DefaultRetention found{.mode = retention.child_value("Mode"),
                         .days = retention.child("Days").text().as_int()};
  if (found.days == 0) {
    constexpr int kLongest = 100;  // years, as at AWS
    found.days = 365 * std::clamp(retention.child("Years").text().as_int(), 0, kLongest);
  }
  const bool is_known = found.mode == "GOVERNANCE" || found.mode == "COMPLIANCE";
  return is_known && found.days > 0 ? std::optional(found) : std::nullopt;
}

Result<std::optional<DefaultRetention>> ReadDefaultRetention(S3Client& client,
                                                             const S3Options& options,
                                                             const Environment& environment) {
  ASSIGN_OR_RETURN(const std::string document, Ask(client, options, environment, "object-lock",
                                                   "ObjectLockConfigurationNotFoundError"));
  return document.empty() ? std::optional<DefaultRetention>() : ParseObjectLock(document);
}

BucketRules ReadBucketRules(const S3Options& options, const Environment& environment) {
  BucketRules found;
  Result<S3Address> address = MakeS3Address(options);
  if (!address) {
    found.unknown = address.error().message;
    return found;
  }
  S3Client client(options, std::move(*address), environment);
  const Result<Versioning> versioning = ReadVersioning(client, options, environment);
  if (versioning) {
    found.versioning = *versioning;
  }
  const Result<std::string> lifecycle =
      Ask(client, options, environment, "lifecycle", "NoSuchLifecycleConfiguration");
  if (lifecycle) {
    found.rules = lifecycle->empty() ? std::vector<LifecycleRule>() : ParseLifecycle(*lifecycle);
  }
  found.retention = ReadDefaultRetention(client, options, environment).value_or(std::nullopt);
  if (!versioning) {
    found.unknown = versioning.error().message;
  } else if (!found.rules) {
    found.unknown = lifecycle ? "the response about lifecycle rules is not a document of S3"
                              : lifecycle.error().message;
  }
  return found;
}

const LifecycleRule* FindExpiring(const std::vector<LifecycleRule>& rules, std::string_view prefix,
                                  const S3Tags& ours) {
  const auto found = std::ranges::find_if(rules, [&](const LifecycleRule& rule) {
    return rule.expires_current && AppliesTo(rule, ours) &&
           (prefix.starts_with(rule.prefix) || rule.prefix.starts_with(prefix));
  });
  return found == rules.end() ? nullptr : &*found;
}

const LifecycleRule* FindRemovingOldVersions(const std::vector<LifecycleRule>& rules,
                                             std::string_view prefix, const S3Tags& ours) {
  const LifecycleRule* soonest = nullptr;
  for (const LifecycleRule& rule : rules) {
    const bool removes = rule.expires_noncurrent && AppliesTo(rule, ours) && !rule.needs_size &&
                         prefix.starts_with(rule.prefix);
    if (removes && (soonest == nullptr || rule.noncurrent_days < soonest->noncurrent_days)) {
      soonest = &rule;
    }
  }
  return soonest;
}

}  // namespace veza
