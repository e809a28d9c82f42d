#include "core/backup/backup_writer.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "core/backup/changed_pages.h"
#include "core/backup/file_reader.h"
#include "core/backup/pack_uploader.h"
#include "core/backup/page_verifier.h"
#include "core/codec/zstd.h"
#include "core/postgres/page.h"
#include "core/rate_limiter.h"
#include "core/repository/entrance.h"
#include "core/repository/manifest.h"
#include "core/repository/names.h"
#include "core/repository/pack_reader.h"
#include "core/storage/unique_fd.h"
#include "core/work_queue.h"

namespace veza {

namespace {

// Extents waiting for a reader; bounds the files that are open.
constexpr std::size_t kQueueLimit = 64;

// A file while its extents are being copied. The thread that finishes the last one writes the
// record.
struct FileJob {
  FileRecord record;
  std::string source_path;
  RelationFile relation;
  UniqueFd file;
  std::atomic<std::size_t> extents_left{0};

  // Of a diff.
  std::optional<FileRecord> in_full;  // the file as the full backup has it
  bool by_page = false;               // only changed pages are stored
  PageCollector changed_pages;
  std::mutex pages_mutex;  // guards record.pages

  // What the full backup has in this place; null when that is of another length, or nothing.
  const Extent* InFull(std::size_t index, std::size_t length) const {
    if (!in_full || index >= in_full->extents.size()) {
      return nullptr;
    }
    const Extent& extent = in_full->extents[index];
    return extent.pack != 0 && extent.length == length ? &extent : nullptr;
  }
};

struct ExtentJob {
  std::shared_ptr<FileJob> file;
  std::size_t index = 0;
};

// What a reader thread keeps between extents.
struct ReaderBuffers {
  explicit ReaderBuffers(int compression_level) : compressor(compression_level) {}
  Compressor compressor;
  Bytes plain = Bytes(kExtentSize);
  Bytes compressed;
  std::optional<PackReader> full_reader;  // of a diff that compares contents
};

// Whether what the full backup should hold is not there, or is not what was written.
bool IsDamage(const Error& error) {
  return error.code == ErrorCode::kDataCorrupted || error.code == ErrorCode::kNotFound ||
         error.code == ErrorCode::kUnsupported || error.code == ErrorCode::kWrongKey ||
         error.code == ErrorCode::kIo;
}

std::size_t ExtentLength(std::uint64_t file_size, std::size_t index) {
  return static_cast<std::size_t>(
      std::min<std::uint64_t>(kExtentSize, file_size - index * std::uint64_t{kExtentSize}));
}

}  // namespace

class BackupWriter::State {
 public:
  State(const Repository& repository, BackupWriterOptions options, BackupProgress& progress)
      : repository_(repository),
        options_(std::move(options)),
        progress_(progress),
        manifest_(repository, options_.label),
        limiter_(repository.environment(), progress.max_rate),
        verifier_(repository.environment(), options_.start_lsn, options_.block_size,
                  options_.segment_blocks, options_.warn),
        uploader_(repository, options_.label, options_.uploads, manifest_, progress.bytes_stored),
        own_buffers_(repository.options().compression_level),
        // A reader that waits for the uploader must end, too.
        queue_(kQueueLimit, [this](const Error& error) { uploader_.Abort(error); }) {}

  Status CopyDataDirectory() {
    for (const Tablespace& tablespace : options_.walk.tablespaces) {
      RETURN_IF_ERROR(manifest_.Add(tablespace));
    }
    if (options_.full) {
      // Before the files: a reader then knows how much of each pack it may meet.
      for (const PackRecord& pack : options_.full->index->packs()) {
        RETURN_IF_ERROR(manifest_.Add(pack));
      }
    }
    Status status = StartReaders();
    if (status) {
      status = WalkDataDirectory(options_.walk, Visitor());
    }
    if (!status) {
      queue_.Fail(std::move(status.error()));
    }
    return queue_.Finish();
  }

  const CopiedContents& contents() const { return contents_; }

  Status AddFile(const std::string& path, std::uint32_t mode, ByteView content) {
    FileRecord record;
    record.path = path;
    record.mode = mode;
    record.size = content.size();
    record.mtime = std::chrono::floor<std::chrono::seconds>(repository_.environment().clock->Now())
                       .time_since_epoch()
                       .count();
    for (std::size_t offset = 0; offset < content.size(); offset += kExtentSize) {
      const ByteView plain =
          content.subspan(offset, std::min(kExtentSize, content.size() - offset));
      ASSIGN_OR_RETURN(Extent extent, StoreExtent(plain, own_buffers_));
      record.extents.push_back(extent);
      progress_.bytes_done += plain.size();
    }
    return FinishFile(record);
  }

  Status FinishPacks(BackupSummary& summary) {
    RETURN_IF_ERROR(uploader_.Finish());
    summary.files = progress_.files_done;
    summary.size = size_;
    summary.packs = uploader_.packs();
    summary.tablespaces = options_.walk.tablespaces;
    for (Tablespace& tablespace : summary.tablespaces) {
      tablespace.size = tablespace_sizes_[tablespace.oid];
    }
    for (DatabaseSummary& database : summary.databases) {
      database.size = database_sizes_[database.oid];
    }
    summary.notes = notes_;
    verifier_.Report(summary);
    return Ok();
  }

  Status StoreManifest(BackupSummary& summary) {
    ASSIGN_OR_RETURN(const ManifestWriter::Stored stored, manifest_.Commit());
    manifest_stored_ = true;
    progress_.bytes_stored += stored.size;
    summary.manifest_size = stored.size;
    summary.manifest_sha256 = stored.sha256;
    summary.stored_size = progress_.bytes_stored;
    return Ok();
  }

  Status Commit(BackupSummary& summary, const CommitGuard& guard) {
    if (!manifest_stored_) {
      RETURN_IF_ERROR(StoreManifest(summary));
    }
    ASSIGN_OR_RETURN(const std::string document,
                     SerializeSummary(summary, repository_.seal_policy()));
    RETURN_IF_ERROR(RequireKeyInPlace(repository_, summary.system_identifier));
    RETURN_IF_ERROR(guard());
    return PutSmall(repository_.store(), BackupDocumentName(options_.label), AsBytes(document),
                    PutMode::kCreate);
  }

 private:
  Status StartReaders() {
    return queue_.Start(options_.jobs, [this] {
      auto buffers = std::make_unique<ReaderBuffers>(repository_.options().compression_level);
      if (options_.full && !options_.full->lsns_tell) {
        buffers->full_reader.emplace(repository_, [](std::uint64_t) {});
      }
      return [this, buffers = std::move(buffers)](ExtentJob& job) {
        return CopyExtent(job, *buffers);
      };
    });
  }

  // Called by the walking thread alone, as Visit().
  WalkVisitor Visitor() {
    return {[this](const DirectoryEntry& entry) { return Visit(entry); },
            [this](const SkippedItem& item, bool unexpected) {
              notes_.Skip(item);
              if (unexpected) {
                options_.warn(fmt::format("skipping \"{}\": {}", item.path, item.reason));
              }
            },
            [this](const FollowedLink& link) { notes_.Follow(link); }};
  }

  Status Visit(const DirectoryEntry& entry) {
    RETURN_IF_ERROR(repository_.environment().cancellation->Check());
    if (entry.kind == DirectoryEntry::Kind::kDirectory) {
      return manifest_.Add(DirectoryRecord{entry.path, entry.mode});
    }
    ASSIGN_OR_RETURN(std::optional<OpenedFile> opened, OpenForBackup(entry));
    if (!opened) {
      return Ok();
    }
    auto job = std::make_shared<FileJob>();
    job->file = std::move(opened->fd);
    job->source_path = entry.source_path;
    job->relation = entry.relation;
    job->record.path = entry.path;
    job->record.mode = ModeOf(entry, opened->info);
    job->record.size = static_cast<std::uint64_t>(opened->info.st_size);
    job->record.mtime = opened->info.st_mtim.tv_sec;
    CountSizes(entry.path, job->record.size);
    contents_.Note(entry.path);
    RETURN_IF_ERROR(FindInFull(*job));
    return Enqueue(job);
  }

  // What a link leads to may be another account's, which the server may read by its group: a key,
  // for example. When it comes back it is the server's own.
  static std::uint32_t ModeOf(const DirectoryEntry& entry, const struct stat& info) {
    const bool is_foreign = !entry.link_path.empty() && info.st_uid != geteuid();
    return is_foreign ? S_IRUSR | S_IWUSR | (entry.mode & S_IXUSR) : entry.mode;
  }

  Status FindInFull(FileJob& job) {
    if (!options_.full) {
      return Ok();
    }
    ASSIGN_OR_RETURN(job.in_full, options_.full->index->Find(job.record.path));
    // One page is compared as a whole, whatever its LSN says: it costs nothing. That covers
    // sequences, whose page may run ahead of its last record.
    job.by_page =
        job.in_full && job.relation.is_main_fork && job.record.size > options_.block_size &&
        job.record.size % options_.block_size == 0 &&
        job.in_full->size % options_.block_size == 0 &&
        (job.relation.database == 0 || options_.full->databases.contains(job.relation.database));
    return Ok();
  }

  // By the oids in "pg_tblspc/<oid>/…" and "base/<oid>/…". Called by the walking thread alone.
  void CountSizes(const std::string& path, std::uint64_t size) {
    database_sizes_[DatabaseOf(path)] += size;
    constexpr std::string_view kPrefix = "pg_tblspc/";
    if (path.starts_with(kPrefix)) {
      tablespace_sizes_[static_cast<std::uint32_t>(
          std::strtoul(path.c_str() + kPrefix.size(), nullptr, 10))] += size;
    }
  }

  Status Enqueue(const std::shared_ptr<FileJob>& job) {
    const std::size_t count =
        static_cast<std::size_t>((job->record.size + kExtentSize - 1) / kExtentSize);
    if (count == 0) {
      return FinishFile(job->record);
    }
    job->record.extents.resize(count);
    job->extents_left = count;
    for (std::size_t index = 0; index < count; ++index) {
      RETURN_IF_ERROR(queue_.Push({job, index}));
    }
    return Ok();
  }

  Status CopyExtent(const ExtentJob& job, ReaderBuffers& buffers) {
    RETURN_IF_ERROR(repository_.environment().cancellation->Check());
    FileJob& file = *job.file;
    const std::uint64_t offset = job.index * std::uint64_t{kExtentSize};
    const MutableByteView plain(buffers.plain.data(), ExtentLength(file.record.size, job.index));
    limiter_.Pass(plain.size());
    progress_.throttled_us = static_cast<std::uint64_t>(limiter_.waited().count());
    RETURN_IF_ERROR(ReadForBackup(file.file.get(), offset, plain, file.source_path));
    if (options_.secrets) {
      if (const std::optional<std::string> found =
              options_.secrets->Find(file.record.path, plain, file.source_path)) {
        return SecretInClear(file.record.path, *found);
      }
    }
    if (options_.verify_checksums && file.relation.is_relation) {
      RETURN_IF_ERROR(verifier_.Verify(
          {file.file.get(), file.record.path, file.source_path, file.relation}, offset, plain));
    }
    ASSIGN_OR_RETURN(file.record.extents[job.index],
                     StoreWhatChanged(file, job.index, plain, buffers));
    progress_.bytes_done += plain.size();
    if (file.extents_left.fetch_sub(1) == 1) {
      if (auto rest = file.changed_pages.TakeRest()) {
        RETURN_IF_ERROR(StorePages(file, *rest, buffers));
      }
      return FinishFile(file.record);
    }
    return Ok();
  }

  // In a diff, a reference to what the full backup has, wherever that is as good.
  Result<Extent> StoreWhatChanged(FileJob& file, std::size_t index, ByteView plain,
                                  ReaderBuffers& buffers) {
    const Extent* const in_full = file.InFull(index, plain.size());
    if (in_full == nullptr) {
      return StoreExtent(plain, buffers);
    }
    if (!file.by_page) {
      return DigestExtent(plain) == in_full->digest ? *in_full : StoreExtent(plain, buffers);
    }
    ASSIGN_OR_RETURN(const std::optional<PageIndexes> changed,
                     options_.full->lsns_tell
                         ? FindChangesSinceFull(*in_full, plain)
                         : CompareWithFull(file.source_path, *in_full, plain, buffers));
    if (!changed || IsMostOf(*changed, plain)) {
      // A restore would fetch the other half from the full backup; this is cheaper for it, and
      // compresses better.
      return StoreExtent(plain, buffers);
    }
    const auto first_page = static_cast<std::uint32_t>(index * (kExtentSize / options_.block_size));
    for (const std::uint32_t page : *changed) {
      if (auto batch = file.changed_pages.Add(
              first_page + page,
              plain.subspan(std::size_t{page} * options_.block_size, options_.block_size))) {
        RETURN_IF_ERROR(StorePages(file, *batch, buffers));
      }
    }
    return *in_full;
  }

  bool IsMostOf(const PageIndexes& pages, ByteView plain) const {
    return pages.size() * options_.block_size > plain.size() / 2;
  }

  // By LSNs. Pages that do not tell count as changed, unless nothing is.
  Result<std::optional<PageIndexes>> FindChangesSinceFull(const Extent& in_full,
                                                          ByteView plain) const {
    ChangesByLsn changes = FindChangesByLsn(plain, options_.block_size, options_.full->start_lsn,
                                            options_.full->first_lsn);
    if (changes.unknown.empty()) {
      return std::move(changes.changed);
    }
    if (DigestExtent(plain) == in_full.digest) {
      return PageIndexes();
    }
    PageIndexes pages;
    std::ranges::merge(changes.changed, changes.unknown, std::back_inserter(pages));
    return pages;
  }

  // By contents. Nothing when the region is to be stored whole: it looks as if most of it had
  // changed, or the full backup cannot be read.
  Result<std::optional<PageIndexes>> CompareWithFull(const std::string& path, const Extent& in_full,
                                                     ByteView plain, ReaderBuffers& buffers) {
    if (DigestExtent(plain) == in_full.digest) {
      return PageIndexes();
    }
    // LSNs are good enough to guess by: what is stored whole is right in any case.
    const ChangesByLsn guess = FindChangesByLsn(plain, options_.block_size,
                                                options_.full->start_lsn, options_.full->first_lsn);
    const PackRecord* const pack = options_.full->index->FindPack(in_full.pack);
    if (IsMostOf(guess.changed, plain) || pack == nullptr || IsKnownAsDamaged(in_full.pack)) {
      return std::nullopt;
    }
    std::optional<PageIndexes> differing;
    const Status read = buffers.full_reader->Read(
        PackName(options_.full->label, pack->number), *pack, {&in_full, 1},
        [&](std::size_t, ByteView before) -> Status {
          differing = FindDifferingPages(plain, before, options_.block_size);
          return Ok();
        });
    if (!read && !IsDamage(read.error())) {
      return read.error();
    }
    if (!read) {
      WarnOfDamage(pack->number, path, read.error());
      return std::nullopt;
    }
    return differing;
  }

  bool IsKnownAsDamaged(std::uint32_t pack) {
    const std::lock_guard lock(damaged_mutex_);
    return damaged_packs_.contains(pack);
  }

  // Once: a verification names the rest.
  void WarnOfDamage(std::uint32_t pack, const std::string& path, const Error& error) {
    {
      const std::lock_guard lock(damaged_mutex_);
      damaged_packs_.insert(pack);
      if (std::exchange(warned_of_damage_, true)) {
        return;
      }
    }
    options_.warn(fmt::format(
        "full backup \"{}\", which this diff refers to, is damaged: {}. What has changed in file "
        "\"{}\" is stored whole, but what has not is in the full backup only. Run \"vezactl verify "
        "--full\", and take a new full backup.",
        options_.full->label, error.message, path));
  }

  Status StorePages(FileJob& file, PageCollector::Batch& batch, ReaderBuffers& buffers) {
    ASSIGN_OR_RETURN(Extent extent, StoreContent(batch.content, buffers));
    const std::lock_guard lock(file.pages_mutex);
    file.record.pages.push_back({extent, std::move(batch.runs)});
    return Ok();
  }

  Result<Extent> StoreExtent(ByteView plain, ReaderBuffers& buffers) {
    if (IsAllZero(plain)) {
      return Extent{.length = static_cast<std::uint32_t>(plain.size())};
    }
    return StoreContent(plain, buffers);
  }

  Result<Extent> StoreContent(ByteView plain, ReaderBuffers& buffers) {
    Extent extent;
    RETURN_IF_ERROR(buffers.compressor.Compress(plain, buffers.compressed));
    if (buffers.compressed.size() < plain.size()) {
      ASSIGN_OR_RETURN(extent, uploader_.Add(0, buffers.compressed));
    } else {
      ASSIGN_OR_RETURN(extent, uploader_.Add(kFrameStored, plain));
    }
    extent.digest = DigestExtent(plain);
    extent.length = static_cast<std::uint32_t>(plain.size());
    return extent;
  }

  Status FinishFile(const FileRecord& record) {
    RETURN_IF_ERROR(manifest_.Add(record));
    size_ += record.size;
    ++progress_.files_done;
    return Ok();
  }

  const Repository& repository_;
  const BackupWriterOptions options_;
  BackupProgress& progress_;
  ManifestWriter manifest_;
  bool manifest_stored_ = false;
  RateLimiter limiter_;
  PageVerifier verifier_;
  PackUploader uploader_;
  ReaderBuffers own_buffers_;
  std::atomic<std::uint64_t> size_{0};
  std::map<std::uint32_t, std::uint64_t> tablespace_sizes_;
  std::map<std::uint32_t, std::uint64_t> database_sizes_;
  WalkNotes notes_;
  CopiedContents contents_;

  std::mutex damaged_mutex_;
  std::set<std::uint32_t> damaged_packs_;  // of the full backup
  bool warned_of_damage_ = false;

  WorkQueue<ExtentJob> queue_;  // of the readers
};

BackupWriter::BackupWriter(const Repository& repository, BackupWriterOptions options,
                           BackupProgress& progress)
    : state_(std::make_unique<State>(repository, std::move(options), progress)) {}

BackupWriter::~BackupWriter() = default;

Status BackupWriter::RequireUnusedLabel(const Repository& repository, const std::string& label) {
  return repository.store().List(BackupDirectory(label), "", [&](const ObjectInfo&) -> Status {
    return MakeError(ErrorCode::kAlreadyExists, "backup label \"{}\" is in use", label);
  });
}

Status BackupWriter::CopyDataDirectory() {
  return state_->CopyDataDirectory();
}

const CopiedContents& BackupWriter::contents() const {
  return state_->contents();
}

Status BackupWriter::AddFile(const std::string& path, std::uint32_t mode, ByteView content) {
  return state_->AddFile(path, mode, content);
}

Status BackupWriter::FinishPacks(BackupSummary& summary) {
  return state_->FinishPacks(summary);
}

Status BackupWriter::StoreManifest(BackupSummary& summary) {
  return state_->StoreManifest(summary);
}

Status BackupWriter::Commit(BackupSummary& summary, const CommitGuard& guard) {
  return state_->Commit(summary, guard);
}

}  // namespace veza
