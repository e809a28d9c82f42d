// Copies a data directory into a repository. Reads with several threads, verifies page checksums,
// seals extents, fills packs, stores several packs at once, and commits the manifest and
// backup.json.
//
// The server side (pg/backup/backup_worker.cpp) starts and stops the backup in PostgreSQL. It
// calls, in this order: CopyDataDirectory(), AddFile() for backup_label, tablespace_map and
// global/pg_control, FinishPacks(), StoreManifest(), Commit(). Memory is bounded by (s3_connections
// + 1) packs and a few MiB for each thread, whatever the size of the cluster.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/backup/backup_options.h"
#include "core/backup/copied_contents.h"
#include "core/backup/extent_copier.h"
#include "core/backup/pack_uploader.h"
#include "core/backup/page_verifier.h"
#include "core/error.h"
#include "core/postgres/data_directory.h"
#include "core/repository/backup_summary.h"
#include "core/repository/manifest.h"
#include "core/repository/repository.h"
#include "core/work_queue.h"

namespace veza {

// Destroying it stops and joins every thread. What was stored stays in the repository as garbage.
class BackupWriter {
 public:
  BackupWriter(const Repository& repository, BackupWriterOptions options, BackupProgress& progress);

  // Call it before the backup is started in PostgreSQL. Reserves nothing in the store. A label that
  // is in use gives kAlreadyExists.
  static Status RequireUnusedLabel(const Repository& repository, const std::string& label);

  // Does not set the totals of the progress: they are SurveyDataDirectory()'s.
  Status CopyDataDirectory();
  // What CopyDataDirectory() has copied. Call it after that has returned.
  const CopiedContents& contents() const { return contents_; }
  Status AddFile(const std::string& path, std::uint32_t mode, ByteView content);
  // Stores the last pack. Fills in size, stored_size, files, packs, checksum failures, the sizes of
  // tablespaces and databases, and for a diff or an incr the parent and the sources.
  Status FinishPacks(BackupSummary& summary);
  // Fills in what the summary says of the manifest. Then the copy is whole, but for its WAL.
  Status StoreManifest(BackupSummary& summary);
  // Stores the manifest, unless that is done, and then backup.json, with the key wraps that are
  // there now: now the backup exists. The caller has made sure that the WAL is in the repository.
  Status Commit(BackupSummary& summary, const CommitGuard& guard);

 private:
  struct ExtentJob {
    std::shared_ptr<FileJob> file;
    std::size_t index = 0;
  };

  // The thread that walks calls these.
  WalkVisitor Visitor();
  Status Visit(const DirectoryEntry& entry);
  static std::shared_ptr<FileJob> JobFor(const DirectoryEntry& entry);
  bool IsDoneUnread(const DirectoryEntry& entry, FileJob& job) const;
  Result<bool> Open(const DirectoryEntry& entry, FileJob& job) const;
  void CountSizes(const std::string& path, std::uint64_t size);
  Status Enqueue(const std::shared_ptr<FileJob>& job);

  Status CopyExtent(const ExtentJob& job, ExtentCopier::Buffers& buffers);
  Status FinishFile(FileRecord& record);
  Status NameSources(FileRecord& record);
  Status NameSource(Extent& extent);

  const Repository& repository_;
  const BackupWriterOptions options_;
  BackupProgress& progress_;
  ManifestWriter manifest_;
  bool manifest_stored_ = false;
  PageVerifier verifier_;
  PackUploader uploader_;
  ExtentCopier copier_;
  std::unique_ptr<ExtentCopier::Buffers> own_buffers_;
  std::atomic<std::uint64_t> size_{0};
  std::map<std::uint32_t, std::uint64_t> tablespace_sizes_;
  std::map<std::uint32_t, std::uint64_t> database_sizes_;
  WalkNotes notes_;
  CopiedContents contents_;

  // Of a diff or an incr. A pack's record comes before the first file that names the pack.
  std::mutex sources_mutex_;
  std::vector<SourceBackup> sources_;               // in the order of their numbers
  std::map<std::uint32_t, std::uint32_t> numbers_;  // by the numbers of the parent's index
  std::set<std::pair<std::uint32_t, std::uint32_t>> named_packs_;  // by both numbers of the index
  WorkQueue<ExtentJob> queue_;                                     // of the readers
};

}  // namespace veza
