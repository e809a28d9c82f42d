// A pool of connections to one server, which are kept open between requests.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "core/s3/http_transfer.h"

namespace veza {

// Thread-safe. At most `max_connections` requests are in flight; further callers wait.
class HttpClient {
 public:
  HttpClient(HttpOptions options, int max_connections,
             std::shared_ptr<const Cancellation> cancellation)
      : options_(std::move(options)),
        cancellation_(std::move(cancellation)),
        free_places_(max_connections) {}

  // Has the contract of HttpTransfer::Perform().
  Result<HttpResponse> Perform(const HttpRequest& request);

 private:
  class Place;

  // Waits until fewer than `max_connections` requests are in flight, and counts this one. Returns
  // an idle connection, or null when the caller must make one.
  Result<std::unique_ptr<HttpTransfer>> Acquire();
  void Release(std::unique_ptr<HttpTransfer> reusable);  // may be null

  const HttpOptions options_;
  const std::shared_ptr<const Cancellation> cancellation_;
  std::mutex mutex_;
  std::condition_variable released_;
  int free_places_;
  std::vector<std::unique_ptr<HttpTransfer>> idle_;  // the last one was used last; taken first
};

}  // namespace veza
