// backup.json: the summary of a backup and the proof that it exists (FORMAT.md section 5).
#pragma once

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
  // The transaction that made (or last altered) its row in pg_database: another one tells that the
  // database may not be the one that had this oid before. The same on primary and standby.
  std::uint32_t row_xid = 0;
  std::uint64_t size = 0;  // bytes of its files
};

struct ExtensionSummary {
  std::string database;
  std::string name;
  std::string version;
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
  // The wrap with which the writer has opened that key. Of 0.1, and with cipher none: empty.
  std::vector<NamedText> key_wraps;
  std::uint64_t manifest_size = 0;
  Sha256Digest manifest_sha256{};
  std::vector<Tablespace> tablespaces;
  std::uint64_t checksum_failures = 0;
  std::vector<ChecksumFailure> checksum_failure_pages;  // the first kMaxChecksumFailurePages
  std::string backup_label;
  std::optional<Sha256Digest> full_manifest_sha256;  // diffs only: the full they refer to
  // Diffs only: by what the changes since the full were found, "lsn" or "digest"; empty when
  // version 0.1 made it, which always went by LSNs (suspect_diff.h).
  std::string changes_by;
  std::vector<DatabaseSummary> databases;
  // For whoever restores it: what the server was set up with. Without values that are secret.
  std::vector<ExtensionSummary> extensions;
  std::map<std::string, std::string> settings;  // those that differ from the default
  WalkNotes notes;                              // empty in backups of 0.1
  // Not stored: a reader of many had no room for the parts that it wanted, and has kFacts only.
  bool is_cut = false;

  // For a diff the label of its full; otherwise its own.
  std::string full_label() const;
};

// What a reader of many backups keeps of each.
enum class SummaryParts {
  kFacts,  // all but what follows; of the databases those without files only
  kNotes,  // and what the copy left out and followed
  kAll,    // and databases, extensions, settings, key wraps and backup_label
};
// Forgets the others, and gives back their memory.
void KeepOnly(SummaryParts parts, BackupSummary* summary);
// In bytes, with what the allocator adds.
std::size_t MemoryOf(const BackupSummary& summary);

// Asked right before backup.json is stored, behind every other request: whether the maker still
// holds the lock, and what the backup builds on is still there. An error leaves no backup.
using CommitGuard = std::function<Status()>;

inline constexpr std::size_t kMaxChecksumFailurePages = 100;

// Databases of which the backup has no file at all. It was made by version 0.1, which did not
// follow symbolic links; or they were dropped while it was made.
std::vector<DatabaseSummary> DatabasesWithoutFiles(const BackupSummary& summary);
inline constexpr const char* kMissingDatabaseHint =
    "It was behind a symbolic link, which version 0.1 did not follow, or it was dropped while the "
    "backup was made. Take or choose another backup.";

// Signs and prints; checks the signature and every member. The object name is derived from the
// label.
Result<std::string> SerializeSummary(const BackupSummary& summary, const SealPolicy& policy);
Result<BackupSummary> ParseSummary(std::string_view text, std::string_view label,
                                   const SealPolicy& policy);

// The key wraps that backup.json says it holds, before there is a key that could authenticate it. A
// wrap needs no more than its passphrase: it is sealed with it.
std::vector<NamedText> UnverifiedKeyWraps(std::string_view text);

}  // namespace veza
