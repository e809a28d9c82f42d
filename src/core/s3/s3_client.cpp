#include "core/s3/s3_client.h"

#include <openssl/evp.h>

#include <algorithm>

namespace veza {

namespace {

// The SHA-256 digest of no bytes. A request without a body is signed with it.
constexpr const char* kEmptyHash =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
// Fits into the processor's cache.
constexpr std::size_t kHashBufferSize = 256U << 10;

constexpr const char* kTokenHeader = "x-amz-security-token";

// Wipes the session token, which is a part of the request. The copies in libcurl's own buffers
// stay.
void WipeToken(SigV4Request& to_sign, SigV4Signature& signature, HttpRequest& request) {
  for (auto& [name, value] : to_sign.headers) {
    if (name == kTokenHeader) {
      Wipe(value);
    }
  }
  for (std::string& header : request.headers) {
    if (header.starts_with(kTokenHeader)) {
      Wipe(header);
    }
  }
  Wipe(signature.canonical_request);
}

HttpOptions HttpOptionsOf(const S3Options& options) {
  return {.ca_file = options.ca_file,
          .verify_tls = options.verify_tls,
          .connect_timeout = options.connect_timeout,
          .stall_timeout = options.stall_timeout,
          .total_timeout = options.total_timeout,
          .proxy = options.proxy,
          .proxy_login = options.proxy_login};
}

}  // namespace

S3Client::S3Client(const S3Options& options, S3Address address, Environment environment)
    : address_(std::move(address)),
      environment_(std::move(environment)),
      credentials_{options.access_key, options.secret_key},
      region_(options.region),
      session_token_(options.session_token),
      http_(HttpOptionsOf(options), options.max_connections, environment_.cancellation) {}

Result<HttpResponse> S3Client::Send(const S3Call& call, const std::string& purpose) {
  RETURN_IF_ERROR(environment_.cancellation->Check());
  const TimePoint now = environment_.clock->Now();
  SigV4Request to_sign{call.method, address_.Path(call.key), call.query, call.headers,
                       call.payload_hash.empty() ? kEmptyHash : call.payload_hash};
  to_sign.headers.emplace_back("host", address_.host);
  to_sign.headers.emplace_back("x-amz-content-sha256", to_sign.payload_hash);
  to_sign.headers.emplace_back("x-amz-date", AmzDate(now));
  if (!session_token_.empty()) {
    to_sign.headers.emplace_back(kTokenHeader, session_token_.text());
  }
  SigV4Signature signature = SignV4(to_sign, credentials_, {region_, "s3", now});

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
  if (!session_token_.empty()) {
    WipeToken(to_sign, signature, request);
  }
  return response;
}

Result<std::string> S3Client::HashPayload(Body& body, const std::string& name) const {
  RETURN_IF_ERROR(body.Rewind());
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> digest(EVP_MD_CTX_new(),
                                                                  EVP_MD_CTX_free);
  bool good = EVP_DigestInit_ex(digest.get(), EVP_sha256(), nullptr) == 1;
  Bytes buffer(
      static_cast<std::size_t>(std::clamp<std::uint64_t>(body.size(), 1, kHashBufferSize)));
  std::uint64_t size = 0;
  for (;;) {
    RETURN_IF_ERROR(environment_.cancellation->Check());
    ASSIGN_OR_RETURN(const std::size_t count, body.Read(buffer));
    if (count == 0) {
      break;
    }
    good = good && EVP_DigestUpdate(digest.get(), buffer.data(), count) == 1;
    size += count;
  }
  if (size != body.size()) {
    return MakeError(ErrorCode::kInternal,
                     "content of object \"{}\" has {} bytes, but {} were announced", name, size,
                     body.size());
  }
  std::uint8_t hash[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  if (!good || EVP_DigestFinal_ex(digest.get(), hash, &length) != 1) {
    return MakeError(ErrorCode::kInternal, "could not compute a SHA-256 digest");
  }
  RETURN_IF_ERROR(body.Rewind());
  return ToHex({hash, length});
}

}  // namespace veza
