// How fast WAL is written and archived, and what would be lost if the server were lost now: from
// observations that somebody makes every few seconds. No I/O, no clock. Rates are by the steady
// time, so that they survive a step of the clock.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <optional>

#include "core/environment.h"
#include "core/postgres/lsn.h"

namespace veza {

struct ArchiveObservation {
  TimePoint at{};
  SteadyTime steady{};
  Lsn written;    // the end of WAL
  Lsn important;  // of the last record that archive_timeout cares for (GetLastImportantRecPtr)
  Lsn archived;   // everything before it is in the repository
};

// Not thread-safe.
class ArchivePace {
 public:
  // In the order of the steady time. Where the clock has gone back, what was seen before counts as
  // seen now.
  void Observe(const ArchiveObservation& observation);

  // Since when something has been written that the repository lacks: the time of the last
  // observation before it, so never too late. Nothing: it has all that matters.
  std::optional<TimePoint> exposed_since() const;

  // Bytes a second over about the last minute; 0 when too little is known.
  double written_rate() const;
  double archived_rate() const;

 private:
  // What had been written at a time.
  struct Mark {
    TimePoint at{};
    Lsn important;
  };
  std::deque<Mark> marks_;  // the first is the last one that is archived whole, if there is one
  std::deque<ArchiveObservation> recent_;
};

// How long it takes until nothing waits; nothing: never, at these rates.
std::optional<std::chrono::seconds> TimeToDrain(std::uint64_t backlog, double written_rate,
                                                double archived_rate);
// How long until WAL that is not archived has filled the disk; nothing: never, at these rates.
std::optional<std::chrono::seconds> TimeUntilFull(std::uint64_t free, double written_rate,
                                                  double archived_rate);

}  // namespace veza
