// What a WAL record says besides the blocks that it names: how a transaction ended and which
// relations went with it, relations and databases made, cut and dropped, checkpoints, parameters.
//
// Sources: the structs of access/xact.h, access/xlog_internal.h, catalog/pg_control.h,
// catalog/storage_xlog.h, commands/dbcommands_xlog.h and commands/tablespace.h, the parsers in
// rmgrdesc/xactdesc.c, and the redo functions, of PostgreSQL 15 to 18; for 19 those of its branch
// of July 2026, compared with no server. docs/postgres-facts.md lists every record that changes
// files without naming blocks.
//
// What cannot be read is UnknownFact, never NothingMore. Nothing here allocates more than a small
// multiple of the record's size, and nothing here depends on a record being honest.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "core/bytes.h"
#include "core/environment.h"
#include "core/postgres/lsn.h"
#include "core/wal/wal_record.h"

namespace veza {

// The record changes no file of a relation other than the blocks that it names, if any, in the
// visibility map and in the free space map; and it says nothing that this header has a type for.
struct NothingMore {};

// COMMIT, ABORT, COMMIT PREPARED, ROLLBACK PREPARED. A subtransaction that is rolled back has a
// record of its own, if it has an xid; recovery to a time looks at that one too.
struct TransactionEnd {
  bool committed = false;
  bool prepared = false;       // it was prepared before: by COMMIT PREPARED or ROLLBACK PREPARED
  TimePoint time{};            // by the clock of the server; they are not in order
  std::uint32_t xid = 0;       // of the transaction or subtransaction that ended
  std::uint32_t database = 0;  // where it ran; 0: not said, or none
  std::vector<std::uint32_t> subtransactions{};  // xids that end with it
  std::vector<RelationFile> dropped{};           // all forks of each go
  std::string gid{};                             // of a prepared one, if wal_level is logical
};

// What the record says, or whether it changes files, is not known. A backup that relies on WAL
// reads everything if there is one of these.
struct UnknownFact {
  std::string_view reason;  // for a message: a clause without its first capital; never freed
  // The end of a transaction with what could be read: its time at least. xid, subtransactions and
  // dropped may be wanting.
  std::optional<TransactionEnd> end{};
};

// The reason of a record of an extension's resource manager that names no block. The record may
// change files, but it is none of those that this header has a type for.
inline constexpr std::string_view kNoBlockOfExtension =
    "a record of a custom resource manager names no block";

// PREPARE TRANSACTION. What it drops is dropped by the record that ends it.
struct TransactionPrepared {
  TimePoint time{};
  std::uint32_t xid = 0;
  std::uint32_t database = 0;
  std::string gid{};
};

struct RelationCreated {
  RelationFile file;
  std::uint8_t fork = kMainFork;
};
struct RelationTruncated {
  RelationFile file;
  std::uint32_t blocks = 0;  // so many blocks of the main fork stay, or count for the maps
  bool main = false;         // which forks are cut
  bool visibility_map = false;
  bool free_space_map = false;
};

// CREATE DATABASE … STRATEGY file_copy, ALTER DATABASE … SET TABLESPACE: the directory of one
// database is copied. What was in the new place before is removed.
struct DatabaseCopied {
  std::uint32_t database = 0;
  std::uint32_t tablespace = 0;
  std::uint32_t source_database = 0;
  std::uint32_t source_tablespace = 0;
};
// CREATE DATABASE … STRATEGY wal_log: the directory and its PG_VERSION. Records of all that comes
// into it follow.
struct DatabaseCreated {
  std::uint32_t database = 0;
  std::uint32_t tablespace = 0;
};
// DROP DATABASE, ALTER DATABASE … SET TABLESPACE, a CREATE DATABASE that failed: what the database
// had in these tablespaces.
struct DatabaseDropped {
  std::uint32_t database = 0;
  std::vector<std::uint32_t> tablespaces;
};

struct TablespaceCreated {
  std::uint32_t tablespace = 0;
  std::string location{};  // empty: in place
};
struct TablespaceDropped {
  std::uint32_t tablespace = 0;
};

enum class WalLevel { kMinimal, kReplica, kLogical };
// As in the setting wal_level.
const char* WalLevelName(WalLevel level);

struct RestorePointMade {
  std::string name;  // in the encoding of the database where it was made, below 64 bytes
  TimePoint time{};
};
struct CheckpointMade {
  bool shutdown = false;
  Lsn redo{};
  TimelineId timeline = 0;
  TimelineId previous_timeline = 0;  // differs in a checkpoint that begins a timeline
  bool full_page_writes = false;
  TimePoint time{};                     // in whole seconds
  std::optional<WalLevel> wal_level{};  // 17 and later
};
// Where replay from an online checkpoint begins; 17 and later.
struct CheckpointBegun {
  WalLevel wal_level = WalLevel::kMinimal;
};
struct ParametersChanged {
  WalLevel wal_level = WalLevel::kMinimal;
  bool wal_log_hints = false;
  bool track_commit_timestamp = false;
  std::int32_t max_connections = 0;
  std::int32_t max_worker_processes = 0;
  std::int32_t max_wal_senders = 0;
  std::int32_t max_prepared_transactions = 0;
  std::int32_t max_locks_per_transaction = 0;
};
struct FullPageWritesChanged {
  bool on = false;
};
// 19: checksums turned on or off while the server runs. The number is ChecksumStateType.
struct ChecksumsChanged {
  std::uint32_t state = 0;
};
// A promotion that did not wait for a checkpoint.
struct RecoveryEnded {
  TimePoint time{};
  TimelineId timeline = 0;
  TimelineId previous_timeline = 0;
  std::optional<WalLevel> wal_level{};  // 17 and later
};
struct SegmentSwitched {};
// A record that a crash cut off is given up. It is read nowhere.
struct RecordOverwritten {
  Lsn overwritten;  // where that record begins
  TimePoint time{};
};

using WalFact =
    std::variant<NothingMore, UnknownFact, TransactionEnd, TransactionPrepared, RelationCreated,
                 RelationTruncated, DatabaseCopied, DatabaseCreated, DatabaseDropped,
                 TablespaceCreated, TablespaceDropped, RestorePointMade, CheckpointMade,
                 CheckpointBegun, ParametersChanged, FullPageWritesChanged, ChecksumsChanged,
                 RecoveryEnded, SegmentSwitched, RecordOverwritten>;

// `version` is PostgreSQL's major version, as the header of the record's page tells it; of a
// version other than 15 to 19 everything is unknown. The CRC of the record must have been compared,
// or the record must be believed for another reason. The fact holds nothing of the record.
//
// A record of which only the beginning is there (`main_data` shorter than `main_data_length`) is
// unknown as well. One exception: a beginning that has all that the fact says is enough.
WalFact ReadWalFact(const WalRecord& record, int version);

// When the transaction ended, if the record is a commit that says nothing else. Most commits are
// such, and ReadWalFact() costs more.
std::optional<TimePoint> TimeOfPlainCommit(const WalRecord& record);

}  // namespace veza
