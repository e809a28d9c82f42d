#include "core/archive/segment_links.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "core/codec/digest.h"
#include "core/codec/json.h"
#include "core/postgres/timeline_history.h"
#include "core/storage/file_io.h"
#include "core/storage/unique_fd.h"

namespace veza {
namespace {

constexpr std::size_t kLargestFile = 4096;
// More than are stored ahead.
constexpr std::size_t kMostLinks = 256;

bool IsSegment(const std::string& file) {
  const auto name = ParseWalFileName(file);
  return name && name->kind == WalFileKind::kSegment;
}

std::optional<Sha256Digest> HashMember(const Json& json, const char* member) {
  return Sha256FromHex(StringMember(json, member).value_or(""));
}

Sha256Digest RandomRun(Random& random) {
  Sha256Digest run{};
  random.Fill(run);
  return run;
}

}  // namespace

Sha256Digest LinkTo(const std::string& segment, const ContentDigest& digest) {
  Sha256 hash;
  hash.Update(AsBytes("veza_backup 1 link "));
  hash.Update(AsBytes(segment));
  hash.Update(AsBytes(digest.method == DigestMethod::kGmac ? " gmac " : " sha256 "));
  hash.Update(digest.used());
  return hash.Finish();
}

Result<Sha256Digest> IdOfRepository(const Repository& repository, std::uint64_t system_identifier) {
  ASSIGN_OR_RETURN(const Identity identity, repository.IdentityOf(system_identifier));
  return Sha256Of(
      AsBytes(fmt::format("{}\n{}\n{}\n{}", repository.store().location(), system_identifier,
                          identity.key_id, FormatUtc(identity.created))));
}

std::optional<std::string> SegmentBeforeOnPath(const std::string& segment,
                                               std::uint64_t segment_size,
                                               const std::string& wal_directory) {
  const SegmentNumber number = SegmentNumberOf(segment, segment_size);
  if (number == 0) {
    return std::nullopt;
  }
  TimelineId timeline = ParseWalFileName(segment)->timeline;
  if (timeline > 1) {
    if (const auto history = ReadHistoryIn(wal_directory, timeline)) {
      timeline = TimelineOnPath(*history, number - 1, segment_size);
    }
  }
  return SegmentName(timeline, number - 1, segment_size);
}

std::optional<AcknowledgedRun> ReadAcknowledgedRun(const std::string& wal_directory) {
  const auto text =
      ReadRegularFile(fmt::format("{}/{}", wal_directory, kAcknowledgedFile), kLargestFile);
  const std::optional<Json> json =
      text && *text ? ParseJsonObject(**text) : std::optional<Json>(std::nullopt);
  if (!json || UnsignedMember(*json, "format") != 1U) {
    return std::nullopt;
  }
  const auto repository = HashMember(*json, "repository");
  const auto run = HashMember(*json, "run");
  const auto link = HashMember(*json, "link");
  std::string first = StringMember(*json, "first").value_or("");
  std::string last = StringMember(*json, "last").value_or("");
  if (!repository || !run || !link || !IsSegment(first) || !IsSegment(last)) {
    return std::nullopt;
  }
  return AcknowledgedRun{*repository, *run, std::move(first), std::move(last), *link};
}

Status WriteAcknowledgedRun(const std::string& wal_directory, const AcknowledgedRun& run) {
  const std::string path = fmt::format("{}/{}", wal_directory, kAcknowledgedFile);
  const std::string temporary = path + ".tmp";
  const std::string text = PrintInOrder({{"format", 1},
                                         {"repository", ToHex(run.repository)},
                                         {"run", ToHex(run.run)},
                                         {"first", run.first},
                                         {"last", run.last},
                                         {"link", ToHex(run.link)}},
                                        -1);
  const UniqueFd file(open(
      temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
  if (!file.valid()) {
    return ErrnoError(errno, fmt::format("could not create file \"{}\"", temporary));
  }
  RETURN_IF_ERROR(WriteAllAt(file.get(), 0, AsBytes(text), temporary));
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    return ErrnoError(errno, fmt::format("could not rename file \"{}\"", temporary));
  }
  return Ok();
}

void SegmentLinks::Begin(const std::string& file) {
  const std::lock_guard lock(mutex_);
  if (first_asked_.empty() && IsSegment(file)) {
    first_asked_ = file;
  }
}

void SegmentLinks::Know(const std::string& file, const ContentDigest& digest) {
  if (!IsSegment(file)) {
    return;
  }
  const std::lock_guard lock(mutex_);
  links_.insert_or_assign(file, LinkTo(file, digest));
  if (links_.size() > kMostLinks) {
    links_.erase(links_.begin());
  }
}

SegmentOrigin SegmentLinks::OriginOf(const Repository& repository, const std::string& segment) {
  const std::optional<std::string> before =
      SegmentBeforeOnPath(segment, segment_size_, wal_directory_);
  SegmentOrigin origin;
  {
    const std::lock_guard lock(mutex_);
    Resolve(repository);
    origin.run = run_ ? std::optional(run_->run) : std::nullopt;
    origin.previous = before ? Known(*before) : std::nullopt;
  }
  if (before && !origin.previous) {
    origin.previous = LinkInPgWal(repository, *before);
  }
  return origin;
}

void SegmentLinks::Acknowledge(const std::string& file) {
  const std::lock_guard lock(mutex_);
  const auto link = links_.find(file);
  if (!IsSegment(file) || !run_ || link == links_.end()) {
    return;
  }
  const bool is_older = !run_->last.empty() && file < run_->last;
  if (is_older) {
    return;
  }
  if (!Continues(*run_, file)) {
    BeginRun(run_->repository, *random_);
  }
  if (run_->first.empty()) {
    run_->first = file;
  }
  run_->last = file;
  run_->link = link->second;
  // Without the file, another run begins after the next start.
  [[maybe_unused]] const Status written = WriteAcknowledgedRun(wal_directory_, *run_);
}

void SegmentLinks::NoteConflict(const std::string& file) {
  const std::lock_guard lock(mutex_);
  if (!IsSegment(file) || !run_ || run_->last.empty() || file > run_->last) {
    return;
  }
  unlink(fmt::format("{}/{}", wal_directory_, kAcknowledgedFile).c_str());
  BeginRun(run_->repository, *random_);
}

// --- With the lock

void SegmentLinks::Resolve(const Repository& repository) {
  if (run_) {
    return;
  }
  const Result<Sha256Digest> id = IdOfRepository(repository, system_identifier_);
  if (!id) {
    return;
  }
  random_ = repository.environment().random;
  run_ = ReadAcknowledgedRun(wal_directory_);
  const bool goes_on = run_ && run_->repository == *id && !first_asked_.empty() &&
                       Continues(*run_, first_asked_) && !WasWrittenAnew(*run_, repository);
  if (!goes_on) {
    BeginRun(*id, *random_);
  }
}

// Whether pg_wal has another content of the last segment than the one that was acknowledged. That
// can be after a crash that lost WAL (fsync = off), if somebody has kept the new content from being
// archived.
bool SegmentLinks::WasWrittenAnew(const AcknowledgedRun& run, const Repository& repository) const {
  const std::optional<Sha256Digest> now = LinkInPgWal(repository, run.last);
  return now && *now != run.link;
}

// Reads the segment. nullopt if it is not there, or cannot be read.
std::optional<Sha256Digest> SegmentLinks::LinkInPgWal(const Repository& repository,
                                                      const std::string& segment) const {
  const Result<ContentDigest> digest =
      WalArchive(repository, system_identifier_)
          .DigestOfFile(fmt::format("{}/{}", wal_directory_, segment), repository.digest_method());
  return digest ? std::optional(LinkTo(segment, *digest)) : std::nullopt;
}

void SegmentLinks::BeginRun(const Sha256Digest& repository, Random& random) {
  run_ = AcknowledgedRun{.repository = repository, .run = RandomRun(random)};
}

// Whether the segment may be the next of the run: also one that was acknowledged already, and one
// of a later timeline that begins in what was acknowledged.
bool SegmentLinks::Continues(const AcknowledgedRun& run, const std::string& segment) const {
  if (run.last.empty()) {
    return true;
  }
  const SegmentNumber last = SegmentNumberOf(run.last, segment_size_);
  const SegmentNumber first = SegmentNumberOf(run.first, segment_size_);
  const SegmentNumber number = SegmentNumberOf(segment, segment_size_);
  return first <= number && number <= last + 1 &&
         ParseWalFileName(segment)->timeline >= ParseWalFileName(run.last)->timeline;
}

std::optional<Sha256Digest> SegmentLinks::Known(const std::string& segment) const {
  if (const auto known = links_.find(segment); known != links_.end()) {
    return known->second;
  }
  return run_ && run_->last == segment ? std::optional(run_->link) : std::nullopt;
}

}  // namespace veza
