// Restores into a directory that holds something: afterwards it is as if it had been empty, and
// what was right already was not fetched.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <random>

#include "core/restore/existing_directory.h"
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

  // Both directories; what a restore writes itself has the time of the restore.
  std::map<std::string, TreeItem> Restored() const {
    std::map<std::string, TreeItem> tree = ReadTree(fixture_.Target());
    for (const char* written :
         {"postgresql.auto.conf", "recovery.signal", "tablespace_map", kRecoverySettingsFile}) {
      tree[written].mtime = 0;
    }
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

TEST_F(DeltaTest, WhatIsRightIsNotFetched) {
  const auto fresh = Restore(false);
  ASSERT_OK(fresh);
  const auto expected = Restored();
  const auto again = Restore(true);
  ASSERT_OK(again);
  ExpectSameTree(expected, Restored());
  EXPECT_EQ(again->files, fresh->files);
  EXPECT_EQ(again->bytes, fresh->bytes);
  // The manifest, pg_control, postgresql.auto.conf, and what lies between these two in the pack.
  EXPECT_LT(again->bytes_fetched, 600'000U);

  // One page: one extent.
  FlipByte(In("base/5/200"), 5U << 20);
  const auto page = Restore(true);
  ASSERT_OK(page);
  ExpectSameTree(expected, Restored());
  EXPECT_GT(page->bytes_fetched, again->bytes_fetched + (1U << 19));
  EXPECT_LT(page->bytes_fetched, again->bytes_fetched + (1U << 19) + (2U << 20));
}

TEST_F(DeltaTest, AnotherClusterIsLeftAlone) {
  ASSERT_OK(Restore(false));
  FlipByte(In("global/pg_control"), 3);
  const auto before = Restored();
  const auto refused = Restore(true);
  EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refused.error().message, testing::HasSubstr("system identifier"));
  ExpectSameTree(before, Restored());
}

// --- Whatever happened to the directory
// -----------------------------------------------------------

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
    // Without its link nobody knows whose the tablespace's location is.
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
      case 4:
        WriteText(std::filesystem::path(path).parent_path().string() + "/stray", "stray");
        break;
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

TEST_P(DeltaChangesTest, AreUndone) {
  ASSERT_OK(Restore(false));
  const auto expected = Restored();
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 12; ++i) {
      Change();
    }
    // pg_control may have gone, and its directory; PG_VERSION is left alone.
    ASSERT_OK(Restore(true));
    ExpectSameTree(expected, Restored());
  }
}

// --- Interruptions
// --------------------------------------------------------------------------------

// Every request from the `count`-th on fails.
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
  // Several packs, of which some are there when it is interrupted.
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
    // Once the manifest has been read.
    if (!interrupted) {
      EXPECT_EQ(fixture_.HasControlFile(), requests == 0) << requests;
    }
    ASSERT_OK(Restore(true));
    ExpectSameTree(expected, Restored());
  }
}

// --- What is refused
// ------------------------------------------------------------------------------

// The cluster that is there may be all there is.
TEST_F(DeltaTest, WithoutAWholeBackupNothingIsChanged) {
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
  const auto restored = Restore(true);
  EXPECT_ERROR(restored, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(restored.error().message, HasSubstr("not a data directory"));
  EXPECT_EQ(ReadText(In("letters/1")), "dear");
}

TEST_F(DeltaTest, ADirectoryInWhichAServerRunsIsRefused) {
  ASSERT_OK(Restore(false));
  WriteText(In("postmaster.pid"), fmt::format("{}\n/data\n", getpid()));
  const auto restored = Restore(true);
  EXPECT_ERROR(restored, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(restored.error().message, HasSubstr(std::to_string(getpid())));
  EXPECT_TRUE(fixture_.HasControlFile());
  // No process has such a number.
  WriteText(In("postmaster.pid"), "2147483646\n/data\n");
  ASSERT_OK(Restore(true));
  EXPECT_FALSE(std::filesystem::exists(In("postmaster.pid")));
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

// --- Diffs
// ----------------------------------------------------------------------------------------

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

}  // namespace
}  // namespace veza
