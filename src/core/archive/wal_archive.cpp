#include "core/archive/wal_archive.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "core/archive/gap_record.h"
#include "core/codec/frame_reader.h"
#include "core/limits.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/names.h"
#include "core/storage/file_io.h"
#include "core/storage/unique_fd.h"
#include "core/wal/wal_scan.h"

namespace veza {

namespace {

constexpr std::size_t kReadSize = 1U << 20;
// Object header and attributes frame are some 300 bytes.
constexpr std::uint64_t kHeadReadSize = 4096;

Result<UniqueFd> OpenWalFile(const std::string& path, std::optional<std::uint64_t> expected_size,
                             struct stat& info) {
  UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    return ErrnoError(errno, fmt::format("could not open WAL file \"{}\"", path));
  }
  if (fstat(file.get(), &info) != 0) {
    return ErrnoError(errno, fmt::format("could not stat WAL file \"{}\"", path));
  }
  if (expected_size && static_cast<std::uint64_t>(info.st_size) != *expected_size) {
    return MakeError(ErrorCode::kDataCorrupted, "WAL file \"{}\" has {} bytes instead of {}", path,
                     info.st_size, *expected_size)
        .WithHint("The file is damaged, or belongs to a server with another WAL segment size.");
  }
  return file;
}

// Fills a part of `into`. Returns 0 at the end of the file.
Result<std::size_t> ReadSome(const UniqueFd& file, const std::string& path, MutableByteView into) {
  for (;;) {
    const ssize_t bytes = read(file.get(), into.data(), into.size());
    if (bytes >= 0) {
      return static_cast<std::size_t>(bytes);
    }
    if (errno != EINTR) {
      return ErrnoError(errno, fmt::format("could not read WAL file \"{}\"", path));
    }
  }
}

Result<bool> IsRecycled(const UniqueFd& file, const std::string& path, const std::string& segment,
                        const Identity& identity) {
  std::array<std::uint8_t, 64> beginning{};
  const ssize_t bytes = pread(file.get(), beginning.data(), beginning.size(), 0);
  if (bytes < 0) {
    return ErrnoError(errno, fmt::format("could not read WAL file \"{}\"", path));
  }
  const std::uint64_t size = identity.wal_segment_size;
  return JudgeFirstPage(ByteView(beginning).first(static_cast<std::size_t>(bytes)),
                        Lsn{SegmentNumberOf(segment, size) * size}, identity.system_identifier,
                        size) == FirstPage::kRecycled;
}

// Whether the server has left the segment's timeline in the segment or before it, by the history
// files beside the segment. Then nobody needs a segment that was never written. False in doubt.
bool WasLeftBehind(const std::string& path, const std::string& segment, const Identity& identity) {
  const auto history = NewestHistoryIn(std::filesystem::path(path).parent_path().string());
  if (!history || !*history) {
    return false;
  }
  const auto fork = ForkOf(**history, ParseWalFileName(segment)->timeline);
  const std::uint64_t size = identity.wal_segment_size;
  return fork && SegmentNumberOf(segment, size) >= SegmentOf(fork->switch_point, size);
}

// What is taken from a whole segment while it is sealed: everything for its index, or only where
// WAL with wal_level = minimal begins. Of other files, nothing.
class SegmentReading {
 public:
  // Without an indexer there will be no index. `in_pieces`: the segment is not at hand a second
  // time, if the indexer fails.
  SegmentReading(const SegmentIndexer::Options& options, SegmentIndexer* indexer, bool in_pieces)
      : options_(options),
        indexer_(indexer),
        scans_(indexer == nullptr || in_pieces),
        scanner_(begin(), [this](const WalEvent& event) {
          if (event.kind == WalEvent::Kind::kMinimal && !minimal_) {
            minimal_ = event.lsn;
          }
        }) {
    if (indexer_ != nullptr) {
      indexer_->Begin(options_);
    }
  }

  void Feed(ByteView bytes) {
    if (indexer_ != nullptr) {
      TryToIndex([&] { indexer_->Feed(bytes); });
    }
    if (scans_) {
      scanner_.Feed(bytes);
    }
  }

  void Finish(SealedWalFile& result) {
    if (indexer_ != nullptr) {
      TryToIndex([&] {
        result.index = indexer_->Finish();
        result.minimal = indexer_->minimal();
      });
    }
    if (scans_) {
      scanner_.Finish();
      result.minimal = minimal_;
    }
  }

  // The same in one step.
  void Read(ByteView segment, SealedWalFile& result) {
    Feed(segment);
    Finish(result);
    if (indexer_ == nullptr && !scans_) {
      scans_ = true;
      Feed(segment);
      Finish(result);
    }
  }

 private:
  Lsn begin() const { return Lsn{options_.number * options_.segment_size}; }

  // Archiving needs no index. If none can be made, because memory is used up, it goes on without.
  template <typename Work>
  void TryToIndex(Work work) {
    const Status done = CatchExceptions([&] {
      work();
      return Ok();
    });
    indexer_ = done ? indexer_ : nullptr;
  }

  const SegmentIndexer::Options options_;
  SegmentIndexer* indexer_;
  bool scans_;
  std::optional<Lsn> minimal_;
  WalScanner scanner_;
};

// What an unusual segment took is not kept: archive_memory does not count it.
void FreeLargeIndexer(WalScratch& scratch, std::uint64_t segment_size) {
  if (scratch.indexer && scratch.indexer->memory() > WalScratch::MemoryOfIndexer(segment_size)) {
    scratch.indexer.reset();
  }
}

// `reading` may be null.
Status AppendFile(const UniqueFd& file, const std::string& path, const Cancellation& cancellation,
                  SegmentReading* reading, StreamSealer& sealer) {
  Bytes buffer(kReadSize);
  for (;;) {
    RETURN_IF_ERROR(cancellation.Check());
    ASSIGN_OR_RETURN(const std::size_t bytes, ReadSome(file, path, buffer));
    if (bytes == 0) {
      return Ok();
    }
    if (reading != nullptr) {
      reading->Feed(ByteView(buffer).first(bytes));
    }
    RETURN_IF_ERROR(sealer.Append(ByteView(buffer).first(bytes)));
  }
}

// Makes `plain` larger where it must be, never smaller.
Result<ByteView> ReadWhole(const UniqueFd& file, const std::string& path, std::size_t size,
                           Bytes& plain) {
  if (plain.size() < size) {
    plain.resize(size);
  }
  std::size_t filled = 0;
  while (filled < size) {
    ASSIGN_OR_RETURN(const std::size_t bytes,
                     ReadSome(file, path, MutableByteView(plain).subspan(filled, size - filled)));
    if (bytes == 0) {
      return MakeError(ErrorCode::kDataCorrupted,
                       "WAL file \"{}\" became shorter while it was read", path);
    }
    filled += bytes;
  }
  return ByteView(plain).first(size);
}

Status WriteAll(int fd, ByteView bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      return ErrnoError(errno, fmt::format("could not write file \"{}\"", path));
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return Ok();
}

Result<ObjectAttributes> ReadAttributes(const Repository& repository, const std::string& name) {
  FrameReader reader(repository.seal_policy(), ObjectKind::kStream, name);
  const Status read = repository.store().Get(name, {0, kHeadReadSize}, [&](ByteView piece) {
    return reader.Feed(piece, [](auto&&...) { return Ok(); });
  });
  // An object of 0 bytes has no such range.
  if (!read && read.error().code != ErrorCode::kInvalidArgument) {
    return read.error();
  }
  if (!reader.attributes()) {
    return DamagedObject(name, "it is truncated");
  }
  return *reader.attributes();
}

Error Conflict(const Repository& repository, const std::string& file,
               const ObjectAttributes& there) {
  return MakeError(
             ErrorCode::kConflict,
             "WAL file \"{}\" is already in repository \"{}\" with different content, written "
             "by {} at {}",
             file, repository.store().location(), there.node, FormatUtc(there.created))
      .WithHint(
          "Two servers archive under one name, or this one was reset to an earlier state, for "
          "example by a snapshot of its disk. Find out which of them is the right one, and give "
          "the other another veza_backup.cluster. Nothing was "
          "overwritten.");
}

struct HashedFile {
  std::uint64_t size = 0;
  ContentDigest digest;
};

Result<HashedFile> HashFile(const Repository& repository, const UniqueFd& file,
                            const std::string& path, DigestMethod method) {
  HashedFile result;
  ContentHash hash(method, repository.seal_policy().key.get());
  Bytes buffer(kReadSize);
  for (std::size_t bytes = 1; bytes > 0; result.size += bytes) {
    RETURN_IF_ERROR(repository.environment().cancellation->Check());
    ASSIGN_OR_RETURN(bytes, ReadSome(file, path, buffer));
    hash.Update(ByteView(buffer).first(bytes));
  }
  result.digest = hash.Finish();
  return result;
}

// Whether an object has the content of the sealed file. If the two digests are of different
// methods, because a node of another version has stored the object, the file is read again.
Result<bool> IsSame(const Repository& repository, const SealedWalFile& sealed,
                    const ObjectAttributes& there) {
  if (there.plain_size != sealed.sealed.plain_size || !there.plain_digest) {
    return false;
  }
  if (there.plain_digest->method == sealed.sealed.plain_digest->method) {
    return there.plain_digest == sealed.sealed.plain_digest;
  }
  struct stat info {};
  ASSIGN_OR_RETURN(const UniqueFd file, OpenWalFile(sealed.path, std::nullopt, info));
  ASSIGN_OR_RETURN(const HashedFile ours,
                   HashFile(repository, file, sealed.path, there.plain_digest->method));
  return ours.size == there.plain_size && ours.digest == there.plain_digest;
}

// After which name a listing must start to begin with the segment. It is the segment's name without
// the last digit, which sorts before the segment and behind nearly all that comes before.
Result<std::string> JustBefore(std::uint64_t system_identifier, const std::string& segment) {
  ASSIGN_OR_RETURN(std::string name, WalObjectName(system_identifier, segment));
  name.pop_back();
  return name;
}

struct SegmentsFrom {
  Store& store;
  std::uint64_t system_identifier;
  TimelineId timeline;
  SegmentNumber first;
  std::uint64_t segment_size;
};

// Calls `visit` with the number and the object of each segment that the timeline has from `first`
// on, in the order of their names, until it returns false.
template <typename Visit>
Status ForEachSegment(const SegmentsFrom& from, Visit visit) {
  ASSIGN_OR_RETURN(const std::string start_after,
                   JustBefore(from.system_identifier,
                              SegmentName(from.timeline, from.first, from.segment_size)));
  bool done = false;
  Status listed = from.store.List(WalTimelinePrefix(from.system_identifier, from.timeline),
                                  start_after, [&](const ObjectInfo& object) -> Status {
                                    const std::optional<std::string> segment = SegmentIn(object);
                                    if (!segment) {
                                      return Ok();
                                    }
                                    const SegmentNumber number =
                                        SegmentNumberOf(*segment, from.segment_size);
                                    if (number < from.first || visit(number, object)) {
                                      return Ok();
                                    }
                                    done = true;
                                    return MakeError(ErrorCode::kCancelled, "seen enough");
                                  });
  return done ? Ok() : listed;
}

}  // namespace

std::optional<std::string> SegmentIn(const ObjectInfo& object) {
  std::string file = object.name.substr(object.name.rfind('/') + 1);
  const auto name = ParseWalFileName(file);
  if (!name || name->kind != WalFileKind::kSegment || object.size == 0) {
    return std::nullopt;
  }
  return file;
}

Result<SealedWalFile> WalArchive::Seal(const std::string& file, const std::string& path,
                                       const SealOptions& options) const {
  SealedWalFile result;
  result.file = file;
  result.path = path;
  ASSIGN_OR_RETURN(result.object, WalObjectName(system_identifier_, file));
  ASSIGN_OR_RETURN(const Identity identity, repository_.IdentityOf(system_identifier_));
  const WalFileKind kind = ParseWalFileName(file)->kind;
  const bool is_segment = kind == WalFileKind::kSegment || kind == WalFileKind::kPartial;
  const bool is_whole = kind == WalFileKind::kSegment;

  const RepositoryOptions& ours = repository_.options();
  const Environment& environment = repository_.environment();
  result.sealer = std::make_unique<StreamSealer>(
      repository_.seal_policy(),
      StreamOptions{.object_name = result.object,
                    .compression_level = options.compression_level.value_or(ours.compression_level),
                    .spill_directory = ours.spill_directory,
                    .memory_limit = options.memory,
                    .description = repository_.digest_method() == DigestMethod::kGmac
                                       ? ContentDescription::kSizeAndGmac
                                       : ContentDescription::kSizeAndSha256,
                    .on_digest = options.on_digest,
                    .origin = is_whole ? options.origin : nullptr},
      *environment.random);
  ASSIGN_OR_RETURN(
      const UniqueFd wal,
      OpenWalFile(path, is_segment ? std::optional(identity.wal_segment_size) : std::nullopt,
                  result.source));
  if (is_whole) {
    ASSIGN_OR_RETURN(result.holds_other_wal, IsRecycled(wal, path, file, identity));
    result.recycled = result.holds_other_wal && WasLeftBehind(path, file, identity);
    if (result.recycled) {
      return result;
    }
  }
  const bool is_small = options.scratch != nullptr &&
                        static_cast<std::uint64_t>(result.source.st_size) <= WalScratch::kLargest;
  std::unique_ptr<SegmentIndexer> own_indexer;
  SegmentIndexer* indexer = nullptr;
  if (is_whole && options.index) {
    std::unique_ptr<SegmentIndexer>& kept = is_small ? options.scratch->indexer : own_indexer;
    if (!kept) {
      kept = std::make_unique<SegmentIndexer>();
    }
    indexer = kept.get();
  }
  std::optional<SegmentReading> reading;
  if (is_whole) {
    // The server has just written the segment and computed its CRCs. The index can always be
    // compared with the archived segment, and verify does so.
    reading.emplace(
        SegmentIndexer::Options{.timeline = ParseWalFileName(file)->timeline,
                                .number = SegmentNumberOf(file, identity.wal_segment_size),
                                .segment_size = identity.wal_segment_size,
                                .system_identifier = system_identifier_,
                                .check_crc = false},
        indexer, !is_small);
  }
  if (is_small) {
    RETURN_IF_ERROR(environment.cancellation->Check());
    ASSIGN_OR_RETURN(const ByteView plain,
                     ReadWhole(wal, path, static_cast<std::size_t>(result.source.st_size),
                               options.scratch->plain));
    if (reading) {
      reading->Read(plain, result);
      reading.reset();
      FreeLargeIndexer(*options.scratch, identity.wal_segment_size);
    }
    ASSIGN_OR_RETURN(result.sealed, result.sealer->SealWhole(plain, options.scratch->seal,
                                                             ours.node, environment.clock->Now()));
  } else {
    RETURN_IF_ERROR(AppendFile(wal, path, *environment.cancellation, reading ? &*reading : nullptr,
                               *result.sealer));
    if (reading) {
      reading->Finish(result);
    }
    ASSIGN_OR_RETURN(result.sealed, result.sealer->Finish(ours.node, environment.clock->Now()));
  }
  if (result.index) {
    result.index->summary.digest = *result.sealed.plain_digest;
    result.index->summary.stored = result.sealed.body->size();
  }
  return result;
}

Result<PushOutcome> WalArchive::Put(const SealedWalFile& sealed) const {
  if (sealed.recycled) {
    return PushOutcome::kRecycled;
  }
  const Status put = repository_.store().Put(sealed.object, *sealed.sealed.body, PutMode::kCreate);
  if (!put) {
    if (put.error().code != ErrorCode::kAlreadyExists) {
      return put.error();
    }
    // An empty object is not removed: between a look and the removal another server may store its
    // file.
    RETURN_IF_ERROR(RequireNotEmpty(sealed.file));
    ASSIGN_OR_RETURN(const ObjectAttributes there, ReadAttributes(repository_, sealed.object));
    ASSIGN_OR_RETURN(const bool same, IsSame(repository_, sealed, there));
    if (!same) {
      return Conflict(repository_, sealed.file, there);
    }
  }
  if (sealed.minimal) {
    // After the segment, because the record of a segment that is refused, as a clone's is, would
    // stay for ever. Before the acknowledgement, and also when the segment was there already: after
    // a crash in between, the server sends the segment again.
    RETURN_IF_ERROR(RecordMinimal(repository_, system_identifier_, sealed.file, *sealed.minimal));
  }
  return put ? PushOutcome::kStored : PushOutcome::kAlreadyThere;
}

Status WalArchive::RequireSame(const std::string& file, const std::string& path) const {
  ASSIGN_OR_RETURN(const std::string name, WalObjectName(system_identifier_, file));
  struct stat info {};
  Result<UniqueFd> wal = OpenWalFile(path, std::nullopt, info);
  if (!wal) {
    return wal.error().code == ErrorCode::kNotFound ? Ok() : wal.error();
  }
  ASSIGN_OR_RETURN(const ObjectAttributes there, ReadAttributes(repository_, name));
  ASSIGN_OR_RETURN(
      const HashedFile ours,
      HashFile(repository_, *wal, path, there.plain_digest.value_or(ContentDigest()).method));
  if (there.plain_size == ours.size && there.plain_digest == ours.digest) {
    return Ok();
  }
  struct stat now {};
  if (stat(path.c_str(), &now) != 0 || now.st_ino != info.st_ino || now.st_dev != info.st_dev) {
    return Ok();
  }
  return Conflict(repository_, file, there);
}

Status WalArchive::Fetch(const std::string& file, const std::string& destination) const {
  ASSIGN_OR_RETURN(const std::string name, WalObjectName(system_identifier_, file));
  const std::string temporary = fmt::format("{}.veza-tmp-{}", destination, getpid());
  UniqueFd out;
  bool created = false;
  // The file is created when the first bytes arrive. So to ask for a file that is not there, which
  // recovery does all the time, leaves no trace.
  ASSIGN_OR_RETURN(const Identity identity, repository_.IdentityOf(system_identifier_));
  StreamOpener opener(
      repository_.seal_policy(), name,
      [&](ByteView plain) { return WriteAll(out.get(), plain, temporary); },
      LargestContent(ParseWalFileName(file)->kind, identity.wal_segment_size));
  Status status = repository_.store().Get(name, {}, [&](ByteView piece) -> Status {
    if (!out.valid()) {
      // A file of that name is left over, or is a trap: the directory may be another account's.
      RETURN_IF_ERROR(RequireReplaceableFile(temporary));
      unlink(temporary.c_str());
      out = UniqueFd(
          open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
      if (!out.valid()) {
        return ErrnoError(errno, fmt::format("could not create file \"{}\"", temporary));
      }
      created = true;
    }
    return opener.Feed(piece);
  });
  if (status) {
    status = opener.Finish();
  }
  // A network file system may report only now that the disk was full.
  if (status && close(out.Release()) != 0) {
    status = ErrnoError(errno, fmt::format("could not close file \"{}\"", temporary));
  }
  if (status) {
    status = RequireReplaceableFile(destination);
  }
  if (status && rename(temporary.c_str(), destination.c_str()) != 0) {
    status = ErrnoError(errno, fmt::format("could not rename file \"{}\"", temporary));
  }
  if (!status && created) {
    unlink(temporary.c_str());
  }
  return status;
}

std::uint64_t WalArchive::LargestContent(WalFileKind kind, std::uint64_t segment_size) {
  switch (kind) {
    case WalFileKind::kSegment:
    case WalFileKind::kPartial:
      return std::min<std::uint64_t>(segment_size, limits::kWalSegment);
    case WalFileKind::kBackupHistory:
      return limits::kBackupHistory;
    case WalFileKind::kTimelineHistory:
      return limits::kTimelineHistory;
  }
  return limits::kWalSegment;
}

Status WalArchive::Read(const std::string& file,
                        const std::function<Status(ByteView)>& sink) const {
  ASSIGN_OR_RETURN(const std::string name, WalObjectName(system_identifier_, file));
  ASSIGN_OR_RETURN(const Identity identity, repository_.IdentityOf(system_identifier_));
  StreamOpener opener(repository_.seal_policy(), name, sink,
                      LargestContent(ParseWalFileName(file)->kind, identity.wal_segment_size));
  RETURN_IF_ERROR(
      repository_.store().Get(name, {}, [&](ByteView piece) { return opener.Feed(piece); }));
  return opener.Finish();
}

Result<std::string> WalArchive::FetchText(const std::string& file) const {
  std::string text;
  RETURN_IF_ERROR(Read(file, [&](ByteView plain) {
    text.append(AsText(plain));
    return Ok();
  }));
  return text;
}

Result<ObjectAttributes> WalArchive::Attributes(const std::string& file) const {
  ASSIGN_OR_RETURN(const std::string name, WalObjectName(system_identifier_, file));
  return ReadAttributes(repository_, name);
}

Result<ContentDigest> WalArchive::DigestOfFile(const std::string& path, DigestMethod method) const {
  ASSIGN_OR_RETURN(const Identity identity, repository_.IdentityOf(system_identifier_));
  struct stat info {};
  ASSIGN_OR_RETURN(const UniqueFd file, OpenWalFile(path, identity.wal_segment_size, info));
  ASSIGN_OR_RETURN(const HashedFile hashed, HashFile(repository_, file, path, method));
  return hashed.digest;
}

Result<bool> WalArchive::Contains(const std::string& file) const {
  ASSIGN_OR_RETURN(const std::string name, WalObjectName(system_identifier_, file));
  ASSIGN_OR_RETURN(const std::optional<ObjectInfo> info, HeadIfThere(repository_.store(), name));
  return info && info->size > 0;
}

Status WalArchive::RequireNotEmpty(const std::string& file) const {
  ASSIGN_OR_RETURN(const std::string name, WalObjectName(system_identifier_, file));
  ASSIGN_OR_RETURN(const std::optional<ObjectInfo> info, HeadIfThere(repository_.store(), name));
  if (info && info->size == 0) {
    return MakeError(ErrorCode::kDataCorrupted, "object \"{}\" has 0 bytes", name)
        .WithHint(
            "The store was full, or lost power, when the object was written. Delete the object; "
            "then the server stores it again.");
  }
  return Ok();
}

Result<bool> WalArchive::IsTaken(const std::string& file) const {
  ASSIGN_OR_RETURN(const std::string name, WalObjectName(system_identifier_, file));
  ASSIGN_OR_RETURN(const std::optional<ObjectInfo> info, HeadIfThere(repository_.store(), name));
  return info.has_value();
}

Result<std::vector<std::string>> WalArchive::Missing(TimelineId timeline, SegmentNumber first,
                                                     SegmentNumber last, std::uint64_t segment_size,
                                                     std::size_t limit) const {
  std::vector<std::string> missing;
  SegmentNumber expected = first;
  const auto miss_up_to = [&](SegmentNumber end) {
    for (; expected < end && missing.size() < limit; ++expected) {
      missing.push_back(SegmentName(timeline, expected, segment_size));
    }
    expected = std::max(expected, end);
  };
  RETURN_IF_ERROR(
      ForEachSegment({repository_.store(), system_identifier_, timeline, first, segment_size},
                     [&](SegmentNumber number, const ObjectInfo&) {
                       if (number < expected) {
                         return true;
                       }
                       miss_up_to(std::min(number, last + 1));
                       if (number <= last) {
                         expected = number + 1;
                       }
                       return number < last && missing.size() < limit;
                     }));
  miss_up_to(last + 1);
  return missing;
}

Result<std::optional<SegmentNumber>> WalArchive::FirstOf(TimelineId timeline, SegmentNumber first,
                                                         SegmentNumber last,
                                                         std::uint64_t segment_size) const {
  std::optional<SegmentNumber> found;
  RETURN_IF_ERROR(
      ForEachSegment({repository_.store(), system_identifier_, timeline, first, segment_size},
                     [&](SegmentNumber number, const ObjectInfo&) {
                       if (number <= last) {
                         found = number;
                       }
                       return false;
                     }));
  return found;
}

Result<std::vector<StoredSegment>> WalArchive::Stored(TimelineId timeline, SegmentNumber first,
                                                      SegmentNumber last,
                                                      std::uint64_t segment_size) const {
  std::vector<StoredSegment> stored;
  RETURN_IF_ERROR(
      ForEachSegment({repository_.store(), system_identifier_, timeline, first, segment_size},
                     [&](SegmentNumber number, const ObjectInfo& object) {
                       if (number <= last) {
                         stored.push_back({number, object.size});
                       }
                       return number < last;
                     }));
  return stored;
}

Result<std::vector<TimelineId>> WalArchive::Timelines() const {
  ASSIGN_OR_RETURN(const std::vector<std::string> directories,
                   repository_.store().ListDirectories(WalSystemPrefix(system_identifier_)));
  std::vector<TimelineId> timelines;
  for (const std::string& directory : directories) {
    // The name of the directory is the first third of the names in it.
    if (const auto file = ParseWalFileName(directory + ".history")) {
      timelines.push_back(file->timeline);
    }
  }
  std::ranges::sort(timelines);
  return timelines;
}

Result<std::vector<WalRange>> WalArchive::Ranges(std::uint64_t segment_size,
                                                 const std::string& from) const {
  std::vector<WalRange> ranges;
  SegmentNumber next = 0;
  std::string start_after;
  if (!from.empty()) {
    ASSIGN_OR_RETURN(start_after, JustBefore(system_identifier_, from));
  }
  RETURN_IF_ERROR(repository_.store().List(
      WalSystemPrefix(system_identifier_), start_after, [&](const ObjectInfo& object) -> Status {
        const std::optional<std::string> segment = SegmentIn(object);
        if (!segment) {
          return Ok();
        }
        const SegmentNumber number = SegmentNumberOf(*segment, segment_size);
        const TimelineId timeline = ParseWalFileName(*segment)->timeline;
        if (ranges.empty() || ranges.back().timeline != timeline || number != next) {
          if (ranges.size() == limits::kWalRanges) {
            return TooManyObjects(repository_.store(), WalSystemPrefix(system_identifier_),
                                  limits::kWalRanges);
          }
          WalRange& range = ranges.emplace_back();
          range.timeline = timeline;
          range.first = *segment;
        }
        ranges.back().last = *segment;
        ++ranges.back().segments;
        ranges.back().last_stored = object.modified;
        next = number + 1;
        return Ok();
      }));
  return ranges;
}

}  // namespace veza
