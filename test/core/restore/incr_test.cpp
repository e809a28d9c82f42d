// Incr backups: chains of them, from the first changed page to the restored file.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <random>
#include <set>

#include "core/repository/backup_catalog.h"
#include "core/restore/test_restore.h"
#include "sanitizers.h"

namespace veza {
namespace {

using testing::HasSubstr;

constexpr std::ptrdiff_t kPageSize = 8192;

// How a backup finds what has changed.
enum class Way { kLsn, kContents, kWal };

// A server without a server: relations whose pages change, and the WAL that says so.
class IncrTest : public testing::TestWithParam<Way> {
 protected:
  struct Table {
    RelationFile file;
    Bytes content;
    std::string path() const { return fmt::format("base/5/{}", file.relation); }
    std::uint32_t pages() const { return static_cast<std::uint32_t>(content.size() / kPageSize); }
  };

  // A backup, and where WAL was when it began.
  struct Taken {
    BackupSummary summary;
    Lsn start;
  };

  IncrTest() {
    fixture_.lsns_tell = GetParam() != Way::kContents;
    for (std::uint32_t relation = 100; relation < 103; ++relation) {
      Table& table = tables_.emplace_back();
      table.file = {1663, 5, relation};
    }
    Resize(tables_[0], 600);
    Resize(tables_[1], 140);
    Resize(tables_[2], 1);
    Write();
  }

  // Sets a page, as a record at the present end of WAL does.
  void Set(Table& table, std::uint32_t block) {
    if (block >= table.pages()) {
      table.content.resize((block + 1) * kPageSize);
    }
    const Bytes page = TestPage(block, lsn_, lsn_.value);
    std::ranges::copy(page, table.content.begin() + std::ptrdiff_t{block} * kPageSize);
    written_.push_back({table.file, block});
    lsn_.value += 8;
  }
  void Resize(Table& table, std::uint32_t pages) {
    if (pages < table.pages()) {
      cut_.push_back({table.file, pages});
      table.content.resize(pages * kPageSize);
    }
    for (std::uint32_t block = table.pages(); block < pages; ++block) {
      Set(table, block);
    }
  }
  void Write() {
    for (const Table& table : tables_) {
      fixture_.source.File(table.path(), table.content);
    }
    fixture_.source.File("base/5/100_vm", TestPage(0, lsn_, lsn_.value));
    fixture_.source.File("pg_xact/0000", NoiseBytes(8192, lsn_.value));
  }

  Taken Full() {
    Write();
    const Lsn start = lsn_;
    Forget();
    return {fixture_.Backup().value(), start};
  }
  // Takes a diff or an incr that builds on `parent`, which is the newest backup, and restores it.
  Taken On(const Taken& parent, BackupType type) {
    Write();
    const Lsn start = lsn_;
    fixture_.wal_changes = GetParam() == Way::kWal ? Changes() : nullptr;
    BackupSummary summary = parent.summary;
    summary.start_lsn = parent.start;
    Result<BackupSummary> taken =
        type == BackupType::kIncr ? fixture_.Incr(summary) : fixture_.Diff(summary);
    EXPECT_OK(taken);
    Forget();
    Restore(*taken);
    return {*taken, start};
  }
  Taken Incr(const Taken& parent) { return On(parent, BackupType::kIncr); }

  void Restore(const BackupSummary& backup) {
    RestoreOptions options = fixture_.Options();
    options.backup_label = backup.label;
    ASSERT_OK(fixture_.Restore(options));
    fixture_.ExpectRestored();
    std::filesystem::remove_all(fixture_.Target());
  }
  // The packs whose extents the manifest needs.
  std::set<std::string> NamedPacks(const BackupSummary& backup) {
    std::set<std::string> names;
    const auto add = [&](const Extent& extent) {
      if (extent.pack != 0) {
        names.insert(PackName(backup.LabelOf(extent.source), extent.pack));
      }
    };
    EXPECT_OK(ReadManifest(*fixture_.repository, backup, [&](ManifestRecord&& record) {
      if (const auto* const file = std::get_if<FileRecord>(&record)) {
        std::ranges::for_each(file->extents, add);
        for (const PageExtent& pages : file->pages) {
          add(pages.extent);
        }
      }
      return Ok();
    }));
    return names;
  }

  // As somebody can who can write to the store and has the key: replaces the manifest of a backup.
  // `change` gets the record of the first table.
  Taken Forge(const Taken& taken, const std::function<void(FileRecord&)>& change) {
    std::vector<ManifestRecord> records;
    EXPECT_OK(ReadManifest(*fixture_.repository, taken.summary, [&](ManifestRecord&& record) {
      records.push_back(std::move(record));
      return Ok();
    }));
    std::filesystem::remove(fixture_.repository.PathOf(ManifestName(taken.summary.label)));
    std::filesystem::remove(fixture_.repository.PathOf(BackupDocumentName(taken.summary.label)));
    ManifestWriter writer(*fixture_.repository, taken.summary.label);
    for (ManifestRecord& record : records) {
      if (auto* const file = std::get_if<FileRecord>(&record);
          file != nullptr && file->path == tables_[0].path()) {
        change(*file);
      }
      EXPECT_OK(writer.Add(record));
    }
    const auto stored = writer.Commit();
    EXPECT_OK(stored);
    Taken forged = taken;
    forged.summary.manifest_size = stored->size;
    forged.summary.manifest_sha256 = stored->sha256;
    const auto document = SerializeSummary(forged.summary, fixture_.repository->seal_policy());
    EXPECT_OK(document);
    EXPECT_OK(PutSmall(fixture_.repository->store(), BackupDocumentName(taken.summary.label),
                       AsBytes(*document), PutMode::kCreate));
    return forged;
  }

  std::shared_ptr<const WalChanges> Changes() const {
    auto changes = std::make_shared<WalChanges>();
    for (const auto& [file, block] : written_) {
      changes->NoteBlocks(file, kMainFork, block, 1);
    }
    for (const auto& [file, blocks] : cut_) {
      changes->NoteFact(lsn_, RelationTruncated{.file = file, .blocks = blocks, .main = true});
    }
    changes->Finish();
    return changes;
  }
  void Forget() {
    written_.clear();
    cut_.clear();
  }

  RestoreFixture fixture_{Cipher::kAes256Gcm};
  std::vector<Table> tables_;
  Lsn lsn_ = kTestStartLsn;
  // Since the last backup.
  std::vector<std::pair<RelationFile, std::uint32_t>> written_;
  std::vector<std::pair<RelationFile, std::uint32_t>> cut_;
};

INSTANTIATE_TEST_SUITE_P(Ways, IncrTest, testing::Values(Way::kLsn, Way::kContents, Way::kWal),
                         [](const testing::TestParamInfo<Way>& info) {
                           return info.param == Way::kLsn        ? "Lsn"
                                  : info.param == Way::kContents ? "Contents"
                                                                 : "Wal";
                         });

TEST_P(IncrTest, StoresWhatHasChangedSinceTheNewestBackup) {
  const Taken full = Full();
  Set(tables_[0], 5);
  Set(tables_[0], 200);
  const Taken diff = On(full, BackupType::kDiff);
  Set(tables_[0], 5);
  Set(tables_[0], 300);
  const Taken incr = Incr(diff);

  EXPECT_EQ(incr.summary.parent, diff.summary.label);
  std::vector<std::string> sources;
  for (const SourceBackup& source : incr.summary.sources) {
    sources.push_back(source.label);
  }
  EXPECT_THAT(sources, testing::UnorderedElementsAre(full.summary.label, diff.summary.label));
  const FileRecord record = fixture_.Record(incr.summary, "base/5/100");
  for (const Extent& extent : record.extents) {
    EXPECT_EQ(incr.summary.sources.at(extent.source - 1).label, full.summary.label);
  }
  std::set<std::uint32_t> own;
  std::set<std::uint32_t> carried;
  for (const PageExtent& pages : record.pages) {
    for (const PageRun& run : pages.runs) {
      EXPECT_EQ(run.count, 1U);
      (pages.extent.source == 0 ? own : carried).insert(run.first);
    }
  }
  EXPECT_EQ(own, (std::set<std::uint32_t>{5, 300}));
  EXPECT_EQ(carried, std::set<std::uint32_t>{200});
}

TEST_P(IncrTest, WithoutChangesNothingOfRelationsIsStored) {
  const Taken full = Full();
  Set(tables_[0], 5);
  const Taken first = Incr(full);
  const Taken second = Incr(first);
  const FileRecord record = fixture_.Record(second.summary, "base/5/100");
  ASSERT_EQ(record.pages.size(), 1U);
  EXPECT_EQ(second.summary.sources.at(record.pages[0].extent.source - 1).label,
            first.summary.label);
  EXPECT_EQ(record.pages[0].runs[0].first, 5U);
}

// A page that is as it was in the full again, though the backup between has another one.
TEST_P(IncrTest, APageThatIsAsBeforeIsNotTheOneOfTheBackupBetween) {
  if (GetParam() == Way::kLsn) {
    GTEST_SKIP() << "the LSN of a page never goes back";
  }
  const Bytes before = tables_[0].content;
  const Taken full = Full();
  for (const std::uint32_t block : {3U, 130U}) {
    Set(tables_[0], block);
  }
  const Taken first = Incr(full);
  tables_[0].content = before;
  written_.push_back({tables_[0].file, 3});
  written_.push_back({tables_[0].file, 130});
  Incr(first);
}

// Pages that replace more and more of an extent end in a new extent.
TEST_P(IncrTest, AnExtentOfWhichMostWasReplacedIsStoredWhole) {
  const Taken full = Full();
  Taken newest = full;
  for (std::uint32_t block = 0; block < 70; ++block) {
    Set(tables_[0], block);
    if (block % 10 == 9) {
      newest = Incr(newest);
    }
  }
  const FileRecord record = fixture_.Record(newest.summary, "base/5/100");
  const std::uint32_t source = record.extents[0].source;
  EXPECT_NE(newest.summary.LabelOf(source), full.summary.label);
  if (GetParam() != Way::kContents) {  // that stores it whole before, so as to fetch less
    EXPECT_TRUE(record.pages.empty());
  }
}

TEST_P(IncrTest, ARestoreOfTheLastOfManyOpensWhatItNeeds) {
  Taken newest = Full();
  for (int i = 0; i < 24; ++i) {
    // Most are of pages that change again and again, so most backups between are needed no more.
    Set(tables_[0], static_cast<std::uint32_t>(i % 4));
    if (i % 8 == 0) {
      Set(tables_[1], static_cast<std::uint32_t>(i));
    }
    newest = Incr(newest);
  }
  EXPECT_LT(newest.summary.sources.size(), 12U);
  std::set<std::string> opened;
  std::mutex mutex;
  fixture_.repository.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kGet && name.find("/pack/") != name.npos) {
      const std::lock_guard lock(mutex);
      opened.emplace(name);
    }
    return Ok();
  });
  Restore(newest.summary);
  EXPECT_EQ(opened, NamedPacks(newest.summary));
}

// Each backup of a long chain has a few pages of every MiB.
TEST_P(IncrTest, ContentsAreComparedWithWhatFewRequestsFetch) {
  constexpr std::uint32_t kRegions = 4;
  constexpr std::uint32_t kPagesOfRegion = kExtentSize / kPageSize;
  Taken newest = Full();
  for (std::uint32_t i = 0; i < 12; ++i) {
    for (std::uint32_t region = 0; region < kRegions; ++region) {
      Set(tables_[0], region * kPagesOfRegion + i);
    }
    newest = Incr(newest);
  }
  std::atomic<std::uint32_t> requests{0};
  fixture_.repository.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    requests += operation == FaultStore::Operation::kGet && name.find("/pack/") != name.npos;
    return Ok();
  });
  Set(tables_[0], 50);
  Write();
  fixture_.lsns_tell = false;
  fixture_.wal_changes = nullptr;
  BackupSummary parent = newest.summary;
  parent.start_lsn = newest.start;
  ASSERT_OK(fixture_.Incr(parent));
  fixture_.repository.store().SetHook(nullptr);
  EXPECT_LE(requests, kRegions * (PageExtentCache::kMost + 1));
}

// It is fetched once, and then is shorter than the second one says.
TEST_P(IncrTest, AFrameThatIsNamedTwiceDoesNoHarm) {
  const Taken full = Full();
  Set(tables_[0], 3);
  const Taken first = Incr(full);
  Set(tables_[0], 150);
  const Taken second = Forge(Incr(first), [](FileRecord& file) {
    for (const PageExtent& pages : std::vector<PageExtent>(file.pages)) {
      if (pages.extent.source != 0) {
        PageExtent more = pages;
        more.extent.length = kExtentSize;
        more.runs = {{9, 1, 127}};
        file.pages.push_back(more);
      }
    }
  });
  Set(tables_[0], 7);
  Write();
  fixture_.lsns_tell = false;
  fixture_.wal_changes = nullptr;
  const auto third = fixture_.Incr(second.summary);
  ASSERT_OK(third);
  EXPECT_EQ(fixture_.Record(*third, tables_[0].path()).extents[0].source, 0U)
      << "it is stored whole";
}

TEST_P(IncrTest, AFileWithExtentsOfOtherLengthsIsNotBuiltOn) {
  const Taken full = Full();
  Set(tables_[0], 3);
  const Taken first = Forge(Incr(full), [](FileRecord& file) {
    Extent rest = file.extents[1];
    file.extents[1].length = kPageSize;
    rest.length -= kPageSize;
    file.extents.insert(file.extents.begin() + 2, rest);
  });
  Set(tables_[0], 7);
  Write();
  const auto second = fixture_.Incr(first.summary);
  ASSERT_OK(second);
  for (const Extent& extent : fixture_.Record(*second, tables_[0].path()).extents) {
    EXPECT_EQ(extent.source, 0U);
  }
}

TEST_P(IncrTest, RandomHistoriesAreRestored) {
  std::mt19937 random(20261130);
  const auto below = [&](std::uint32_t limit) {
    return static_cast<std::uint32_t>(random() % limit);
  };
#ifdef VEZA_THREAD_SANITIZER
  constexpr int kBackups = 8;
#else
  constexpr int kBackups = 25;
#endif
  const Taken full = Full();
  Taken newest = full;
  for (int i = 0; i < kBackups; ++i) {
    for (Table& table : tables_) {
      switch (below(8)) {
        case 0:
          Resize(table, table.pages() + below(200));
          break;
        case 1:
          Resize(table, 1 + below(table.pages()));
          break;
        case 2:
          break;
        default:
          for (std::uint32_t n = below(40); n > 0; --n) {
            Set(table, below(table.pages()));
          }
      }
    }
    newest = Incr(newest);
  }
}

TEST_P(IncrTest, ADeltaRestoresOverAnOlderState) {
  const Taken full = Full();
  Set(tables_[0], 5);
  const Taken first = Incr(full);
  RestoreOptions options = fixture_.Options();
  options.backup_label = first.summary.label;
  ASSERT_OK(fixture_.Restore(options));
  Set(tables_[0], 5);
  Set(tables_[0], 6);
  Write();
  fixture_.wal_changes = GetParam() == Way::kWal ? Changes() : nullptr;
  BackupSummary parent = first.summary;
  parent.start_lsn = first.start;
  const auto second = fixture_.Incr(parent);
  ASSERT_OK(second);
  options.backup_label = second->label;
  options.delta = true;
  ASSERT_OK(fixture_.Restore(options));
  fixture_.ExpectRestored();
}

TEST_P(IncrTest, IsRefusedWithoutABackupThatItNames) {
  const Taken full = Full();
  Set(tables_[0], 5);
  const Taken first = Incr(full);
  Set(tables_[0], 6);
  const Taken second = Incr(first);
  std::filesystem::remove(fixture_.repository.PathOf(BackupDocumentName(first.summary.label)));
  RestoreOptions options = fixture_.Options();
  options.backup_label = second.summary.label;
  const auto restored = fixture_.Restore(options);
  EXPECT_ERROR(restored, ErrorCode::kDataCorrupted);
  EXPECT_THAT(restored.error().message, HasSubstr("incr \"" + first.summary.label));
}

}  // namespace
}  // namespace veza
