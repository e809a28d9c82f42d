#include "core/restore/recovery_end.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/archive/recovery_window.h"
#include "core/archive/stored_histories.h"
#include "core/archive/wal_archive.h"
#include "core/backup/file_reader.h"
#include "core/postgres/timeline_history.h"
#include "core/storage/unique_fd.h"

namespace veza {

namespace {

// access/xlog_internal.h (XLogPageHeaderData, XLogLongPageHeaderData) and access/xlogrecord.h.
constexpr std::uint64_t kShortHeader = 24;
constexpr std::uint64_t kLongHeader = 40;  // of the first page of a segment
constexpr std::size_t kPageInfo = 2;
constexpr std::size_t kPageAddress = 8;
constexpr std::size_t kPageRemaining = 16;
constexpr std::uint16_t kFirstIsContinued = 0x0001;  // XLP_FIRST_IS_CONTRECORD
constexpr std::uint32_t kRecordHeader = 24;
constexpr std::uint32_t kLongestRecord = 1U << 30;  // XLogRecordMaxSize is a little less
constexpr std::size_t kRecordPrevious = 8;
constexpr std::uint64_t kAlignment = 8;  // MAXALIGN: records begin at multiples of this

std::uint64_t HeaderOf(std::uint64_t page, std::uint64_t segment_size) {
  return page % segment_size == 0 ? kLongHeader : kShortHeader;
}

// The segment that recovery reads for a position: that of the newest timeline that has it. Empty
// when none has it.
std::string SegmentFor(const ArchiveMap& archive, TimelineId timeline, Lsn at) {
  const std::uint64_t size = archive.segment_size();
  const SegmentNumber segment = SegmentOf(at, size);
  const std::vector<PathPart> path = archive.PathTo(timeline);
  for (std::size_t part = path.size(); part-- > 0;) {
    if (SegmentOf(path[part].begin, size) <= segment &&
        archive.RunAt(path[part].timeline, segment) != nullptr) {
      return SegmentName(path[part].timeline, segment, size);
    }
  }
  return "";
}

// Reads one segment after the other into a file.
class SegmentReader {
 public:
  SegmentReader(const Repository& repository, const RestorePlan& plan, const ArchiveMap& archive,
                std::string scratch)
      : wal_(repository, plan.backup.system_identifier),
        timeline_(plan.target_timeline),
        archive_(archive),
        scratch_(std::move(scratch)) {}
  ~SegmentReader() { unlink(scratch_.c_str()); }
  SegmentReader(const SegmentReader&) = delete;
  SegmentReader& operator=(const SegmentReader&) = delete;

  Result<Bytes> Read(Lsn at, std::size_t length) {
    const std::string name = SegmentFor(archive_, timeline_, at);
    if (name.empty()) {
      return MakeError(ErrorCode::kNotFound, "no WAL segment of the repository holds {}",
                       FormatLsn(at));
    }
    if (name != name_) {
      unlink(scratch_.c_str());
      RETURN_IF_ERROR(wal_.Fetch(name, scratch_));
      file_.Reset(open(scratch_.c_str(), O_RDONLY | O_CLOEXEC));
      if (!file_.valid()) {
        return ErrnoError(errno, fmt::format("could not open file \"{}\"", scratch_));
      }
      name_ = name;
    }
    Bytes bytes(length);
    RETURN_IF_ERROR(
        ReadForBackup(file_.get(), at.value % archive_.segment_size(), bytes, scratch_));
    return bytes;
  }

 private:
  const WalArchive wal_;
  const TimelineId timeline_;
  const ArchiveMap& archive_;
  const std::string scratch_;
  std::string name_;
  UniqueFd file_;
};

}  // namespace

Result<bool> RecordGoesBeyond(Lsn at, Lsn end, std::uint64_t segment_size,
                              std::uint32_t wal_block_size, const ReadWal& read) {
  const std::uint64_t reached = at.value;
  if (reached % kAlignment != 0 || wal_block_size < kAlignment) {
    return false;  // not the start of a record; its length could span two pages
  }
  if (at.value % wal_block_size == 0) {
    at.value += HeaderOf(at.value, segment_size);
  }
  if (at >= end) {
    return true;
  }
  std::uint64_t page = (at.value / wal_block_size + 1) * wal_block_size;
  const std::uint64_t here = page - at.value;
  ASSIGN_OR_RETURN(const Bytes begin, read(at, std::min<std::uint64_t>(here, kRecordHeader)));
  const auto length = LoadLittleEndian<std::uint32_t>(begin.data());
  if (length < kRecordHeader || length > kLongestRecord || length <= here) {
    return false;  // a record that is complete on this page would have been replayed
  }
  if (begin.size() >= kRecordPrevious + sizeof(std::uint64_t) &&
      LoadLittleEndian<std::uint64_t>(begin.data() + kRecordPrevious) >= reached) {
    return false;
  }
  std::uint64_t left = length - here;
  for (bool first = true; page < end.value; page += wal_block_size, first = false) {
    if (first) {
      ASSIGN_OR_RETURN(const Bytes header, read(Lsn{page}, kShortHeader));
      if ((LoadLittleEndian<std::uint16_t>(header.data() + kPageInfo) & kFirstIsContinued) == 0 ||
          LoadLittleEndian<std::uint64_t>(header.data() + kPageAddress) != page ||
          LoadLittleEndian<std::uint32_t>(header.data() + kPageRemaining) != left) {
        return false;
      }
    }
    const std::uint64_t room = wal_block_size - HeaderOf(page, segment_size);
    if (left <= room) {
      return false;
    }
    left -= room;
  }
  return true;
}

Result<PlannedEnd> PlanEnd(const Repository& repository, const RestorePlan& plan) {
  const WalArchive wal(repository, plan.backup.system_identifier);
  ASSIGN_OR_RETURN(TimelineHistory history, ReadTimelineHistory(wal, plan.target_timeline));
  const std::uint64_t size = plan.backup.wal_segment_size;
  ASSIGN_OR_RETURN(const std::vector<WalRange> ranges, wal.Ranges(size, plan.backup.start_wal));
  ArchiveMap archive(size, ranges, {std::move(history)});
  const Lsn end = EndOfRecovery(plan.backup, archive);
  return PlannedEnd{end, std::move(archive)};
}

Status RequireEnd(const Repository& repository, const RestorePlan& plan, const PlannedEnd& planned,
                  Lsn reached, std::uint32_t wal_block_size, const std::string& scratch) {
  if (reached >= planned.end) {
    return Ok();
  }
  SegmentReader reader(repository, plan, planned.archive, scratch);
  ASSIGN_OR_RETURN(
      const bool beyond,
      RecordGoesBeyond(reached, planned.end, planned.archive.segment_size(), wal_block_size,
                       [&](Lsn at, std::size_t length) { return reader.Read(at, length); }));
  if (beyond) {
    return Ok();
  }
  return MakeError(
             ErrorCode::kDataCorrupted,
             "recovery ended at {}, in WAL segment \"{}\", although the archive continues to {}",
             FormatLsn(reached), SegmentFor(planned.archive, plan.target_timeline, reached),
             FormatLsn(planned.end))
      .WithHint(
          "The segment is unchanged since it was stored, but it does not hold the WAL that "
          "PostgreSQL should have written there. pg_waldump shows where its WAL ends. Take a new "
          "backup, from which later recoveries can start.");
}

}  // namespace veza
