// Copies a data directory into a repository: reads with several threads, verifies page checksums,
// seals extents, fills packs, stores several at once, and commits manifest and backup.json.
//
// The server side (pg/backup_worker.cpp) starts and stops the backup in PostgreSQL and calls, in
// this order: CopyDataDirectory, AddFile for backup_label, tablespace_map and global/pg_control,
// FinishPacks, Commit. Memory is bounded by (s3_connections + 1) packs and a few MiB a thread,
// whatever the cluster's size.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>

#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/repository/data_directory.h"
#include "core/repository/repository.h"

namespace veza {

// Written by the writer's threads, read by anyone.
struct BackupProgress {
  std::atomic<std::uint64_t> bytes_total{0};
  std::atomic<std::uint64_t> bytes_done{0};
  std::atomic<std::uint64_t> files_done{0};
  std::atomic<std::uint64_t> bytes_stored{0};
};

struct BackupWriterOptions {
  WalkOptions walk;
  std::string label;
  Lsn start_lsn;
  std::uint32_t block_size = 8192;
  std::uint32_t segment_blocks = 131072;  // blocks a relation segment file (RELSEG_SIZE)
  bool verify_checksums = false;
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

  Status CopyDataDirectory();
  Status AddFile(const std::string& path, std::uint32_t mode, ByteView content);
  // Stores the last pack and fills in size, stored_size, files, packs and checksum failures.
  Status FinishPacks(BackupSummary& summary);
  // Manifest, then backup.json: after this the backup exists. Callers have made sure that the WAL
  // is in the repository.
  Status Commit(BackupSummary& summary);

 private:
  class State;
  std::unique_ptr<State> state_;
};

}  // namespace veza
