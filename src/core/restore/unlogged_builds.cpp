#include "core/restore/unlogged_builds.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <variant>

#include "core/postgres/relation_names.h"
#include "core/timeline/wal_way.h"
#include "core/wal/wal_facts.h"
#include "core/wal_index/index_catalog.h"

namespace veza {

namespace {

// About 64 bytes each. WAL that drops more is not looked at to its end.
constexpr std::size_t kMostDropped = 1'000'000;
// Of WAL without an index, also if segments are large.
constexpr std::uint64_t kMostBytesRead = std::uint64_t{4} << 30;

class Search {
 public:
  Search(WalWay& way, Lsn begin, Lsn before) : way_(way), begin_(begin), before_(before) {}

  Result<UnloggedBuilds> Run(const Cancellation& cancellation) {
    for (std::size_t index = 0; index < way_.size() && BeginOf(index) < before_; ++index) {
      RETURN_IF_ERROR(cancellation.Check());
      const Result<bool> goes_on = Look(index);
      if (goes_on && !*goes_on) {
        break;
      }
      if (!goes_on && !IsUnreadable(goes_on.error())) {
        return goes_on.error();
      }
      if (!goes_on || dropped_.size() > kMostDropped) {
        NoteUnread(index);
      }
    }
    return std::move(found_);
  }

 private:
  Lsn BeginOf(std::size_t index) const { return Lsn{way_.At(index).number * way_.segment_size()}; }

  // Returns whether recovery goes on to the next segment.
  Result<bool> Look(std::size_t index) {
    std::optional<Error> behind;
    ASSIGN_OR_RETURN(const std::vector<IndexedEvent> events, way_.Events(index, &behind));
    if (behind && !IsUnreadable(*behind)) {
      return std::move(*behind);
    }
    for (const IndexedEvent& event : events) {
      if (event.begin >= begin_ && event.begin < before_ && dropped_.size() <= kMostDropped) {
        Take(event);
      }
    }
    ASSIGN_OR_RETURN(const SegmentSummary summary, way_.Summary(index));
    // What goes on in a segment that cannot be read is not known. That one counts as unread, if the
    // search gets there.
    if (behind && summary.head->begin < before_ && BeginOf(index + 1) >= before_) {
      NoteUnread(index);
    }
    return !EndsWal(summary) || summary.end >= way_.At(index).end;
  }

  // The number of a relation that was dropped may be used again. What the backup has under that
  // number is then the dropped one, which recovery may need until it drops it.
  void Take(const IndexedEvent& event) {
    if (const auto* const created = std::get_if<RelationCreated>(&event.fact)) {
      if (created->fork == kInitFork && !IsDropped(created->file)) {
        found_.relations.insert(created->file);
      }
    } else if (const auto* const end = std::get_if<TransactionEnd>(&event.fact)) {
      dropped_.insert(end->dropped.begin(), end->dropped.end());
    } else if (const auto* const database = std::get_if<DatabaseDropped>(&event.fact)) {
      for (const std::uint32_t tablespace : database->tablespaces) {
        dropped_.insert({tablespace, database->database, 0});
      }
    }
  }

  bool IsDropped(const RelationFile& file) const {
    return dropped_.contains(file) || dropped_.contains({file.tablespace, file.database, 0});
  }

  bool IsUnreadable(const Error& error) const {
    return IsOfTheObject(error) ||
           (way_.IsExhausted() && error.code == ErrorCode::kFailedPrecondition);
  }

  void NoteUnread(std::size_t index) {
    if (found_.unread++ == 0) {
      found_.unread_from = BeginOf(index);
    }
    found_.unread_to = way_.At(index).end;
    if (const Lsn end{BeginOf(index).value + way_.segment_size()}; end < found_.unread_to) {
      found_.unread_to = end;
    }
  }

  WalWay& way_;
  const Lsn begin_;
  const Lsn before_;
  std::set<RelationFile> dropped_;  // number 0: the whole database
  UnloggedBuilds found_;
};

}  // namespace

bool UnloggedBuilds::LeavesOut(std::string_view path) const {
  if (relations.empty()) {
    return false;
  }
  const RelationPath file = ClassifyFile(path);
  const auto name = ParseRelationName(path.substr(path.rfind('/') + 1));
  return file.number != 0 && name && name->fork != "init" &&
         relations.contains({file.tablespace, file.database, file.number});
}

Result<UnloggedBuilds> FindUnloggedBuilds(const Repository& repository, const Identity& identity,
                                          const BackupSummary& backup,
                                          const std::vector<WalPiece>& pieces, Lsn before,
                                          std::size_t most_read) {
  ASSIGN_OR_RETURN(WalWay way,
                   WalWay::Open(repository, identity, pieces,
                                {.most_read = std::min<std::uint64_t>(
                                     most_read * identity.wal_segment_size, kMostBytesRead),
                                 .reads_events = true}));
  return Search(way, backup.start_lsn, before).Run(*repository.environment().cancellation);
}

}  // namespace veza
