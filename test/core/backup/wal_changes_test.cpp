#include "core/backup/wal_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "core/memory_gauge.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr RelationFile kTable{1663, 5, 16384};
constexpr RelationFile kOther{1663, 5, 16385};
constexpr Lsn kLsn{0x5000028};
constexpr std::uint32_t kLastBlock = 0xFFFFFFFE;  // the largest number that a block can have

TEST(WalChanges, TellsTheBlocksThatWereNamed) {
  WalChanges changes;
  changes.NoteBlocks(kTable, kMainFork, 130, 2);
  changes.NoteBlocks(kTable, kMainFork, 7, 1);
  changes.NoteBlocks(kTable, kMainFork, 130, 1);
  changes.NoteBlocks(kOther, kMainFork, 8, 1);
  changes.NoteBlocks(kTable, kMainFork, kLastBlock, 1);
  changes.Finish();
  EXPECT_THAT(changes.In(kTable, 0, 128).pages, ElementsAre(7));
  EXPECT_THAT(changes.In(kTable, 128, 128).pages, ElementsAre(2, 3));
  EXPECT_THAT(changes.In(kTable, 131, 1).pages, ElementsAre(0));
  EXPECT_THAT(changes.In(kTable, 132, 128).pages, IsEmpty());
  EXPECT_THAT(changes.In(kTable, kLastBlock - 1, 2).pages, ElementsAre(1));
  EXPECT_THAT(changes.In(kOther, 0, 128).pages, ElementsAre(8));
  EXPECT_THAT(changes.In({1663, 6, 16384}, 0, 128).pages, IsEmpty());
  EXPECT_THAT(changes.In({1664, 5, 16384}, 0, 128).pages, IsEmpty());
  EXPECT_EQ(changes.doubt(), "");
  EXPECT_EQ(changes.entries(), 5U);
}

// Maps and init forks are compared by whoever copies them.
TEST(WalChanges, KnowsTheMainForkOnly) {
  WalChanges changes;
  for (const std::uint8_t fork : {kFreeSpaceMapFork, kVisibilityMapFork, kInitFork}) {
    changes.NoteBlocks(kTable, fork, 0, 1);
    changes.NoteFact(kLsn, RelationCreated{kTable, fork});
  }
  changes.NoteFact(kLsn, RelationTruncated{.file = kTable, .blocks = 0, .free_space_map = true});
  changes.Finish();
  const WalChanges::Answer answer = changes.In(kTable, 0, 128);
  EXPECT_FALSE(answer.all);
  EXPECT_THAT(answer.pages, IsEmpty());
  EXPECT_EQ(changes.doubt(), "");

  changes.NoteBlocks(kTable, kInitFork + 1, 0, 1);
  EXPECT_EQ(changes.doubt(), "WAL names fork 4 of relation 16384, which does not exist");
}

TEST(WalChanges, WhatLiesBehindACutIsNew) {
  WalChanges changes;
  changes.NoteBlocks(kTable, kMainFork, 3, 1);
  changes.NoteBlocks(kTable, kMainFork, 126, 1);
  changes.NoteFact(kLsn, RelationTruncated{.file = kTable, .blocks = 200, .main = true});
  changes.NoteFact(kLsn, RelationTruncated{.file = kTable, .blocks = 125, .main = true});
  changes.NoteFact(kLsn, RelationTruncated{.file = kTable, .blocks = 190, .main = true});
  changes.Finish();
  EXPECT_THAT(changes.In(kTable, 0, 128).pages, ElementsAre(3, 125, 126, 127));
  EXPECT_TRUE(changes.In(kTable, 128, 128).all);
  EXPECT_THAT(changes.In(kTable, 0, 125).pages, ElementsAre(3));
}

TEST(WalChanges, KnowsWhatIsNewAsAWhole) {
  const std::pair<WalFact, RelationFile> cases[] = {
      {RelationCreated{.file = kTable}, kTable},
      {TransactionEnd{.committed = true, .dropped = {kOther, kTable}}, kTable},
      {RelationTruncated{.file = kTable, .blocks = 0, .main = true}, kTable},
      {DatabaseCopied{.database = 7, .tablespace = 1700, .source_database = 5}, {1700, 7, 1}},
      {DatabaseCreated{.database = 7, .tablespace = 1700}, {1700, 7, 1}},
      {DatabaseDropped{.database = 7, .tablespaces = {1663, 1700}}, {1700, 7, 1}},
      {TablespaceCreated{.tablespace = 1700}, {1700, 7, 1}},
      {TablespaceDropped{.tablespace = 1700}, {1700, 7, 1}},
  };
  for (const auto& [fact, file] : cases) {
    WalChanges changes;
    changes.NoteFact(kLsn, fact);
    changes.Finish();
    EXPECT_EQ(changes.doubt(), "") << fact.index();
    EXPECT_TRUE(changes.In(file, 0, 128).all) << fact.index();
    EXPECT_TRUE(changes.In(file, kLastBlock, 1).all) << fact.index();
    EXPECT_FALSE(changes.In({1663, 5, 1}, 0, 128).all) << fact.index();
  }
}

TEST(WalChanges, DoubtsWhatItDoesNotUnderstandAndWhatIsNotLogged) {
  const std::pair<WalFact, const char*> cases[] = {
      {UnknownFact{.reason = "it is of an extension"},
       "the WAL record at 0/5000028 is not understood: it is of an extension"},
      {UnknownFact{.reason = "cut", .end = TransactionEnd{}}, "is not understood: cut"},
      {ParametersChanged{.wal_level = WalLevel::kMinimal}, "wal_level was minimal at 0/5000028"},
      {CheckpointBegun{.wal_level = WalLevel::kMinimal}, "wal_level was minimal"},
      {CheckpointMade{.wal_level = WalLevel::kMinimal}, "wal_level was minimal"},
      {RecoveryEnded{.wal_level = WalLevel::kMinimal}, "wal_level was minimal"},
      {ChecksumsChanged{.state = 1}, "data checksums were switched at 0/5000028"},
  };
  for (const auto& [fact, doubt] : cases) {
    WalChanges changes;
    changes.NoteFact(kLsn, fact);
    EXPECT_THAT(changes.doubt(), HasSubstr(doubt));
  }
}

TEST(WalChanges, DoubtsNothingThatChangesNoFile) {
  const WalFact facts[] = {NothingMore{},
                           TransactionEnd{.committed = true},
                           TransactionPrepared{},
                           RestorePointMade{},
                           CheckpointMade{},
                           CheckpointMade{.wal_level = WalLevel::kReplica},
                           CheckpointBegun{.wal_level = WalLevel::kLogical},
                           ParametersChanged{.wal_level = WalLevel::kReplica},
                           FullPageWritesChanged{},
                           RecoveryEnded{},
                           SegmentSwitched{},
                           RecordOverwritten{}};
  WalChanges changes;
  for (const WalFact& fact : facts) {
    changes.NoteFact(kLsn, fact);
  }
  changes.Finish();
  EXPECT_EQ(changes.doubt(), "");
  EXPECT_THAT(changes.In(kTable, 0, 128).pages, IsEmpty());
}

TEST(WalChanges, RefusesRunsThatNoRelationCanHave) {
  for (const auto& [first, count] : {std::pair(kLastBlock, 2U), std::pair(0U, 0xFFFFFFFFU)}) {
    WalChanges changes;
    changes.NoteBlocks(kTable, kMainFork, first, count);
    EXPECT_THAT(changes.doubt(), HasSubstr("blocks of relation 16384 from block"));
  }
}

TEST(WalChanges, RemembersGroupsWhenBlocksAreTooMany) {
  WalChanges changes(1000);
  for (std::uint32_t block = 0; block < 3000; ++block) {
    changes.NoteBlocks(kTable, kMainFork, block * 3, 1);
  }
  changes.NoteFact(kLsn, RelationTruncated{.file = kOther, .blocks = 5, .main = true});
  changes.Finish();
  EXPECT_EQ(changes.doubt(), "");
  EXPECT_LE(changes.entries(), 1000U);
  EXPECT_TRUE(changes.In(kTable, 0, 128).some);
  EXPECT_TRUE(changes.In(kTable, 8900, 128).some);
  EXPECT_FALSE(changes.In(kTable, 9088, 128).some);
  EXPECT_THAT(changes.In(kTable, 9088, 128).pages, IsEmpty());
  EXPECT_EQ(changes.In(kOther, 0, 128).pages.size(), 123U);
}

TEST(WalChanges, GivesUpWhenGroupsAreTooMany) {
  WalChanges changes(1000);
  for (std::uint32_t block = 0; block < 3000; ++block) {
    changes.NoteBlocks(kTable, kMainFork, block * 128, 1);
  }
  changes.Finish();
  EXPECT_THAT(changes.doubt(), HasSubstr("more than 1000 groups of blocks"));
}

// Somebody may have written so to a store without a cipher: it costs no time.
TEST(WalChanges, StepsOverGroups) {
  WalChanges changes(1000);
  for (std::uint32_t block = 0; block < 3000; ++block) {
    changes.NoteBlocks(kTable, kMainFork, block * 3, 1);
  }
  for (int i = 0; i < 50'000; ++i) {
    changes.NoteBlocks(kTable, kMainFork, 0, 1000);
  }
  changes.NoteFact(kLsn, UnknownFact{.reason = "it is of an extension"});
  for (int i = 0; i < 500'000; ++i) {
    changes.NoteBlocks(kTable, kMainFork, 0, 1000);
  }
  EXPECT_LE(changes.entries(), 1250U);
}

// A backup holds them while it copies, beside its packs (docs/design/backup.md, "Memory").
TEST(WalChanges, TakesLittleMemoryForTenMillionBlocksOfAMillionRelations) {
  constexpr auto kRelations = static_cast<std::uint32_t>(MemoryGauge::Amount(1'000'000));
  WalChanges changes;
  std::size_t most = 0;
  for (std::uint32_t i = 0; i < kRelations; ++i) {
    const RelationFile file{1663, 5, 16384 + i};
    changes.NoteFact(kLsn, RelationTruncated{.file = file, .blocks = 1'000'000, .main = true});
    for (std::uint32_t block = 0; block < 10; ++block) {
      changes.NoteBlocks(file, kMainFork, 100 * block + i % 100, 1);
    }
    if (i % 1000 == 0) {
      most = std::max(most, changes.memory());
    }
  }
  changes.Finish();
  EXPECT_EQ(changes.doubt(), "");
  EXPECT_EQ(changes.entries(), 10 * kRelations);
  EXPECT_THAT(changes.In({1663, 5, 16384 + kRelations - 1}, 896, 128).pages, ElementsAre(3, 103));
  EXPECT_LT(changes.memory(), 60U << 20);
  EXPECT_LT(most, 100U << 20);
}

TEST(WalChanges, GivesUpWhenRelationsAreTooMany) {
  WalChanges changes;
  for (std::uint32_t i = 0; i <= WalChanges::kMostRelations; ++i) {
    changes.NoteFact(kLsn, RelationCreated{{1663, 5, 16384 + i}, kMainFork});
  }
  EXPECT_EQ(changes.doubt(), "more than 2097152 relations have changed");
}

// Against a plain model: sets of blocks, and a history of cuts.
TEST(WalChanges, IsWhatAPlainModelSays) {
  std::mt19937 random(20261129);
  for (int round = 0; round < 200; ++round) {
    WalChanges changes(round % 2 == 0 ? WalChanges::kMostEntries : 64);
    std::map<RelationFile, std::set<std::uint32_t>> named;
    std::map<RelationFile, std::uint32_t> limits;
    for (int step = 0; step < 300; ++step) {
      const RelationFile file{1663, 5, 16384 + static_cast<std::uint32_t>(random() % 4)};
      const auto block = static_cast<std::uint32_t>(random() % 1000);
      if (random() % 50 == 0) {
        changes.NoteFact(kLsn, RelationTruncated{.file = file, .blocks = block, .main = true});
        const auto limit = limits.try_emplace(file, block).first;
        limit->second = std::min(limit->second, block);
      } else {
        const auto count = static_cast<std::uint32_t>(1 + random() % 3);
        changes.NoteBlocks(file, kMainFork, block, count);
        for (std::uint32_t i = 0; i < count; ++i) {
          named[file].insert(block + i);
        }
      }
    }
    changes.Finish();
    ASSERT_EQ(changes.doubt(), "");
    for (std::uint32_t number = 16384; number < 16389; ++number) {
      const RelationFile file{1663, 5, number};
      for (std::uint32_t first = 0; first < 1024; first += 128) {
        const WalChanges::Answer answer = changes.In(file, first, 128);
        PageIndexes expected;
        for (std::uint32_t block = first; block < first + 128; ++block) {
          const bool is_new = limits.contains(file) && block >= limits[file];
          if (is_new || named[file].contains(block)) {
            expected.push_back(block - first);
          }
        }
        if (answer.all) {
          EXPECT_EQ(expected.size(), 128U);
        } else if (answer.some) {
          EXPECT_FALSE(expected.empty());
          EXPECT_EQ(round % 2, 1);
        } else {
          EXPECT_EQ(answer.pages, expected);
        }
      }
    }
  }
}

}  // namespace
}  // namespace veza
