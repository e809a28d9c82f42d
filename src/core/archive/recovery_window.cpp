#include "core/archive/recovery_window.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <tuple>
#include <utility>

#include "core/archive/stored_histories.h"
#include "core/archive/wal_archive.h"
#include "core/repository/names.h"

namespace veza {

namespace {

// How far recovery gets.
struct Reach {
  TimelineId leads_to = 0;
  TimelineId timeline = 0;  // of the last segment
  SegmentNumber last = 0;
  Lsn end;
  std::optional<TimePoint> stored;
  std::string missing_segment;
  std::optional<Lsn> minimal;
};

// "missing segment …", of the WAL that the backup itself needs. Empty when none is missing.
std::string MissingWal(const BackupSummary& backup, const ArchiveMap& archive) {
  const std::uint64_t size = archive.segment_size();
  const SegmentNumber last = SegmentBefore(backup.stop_lsn, size);
  SegmentNumber next = SegmentOf(backup.start_lsn, size);
  while (next <= last) {
    const SegmentRun* const run = archive.RunAt(backup.timeline, next);
    if (run == nullptr) {
      return fmt::format("missing segment {}", SegmentName(backup.timeline, next, size));
    }
    next = run->last + 1;
  }
  return "";
}

// Walks along a path, from the end of a backup that can be restored.
class Walk {
 public:
  Walk(const ArchiveMap& archive, const BackupSummary& backup)
      : archive_(archive), size_(archive.segment_size()) {
    reach_.leads_to = archive.NewestFrom(backup.timeline, backup.stop_lsn);
    path_ = archive.PathTo(reach_.leads_to);
    while (path_[part_].timeline != backup.timeline) {
      ++part_;
    }
    reach_.end = backup.stop_lsn;
    SegmentNumber next = SegmentBefore(backup.stop_lsn, size_);
    while (Step(next)) {
      next = reach_.last + 1;
    }
  }

  const Reach& reach() const { return reach_; }
  const std::vector<WalPiece>& pieces() const { return pieces_; }

 private:
  // Goes on through the run that holds the segment. Returns false at the end.
  bool Step(SegmentNumber segment) {
    std::size_t wanted = part_;
    while (wanted + 1 < path_.size() && FirstSegment(wanted + 1) <= segment) {
      ++wanted;
    }
    const SegmentRun* const run = Find(segment, wanted);
    if (run != nullptr) {
      reach_.timeline = path_[part_].timeline;
      reach_.last = part_ < wanted ? segment : LastOf(*run, wanted);
      const Lsn begin = reach_.end;
      reach_.end = std::min(Lsn{(reach_.last + 1) * size_}, path_[part_].end);
      reach_.minimal = archive_.FirstMinimal(reach_.timeline, begin, reach_.end);
      if (reach_.minimal) {
        reach_.end = *reach_.minimal;
        reach_.last = SegmentOf(reach_.end, size_);
      }
      pieces_.push_back({reach_.timeline, segment, reach_.last, reach_.end});
      reach_.stored = reach_.last == run->last ? std::optional(run->last_stored) : std::nullopt;
      if (part_ == wanted || reach_.minimal) {
        return !reach_.minimal;
      }
    }
    if (GoesOnBeyond(segment, wanted)) {
      reach_.missing_segment = SegmentName(path_[wanted].timeline, segment, size_);
    }
    return false;
  }

  // Finds the run in the newest part that has the segment, as recovery does, and moves `part_`
  // there. An older part has only what comes before the switch.
  const SegmentRun* Find(SegmentNumber segment, std::size_t wanted) {
    for (std::size_t part = wanted + 1; part-- > part_;) {
      const SegmentRun* const run = archive_.RunAt(path_[part].timeline, segment);
      if (run != nullptr && segment * size_ < path_[part].end.value) {
        part_ = part;
        return run;
      }
    }
    return nullptr;
  }

  SegmentNumber FirstSegment(std::size_t part) const { return SegmentOf(path_[part].begin, size_); }

  // The last segment of a run that is on the path.
  SegmentNumber LastOf(const SegmentRun& run, std::size_t part) const {
    return part + 1 < path_.size() ? std::min(run.last, FirstSegment(part + 1) - 1) : run.last;
  }

  bool GoesOnBeyond(SegmentNumber segment, std::size_t wanted) const {
    for (std::size_t part = wanted; part < path_.size(); ++part) {
      if (archive_.HasAny(path_[part].timeline, std::max(segment, FirstSegment(part)),
                          SegmentBefore(path_[part].end, size_))) {
        return true;
      }
    }
    return false;
  }

  const ArchiveMap& archive_;
  const std::uint64_t size_;
  std::vector<PathPart> path_;
  std::size_t part_ = 0;
  Reach reach_;
  std::vector<WalPiece> pieces_;
};

RecoveryStretch StretchFrom(const BackupSummary& backup, const Reach& reach,
                            std::uint64_t segment_size) {
  RecoveryStretch stretch;
  stretch.start_time = backup.stop_time;
  stretch.start_lsn = backup.stop_lsn;
  stretch.end_time = reach.stored;
  stretch.end_lsn = reach.end;
  stretch.first_timeline = backup.timeline;
  stretch.last_timeline = reach.timeline;
  stretch.oldest_backup = backup.label;
  stretch.last_segment = SegmentName(reach.timeline, reach.last, segment_size);
  stretch.missing_segment = reach.missing_segment;
  stretch.minimal = reach.minimal;
  return stretch;
}

}  // namespace

std::string RecoveryStretch::EndedBy() const {
  if (minimal) {
    return fmt::format("wal_level = minimal at {}", FormatLsn(*minimal));
  }
  return missing_segment.empty() ? "end of the archive"
                                 : fmt::format("missing segment {}", missing_segment);
}

bool IsAmong(std::span<const UnrestorableBackup> unrestorable, std::string_view label) {
  return std::ranges::find(unrestorable, label, &UnrestorableBackup::label) != unrestorable.end();
}

RecoveryWindow PlanRecoveryWindow(std::span<const BackupSummary> backups, const ArchiveMap& archive,
                                  const LostParts& lost) {
  RecoveryWindow window;
  std::vector<const BackupSummary*> restorable;
  for (const BackupSummary& backup : backups) {
    std::string reason = WhyNotRestorable(backup, backups, lost);
    if (reason.empty()) {
      reason = MissingWal(backup, archive);
    }
    if (reason.empty()) {
      restorable.push_back(&backup);
      if (std::string doubt = WhyUncertain(backup, lost); !doubt.empty()) {
        window.uncertain.push_back({backup.label, std::move(doubt)});
      }
    } else {
      window.unrestorable.push_back({backup.label, std::move(reason)});
    }
  }
  std::ranges::sort(restorable, [](const BackupSummary* a, const BackupSummary* b) {
    return std::tie(a->stop_lsn, a->timeline, a->label) <
           std::tie(b->stop_lsn, b->timeline, b->label);
  });
  // Which stretch ends where.
  std::map<std::tuple<TimelineId, TimelineId, SegmentNumber>, std::size_t> by_end;
  for (const BackupSummary* const backup : restorable) {
    const Walk walk(archive, *backup);
    const Reach& reach = walk.reach();
    const auto [end, is_new] =
        by_end.try_emplace({reach.leads_to, reach.timeline, reach.last}, window.stretches.size());
    if (is_new) {
      window.stretches.push_back(StretchFrom(*backup, reach, archive.segment_size()));
    }
    RecoveryStretch& stretch = window.stretches[end->second];
    stretch.newest_backup = backup->label;
    ++stretch.backups;
  }
  return window;
}

RecoveryObstacle ObstacleAfter(const BackupSummary& backup, const ArchiveMap& archive) {
  const Walk walk(archive, backup);
  return {walk.reach().missing_segment, walk.reach().minimal};
}

std::vector<WalPiece> WalOnTheWay(const BackupSummary& backup, const ArchiveMap& archive) {
  const std::uint64_t size = archive.segment_size();
  const SegmentNumber first = SegmentOf(backup.start_lsn, size);
  const SegmentNumber last = SegmentBefore(backup.stop_lsn, size);
  std::vector<WalPiece> pieces;
  if (first < last) {
    pieces.push_back({backup.timeline, first, last - 1, Lsn{last * size}});
  }
  const Walk walk(archive, backup);
  pieces.insert(pieces.end(), walk.pieces().begin(), walk.pieces().end());
  return pieces;
}

Lsn EndOfRecovery(const BackupSummary& backup, const ArchiveMap& archive) {
  return Walk(archive, backup).reach().end;
}

Result<std::vector<std::string>> MissingHistories(const WalArchive& archive,
                                                  std::uint64_t system_identifier,
                                                  std::span<const BackupSummary> backups) {
  std::optional<TimelineId> oldest;
  for (const BackupSummary& backup : backups) {
    if (backup.system_identifier == system_identifier) {
      oldest = std::min(oldest.value_or(backup.timeline), backup.timeline);
    }
  }
  std::vector<std::string> files;
  if (!oldest) {
    return files;
  }
  // The file of the oldest timeline is needed as well; timeline 1 has none.
  ASSIGN_OR_RETURN(const std::vector<TimelineId> missing,
                   FindMissingHistories(archive, std::max<TimelineId>(*oldest, 2) - 1));
  for (const TimelineId timeline : missing) {
    files.push_back(TimelineHistoryName(timeline));
  }
  return files;
}

Result<RecoveryWindow> ReadRecoveryWindow(const Repository& repository,
                                          std::uint64_t system_identifier,
                                          const BackupCatalog& catalog, const ArchiveMap& archive,
                                          const LostParts& lost) {
  std::vector<BackupSummary> backups;
  std::ranges::copy_if(
      catalog.backups, std::back_inserter(backups),
      [&](const BackupSummary& backup) { return backup.system_identifier == system_identifier; });
  RecoveryWindow window = PlanRecoveryWindow(backups, archive, lost);
  for (RecoveryStretch& stretch : window.stretches) {
    if (!stretch.end_time) {
      ASSIGN_OR_RETURN(const std::string name,
                       WalObjectName(system_identifier, stretch.last_segment));
      ASSIGN_OR_RETURN(const ObjectInfo object, repository.store().Head(name));
      stretch.end_time = object.modified;
    }
    // The clocks of the store and of the server differ, and S3 has whole seconds.
    stretch.end_time = std::max(*stretch.end_time, stretch.start_time);
  }
  std::vector<UnrestorableBackup> unrestorable;
  for (UnrestorableBackup& backup : window.unrestorable) {
    ASSIGN_OR_RETURN(const bool is_there, IsStillThere(repository, backup.label));
    if (is_there) {
      unrestorable.push_back(std::move(backup));
    }
  }
  window.unrestorable = std::move(unrestorable);
  return window;
}

}  // namespace veza
