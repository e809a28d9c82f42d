// Decides what is removed and what is kept (FORMAT.md section 9). These functions have no side
// effects. expire.h gathers their input and executes the decisions.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/archive/lineage.h"
#include "core/config/config.h"
#include "core/config/retention_keep.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/pack_list.h"
#include "core/repository/restore_lease.h"
#include "core/storage/store.h"

namespace veza {

// The numbers are those of the newest that are kept; 0 means all. What `window` and `keep` keep
// stays besides.
struct RetentionSettings {
  int full = 4;                    // full backups, with the diffs and incrs that build on them
  int diff = 7;                    // diffs
  int incr = 14;                   // incrs
  int archive = 4;                 // full backups from whose start on WAL is kept without a gap
  std::chrono::seconds window{0};  // every moment since then can be restored; 0: no such promise
  std::vector<KeepRule> keep{};    // one backup of each of the newest periods
};

RetentionSettings RetentionOf(const Config& config);
// "14 d", "36 h", "90 min" or "45 s"
std::string WindowText(std::chrono::seconds window);
// Whether all four numbers are 0. A server with such settings removes nothing by itself, because it
// may not be allowed to (the policy of a server that may only add).
bool KeepsEverything(const RetentionSettings& settings);

enum class RetentionKind {
  kBackup,
  kLeftOver,   // what a label holds besides backup.json, when that is missing or a tombstone
  kTombstone,  // tombstone.h
  kFragment,   // remains of interrupted Puts (Store::ListFragments), all young or all old
  kLease,      // restore_lease.h
  kDrill,      // records of restore drills from `name` to `last`; only when some are removed
  kWal,        // segments, .partial and .backup files from `name` to `last`, gaps included
  kIndex,      // index objects (core/wal_index) from `name` to `last`; only when some are removed
  kDamage,     // damage_record.h, by label; only those that are removed
};
const char* RetentionKindName(RetentionKind kind);  // "backup", "left-over", …

struct RetentionDecision {
  RetentionKind kind = RetentionKind::kBackup;
  std::string name;    // a label, or the first object's name; for WAL the first segment
  std::string last{};  // for a range the last name (for WAL the last segment); otherwise empty
  bool keep = true;
  std::string reason{};
  std::optional<std::uint64_t> bytes{};  // stored size; nullopt when it is not known
  std::vector<std::string> objects{};    // kIndex only: all the names
  std::vector<std::string> needs{};      // kBackup only: labels of the backups that it names
};
// Its name, or the first and the last name with a dash between them.
std::string RangeOf(const RetentionDecision& decision);

// What a label without a backup holds.
struct Remains {
  std::uint64_t objects = 0;          // not counting the tombstone
  std::uint64_t bytes = 0;            // size of these objects
  TimePoint newest{};                 // when the newest of these was written, by the store's clock
  std::optional<TimePoint> buried{};  // when the tombstone was written
  bool finished = false;              // the copy is complete and waits for its WAL
};

// A group of fragments. `first` and `last` are the least and the greatest of their names.
struct Fragments {
  std::uint64_t count = 0;
  std::uint64_t bytes = 0;
  std::string first{};
  std::string last{};
  TimePoint oldest{};
};

struct RetentionInput {
  RetentionSettings settings;
  std::uint64_t system_identifier = 0;  // what belongs to another system is kept
  std::uint64_t wal_segment_size = 0;
  Lineage lineage;  // of the archive, read before the catalog
  BackupCatalog catalog;
  LostParts lost;                          // of the backups of the catalog
  std::map<std::string, Remains> remains;  // for every unfinished or buried label
  Fragments young_fragments;               // written to less than kLeftOverAge ago
  Fragments old_fragments;
  std::set<std::string> pins;
  std::vector<LeaseState> leases;
  std::vector<std::string> drills;          // names of the records, oldest first
  std::vector<ObjectInfo> indexes;          // of the system's WAL, ordered by name
  std::vector<std::string> damage_records;  // labels (damage_record.h), of whatever system
  TimePoint now{};                          // by the store's clock
  std::string active_node;  // another living node that holds the lock; empty when there is none
  // Without the lock, WAL is removed only if no existing backup needs it, not even one that is to
  // be removed.
  bool without_lock = false;
};

// Visits the WAL objects of the system in the order of their names, as Store::List() does.
using WalLister = std::function<Status(const Store::ObjectVisitor& each)>;

// Decides on every backup, left-over, tombstone, lease, range of WAL and index of WAL. WAL is
// listed once. The number of ranges does not depend on the number of segments. Fails only when
// `list_wal` does.
Result<std::vector<RetentionDecision>> PlanRetention(const RetentionInput& input,
                                                     const WalLister& list_wal);

// The order in which backups are removed. Before a backup goes, those go that may name its packs:
// the diffs and incrs of a full before the full, and of two the one that was begun later. What
// belongs to an older full goes first.
bool IsRemovedBefore(std::string_view label, std::string_view other);

// A backup from whose start on all WAL is kept.
struct KeptWal {
  BackupSummary from;
  bool by_window = false;  // only since retention_window has been what it is
};
// Ordered by the start of the backups. Empty when no backup is good.
std::vector<KeptWal> WhereWalIsKept(const RetentionInput& input);

// How long ago the newest object must have been written before remains are removed; the same for
// remains that are a finished copy, which another backup may complete (finished_copy.h); and how
// long a tombstone is kept.
inline constexpr std::chrono::hours kLeftOverAge{1};
inline constexpr std::chrono::hours kFinishedCopyAge{24};
inline constexpr std::chrono::hours kTombstoneAge{7 * 24};
// Fragments that were written to in this time are not counted.
inline constexpr std::chrono::minutes kWrittenJustNow{1};
// The number of the newest drill records that are kept, whatever backups they belong to.
inline constexpr std::size_t kDrillsKept = 100;

}  // namespace veza
