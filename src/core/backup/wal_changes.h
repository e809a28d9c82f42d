// Which blocks of relations WAL names in an interval: all that may differ from a backup that began
// where the interval begins, but for what WAL does not describe.
//
// Why that is enough. A backup reads a page at some time behind its start, and whatever was changed
// before its start is on disk then. A page that no record of [start of the parent, own start) names
// is on disk as it was when the parent read it, or was changed by a record at or behind the own
// start: recovery replays that one, first with an image of the whole page, because full_page_writes
// is on during a backup. What differs without a record is no change that counts: hint bits that
// were not logged, and what the first page of an SP-GiST index remembers of free space, which is a
// hint as well (SpGistUpdateMetaPage). In particular VACUUM's record about the visibility map names
// the heap page as well, whose LSN it may leave alone (visibilitymap_set).
//
// What WAL does not name block by block: relations that are created, truncated, dropped, and files
// of databases and tablespaces that are copied. From the block on that a truncation leaves, every
// block counts as changed, because the relation may have grown again by zeros, which is not logged.
// The visibility map, the free space map, init forks and all that is no relation are not asked for
// here: they are compared. Sources: docs/postgres-facts.md.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/backup/changed_pages.h"
#include "core/backup/number_set.h"
#include "core/postgres/lsn.h"
#include "core/wal/wal_facts.h"
#include "core/wal/wal_record.h"
#include "core/wal_index/relation_table.h"

namespace veza {

// The main forks of relations. Filled by one thread; thread-safe for readers after Finish().
// Memory: 1 to 3 bytes for each changed block (number_set.h), twice that and 12 MB while it is
// filled, and 32 to 40 bytes for each relation. Ten million blocks of a million relations take 50
// MB.
class WalChanges {
 public:
  // Beyond so many, blocks are remembered in groups.
  static constexpr std::size_t kMostEntries = std::size_t{12} << 20;
  // With more, nothing is known.
  static constexpr std::size_t kMostRelations = std::size_t{2} << 20;

  explicit WalChanges(std::size_t most_entries = kMostEntries)
      : most_entries_(most_entries), most_pending_(most_entries / 8 + 1) {}

  // A run of blocks that records name. `fork` is as in the record.
  void NoteBlocks(const RelationFile& file, std::uint8_t fork, std::uint32_t first,
                  std::uint32_t count);
  // What the record at `lsn` does beside the blocks that it names.
  void NoteFact(Lsn lsn, const WalFact& fact);
  // Something is not known: everything is to be read. `reason` is a clause.
  void NoteDoubt(std::string reason);
  void Finish();

  // Why nothing of this may be used. Empty when it may.
  const std::string& doubt() const { return doubt_; }

  struct Answer {
    // Every page may have changed: the relation is new, or was cut.
    bool all = false;
    // It is known only that some pages of a larger group have changed: compare contents.
    bool some = false;
    PageIndexes pages;  // unless all or some; relative to `first`
  };
  // What has changed of `count` blocks from block `first` of the relation on.
  Answer In(const RelationFile& file, std::uint32_t first, std::uint32_t count) const;

  std::size_t relations() const { return relations_.size(); }
  // Blocks that are named, or groups of them.
  std::size_t entries() const { return entries_.size() + pending_.size(); }
  // What the entries and the relations take, in bytes.
  std::size_t memory() const;

 private:
  static constexpr std::uint32_t kNoLimit = 0xFFFFFFFF;  // no block has this number

  // An entry: the relation's number here, and the block or group in the lower half.
  static std::uint64_t Entry(std::uint32_t relation, std::uint32_t block) {
    return std::uint64_t{relation} << 32 | block;
  }

  void RenewDatabase(std::uint32_t tablespace, std::uint32_t database);
  void RenewTablespace(std::uint32_t tablespace);
  void Cut(const RelationFile& file, std::uint32_t blocks);
  void RequireFew(std::size_t relations);
  void RequireWal(Lsn lsn, WalLevel level);
  std::uint32_t NumberOf(const RelationFile& file);
  std::uint32_t LimitOf(std::uint32_t relation) const;
  void TakePending();
  bool IsAllNew(const RelationFile& file) const;

  const std::size_t most_entries_;
  const std::size_t most_pending_;
  std::string doubt_;
  RelationTable relations_;             // main forks
  std::vector<std::uint32_t> limits_;   // by their numbers: blocks from here on are new
  std::vector<std::uint64_t> pending_;  // entries that are not in entries_ yet, in any order
  NumberSet entries_;
  std::uint32_t group_bits_ = 0;  // 2 to the power of it: blocks of a group
  std::set<std::pair<std::uint32_t, std::uint32_t>> databases_;  // tablespace, database: all new
  std::set<std::uint32_t> tablespaces_;                          // all new
};

}  // namespace veza
