#include "core/timeline/window_end.h"

#include <algorithm>
#include <utility>

#include "core/timeline/wal_way.h"
#include "core/wal_index/index_catalog.h"

namespace veza {

namespace {

struct LastEnd {
  bool is_known = false;
  std::optional<IndexedEnd> commit{};  // nullopt: there is none
};

class EndFinder {
 public:
  EndFinder(const Repository& repository, Identity identity, const BackupCatalog& catalog,
            const ArchiveMap& archive, std::uint64_t most_read)
      : repository_(repository),
        identity_(std::move(identity)),
        catalog_(catalog),
        archive_(archive),
        most_read_(most_read) {}

  // From the newest backup there are few index objects to open. Only a cluster in which nobody has
  // committed since then needs those from the oldest one on.
  Result<LastEnd> Find(const RecoveryStretch& stretch) const {
    ASSIGN_OR_RETURN(LastEnd last, FindFrom(stretch.newest_backup));
    if (last.is_known && !last.commit && stretch.oldest_backup != stretch.newest_backup) {
      return FindFrom(stretch.oldest_backup);
    }
    return last;
  }

 private:
  Result<LastEnd> FindFrom(const std::string& label) const {
    const auto backup = std::ranges::find(catalog_.backups, label, &BackupSummary::label);
    if (backup == catalog_.backups.end()) {
      return LastEnd{};
    }
    ASSIGN_OR_RETURN(WalWay way,
                     WalWay::Open(repository_, identity_, WalOnTheWay(*backup, archive_),
                                  {.most_read = most_read_}));
    Result<std::optional<IndexedEnd>> last = LastCommit(way, backup->start_lsn);
    if (last) {
      return LastEnd{true, std::move(*last)};
    }
    if (way.IsExhausted() || IsOfTheObject(last.error())) {
      return LastEnd{};
    }
    return last.error();
  }

  const Repository& repository_;
  const Identity identity_;
  const BackupCatalog& catalog_;
  const ArchiveMap& archive_;
  const std::uint64_t most_read_;
};

}  // namespace

Status FindWindowEnds(const Repository& repository, std::uint64_t system_identifier,
                      const BackupCatalog& catalog, const ArchiveMap& archive,
                      RecoveryWindow* window, std::uint64_t most_read) {
  ASSIGN_OR_RETURN(const Identity identity, repository.IdentityOf(system_identifier));
  const EndFinder finder(repository, identity, catalog, archive, most_read);
  for (RecoveryStretch& stretch : window->stretches) {
    ASSIGN_OR_RETURN(const LastEnd last, finder.Find(stretch));
    if (!last.is_known) {
      continue;
    }
    stretch.end_is_exact = true;
    stretch.end_time = stretch.start_time;
    if (last.commit) {
      stretch.end_time = std::max(stretch.start_time, last.commit->time);
      stretch.last_commit = {last.commit->time, last.commit->begin, last.commit->xid};
    }
  }
  return Ok();
}

}  // namespace veza
