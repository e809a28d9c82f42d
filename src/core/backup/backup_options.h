// What a backup is made of and how, for BackupWriter and the parts of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "core/backup/parent_index.h"
#include "core/backup/secret_scan.h"
#include "core/backup/wal_changes.h"
#include "core/postgres/data_directory.h"
#include "core/postgres/lsn.h"

namespace veza {

// The writer's threads write it and any thread reads it. `max_rate` is the other way round.
struct BackupProgress {
  std::atomic<std::uint64_t> max_rate{0};      // bytes read a second; 0: no limit
  std::atomic<std::uint64_t> throttled_us{0};  // sum of what the threads waited for max_rate
  std::atomic<std::uint64_t> bytes_total{0};
  std::atomic<std::uint64_t> files_total{0};
  std::atomic<std::uint64_t> bytes_done{0};
  std::atomic<std::uint64_t> files_done{0};
  std::atomic<std::uint64_t> bytes_stored{0};
};

// The backup that a diff or an incr builds on.
struct ParentReference {
  std::shared_ptr<const ParentIndex> index;
  Lsn start_lsn;  // of the parent
  // What WAL has changed from start_lsn to the start of the backup. Then only that is read of the
  // main forks of relations. Null if that is not known: then everything is read, and what follows
  // tells what has changed.
  std::shared_ptr<const WalChanges> changed{};
  // The LSNs of pages tell what was changed since (ParentChoice::doubt is empty). Otherwise
  // contents are compared: an extent that differs is read from the repository, and compared page by
  // page.
  bool lsns_tell = false;
  Lsn first_lsn;  // lower ones are no positions in the WAL (changed_pages.h)
  // The databases that are the same ones as when the parent was made. Another one may have
  // been created since, under the oid of an old one, by copying files. The LSNs of its pages tell
  // nothing.
  std::set<std::uint32_t> databases;
};

struct BackupWriterOptions {
  WalkOptions walk;
  std::string label;
  Lsn start_lsn;
  std::optional<ParentReference> parent;  // for a diff or an incr
  std::uint32_t block_size = 8192;
  std::uint32_t segment_blocks = 131072;  // blocks in a file of a relation (RELSEG_SIZE)
  bool verify_checksums = false;
  std::shared_ptr<const SecretScan> secrets;  // a file that shows one fails the backup; may be null
  int jobs = 1;
  int uploads = 8;  // packs in flight
  // Called from any thread with sentences for the log (skipped files, checksum failures).
  std::function<void(const std::string&)> warn;
};

}  // namespace veza
