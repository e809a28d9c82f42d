#include "core/s3/http_transfer.h"

#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <optional>

#include "core/ascii.h"

namespace veza {

namespace {

using std::chrono::milliseconds;

// Large, so that a pack needs few system calls. libcurl 7.80 accepts no more for downloads.
constexpr long kBufferSize = 512L << 10;
constexpr std::size_t kMostHeaderBytes = 64U << 10;

// Blocks all signals while libcurl runs. libcurl may start a thread that resolves a name. That
// thread inherits the signal mask, and in a server process it must not run signal handlers. OpenSSL
// may also raise SIGPIPE. Signals are not blocked while waiting, so that a signal handler can
// cancel.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() {
    sigset_t pending;
    if (sigismember(&before_, SIGPIPE) == 0 && sigpending(&pending) == 0 &&
        sigismember(&pending, SIGPIPE) == 1) {
      sigset_t pipe;
      sigemptyset(&pipe);
      sigaddset(&pipe, SIGPIPE);
      const timespec at_once{};
      sigtimedwait(&pipe, nullptr, &at_once);
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_{};
};

// A header may contain a session token.
void WipeAndFree(curl_slist* list) {
  for (curl_slist* item = list; item != nullptr; item = item->next) {
    explicit_bzero(item->data, std::strlen(item->data));
  }
  curl_slist_free_all(list);
}

// The login as a header of its own, because libcurl's options for it decode %XX, which a password
// may contain. Null without a login.
curl_slist* ProxyHeaders(const SecretString& login) {
  if (login.empty()) {
    return nullptr;
  }
  std::string encoded = ToBase64(AsBytes(login.text()));
  const WipeAtEnd wipe_encoded(encoded);
  std::string header = "proxy-authorization: Basic " + encoded;
  const WipeAtEnd wipe_header(header);
  return curl_slist_append(nullptr, header.c_str());
}

constexpr std::string_view kBlanks = " \t\r\n";

constexpr const char* kSlowHint =
    "Check the network to the host named in veza_backup.s3_endpoint, and its load.";

Error TooSlow(const std::string& what, milliseconds limit, const char* hint = kSlowHint) {
  return MakeError(ErrorCode::kDeadlineExceeded, "{} within {} ms", what, limit.count())
      .WithHint(hint)
      .Retryable();
}

constexpr const char* kDeadlineHint =
    "Check the network to the host named in veza_backup.s3_endpoint, and its load. A request may "
    "take as long as veza_backup.s3_request_timeout says.";

// Decides whether a transfer still makes progress.
class Pace {
 public:
  Pace(const HttpOptions& options, SteadyTime now)
      : options_(options),
        total_end_(now + options.total_timeout),
        stall_end_(now + options.stall_timeout),
        slow_end_(now + options.slow_timeout) {}

  // `bytes` were received and sent so far. `busy` is the time that our own side has taken since the
  // last call.
  Status Look(std::int64_t bytes, SteadyTime now, SteadyTime::duration busy) {
    slow_end_ += busy;
    if (bytes != bytes_) {
      bytes_ = bytes;
      stall_end_ = now + options_.stall_timeout;
    }
    if (now >= total_end_) {
      return TooSlow("the transfer did not end", options_.total_timeout, kDeadlineHint);
    }
    if (now >= stall_end_) {
      return TooSlow("no data was transferred", options_.stall_timeout);
    }
    if (now < slow_end_) {
      return Ok();
    }
    const std::int64_t moved = bytes_ - counted_;
    if (moved < kLeastRate * options_.slow_timeout.count() / 1000) {
      return TooSlow(fmt::format("no more than {} bytes were transferred", moved),
                     options_.slow_timeout);
    }
    counted_ = bytes_;
    slow_end_ = now + options_.slow_timeout;
    return Ok();
  }
  // When Look() must be called again at the latest.
  SteadyTime NextEnd() const { return std::min({total_end_, stall_end_, slow_end_}); }

 private:
  const HttpOptions& options_;
  const SteadyTime total_end_;
  SteadyTime stall_end_;
  SteadyTime slow_end_;
  std::int64_t bytes_ = -1;
  std::int64_t counted_ = 0;  // bytes moved before the current slow_timeout began
};

// True when the port may expect TLS: such a server may close the connection as soon as it sees
// plain HTTP.
bool MayExpectTls(CURLcode code, const HttpRequest& request) {
  return (code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR || code == CURLE_SEND_ERROR) &&
         request.url.starts_with("http://");
}

constexpr const char* kProxyLoginHint =
    "Set veza_backup.s3_proxy_login_file to a file with \"user:password\" for the proxy named in "
    "veza_backup.s3_proxy.";
constexpr const char* kRunsHint =
    "Check that the server named in veza_backup.s3_endpoint is running and that no firewall blocks "
    "it.";

}  // namespace

// What the callbacks share: the request, the response so far, and the error that stopped the
// transfer.
struct HttpTransfer::Exchange {
  CURL* easy;
  const HttpRequest& request;
  const Cancellation& cancellation;
  HttpResponse response{};
  std::size_t header_bytes = 0;
  std::optional<Error> failure{};

  int StatusCode() const {
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
    return static_cast<int>(status);
  }

  // libcurl is written in C, so an exception (out of memory) must not pass through it.
  template <typename Step>
  bool Guarded(const Step& step) {
    try {
      return step();
    } catch (const std::exception& exception) {
      failure = MakeError(ErrorCode::kInternal, "exception in a transfer: {}", exception.what());
      return false;
    }
  }

  static std::size_t OnHeader(char* data, std::size_t, std::size_t size, void* self) {
    auto& exchange = *static_cast<Exchange*>(self);
    return exchange.Guarded([&] { return exchange.TakeHeader({data, size}); }) ? size : 0;
  }
  bool TakeHeader(std::string_view line) {
    // The limit also covers interim responses (100 Continue), which a server could send without
    // end.
    header_bytes += line.size();
    if (header_bytes > kMostHeaderBytes) {
      failure = MakeError(ErrorCode::kUnavailable, "{}: the header of the answer is too long",
                          request.purpose);
      return false;
    }
    if (line.starts_with("HTTP/")) {
      response.headers.clear();  // an interim response came before
      return true;
    }
    const std::size_t colon = line.find(':');
    if (colon != std::string_view::npos) {
      response.headers.insert_or_assign(LowerCase(Trim(line.substr(0, colon), kBlanks)),
                                        std::string(Trim(line.substr(colon + 1), kBlanks)));
    }
    return true;
  }

  static std::size_t OnBody(char* data, std::size_t, std::size_t size, void* self) {
    auto& exchange = *static_cast<Exchange*>(self);
    return exchange.Guarded([&] { return exchange.TakeBody({data, size}); }) ? size : 0;
  }
  bool TakeBody(std::string_view piece) {
    // libcurl takes up to 100 pieces before it returns.
    if (Status wanted = cancellation.Check(); !wanted) {
      failure = std::move(wanted.error());
      return false;
    }
    const int status = StatusCode();
    if (request.sink && status == request.sink_status) {
      Status taken = request.sink(AsBytes(piece));
      if (!taken) {
        failure = std::move(taken.error());
        return false;
      }
      response.delivered += piece.size();
      return true;
    }
    const std::size_t room = request.body_limit - response.body.size();
    if (piece.size() > room && status < 300) {
      failure = MakeError(ErrorCode::kUnavailable, "{}: the answer is longer than {} bytes",
                          request.purpose, request.body_limit);
      return false;
    }
    response.body += piece.substr(0, room);
    return true;
  }

  static std::size_t OnUpload(char* buffer, std::size_t, std::size_t size, void* self) {
    auto& exchange = *static_cast<Exchange*>(self);
    std::size_t count = 0;
    const bool read = exchange.Guarded([&] {
      Result<std::size_t> got =
          exchange.request.body->Read({reinterpret_cast<std::uint8_t*>(buffer), size});
      if (!got) {
        exchange.failure = std::move(got.error());
        return false;
      }
      count = *got;
      return true;
    });
    return read ? count : CURL_READFUNC_ABORT;
  }

  // libcurl sends a request again by itself when a kept-alive connection turns out to be dead. That
  // must not happen after a part of the body was sent: the server may have stored the object, and
  // the second attempt would find its own object in the way. RetryingStore handles that case.
  static int OnSeek(void*, curl_off_t, int) { return CURL_SEEKFUNC_FAIL; }
};

std::string_view HttpResponse::Header(std::string_view name) const {
  const auto found = headers.find(name);
  return found == headers.end() ? std::string_view() : found->second;
}

Result<std::unique_ptr<HttpTransfer>> HttpTransfer::Make() {
  static const CURLcode initialized = curl_global_init(CURL_GLOBAL_DEFAULT);
  CURLM* multi = initialized == CURLE_OK ? curl_multi_init() : nullptr;
  CURL* easy = multi != nullptr ? curl_easy_init() : nullptr;
  if (easy == nullptr) {
    curl_multi_cleanup(multi);
    return MakeError(ErrorCode::kInternal, "could not initialize libcurl");
  }
  return std::unique_ptr<HttpTransfer>(new HttpTransfer(multi, easy));
}

HttpTransfer::~HttpTransfer() {
  const SignalsBlocked blocked;
  curl_easy_cleanup(easy_);
  curl_multi_cleanup(multi_);
}

Result<HttpResponse> HttpTransfer::Perform(const HttpRequest& request, const HttpOptions& options,
                                           const Cancellation& cancellation) {
  Exchange exchange{easy_, request, cancellation};
  curl_slist* list = nullptr;
  for (const std::string& header : request.headers) {
    if (curl_slist* longer = curl_slist_append(list, header.c_str())) {
      list = longer;
    }
  }
  const std::unique_ptr<curl_slist, void (*)(curl_slist*)> headers(list, WipeAndFree);
  const std::unique_ptr<curl_slist, void (*)(curl_slist*)> proxy_headers(
      ProxyHeaders(options.proxy_login), WipeAndFree);
  Configure(request, options, headers.get(), exchange);
  ConfigureProxy(options, proxy_headers.get());
  curl_multi_add_handle(multi_, easy_);
  Result<CURLcode> ended = Drive(options, cancellation);
  {
    const SignalsBlocked blocked;
    curl_multi_remove_handle(multi_, easy_);  // closes the connection unless all has arrived
  }
  if (exchange.failure) {
    return std::move(*exchange.failure);
  }
  if (!ended) {
    return ended.error().code == ErrorCode::kCancelled
               ? std::move(ended.error())
               : std::move(ended.error()).WithContext(request.purpose);
  }
  if (*ended != CURLE_OK) {
    return TransportError(*ended, request, options).WithContext(request.purpose);
  }
  exchange.response.status = exchange.StatusCode();
  return std::move(exchange.response);
}

void HttpTransfer::Configure(const HttpRequest& request, const HttpOptions& options,
                             curl_slist* headers, Exchange& exchange) {
  curl_easy_reset(easy_);
  error_text_[0] = '\0';
  const auto set = [this](CURLoption option, auto value) {
    curl_easy_setopt(easy_, option, value);
  };
  set(CURLOPT_ERRORBUFFER, error_text_);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_PATH_AS_IS, 1L);
  set(CURLOPT_TCP_NODELAY, 1L);
  set(CURLOPT_TCP_KEEPALIVE, 1L);
  set(CURLOPT_BUFFERSIZE, kBufferSize);
  set(CURLOPT_UPLOAD_BUFFERSIZE, kBufferSize);
  set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout.count()));
#if LIBCURL_VERSION_NUM >= 0x075700
  set(CURLOPT_QUICK_EXIT, 1L);  // do not wait for the resolver's thread when cancelled
#endif

  set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  set(CURLOPT_SSL_VERIFYPEER, options.verify_tls ? 1L : 0L);
  set(CURLOPT_SSL_VERIFYHOST, options.verify_tls ? 2L : 0L);
  if (!options.ca_file.empty()) {
    set(CURLOPT_CAINFO, options.ca_file.c_str());
    set(CURLOPT_CAPATH, static_cast<char*>(nullptr));  // trust only this file
  }

  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_HTTPHEADER, headers);
  if (request.body != nullptr) {
    set(CURLOPT_UPLOAD, 1L);
    set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.body->size()));
    set(CURLOPT_READFUNCTION, &Exchange::OnUpload);
    set(CURLOPT_READDATA, &exchange);
    set(CURLOPT_SEEKFUNCTION, &Exchange::OnSeek);
  } else if (request.method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
  }
  // Otherwise libcurl knows the method: PUT with a body, and HEAD and GET without one.
  if (request.method != (request.body != nullptr ? "PUT" : "GET") && request.method != "HEAD") {
    set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
  set(CURLOPT_HEADERFUNCTION, &Exchange::OnHeader);
  set(CURLOPT_HEADERDATA, &exchange);
  set(CURLOPT_WRITEFUNCTION, &Exchange::OnBody);
  set(CURLOPT_WRITEDATA, &exchange);
}

// An empty name turns the environment's variables off.
void HttpTransfer::ConfigureProxy(const HttpOptions& options, curl_slist* headers) {
  curl_easy_setopt(easy_, CURLOPT_PROXY, options.proxy.c_str());
  curl_easy_setopt(easy_, CURLOPT_NOPROXY, "");
  if (!options.proxy.empty()) {
    // The headers of a request are for the server behind the tunnel. One may be a session token.
    curl_easy_setopt(easy_, CURLOPT_HEADEROPT, static_cast<long>(CURLHEADER_SEPARATE));
    curl_easy_setopt(easy_, CURLOPT_PROXYHEADER, headers);
    curl_easy_setopt(easy_, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
  }
}

Result<CURLcode> HttpTransfer::Drive(const HttpOptions& options, const Cancellation& cancellation) {
  using std::chrono::steady_clock;
  Pace pace(options, steady_clock::now());
  curl_waitfd wake{};
  wake.fd = cancellation.fd();
  wake.events = CURL_WAIT_POLLIN;
  for (;;) {
    RETURN_IF_ERROR(cancellation.Check());
    int running = 0;
    CURLMcode driven = CURLM_OK;
    const auto before = steady_clock::now();
    {
      const SignalsBlocked blocked;
      driven = curl_multi_perform(multi_, &running);
    }
    int queued = 0;
    while (const CURLMsg* message = curl_multi_info_read(multi_, &queued)) {
      if (message->msg == CURLMSG_DONE) {
        return message->data.result;
      }
    }
    const auto now = steady_clock::now();
    RETURN_IF_ERROR(pace.Look(Progress(), now, now - before));
    const auto wait = std::chrono::ceil<milliseconds>(pace.NextEnd() - now).count();
    if (driven == CURLM_OK) {
      driven = curl_multi_poll(multi_, &wake, 1,
                               static_cast<int>(std::min<std::int64_t>(wait, 1000)), nullptr);
    }
    if (driven != CURLM_OK) {
      return MakeError(ErrorCode::kInternal, "libcurl failed: {}", curl_multi_strerror(driven));
    }
  }
}

std::int64_t HttpTransfer::Progress() const {
  curl_off_t received = 0;
  curl_off_t sent = 0;
  long header = 0;
  curl_easy_getinfo(easy_, CURLINFO_SIZE_DOWNLOAD_T, &received);
  curl_easy_getinfo(easy_, CURLINFO_SIZE_UPLOAD_T, &sent);
  curl_easy_getinfo(easy_, CURLINFO_HEADER_SIZE, &header);
  return received + sent + header;
}

std::string CertificateHint(long verify_result) {
  switch (verify_result) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
      return "Renew the certificate of the S3 server or of its certificate authority. If the clock "
             "of this host is wrong, set it.";
    case X509_V_ERR_CERT_REVOKED:
      return "Renew the certificate of the S3 server.";
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
    case X509_V_OK:
    case X509_V_ERR_UNSPECIFIED:  // libcurl sets it when OpenSSL found no fault
      return "Set veza_backup.s3_endpoint to a host name that the certificate contains.";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return "Set veza_backup.s3_ca_file to a file with the certificate of the server's "
             "certificate authority.";
    default:
      return "The text from OpenSSL says what is wrong with the certificate. "
             "veza_backup.s3_ca_file names the certificate authority that is trusted.";
  }
}

std::optional<Error> HttpTransfer::ProxyError(CURLcode code, const std::string& text,
                                              const HttpOptions& options) const {
  if (options.proxy.empty()) {
    return std::nullopt;
  }
  long answer = 0;  // of a proxy that was asked for a tunnel
  curl_easy_getinfo(easy_, CURLINFO_HTTP_CONNECTCODE, &answer);
  if (answer == 407) {
    return MakeError(ErrorCode::kPermissionDenied, "the proxy \"{}\" answered 407: {}",
                     options.proxy, text)
        .WithHint(kProxyLoginHint);
  }
  if (answer >= 300) {
    return MakeError(ErrorCode::kUnavailable, "the proxy \"{}\" opened no tunnel: {}",
                     options.proxy, text)
        .WithHint(
            "Let the proxy named in veza_backup.s3_proxy connect to the host and the port of "
            "veza_backup.s3_endpoint.")
        .Retryable();
  }
  if (code == CURLE_COULDNT_RESOLVE_PROXY || code == CURLE_COULDNT_CONNECT ||
      code == CURLE_OPERATION_TIMEDOUT) {
    return MakeError(ErrorCode::kUnavailable, "could not connect to the proxy \"{}\": {}",
                     options.proxy, text)
        .WithHint("Check veza_backup.s3_proxy, and that the proxy is running.")
        .Retryable();
  }
  return std::nullopt;
}

Error HttpTransfer::TransportError(CURLcode code, const HttpRequest& request,
                                   const HttpOptions& options) const {
  const std::string text =
      std::string(Trim(error_text_[0] != '\0' ? error_text_ : curl_easy_strerror(code), kBlanks));
  if (std::optional<Error> error = ProxyError(code, text, options)) {
    return std::move(*error);
  }
  long verified = 0;
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
      return MakeError(ErrorCode::kUnavailable, "could not find the server: {}", text)
          .WithHint("Check the host name in veza_backup.s3_endpoint and this host's name service.")
          .Retryable();
    case CURLE_COULDNT_CONNECT:
      return MakeError(ErrorCode::kUnavailable, "could not connect: {}", text)
          .WithHint(kRunsHint)
          .Retryable();
    case CURLE_OPERATION_TIMEDOUT:  // libcurl was given no other time limit
      return MakeError(ErrorCode::kDeadlineExceeded, "could not connect within {} ms",
                       options.connect_timeout.count())
          .WithHint(kRunsHint)
          .Retryable();
    case CURLE_PEER_FAILED_VERIFICATION:
      curl_easy_getinfo(easy_, CURLINFO_SSL_VERIFYRESULT, &verified);
      return MakeError(ErrorCode::kFailedPrecondition,
                       "the server's TLS certificate cannot be trusted: {}", text)
          .WithHint(CertificateHint(verified));
    case CURLE_SSL_CACERT_BADFILE:
      return MakeError(ErrorCode::kInvalidArgument,
                       "could not use the file of trusted certificates: {}", text)
          .WithHint(
              "Set veza_backup.s3_ca_file to a readable file with certificates in PEM format.");
    case CURLE_SSL_CONNECT_ERROR:
      return MakeError(ErrorCode::kUnavailable, "could not start TLS: {}", text)
          .WithHint(
              "Check that the port named in veza_backup.s3_endpoint speaks TLS. If it does not, "
              "write \"http://...\" there.")
          .Retryable();
    case CURLE_OUT_OF_MEMORY:
      return MakeError(ErrorCode::kInternal, "libcurl ran out of memory");
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WEIRD_SERVER_REPLY:
      return MakeError(ErrorCode::kUnavailable, "the server does not answer in HTTP: {}", text)
          .WithHint("Check the scheme and the port in veza_backup.s3_endpoint.")
          .Retryable();
    default:
      return MakeError(ErrorCode::kUnavailable, "the connection was lost: {}", text)
          .WithHint(MayExpectTls(code, request)
                        ? "Check the network to the host named in veza_backup.s3_endpoint. If its "
                          "port speaks TLS, write \"https://...\" there."
                        : "Check the network to the host named in veza_backup.s3_endpoint.")
          .Retryable();
  }
}

}  // namespace veza
