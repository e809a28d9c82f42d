#include "core/restore/ending.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <variant>

#include "core/restore/target_time.h"
#include "core/wal_index/index_catalog.h"

namespace veza {

namespace {

constexpr Lsn kEndOfWal{std::numeric_limits<std::uint64_t>::max()};

Lsn Behind(Lsn record) {
  return Lsn{record.value + 1};
}

// Whether no end of a transaction in the segment can stop recovery. Those on its border are not in
// the summary.
bool StopsNothing(const SegmentSummary& summary, const RecoveryTarget& target) {
  if (target.kind != TargetKind::kTime || HeadMayBeEnd(summary)) {
    return false;
  }
  return !summary.latest_end || (target.inclusive ? *summary.latest_end <= target.time
                                                  : *summary.latest_end < target.time);
}

// Where recovery stops in the segment. The records before the backup are not read by recovery.
Result<std::optional<RecoveryStop>> StopIn(WalWay& way, std::size_t index, Lsn begin,
                                           const RecoveryTarget& target) {
  if (target.kind == TargetKind::kName) {
    ASSIGN_OR_RETURN(const std::vector<IndexedEvent> events, way.Events(index));
    for (const IndexedEvent& event : events) {
      if (auto stop = event.begin >= begin ? StopAt(event, target) : std::nullopt) {
        return stop;
      }
    }
    return std::optional<RecoveryStop>();
  }
  ASSIGN_OR_RETURN(const std::vector<IndexedEnd> ends, way.Ends(index));
  for (const IndexedEnd& end : ends) {
    if (target.kind == TargetKind::kXid && end.prepared && end.xid == 0) {
      // It lies across a border, and is longer than what is kept of such records.
      return MakeError(ErrorCode::kDataCorrupted,
                       "which prepared transaction ended at LSN {} is not known",
                       FormatLsn(end.begin));
    }
    if (auto stop = end.begin >= begin ? StopAt(end, target) : std::nullopt) {
      return stop;
    }
  }
  return std::optional<RecoveryStop>();
}

// Looks from the start of the backup on, as recovery does.
Result<std::optional<RecoveryStop>> SearchStop(WalWay& way, const BackupSummary& backup,
                                               const RecoveryTarget& target) {
  for (std::size_t index = 0; index < way.size(); ++index) {
    ASSIGN_OR_RETURN(const SegmentSummary summary, way.Summary(index));
    if (!StopsNothing(summary, target)) {
      ASSIGN_OR_RETURN(const std::optional<RecoveryStop> stop,
                       StopIn(way, index, backup.start_lsn, target));
      if (stop) {
        return stop;
      }
    }
    if (EndsWal(summary)) {
      break;
    }
  }
  return std::optional<RecoveryStop>();
}

// The backup ends before the target, so it does not matter here where the record ends.
Result<std::optional<RecoveryStop>> FindLsn(WalWay& way, const RecoveryTarget& target) {
  ASSIGN_OR_RETURN(const std::size_t end, way.FirstEnd(0));
  std::optional<RecoveryStop> stop;
  if (end < way.size() && way.At(end).number < SegmentOf(target.lsn, way.segment_size())) {
    return stop;
  }
  ASSIGN_OR_RETURN(std::optional<Lsn> record, way.FirstRecordFrom(target.lsn));
  // In the middle of a segment, the way ends at a record that recovery cannot replay: at WAL with
  // wal_level = minimal. It can stop before it, also if the target lies before it: within the
  // record before that, or in the header of its page.
  if (!record && !target.inclusive && way.size() > 0) {
    const Lsn last = way.At(way.size() - 1).end;
    // Asked again, because a segment without an index has been read only now.
    ASSIGN_OR_RETURN(const std::size_t first_end, way.FirstEnd(0));
    if (first_end == way.size() && target.lsn <= last && last.value % way.segment_size() != 0) {
      record = last;
    }
  }
  if (record) {
    stop =
        RecoveryStop{.before = target.inclusive ? Behind(*record) : *record, .replayed = *record};
  }
  return stop;
}

Result<std::optional<RecoveryStop>> FindStop(WalWay& way, const BackupSummary& backup,
                                             const RecoveryTarget& target) {
  switch (target.kind) {
    case TargetKind::kEndOfWal:
      return std::optional(RecoveryStop{.before = kEndOfWal, .replayed = kEndOfWal});
    case TargetKind::kImmediate:
      return std::optional(RecoveryStop{.before = backup.stop_lsn, .replayed = backup.stop_lsn});
    case TargetKind::kLsn: {
      return FindLsn(way, target);
    }
    case TargetKind::kTime:
    case TargetKind::kXid:
    case TargetKind::kName:
      break;
  }
  return SearchStop(way, backup, target);
}

// The last commit that begins before `before`, and not before `from`.
Result<std::optional<IndexedEnd>> LastCommitBefore(WalWay& way, Lsn from, Lsn before) {
  if (before == kEndOfWal) {
    return LastCommit(way, from);
  }
  const std::size_t last = way.IndexOf(SegmentBefore(before, way.segment_size()));
  for (std::size_t index = std::min(last + 1, way.size()); index-- > 0;) {
    ASSIGN_OR_RETURN(const SegmentSummary summary, way.Summary(index));
    if (!MayHaveEnds(summary)) {
      continue;
    }
    ASSIGN_OR_RETURN(std::vector<IndexedEnd> ends, way.Ends(index));
    while (!ends.empty() && (!ends.back().committed || ends.back().begin >= before)) {
      ends.pop_back();
    }
    if (!ends.empty()) {
      return ends.back().begin >= from ? std::optional(std::move(ends.back())) : std::nullopt;
    }
  }
  return std::optional<IndexedEnd>();
}

// The first commit that does not begin before `from`.
Result<std::optional<IndexedEnd>> FirstCommitFrom(WalWay& way, Lsn from) {
  if (from == kEndOfWal) {
    return std::optional<IndexedEnd>();
  }
  for (std::size_t index = way.IndexOf(SegmentOf(from, way.segment_size())); index < way.size();
       ++index) {
    ASSIGN_OR_RETURN(const SegmentSummary summary, way.Summary(index));
    if (MayHaveEnds(summary)) {
      ASSIGN_OR_RETURN(std::vector<IndexedEnd> ends, way.Ends(index));
      for (IndexedEnd& end : ends) {
        if (end.committed && end.begin >= from) {
          return std::optional(std::move(end));
        }
      }
    }
    if (EndsWal(summary)) {
      break;
    }
  }
  return std::optional<IndexedEnd>();
}

// Behind the last record, as far as that can be told without reading everything.
Result<Lsn> EndOfWal(WalWay& way) {
  if (way.size() == 0) {
    return Lsn{};
  }
  ASSIGN_OR_RETURN(const std::size_t end, way.FirstEnd(0));
  const std::size_t last = std::min(end, way.size() - 1);
  ASSIGN_OR_RETURN(const SegmentSummary summary, way.Summary(last));
  return std::min(summary.end, way.At(last).end);
}

Result<Ending> Look(WalWay& way, const BackupSummary& backup, const RecoveryTarget& target) {
  Ending ending;
  ASSIGN_OR_RETURN(const std::optional<RecoveryStop> stop, FindStop(way, backup, target));
  ending.reached = stop.has_value();
  ending.stop = stop.value_or(RecoveryStop{.before = kEndOfWal, .replayed = kEndOfWal});
  ending.before_consistent = ending.stop.replayed < backup.stop_lsn;
  if (!stop) {
    ASSIGN_OR_RETURN(ending.end_of_wal, EndOfWal(way));
  }
  ASSIGN_OR_RETURN(ending.last_in, LastCommitBefore(way, backup.start_lsn, ending.stop.before));
  // The way to the end of a backup ends there.
  ending.looked_behind = target.kind != TargetKind::kImmediate;
  ASSIGN_OR_RETURN(ending.first_out, FirstCommitFrom(way, ending.stop.before));
  return ending;
}

}  // namespace

std::optional<RecoveryStop> StopAt(const IndexedEnd& end, const RecoveryTarget& target) {
  if (target.kind == TargetKind::kTime &&
      (target.inclusive ? end.time > target.time : end.time >= target.time)) {
    return RecoveryStop{.before = end.begin, .replayed = end.begin, .end = end};
  }
  // PostgreSQL keeps 32 bits of the target, too.
  if (target.kind == TargetKind::kXid && end.xid == static_cast<std::uint32_t>(target.xid)) {
    return RecoveryStop{.before = target.inclusive ? Behind(end.begin) : end.begin,
                        .replayed = target.inclusive ? end.end : end.begin,
                        .end = end};
  }
  return std::nullopt;
}

std::optional<RecoveryStop> StopAt(const IndexedEvent& event, const RecoveryTarget& target) {
  const auto* const point = std::get_if<RestorePointMade>(&event.fact);
  if (target.kind == TargetKind::kName && point != nullptr && point->name == target.name) {
    return RecoveryStop{.before = Behind(event.begin),
                        .replayed = event.end,
                        .end = std::nullopt,
                        .restore_point = event.begin};
  }
  return std::nullopt;
}

Result<Ending> FindEndingOn(WalWay& way, const BackupSummary& backup,
                            const RecoveryTarget& target) {
  Result<Ending> ending = Look(way, backup, target);
  if (!ending && (way.IsExhausted() || IsOfTheObject(ending.error()))) {
    return Ending{.unknown = std::move(ending.error().message)};
  }
  return ending;
}

Result<Ending> FindEnding(const Repository& repository, const Identity& identity,
                          const BackupSummary& backup, const std::vector<WalPiece>& pieces,
                          const RecoveryTarget& target) {
  ASSIGN_OR_RETURN(WalWay way, WalWay::Open(repository, identity, pieces, {}));
  return FindEndingOn(way, backup, target);
}

Result<std::optional<Lsn>> FindTarget(WalWay& way, std::span<const BackupSummary* const> backups,
                                      const RecoveryTarget& target) {
  std::optional<Lsn> first;  // that recovery from the backup would meet
  std::size_t index = way.size();
  for (std::size_t left = backups.size(); left-- > 0;) {
    const BackupSummary& backup = *backups[left];
    const SegmentNumber begin = SegmentOf(backup.start_lsn, way.segment_size());
    // The segment in which the backup begins is looked at again for the backup before it.
    while (index > 0 && way.At(index - 1).number >= begin) {
      --index;
      ASSIGN_OR_RETURN(const std::optional<RecoveryStop> stop,
                       StopIn(way, index, backup.start_lsn, target));
      if (stop) {
        first = stop->replayed;
      }
    }
    if (first && *first >= backup.stop_lsn) {
      return first;
    }
    index = std::min(way.size(), way.IndexOf(begin) + 1);
  }
  return std::optional<Lsn>();
}

std::string DescribeCommit(const IndexedEnd& end) {
  return fmt::format("transaction {}, committed at \"{}\" (LSN {})", end.xid,
                     FormatTargetTime(end.time), FormatLsn(end.begin));
}

}  // namespace veza
