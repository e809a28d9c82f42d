#include "core/config/repository_url.h"

#include <algorithm>

#include "core/ascii.h"

namespace veza {
namespace {

constexpr const char* kUrlHint =
    "Give \"s3://bucket/prefix\" or an absolute directory such as \"/srv/backup\".";
constexpr const char* kEndpointHint =
    "Write it as \"https://host\" or \"https://host:port\". \"http://\" turns encryption in "
    "transit off.";

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}
bool IsLowerOrDigit(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'z');
}

Error Invalid(std::string reason, const char* hint) {
  return Error{ErrorCode::kInvalidArgument, std::move(reason), hint};
}

// Checks the part of Amazon's "Bucket naming rules" that holds for every general purpose bucket.
Status CheckBucket(std::string_view bucket) {
  const auto invalid = [&](const char* why) -> Status {
    return Invalid(fmt::format("bucket name \"{}\" {}", bucket, why),
                   "Bucket names have 3 to 63 lower-case letters, digits, dots and hyphens.");
  };
  if (bucket.size() < 3 || bucket.size() > 63) {
    return invalid("does not have 3 to 63 characters");
  }
  if (!std::ranges::all_of(bucket,
                           [](char c) { return IsLowerOrDigit(c) || c == '.' || c == '-'; })) {
    return invalid("contains a character other than lower-case letters, digits, \".\" and \"-\"");
  }
  if (!IsLowerOrDigit(bucket.front()) || !IsLowerOrDigit(bucket.back())) {
    return invalid("does not begin and end with a letter or digit");
  }
  if (bucket.find("..") != std::string_view::npos) {
    return invalid("has two dots in a row");
  }
  if (std::ranges::count(bucket, '.') == 3 &&
      std::ranges::all_of(bucket, [](char c) { return IsDigit(c) || c == '.'; })) {
    return invalid("looks like an IP address");
  }
  return Ok();
}

// Checks what store.h demands of object names, because the prefix becomes a part of each name.
Status CheckPrefix(std::string_view prefix) {
  constexpr const char* kHint =
      "Prefixes have letters, digits, dots, underscores and hyphens, separated by single slashes.";
  if (prefix.size() > 512) {
    return Invalid("prefix is longer than 512 bytes", kHint);
  }
  while (!prefix.empty()) {
    const std::size_t slash = prefix.find('/');
    const std::string_view part = prefix.substr(0, slash);
    if (part.empty() || part == "." || part == "..") {
      return Invalid(fmt::format("prefix contains the part \"{}\"", part), kHint);
    }
    if (!std::ranges::all_of(
            part, [](char c) { return IsAlphanumeric(c) || c == '.' || c == '_' || c == '-'; })) {
      return Invalid(
          fmt::format("prefix contains a character that is not allowed, in \"{}\"", part), kHint);
    }
    if (slash == std::string_view::npos) {
      break;
    }
    prefix.remove_prefix(slash + 1);
    if (prefix.empty()) {
      return Invalid("prefix ends with \"/\"", kHint);
    }
  }
  return Ok();
}

bool IsPort(std::string_view text) {
  if (text.empty() || text.size() > 5 || !std::ranges::all_of(text, IsDigit)) {
    return false;
  }
  const int port = std::stoi(std::string(text));
  return port >= 1 && port <= 65535;
}

bool IsHost(std::string_view host) {
  if (host.starts_with('[')) {  // IPv6
    return host.size() > 4 && host.ends_with(']') &&
           std::ranges::all_of(host.substr(1, host.size() - 2), [](char c) {
             return IsDigit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F') || c == ':' ||
                    c == '.';
           });
  }
  return !host.empty() && IsAlphanumeric(host.front()) && std::ranges::all_of(host, [](char c) {
    return IsAlphanumeric(c) || c == '.' || c == '-' || c == '_';
  });
}

}  // namespace

Result<RepositoryUrl> ParseRepositoryUrl(std::string_view text) {
  // This check comes before anything is quoted in a message. The text before an '@' may be a
  // password, and a password may contain slashes.
  if (!text.starts_with('/') && text.find('@') != std::string_view::npos) {
    return Invalid("it contains a user name or a password",
                   "Set the keys in veza_backup.s3_access_key and "
                   "veza_backup.s3_secret_key_file.");
  }
  RepositoryUrl url;
  const std::size_t scheme_end = text.find("://");
  if (scheme_end == std::string_view::npos) {
    if (!text.starts_with('/')) {
      return Invalid(fmt::format("\"{}\" is neither a URL nor an absolute directory", text),
                     kUrlHint);
    }
    while (text.size() > 1 && text.ends_with('/')) {
      text.remove_suffix(1);
    }
    if (text == "/") {
      return Invalid("the root directory cannot be a repository", kUrlHint);
    }
    url.kind = RepositoryKind::kDirectory;
    url.directory = text;
    return url;
  }
  if (text.substr(0, scheme_end) != "s3") {
    return Invalid(fmt::format("unknown scheme \"{}\"", text.substr(0, scheme_end)), kUrlHint);
  }
  std::string_view rest = text.substr(scheme_end + 3);
  const std::size_t slash = rest.find('/');
  const std::string_view bucket = rest.substr(0, slash);
  if (bucket.empty()) {
    return Invalid("there is no bucket name", kUrlHint);
  }
  RETURN_IF_ERROR(CheckBucket(bucket));
  std::string_view prefix =
      slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  if (prefix.ends_with('/')) {
    prefix.remove_suffix(1);
  }
  RETURN_IF_ERROR(CheckPrefix(prefix));
  url.kind = RepositoryKind::kS3;
  url.bucket = bucket;
  url.prefix = prefix;
  return url;
}

Status CheckEndpoint(std::string_view text) {
  std::string_view rest = text;
  if (rest.starts_with("https://")) {
    rest.remove_prefix(8);
  } else if (rest.starts_with("http://")) {
    rest.remove_prefix(7);
  } else {
    return Invalid("it does not begin with \"https://\" or \"http://\"", kEndpointHint);
  }
  // The message does not quote the text, because what stands before an '@' may be a password.
  if (rest.find('@') != std::string_view::npos) {
    return Invalid("it contains a user name or a password", kEndpointHint);
  }
  if (rest.find_first_of("/?#") != std::string_view::npos) {
    return Invalid("it contains a path or query after the host", kEndpointHint);
  }
  std::string_view host = rest;
  const std::size_t colon = rest.rfind(':');
  if (colon != std::string_view::npos && rest.find(']', colon) == std::string_view::npos) {
    host = rest.substr(0, colon);
    if (!IsPort(rest.substr(colon + 1))) {
      return Invalid(fmt::format("\"{}\" is not a port", rest.substr(colon + 1)), kEndpointHint);
    }
  }
  if (!IsHost(host)) {
    return Invalid(fmt::format("\"{}\" is not a host name", host), kEndpointHint);
  }
  return Ok();
}

std::string AwsEndpoint(std::string_view region) {
  return fmt::format("https://s3.{}.amazonaws.com{}", region,
                     region.starts_with("cn-") ? ".cn" : "");
}

}  // namespace veza
