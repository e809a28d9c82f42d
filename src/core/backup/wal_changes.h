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
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/backup/changed_pages.h"
#include "core/postgres/lsn.h"
#include "core/wal/wal_facts.h"
#include "core/wal/wal_record.h"

namespace veza {

// The main forks of relations. Filled by one thread; thread-safe for readers after Finish().
// Memory: 8 bytes for each changed block and about 80 for each relation, below kMostEntries blocks.
class WalChanges {
 public:
  // Beyond so many, blocks are remembered in groups.
  static constexpr std::size_t kMostEntries = std::size_t{12} << 20;
  // With more, nothing is known.
  static constexpr std::size_t kMostRelations = std::size_t{2} << 20;

  explicit WalChanges(std::size_t most_entries = kMostEntries) : most_entries_(most_entries) {}

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

  std::size_t relations() const { return numbers_.size(); }
  // Blocks that are named, or groups of them.
  std::size_t entries() const { return entries_.size(); }

 private:
  struct Hash {
    std::size_t operator()(const RelationFile& file) const {
      std::uint64_t hash = file.relation;
      hash = hash * 0x9E3779B97F4A7C15U ^ file.database;
      hash = hash * 0x9E3779B97F4A7C15U ^ file.tablespace;
      return static_cast<std::size_t>(hash ^ hash >> 29);
    }
  };
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
  void Compact();
  bool IsAllNew(const RelationFile& file) const;

  const std::size_t most_entries_;
  std::string doubt_;
  std::unordered_map<RelationFile, std::uint32_t, Hash> numbers_;
  std::pair<RelationFile, std::uint32_t> last_;  // that NumberOf() has returned
  std::vector<std::uint64_t> entries_;           // the first sorted_ are, and differ
  std::size_t sorted_ = 0;
  std::uint32_t group_bits_ = 0;  // 2 to the power of it: blocks of a group
  std::unordered_map<RelationFile, std::uint32_t, Hash> limits_;  // blocks from here on are new
  std::set<std::pair<std::uint32_t, std::uint32_t>> databases_;   // tablespace, database: all new
  std::set<std::uint32_t> tablespaces_;                           // all new
};

}  // namespace veza
