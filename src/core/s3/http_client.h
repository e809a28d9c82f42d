// A pool of kept-alive connections to one server.
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

  // As HttpTransfer::Perform.
  Result<HttpResponse> Perform(const HttpRequest& request);

 private:
  class Place;

  // Waits for a place and takes it. Null: no connection is idle, make one.
  Result<std::unique_ptr<HttpTransfer>> Acquire();
  void Release(std::unique_ptr<HttpTransfer> reusable);  // may be null

  const HttpOptions options_;
  const std::shared_ptr<const Cancellation> cancellation_;
  std::mutex mutex_;
  std::condition_variable released_;
  int free_places_;
  std::vector<std::unique_ptr<HttpTransfer>> idle_;  // the one used last at the end, and used first
};

}  // namespace veza
