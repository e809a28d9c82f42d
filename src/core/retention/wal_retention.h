// Which WAL a repository's backups need (FORMAT.md section 9). The part of retention.cpp that sees
// every segment, and remembers ranges.
//
// Decisions go by LSN alone, on all timelines alike. Recovery from a backup that starts at an LSN
// reads no WAL before it, on its own timeline or on any that leads on from it: so a segment that
// ends at or before the start of every backup that must lead to the present is needed by none of
// them, whichever timeline it is of. The other way round it keeps, on abandoned timelines, more
// than anybody needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/postgres/lsn.h"
#include "core/repository/backup_summary.h"
#include "core/retention/retention.h"

namespace veza {

class WalRules {
 public:
  explicit WalRules(std::uint64_t segment_size) : segment_size_(segment_size) {}

  // Keeps all WAL from the start of this backup on, as this setting wants. Without any such call,
  // all WAL is kept.
  void KeepFrom(const BackupSummary& backup, const char* setting);
  // Also keeps all WAL from this position on. Has no effect without the call above.
  void KeepFrom(Lsn lsn, std::string reason);
  // Also keeps the WAL from the start to the stop of this backup, which makes it consistent.
  void KeepConsistent(const BackupSummary& backup);
  void KeepAll(std::string reason) { keep_all_ = std::move(reason); }

  // Takes WAL objects in the order of their names. All rules must have been given before. Timeline
  // history files are always kept and never mentioned: they are tiny, and tell which timeline leads
  // where. Returns timeline and segment of a file that stays.
  std::optional<std::pair<TimelineId, SegmentNumber>> Add(const ObjectInfo& object);
  std::vector<RetentionDecision> TakeRanges() { return std::move(ranges_); }

 private:
  // A run of segment numbers that share a decision. Together they cover all numbers.
  struct Stretch {
    SegmentNumber first = 0;
    bool keep = true;
    std::string reason;
  };
  struct Need {
    SegmentNumber first = 0;
    SegmentNumber last = 0;
    std::string reason;
  };

  void Decide();
  std::size_t StretchOf(SegmentNumber segment) const;

  const std::uint64_t segment_size_;
  std::string keep_all_;
  struct Anchor {
    SegmentNumber first = 0;
    std::string label;
    const char* setting = nullptr;
  };
  std::optional<Anchor> from_;
  std::vector<Need> needs_;

  std::vector<Stretch> stretches_;  // by `first`; computed for the first object
  TimelineId last_timeline_ = 0;
  std::size_t last_stretch_ = 0;
  std::vector<RetentionDecision> ranges_;
};

}  // namespace veza
// Decides which WAL the backups of a repository need (FORMAT.md section 9). This is the part of
// retention.cpp that sees every segment. It remembers ranges only.
//
// The decisions compare LSNs only, on all timelines alike. Recovery from a backup reads no WAL
// before the backup's start, neither on its own timeline nor on later ones. So a segment that ends
// at or before the start of every backup that must lead to the present is not needed by any of
// them, whichever timeline it belongs to. In return, more WAL than necessary is kept on abandoned
// timelines.
