#include "core/s3/http_client.h"

namespace veza {

namespace {

// How often a waiting request checks for cancellation. A condition variable cannot watch the
// cancellation's descriptor.
constexpr std::chrono::milliseconds kLookForCancellation{20};

}  // namespace

// One of the `max_connections` places. The destructor gives it back.
class HttpClient::Place {
 public:
  explicit Place(HttpClient& client) : client_(client) {}
  ~Place() { client_.Release(std::move(reusable)); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  std::unique_ptr<HttpTransfer> reusable;

 private:
  HttpClient& client_;
};

Result<HttpResponse> HttpClient::Perform(const HttpRequest& request) {
  ASSIGN_OR_RETURN(std::unique_ptr<HttpTransfer> transfer, Acquire());
  Place place(*this);
  if (!transfer) {
    ASSIGN_OR_RETURN(transfer, HttpTransfer::Make());
  }
  Result<HttpResponse> response = transfer->Perform(request, options_, *cancellation_);
  if (response) {
    place.reusable = std::move(transfer);
  }
  return response;
}

Result<std::unique_ptr<HttpTransfer>> HttpClient::Acquire() {
  std::unique_lock lock(mutex_);
  while (!released_.wait_for(lock, kLookForCancellation, [this] { return free_places_ > 0; })) {
    RETURN_IF_ERROR(cancellation_->Check());
  }
  --free_places_;
  std::unique_ptr<HttpTransfer> transfer;
  if (!idle_.empty()) {
    transfer = std::move(idle_.back());
    idle_.pop_back();
  }
  return transfer;
}

void HttpClient::Release(std::unique_ptr<HttpTransfer> reusable) {
  {
    const std::lock_guard lock(mutex_);
    ++free_places_;
    if (reusable) {
      idle_.push_back(std::move(reusable));
    }
  }
  released_.notify_one();
}

}  // namespace veza
