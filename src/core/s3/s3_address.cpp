#include "core/s3/s3_address.h"

#include <arpa/inet.h>
#include <curl/curl.h>

#include <algorithm>
#include <memory>

#include "core/s3/sigv4.h"

namespace veza {

namespace {

constexpr std::size_t kLongestPrefix = 300;  // leaves 700 of S3's 1024 bytes for object names

Error BadSetting(std::string message, std::string hint) {
  return Error{ErrorCode::kInvalidArgument, std::move(message), std::move(hint)};
}

// Bucket names of AWS have 3 to 63 characters of [a-z0-9.-]. Other servers and old buckets allow
// more.
Status CheckBucket(const S3Options& options) {
  const std::string& bucket = options.bucket;
  const bool dns = options.uri_style == S3UriStyle::kVirtualHost;
  const auto allowed = [dns](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' ||
           (!dns && ((c >= 'A' && c <= 'Z') || c == '_'));
  };
  if (bucket.size() < 3 || bucket.size() > (dns ? 63U : 255U) ||
      !std::all_of(bucket.begin(), bucket.end(), allowed) || bucket.starts_with('.') ||
      bucket.ends_with('.') || bucket.find("..") != std::string::npos) {
    return BadSetting(fmt::format("\"{}\" is not a valid bucket name", bucket),
                      "Name the bucket in veza_backup.repository as \"s3://bucket/prefix\".");
  }
  return Ok();
}

Status CheckPrefix(const std::string& prefix) {
  bool valid = prefix.size() <= kLongestPrefix &&
               std::none_of(prefix.begin(), prefix.end(),
                            [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  for (std::string_view rest = prefix; valid && !prefix.empty();) {
    const std::size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    valid = !part.empty() && part != "." && part != "..";
    if (slash == std::string_view::npos) {
      break;
    }
    rest.remove_prefix(slash + 1);
  }
  if (!valid) {
    return BadSetting(fmt::format("\"{}\" is not a valid prefix in a bucket", prefix),
                      "Write veza_backup.repository as \"s3://bucket/prefix\", without empty parts "
                      "in the prefix.");
  }
  return Ok();
}

Result<HttpUrl> ParseEndpoint(const std::string& text) {
  std::optional<HttpUrl> endpoint = ParseHttpUrl(text);
  if (!endpoint || (!endpoint->path.empty() && endpoint->path != "/")) {
    // The message does not quote the endpoint, because it may contain a password.
    return BadSetting("the S3 endpoint is not a valid URL",
                      "Set veza_backup.s3_endpoint to \"https://host\" or \"https://host:port\", "
                      "with nothing else in it. To connect without TLS, write \"http://\".");
  }
  if (endpoint->port == (endpoint->scheme == "https" ? "443" : "80")) {
    endpoint->port.clear();
  }
  return *std::move(endpoint);
}

bool IsAddress(const std::string& host) {
  in_addr address{};
  return host.starts_with('[') || inet_pton(AF_INET, host.c_str(), &address) == 1;
}

}  // namespace

std::optional<HttpUrl> ParseHttpUrl(const std::string& text) {
  const std::unique_ptr<CURLU, void (*)(CURLU*)> url(curl_url(), curl_url_cleanup);
  const auto part = [&](CURLUPart what) -> std::string {
    char* value = nullptr;
    if (curl_url_get(url.get(), what, &value, 0) != CURLUE_OK) {
      return {};
    }
    std::string copy(value);
    curl_free(value);
    return copy;
  };
  if ((!text.starts_with("https://") && !text.starts_with("http://")) || url == nullptr ||
      text.find_first_of("?#@") != std::string::npos ||
      curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) {
    return std::nullopt;
  }
  HttpUrl parts{part(CURLUPART_SCHEME), part(CURLUPART_HOST), part(CURLUPART_PORT),
                part(CURLUPART_PATH)};
  if (parts.host.empty() || !part(CURLUPART_USER).empty() || !part(CURLUPART_PASSWORD).empty()) {
    return std::nullopt;
  }
  return parts;
}

std::string S3Address::Path(std::string_view key) const {
  if (key.empty()) {
    return root_path.empty() ? "/" : root_path;
  }
  return fmt::format("{}/{}", root_path, UriEncode(key, true));
}

Result<S3Address> MakeS3Address(const S3Options& options) {
  RETURN_IF_ERROR(CheckBucket(options));
  RETURN_IF_ERROR(CheckPrefix(options.prefix));
  ASSIGN_OR_RETURN(HttpUrl endpoint, ParseEndpoint(options.endpoint));
  if (options.region.empty()) {
    return BadSetting(
        "the S3 region is empty",
        "Set veza_backup.s3_region. For a server without regions, use \"us-east-1\".");
  }
  if (!options.credentials && (options.access_key.empty() || options.secret_key.empty())) {
    return BadSetting(
        fmt::format("the S3 {} key is empty", options.access_key.empty() ? "access" : "secret"),
        "Set veza_backup.s3_access_key and veza_backup.s3_secret_key_file or "
        "veza_backup.s3_secret_key.");
  }
  S3Address address;
  if (options.uri_style == S3UriStyle::kVirtualHost) {
    if (IsAddress(endpoint.host)) {
      return BadSetting(
          fmt::format("the bucket cannot be part of the host name \"{}\"", endpoint.host),
          "Set veza_backup.s3_uri_style to \"path\", or use a host name in place of the address in "
          "veza_backup.s3_endpoint.");
    }
    endpoint.host.insert(0, options.bucket + '.');
  } else {
    address.root_path = '/' + options.bucket;
  }
  address.host =
      endpoint.port.empty() ? endpoint.host : fmt::format("{}:{}", endpoint.host, endpoint.port);
  address.origin = fmt::format("{}://{}", endpoint.scheme, address.host);
  return address;
}

}  // namespace veza
