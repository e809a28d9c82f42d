// What may go and what must stay (FORMAT.md section 9): rules without side effects. expire.h
// gathers what they need and does what they say.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/archive/lineage.h"
#include "core/config/config.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/restore_lease.h"
#include "core/storage/store.h"

namespace veza {

// How many of the newest are kept; 0: all.
struct RetentionSettings {
  int full = 4;     // full backups, with the diffs that refer to them
  int diff = 7;     // diffs
  int archive = 4;  // full backups from which on WAL is kept without a gap
};

RetentionSettings RetentionOf(const Config& config);

enum class RetentionKind {
  kBackup,
  kLeftOver,   // what a label holds beside backup.json, when that is missing or a tombstone
  kTombstone,  // tombstone.h
  kFragment,   // what Puts have left that were cut off (Store::ListFragments), of one age
  kLease,      // restore_lease.h
  kDrill,      // records of restore drills from `name` to `last`; a decision only when some go
  kWal,        // segments, .partial and .backup files from `name` to `last`, gaps included
};
const char* RetentionKindName(RetentionKind kind);  // "backup", "left-over", …

struct RetentionDecision {
  RetentionKind kind = RetentionKind::kBackup;
  std::string name;    // a label; for WAL the first segment
  std::string last{};  // for WAL the last segment, otherwise empty
  bool keep = true;
  std::string reason{};
  std::optional<std::uint64_t> bytes{};  // stored; nothing when it is not known
};

// What a label without a backup holds.
struct Remains {
  std::uint64_t objects = 0;          // beside the tombstone
  std::uint64_t bytes = 0;            // of these
  TimePoint newest{};                 // of these, by the store's clock
  std::optional<TimePoint> buried{};  // when the tombstone was written
  bool finished = false;              // the copy is whole and waits for its WAL
};

// Some that are not objects: the least and the greatest of their names, in a count of one the same.
struct Fragments {
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;
  std::string first{};
  std::string last{};
  TimePoint oldest{};
};

struct RetentionInput {
  RetentionSettings settings;
  std::uint64_t system_identifier = 0;  // ours; what is of another system stays
  std::uint64_t wal_segment_size = 0;
  Lineage lineage;  // of the archive, read before the catalog
  BackupCatalog catalog;
  std::map<std::string, Remains> remains;  // of every unfinished or buried label
  Fragments young_fragments;               // written to less than kLeftOverAge ago
  Fragments old_fragments;
  std::set<std::string> pins;
  std::vector<LeaseState> leases;
  std::vector<std::string> drills;  // names of the records, oldest first
  TimePoint now{};                  // by the store's clock
  std::string active_node;          // somebody else who is alive and holds the lock
  // Of WAL only that goes which no backup needs that is there now: also none of those that go.
  bool without_lock = false;
};

// Visits the WAL objects of our system in the order of their names, as Store::List() does.
using WalLister = std::function<Status(const Store::ObjectVisitor& each)>;

// Every backup, left-over, tombstone and WAL range with the decision on it. WAL is listed once, and
// the number of ranges does not depend on the number of segments. Fails only when `list_wal` does.
Result<std::vector<RetentionDecision>> PlanRetention(const RetentionInput& input,
                                                     const WalLister& list_wal);

// Of one system's backups the one from which on all WAL stays; nothing when no backup is good.
std::optional<BackupSummary> OldestWalAnchor(const RetentionSettings& settings,
                                             std::uint64_t system_identifier, Lineage lineage,
                                             BackupCatalog catalog);

// Remains are touched only when nothing was added for so long, or for so long when they are a
// finished copy, which another backup may complete (finished_copy.h); and tombstones stay for so
// long.
inline constexpr std::chrono::hours kLeftOverAge{1};
inline constexpr std::chrono::hours kFinishedCopyAge{24};
inline constexpr std::chrono::hours kTombstoneAge{7 * 24};
inline constexpr std::chrono::minutes kWrittenJustNow{1};
// So many of the newest records of drills stay, whatever backups they are of.
inline constexpr std::size_t kDrillsKept = 100;

}  // namespace veza
