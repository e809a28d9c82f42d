// Which indexes of archived segments become one index object, and when (core/wal_index). Segments
// are stored several at once, so their indexes may come in any order.
//
// A group is a run of consecutive segments of one timeline. It is due when it can take no more, or
// when its first index has waited for `age`.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "core/environment.h"
#include "core/wal_index/index_object.h"
#include "core/wal_index/segment_index.h"

namespace veza {

// How long an index waits for others before it is stored.
inline constexpr std::chrono::minutes kIndexAge{10};
// The most memory of the indexes that wait. Where more wait, because they cannot be stored, the
// group that waits longest is given up: it can be made again from the repository.
inline constexpr std::size_t kIndexesWaiting = 64U << 20;

// About how much memory an index takes.
std::size_t MemoryOf(const SegmentIndex& index);

// Pure state. Not thread-safe.
class IndexGroups {
 public:
  struct Limits {
    std::size_t segments = kIndexMostSegments;
    std::size_t bytes = kIndexMostBytes;
    std::chrono::milliseconds age = kIndexAge;
    std::size_t memory = kIndexesWaiting;
  };
  // Consecutive segments of one timeline, at least one.
  struct Group {
    std::vector<SegmentIndex> indexes;
    SteadyTime since{};  // when the first of them came
  };

  IndexGroups() : IndexGroups(Limits()) {}
  explicit IndexGroups(const Limits& limits) : limits_(limits) {}

  void Add(SegmentIndex index, SteadyTime now);
  // A group that is due, the one that has waited longest first.
  std::optional<Group> TakeDue(SteadyTime now);
  // When TakeDue() will return a group if nothing is added; none if nothing waits.
  std::optional<SteadyTime> NextDue() const;
  // A group that TakeDue() has returned, and that could not be stored.
  void PutBack(Group group);

  std::size_t memory() const { return memory_; }
  // How many segments were given up for lack of memory.
  std::uint64_t given_up() const { return given_up_; }

 private:
  using Key = std::pair<TimelineId, SegmentNumber>;  // of the first segment
  struct Run {
    Group group;
    std::size_t bytes = 0;
  };
  using Runs = std::map<Key, Run>;

  bool Fit(const Run& run, std::size_t segments, std::size_t bytes) const;
  Runs::iterator RunBefore(const Key& key);
  void JoinNext(Runs::iterator run);
  void StayBelowLimit();
  SteadyTime DueAt(Runs::const_iterator run) const;
  Runs::iterator Longest();

  Limits limits_;
  Runs runs_;
  std::size_t memory_ = 0;
  std::uint64_t given_up_ = 0;
};

}  // namespace veza
