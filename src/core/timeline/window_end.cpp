#include "core/timeline/window_end.h"

#include <algorithm>

#include "core/timeline/wal_way.h"
#include "core/wal_index/index_catalog.h"

namespace veza {

namespace {

Result<std::optional<IndexedEnd>> FindLast(const Repository& repository, const Identity& identity,
                                           const BackupSummary& backup, const ArchiveMap& archive,
                                           std::uint64_t most_read, bool* is_known) {
  ASSIGN_OR_RETURN(WalWay way, WalWay::Open(repository, identity, WalOnTheWay(backup, archive),
                                            {.most_read = most_read}));
  Result<std::optional<IndexedEnd>> last = LastCommit(way, backup.start_lsn);
  *is_known = last.has_value();
  if (!last && (way.IsExhausted() || IsOfTheObject(last.error()))) {
    return std::optional<IndexedEnd>();
  }
  return last;
}

}  // namespace

Status FindWindowEnds(const Repository& repository, std::uint64_t system_identifier,
                      const BackupCatalog& catalog, const ArchiveMap& archive,
                      RecoveryWindow* window, std::uint64_t most_read) {
  ASSIGN_OR_RETURN(const Identity identity, repository.IdentityOf(system_identifier));
  for (RecoveryStretch& stretch : window->stretches) {
    const auto backup =
        std::ranges::find(catalog.backups, stretch.oldest_backup, &BackupSummary::label);
    if (backup == catalog.backups.end()) {
      continue;
    }
    bool is_known = false;
    ASSIGN_OR_RETURN(const std::optional<IndexedEnd> last,
                     FindLast(repository, identity, *backup, archive, most_read, &is_known));
    if (!is_known) {
      continue;
    }
    stretch.end_is_exact = true;
    stretch.end_time = stretch.start_time;
    if (last) {
      stretch.end_time = std::max(stretch.start_time, last->time);
      stretch.last_commit = {last->time, last->begin, last->xid};
    }
  }
  return Ok();
}

}  // namespace veza
