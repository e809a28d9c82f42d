#include "core/s3/s3_error.h"

#include <curl/curl.h>

#include <algorithm>
#include <charconv>

namespace veza {

namespace {

constexpr std::size_t kLongestServerText = 300;
// The limit for a body that is not an error document. It may be a whole web page.
constexpr std::size_t kLongestForeignText = 200;

struct Meaning {
  ErrorCode code;
  bool retryable;
  const char* hint;
};

constexpr const char* kSpaceHint =
    "Free some space on the S3 server, raise the quota of the bucket or its owner, or keep fewer "
    "backups: lower veza_backup.retention_full and call veza_backup_expire(), which also works on "
    "a full repository. A server may need some minutes to notice that space was freed.";
constexpr const char* kKeyHint =
    "Check veza_backup.s3_access_key, or what veza_backup.s3_credentials names in its place.";
constexpr const char* kSignatureHint =
    "Check veza_backup.s3_secret_key or the file that veza_backup.s3_secret_key_file names.";
constexpr const char* kTokenHint =
    "Renew the temporary credentials: veza_backup.s3_session_token and the keys that came with "
    "it. Or let veza_backup.s3_credentials name a provider that renews them by itself.";
constexpr const char* kAccessHint =
    "Allow the owner of veza_backup.s3_access_key to list the bucket and to read, write and delete "
    "objects below the prefix named in veza_backup.repository.";
constexpr const char* kBucketHint =
    "Create the bucket, or correct its name in veza_backup.repository.";
constexpr const char* kStoreSaysHint =
    "The code and the text are the S3 server's own. Look the code up in its documentation.";
constexpr const char* kForeignHint =
    "The response is not an error document of S3. It probably comes from a proxy, a load balancer "
    "or a firewall in front of the S3 server. The message quotes its text, if it has any.";
constexpr const char* kRequestHint =
    "The S3 server does not accept this request. Its text says what it refuses. A bucket with "
    "default retention demands checksums (veza_backup.s3_checksum). An object that was encrypted "
    "with a customer's key needs that key (veza_backup.s3_sse_customer_key_file).";
constexpr const char* kNotImplementedHint =
    "Use an S3 server that supports this request. If its text names a header, the setting for that "
    "header is veza_backup.s3_checksum, s3_storage_class, s3_sse or s3_tags.";
constexpr const char* kValueHint =
    "The S3 server refuses a value of the request. Look at what veza_backup.s3_storage_class, "
    "s3_sse and s3_tags ask for.";
constexpr const char* kChecksumHint =
    "The S3 server does not take the header x-amz-checksum-sha256. Set veza_backup.s3_checksum to "
    "\"md5\".";
constexpr const char* kClassHint =
    "Set veza_backup.s3_storage_class to a class that the S3 server has, or leave it empty.";
constexpr const char* kTagHint =
    "Correct veza_backup.s3_tags. The S3 server has stricter rules than S3's own, or another "
    "limit.";
constexpr const char* kEncryptionHint =
    "Set veza_backup.s3_sse to a kind of encryption that the S3 server knows, or leave it empty.";
constexpr const char* kArchivedHint =
    "The object is in an archive storage class, such as S3 Glacier. Restore it from that class "
    "first, and keep lifecycle rules from moving objects below this prefix to such a class.";
constexpr const char* kKmsHint =
    "The key that encrypts the bucket cannot be used. Enable it, and allow the owner of "
    "veza_backup.s3_access_key to use it.";
constexpr const char* kProxyHint =
    "A proxy asks who you are. Set veza_backup.s3_proxy_login_file to a file with "
    "\"user:password\".";
constexpr const char* kAccountHint =
    "Ask the provider of the S3 server what is wrong with the account.";

struct CodeMeaning {
  std::string_view s3_code;
  Meaning meaning;
};

// Source: "Error responses" of the S3 API reference, and the codes that MinIO and Ceph add.
constexpr CodeMeaning kCodes[] = {
    {"NoSuchKey", {ErrorCode::kNotFound, false, ""}},
    {"NoSuchVersion", {ErrorCode::kNotFound, false, ""}},
    {"NoSuchBucket", {ErrorCode::kFailedPrecondition, false, kBucketHint}},
    {"InvalidBucketName", {ErrorCode::kInvalidArgument, false, kBucketHint}},
    {"PreconditionFailed", {ErrorCode::kAlreadyExists, false, ""}},
    {"ConditionalRequestConflict", {ErrorCode::kUnavailable, true, ""}},
    {"OperationAborted", {ErrorCode::kUnavailable, true, ""}},
    {"ConcurrentModification", {ErrorCode::kUnavailable, true, ""}},
    {"InvalidAccessKeyId", {ErrorCode::kCredentials, false, kKeyHint}},
    {"SignatureDoesNotMatch", {ErrorCode::kCredentials, false, kSignatureHint}},
    {"InvalidToken", {ErrorCode::kCredentials, false, kTokenHint}},
    {"InvalidTokenId", {ErrorCode::kCredentials, false, kTokenHint}},  // of MinIO
    {"ExpiredToken", {ErrorCode::kCredentials, false, kTokenHint}},
    {"TokenRefreshRequired", {ErrorCode::kCredentials, false, kTokenHint}},
    {"AccessDenied", {ErrorCode::kPermissionDenied, false, kAccessHint}},
    {"AllAccessDisabled", {ErrorCode::kPermissionDenied, false, kAccountHint}},
    {"AccountProblem", {ErrorCode::kPermissionDenied, false, kAccountHint}},
    {"NotSignedUp", {ErrorCode::kPermissionDenied, false, kAccountHint}},
    {"InvalidRequest", {ErrorCode::kFailedPrecondition, false, kRequestHint}},
    {"InvalidObjectState", {ErrorCode::kFailedPrecondition, false, kArchivedHint}},
    {"KMS.DisabledException", {ErrorCode::kPermissionDenied, false, kKmsHint}},
    {"KMS.InvalidStateException", {ErrorCode::kPermissionDenied, false, kKmsHint}},
    {"KMS.NotFoundException", {ErrorCode::kPermissionDenied, false, kKmsHint}},
    {"KMS.KeyUnavailableException", {ErrorCode::kUnavailable, true, kKmsHint}},
    {"InvalidRange", {ErrorCode::kInvalidArgument, false, ""}},
    {"EntityTooLarge", {ErrorCode::kInvalidArgument, false, ""}},
    {"RequestTimeout", {ErrorCode::kUnavailable, true, ""}},
    {"InternalError", {ErrorCode::kUnavailable, true, ""}},
    {"SlowDown", {ErrorCode::kUnavailable, true, ""}},
    {"SlowDownRead", {ErrorCode::kUnavailable, true, ""}},
    {"SlowDownWrite", {ErrorCode::kUnavailable, true, ""}},
    {"ServiceUnavailable", {ErrorCode::kUnavailable, true, ""}},
    {"Throttling", {ErrorCode::kUnavailable, true, ""}},
    {"ThrottlingException", {ErrorCode::kUnavailable, true, ""}},
    {"ThrottledException", {ErrorCode::kUnavailable, true, ""}},
    {"RequestThrottled", {ErrorCode::kUnavailable, true, ""}},
    {"RequestThrottledException", {ErrorCode::kUnavailable, true, ""}},
    {"RequestLimitExceeded", {ErrorCode::kUnavailable, true, ""}},
    {"TooManyRequests", {ErrorCode::kUnavailable, true, ""}},
    {"TooManyRequestsException", {ErrorCode::kUnavailable, true, ""}},
    {"KMS.ThrottlingException", {ErrorCode::kUnavailable, true, ""}},
    // The body did not arrive intact.
    {"BadDigest", {ErrorCode::kDataCorrupted, true, ""}},
    {"InvalidDigest", {ErrorCode::kDataCorrupted, true, ""}},
    {"XAmzContentSHA256Mismatch", {ErrorCode::kDataCorrupted, true, ""}},
    {"IncompleteBody", {ErrorCode::kUnavailable, true, ""}},
    {"NotImplemented", {ErrorCode::kUnsupported, false, kNotImplementedHint}},
    {"InvalidStorageClass", {ErrorCode::kFailedPrecondition, false, kClassHint}},
    {"InvalidTag", {ErrorCode::kFailedPrecondition, false, kTagHint}},
    {"InvalidEncryptionAlgorithmError", {ErrorCode::kFailedPrecondition, false, kEncryptionHint}},
    {"QuotaExceeded", {ErrorCode::kNoSpace, false, kSpaceHint}},
    {"InsufficientStorage", {ErrorCode::kNoSpace, false, kSpaceHint}},
    {"XMinioStorageFull", {ErrorCode::kNoSpace, false, kSpaceHint}},
    {"XMinioAdminBucketQuotaExceeded", {ErrorCode::kNoSpace, false, kSpaceHint}},
};

// The meaning of a status when there is no error document, or one with an unknown code. There is a
// hint only where the cause is known. A guess (missing rights, a wrong endpoint) would send the
// reader to the wrong place.
Meaning MeaningOfStatus(int status, const char* unknown) {
  switch (status) {
    case 401:
    case 403:
      return {ErrorCode::kPermissionDenied, false, unknown};
    case 404:
      // S3 reports a missing object with an error document. A bare 404 comes from a proxy or from
      // another service at that address. If it were taken for a missing object, a restore would
      // believe that the archive ends here.
      return {ErrorCode::kUnavailable, true, unknown};
    case 407:
      return {ErrorCode::kPermissionDenied, false, kProxyHint};
    case 405:
    case 501:
      return {ErrorCode::kUnsupported, false, unknown};
    case 408:
    case 409:
    case 425:
    case 429:
      return {ErrorCode::kUnavailable, true, ""};
    case 412:
      return {ErrorCode::kAlreadyExists, false, ""};
    case 416:
      return {ErrorCode::kInvalidArgument, false, ""};
    case 507:
      return {ErrorCode::kNoSpace, false, kSpaceHint};
    default:
      if (status >= 500) {
        return {ErrorCode::kUnavailable, true, ""};
      }
      return {ErrorCode::kFailedPrecondition, false, unknown};
  }
}

// Checks that a code fits the status. "Not found" decides where a recovery ends, and "already
// exists" decides what counts as stored. A code alone is not enough for that, because a proxy may
// have sent it under another status.
bool Fits(ErrorCode code, int status) {
  return (code != ErrorCode::kNotFound || status == 404) &&
         (code != ErrorCode::kAlreadyExists || status == 412);
}

Meaning MeaningOf(int status, std::string_view s3_code) {
  if (s3_code.empty()) {
    return MeaningOfStatus(status, kForeignHint);
  }
  const auto* const known = std::ranges::find(kCodes, s3_code, &CodeMeaning::s3_code);
  return known != std::end(kCodes) && Fits(known->meaning.code, status)
             ? known->meaning
             : MeaningOfStatus(status, kStoreSaysHint);
}

bool MeansWrongRegion(std::string_view s3_code) {
  return s3_code == "AuthorizationHeaderMalformed" || s3_code == "PermanentRedirect" ||
         s3_code == "TemporaryRedirect" || s3_code == "IllegalLocationConstraintException";
}

// Replaces a secret. The search continues after the replacement, because a secret may consist of
// asterisks.
constexpr std::string_view kHidden = "***";

void Redact(std::string& text, std::string_view secret) {
  for (std::size_t at = text.find(secret); !secret.empty() && at != std::string::npos;
       at = text.find(secret, at + kHidden.size())) {
    text.replace(at, secret.size(), kHidden);
  }
}

// `signer` may be null.
void RedactAll(std::string& text, const S3Options& options, const S3CredentialsPtr& signer) {
  Redact(text, options.secret_key.text());
  Redact(text, options.session_token.text());
  Redact(text, options.proxy_login.text());
  Redact(text, options.objects.customer_key.key.text());
  if (signer) {
    Redact(text, signer->keys.secret_key.text());
    Redact(text, signer->session_token.text());
  }
}

// Returns one short line of plain ASCII without secrets.
std::string Clean(std::string text, const S3Options& options, const S3CredentialsPtr& signer) {
  RedactAll(text, options, signer);
  text.resize(std::min(text.size(), kLongestServerText));
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c > 0x7e; }, ' ');
  return text;
}

// Returns HTML or XML text without the tags, and without the content of <style> and <script>.
std::string WithoutTags(std::string_view text) {
  std::string bare;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t open = std::min(text.find('<', at), text.size());
    bare += text.substr(at, open - at);
    bare += ' ';
    std::size_t close = text.find('>', open);
    for (const std::string_view name : {"style", "script"}) {
      const std::string_view tag = text.substr(open).substr(0, name.size() + 1);
      if (tag.size() > name.size() && tag.substr(1) == name) {
        close = text.find('>', text.find(fmt::format("</{}", name), open));
      }
    }
    at = close == std::string_view::npos ? text.size() : close + 1;
  }
  return bare;
}

// Returns the beginning of a body that is not an error document. It came in place of S3's response
// and is the only trace of the cause.
std::string ForeignText(const S3Response& response, const S3Options& options) {
  const std::size_t begin = response.body.find_first_not_of(" \t\r\n");
  if (response.status < 300 || begin == std::string::npos) {
    return {};  // the body may be the content of an object
  }
  std::string text = response.body.substr(begin);
  // Secrets are removed before and after the tags are, because a tag may split a secret.
  RedactAll(text, options, response.credentials);
  if (text.front() == '<') {
    text = WithoutTags(text);
  }
  std::string line;
  for (const char c : text) {
    const bool visible = c > 0x20 && c < 0x7f;
    if (visible || (!line.empty() && line.back() != ' ')) {
      line += visible ? c : ' ';
    }
  }
  RedactAll(line, options, response.credentials);
  line.resize(std::min(line.size(), kLongestForeignText));
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

// Returns the target of a redirect in the form of an endpoint. Empty when the response is not a
// redirect.
std::string RedirectTarget(const S3Response& response, const S3Options& options) {
  std::string location(response.Header("location"));
  // The part after the host may contain a signature.
  const std::size_t host = location.find("://");
  if (response.status < 300 || response.status > 399 || host == std::string::npos) {
    return {};
  }
  location.resize(std::min(location.find_first_of("/?#", host + 3), location.size()));
  return Clean(std::move(location), options, response.credentials);
}

// Returns the pause that the server asks for. It may be any number, so it is cut to one day, which
// is as good as never.
std::optional<std::chrono::milliseconds> RetryAfter(const HttpResponse& response, TimePoint now) {
  constexpr std::chrono::milliseconds kNever = std::chrono::hours(24);
  const std::string_view text = response.Header("retry-after");
  long seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (!text.empty() && error == std::errc() && end == text.data() + text.size()) {
    return std::chrono::seconds(std::clamp(seconds, 0L, kNever / std::chrono::seconds(1)));
  }
  const auto until = ParseHttpDate(text);
  if (!until) {
    return std::nullopt;
  }
  // Relative to the server's clock, if the response has a date.
  const TimePoint since = ParseHttpDate(response.Header("date")).value_or(now);
  return std::clamp(std::chrono::ceil<std::chrono::milliseconds>(*until - since),
                    std::chrono::milliseconds(0), kNever);
}

std::string ClockHint(const HttpResponse& response, TimePoint now) {
  const auto server = ParseHttpDate(response.Header("date"));
  if (!server) {
    return "Set the clock of this host: it is too far from the S3 server's.";
  }
  const auto ahead = std::chrono::duration_cast<std::chrono::seconds>(now - *server).count();
  return fmt::format("Set the clock of this host: it is {} s {} the S3 server's.", std::abs(ahead),
                     ahead < 0 ? "behind" : "ahead of");
}

// `text` may be empty.
Error AnswerError(const Meaning& meaning, const std::string& what, std::string_view answer,
                  std::string_view text) {
  Error error{
      meaning.code,
      fmt::format("{}: server answered {}{}{}", what, answer, text.empty() ? "" : ": ", text),
      meaning.hint, meaning.retryable};
  if (error.message.ends_with('.')) {
    error.message.pop_back();
  }
  return error;
}

bool AsksForMoreThanStoring(const S3ObjectOptions& objects) {
  return !objects.storage_class.empty() || objects.encryption != S3Encryption::kNone ||
         !objects.tags.empty();
}

std::string RegionHint(const std::string& region, const S3Options& options) {
  if (region.empty() || region == options.region) {
    return fmt::format(
        "Set veza_backup.s3_region (now \"{}\") to the region of the bucket, and "
        "veza_backup.s3_endpoint to the endpoint of that region.",
        options.region);
  }
  return fmt::format(
      "Set veza_backup.s3_region to \"{}\", and veza_backup.s3_endpoint to the endpoint of that "
      "region.",
      region);
}

}  // namespace

std::optional<TimePoint> ParseHttpDate(std::string_view text) {
  // libcurl accepts years of any number of digits, which a TimePoint could not hold.
  constexpr std::time_t kEndOf9999 = 253'402'300'799;
  const std::time_t seconds = curl_getdate(std::string(text).c_str(), nullptr);
  if (text.empty() || seconds < 0 || seconds > kEndOf9999) {
    return std::nullopt;
  }
  return TimePoint(std::chrono::seconds(seconds));
}

Error S3ResponseError(const S3Response& response, const std::string& what, const S3Options& options,
                      TimePoint now) {
  const S3ErrorDocument document = ParseS3Error(response.body).value_or(S3ErrorDocument{});
  const auto clean = [&](std::string text) {
    return Clean(std::move(text), options, response.credentials);
  };
  const std::string s3_code = clean(document.code);
  const std::string text =
      s3_code.empty() ? ForeignText(response, options) : clean(document.message);
  const std::string target = RedirectTarget(response, options);

  Error error = AnswerError(
      MeaningOf(response.status, s3_code), what,
      fmt::format("{}{}{}", response.status, s3_code.empty() ? "" : " ", s3_code), text);
  if (!target.empty()) {
    error.message += fmt::format(" (redirect to \"{}\")", target);
  }
  std::string region = clean(document.region);
  if (region.empty()) {
    region = clean(std::string(response.Header("x-amz-bucket-region")));
  }
  const bool redirects = response.status == 301 || response.status == 307;
  if (s3_code == "RequestTimeTooSkewed") {
    error.code = ErrorCode::kFailedPrecondition;
    error.hint = ClockHint(response, now);
  } else if (MeansWrongRegion(s3_code) || (redirects && !region.empty())) {
    error.code = ErrorCode::kFailedPrecondition;
    error.retryable = false;
    error.hint = RegionHint(region, options);
  } else if (options.objects.checksum == S3Checksum::kSha256 && !error.retryable &&
             text.find("x-amz-checksum") != std::string::npos) {
    error.hint = kChecksumHint;
  } else if (s3_code == "InvalidArgument" && AsksForMoreThanStoring(options.objects)) {
    error.hint = kValueHint;
  } else if (!target.empty()) {
    error.hint = fmt::format(
        "Redirects are not followed, because a request is signed for one host. If the S3 server is "
        "at that address, set veza_backup.s3_endpoint to \"{}\".",
        target);
  }
  error.retryable =
      error.retryable || (error.code == ErrorCode::kCredentials && response.others_may_come);
  if (error.retryable) {
    error.retry_after = RetryAfter(response, now);
  }
  return error;
}

std::string DescribeRefusal(const HttpResponse& response) {
  return fmt::format("server answered {} {}", response.status,
                     ParseS3Error(response.body).value_or(S3ErrorDocument{}).code);
}

bool RefusesCredentials(const HttpResponse& response) {
  return (response.status == 400 || response.status == 401 || response.status == 403) &&
         MeaningOf(response.status, ParseS3Error(response.body).value_or(S3ErrorDocument{}).code)
                 .code == ErrorCode::kCredentials;
}

Error S3PartError(std::string_view code, std::string_view message, const std::string& what,
                  const S3Options& options, const S3CredentialsPtr& signer) {
  constexpr int kBadRequest = 400;  // for codes that are not in the table
  const std::string s3_code =
      Clean(code.empty() ? "without a code" : std::string(code), options, signer);
  const std::string text = Clean(std::string(message), options, signer);
  return AnswerError(MeaningOf(kBadRequest, s3_code), what, s3_code, text);
}

}  // namespace veza
