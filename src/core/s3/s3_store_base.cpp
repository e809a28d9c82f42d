#include "core/s3/s3_store_base.h"

#include <algorithm>
#include <charconv>

#include "core/limits.h"
#include "core/s3/s3_error.h"
#include "core/s3/s3_xml.h"

namespace veza {

namespace {

template <typename Number>
std::optional<Number> ParseNumber(std::string_view text) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return number;
}

// Returns the position of the first byte: 5 for "bytes 5-9/100".
std::optional<std::uint64_t> ContentRangeBegin(std::string_view text) {
  if (!text.starts_with("bytes ")) {
    return std::nullopt;
  }
  text.remove_prefix(6);
  return ParseNumber<std::uint64_t>(text.substr(0, text.find('-')));
}

// Returns the value of the Range header. `range` is not the whole object and not empty.
std::string RangeValue(ByteRange range) {
  if (range.length > std::numeric_limits<std::uint64_t>::max() - range.offset) {
    return fmt::format("bytes={}-", range.offset);
  }
  return fmt::format("bytes={}-{}", range.offset, range.offset + range.length - 1);
}

Error NotS3(const std::string& what, const char* lack) {
  return MakeError(ErrorCode::kUnavailable, "{}: server answered {}", what, lack)
      .WithHint("Check that veza_backup.s3_endpoint names an S3 server.")
      .Retryable();
}

// A server or a proxy that passes over the version id would show what is there now, for example
// what somebody has put in the place of the object. Not every server names the version "null".
Status RequireVersion(const HttpResponse& response, const std::string& version,
                      const std::string& what) {
  const std::string_view named = response.Header("x-amz-version-id");
  if (version.empty() || named == version || (version == "null" && named.empty())) {
    return Ok();
  }
  return MakeError(ErrorCode::kUnsupported, "{}: server answered with another version of it", what)
      .WithHint(
          "Use an S3 server, and a proxy before it, that return the version that was asked for and "
          "name it (x-amz-version-id).");
}

// libcurl has already checked that the body is as long as its Content-Length.
Status CheckDelivery(const HttpResponse& response, ByteRange range, const std::string& what) {
  if (response.Header("content-length").empty() && response.Header("transfer-encoding").empty()) {
    return NotS3(what, "without a length, so that the end may be missing");
  }
  if (!range.whole() && ContentRangeBegin(response.Header("content-range")) != range.offset) {
    return NotS3(what, "with a range other than the requested one");
  }
  return Ok();
}

}  // namespace

S3StoreBase::S3StoreBase(S3Options options, S3Address address, Environment environment)
    : options_(std::move(options)),
      environment_(std::move(environment)),
      location_(fmt::format("s3://{}{}{}", options_.bucket, options_.prefix.empty() ? "" : "/",
                            options_.prefix)),
      root_(options_.prefix.empty() ? "" : options_.prefix + '/'),
      client_(options_, std::move(address), environment_) {}

S3Call S3StoreBase::CallOf(const char* method, std::string_view name,
                           const std::string& version) const {
  S3Call call{method, root_ + std::string(name)};
  if (!version.empty()) {
    call.query.emplace_back("versionId", version);
  }
  return call;
}

Status S3StoreBase::GetVersion(std::string_view name, const std::string& version, ByteRange range,
                               const Sink& sink) {
  RETURN_IF_ERROR(Begin(name));
  if (range.length == 0) {
    return MakeError(ErrorCode::kInvalidArgument, "range {}+0 of object \"{}\" is empty",
                     range.offset, Quoted(name));
  }
  S3Call call = CallOf("GET", name, version);
  call.sink = sink;
  if (!range.whole()) {
    call.headers.emplace_back("range", RangeValue(range));
    call.sink_status = 206;
  }
  const std::string what = Failed("read", name);
  ASSIGN_OR_RETURN(const S3Response response, client_.Send(call, what));
  if (response.status != call.sink_status) {
    return AnswerError(response, what, name);
  }
  RETURN_IF_ERROR(RequireVersion(response, version, what));
  return CheckDelivery(response, range, what);
}

Result<ObjectInfo> S3StoreBase::HeadVersion(std::string_view name, const std::string& version) {
  RETURN_IF_ERROR(Begin(name));
  const std::string what = Failed("look up", name);
  ASSIGN_OR_RETURN(const S3Response response, client_.Send(CallOf("HEAD", name, version), what));
  if (response.status != 200) {
    return ExplainHead(response, what, name, version);
  }
  RETURN_IF_ERROR(RequireVersion(response, version, what));
  const auto size = ParseNumber<std::uint64_t>(response.Header("content-length"));
  const auto modified = ParseHttpDate(response.Header("last-modified"));
  if (!size || !modified) {
    return NotS3(what, "without the size or the time of the object");
  }
  return ObjectInfo{std::string(name), *size, *modified};
}

Result<TimePoint> S3StoreBase::AskTime() {
  const std::string what = fmt::format("could not ask \"{}\" for the time", location_);
  ASSIGN_OR_RETURN(
      const S3Response response,
      client_.Send(ListCall({{"list-type", "2"}, {"max-keys", "1"}, {"prefix", root_}}), what));
  if (response.status != 200) {
    return BucketError(response, what);
  }
  const auto date = ParseHttpDate(response.Header("date"));
  if (!date) {
    return NotS3(what, "without a date");
  }
  return *date;
}

Status S3StoreBase::Begin(std::string_view name) const {
  RETURN_IF_ERROR(ValidateObjectName(name));
  return environment_.cancellation->Check();
}

std::string S3StoreBase::Quoted(std::string_view name) const {
  return fmt::format("{}/{}", location_, name);
}
std::string S3StoreBase::Failed(const char* verb, std::string_view name) const {
  return fmt::format("could not {} object \"{}\"", verb, Quoted(name));
}

Error S3StoreBase::AnswerError(const S3Response& response, const std::string& what,
                               std::string_view name) const {
  Error error = S3ResponseError(response, what, options_, environment_.clock->Now());
  if (error.code == ErrorCode::kNotFound) {
    error.message = fmt::format("object \"{}\" does not exist", Quoted(name));
  } else if (error.code == ErrorCode::kAlreadyExists) {
    error.message = fmt::format("object \"{}\" already exists", Quoted(name));
  }
  return error;
}

Error S3StoreBase::BucketError(const S3Response& response, const std::string& what) const {
  return S3ResponseError(response, what, options_, environment_.clock->Now());
}

// A response to HEAD has no body and therefore no reason. A GET returns the reason. The difference
// matters, because a proxy's 404 does not mean that the object is missing.
Error S3StoreBase::ExplainHead(const S3Response& answer, const std::string& what,
                               std::string_view name, const std::string& version) {
  S3Call call = CallOf("GET", name, version);
  call.headers.emplace_back("range", "bytes=0-0");
  Result<S3Response> response = client_.Send(call, what);
  if (!response) {
    return std::move(response.error());
  }
  const bool appeared = response->status < 300 || response->status == 416;
  if (appeared) {
    return MakeError(ErrorCode::kUnavailable, "{}: server answered {}, then {}", what,
                     answer.status, response->status)
        .Retryable();
  }
  return AnswerError(*response, what, name);
}

S3Call S3StoreBase::ListCall(NamedValues query) {
  S3Call call{"GET", ""};
  call.query = std::move(query);
  call.query.emplace_back("encoding-type", "url");
  call.body_limit = limits::kListPage;
  return call;
}

bool S3StoreBase::MayBeginObjectName(std::string_view prefix) {
  // Its last part may be whole, or may go on.
  return prefix.empty() || ValidateObjectName(prefix) ||
         ValidateObjectName(fmt::format("{}a", prefix));
}

Status S3StoreBase::RequirePrefix(const std::vector<std::string_view>& keys,
                                  std::string_view prefix, const std::string& what) {
  if (std::ranges::all_of(keys, [&](std::string_view key) { return key.starts_with(prefix); })) {
    return Ok();
  }
  return MakeError(ErrorCode::kUnsupported,
                   "{}: server lists names that do not begin with the prefix", what)
      .WithHint("Use an S3 server, and a proxy before it, that list only what was asked for.");
}

Error S3StoreBase::OutOfOrder(const std::string& what) {
  return MakeError(ErrorCode::kUnsupported, "{}: server lists names out of order", what)
      .WithHint("Use an S3 server that lists objects in the byte order of their names.");
}

Status S3StoreBase::RequireProgress(bool is_same_page, int empty_pages, const std::string& what) {
  if (is_same_page || empty_pages > limits::kEmptyPages) {
    return MakeError(ErrorCode::kUnavailable,
                     "{}: server returns the same page of a listing again and again", what)
        .WithHint("Check that veza_backup.s3_endpoint names an S3 server.");
  }
  return Ok();
}

Status S3StoreBase::AddDirectories(std::string_view prefix,
                                   const std::vector<std::string>& prefixes,
                                   std::vector<std::string>* directories) const {
  for (const std::string& key : prefixes) {
    std::string name = key.substr(root_.size() + prefix.size());
    if (name.ends_with('/')) {
      name.pop_back();
      if (ValidateObjectName(name)) {
        directories->push_back(std::move(name));
      }
    }
  }
  if (directories->size() > limits::kDirectories) {
    return TooManyObjects(*this, prefix, limits::kDirectories);
  }
  return Ok();
}

}  // namespace veza
