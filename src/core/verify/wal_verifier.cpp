#include "core/verify/wal_verifier.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <span>
#include <utility>

#include "core/archive/archive_survey.h"
#include "core/archive/stored_histories.h"
#include "core/codec/stream.h"
#include "core/limits.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/backup_order.h"
#include "core/repository/names.h"

namespace veza {

namespace {

std::string BaseName(const std::string& object) {
  return object.substr(object.rfind('/') + 1);
}

bool IsSegment(const std::string& file) {
  return ParseWalFileName(file)->kind == WalFileKind::kSegment;
}

// Whether both are segments of one timeline, `other` right behind `one`.
bool IsNextSegment(const std::string& one, const std::string& other, std::uint64_t segment_size) {
  return IsSegment(one) && IsSegment(other) &&
         ParseWalFileName(one)->timeline == ParseWalFileName(other)->timeline &&
         SegmentNumberOf(one, segment_size) + 1 == SegmentNumberOf(other, segment_size);
}

// Calls `visit` with each run of consecutive segments, and with each other file by itself. With
// kMostFindings files, the last run may go on: WalArchive::Missing() ends at its limit.
template <typename Visit>
Status ForEachRun(const std::vector<std::string>& files, std::uint64_t segment_size, Visit visit) {
  for (auto begin = files.begin(); begin != files.end();) {
    const auto next = std::ranges::adjacent_find(
        begin, files.end(), [&](const std::string& one, const std::string& other) {
          return !IsNextSegment(one, other, segment_size);
        });
    const auto end = next == files.end() ? next : next + 1;
    const bool may_be_more =
        files.size() >= kMostFindings && (end == files.end() || !IsSegment(*end));
    RETURN_IF_ERROR(visit(std::span(begin, end), may_be_more));
    begin = end;
  }
  return Ok();
}

// `segments` are consecutive.
std::string NameSegments(std::span<const std::string> segments, bool may_be_more) {
  if (may_be_more && segments.size() > 1) {
    return fmt::format("at least {} WAL segments from \"{}\" on", segments.size(),
                       segments.front());
  }
  return segments.size() == 1 ? fmt::format("WAL segment \"{}\"", segments.front())
                              : fmt::format("{} WAL segments from \"{}\" to \"{}\"",
                                            segments.size(), segments.front(), segments.back());
}

// `files` are consecutive segments, or one history file.
std::string DescribeMissing(std::span<const std::string> files, bool may_be_more) {
  if (!IsSegment(files.front())) {
    return fmt::format(
        "timeline history file \"{}\" is missing: recovery to the latest timeline does not find "
        "this timeline and those after it",
        files.front());
  }
  return NameSegments(files, may_be_more) +
         (files.size() == 1
              ? " is missing: recovery from an earlier backup cannot go beyond it"
              : " are missing: recovery from an earlier backup cannot go beyond them");
}

}  // namespace

Status WalVerifier::CheckBackup(const BackupSummary& backup) {
  const Stretch stretch{backup.timeline, SegmentOf(backup.start_lsn, backup.wal_segment_size),
                        SegmentBefore(backup.stop_lsn, backup.wal_segment_size)};
  needs_.push_back({backup.system_identifier, stretch, backup.label});
  const WalArchive archive(session_.repository(), backup.system_identifier);
  ASSIGN_OR_RETURN(const std::vector<std::string> missing,
                   archive.Missing(stretch.timeline, stretch.first, stretch.last,
                                   backup.wal_segment_size, kMostFindings));
  const auto report = [&](std::span<const std::string> segments, bool may_be_more) -> Status {
    ASSIGN_OR_RETURN(const std::string object,
                     WalObjectName(backup.system_identifier, segments.front()));
    session_.findings().AddProblem(
        {object, backup.label,
         fmt::format("{}, which backup \"{}\" needs to become consistent, {} missing",
                     NameSegments(segments, may_be_more), backup.label,
                     segments.size() == 1 ? "is" : "are")});
    return Ok();
  };
  return ForEachRun(missing, backup.wal_segment_size, report);
}

Status WalVerifier::JudgeHistory(const Error& error, std::uint64_t system_identifier,
                                 TimelineId timeline) {
  ASSIGN_OR_RETURN(const std::string object,
                   WalObjectName(system_identifier, TimelineHistoryName(timeline)));
  if (error.code == ErrorCode::kNotFound) {
    session_.findings().AddProblem({object, "", fmt::format("object \"{}\" is missing", object)});
    return Ok();
  }
  return session_.Judge(error, object, {});
}

// Returns the segments that recovery reads after the backup, on each timeline of its way. A
// timeline ends before the segment in which the next one begins, because the next timeline has that
// segment, too.
Result<std::vector<WalVerifier::Stretch>> WalVerifier::WayFrom(const WalArchive& archive,
                                                               const BackupSummary& backup) {
  const std::uint64_t size = backup.wal_segment_size;
  ASSIGN_OR_RETURN(const std::vector<WalRange> ranges, archive.Ranges(size));
  std::map<TimelineId, SegmentNumber> ends;
  for (const WalRange& range : ranges) {
    ends[range.timeline] = SegmentNumberOf(range.last, size) + 1;
  }

  ASSIGN_OR_RETURN(const TimelineId newest, FindNewestTimeline(archive, backup.timeline));
  TimelineHistory history{backup.timeline, {}};
  const Result<TimelineHistory> read = ReadTimelineHistory(archive, newest);
  if (!read) {
    // Without the history file the way is unknown.
    RETURN_IF_ERROR(JudgeHistory(read.error(), backup.system_identifier, newest));
    return std::vector<Stretch>();
  }
  if (read->Contains(backup.timeline, backup.stop_lsn)) {
    history = *read;
  }

  std::vector<Stretch> way;
  SegmentNumber from = SegmentBefore(backup.stop_lsn, size) + 1;
  for (const TimelineSwitch& ancestor : history.ancestors) {
    if (ancestor.timeline >= backup.timeline) {
      const SegmentNumber parting = SegmentOf(ancestor.switch_point, size);
      way.push_back({ancestor.timeline, from, parting});
      from = parting;
    }
  }
  way.push_back({history.timeline, from, ends[history.timeline]});
  // Drops timelines without WAL at the end of the way. A new timeline may have archived only its
  // history file.
  while (!way.empty() && ends[way.back().timeline] <= way.back().first) {
    way.pop_back();
  }
  if (!way.empty()) {
    way.back().last = std::min(way.back().last, ends[way.back().timeline]);
  }
  // Up to here, `last` was the first segment after the stretch.
  std::erase_if(way, [](const Stretch& stretch) { return stretch.last <= stretch.first; });
  for (Stretch& stretch : way) {
    --stretch.last;
  }
  return way;
}

Result<std::vector<std::string>> WalVerifier::MissingAfter(const BackupSummary& backup,
                                                           SegmentNumber end) {
  const WalArchive archive(session_.repository(), backup.system_identifier);
  ASSIGN_OR_RETURN(const std::vector<Stretch> way, WayFrom(archive, backup));
  std::vector<std::string> missing;
  for (const Stretch& stretch : way) {
    if (stretch.first >= end) {
      break;
    }
    ASSIGN_OR_RETURN(
        const std::vector<std::string> of_stretch,
        archive.Missing(stretch.timeline, stretch.first, std::min(stretch.last, end - 1),
                        backup.wal_segment_size, kMostFindings));
    missing.insert(missing.end(), of_stretch.begin(), of_stretch.end());
  }
  return missing;
}

// Too many gap records are a problem of the archive. The rest of the archive is still verified.
Status WalVerifier::JudgeGapRecords(const Error& error, std::uint64_t system_identifier) {
  if (error.code != ErrorCode::kDataCorrupted) {
    return error;
  }
  session_.findings().AddProblem({GapPrefix(system_identifier), "", error.message});
  return Ok();
}

Status WalVerifier::CheckLevel(const std::vector<BackupSummary>& backups) {
  std::map<std::uint64_t, const BackupSummary*> newest;
  for (const BackupSummary& backup : backups) {
    const BackupSummary*& of_system = newest[backup.system_identifier];
    if (of_system == nullptr || IsBefore(*of_system, backup)) {
      of_system = &backup;
    }
  }
  for (const auto& [system, backup] : newest) {
    const Result<std::vector<MinimalWal>> minimal = ReadMinimalWal(session_.repository(), system);
    if (!minimal) {
      RETURN_IF_ERROR(JudgeGapRecords(minimal.error(), system));
      continue;
    }
    for (const MinimalWal& one : *minimal) {
      if (one.doubt) {
        RETURN_IF_ERROR(session_.Judge(*one.doubt, one.object, {}));
        continue;
      }
      if (one.timeline < backup->timeline || one.lsn < backup->start_lsn) {
        continue;
      }
      ASSIGN_OR_RETURN(
          const std::string object,
          WalObjectName(system,
                        SegmentName(one.timeline, SegmentOf(one.lsn, backup->wal_segment_size),
                                    backup->wal_segment_size)));
      session_.findings().AddProblem(
          {object, "",
           fmt::format("WAL from {} on was written with wal_level = minimal: recovery from an "
                       "earlier backup cannot go beyond it, and no full backup has followed",
                       FormatLsn(one.lsn))});
    }
  }
  return Ok();
}

Status WalVerifier::ReportMissing(const std::vector<std::string>& files,
                                  std::uint64_t system_identifier) {
  ASSIGN_OR_RETURN(const Identity identity, session_.repository().IdentityOf(system_identifier));
  const auto report = [&](std::span<const std::string> run, bool may_be_more) -> Status {
    ASSIGN_OR_RETURN(const std::string object, WalObjectName(system_identifier, run.front()));
    session_.findings().AddProblem({object, "", DescribeMissing(run, may_be_more)});
    return Ok();
  };
  return ForEachRun(files, identity.wal_segment_size, report);
}

Result<std::vector<std::string>> WalVerifier::WithoutKnownGaps(std::vector<std::string> segments,
                                                               std::uint64_t system_identifier,
                                                               std::uint64_t segment_size) {
  const Repository& repository = session_.repository();
  const Result<std::vector<ObjectInfo>> listed =
      ListAtMost(repository.store(), GapPrefix(system_identifier), limits::kGapRecords);
  if (!listed) {
    RETURN_IF_ERROR(JudgeGapRecords(listed.error(), system_identifier));
    return segments;
  }
  for (const auto& [object, size, modified] : *listed) {
    if (object.ends_with(".minimal")) {
      continue;  // its segment exists; see CheckLevel()
    }
    const Result<WalGap> gap = ReadGap(repository, object);
    if (!gap) {
      RETURN_IF_ERROR(session_.Judge(gap.error(), object, {}));
      continue;
    }
    if (gap->minimal) {
      continue;  // its segment exists
    }
    std::erase_if(segments, [&](const std::string& segment) {
      const SegmentNumber number = SegmentNumberOf(segment, segment_size);
      return ParseWalFileName(segment)->timeline == ParseWalFileName(gap->first)->timeline &&
             SegmentNumberOf(gap->first, segment_size) <= number &&
             number <= SegmentNumberOf(gap->last, segment_size);
    });
  }
  return segments;
}

Result<std::vector<std::string>> WalVerifier::Missing(const BackupSummary& older,
                                                      const BackupSummary& newest) {
  const std::uint64_t size = older.wal_segment_size;
  ASSIGN_OR_RETURN(std::vector<std::string> missing,
                   MissingAfter(older, SegmentOf(newest.start_lsn, size)));
  if (!missing.empty()) {
    ASSIGN_OR_RETURN(missing, WithoutKnownGaps(std::move(missing), older.system_identifier, size));
  }
  ASSIGN_OR_RETURN(const std::vector<std::string> behind,
                   MissingAfter(newest, std::numeric_limits<SegmentNumber>::max()));
  missing.insert(missing.end(), behind.begin(), behind.end());
  return missing;
}

std::vector<std::string> WalVerifier::LabelsOf(const Identity& system,
                                               const std::string& file) const {
  std::vector<std::string> labels;
  const auto name = ParseWalFileName(file);
  if (!name || name->kind != WalFileKind::kSegment) {
    return labels;
  }
  const SegmentNumber number = SegmentNumberOf(file, system.wal_segment_size);
  for (const Need& need : needs_) {
    if (need.system_identifier == system.system_identifier &&
        need.stretch.timeline == name->timeline && need.stretch.first <= number &&
        number <= need.stretch.last) {
      labels.push_back(need.label);
    }
  }
  return labels;
}

Status WalVerifier::ForEachWanted(const Identity& system, bool only_of_backups,
                                  const Visitor& visit) {
  return session_.repository().store().List(
      WalSystemPrefix(system.system_identifier), "", [&](const ObjectInfo& object) -> Status {
        const std::string file = BaseName(object.name);
        const Result<std::string> name = WalObjectName(system.system_identifier, file);
        if (!name || *name != object.name) {
          return Ok();  // not a WAL object
        }
        std::vector<std::string> labels = LabelsOf(system, file);
        return only_of_backups && labels.empty() ? Ok() : visit(object, std::move(labels));
      });
}

Result<std::uint64_t> WalVerifier::SizeOf(const Identity& system, bool only_of_backups) {
  std::uint64_t size = 0;
  RETURN_IF_ERROR(ForEachWanted(system, only_of_backups,
                                [&](const ObjectInfo& object, const std::vector<std::string>&) {
                                  size += object.size;
                                  return Ok();
                                }));
  return size;
}

Status WalVerifier::OpenAll(const Identity& system, bool only_of_backups) {
  return ForEachWanted(
      system, only_of_backups,
      [&](const ObjectInfo& object, std::vector<std::string> labels) -> Status {
        ++session_.progress().objects;
        return session_.Push([this, object, system, labels = std::move(labels)](
                                 PackReader&) -> Status { return Open(object, system, labels); });
      });
}

Status WalVerifier::Open(const ObjectInfo& object, const Identity& system,
                         const std::vector<std::string>& labels) {
  session_.BeforeReading(object.size);
  std::uint64_t size = 0;
  const std::string file = BaseName(object.name);
  const WalFileKind kind = ParseWalFileName(file)->kind;
  std::optional<SegmentIndexer> indexer;
  if (kind == WalFileKind::kSegment && indexes_.Describes(system, file)) {
    indexer.emplace();
    indexer->Begin({.timeline = ParseWalFileName(file)->timeline,
                    .number = SegmentNumberOf(file, system.wal_segment_size),
                    .segment_size = system.wal_segment_size,
                    .system_identifier = system.system_identifier});
  }
  StreamOpener opener(
      session_.repository().seal_policy(), object.name,
      [&](ByteView plain) {
        size += plain.size();
        if (indexer) {
          indexer->Feed(plain);
        }
        return Ok();
      },
      WalArchive::LargestContent(kind, system.wal_segment_size));
  Status read = session_.repository().store().Get(object.name, {}, [&](ByteView piece) {
    session_.progress().bytes_read += piece.size();
    return opener.Feed(piece);
  });
  if (!read && read.error().code == ErrorCode::kNotFound) {
    return Ok();  // retention deleted it since the listing; Missing() checks what is needed
  }
  if (read) {
    read = opener.Finish();
  }
  const bool is_segment = kind == WalFileKind::kSegment || kind == WalFileKind::kPartial;
  if (read && is_segment && size != system.wal_segment_size) {
    read = DamagedObject(object.name, fmt::format("it holds {} bytes of WAL instead of {}", size,
                                                  system.wal_segment_size));
  }
  if (read && indexer) {
    SegmentIndex made = indexer->Finish();
    made.summary.digest = opener.attributes()->plain_digest.value_or(ContentDigest());
    made.summary.stored = object.size;
    RETURN_IF_ERROR(indexes_.Compare(system, file, made));
  }
  return session_.Judge(read, object.name, labels);
}

}  // namespace veza
