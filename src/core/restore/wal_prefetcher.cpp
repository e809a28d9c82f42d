#include "core/restore/wal_prefetcher.h"

#include <algorithm>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "core/postgres/lsn.h"
#include "core/thread_group.h"

namespace veza {
namespace {

// How often the spool is checked. That is short compared with the replay of a segment.
constexpr std::chrono::milliseconds kLookForRequest{20};
constexpr std::chrono::milliseconds kLookForEnd{200};

// Which segments are wanted, and which of them were fetched. Not thread-safe.
class Window {
 public:
  Window(int length, std::uint64_t segment_size) : length_(length), segment_size_(segment_size) {}

  // `holds` returns whether the spool already has a segment.
  void MoveTo(const std::string& segment, const std::function<bool(const std::string&)>& holds) {
    const TimelineId timeline = ParseWalFileName(segment)->timeline;
    const SegmentNumber number = SegmentNumberOf(segment, segment_size_);
    // A segment that was fetched and is no longer there was used. It must not be fetched again.
    const bool forward = timeline == timeline_ && number >= number_;
    timeline_ = timeline;
    number_ = number;

    std::map<std::string, bool> fetched;
    for (int i = 1; i <= length_; ++i) {
      const std::string name =
          SegmentName(timeline, number + static_cast<SegmentNumber>(i), segment_size_);
      const auto known = fetched_.find(name);
      fetched[name] = (forward && known != fetched_.end() && known->second) || holds(name);
    }
    fetched_ = std::move(fetched);
    exhausted_ = false;
  }

  bool Contains(const std::string& segment) const { return fetched_.contains(segment); }

  std::set<std::string> Segments() const {
    std::set<std::string> names;
    for (const auto& [name, fetched] : fetched_) {
      names.insert(name);
    }
    return names;
  }

  // The next segment to fetch. It counts as being fetched until Finish().
  std::optional<std::string> Begin() {
    const auto held = std::ranges::count_if(fetched_, [](const auto& one) { return one.second; });
    // A segment that has left the window while it is being fetched takes space, too.
    if (exhausted_ || held + static_cast<std::ptrdiff_t>(fetching_.size()) >= length_) {
      return std::nullopt;
    }
    for (const auto& [name, fetched] : fetched_) {
      if (!fetched && !fetching_.contains(name)) {
        fetching_.insert(name);
        return name;
      }
    }
    return std::nullopt;
  }

  void Finish(const std::string& segment, bool success) {
    fetching_.erase(segment);
    const auto found = fetched_.find(segment);
    if (found != fetched_.end()) {
      found->second = success;
      exhausted_ = exhausted_ || !success;
    }
  }

 private:
  const int length_;
  const std::uint64_t segment_size_;
  TimelineId timeline_ = 0;
  SegmentNumber number_ = 0;
  std::map<std::string, bool> fetched_;  // every segment of the window, and whether it was fetched
  std::set<std::string> fetching_;       // may have left the window meanwhile
  bool exhausted_ = false;
};

class Prefetcher {
 public:
  Prefetcher(const WalArchive& archive, const WalSpool& spool, const PrefetchOptions& options,
             const Environment& environment)
      : archive_(archive),
        spool_(spool),
        options_(options),
        environment_(environment),
        window_(options.segments, options.segment_size) {}

  Status Run(const std::function<bool()>& is_over) {
    spool_.RemoveParts();
    ThreadGroup threads;
    Status started = Ok();
    for (int i = 0; started && i < std::min(options_.threads, options_.segments); ++i) {
      started = threads.Start([this] { Work(); });
    }
    if (started) {
      Follow(is_over);
    }
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    environment_.cancellation->Cancel();
    moved_.notify_all();
    threads.Join();
    return started;
  }

 private:
  void Follow(const std::function<bool()>& is_over) {
    const Clock& clock = *environment_.clock;
    std::string last_stamp;
    SteadyTime last_request = clock.Steady();
    SteadyTime next_look = last_request;
    do {
      const std::optional<WalSpool::LastRequest> request = spool_.Requested();
      const SteadyTime now = clock.Steady();
      if (!request.has_value() || now - last_request > options_.idle) {
        return;
      }
      if (now >= next_look) {
        if (is_over()) {
          return;
        }
        next_look = now + kLookForEnd;
      }
      if (request->stamp != last_stamp) {
        last_stamp = request->stamp;
        last_request = now;
        MoveTo(request->segment);
      }
    } while (clock.Sleep(kLookForRequest, environment_.cancellation.get()));
  }

  void MoveTo(const std::string& segment) {
    {
      const std::lock_guard lock(mutex_);
      window_.MoveTo(segment, [this](const std::string& name) { return spool_.Holds(name); });
      spool_.KeepOnly(window_.Segments());
    }
    moved_.notify_all();
  }

  // The work of one thread.
  void Work() {
    const Status worked = CatchExceptions([this] {
      std::unique_lock lock(mutex_);
      while (!ending_) {
        const std::optional<std::string> segment = window_.Begin();
        if (!segment.has_value()) {
          moved_.wait(lock);
          continue;
        }
        lock.unlock();
        Status status = Fetch(*segment);
        lock.lock();
        if (status && window_.Contains(*segment)) {
          status = spool_.Publish(*segment, options_.segment_size);
        }
        spool_.Abandon(*segment);
        window_.Finish(*segment, status.has_value());
        // There may now be space for a segment that did not fit before.
        moved_.notify_all();
      }
      return Ok();
    });
    if (!worked) {
      // Memory ran out. No prefetcher is better than half of one.
      environment_.cancellation->Cancel();
    }
  }

  Status Fetch(const std::string& segment) {
    {
      const std::lock_guard lock(claiming_);
      RETURN_IF_ERROR(spool_.Claim(segment, options_.segment_size));
    }
    return archive_.Fetch(segment, spool_.PartPath(segment));
  }

  const WalArchive& archive_;
  const WalSpool& spool_;
  const PrefetchOptions& options_;
  const Environment& environment_;
  std::mutex claiming_;
  std::mutex mutex_;
  std::condition_variable moved_;
  Window window_;
  bool ending_ = false;
};

}  // namespace

Status PrefetchWal(const WalArchive& archive, const WalSpool& spool, const PrefetchOptions& options,
                   const Environment& environment, const std::function<bool()>& is_over) {
  return Prefetcher(archive, spool, options, environment).Run(is_over);
}

}  // namespace veza
