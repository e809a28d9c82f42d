// Copies a data directory into a repository: reads with several threads, verifies page checksums,
// seals extents, fills packs, stores several at once, and commits manifest and backup.json.
//
// The server side (pg/backup/backup_worker.cpp) starts and stops the backup in PostgreSQL and
// calls, in this order: CopyDataDirectory, AddFile for backup_label, tablespace_map and
// global/pg_control, FinishPacks, StoreManifest, Commit. Memory is bounded by (s3_connections + 1)
// packs and a few MiB a thread, whatever the cluster's size.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "core/backup/copied_contents.h"
#include "core/backup/full_index.h"
#include "core/backup/secret_scan.h"
#include "core/error.h"
#include "core/postgres/data_directory.h"
#include "core/repository/backup_summary.h"
#include "core/repository/repository.h"

namespace veza {

// Written by the writer's threads, read by anyone; `max_rate` the other way round.
struct BackupProgress {
  std::atomic<std::uint64_t> max_rate{0};      // bytes read a second; 0: no limit
  std::atomic<std::uint64_t> throttled_us{0};  // what threads waited for it, added up
  std::atomic<std::uint64_t> bytes_total{0};
  std::atomic<std::uint64_t> files_total{0};
  std::atomic<std::uint64_t> bytes_done{0};
  std::atomic<std::uint64_t> files_done{0};
  std::atomic<std::uint64_t> bytes_stored{0};
};

// What a diff refers to.
struct FullReference {
  std::shared_ptr<const FullIndex> index;
  std::string label;  // of the full backup
  Lsn start_lsn;
  // The LSNs of pages tell what was changed since (FullChoice::doubt). Otherwise contents do: what
  // differs is read from the full backup in the repository and compared page by page.
  bool lsns_tell = false;
  Lsn first_lsn;  // lower ones are no positions in the WAL (changed_pages.h)
  // Databases that are still the ones they were when the full backup was made. In the others (made
  // anew under an old oid by copying files) a page's LSN tells nothing.
  std::set<std::uint32_t> databases;
};

struct BackupWriterOptions {
  WalkOptions walk;
  std::string label;
  Lsn start_lsn;
  std::optional<FullReference> full;  // for a diff
  std::uint32_t block_size = 8192;
  std::uint32_t segment_blocks = 131072;  // blocks a relation segment file (RELSEG_SIZE)
  bool verify_checksums = false;
  std::shared_ptr<const SecretScan> secrets;  // a file with one fails the backup; may be null
  int jobs = 1;
  int uploads = 8;  // packs in flight
  // Called from any thread for what the log should tell (skipped files, checksum failures).
  std::function<void(const std::string&)> warn;
};

class BackupWriter {
 public:
  BackupWriter(const Repository& repository, BackupWriterOptions options, BackupProgress& progress);
  ~BackupWriter();  // stops and joins every thread; what was stored stays as garbage

  // Reserves nothing in the store; call before the backup is started in PostgreSQL. A label that is
  // in use gives kAlreadyExists.
  static Status RequireUnusedLabel(const Repository& repository, const std::string& label);

  // Does not set the totals of the progress: SurveyDataDirectory() has told them.
  Status CopyDataDirectory();
  // Of CopyDataDirectory(), once it has returned.
  const CopiedContents& contents() const;
  Status AddFile(const std::string& path, std::uint32_t mode, ByteView content);
  // Stores the last pack and fills in size, stored_size, files, packs, checksum failures and the
  // sizes of tablespaces and databases.
  Status FinishPacks(BackupSummary& summary);
  // Fills in what the summary says of it. Now the copy is whole, and says nothing of its WAL.
  Status StoreManifest(BackupSummary& summary);
  // The manifest unless it is stored, then backup.json: after this the backup exists. Callers have
  // made sure that the WAL is in the repository.
  Status Commit(BackupSummary& summary, const CommitGuard& guard);

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace veza
