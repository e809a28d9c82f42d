// How fast WAL is written and archived, and since when a loss of the server would lose data. This
// is computed from observations that the caller makes every few seconds, without I/O or a clock.
// Rates use the steady time, so that a step of the clock does not change them.
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
  Lsn important;  // the last record that counts for archive_timeout (GetLastImportantRecPtr)
  Lsn archived;   // everything before it is in the repository
};

// Not thread-safe.
class ArchivePace {
 public:
  // Observations come in the order of their steady time. When the clock was set back, earlier
  // observations count as made now.
  void Observe(const ArchiveObservation& observation);

  // When the oldest important WAL that is not archived was written, rounded back to the previous
  // observation. Empty when everything important is archived.
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
  std::deque<Mark> marks_;  // begins with the newest that is archived completely, if any
  std::deque<ArchiveObservation> recent_;
};

// How long it takes, at these rates, until no WAL waits. Empty when that never happens.
std::optional<std::chrono::seconds> TimeToDrain(std::uint64_t backlog, double written_rate,
                                                double archived_rate);
// How long it takes, at these rates, until WAL that is not archived has filled the disk. Empty when
// that never happens.
std::optional<std::chrono::seconds> TimeUntilFull(std::uint64_t free, double written_rate,
                                                  double archived_rate);

}  // namespace veza
