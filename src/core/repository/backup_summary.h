// backup.json: the summary of a backup. It is stored last and makes the backup exist (FORMAT.md
// section 5).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "core/codec/digest.h"
#include "core/codec/seal.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/postgres/tablespace_map.h"
#include "core/postgres/walk_notes.h"
#include "core/repository/identity.h"
#include "core/repository/names.h"

namespace veza {

struct ChecksumFailure {
  std::string path;         // of the file, relative to the data directory
  std::uint32_t block = 0;  // within the relation fork
};

struct DatabaseSummary {
  std::uint32_t oid = 0;
  std::string name;
  // The transaction that created (or last altered) the database's row in pg_database; it is the
  // same on primary and standby. If it differs from that of an earlier backup, the database may not
  // be the same one, although it has the same oid.
  std::uint32_t row_xid = 0;
  std::uint64_t size = 0;  // bytes of its files
};

struct ExtensionSummary {
  std::string database;
  std::string name;
  std::string version;
};

// A backup whose packs another one names.
struct SourceBackup {
  std::string label;
  Sha256Digest manifest_sha256{};
};

struct BackupSummary {
  std::string label;
  BackupType type = BackupType::kFull;
  std::uint64_t system_identifier = 0;
  int postgres_version_num = 0;
  std::string postgres_version;
  TimelineId timeline = 0;
  Lsn start_lsn;
  Lsn stop_lsn;
  std::string start_wal;
  std::string stop_wal;
  TimePoint start_time{};
  TimePoint stop_time{};
  // From start to stop by the server's steady clock, in seconds, rounded up. Not in older backups.
  std::optional<std::uint64_t> duration{};
  std::uint64_t wal_segment_size = 0;
  std::uint32_t block_size = 0;
  std::uint32_t data_checksum_version = 0;
  bool from_standby = false;
  std::string node;
  std::uint64_t size = 0;
  std::uint64_t stored_size = 0;
  std::uint64_t files = 0;
  std::uint64_t packs = 0;
  std::string cipher;
  std::string key_id;  // empty for cipher none
  // The key wrap by which the writer opened that key, and those of other passphrases (WrapsToCopy()
  // in key_wraps.h). Empty with cipher none, and in backups of version 0.1.
  std::vector<NamedText> key_wraps;
  std::uint64_t manifest_size = 0;
  Sha256Digest manifest_sha256{};
  std::vector<Tablespace> tablespaces;
  std::uint64_t checksum_failures = 0;
  std::vector<ChecksumFailure> checksum_failure_pages;  // the first kMaxChecksumFailurePages
  std::string backup_label;
  // The backups whose packs the manifest names. It numbers them from 1 (Extent::source). Of a diff
  // the full alone, even if nothing of it is named; of an incr at most limits::kSources backups of
  // its full; of a full none.
  std::vector<SourceBackup> sources;
  // Incrs only: the backup since whose beginning changes were looked for.
  std::string parent;
  // Diffs and incrs only: how the changes were found, "wal", "lsn" or "digest". Empty in diffs of
  // version 0.1, which always compared LSNs (suspect_diff.h).
  std::string changes_by;
  // Diffs only: why the changes were not found by WAL, a clause. Empty when they were, and in diffs
  // of a version that does not say it.
  std::string changes_doubt;
  std::vector<DatabaseSummary> databases;
  // What the server was set up with, for the person who restores it. Secret values are left out.
  std::vector<ExtensionSummary> extensions;
  std::map<std::string, std::string> settings;  // those that differ from the default
  WalkNotes notes;                              // empty in backups of 0.1
  // Not stored. True when a reader of many backups had no room for the parts that it wanted and
  // kept kFacts only.
  bool is_cut = false;

  // For a diff or an incr, the label of its full; for a full, its own label.
  std::string full_label() const;
  // Of the backup that Extent::source and PackRecord::source mean: 0 is this one, and the others
  // are numbered from 1. At most sources.size().
  const std::string& LabelOf(std::uint32_t source) const;
};

// How long the backup took. If it does not say so, the difference of its times, which is wrong if
// the clock was set meanwhile; but never negative.
std::chrono::duration<double> DurationOf(const BackupSummary& summary);

// The parts of each backup that a reader of many backups keeps.
enum class SummaryParts {
  kFacts,  // everything except what follows; of the databases, only those without files
  kNotes,  // also what the copy has skipped and followed
  kAll,    // also databases, extensions, settings, key wraps and backup_label
};
// Clears all other parts, and releases their memory.
void KeepOnly(SummaryParts parts, BackupSummary* summary);
// The size in bytes, with the overhead of the allocator.
std::size_t MemoryOf(const BackupSummary& summary);

// Called immediately before backup.json is stored, after every other request. It checks that the
// writer still holds the lock, and that what the backup refers to still exists. If it returns an
// error, backup.json is not stored and there is no backup.
using CommitGuard = std::function<Status()>;

inline constexpr std::size_t kMaxChecksumFailurePages = 100;

// The databases of which the backup contains no file at all. Either version 0.1, which did not
// follow symbolic links, made the backup, or the databases were dropped while it was made.
std::vector<DatabaseSummary> DatabasesWithoutFiles(const BackupSummary& summary);
inline constexpr const char* kMissingDatabaseHint =
    "The database was behind a symbolic link, which version 0.1 did not follow, or it was dropped "
    "while the backup was made. Take or choose another backup.";

// SerializeSummary signs and prints. ParseSummary checks the signature and every member. The
// object's name, which is part of the signature, is derived from the label. Errors name the object.
Result<std::string> SerializeSummary(const BackupSummary& summary, const SealPolicy& policy);
Result<BackupSummary> ParseSummary(std::string_view text, std::string_view label,
                                   const SealPolicy& policy);

// The same without the signature, for showing a backup before the key is known. The content may be
// forged.
Result<BackupSummary> ParseUnverifiedSummary(std::string_view text, std::string_view label);

// The key wraps in a backup.json that is not verified, for use before the key is known. That is
// safe, because opening a wrap with the passphrase authenticates it.
std::vector<NamedText> UnverifiedKeyWraps(std::string_view text);

}  // namespace veza
