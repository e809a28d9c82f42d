// Restores into a directory that is not empty. The result is the same as in an empty directory, and
// what was right before is not fetched.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <random>

#include "core/postgres/data_directory.h"
#include "core/restore/bind_mount.h"
#include "core/restore/existing_directory.h"
#include "core/restore/sweep.h"
#include "core/restore/test_restore.h"

namespace veza {
namespace {

using testing::HasSubstr;

class DeltaTest : public testing::Test {
 protected:
  DeltaTest() {
    SourceTree& source = fixture_.source;
    source.Directory("pg_xact");
    source.Directory("base/5/closed", 0500);
    for (int i = 0; i < 12; ++i) {
      source.File(fmt::format("base/5/{}", 100 + i), NoiseBytes(8192U * (1U + i * i), 50 + i));
    }
    source.File("base/5/200", NoiseBytes(6U << 20, 3));
    source.File("base/5/201", {});
    Bytes sparse(3U << 20);
    sparse[100] = 1;
    source.File("base/5/202", sparse);
    source.File("pg_xact/0000", NoiseBytes(1'500'000, 4), 0400);
    source.Tablespace(16384, source.Beside("space"));
    source.File("pg_tblspc/16384/PG_15_202209061/5/300", NoiseBytes(300'000, 5));
    EXPECT_OK(fixture_.Backup());
  }

  std::string Space() const { return fixture_.source.Beside("restored-space"); }
  RestoreOptions Options(bool delta) const {
    RestoreOptions options = fixture_.Options();
    options.tablespace_map = {{fixture_.source.Beside("space"), Space()}};
    options.delta = delta;
    return options;
  }
  Result<RestoreReport> Restore(bool delta) { return fixture_.Restore(Options(delta)); }

  // Compares both directories. Files that a restore writes itself have the time of the restore.
  std::map<std::string, TreeItem> Restored() const {
    std::map<std::string, TreeItem> tree = ReadTree(fixture_.Target());
    for (const char* written :
         {"postgresql.auto.conf", "recovery.signal", "tablespace_map", kRecoverySettingsFile}) {
      tree[written].mtime = 0;
    }
    // The file contains the inode of the directory.
    EXPECT_EQ(tree.erase(std::string(kDirectoryNote)) == 1, fixture_.HasControlFile());
    for (auto& [path, item] : ReadTree(Space())) {
      tree["space/" + path] = item;
    }
    return tree;
  }

  std::string In(const std::string& name) const { return fixture_.Target() + "/" + name; }

  RestoreFixture fixture_{Cipher::kNone};
};

TEST_F(DeltaTest, IntoAnEmptyDirectoryItIsARestore) {
  ASSERT_OK(Restore(false));
  const auto expected = Restored();
  std::filesystem::remove_all(fixture_.Target());
  std::filesystem::remove_all(Space());
  ASSERT_OK(Restore(true));
  ExpectSameTree(expected, Restored());
  EXPECT_FALSE(std::filesystem::exists(In(std::string(kUnfinishedMarker))));
}

TEST_F(DeltaTest, WhatIsInPlaceIsNotFetched) {
  const auto fresh = Restore(false);
  ASSERT_OK(fresh);
  const auto expected = Restored();
  const auto again = Restore(true);
  ASSERT_OK(again);
  ExpectSameTree(expected, Restored());
  EXPECT_EQ(again->files, fresh->files);
  EXPECT_EQ(again->bytes, fresh->bytes);
  // The manifest, pg_control, postgresql.auto.conf, and what is between these two in the pack.
  EXPECT_LT(again->bytes_fetched, 600'000U);

  // One changed page: one extent is fetched.
  FlipByte(In("base/5/200"), 5U << 20);
  const auto page = Restore(true);
  ASSERT_OK(page);
  ExpectSameTree(expected, Restored());
  EXPECT_GT(page->bytes_fetched, again->bytes_fetched + (1U << 19));
  EXPECT_LT(page->bytes_fetched, again->bytes_fetched + (1U << 19) + (2U << 20));
}

TEST_F(DeltaTest, AnotherClusterIsNotTouched) {
  ASSERT_OK(Restore(false));
  WriteBytes(In("global/pg_control"), SourceTree::ControlFile(kTestSystem + 1));
  const auto before = Restored();
  const auto refused = Restore(true);
  EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("system identifier"));
  ExpectSameTree(before, Restored());
}

// --- Any change of the directory -----------------------------------------------------------------

class DeltaChangesTest : public DeltaTest, public testing::WithParamInterface<unsigned> {
 protected:
  void Change() {
    std::vector<std::string> paths;
    for (const std::string& root : {fixture_.Target(), Space() + "/" + kTestVersionDirectory}) {
      for (const std::string& path : ListTree(root)) {
        paths.push_back(root + "/" + path);
      }
    }
    const std::string path = paths[Below(paths.size())];
    std::error_code error;
    const auto status = std::filesystem::symlink_status(path, error);
    // Without its link, nothing tells who owns the tablespace's location.
    if (error || path.ends_with("PG_VERSION") || path.find("pg_tblspc") != std::string::npos) {
      return;
    }
    const bool is_file = std::filesystem::is_regular_file(status);
    switch (Below(9)) {
      case 0:
        std::filesystem::remove_all(path);
        break;
      case 1:
        std::filesystem::remove_all(path);
        std::filesystem::create_symlink("/nowhere", path);
        break;
      case 2:
        std::filesystem::remove_all(path);
        std::filesystem::create_directories(path + "/deep/down");
        WriteText(path + "/deep/file", "stray");
        break;
      case 3:
        std::filesystem::remove_all(path);
        WriteText(path, "a file in its place");
        break;
      case 4: {
        // The file may be a link by now. Nothing is written through a link.
        const std::string stray = std::filesystem::path(path).parent_path().string() + "/stray";
        std::filesystem::remove_all(stray);
        WriteText(stray, "stray");
        break;
      }
      case 5:
        EXPECT_TRUE(std::filesystem::is_symlink(status) || chmod(path.c_str(), 0755) == 0);
        break;
      case 6:
        if (is_file) {
          std::filesystem::resize_file(path, Below(2 * std::filesystem::file_size(path) + 2));
        }
        break;
      case 7:
        if (is_file) {
          std::filesystem::rename(path, path + ".elsewhere");
          std::filesystem::create_hard_link(path + ".elsewhere", path);
        }
        break;
      default:
        if (is_file && std::filesystem::file_size(path) > 0) {
          FlipByte(path, Below(std::filesystem::file_size(path)));
        }
        break;
    }
  }
  std::size_t Below(std::size_t bound) {
    return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random_);
  }

  std::mt19937 random_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Seeds, DeltaChangesTest, testing::Range(1U, 9U));

TEST_P(DeltaChangesTest, AnyChangesAreUndone) {
  ASSERT_OK(Restore(false));
  const auto expected = Restored();
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 12; ++i) {
      Change();
    }
    // A pg_wal that leads nowhere is refused.
    if (std::filesystem::is_symlink(In("pg_wal"))) {
      std::filesystem::remove(In("pg_wal"));
    }
    // pg_control may be missing, and so may its directory.
    WriteText(In(std::string(kUnfinishedMarker)), "");
    RestoreOptions options = Options(true);
    options.unknown_names = UnknownNames::kRemove;
    ASSERT_OK(fixture_.Restore(options));
    ExpectSameTree(expected, Restored());
  }
}

// --- Interruptions -------------------------------------------------------------------------------

// Every request from number `count` on fails.
void FailFrom(RestoreFixture& fixture, int count) {
  auto left = std::make_shared<std::atomic<int>>(count);
  fixture.repository.store().SetHook(
      [left](FaultStore::Operation operation, std::string_view name) -> Status {
        if (operation == FaultStore::Operation::kGet && name.starts_with("backup/") &&
            !name.ends_with("json") && --*left < 0) {
          return MakeError(ErrorCode::kUnavailable, "no answer");
        }
        return Ok();
      });
}

TEST_F(DeltaTest, ARestoreThatWasInterruptedIsCompleted) {
  // The backup has several packs, of which some are restored when it is interrupted.
  fixture_.source.File("base/5/203", NoiseBytes(20U << 20, 6));
  std::filesystem::rename(fixture_.repository.PathOf("backup"),
                          fixture_.repository.Scratch("older"));
  const auto backup = fixture_.Backup();
  ASSERT_OK(backup);
  EXPECT_GE(backup->packs, 2U);
  ASSERT_OK(Restore(false));
  const auto expected = Restored();
  std::filesystem::remove_all(fixture_.Target());
  std::filesystem::remove_all(Space());
  FailFrom(fixture_, 2);
  EXPECT_ERROR(Restore(false), ErrorCode::kUnavailable);
  EXPECT_FALSE(fixture_.HasControlFile());
  fixture_.repository.store().SetHook(nullptr);
  const auto again = Restore(false);
  EXPECT_ERROR(again, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(again.error().hint, HasSubstr("--delta"));
  ASSERT_OK(Restore(true));
  ExpectSameTree(expected, Restored());
  EXPECT_THAT(Restore(false).error().hint, HasSubstr("Choose another directory"));
}

TEST_F(DeltaTest, ADeltaThatWasInterruptedIsCompleted) {
  ASSERT_OK(Restore(false));
  const auto expected = Restored();
  for (const int requests : {0, 1, 3, 5}) {
    for (const char* name : {"base/5/200", "base/5/111", "pg_xact/0000"}) {
      EXPECT_EQ(chmod(In(name).c_str(), 0600), 0);
      FlipByte(In(name), 1000);
    }
    FlipByte(In("base/5/200"), 4U << 20);
    WriteText(In("base/5/stray"), "stray");
    FailFrom(fixture_, requests);
    const auto interrupted = Restore(true);
    fixture_.repository.store().SetHook(nullptr);
    // After the manifest was read.
    if (!interrupted) {
      EXPECT_EQ(fixture_.HasControlFile(), requests == 0) << requests;
    }
    ASSERT_OK(Restore(true));
    ExpectSameTree(expected, Restored());
  }
}

// --- What is refused -----------------------------------------------------------------------------

// The existing cluster may be the only copy.
TEST_F(DeltaTest, WithoutACompleteBackupNothingIsChanged) {
  ASSERT_OK(Restore(false));
  WriteText(In("base/5/stray"), "of a cluster that lives");
  const auto before = Restored();
  const auto expect_unchanged = [&](const std::string& object) {
    const auto refused = Restore(true);
    EXPECT_ERROR(refused, ErrorCode::kDataCorrupted);
    EXPECT_THAT(refused.error().message, HasSubstr(object));
    ExpectSameTree(before, Restored());
  };
  const std::string manifest = fixture_.repository.PathOf(ManifestName(kTestLabel));
  FlipByte(manifest, std::filesystem::file_size(manifest) / 2);
  expect_unchanged(ManifestName(kTestLabel));
  FlipByte(manifest, std::filesystem::file_size(manifest) / 2);
  for (const std::string& object : {ManifestName(kTestLabel), PackName(kTestLabel, 1)}) {
    const std::string path = fixture_.repository.PathOf(object);
    std::filesystem::rename(path, path + "-away");
    expect_unchanged(object);
    std::filesystem::rename(path + "-away", path);
  }
  std::filesystem::resize_file(fixture_.repository.PathOf(PackName(kTestLabel, 1)), 1000);
  expect_unchanged(PackName(kTestLabel, 1));
}

TEST_F(DeltaTest, AnotherKindOfDirectoryIsRefused) {
  WriteText(In("letters/1"), "dear");
  WriteText(In("PG_VERSION"), "15\n");
  const auto restored = Restore(true);
  EXPECT_ERROR(restored, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(restored.error().message, HasSubstr("not a data directory"));
  EXPECT_EQ(ReadText(In("letters/1")), "dear");
}

// A user who has lost pg_control has to say that everything may be removed.
TEST_F(DeltaTest, ADamagedControlFileProvesNothing) {
  ASSERT_OK(Restore(false));
  const auto expected = Restored();
  FlipByte(In("global/pg_control"), 100);
  const auto before = Restored();
  const auto refused = Restore(true);
  EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refused.error().hint, HasSubstr(kUnfinishedMarker));
  ExpectSameTree(before, Restored());
  WriteText(In(std::string(kUnfinishedMarker)), "");
  ASSERT_OK(Restore(true));
  ExpectSameTree(expected, Restored());
}

TEST_F(DeltaTest, UnknownNamesAreRefusedKeptOrRemoved) {
  ASSERT_OK(Restore(false));
  const auto expected = Restored();
  WriteText(In(".ssh/id"), "secret");
  WriteText(In("notes"), "dear");
  // Names that only look like PostgreSQL's.
  WriteText(In("pg_other/1"), "dear");
  WriteText(In("backup_label_of_mine"), "dear");
  WriteText(In("pg_wal/letters/1"), "dear");
  WriteText(In("pg_wal/000000010000000000000007"), "WAL");
  WriteText(In("log/today"), "of the server");
  WriteText(In("base/5/stray"), "in a directory of PostgreSQL's");
  const auto before = Restored();
  const auto refused = Restore(true);
  EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
  for (const char* name : {".ssh", "notes", "pg_other", "backup_label_of_mine", "pg_wal/letters"}) {
    EXPECT_THAT(refused.error().message, HasSubstr(fmt::format("\"{}\"", In(name))));
  }
  for (const char* name : {"log", "stray", "000000010000000000000007"}) {
    EXPECT_THAT(refused.error().message, testing::Not(HasSubstr(name)));
  }
  ExpectSameTree(before, Restored());

  RestoreOptions options = Options(true);
  options.unknown_names = UnknownNames::kKeep;
  ASSERT_OK(fixture_.Restore(options));
  EXPECT_EQ(ReadText(In(".ssh/id")), "secret");
  EXPECT_EQ(ReadText(In("pg_wal/letters/1")), "dear");
  EXPECT_FALSE(std::filesystem::exists(In("log")));
  EXPECT_FALSE(std::filesystem::exists(In("pg_wal/000000010000000000000007")));
  options.unknown_names = UnknownNames::kRemove;
  ASSERT_OK(fixture_.Restore(options));
  ExpectSameTree(expected, Restored());
}

TEST_F(DeltaTest, WhatLooksLikeAnotherClusterIsNeverRemoved) {
  ASSERT_OK(Restore(false));
  const auto expected = Restored();
  const std::vector<std::string> others{In("log/spare"), In("base/5/x/PG_16_202307071"),
                                        In("old_wal"),
                                        Space() + "/" + kTestVersionDirectory + "/PG_15_1"};
  WriteText(others[0] + "/PG_VERSION", "15\n");
  WriteText(others[0] + "/global/pg_control", "damaged");
  WriteText(others[1] + "/5/300", "of another cluster");
  WriteText(others[2] + "/archive_status/x", "");
  WriteText(others[3] + "/5/300", "of another cluster");
  // A dropped database, and a tablespace in the data directory, belonged to the cluster itself.
  WriteText(In("base/77/PG_VERSION"), "15\n");
  WriteText(In("pg_tblspc/99/PG_15_202209061/5/300"), "its own");
  RestoreOptions options = Options(true);
  options.unknown_names = UnknownNames::kRemove;
  const auto before = Restored();
  const auto refused = fixture_.Restore(options);
  EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
  for (const std::string& other : others) {
    EXPECT_THAT(refused.error().message, HasSubstr("\"" + other + "\""));
  }
  EXPECT_THAT(refused.error().hint, HasSubstr("add --unknown keep"));
  options.unknown_names = UnknownNames::kKeep;
  const auto kept = fixture_.Restore(options);
  EXPECT_ERROR(kept, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(kept.error().message, testing::Not(HasSubstr(others[2])));
  EXPECT_THAT(kept.error().hint, testing::Not(HasSubstr("--unknown")));
  options.unknown_names = UnknownNames::kRemove;
  for (const char* own : {"base/77", "pg_tblspc"}) {
    EXPECT_THAT(refused.error().message, testing::Not(HasSubstr(own)));
  }
  ExpectSameTree(before, Restored());
  for (const std::string& other : others) {
    std::filesystem::remove_all(other);
  }
  ASSERT_OK(fixture_.Restore(options));
  ExpectSameTree(expected, Restored());
}

TEST_F(DeltaTest, WhatAppearsAfterThePlanStays) {
  ASSERT_OK(Restore(false));
  const auto plan = PlanRestore(*fixture_.repository, Options(true));
  ASSERT_OK(plan);
  WriteText(In("letter"), "dear");
  RestoreProgress progress;
  ASSERT_OK(ExecuteRestore(*fixture_.repository, *plan, progress));
  EXPECT_EQ(ReadText(In("letter")), "dear");
}

TEST_F(DeltaTest, OverlappingPlacesAreRefused) {
  fixture_.source.Tablespace(16385, fixture_.source.Beside("second"));
  std::filesystem::rename(fixture_.repository.PathOf("backup"),
                          fixture_.repository.Scratch("older"));
  ASSERT_OK(fixture_.Backup());
  const std::string root =
      std::filesystem::path(fixture_.repository.PathOf("x")).parent_path().parent_path();
  const auto expect_refusal = [&](const std::string& first, const std::string& second) {
    for (const bool delta : {false, true}) {
      RestoreOptions options = Options(delta);
      options.repository_directory = root;
      options.tablespace_map = {{fixture_.source.Beside("space"), first},
                                {fixture_.source.Beside("second"), second}};
      const auto refused = PlanRestore(*fixture_.repository, options);
      SCOPED_TRACE(first + " " + second);
      EXPECT_ERROR(refused, ErrorCode::kInvalidArgument);
      ASSERT_FALSE(refused.has_value());
      EXPECT_THAT(refused.error().message, HasSubstr("one contains the other"));
    }
  };
  const std::string other = fixture_.source.Beside("restored-second");
  expect_refusal(Space(), Space() + "/second");
  expect_refusal(Space() + "/first", Space());
  expect_refusal(In("pg_tblspc/first"), other);
  expect_refusal(Space(), In("second"));
  expect_refusal(fixture_.repository.PathOf("space"), other);
}

TEST_F(DeltaTest, ABindMountOfTheTargetIsRecognised) {
  ASSERT_OK(Restore(false));
  const std::string volume = fixture_.source.Beside("volume");
  std::filesystem::create_directories(volume);
  RestoreOptions options = Options(true);
  options.tablespace_map.begin()->second = volume + "/new";
  EXPECT_OK(PlanRestore(*fixture_.repository, options));
  const auto refused = WithBindMount(In("base"), volume, [&] {
    const auto plan = PlanRestore(*fixture_.repository, options);
    return !plan && plan.error().code == ErrorCode::kInvalidArgument &&
           plan.error().message.find("one contains the other") != std::string::npos;
  });
  if (!refused) {
    GTEST_SKIP() << "no mount namespaces here";
  }
  EXPECT_TRUE(*refused);
}

// A repository may have a whole file system. The data directory may then be beside its clusters.
TEST_F(DeltaTest, TheTargetMayBeBesideTheClustersOfARepository) {
  RestoreOptions options = Options(false);
  options.repository_directory =
      std::filesystem::path(fixture_.repository.PathOf("x")).parent_path().parent_path();
  const auto plan = [&](const std::string& place) {
    options.target_directory = options.repository_directory + place;
    return PlanRestore(*fixture_.repository, options);
  };
  EXPECT_OK(plan("/beside"));
  EXPECT_OK(plan("/beside/deep"));
  for (const char* other : {"/other/identity", "/lost/backup"}) {
    std::filesystem::create_directories(options.repository_directory + other);
  }
  for (const char* within : {"/other/restored", "/lost/restored", "/other/backup/x"}) {
    const auto refused = plan(within);
    SCOPED_TRACE(within);
    EXPECT_ERROR(refused, ErrorCode::kInvalidArgument);
    ASSERT_FALSE(refused.has_value());
    EXPECT_THAT(refused.error().message, HasSubstr("one contains the other"));
  }
}

// Nothing is removed before every place is locked.
TEST_F(DeltaTest, APlaceThatIsFilledMeanwhileStopsTheRestore) {
  ASSERT_OK(Restore(false));
  RestoreOptions options = Options(true);
  options.tablespace_map.begin()->second = fixture_.source.Beside("new-space");
  options.wal_directory = fixture_.source.Beside("new-wal");
  const auto plan = PlanRestore(*fixture_.repository, options);
  ASSERT_OK(plan);
  WriteText(fixture_.source.Beside("new-wal/letter"), "dear");
  WriteText(In("base/5/stray"), "stray");
  const auto before = Restored();
  RestoreProgress progress;
  EXPECT_ERROR(ExecuteRestore(*fixture_.repository, *plan, progress),
               ErrorCode::kFailedPrecondition);
  ExpectSameTree(before, Restored());
  EXPECT_TRUE(fixture_.HasControlFile());
}

TEST_F(DeltaTest, AClaimIsReleasedByItsOwnerAlone) {
  std::filesystem::create_directories(Space());
  ASSERT_OK(ClaimDirectory(Space(), "/srv/one"));
  ASSERT_OK(ReleaseDirectory(Space(), "/srv/two"));
  EXPECT_TRUE(IsClaimedBy("/srv/one", Space()));
  ASSERT_OK(ReleaseDirectory(Space(), "/srv/one"));
  EXPECT_FALSE(std::filesystem::exists(Space() + "/veza_restoring"));
}

// A copy of the whole cluster by cp -a. Only its path and inode tell that it is a copy.
TEST_F(DeltaTest, ThePlacesOfACopyAreNotUsed) {
  RestoreOptions options = Options(false);
  options.wal_directory = fixture_.source.Beside("wal");
  ASSERT_OK(fixture_.Restore(options));
  const std::string copy = fixture_.source.Beside("copy");
  std::filesystem::copy(
      fixture_.Target(), copy,
      std::filesystem::copy_options::recursive | std::filesystem::copy_options::copy_symlinks);
  const auto before = ReadTree(Space());
  // The user has named the tablespace's place and not that of pg_wal.
  RestoreOptions of_copy = Options(true);
  of_copy.target_directory = copy;
  const auto refused = PlanRestore(*fixture_.repository, of_copy);
  EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message,
              HasSubstr("original: \"" + fixture_.source.Beside("wal") + "\""));
  EXPECT_THAT(refused.error().hint, HasSubstr("--waldir " + fixture_.source.Beside("wal")));
  of_copy.wal_directory = fixture_.source.Beside("wal");
  EXPECT_OK(PlanRestore(*fixture_.repository, of_copy));
  EXPECT_OK(PlanRestore(*fixture_.repository, Options(true)));
  ExpectSameTree(before, ReadTree(Space()));
}

TEST_F(DeltaTest, LinksAreReplacedAndNotFollowed) {
  ASSERT_OK(Restore(false));
  const auto expected = Restored();
  const std::string elsewhere = fixture_.source.Beside("elsewhere");
  WriteText(elsewhere + "/5/letter", "dear");
  WriteText(elsewhere + "/conf", "of all clusters");
  std::filesystem::remove_all(In("base/5"));
  std::filesystem::remove(In("PG_VERSION"));
  std::filesystem::create_symlink(elsewhere + "/5", In("base/5"));
  std::filesystem::create_symlink(elsewhere + "/conf", In("PG_VERSION"));
  const auto before = ReadTree(elsewhere);
  {
    const auto plan = PlanRestore(*fixture_.repository, Options(true));
    ASSERT_OK(plan);
    EXPECT_EQ(plan->findings->links.size(), 2U);
    EXPECT_TRUE(std::filesystem::is_symlink(In("base/5"))) << "a plan changes nothing";
  }
  ASSERT_OK(Restore(true));
  ExpectSameTree(expected, Restored());
  ExpectSameTree(before, ReadTree(elsewhere));
}

TEST_F(DeltaTest, LostAndFoundStaysAtTheTop) {
  ASSERT_OK(Restore(false));
  for (const std::string& root : {fixture_.Target(), Space()}) {
    WriteText(root + "/lost+found/inode", "found");
  }
  WriteText(In("base/5/lost+found/inode"), "nobody's");
  ASSERT_OK(Restore(true));
  for (const std::string& root : {fixture_.Target(), Space()}) {
    EXPECT_EQ(ReadText(root + "/lost+found/inode"), "found");
  }
  EXPECT_FALSE(std::filesystem::exists(In("base/5/lost+found")));
}

TEST_F(DeltaTest, WhatCannotBeRemovedIsFoundInAdvance) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can become somebody else";
  }
  ASSERT_OK(Restore(false));
  for (const std::string& root : {fixture_.source.Beside(""), fixture_.repository.PathOf("")}) {
    ASSERT_EQ(chmod(root.c_str(), 0755), 0);
    for (const auto& item : std::filesystem::recursive_directory_iterator(root)) {
      ASSERT_EQ(lchown(item.path().c_str(), 65534, 65534), 0);
    }
    ASSERT_EQ(lchown(root.c_str(), 65534, 65534), 0);
  }
  WriteText(In("base/5/closed/stray"), "of root");
  ASSERT_EQ(chown(In("base/5/closed").c_str(), 0, 0), 0);
  ASSERT_EQ(chown(In("base/5/100").c_str(), 0, 0), 0);
  ASSERT_EQ(seteuid(65534), 0);
  const auto refused = Restore(true);
  ASSERT_EQ(seteuid(0), 0);
  EXPECT_ERROR(refused, ErrorCode::kPermissionDenied);
  EXPECT_THAT(refused.error().message, HasSubstr(In("base/5/closed")));
  EXPECT_THAT(refused.error().message, HasSubstr(In("base/5/100")));
  EXPECT_TRUE(fixture_.HasControlFile());
}

// --- pg_wal in another place ---------------------------------------------------------------------

class WalDirectoryTest : public DeltaTest {
 protected:
  std::string Wal(const std::string& name = "wal") const { return fixture_.source.Beside(name); }
  void ExpectWalIn(const std::string& directory) const {
    EXPECT_EQ(std::filesystem::read_symlink(In("pg_wal")).string(), directory);
    EXPECT_EQ(ListTree(directory), std::vector<std::string>{"archive_status"});
  }
};

TEST_F(WalDirectoryTest, APreparedLinkIsKept) {
  std::filesystem::create_directories(Wal());
  std::filesystem::create_directories(fixture_.Target() + "/lost+found");
  std::filesystem::create_symlink(Wal(), In("pg_wal"));
  ASSERT_OK(Restore(false));
  ExpectWalIn(Wal());
  // A delta also keeps it, and removes what is behind it.
  WriteText(Wal() + "/000000010000000000000007", "WAL");
  WriteText(Wal() + "/archive_status/000000010000000000000007.done", "");
  ASSERT_OK(Restore(true));
  ExpectWalIn(Wal());
}

TEST_F(WalDirectoryTest, ADirectoryIsMadeAndLinked) {
  RestoreOptions options = Options(false);
  options.wal_directory = Wal();
  ASSERT_OK(fixture_.Restore(options));
  ExpectWalIn(Wal());
  options.delta = true;
  ASSERT_OK(fixture_.Restore(options));
  ExpectWalIn(Wal());
  WriteText(Wal() + "/000000010000000000000007", "WAL");
  options.wal_directory = Wal("other");
  ASSERT_OK(fixture_.Restore(options));
  ExpectWalIn(Wal("other"));
  EXPECT_EQ(ReadText(Wal() + "/000000010000000000000007"), "WAL") << "no longer ours";
}

TEST_F(WalDirectoryTest, APlainDirectoryBecomesALink) {
  ASSERT_OK(Restore(false));
  WriteText(In("pg_wal/000000010000000000000007"), "WAL");
  WriteText(In("pg_wal/archive_status/000000010000000000000007.done"), "");
  WriteText(In("pg_wal/lost+found/inode"), "nobody's");
  WriteText(In("pg_wal/letter"), "dear");
  RestoreOptions options = Options(true);
  options.wal_directory = Wal();
  options.unknown_names = UnknownNames::kKeep;
  const auto refused = fixture_.Restore(options);
  EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refused.error().message, HasSubstr(In("pg_wal/letter")));
  EXPECT_TRUE(fixture_.HasControlFile());
  options.unknown_names = UnknownNames::kRemove;
  ASSERT_OK(fixture_.Restore(options));
  ExpectWalIn(Wal());
}

TEST_F(WalDirectoryTest, ImpossiblePlacesAreRefused) {
  const auto expect_refusal = [&](const RestoreOptions& options, const std::string& message) {
    const auto refused = PlanRestore(*fixture_.repository, options);
    ASSERT_FALSE(refused) << message;
    EXPECT_THAT(refused.error().message, HasSubstr(message));
  };
  RestoreOptions options = Options(false);
  for (const std::string& within :
       {In("wal"), fixture_.Target(), fixture_.source.Beside(""), Space() + "/wal"}) {
    options.wal_directory = within;
    expect_refusal(options, "one contains the other");
  }
  WriteText(Wal() + "/letter", "dear");
  options.wal_directory = Wal();
  expect_refusal(options, "not empty");
  options.wal_directory = "";
  std::filesystem::create_directories(fixture_.Target());
  std::filesystem::create_symlink(Wal(), In("pg_wal"));
  expect_refusal(options, "not empty");
  std::filesystem::remove(In("pg_wal"));
  std::filesystem::create_symlink("/nowhere", In("pg_wal"));
  expect_refusal(options, "not a directory");
  std::filesystem::remove(In("pg_wal"));
  WriteText(In("pg_wal/000000010000000000000007"), "WAL");
  expect_refusal(options, "not empty");
}

// --- Directories of others -----------------------------------------------------------------------

TEST_F(DeltaTest, ADirectoryInWhichAServerRunsIsRefused) {
  ASSERT_OK(Restore(false));
  WriteText(In("postmaster.pid"), fmt::format("{}\n/data\n", getpid()));
  const auto restored = Restore(true);
  EXPECT_ERROR(restored, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(restored.error().message, HasSubstr(std::to_string(getpid())));
  EXPECT_TRUE(fixture_.HasControlFile());
  // No process has this number.
  WriteText(In("postmaster.pid"), "2147483646\n/data\n");
  ASSERT_OK(Restore(true));
  EXPECT_FALSE(std::filesystem::exists(In("postmaster.pid")));
}

// It may be one that a server is writing while it starts.
TEST_F(DeltaTest, APostmasterPidWithoutAWholeProcessIdIsRefused) {
  ASSERT_OK(Restore(false));
  for (const char* text : {"", "2147483646", "x\n", "0\n", "99999999999999999999\n"}) {
    WriteText(In("postmaster.pid"), text);
    const auto restored = Restore(true);
    EXPECT_ERROR(restored, ErrorCode::kFailedPrecondition);
    EXPECT_THAT(restored.error().message, HasSubstr("does not contain a process ID")) << text;
    EXPECT_TRUE(fixture_.HasControlFile());
  }
}

TEST_F(DeltaTest, ATablespaceLocationOfSomebodyElseIsRefused) {
  ASSERT_OK(Restore(false));
  std::filesystem::remove(In("pg_tblspc/16384"));
  const auto restored = Restore(true);
  EXPECT_ERROR(restored, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(restored.error().message, HasSubstr(Space()));
  EXPECT_TRUE(fixture_.HasControlFile());
}

TEST_F(DeltaTest, OtherVersionsInATablespaceLocationAreLeftAlone) {
  ASSERT_OK(Restore(false));
  WriteText(Space() + "/PG_16_202307071/5/300", "of another cluster");
  WriteText(Space() + "/" + kTestVersionDirectory + "/5/stray", "ours");
  ASSERT_OK(Restore(true));
  EXPECT_EQ(ReadText(Space() + "/PG_16_202307071/5/300"), "of another cluster");
  EXPECT_FALSE(std::filesystem::exists(Space() + "/" + kTestVersionDirectory + "/5/stray"));
}

// --- Diffs ---------------------------------------------------------------------------------------

TEST(DeltaOfDiffTest, PagesAreComparedToo) {
  RestoreFixture fixture(Cipher::kAes256Gcm);
  Bytes relation;
  const auto set = [&](std::uint32_t block, Lsn lsn, std::uint64_t seed) {
    const Bytes page = TestPage(block, lsn, seed);
    relation.resize(std::max<std::size_t>(relation.size(), (block + 1) * page.size()));
    std::copy(page.begin(), page.end(),
              relation.begin() + static_cast<std::ptrdiff_t>(block * page.size()));
  };
  for (std::uint32_t block = 0; block < 600; ++block) {
    set(block, Lsn{kTestStartLsn.value - 8}, 1);
  }
  fixture.source.File("base/5/100", relation);
  const auto full = fixture.Backup();
  ASSERT_OK(full);
  for (const std::uint32_t block : {3U, 200U, 201U, 599U}) {
    set(block, kTestStartLsn, 2);
  }
  fixture.source.File("base/5/100", relation);
  const auto diff = fixture.Diff(*full);
  ASSERT_OK(diff);

  RestoreOptions options = fixture.Options();
  options.backup_label = full->label;
  ASSERT_OK(fixture.Restore(options));
  options.backup_label = diff->label;
  options.delta = true;
  ASSERT_OK(fixture.Restore(options));
  fixture.ExpectRestored();
  FlipByte(fixture.Target() + "/base/5/100", 200 * 8192 + 5);
  FlipByte(fixture.Target() + "/base/5/100", 400 * 8192 + 5);
  ASSERT_OK(fixture.Restore(options));
  fixture.ExpectRestored();
}

TEST_F(DeltaTest, ControlFileBehindALinkStays) {
  ASSERT_OK(Restore(false));
  const auto expected = Restored();
  const std::string elsewhere = fixture_.source.Beside("elsewhere");
  std::filesystem::rename(In("global"), elsewhere);
  std::filesystem::create_symlink(elsewhere, In("global"));
  const auto before = ReadTree(elsewhere);
  ASSERT_OK(Restore(true));
  ExpectSameTree(expected, Restored());
  ExpectSameTree(before, ReadTree(elsewhere));
}

// Two restores at once would each remove what the other one writes.
TEST_F(DeltaTest, OnlyOneRestoreAtATime) {
  ASSERT_OK(Restore(false));
  {
    const auto first = PlanRestore(*fixture_.repository, Options(true));
    ASSERT_OK(first);
    const auto second = PlanRestore(*fixture_.repository, Options(true));
    EXPECT_ERROR(second, ErrorCode::kFailedPrecondition);
    ASSERT_FALSE(second.has_value());
    EXPECT_THAT(second.error().message, HasSubstr("another process is restoring into directory"));
    EXPECT_THAT(second.error().hint, HasSubstr("Wait until it has ended"));
    EXPECT_ERROR(PlanRestore(*fixture_.repository, Options(false)), ErrorCode::kFailedPrecondition);
  }
  EXPECT_OK(Restore(true));
}

// Neither of two plans for a new directory knows about the other.
TEST_F(DeltaTest, ANewDirectoryAlsoHasOnlyOneRestore) {
  const auto first = PlanRestore(*fixture_.repository, Options(false));
  const auto second = PlanRestore(*fixture_.repository, Options(true));
  ASSERT_OK(first);
  ASSERT_OK(second);
  RestoreProgress progress;
  bool is_refused = false;
  const auto run_second = [&] {
    RestoreProgress other;
    EXPECT_ERROR(ExecuteRestore(*fixture_.repository, *second, other),
                 ErrorCode::kFailedPrecondition);
  };
  fixture_.repository.store().SetHook([&](FaultStore::Operation, std::string_view) -> Status {
    if (!std::exchange(is_refused, true)) {
      run_second();
    }
    return Ok();
  });
  ASSERT_OK(ExecuteRestore(*fixture_.repository, *first, progress));
  EXPECT_TRUE(is_refused);
  EXPECT_ERROR(ExecuteRestore(*fixture_.repository, *second, progress),
               ErrorCode::kFailedPrecondition);
}

// The location may have been emptied and given to another server since. It then holds no claim.
TEST_F(DeltaTest, APlaceOfAnInterruptedRestoreNeedsAClaim) {
  FailFrom(fixture_, 1);
  EXPECT_FALSE(Restore(false));
  fixture_.repository.store().SetHook(nullptr);
  ASSERT_TRUE(std::filesystem::exists(Space() + "/veza_restoring"));
  std::filesystem::remove_all(Space());
  WriteText(Space() + "/PG_15_202209061/5/300", "of another server");
  const auto refused = Restore(true);
  EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message,
              HasSubstr("not filled by the interrupted restore into \"" + fixture_.Target()));
  EXPECT_EQ(ReadText(Space() + "/PG_15_202209061/5/300"), "of another server");
  std::filesystem::remove_all(Space());
  ASSERT_OK(Restore(true));
  EXPECT_FALSE(std::filesystem::exists(Space() + "/veza_restoring"));
}

// The link may be older than the other restore that fills the directory now.
TEST_F(DeltaTest, APlaceThatAnotherRestoreHasClaimedIsNotTouched) {
  ASSERT_OK(Restore(false));
  WriteText(Space() + "/veza_restoring", "/srv/another\n");
  const auto before = ReadTree(Space());
  EXPECT_ERROR(Restore(true), ErrorCode::kFailedPrecondition);
  EXPECT_TRUE(fixture_.HasControlFile());
  ExpectSameTree(before, ReadTree(Space()));
  std::filesystem::remove(Space() + "/veza_restoring");
  EXPECT_OK(Restore(true));
}

// Two clusters would use one directory for WAL or for a tablespace, and would destroy each other's
// files.
TEST_F(DeltaTest, PlacesOutsideAlsoHaveOnlyOneRestore) {
  const auto options = [&](const std::string& name, const std::string& space,
                           const std::string& wal) {
    RestoreOptions options = Options(false);
    options.target_directory += name;
    options.tablespace_map.begin()->second = fixture_.source.Beside(space);
    options.wal_directory = fixture_.source.Beside(wal);
    return options;
  };
  const std::vector<std::pair<RestoreOptions, RestoreOptions>> pairs{
      {options("-1", "space-1", "wal"), options("-2", "space-2", "wal")},
      {options("-3", "space-3", "wal-3"), options("-4", "space-3", "wal-4")}};
  for (const auto& [mine, yours] : pairs) {
    const auto first = PlanRestore(*fixture_.repository, mine);
    const auto second = PlanRestore(*fixture_.repository, yours);
    ASSERT_OK(first);
    ASSERT_OK(second);
    const auto expect_refusals = [&, &yours = yours] {
      RestoreProgress progress;
      EXPECT_ERROR(ExecuteRestore(*fixture_.repository, *second, progress),
                   ErrorCode::kFailedPrecondition);
      RestoreOptions again = yours;
      again.target_directory += "-again";
      EXPECT_ERROR(PlanRestore(*fixture_.repository, again), ErrorCode::kFailedPrecondition);
    };
    bool is_refused = false;
    fixture_.repository.store().SetHook([&](FaultStore::Operation, std::string_view) -> Status {
      if (!std::exchange(is_refused, true)) {
        expect_refusals();
      }
      return Ok();
    });
    RestoreProgress progress;
    EXPECT_OK(ExecuteRestore(*fixture_.repository, *first, progress));
    fixture_.repository.store().SetHook(nullptr);
    EXPECT_TRUE(is_refused);
  }
}

// The server was started after the plan was made.
TEST_F(DeltaTest, AServerThatIsStartedMeanwhileIsNotTouched) {
  ASSERT_OK(Restore(false));
  const auto plan = PlanRestore(*fixture_.repository, Options(true));
  ASSERT_OK(plan);
  WriteText(fixture_.Target() + "/postmaster.pid", fmt::format("{}\n", getpid()));
  const auto before = ReadTree(fixture_.Target());
  RestoreProgress progress;
  const auto restored = ExecuteRestore(*fixture_.repository, *plan, progress);
  EXPECT_ERROR(restored, ErrorCode::kFailedPrecondition);
  ASSERT_FALSE(restored.has_value());
  EXPECT_THAT(restored.error().message, HasSubstr("runs in directory"));
  const auto after = ReadTree(fixture_.Target());
  EXPECT_EQ(after.size(), before.size());
  for (const auto& [path, item] : before) {
    EXPECT_TRUE(after.contains(path)) << path;
  }
  EXPECT_FALSE(std::filesystem::exists(Space() + "/veza_restoring")) << "the claim has gone";
}

}  // namespace
}  // namespace veza
