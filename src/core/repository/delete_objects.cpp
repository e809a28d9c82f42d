#include "core/repository/delete_objects.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <utility>

#include "core/thread_group.h"

namespace veza {

Status DeleteObjects(Store& store, const std::vector<std::string>& names, int requests_in_flight) {
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  Status outcome;
  const auto work = [&] {
    Status status = CatchExceptions([&]() -> Status {
      for (std::size_t i = next++; i < names.size(); i = next++) {
        RETURN_IF_ERROR(store.Delete(names[i]));
      }
      return Ok();
    });
    if (!status) {
      next = names.size();
      const std::lock_guard lock(mutex);
      outcome = std::move(status);
    }
  };
  ThreadGroup helpers;
  const auto threads = static_cast<std::size_t>(std::max(requests_in_flight, 1));
  for (std::size_t i = 1; i < std::min(threads, names.size()); ++i) {
    if (!helpers.Start(work)) {
      break;  // fewer threads will do
    }
  }
  work();
  helpers.Join();
  return outcome;
}

}  // namespace veza
