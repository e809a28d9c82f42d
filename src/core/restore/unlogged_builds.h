// Unlogged relations that were being made while a backup was taken.
//
// Before it replays WAL, PostgreSQL removes the files of every relation that has an init fork; when
// recovery ends, it copies each init fork to a new main fork. If that file is there, the server
// stops: could not create file "base/5/25205": File exists (reinit.c, copy_file, O_EXCL).
//
// An index of an unlogged table gets its init fork, and the WAL record that creates it, behind its
// main fork: when it has been built (index.c, index_build). The same is true of a relation that is
// copied to another tablespace (heapam_handler.c, heapam_relation_copy_data; tablecmds.c,
// index_copy_data). A backup that runs meanwhile has the main fork alone. Recovery makes the init
// fork, and the main fork is in the way.
//
// So a restore leaves out all files of such a relation. Recovery needs none of them: WAL describes
// only the init fork. If recovery stops before the init fork is created, no transaction that knows
// the relation has been committed.
#pragma once

#include <cstddef>
#include <set>
#include <string_view>
#include <vector>

#include "core/archive/recovery_window.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/repository/backup_summary.h"
#include "core/repository/identity.h"
#include "core/repository/repository.h"
#include "core/wal/wal_record.h"

namespace veza {

// A restore reads so many segments that no index covers: usually only the last ones have none yet.
inline constexpr std::size_t kMostReadForUnlogged = 64;

struct UnloggedBuilds {
  std::set<RelationFile> relations;
  // WAL that was not looked at: what has no index and is too much, and what cannot be read. A
  // segment before it counts as looked at, though its last record may go on there.
  std::size_t unread = 0;  // segments
  Lsn unread_from;         // of the first of them; 0 if there is none
  Lsn unread_to;           // behind the last of them

  // Whether the file, by its path in the backup, is one of the relations' and no init fork.
  bool LeavesOut(std::string_view path) const;
};

// Looks for the creation of init forks in the WAL that recovery from the backup reads: in `pieces`
// (WalOnTheWay()), from the start of the backup to `before`. By the index of WAL: most is one
// request for each index object and for each segment with events, some at a time. Of segments that
// no index covers the first `most_read` are read. Does not fail for WAL or an index that is damaged
// or missing. Errors: those of the store, kCancelled. Memory: the relations, and those that were
// dropped on the way, up to a limit.
Result<UnloggedBuilds> FindUnloggedBuilds(const Repository& repository, const Identity& identity,
                                          const BackupSummary& backup,
                                          const std::vector<WalPiece>& pieces, Lsn before,
                                          std::size_t most_read = kMostReadForUnlogged);

}  // namespace veza
