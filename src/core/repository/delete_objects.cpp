#include "core/repository/delete_objects.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <mutex>
#include <span>
#include <utility>

#include "core/thread_group.h"

namespace veza {

namespace {

Status DeletePart(Store& store, std::span<const std::string> names) {
  return names.size() == 1 ? store.Delete(names.front()) : store.DeleteAll(names);
}

}  // namespace

Status DeleteObjects(Store& store, const std::vector<std::string>& names, int requests_in_flight) {
  const auto threads = static_cast<std::size_t>(std::max(requests_in_flight, 1));
  const std::size_t share = (names.size() + threads - 1) / threads;
  const std::size_t part =
      std::clamp<std::size_t>(share, 1, std::max<std::size_t>(store.NamesPerDelete(), 1));
  const std::size_t parts = (names.size() + part - 1) / part;
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  Status outcome;
  const auto work = [&] {
    Status status = CatchExceptions([&]() -> Status {
      for (std::size_t i = next++; i < parts; i = next++) {
        const std::span<const std::string> rest = std::span(names).subspan(i * part);
        RETURN_IF_ERROR(DeletePart(store, rest.first(std::min(part, rest.size()))));
      }
      return Ok();
    });
    if (!status) {
      next = parts;
      const std::lock_guard lock(mutex);
      outcome = std::move(status);
    }
  };
  ThreadGroup helpers;
  for (std::size_t i = 1; i < std::min(threads, parts); ++i) {
    if (!helpers.Start(work)) {
      break;  // fewer threads will do
    }
  }
  work();
  helpers.Join();
  return outcome;
}

}  // namespace veza
