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

  // All WAL from the start of this backup on stays. Without any, all does.
  void KeepFrom(const BackupSummary& backup);
  // All WAL from this position on stays, too, for that reason. Alone it says nothing.
  void KeepFrom(Lsn lsn, std::string reason);
  // So does, from its start to its stop, what makes this backup consistent.
  void KeepConsistent(const BackupSummary& backup);
  void KeepAll(std::string reason) { keep_all_ = std::move(reason); }

  // WAL objects in the order of their names, when the rules are complete. Timeline history files
  // stay without being mentioned: they are tiny, and tell which timelines lead where.
  void Add(const ObjectInfo& object);
  std::vector<RetentionDecision> TakeRanges() { return std::move(ranges_); }

 private:
  // Segment numbers that share a decision; together all of them.
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
  };
  std::optional<Anchor> from_;
  std::vector<Need> needs_;

  std::vector<Stretch> stretches_;  // by `first`; made for the first object
  TimelineId last_timeline_ = 0;
  std::size_t last_stretch_ = 0;
  std::vector<RetentionDecision> ranges_;
};

}  // namespace veza
