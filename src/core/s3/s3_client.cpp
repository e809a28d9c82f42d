#include "core/s3/s3_client.h"

#include <openssl/evp.h>

#include <algorithm>
#include <iterator>
#include <optional>

#include "core/s3/s3_error.h"

namespace veza {

namespace {

// The SHA-256 digest of no bytes. A request without a body is signed with it.
constexpr const char* kEmptyHash =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
// Fits into the processor's cache.
constexpr std::size_t kHashBufferSize = 256U << 10;

constexpr const char* kTokenHeader = "x-amz-security-token";

// Wipes the secrets that are a part of the request. The copies in libcurl's own buffers stay.
void WipeSecrets(SigV4Request& to_sign, SigV4Signature& signature, HttpRequest& request) {
  for (auto& [name, value] : to_sign.headers) {
    if (IsSecretHeader(name)) {
      Wipe(value);
    }
  }
  for (std::string& header : request.headers) {
    if (IsSecretHeader(std::string_view(header).substr(0, header.find(':')))) {
      Wipe(header);
    }
  }
  Wipe(signature.canonical_request);
}

// A digest that is computed piece by piece.
class Hash {
 public:
  explicit Hash(const EVP_MD* kind)
      : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free),
        good_(EVP_DigestInit_ex(context_.get(), kind, nullptr) == 1) {}

  void Add(ByteView piece) {
    good_ = good_ && EVP_DigestUpdate(context_.get(), piece.data(), piece.size()) == 1;
  }
  // `name` is for the message. OpenSSL may have been told to refuse a kind.
  Result<Bytes> End(const char* name) {
    Bytes digest(EVP_MAX_MD_SIZE);
    unsigned int length = 0;
    if (!good_ || EVP_DigestFinal_ex(context_.get(), digest.data(), &length) != 1) {
      return MakeError(ErrorCode::kUnsupported, "OpenSSL could not compute {}", name)
          .WithHint("Set veza_backup.s3_checksum to \"sha256\".");
    }
    digest.resize(length);
    return digest;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context_;
  bool good_;
};

HttpOptions HttpOptionsOf(const S3Options& options) {
  return {.ca_file = options.ca_file,
          .verify_tls = options.verify_tls,
          .connect_timeout = options.connect_timeout,
          .stall_timeout = options.stall_timeout,
          .total_timeout = options.total_timeout,
          .proxy = options.proxy,
          .proxy_login = options.proxy_login};
}

// How long other credentials are hoped for when S3 has begun to refuse those that it had accepted.
constexpr std::chrono::minutes kOthersMayCome{1};

}  // namespace

S3Client::S3Client(const S3Options& options, S3Address address, Environment environment)
    : address_(std::move(address)),
      environment_(std::move(environment)),
      credentials_(options.credentials),
      region_(options.region),
      objects_(options.objects),
      http_(HttpOptionsOf(options), options.max_connections, environment_.cancellation) {
  if (!credentials_) {
    credentials_ = MakeFixedCredentials(
        "static", {{options.access_key, options.secret_key}, options.session_token, {}});
  }
}

Result<S3Response> S3Client::Send(const S3Call& call, const std::string& purpose) {
  RETURN_IF_ERROR(environment_.cancellation->Check());
  Result<S3CredentialsPtr> credentials = credentials_->Get(environment_);
  if (!credentials) {
    return InRequest(std::move(credentials.error()), purpose);
  }
  ASSIGN_OR_RETURN(S3Response response, SendOnce(call, purpose, *credentials));
  if (!RefusesCredentials(response)) {
    return Judged(std::move(response));
  }
  Result<S3CredentialsPtr> others = credentials_->Replace(**credentials, environment_);
  if (!others) {
    return InRequest(std::move(others.error()).WithContext(DescribeRefusal(response)), purpose);
  }
  if (*others == nullptr) {
    return Judged(std::move(response));
  }
  if (call.body != nullptr) {
    RETURN_IF_ERROR(call.body->Rewind());
  }
  ASSIGN_OR_RETURN(response, SendOnce(call, purpose, *std::move(others)));
  return Judged(std::move(response));
}

Error S3Client::InRequest(Error error, const std::string& purpose) {
  if (error.code == ErrorCode::kCancelled) {
    return error;
  }
  // A file may be away for a moment, while somebody replaces it.
  error.retryable = error.retryable || OthersMayCome();
  return std::move(error).WithContext(purpose);
}

S3Response S3Client::Judged(S3Response response) {
  if (RefusesCredentials(response)) {
    response.others_may_come = OthersMayCome();
  } else if (response.status / 100 == 2) {
    was_accepted_ = true;
    credentials_->Accepted(*response.credentials);
    const std::lock_guard lock(refusals_);
    first_refusal_.reset();
  }
  return response;
}

bool S3Client::OthersMayCome() {
  const SteadyTime now = environment_.clock->Steady();
  const std::lock_guard lock(refusals_);
  if (!first_refusal_ || now - last_refusal_ > kOthersMayCome) {
    first_refusal_ = now;
  }
  last_refusal_ = now;
  return was_accepted_ && credentials_->may_change() && now - *first_refusal_ < kOthersMayCome;
}

Result<S3Response> S3Client::SendOnce(const S3Call& call, const std::string& purpose,
                                      S3CredentialsPtr credentials) {
  const TimePoint now = environment_.clock->Now();
  SigV4Request to_sign{call.method, address_.Path(call.key), call.query, call.headers,
                       call.payload_hash.empty() ? kEmptyHash : call.payload_hash};
  to_sign.headers.emplace_back("host", address_.host);
  to_sign.headers.emplace_back("x-amz-content-sha256", to_sign.payload_hash);
  to_sign.headers.emplace_back("x-amz-date", AmzDate(now));
  if (!credentials->session_token.empty()) {
    to_sign.headers.emplace_back(kTokenHeader, credentials->session_token.text());
  }
  if (!call.key.empty() && call.method != "DELETE") {
    S3Headers more = CustomerKeyHeaders(objects_);
    std::ranges::move(more, std::back_inserter(to_sign.headers));
  }
  SigV4Signature signature = SignV4(to_sign, credentials->keys, {region_, "s3", now});

  HttpRequest request;
  request.method = call.method;
  request.url = fmt::format("{}{}{}{}", address_.origin, to_sign.path,
                            call.query.empty() ? "" : "?", CanonicalQuery(call.query));
  request.purpose = purpose;
  for (const auto& [name, value] : to_sign.headers) {
    request.headers.push_back(fmt::format("{}: {}", name, value));
  }
  request.headers.push_back("authorization: " + signature.authorization);
  request.headers.emplace_back("user-agent: veza_backup/" VEZA_VERSION);
  // libcurl would add these two headers, and would wait up to a second for the "100 Continue" that
  // "expect" asks for.
  request.headers.emplace_back("accept:");
  request.headers.emplace_back("expect:");
  request.body = call.body;
  request.sink = call.sink;
  request.sink_status = call.sink_status;
  request.body_limit = call.body_limit;
  Result<HttpResponse> response = http_.Perform(request);
  WipeSecrets(to_sign, signature, request);
  RETURN_IF_ERROR(response);
  return S3Response{*std::move(response), std::move(credentials)};
}

Result<S3Payload> S3Client::HashPayload(Body& body, const std::string& name) const {
  RETURN_IF_ERROR(body.Rewind());
  Hash sha256(EVP_sha256());
  std::optional<Hash> md5;
  if (objects_.checksum == S3Checksum::kMd5) {
    md5.emplace(EVP_md5());
  }
  Bytes buffer(
      static_cast<std::size_t>(std::clamp<std::uint64_t>(body.size(), 1, kHashBufferSize)));
  std::uint64_t size = 0;
  for (;;) {
    RETURN_IF_ERROR(environment_.cancellation->Check());
    ASSIGN_OR_RETURN(const std::size_t count, body.Read(buffer));
    if (count == 0) {
      break;
    }
    sha256.Add({buffer.data(), count});
    if (md5) {
      md5->Add({buffer.data(), count});
    }
    size += count;
  }
  if (size != body.size()) {
    return MakeError(ErrorCode::kInternal,
                     "content of object \"{}\" has {} bytes, but {} were announced", name, size,
                     body.size());
  }
  S3Payload payload;
  ASSIGN_OR_RETURN(const Bytes digest, sha256.End("SHA-256"));
  payload.sha256 = ToHex(digest);
  if (md5) {
    ASSIGN_OR_RETURN(const Bytes checksum, md5->End("MD5"));
    payload.md5 = ToBase64(checksum);
  }
  RETURN_IF_ERROR(body.Rewind());
  return payload;
}

}  // namespace veza
