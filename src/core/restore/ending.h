// Where recovery to a target ends: with which transaction, and before which one.
//
// The rules are PostgreSQL's own (recoveryStopsBefore() and recoveryStopsAfter() in xlogrecovery.c;
// the same in 15 to 18):
// - a time: before the first commit or abort, in the order of WAL, whose time is later than the
//   target (exclusive: not earlier). Times are not in the order of WAL, so commits behind that one
//   may be earlier than the target, and are out all the same;
// - an xid: after (exclusive: before) its commit or abort, also of a prepared transaction. The xid
//   of a subtransaction is none, unless that was rolled back by itself;
// - a restore point: after the first record with its name;
// - an LSN: after (exclusive: before) the first record that does not begin before it;
// - "immediate": when the backup is consistent, which is behind the record that ends it.
// Without such a record in WAL, recovery fails when WAL ends ("recovery ended before configured
// recovery target was reached"). The same when the record comes before the backup is consistent.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/archive/recovery_window.h"
#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/repository/identity.h"
#include "core/repository/repository.h"
#include "core/restore/target.h"
#include "core/timeline/wal_way.h"

namespace veza {

// The place in WAL where recovery stops. Records that begin before `before` are replayed.
struct RecoveryStop {
  Lsn before;
  Lsn replayed;  // the end of the last one, or where the first one begins that is not replayed
  std::optional<IndexedEnd> end{};     // the transaction that it stops before or after (time, xid)
  std::optional<Lsn> restore_point{};  // where its record begins
};

// The rules, for one record. nullopt: recovery goes on.
std::optional<RecoveryStop> StopAt(const IndexedEnd& end, const RecoveryTarget& target);
std::optional<RecoveryStop> StopAt(const IndexedEvent& event, const RecoveryTarget& target);

// How recovery from a backup ends.
struct Ending {
  // Why the rest is not known: WAL cannot be read, or too much of it has no index. Empty: it is.
  std::string unknown;
  // Whether recovery reaches its target. Always for the end of WAL.
  bool reached = false;
  // The target comes before the backup is consistent. Recovery fails.
  bool before_consistent = false;
  RecoveryStop stop{};                    // if it is reached and not the end of WAL
  std::optional<IndexedEnd> last_in{};    // the last commit that is replayed. nullopt: none since
                                          // the start of the backup
  std::optional<IndexedEnd> first_out{};  // the first commit behind it that is not
  bool looked_behind = true;              // otherwise first_out is not known
  Lsn end_of_wal{};                       // if the target is not reached: behind the last record
};

// `pieces` is WalOnTheWay() from the backup, up to the end of WAL. Reads nothing but what it needs.
// What cannot be read is Ending::unknown, errors are those of the store.
Result<Ending> FindEnding(const Repository& repository, const Identity& identity,
                          const BackupSummary& backup, const std::vector<WalPiece>& pieces,
                          const RecoveryTarget& target);
// The same on a way that is open.
Result<Ending> FindEndingOn(WalWay& way, const BackupSummary& backup, const RecoveryTarget& target);

// Looks on the way, from its end back, for where a transaction ended (kXid) or for restore points
// (kName), and returns the LSN up to which the newest possible backup leads:
// RecoveryStop::replayed. `backups` lie on the way and are in the order of WAL, the newest last.
// nullopt: from none of them.
Result<std::optional<Lsn>> FindTarget(WalWay& way, std::span<const BackupSummary* const> backups,
                                      const RecoveryTarget& target);

// "transaction 761, committed at "2026-11-22 14:05:00+00" (LSN 0/5000028)"
std::string DescribeCommit(const IndexedEnd& end);

}  // namespace veza
