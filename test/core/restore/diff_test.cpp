// Diff backups, from the first changed page to the restored file.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "core/repository/backup_catalog.h"
#include "core/restore/test_restore.h"
#include "core/storage/unique_fd.h"

namespace veza {
namespace {

using testing::HasSubstr;

constexpr Lsn kBefore{kTestStartLsn.value - 8};
constexpr Lsn kSince{kTestStartLsn.value};

// The pages of a relation as the server has them.
class Relation {
 public:
  explicit Relation(std::uint32_t pages) {
    for (std::uint32_t block = 0; block < pages; ++block) {
      Set(block, kBefore, 1);
    }
  }
  void Set(std::uint32_t block, Lsn lsn, std::uint64_t seed) {
    content_.resize(std::max<std::size_t>(content_.size(), (block + 1) * kPageSize));
    const Bytes page = TestPage(block, lsn, seed);
    std::copy(page.begin(), page.end(), content_.begin() + std::ptrdiff_t{block} * kPageSize);
  }
  void Zero(std::uint32_t block) {
    std::fill_n(content_.begin() + std::ptrdiff_t{block} * kPageSize, kPageSize, std::uint8_t{0});
  }
  void Resize(std::uint32_t pages) { content_.resize(pages * kPageSize); }
  const Bytes& content() const { return content_; }

 private:
  static constexpr std::ptrdiff_t kPageSize = 8192;
  Bytes content_;
};

class DiffTest : public testing::TestWithParam<Cipher> {
 protected:
  Result<BackupSummary> Full() { return fixture_.Backup(); }
  void Restore(const BackupSummary& backup) {
    RestoreOptions options = fixture_.Options();
    options.backup_label = backup.label;
    ASSERT_OK(fixture_.Restore(options));
    fixture_.ExpectRestored();
    std::filesystem::remove_all(fixture_.Target());
  }
  // The bytes of the packs that belong to the backup itself.
  std::uint64_t Packed(const BackupSummary& backup) {
    return backup.stored_size - backup.manifest_size;
  }

  // The pages of the file that are in page extents.
  std::vector<std::uint32_t> StoredPages(const BackupSummary& backup, const std::string& path) {
    std::vector<std::uint32_t> stored;
    for (const PageExtent& pages : fixture_.Record(backup, path).pages) {
      for (const PageRun& run : pages.runs) {
        for (std::uint32_t i = 0; i < run.count; ++i) {
          stored.push_back(run.first + i);
        }
      }
    }
    return stored;
  }

  RestoreFixture fixture_{GetParam()};
  SourceTree& source_ = fixture_.source;
};

INSTANTIATE_TEST_SUITE_P(Ciphers, DiffTest, testing::ValuesIn(kAllCiphers), CipherTestName);

TEST_P(DiffTest, WithoutChangesNearlyNothingIsStored) {
  source_.File("base/5/100", Relation(300).content());
  source_.File("base/5/100_fsm", NoiseBytes(3 * 8192, 1));
  source_.File("base/5/100_vm", NoiseBytes(8192, 2));
  source_.File("pg_xact", NoiseBytes(2'000'000, 3));
  source_.File("empty", {});
  const auto full = Full();
  ASSERT_OK(full);
  const auto diff = fixture_.Diff(*full);
  ASSERT_OK(diff);
  // The files that each backup writes anew: backup_label and pg_control.
  EXPECT_LT(Packed(*diff), 20'000U);
  EXPECT_EQ(diff->size, full->size);
  EXPECT_EQ(diff->files, full->files);
  Restore(*diff);
  Restore(*full);
}

TEST_P(DiffTest, StoresThePagesWhoseLsnIsNewer) {
  Relation relation(300);
  source_.File("base/5/100", relation.content());
  const auto full = Full();
  ASSERT_OK(full);

  relation.Set(0, kSince, 2);
  relation.Set(127, kSince, 2);
  relation.Set(128, Lsn{kSince.value + 1}, 2);
  relation.Zero(129);
  relation.Set(299, Lsn{~std::uint64_t{0}}, 2);
  source_.File("base/5/100", relation.content());
  const auto diff = fixture_.Diff(*full);
  ASSERT_OK(diff);
  const FileRecord record = fixture_.Record(*diff, "base/5/100");
  ASSERT_EQ(record.extents.size(), 3U);
  for (const Extent& extent : record.extents) {
    EXPECT_EQ(extent.source, 1U);
  }
  EXPECT_THAT(StoredPages(*diff, "base/5/100"),
              testing::UnorderedElementsAre(0, 127, 128, 129, 299));
  EXPECT_LT(Packed(*diff), 60'000U);
  Restore(*diff);
}

// Other content with an old LSN: where LSNs are reliable, only a hint bit can do that, and it may
// be lost.
TEST_P(DiffTest, AChangeWithoutAnLsnIsNotLookedFor) {
  Relation relation(10);
  source_.File("base/5/100", relation.content());
  const auto full = Full();
  ASSERT_OK(full);
  Relation hinted = relation;
  hinted.Set(4, kBefore, 2);
  source_.File("base/5/100", hinted.content());
  const auto diff = fixture_.Diff(*full);
  ASSERT_OK(diff);
  source_.File("base/5/100", relation.content());
  Restore(*diff);
}

// Our writer never does this, but the format allows it: pages that replace parts of a hole.
TEST_P(DiffTest, PagesMayReplacePartsOfAHole) {
  Relation relation(10);
  source_.File("base/5/100", relation.content());
  const auto full = Full();
  ASSERT_OK(full);
  relation.Set(4, kSince, 2);
  source_.File("base/5/100", relation.content());
  auto diff = fixture_.Diff(*full);
  ASSERT_OK(diff);
  ASSERT_EQ(StoredPages(*diff, "base/5/100"), std::vector<std::uint32_t>{4});

  std::vector<ManifestRecord> records;
  ASSERT_OK(ReadManifest(*fixture_.repository, *diff, [&](ManifestRecord&& record) {
    records.push_back(std::move(record));
    return Ok();
  }));
  const std::string manifest = fixture_.repository.PathOf(ManifestName(diff->label));
  std::filesystem::remove(manifest);
  ManifestWriter writer(*fixture_.repository, diff->label);
  for (ManifestRecord& record : records) {
    if (auto* const file = std::get_if<FileRecord>(&record);
        file != nullptr && file->path == "base/5/100") {
      file->extents = {Extent{.length = static_cast<std::uint32_t>(file->size)}};
    }
    ASSERT_OK(writer.Add(record));
  }
  const ManifestWriter::Stored stored = writer.Commit().value();
  diff->manifest_size = stored.size;
  diff->manifest_sha256 = stored.sha256;
  WriteText(fixture_.repository.PathOf(BackupDocumentName(diff->label)),
            SerializeSummary(*diff, fixture_.repository->seal_policy()).value());

  for (const std::uint32_t block : {0U, 1U, 2U, 3U, 5U, 6U, 7U, 8U, 9U}) {
    relation.Zero(block);
  }
  source_.File("base/5/100", relation.content());
  Restore(*diff);
}

// A file of one page is compared as a whole: the page of a sequence may be newer than its last WAL
// record.
TEST_P(DiffTest, AFileOfOnePageIsCompared) {
  Relation relation(1);
  source_.File("base/5/100", relation.content());
  const auto full = Full();
  ASSERT_OK(full);
  relation.Set(0, kBefore, 2);
  source_.File("base/5/100", relation.content());
  const auto diff = fixture_.Diff(*full);
  ASSERT_OK(diff);
  Restore(*diff);
}

// A sorted GiST build leaves LSN 1; other builds leave 0 until they end.
TEST_P(DiffTest, APageWithAMadeUpLsnIsStoredWhenAnythingDiffers) {
  Relation relation(300);
  for (const std::uint32_t block : {0U, 1U, 130U}) {
    relation.Set(block, Lsn{block}, 1);
  }
  source_.File("base/5/100", relation.content());
  const auto full = Full();
  ASSERT_OK(full);
  const auto same = fixture_.Diff(*full);
  ASSERT_OK(same);
  EXPECT_LT(Packed(*same), 20'000U);
  relation.Set(0, Lsn{1}, 2);
  source_.File("base/5/100", relation.content());
  const auto diff = fixture_.Diff(*full);
  ASSERT_OK(diff);
  EXPECT_THAT(StoredPages(*diff, "base/5/100"), testing::UnorderedElementsAre(0, 1));
  Restore(*diff);
}

// VACUUM on a cluster without data checksums: pages that differ are stored whole, whatever their
// LSNs say.
TEST_P(DiffTest, ContentsAreComparedWhereLsnsAreNotReliable) {
  Relation relation(600);
  source_.File("base/5/100", relation.content());
  source_.File("base/5/200", Relation(300).content());
  const auto full = Full();
  ASSERT_OK(full);
  relation.Set(0, kBefore, 2);
  relation.Set(127, kBefore, 2);
  relation.Set(128, kSince, 2);
  // Most pages of this region differ from the full, so the region is stored whole.
  for (std::uint32_t block = 256; block < 384; ++block) {
    relation.Set(block, kBefore, block < 330 ? 2 : 1);
  }
  source_.File("base/5/100", relation.content());
  fixture_.lsns_tell = false;
  const auto diff = fixture_.Diff(*full);
  ASSERT_OK(diff);
  EXPECT_THAT(StoredPages(*diff, "base/5/100"), testing::UnorderedElementsAre(0, 127, 128));
  const FileRecord record = fixture_.Record(*diff, "base/5/100");
  EXPECT_EQ(record.extents[0].source, 1U);
  EXPECT_EQ(record.extents[1].source, 1U);
  EXPECT_EQ(record.extents[2].source, 0U);
  EXPECT_EQ(record.extents[3].source, 1U);
  EXPECT_LT(Packed(*diff), 1'200'000U);
  EXPECT_TRUE(fixture_.sentences.Take().empty());
  Restore(*diff);
}

TEST_P(DiffTest, TheFullIsNotReadWhereMostHasChangedByLsn) {
  Relation relation(128);
  source_.File("base/5/100", relation.content());
  const auto full = Full();
  ASSERT_OK(full);
  for (std::uint32_t block = 0; block < 65; ++block) {
    relation.Set(block, kSince, 2);
  }
  source_.File("base/5/100", relation.content());
  std::atomic<int> asked = 0;
  fixture_.repository.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    asked += operation == FaultStore::Operation::kGet && name.find("/pack/") != name.npos ? 1 : 0;
    return Ok();
  });
  fixture_.lsns_tell = false;
  ASSERT_OK(fixture_.Diff(*full));
  EXPECT_EQ(asked, 0);
}

class DiffByWalTest : public DiffTest {
 protected:
  static constexpr RelationFile kTable{1663, 5, 100};

  // Takes a full of what is there, and of a relation of 600 pages. Pages 0, 5 and 130 of it change
  // afterwards; their LSNs do not tell.
  void Begin() {
    source_.File("base/5/100", relation_.content());
    const auto full = Full();
    ASSERT_OK(full);
    full_ = *full;
    for (const std::uint32_t block : {0U, 5U, 130U}) {
      relation_.Set(block, kBefore, 2);
    }
    source_.File("base/5/100", relation_.content());
  }
  Result<BackupSummary> DiffBy(const std::function<void(WalChanges&)>& note,
                               std::set<std::uint32_t> databases = {5}) {
    auto changes = std::make_shared<WalChanges>(most_);
    note(*changes);
    changes->Finish();
    EXPECT_EQ(changes->doubt(), "");
    fixture_.wal_changes = changes;
    return fixture_.Diff(full_, std::move(databases));
  }
  static void NoteWhatChanged(WalChanges& changes) {
    changes.NoteBlocks(kTable, kMainFork, 0, 1);
    changes.NoteBlocks(kTable, kMainFork, 5, 1);
    changes.NoteBlocks(kTable, kMainFork, 130, 1);
  }

  Relation relation_{600};
  BackupSummary full_;
  std::size_t most_ = WalChanges::kMostEntries;
};

INSTANTIATE_TEST_SUITE_P(Ciphers, DiffByWalTest, testing::ValuesIn(kAllCiphers), CipherTestName);

TEST_P(DiffByWalTest, StoresThePagesThatWalNames) {
  Begin();
  const auto diff = DiffBy(NoteWhatChanged);
  ASSERT_OK(diff);
  EXPECT_THAT(StoredPages(*diff, "base/5/100"), testing::UnorderedElementsAre(0, 5, 130));
  for (const Extent& extent : fixture_.Record(*diff, "base/5/100").extents) {
    EXPECT_EQ(extent.source, 1U);
  }
  Restore(*diff);
}

// The bytes say so: page 7 differs, and is not in the diff, because it was not read.
TEST_P(DiffByWalTest, ReadsNothingElse) {
  Begin();
  relation_.Set(7, kSince, 3);
  source_.File("base/5/100", relation_.content());
  const auto diff = DiffBy(NoteWhatChanged);
  ASSERT_OK(diff);
  EXPECT_THAT(StoredPages(*diff, "base/5/100"), testing::UnorderedElementsAre(0, 5, 130));
}

// Counts how often files are opened.
class Openings {
 public:
  explicit Openings(const std::vector<std::string>& paths) {
    for (const std::string& path : paths) {
      EXPECT_NE(inotify_add_watch(fd_.get(), path.c_str(), IN_OPEN), -1) << path;
    }
  }
  int Count() const {
    int count = 0;
    inotify_event event{};  // has no name: single files are watched
    while (read(fd_.get(), &event, sizeof event) == sizeof event) {
      ++count;
    }
    return count;
  }

 private:
  const UniqueFd fd_{inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
};

TEST_P(DiffByWalTest, ARelationThatIsEmptyOrUnchangedIsNotOpened) {
  source_.File("base/5/101", Relation(300).content());
  source_.File("base/5/102", {});
  source_.File("base/5/103", Relation(2).content());
  Begin();
  {
    const Openings unchanged({source_.In("base/5/101"), source_.In("base/5/102")});
    const Openings changed({source_.In("base/5/100"), source_.In("base/5/103")});
    const auto diff = DiffBy([](WalChanges& changes) {
      NoteWhatChanged(changes);
      changes.NoteBlocks({1663, 5, 103}, kMainFork, 1, 1);
    });
    ASSERT_OK(diff);
    EXPECT_EQ(unchanged.Count(), 0);
    EXPECT_EQ(changed.Count(), 2);
    Restore(*diff);
  }
  // A file of another length is read.
  source_.File("base/5/101", Relation(301).content());
  const Openings longer({source_.In("base/5/101")});
  const auto diff = DiffBy(NoteWhatChanged);
  ASSERT_OK(diff);
  EXPECT_EQ(longer.Count(), 1);
  Restore(*diff);
}

TEST_P(DiffByWalTest, AnExtentOfWhichMostHasChangedIsStoredWhole) {
  Begin();
  const auto diff = DiffBy([](WalChanges& changes) {
    changes.NoteBlocks(kTable, kMainFork, 0, 65);
    changes.NoteBlocks(kTable, kMainFork, 130, 1);
  });
  ASSERT_OK(diff);
  EXPECT_THAT(StoredPages(*diff, "base/5/100"), testing::ElementsAre(130));
  EXPECT_EQ(fixture_.Record(*diff, "base/5/100").extents[0].source, 0U);
  Restore(*diff);
}

TEST_P(DiffByWalTest, WhatIsNewOrWasCutIsRead) {
  Begin();
  relation_.Resize(700);
  source_.File("base/5/100", relation_.content());
  source_.File("base/5/101", Relation(200).content());
  fixture_.lsns_tell = false;
  for (const WalFact& fact :
       {WalFact(RelationCreated{.file = kTable}),
        WalFact(DatabaseCopied{.database = 5, .tablespace = 1663}),
        WalFact(RelationTruncated{.file = kTable, .blocks = 0, .main = true})}) {
    const auto diff = DiffBy([&](WalChanges& changes) { changes.NoteFact(kBefore, fact); });
    ASSERT_OK(diff);
    Restore(*diff);
  }
}

// A table that was emptied and filled again has zeros that no record names.
TEST_P(DiffByWalTest, PagesBehindACutAreStoredAlthoughNoRecordNamesThem) {
  Begin();
  relation_.Zero(599);
  relation_.Zero(590);
  source_.File("base/5/100", relation_.content());
  const auto diff = DiffBy([](WalChanges& changes) {
    NoteWhatChanged(changes);
    changes.NoteFact(kBefore, RelationTruncated{.file = kTable, .blocks = 590, .main = true});
  });
  ASSERT_OK(diff);
  EXPECT_EQ(StoredPages(*diff, "base/5/100").size(), 3U + 10U);
  Restore(*diff);
}

// The last extent of the full is shorter: nothing is known of what has been added.
TEST_P(DiffByWalTest, WhatLiesBehindTheFullIsStored) {
  Begin();
  for (std::uint32_t block = 600; block < 800; ++block) {
    relation_.Set(block, kBefore, 4);
  }
  source_.File("base/5/100", relation_.content());
  const auto diff = DiffBy(NoteWhatChanged);
  ASSERT_OK(diff);
  Restore(*diff);
}

TEST_P(DiffByWalTest, GroupsOfBlocksAreCompared) {
  Begin();
  most_ = 2;
  fixture_.lsns_tell = false;
  const auto diff = DiffBy(NoteWhatChanged);
  ASSERT_OK(diff);
  EXPECT_THAT(StoredPages(*diff, "base/5/100"), testing::UnorderedElementsAre(0, 5, 130));
  Restore(*diff);
}

TEST_P(DiffByWalTest, AnotherDatabaseOfTheSameOidIsCompared) {
  Begin();
  const auto diff = DiffBy([](WalChanges&) {}, {});
  ASSERT_OK(diff);
  Restore(*diff);
}

// WAL says nothing of the other forks, nor of a file that only looks like one of a relation.
TEST_P(DiffByWalTest, OtherFilesAreCompared) {
  const char* const paths[] = {"base/5/100_vm",        "base/5/100_fsm",
                               "base/5/400_init",      "base/5/0200",
                               "base/99999999999/300", "base/5/300.32768",
                               "pg_xact/0000",         "pg_tblspc/700/PG_14_202107181/5/300"};
  for (const char* const path : paths) {
    source_.File(path, Relation(20).content());
  }
  Begin();
  Relation changed(20);
  changed.Set(3, kBefore, 2);
  for (const char* const path : paths) {
    source_.File(path, changed.content());
  }
  fixture_.lsns_tell = false;
  const auto diff = DiffBy(NoteWhatChanged);
  ASSERT_OK(diff);
  Restore(*diff);
}

// A hole of the full backup that was written to is not a page extent on top of zeros.
TEST_P(DiffByWalTest, AHoleIsStoredWholeWhenAnythingInItHasChanged) {
  source_.File("base/5/102", Bytes(std::size_t{256} * 8192));
  Begin();
  Bytes content(std::size_t{256} * 8192);
  const Bytes page = TestPage(9, kBefore, 5);
  std::copy(page.begin(), page.end(), content.begin() + 9 * 8192);
  source_.File("base/5/102", content);
  const auto diff = DiffBy([](WalChanges& changes) {
    NoteWhatChanged(changes);
    changes.NoteBlocks({1663, 5, 102}, kMainFork, 9, 1);
  });
  ASSERT_OK(diff);
  const FileRecord record = fixture_.Record(*diff, "base/5/102");
  EXPECT_NE(record.extents[0].pack, 0U);
  EXPECT_EQ(record.extents[1].pack, 0U);
  EXPECT_TRUE(record.pages.empty());
  Restore(*diff);
}

// What the full has lost cannot be compared, so the diff contains all of it.
TEST_P(DiffTest, ADamagedFullIsReportedAndChangesAreStoredWhole) {
  Relation relation(300);
  source_.File("base/5/100", relation.content());
  const auto full = Full();
  ASSERT_OK(full);
  for (std::uint64_t number = 1; number <= full->packs; ++number) {
    const std::string path =
        fixture_.repository.PathOf(PackName(full->label, static_cast<std::uint32_t>(number)));
    std::string content = ReadText(path);
    for (std::size_t at = 600; at < content.size(); at += 1000) {
      content[at] = static_cast<char>(content[at] ^ 1);
    }
    WriteText(path, content);
  }
  for (const std::uint32_t block : {5U, 200U, 299U}) {
    relation.Set(block, kBefore, 2);
  }
  source_.File("base/5/100", relation.content());
  fixture_.lsns_tell = false;
  const auto diff = fixture_.Diff(*full);
  ASSERT_OK(diff);
  for (const Extent& extent : fixture_.Record(*diff, "base/5/100").extents) {
    EXPECT_EQ(extent.source, 0U);
  }
  EXPECT_THAT(fixture_.sentences.Take(),
              testing::ElementsAre(testing::AllOf(HasSubstr("full backup \"" + full->label +
                                                            "\", which this diff refers to, is "
                                                            "damaged: object \"backup/"),
                                                  HasSubstr("vezactl verify --full"))));
}

// Whether an unreachable full is damaged is not known. The diff is tried again later.
TEST_P(DiffTest, AnUnreachableStoreIsNotDamage) {
  Relation relation(300);
  source_.File("base/5/100", relation.content());
  const auto full = Full();
  ASSERT_OK(full);
  relation.Set(5, kBefore, 2);
  source_.File("base/5/100", relation.content());
  fixture_.repository.store().SetHook(
      [&](FaultStore::Operation operation, std::string_view name) -> Status {
        if (operation == FaultStore::Operation::kGet && name.find("/pack/") != name.npos) {
          return MakeError(ErrorCode::kUnavailable, "down");
        }
        return Ok();
      });
  fixture_.lsns_tell = false;
  EXPECT_ERROR(fixture_.Diff(*full), ErrorCode::kUnavailable);
}

// CREATE DATABASE … STRATEGY file_copy under the oid of a dropped database: all LSNs are old.
TEST_P(DiffTest, LsnsAreNotUsedInARecreatedDatabase) {
  Relation relation(300);
  source_.File("base/5/100", relation.content());
  const auto full = Full();
  ASSERT_OK(full);
  relation.Set(4, kBefore, 2);
  source_.File("base/5/100", relation.content());
  const auto diff = fixture_.Diff(*full, {});
  ASSERT_OK(diff);
  const FileRecord record = fixture_.Record(*diff, "base/5/100");
  EXPECT_EQ(record.extents[0].source, 0U);
  EXPECT_EQ(record.extents[1].source, 1U);  // equal to the byte
  Restore(*diff);
}

TEST_P(DiffTest, FilesThatGrewShrankAppearedVanishedAndWereReplaced) {
  Relation grown(100);
  Relation shrunk(300);
  Relation rewritten(200);
  source_.File("base/5/1", grown.content());
  source_.File("base/5/2", shrunk.content());
  source_.File("base/5/3", rewritten.content());
  source_.File("base/5/4", Relation(10).content());
  source_.File("base/5/5", NoiseBytes(5000, 5));  // not a whole number of pages
  source_.File("base/5/6", Bytes(3U << 20));
  source_.File("base/5/7_vm", NoiseBytes(8192, 6));
  source_.File("base/5/8.1", Relation(130).content());
  source_.File("base/5/9", {});
  source_.File("settings", AsBytes("a = 1\n"));
  source_.Directory("old");
  source_.File("old/file", NoiseBytes(100));
  const auto full = Full();
  ASSERT_OK(full);

  for (std::uint32_t block = 100; block < 400; ++block) {
    grown.Set(block, kSince, 2);
  }
  source_.File("base/5/1", grown.content());
  shrunk.Resize(200);
  source_.File("base/5/2", shrunk.content());
  for (std::uint32_t block = 0; block < 200; ++block) {
    rewritten.Set(block, kSince, 2);
  }
  source_.File("base/5/3", rewritten.content());
  std::filesystem::remove(source_.In("base/5/4"));
  source_.File("base/5/5", NoiseBytes(7000, 6));
  Bytes filled(3U << 20);
  const Bytes page = TestPage(130, kSince);
  std::copy(page.begin(), page.end(), filled.begin() + 130 * 8192);
  source_.File("base/5/6", filled);
  source_.File("base/5/7_vm", NoiseBytes(8192, 7));  // with its previous time
  Relation second_segment(130);
  second_segment.Set(1, kSince, 9);
  source_.File("base/5/8.1", second_segment.content());
  source_.File("base/5/9", Relation(3).content());
  source_.File("settings", AsBytes("a = 2\n"));
  std::filesystem::remove_all(source_.In("old"));
  source_.File("base/5/10", Relation(140).content());  // old LSNs, but a new file
  source_.Directory("new", 0750);
  source_.File("new/file", NoiseBytes(100), 0640, 1);
  const auto diff = fixture_.Diff(*full);
  ASSERT_OK(diff);
  Restore(*diff);

  // A second diff refers to the full, not to the first diff.
  source_.File("base/5/10", Relation(2).content());
  std::filesystem::remove(source_.In("base/5/1"));
  const auto later = fixture_.Diff(*full);
  ASSERT_OK(later);
  std::filesystem::remove_all(fixture_.repository.PathOf(BackupDirectory(diff->label)));
  Restore(*later);
}

TEST_P(DiffTest, ManyChangedPagesFillSeveralExtents) {
  Relation relation(2000);
  source_.File("base/5/100", relation.content());
  const auto full = Full();
  ASSERT_OK(full);
  for (std::uint32_t block = 0; block < 2000; block += 3) {
    relation.Set(block, kSince, 2);
  }
  source_.File("base/5/100", relation.content());
  const auto diff = fixture_.Diff(*full);
  ASSERT_OK(diff);
  const FileRecord record = fixture_.Record(*diff, "base/5/100");
  EXPECT_EQ(record.pages.size(), 6U);  // 667 pages, 128 in an extent
  for (const PageExtent& pages : record.pages) {
    EXPECT_LE(pages.extent.length, kExtentSize);
  }
  Restore(*diff);
}

// Pages whose neighbours are not wanted are fetched separately.
TEST_P(DiffTest, OnlyTheWantedPartsOfAPackAreFetched) {
  for (int i = 0; i < 30; ++i) {
    source_.File(fmt::format("base/5/{}", 100 + i), Relation(128).content());
  }
  const auto full = Full();
  ASSERT_OK(full);
  for (int i = 0; i < 30; ++i) {
    if (i % 10 != 0) {
      std::filesystem::remove(source_.In(fmt::format("base/5/{}", 100 + i)));
    }
  }
  const auto diff = fixture_.Diff(*full);
  ASSERT_OK(diff);
  RestoreOptions options = fixture_.Options();
  options.backup_label = diff->label;
  const auto report = fixture_.Restore(options);
  ASSERT_OK(report);
  fixture_.ExpectRestored();
  EXPECT_LT(report->bytes_fetched, 10U << 20);  // of 30 MiB that do not compress
}

TEST_P(DiffTest, IsRefusedWithoutItsFull) {
  source_.File("base/5/100", Relation(300).content());
  const auto full = Full();
  ASSERT_OK(full);
  const auto diff = fixture_.Diff(*full);
  ASSERT_OK(diff);
  RestoreOptions options = fixture_.Options();
  options.backup_label = diff->label;

  // Another backup under the label of the full.
  const std::string document = fixture_.repository.PathOf(BackupDocumentName(full->label));
  const std::string text = ReadText(document);
  BackupSummary other = *full;
  other.manifest_sha256 = Sha256Of(AsBytes("another"));
  WriteText(document, SerializeSummary(other, fixture_.repository->seal_policy()).value());
  auto restored = fixture_.Restore(options);
  EXPECT_ERROR(restored, ErrorCode::kDataCorrupted);
  EXPECT_THAT(restored.error().message, HasSubstr("is not the one that backup"));

  std::filesystem::remove(document);
  restored = fixture_.Restore(options);
  EXPECT_ERROR(restored, ErrorCode::kDataCorrupted);
  EXPECT_THAT(restored.error().message, HasSubstr(full->label));
  EXPECT_FALSE(std::filesystem::exists(fixture_.Target()));

  // A pack of the full is damaged, truncated or missing.
  WriteText(document, text);
  const std::string pack = fixture_.repository.PathOf(PackName(full->label, 1));
  const std::string intact = ReadText(pack);
  std::string damaged = intact;
  damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 1);
  for (const std::string& bad : {damaged, intact.substr(0, intact.size() / 2), std::string("x")}) {
    WriteText(pack, bad);
    restored = fixture_.Restore(options);
    EXPECT_ERROR(restored, ErrorCode::kDataCorrupted);
    EXPECT_THAT(restored.error().message, HasSubstr(PackName(full->label, 1)));
    std::filesystem::remove_all(fixture_.Target());
  }
  std::filesystem::remove(pack);
  restored = fixture_.Restore(options);
  EXPECT_ERROR(restored, ErrorCode::kDataCorrupted);
  EXPECT_THAT(restored.error().message, HasSubstr("is missing"));
}

TEST_P(DiffTest, TheIndependentReaderRestoresTheSame) {
  if (!RestoreFixture::HasSecondReader()) {
    GTEST_SKIP() << "python3-zstandard or python3-cryptography is not installed";
  }
  Relation relation(300);
  source_.File("base/5/100", relation.content());
  source_.File("base/5/101", Relation(150).content());
  source_.File("base/5/102", Bytes(3U << 20));
  const auto full = Full();
  ASSERT_OK(full);
  relation.Set(3, kSince, 2);
  relation.Set(200, kSince, 2);
  relation.Zero(201);
  source_.File("base/5/100", relation.content());
  std::filesystem::remove(source_.In("base/5/101"));
  const auto diff = fixture_.Diff(*full);
  ASSERT_OK(diff);

  EXPECT_EQ(fixture_.RunSecondReader("verify"), 0) << fixture_.SecondReadersLog();
  ASSERT_EQ(
      fixture_.RunSecondReader(fmt::format("restore {} '{}'", diff->label, fixture_.Target())), 0)
      << fixture_.SecondReadersLog();
  std::map<std::string, TreeItem> restored = ReadTree(fixture_.Target());
  restored.erase("backup_label");
  std::map<std::string, TreeItem> expected = ReadTree(source_.path());
  for (const char* stamped : {"", "base", "base/5", "global/pg_control"}) {
    restored.erase(stamped);
    expected.erase(stamped);
  }
  ExpectSameTree(AsRestored(expected), restored);
}

TEST_P(DiffTest, ADamagedManifestOfTheFullFailsTheDiff) {
  source_.File("base/5/100", Relation(300).content());
  const auto full = Full();
  ASSERT_OK(full);
  FlipByte(fixture_.repository.PathOf(ManifestName(full->label)), 200);
  EXPECT_ERROR(fixture_.Diff(*full), ErrorCode::kDataCorrupted);
}

}  // namespace
}  // namespace veza
