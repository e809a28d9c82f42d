#include "core/backup/backup_writer.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <utility>

#include "core/backup/file_reader.h"
#include "core/postgres/relation_names.h"
#include "core/repository/entrance.h"
#include "core/repository/key_wraps.h"
#include "core/repository/names.h"

namespace veza {

namespace {

// Extents that wait for a reader. Bounds the number of open files.
constexpr std::size_t kQueueLimit = 64;

// A link may lead to a file of another account, such as a key, which the server may read by its
// group. A restore gives the file to the server's account, so its mode must let the owner read and
// write.
std::uint32_t ModeOf(const DirectoryEntry& entry, const struct stat& info) {
  const bool is_foreign = !entry.link_path.empty() && info.st_uid != geteuid();
  return is_foreign ? S_IRUSR | S_IWUSR | (entry.mode & S_IXUSR) : entry.mode;
}

DigestMethod NewestDigest(const Repository& repository, const BackupWriterOptions& options) {
  const bool others_have_gmac =
      options.parent &&
      std::ranges::any_of(options.parent->index->packs(), [](const PackRecord& pack) {
        return pack.digest == DigestMethod::kGmac;
      });
  return others_have_gmac ? DigestMethod::kGmac : repository.digest_method();
}

}  // namespace

BackupWriter::BackupWriter(const Repository& repository, BackupWriterOptions options,
                           BackupProgress& progress)
    : repository_(repository),
      options_(std::move(options)),
      progress_(progress),
      manifest_(repository, options_.label, NewestDigest(repository, options_)),
      verifier_(repository.environment(), options_.start_lsn, options_.block_size,
                options_.segment_blocks, options_.warn),
      uploader_(repository, options_.label, options_.uploads, manifest_, progress.bytes_stored),
      copier_(repository, options_, progress, uploader_, verifier_),
      own_buffers_(copier_.MakeBuffers()),
      // A reader that waits for the uploader must end, too.
      queue_(kQueueLimit, [this](const Error& error) { uploader_.Abort(error); }) {}

Status BackupWriter::RequireUnusedLabel(const Repository& repository, const std::string& label) {
  return repository.store().List(BackupDirectory(label), "", [&](const ObjectInfo&) -> Status {
    return MakeError(ErrorCode::kAlreadyExists, "backup label \"{}\" is in use", label);
  });
}

Status BackupWriter::CopyDataDirectory() {
  for (const Tablespace& tablespace : options_.walk.tablespaces) {
    RETURN_IF_ERROR(manifest_.Add(tablespace));
  }
  Status status = queue_.Start(options_.jobs, [this] {
    return [this, buffers = copier_.MakeBuffers()](ExtentJob& job) {
      return CopyExtent(job, *buffers);
    };
  });
  if (status) {
    status = WalkDataDirectory(options_.walk, Visitor());
  }
  if (!status) {
    queue_.Fail(std::move(status.error()));
  }
  return queue_.Finish();
}

Status BackupWriter::AddFile(const std::string& path, std::uint32_t mode, ByteView content) {
  FileRecord record;
  record.path = path;
  record.mode = mode;
  record.size = content.size();
  record.mtime = std::chrono::floor<std::chrono::seconds>(repository_.environment().clock->Now())
                     .time_since_epoch()
                     .count();
  for (std::size_t offset = 0; offset < content.size(); offset += kExtentSize) {
    const ByteView plain = content.subspan(offset, std::min(kExtentSize, content.size() - offset));
    ASSIGN_OR_RETURN(Extent extent, copier_.Store(plain, *own_buffers_));
    record.extents.push_back(extent);
    progress_.bytes_done += plain.size();
  }
  return FinishFile(record);
}

Status BackupWriter::FinishPacks(BackupSummary& summary) {
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
  if (options_.parent) {
    const std::vector<SourceBackup>& sources = options_.parent->index->sources();
    // A diff is bound to its full, whatever it names.
    const bool is_incr = summary.type == BackupType::kIncr;
    summary.sources = is_incr ? sources_ : sources;
    summary.parent = is_incr ? sources.front().label : "";
  }
  summary.notes = notes_;
  verifier_.Report(summary);
  return Ok();
}

Status BackupWriter::StoreManifest(BackupSummary& summary) {
  ASSIGN_OR_RETURN(const ManifestWriter::Stored stored, manifest_.Commit());
  manifest_stored_ = true;
  progress_.bytes_stored += stored.size;
  summary.manifest_size = stored.size;
  summary.manifest_sha256 = stored.sha256;
  summary.stored_size = progress_.bytes_stored;
  return Ok();
}

Status BackupWriter::Commit(BackupSummary& summary, const CommitGuard& guard) {
  if (!manifest_stored_) {
    RETURN_IF_ERROR(StoreManifest(summary));
  }
  // While the backup was made, passphrases may have come.
  ASSIGN_OR_RETURN(summary.key_wraps, WrapsToCopy(repository_));
  ASSIGN_OR_RETURN(const std::string document,
                   SerializeSummary(summary, repository_.seal_policy()));
  RETURN_IF_ERROR(RequireKeyInPlace(repository_, summary.system_identifier));
  RETURN_IF_ERROR(guard());
  return PutSmall(repository_.store(), BackupDocumentName(options_.label), AsBytes(document),
                  PutMode::kCreate);
}

WalkVisitor BackupWriter::Visitor() {
  return {[this](const DirectoryEntry& entry) { return Visit(entry); },
          [this](const SkippedItem& item, bool unexpected) {
            notes_.Skip(item);
            if (unexpected) {
              options_.warn(fmt::format("skipping \"{}\": {}", item.path, item.reason));
            }
          },
          [this](const FollowedLink& link) { notes_.Follow(link); }};
}

Status BackupWriter::Visit(const DirectoryEntry& entry) {
  RETURN_IF_ERROR(repository_.environment().cancellation->Check());
  if (entry.kind == DirectoryEntry::Kind::kDirectory) {
    return manifest_.Add(DirectoryRecord{entry.path, entry.mode});
  }
  const std::shared_ptr<FileJob> job = JobFor(entry);
  RETURN_IF_ERROR(copier_.FindInParent(*job));
  if (!IsDoneUnread(entry, *job)) {
    ASSIGN_OR_RETURN(const bool is_there, Open(entry, *job));
    if (!is_there) {
      return Ok();
    }
  }
  CountSizes(entry.path, job->record.size);
  contents_.Note(entry.path);
  return job->file.valid() ? Enqueue(job) : FinishFile(job->record);
}

std::shared_ptr<FileJob> BackupWriter::JobFor(const DirectoryEntry& entry) {
  auto job = std::make_shared<FileJob>();
  job->source_path = entry.source_path;
  job->relation = entry.relation;
  job->record.path = entry.path;
  job->record.mode = entry.mode;
  job->record.size = entry.size;
  job->record.mtime = entry.mtime;
  return job;
}

// A relation that is empty, or of which WAL says nothing, is not opened: a cluster may have very
// many. If it has vanished since it was listed, replay of WAL drops it, too.
bool BackupWriter::IsDoneUnread(const DirectoryEntry& entry, FileJob& job) const {
  return entry.relation.is_relation && entry.link_path.empty() &&
         (entry.size == 0 || copier_.TakeOver(job));
}

// False when the file has vanished.
Result<bool> BackupWriter::Open(const DirectoryEntry& entry, FileJob& job) const {
  ASSIGN_OR_RETURN(std::optional<OpenedFile> opened, OpenForBackup(entry));
  if (!opened) {
    return false;
  }
  job.file = std::move(opened->fd);
  job.record.mode = ModeOf(entry, opened->info);
  job.record.mtime = opened->info.st_mtim.tv_sec;
  const auto size = static_cast<std::uint64_t>(opened->info.st_size);
  if (size != job.record.size) {
    job.record.size = size;
    RETURN_IF_ERROR(copier_.FindInParent(job));
  }
  return true;
}

// Goes by the oids in "pg_tblspc/<oid>/…" and "base/<oid>/…".
void BackupWriter::CountSizes(const std::string& path, std::uint64_t size) {
  database_sizes_[DatabaseOf(path)] += size;
  constexpr std::string_view kPrefix = "pg_tblspc/";
  if (path.starts_with(kPrefix)) {
    tablespace_sizes_[static_cast<std::uint32_t>(
        std::strtoul(path.c_str() + kPrefix.size(), nullptr, 10))] += size;
  }
}

Status BackupWriter::Enqueue(const std::shared_ptr<FileJob>& job) {
  const std::size_t count =
      static_cast<std::size_t>((job->record.size + kExtentSize - 1) / kExtentSize);
  if (count == 0) {
    return FinishFile(job->record);
  }
  job->record.extents.resize(count);
  job->inherits.resize(count);
  job->extents_left = count;
  for (std::size_t index = 0; index < count; ++index) {
    RETURN_IF_ERROR(queue_.Push({job, index}));
  }
  return Ok();
}

Status BackupWriter::CopyExtent(const ExtentJob& job, ExtentCopier::Buffers& buffers) {
  FileJob& file = *job.file;
  RETURN_IF_ERROR(copier_.Copy(file, job.index, buffers));
  if (file.extents_left.fetch_sub(1) > 1) {
    return Ok();
  }
  RETURN_IF_ERROR(copier_.StoreRest(file, buffers));
  return FinishFile(file.record);
}

// Gives the extents in packs of other backups the numbers of the manifest, and adds the records of
// these packs.
Status BackupWriter::NameSources(FileRecord& record) {
  if (!options_.parent) {
    return Ok();
  }
  const std::lock_guard lock(sources_mutex_);
  for (Extent& extent : record.extents) {
    RETURN_IF_ERROR(NameSource(extent));
  }
  for (PageExtent& pages : record.pages) {
    RETURN_IF_ERROR(NameSource(pages.extent));
  }
  return Ok();
}

Status BackupWriter::NameSource(Extent& extent) {
  if (extent.source == 0) {
    return Ok();
  }
  const ParentIndex& index = *options_.parent->index;
  const auto [number, is_new] =
      numbers_.emplace(extent.source, static_cast<std::uint32_t>(sources_.size() + 1));
  if (is_new) {
    sources_.push_back(index.sources()[extent.source - 1]);
  }
  if (named_packs_.emplace(extent.source, extent.pack).second) {
    const PackRecord* const pack = index.FindPack(extent);
    if (pack == nullptr) {
      return MakeError(ErrorCode::kDataCorrupted,
                       "\"{}\" does not describe pack {} of backup \"{}\"",
                       ManifestName(index.sources().front().label), extent.pack,
                       sources_[number->second - 1].label);
    }
    PackRecord record = *pack;
    record.source = number->second;
    RETURN_IF_ERROR(manifest_.Add(record));
  }
  extent.source = number->second;
  return Ok();
}

Status BackupWriter::FinishFile(FileRecord& record) {
  RETURN_IF_ERROR(NameSources(record));
  RETURN_IF_ERROR(manifest_.Add(record));
  size_ += record.size;
  ++progress_.files_done;
  return Ok();
}

}  // namespace veza
