// One HTTP/1.1 request and its response, over a libcurl handle that keeps its connection open.
//
// Nothing here blocks longer than its deadlines, and cancellation is noticed at once, in every
// phase of the transfer. Redirects are not followed, because a signed request is valid only for the
// host that it was signed for. The environment's proxies are not used, only the one of the options.
// Bodies are streamed both ways.
#pragma once

#include <curl/curl.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/limits.h"
#include "core/secret_string.h"
#include "core/storage/body.h"

namespace veza {

struct HttpOptions {
  std::string ca_file;  // empty: the certificates of the system
  bool verify_tls = true;
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds stall_timeout{30'000};  // longest time without any byte
  std::chrono::milliseconds total_timeout{600'000};
  // The transfer fails when it moves fewer than kLeastRate bytes per second for this long. Time
  // that the body and the sink take does not count, because our own rate limit is not the network's
  // fault.
  std::chrono::milliseconds slow_timeout{60'000};
  // "http://host[:port]"; empty: no proxy. It passes on what goes to an endpoint without TLS. To
  // one with TLS it only opens a tunnel, and sees neither requests nor responses.
  std::string proxy{};
  SecretString proxy_login{};  // "user:password", for the proxy alone; empty: no login
};
// Bytes per second. A pack at this rate would not end before the default of total_timeout, so a
// working network is never as slow for a whole minute.
inline constexpr std::int64_t kLeastRate = 1'000;

struct HttpRequest {
  std::string method;
  std::string url;
  std::string purpose;               // begins the message of every network error
  std::vector<std::string> headers;  // "Name: value"
  Body* body = nullptr;              // must be at its start; read once, never rewound
  // Receives the body of a response whose status is `sink_status`. The body of every other response
  // goes to HttpResponse::body.
  Sink sink;
  int sink_status = 200;
  // The largest HttpResponse::body. An error response is cut off there. A longer body of a
  // successful response makes the request fail.
  std::size_t body_limit = limits::kErrorAnswer;
};

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string, std::less<>> headers;  // names in lower case
  std::string body;
  std::uint64_t delivered = 0;  // bytes that the sink took

  // Returns an empty value when there is no such header. `name` is in lower case.
  std::string_view Header(std::string_view name) const;
};

// Returns the hint for a certificate that was not trusted. `verify_result` is OpenSSL's
// X509_V_ERR_… code.
std::string CertificateHint(long verify_result);

// Not thread-safe: one request at a time.
class HttpTransfer {
 public:
  // kInternal when libcurl cannot be initialised.
  static Result<std::unique_ptr<HttpTransfer>> Make();
  ~HttpTransfer();
  HttpTransfer(const HttpTransfer&) = delete;
  HttpTransfer& operator=(const HttpTransfer&) = delete;

  // Sends the request and waits for the response. A response of any status is a success. An error
  // means that there is no response, or not all of it. Errors of `request.body` and `request.sink`
  // are returned as they are. kCancelled after cancellation. Network errors begin with the
  // request's purpose, and their hint names the setting to check. Discard the handle after an
  // error.
  Result<HttpResponse> Perform(const HttpRequest& request, const HttpOptions& options,
                               const Cancellation& cancellation);

 private:
  struct Exchange;

  HttpTransfer(CURLM* multi, CURL* easy) : multi_(multi), easy_(easy) {}
  void Configure(const HttpRequest& request, const HttpOptions& options, curl_slist* headers,
                 Exchange& exchange);
  // Drives the transfer to its end. Returns libcurl's result, or the reason why the transfer was
  // given up.
  Result<CURLcode> Drive(const HttpOptions& options, const Cancellation& cancellation);
  // The number of bytes sent and received so far.
  std::int64_t Progress() const;
  void ConfigureProxy(const HttpOptions& options, curl_slist* headers);
  Error TransportError(CURLcode code, const HttpRequest& request, const HttpOptions& options) const;
  // Null when the request did not fail at the proxy.
  std::optional<Error> ProxyError(CURLcode code, const std::string& text,
                                  const HttpOptions& options) const;

  CURLM* multi_;
  CURL* easy_;
  char error_text_[CURL_ERROR_SIZE] = {};
};

}  // namespace veza
