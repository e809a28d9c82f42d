// Stores the indexes of the segments that the archiver has stored, in a thread of its own. It is
// never in the way of WAL: nobody waits for it, it sends one request at a time, its thread yields
// the CPU to others, and its trouble is not the archiver's. What it cannot store it gives up in the
// end; the indexes can be made again from the repository.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "core/archive/index_groups.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/repository/repository.h"
#include "core/thread_group.h"

namespace veza {

// How long it waits after it could not store an index.
inline constexpr std::chrono::minutes kIndexPause{1};

struct IndexCounters {
  std::uint64_t segments = 0;  // whose index was stored
  std::uint64_t failures = 0;
  std::uint64_t given_up = 0;  // segments
  std::size_t memory = 0;      // of what waits
  std::optional<Error> error;  // of the last attempt, if that has failed
};

// Thread-safe, except for Start().
class IndexShipper {
 public:
  using Opener = std::function<Result<std::unique_ptr<Repository>>()>;
  struct Options {
    std::uint64_t system_identifier = 0;
    IndexGroups::Limits limits{};
    std::chrono::milliseconds pause = kIndexPause;
  };

  // `open` is called by its thread. It opens a repository that exists, with the `environment`.
  IndexShipper(const Options& options, Opener open, Environment environment);
  // Joins the thread, and drops what waits. Cancel the environment's Cancellation first: that ends
  // a request that is under way.
  ~IndexShipper();
  IndexShipper(const IndexShipper&) = delete;
  IndexShipper& operator=(const IndexShipper&) = delete;

  // Starts the thread, once. It inherits the caller's signal mask. kUnavailable when the system
  // cannot start another thread: then Add() drops what it is given.
  Status Start();
  // Takes the index of a segment that is in the repository. Returns at once.
  void Add(SegmentIndex index);
  IndexCounters counters() const;

 private:
  void Work();
  bool StoreNext();
  std::optional<IndexGroups::Group> WaitForGroup();
  Status Store(IndexGroups::Group& group);
  Status StoreSome(IndexGroups::Group& group);
  void Note(const Status& stored, std::size_t segments, IndexGroups::Group group);

  const Options options_;
  const Opener open_;
  const Environment environment_;
  std::unique_ptr<Repository> repository_;  // of the thread

  mutable std::mutex mutex_;  // guards all that follows but the thread
  std::condition_variable wake_;
  bool stopping_ = false;
  bool started_ = false;
  IndexGroups groups_;
  SteadyTime not_before_{};
  IndexCounters counters_;

  ThreadGroup thread_;  // last: it uses the others
};

}  // namespace veza
