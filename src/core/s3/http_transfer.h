// One HTTP/1.1 request and its answer over a libcurl handle that keeps its connection alive.
//
// Nothing here blocks longer than its deadlines, and cancellation is noticed at once, whatever the
// transfer is waiting for. Redirects are not followed and proxies of the environment not used: a
// signed request is for the host that it was signed for. Bodies are streamed both ways.
#pragma once

#include <curl/curl.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/limits.h"
#include "core/storage/body.h"

namespace veza {

struct HttpOptions {
  std::string ca_file;  // empty: the system's
  bool verify_tls = true;
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds stall_timeout{30'000};  // not a byte either way for this long
  std::chrono::milliseconds total_timeout{600'000};
  // Fewer than kLeastRate bytes a second for this long. What the body and the sink take does not
  // count: a rate limit of ours is not the network's fault.
  std::chrono::milliseconds slow_timeout{60'000};
};
// A pack at this rate would not end before total_timeout: nothing honest is as slow for a minute.
inline constexpr std::int64_t kLeastRate = 1'000;

struct HttpRequest {
  std::string method;
  std::string url;
  std::string purpose;               // begins every message of the network's errors
  std::vector<std::string> headers;  // "Name: value"
  Body* body = nullptr;              // at its start; sent once, never rewound
  // Takes the body of an answer that has this status. Every other body goes to HttpResponse::body.
  Sink sink;
  int sink_status = 200;
  // Of HttpResponse::body: an error's is cut off there, any other that is longer is an error.
  std::size_t body_limit = limits::kErrorAnswer;
};

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string, std::less<>> headers;  // names in lower case
  std::string body;
  std::uint64_t delivered = 0;  // bytes that the sink took

  // Empty if there is no such header.
  std::string_view Header(std::string_view name) const;
};

// What to do about a certificate that was not trusted, by what the check of it has found
// (X509_V_ERR_… of OpenSSL).
std::string CertificateHint(long verify_result);

// Not thread-safe: one request at a time.
class HttpTransfer {
 public:
  // kInternal if libcurl cannot be set up.
  static Result<std::unique_ptr<HttpTransfer>> Make();
  ~HttpTransfer();
  HttpTransfer(const HttpTransfer&) = delete;
  HttpTransfer& operator=(const HttpTransfer&) = delete;

  // An answer of any status is a success; an error means that there is none, or not all of it:
  // errors of `request.body` and `request.sink` as they are, kCancelled, and those of the network
  // with the request's purpose and a hint that names the setting to look at. After an error the
  // handle should be discarded.
  Result<HttpResponse> Perform(const HttpRequest& request, const HttpOptions& options,
                               const Cancellation& cancellation);

 private:
  struct Exchange;

  HttpTransfer(CURLM* multi, CURL* easy) : multi_(multi), easy_(easy) {}
  void Configure(const HttpRequest& request, const HttpOptions& options, curl_slist* headers,
                 Exchange& exchange);
  // Drives the transfer to its end; the result of libcurl, or why it was given up.
  Result<CURLcode> Drive(const HttpOptions& options, const Cancellation& cancellation);
  // Grows with every byte sent or received.
  std::int64_t Progress() const;
  Error TransportError(CURLcode code, const HttpRequest& request, const HttpOptions& options) const;

  CURLM* multi_;
  CURL* easy_;
  char error_text_[CURL_ERROR_SIZE] = {};
};

}  // namespace veza
