#include "core/restore/restore.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "core/restore/test_restore.h"
#include "core/timeline/story.h"

namespace veza {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

using Operation = FaultStore::Operation;

class RestoreTest : public testing::TestWithParam<Cipher> {
 protected:
  // One of everything that a data directory may contain.
  void FillSource() {
    const SourceTree& source = fixture_.source;
    source.File("empty", {});
    source.File("base/5/one-extent", NoiseBytes(1U << 20));
    source.File("base/5/three-extents", NoiseBytes(3U << 20));
    source.File("base/5/and-a-byte", NoiseBytes((2U << 20) + 1));
    source.File("base/5/text", Bytes(700'000, 'x'));
    Bytes holes = NoiseBytes(4U << 20);
    std::fill(holes.begin(), holes.begin() + (1 << 20), std::uint8_t{0});
    std::fill(holes.begin() + (2 << 20), holes.begin() + (3 << 20), std::uint8_t{0});
    source.File("base/5/holes", holes);
    source.File("base/5/zeros", Bytes((2U << 20) + 8192));
    source.File("base/5/one-hole", Bytes(8192));
    source.File("odd \xff\n name", NoiseBytes(100), 0640, 1);
    source.File("\xc3\xa9", NoiseBytes(100), 0444, 2'000'000'000);
    source.File("read-only-and-long", NoiseBytes(3U << 20), 0400);
    source.File("nobody", NoiseBytes(100), 0);
    source.File("executable", NoiseBytes(100), 0755);
    source.Directory("empty directory", 0750);
    source.Directory("a/b/c/d");
    source.Directory("sticky", 01777);
    source.File("read-only directory/file", NoiseBytes(100));
    source.Directory("read-only directory", 0500);
  }

  RestoreFixture fixture_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Ciphers, RestoreTest, testing::ValuesIn(kAllCiphers), CipherTestName);

TEST_P(RestoreTest, RestoresWhatWasBackedUp) {
  FillSource();
  const auto summary = fixture_.Backup();
  ASSERT_OK(summary);
  const auto plan = PlanRestore(*fixture_.repository, fixture_.Options());
  ASSERT_OK(plan);
  RestoreProgress progress;
  const auto report = ExecuteRestore(*fixture_.repository, *plan, progress);
  ASSERT_OK(report);
  fixture_.ExpectRestored();
  EXPECT_EQ(report->files, summary->files);
  EXPECT_EQ(report->bytes, summary->size);
  EXPECT_EQ(report->bytes_fetched, summary->stored_size);
  EXPECT_EQ(progress.bytes_total, summary->size);
  EXPECT_EQ(progress.bytes_done, summary->size);
  EXPECT_EQ(progress.files_done, summary->files);
  EXPECT_TRUE(progress.syncing);
}

TEST_P(RestoreTest, RestoresTablespacesToTheirMappedLocations) {
  SourceTree& source = fixture_.source;
  source.Tablespace(16384, source.Beside("fast"));
  source.Tablespace(16385, source.Beside("slow\\ \n"));
  const std::string inner = std::string("/") + kTestVersionDirectory + "/5/100";
  WriteBytes(source.Beside("fast") + inner, NoiseBytes(3'000'000, 1));
  WriteBytes(source.Beside("slow\\ \n") + inner, NoiseBytes(20'000, 2));
  chmod(source.Beside("fast").c_str(), 0750);
  source.File(std::string("pg_tblspc/16400") + inner, NoiseBytes(20'000, 3));  // in place
  source.File("tablespace_map", AsBytes("16384 /old\n"));
  ASSERT_OK(fixture_.Backup());
  std::filesystem::remove(source.In("tablespace_map"));

  RestoreOptions options = fixture_.Options();
  options.tablespace_map[source.Beside("fast")] = source.Beside("deep/new\\fast/");
  options.tablespace_map[source.Beside("slow\\ \n")] = source.Beside("new slow");
  ASSERT_OK(fixture_.Restore(options));

  const std::string fast = source.Beside("deep/new\\fast");
  EXPECT_EQ(std::filesystem::read_symlink(fixture_.Target() + "/pg_tblspc/16384"), fast);
  EXPECT_EQ(std::filesystem::read_symlink(fixture_.Target() + "/pg_tblspc/16385"),
            source.Beside("new slow"));
  ExpectSameTree(AsRestored(ReadTree(source.Beside("fast"))), ReadTree(fast));
  ExpectSameTree(AsRestored(ReadTree(source.Beside("slow\\ \n"))),
                 ReadTree(source.Beside("new slow")));
  EXPECT_TRUE(ReadText(fixture_.Target() + "/pg_tblspc/16400" + inner) ==
              ReadText(source.In("pg_tblspc/16400" + inner)));
  // Recovery links them again by this file, in which LF and backslash are escaped.
  EXPECT_EQ(ReadText(fixture_.Target() + "/tablespace_map"),
            fmt::format("16384 {}\n16385 {}\n", source.Beside("deep/new\\\\fast"),
                        source.Beside("new slow")));
}

TEST_P(RestoreTest, TheIndependentReaderRestoresTheSame) {
  if (!RestoreFixture::HasSecondReader()) {
    GTEST_SKIP() << "python3-zstandard or python3-cryptography is not installed";
  }
  FillSource();
  SourceTree& source = fixture_.source;
  source.Tablespace(16384, source.Beside("fast"));
  WriteBytes(source.Beside("fast") + "/" + kTestVersionDirectory + "/5/100", NoiseBytes(20'000));
  ASSERT_OK(fixture_.Backup());

  ASSERT_EQ(fixture_.RunSecondReader("verify"), 0) << fixture_.SecondReadersLog();
  const std::string theirs = source.Beside("theirs");
  ASSERT_EQ(fixture_.RunSecondReader(fmt::format("restore {} '{}' --tablespace '16384={}'",
                                                 kTestLabel, theirs, source.Beside("their fast"))),
            0)
      << fixture_.SecondReadersLog();

  RestoreOptions options = fixture_.Options();
  options.tablespace_map[source.Beside("fast")] = source.Beside("our fast");
  ASSERT_OK(fixture_.Restore(options));
  std::map<std::string, TreeItem> their_tree = ReadTree(theirs);
  std::map<std::string, TreeItem> our_tree = ReadTree(fixture_.Target());
  // The reader restores the files only. Our restore can be started.
  for (const char* path : {"recovery.signal", "postgresql.auto.conf", "tablespace_map",
                           "pg_tblspc/16384", "veza-directory", kRecoverySettingsFile}) {
    their_tree.erase(path);
    our_tree.erase(path);
  }
  ExpectSameTree(AsRestored(their_tree), our_tree);
  ExpectSameTree(AsRestored(ReadTree(source.Beside("their fast"))),
                 ReadTree(source.Beside("our fast")));
}

// --- The settings of a restored server -----------------------------------------------------------

class RestoredServerTest : public testing::Test {
 protected:
  std::string AutoConf() const { return ReadText(fixture_.Target() + "/postgresql.auto.conf"); }
  bool Has(const std::string& name) const {
    return std::filesystem::exists(fixture_.Target() + "/" + name);
  }

  // Puts WAL with a restore point behind the backup in the place of the zeros.
  void HaveRestorePoint(const std::string& name) const {
    Story story(3);
    story.NextSegment();
    while (story.position() < kTestStopLsn) {
      story.Say();
    }
    story.RestorePoint(name, 1);
    for (const SegmentNumber segment : {3, 4}) {
      std::filesystem::remove(
          fixture_.repository.PathOf(WalObjectName(kTestSystem, story.Name(segment)).value()));
    }
    story.Archive(fixture_.repository);
  }

  RestoreFixture fixture_{Cipher::kNone};
};

TEST_F(RestoredServerTest, KeepsItsSettingsAndGetsNewOnes) {
  fixture_.source.File("postgresql.auto.conf",
                       AsBytes("work_mem = '64MB'\nrestore_command = 'old'\n"
                               "recovery_target_name = 'old'\n"));
  ASSERT_OK(fixture_.Backup());
  HaveRestorePoint("before");
  RestoreOptions options = fixture_.Options();
  options.target.kind = TargetKind::kName;
  options.target.name = "before";
  ASSERT_OK(fixture_.Restore(options));
  EXPECT_THAT(AutoConf(), AllOf(HasSubstr("work_mem = '64MB'"), Not(HasSubstr("old")),
                                HasSubstr("restore_command = '/bin/false %f %p --end-at-gap'"),
                                HasSubstr("recovery_target_name = 'before'"),
                                HasSubstr("archive_mode = 'off'")));
  EXPECT_TRUE(Has("recovery.signal"));
  EXPECT_FALSE(Has("standby.signal"));
  struct stat info {};
  ASSERT_EQ(stat((fixture_.Target() + "/postgresql.auto.conf").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0600U);
}

TEST_F(RestoredServerTest, WithoutSettingsOfItsOwnItGetsTheFile) {
  std::filesystem::remove(fixture_.source.In("postgresql.auto.conf"));
  ASSERT_OK(fixture_.Backup());
  RestoreOptions options = fixture_.Options();
  options.standby = true;
  options.preserve_archive_mode = true;
  ASSERT_OK(fixture_.Restore(options));
  EXPECT_THAT(AutoConf(), AllOf(HasSubstr("restore_command"), Not(HasSubstr("archive_mode"))));
  EXPECT_TRUE(Has("standby.signal"));
  EXPECT_FALSE(Has("recovery.signal"));
}

// In PostgreSQL standby.signal wins (readRecoverySignalFile), so a restored primary would follow
// another server.
TEST_F(RestoredServerTest, ABackupOfAStandbyIsNoStandby) {
  fixture_.source.File("standby.signal", {});
  ASSERT_OK(fixture_.Backup());
  ASSERT_OK(fixture_.Restore());
  EXPECT_TRUE(Has("recovery.signal"));
  EXPECT_FALSE(Has("standby.signal"));
}

TEST_F(RestoredServerTest, AStandbyOfAnUnfinishedRecoveryIsOne) {
  fixture_.source.File("recovery.signal", {});
  ASSERT_OK(fixture_.Backup());
  RestoreOptions options = fixture_.Options();
  options.standby = true;
  ASSERT_OK(fixture_.Restore(options));
  EXPECT_FALSE(Has("recovery.signal"));
  EXPECT_TRUE(Has("standby.signal"));
}

TEST_F(RestoredServerTest, AnEmptyTargetKeepsNothingButItsPlace) {
  ASSERT_OK(fixture_.Backup());
  std::filesystem::create_directories(fixture_.Target());
  chmod(fixture_.Target().c_str(), 0755);
  RestoreOptions options = fixture_.Options();
  options.target_directory += "///";
  ASSERT_OK(fixture_.Restore(options));
  fixture_.ExpectRestored();
}

// A restore runs as the server's user. That user may not write to files that their owner may not
// write to.
TEST_F(RestoredServerTest, NeedsNoPowersOfRoot) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can become somebody else";
  }
  fixture_.source.File("read-only-and-long", NoiseBytes(3U << 20), 0400);
  fixture_.source.File("read-only directory/file", NoiseBytes(100), 0400);
  fixture_.source.File("read-only directory/inner/file", NoiseBytes(100), 0);
  fixture_.source.Directory("read-only directory/inner", 0500);
  fixture_.source.Directory("read-only directory", 0500);
  ASSERT_OK(fixture_.Backup());
  const std::string home = fixture_.source.Beside("home");
  std::filesystem::create_directories(home);
  ASSERT_EQ(chown(home.c_str(), 65534, 65534), 0);
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(fixture_.repository.Scratch(""))) {
    ASSERT_EQ(chown(entry.path().c_str(), 65534, 65534), 0);
  }
  RestoreOptions options = fixture_.Options();
  options.target_directory = home + "/restored";
  ASSERT_EQ(seteuid(65534), 0);
  const auto restored = fixture_.Restore(options);
  ASSERT_EQ(seteuid(0), 0);
  ASSERT_OK(restored);
  std::filesystem::rename(options.target_directory, fixture_.Target());
  fixture_.ExpectRestored();
}

TEST_F(RestoredServerTest, RestoresFiveThousandSmallFiles) {
  for (int i = 0; i < 5'000; ++i) {
    fixture_.source.File(
        fmt::format("base/5/{}", 10'000 + i),
        NoiseBytes(static_cast<std::size_t>(i % 50) * 100, static_cast<std::uint64_t>(i)));
  }
  const auto summary = fixture_.Backup();
  ASSERT_OK(summary);
  EXPECT_LE(summary->packs, 2U);
  ASSERT_OK(fixture_.Restore());
  fixture_.ExpectRestored();
}

// --- Stopping ------------------------------------------------------------------------------------

TEST_F(RestoredServerTest, CancellingEndsItWithinASecondAndLeavesNoControlFile) {
  fixture_.source.File("base/5/large", NoiseBytes(60U << 20));
  ASSERT_OK(fixture_.Backup());
  Cancellation& cancellation = fixture_.repository.cancellation();
  std::atomic<int> fetches{0};
  fixture_.repository.store().SetHook([&](Operation operation, std::string_view name) -> Status {
    if (operation == Operation::kGet && name.find("/pack/") != name.npos && ++fetches > 1) {
      SystemClock().Sleep(std::chrono::seconds(30), &cancellation);
      return cancellation.Check();
    }
    return Ok();
  });
  std::chrono::steady_clock::time_point cancelled;
  std::thread canceller([&] {
    while (fetches < 2) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    cancelled = std::chrono::steady_clock::now();
    cancellation.Cancel();
  });
  const auto restored = fixture_.Restore();
  const auto ended = std::chrono::steady_clock::now();
  canceller.join();
  EXPECT_ERROR(restored, ErrorCode::kCancelled);
  EXPECT_LT(ended - cancelled, std::chrono::seconds(1));
  EXPECT_FALSE(fixture_.HasControlFile());
  EXPECT_TRUE(Has("PG_VERSION") || Has("base"));
}

// A server can start only with a control file. It gets its name after everything else is durable.
TEST_F(RestoredServerTest, AnInterruptedRestoreHasNoControlFile) {
  fixture_.source.File("base/5/large", NoiseBytes(40U << 20));
  const auto summary = fixture_.Backup();
  ASSERT_OK(summary);
  ASSERT_GE(summary->packs, 3U);
  for (std::uint64_t bad = 1; bad <= summary->packs; ++bad) {
    const std::string name = PackName(kTestLabel, static_cast<std::uint32_t>(bad));
    fixture_.repository.store().SetHook([&](Operation operation, std::string_view asked) -> Status {
      if (operation == Operation::kGet && asked == name) {
        return MakeError(ErrorCode::kUnavailable, "connection lost");
      }
      return Ok();
    });
    const auto restored = fixture_.Restore();
    EXPECT_ERROR(restored, ErrorCode::kUnavailable);
    EXPECT_FALSE(fixture_.HasControlFile()) << bad;
    EXPECT_FALSE(Has("recovery.signal"));
    std::filesystem::remove_all(fixture_.Target());
  }
}

TEST_F(RestoredServerTest, TheCallbackRunsBeforeAServerCanBeStarted) {
  ASSERT_OK(fixture_.Backup());
  const auto plan = PlanRestore(*fixture_.repository, fixture_.Options());
  ASSERT_OK(plan);
  RestoreProgress progress;
  int calls = 0;
  ASSERT_OK(ExecuteRestore(*fixture_.repository, *plan, progress, [&] {
    ++calls;
    EXPECT_FALSE(fixture_.HasControlFile());
    EXPECT_TRUE(Has("postgresql.auto.conf"));
    return Ok();
  }));
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(fixture_.HasControlFile());
}

TEST_F(RestoredServerTest, ARemovalDuringTheCallbackIsNoticed) {
  ASSERT_OK(fixture_.Backup());
  const auto plan = PlanRestore(*fixture_.repository, fixture_.Options());
  ASSERT_OK(plan);
  RestoreProgress progress;
  EXPECT_ERROR(
      ExecuteRestore(
          *fixture_.repository, *plan, progress,
          [&] { return fixture_.repository->store().Delete(BackupDocumentName(kTestLabel)); }),
      ErrorCode::kDataCorrupted);
  EXPECT_FALSE(fixture_.HasControlFile());
}

TEST_F(RestoredServerTest, AnErrorOfTheCallbackEndsTheRestore) {
  ASSERT_OK(fixture_.Backup());
  const auto plan = PlanRestore(*fixture_.repository, fixture_.Options());
  ASSERT_OK(plan);
  RestoreProgress progress;
  EXPECT_ERROR(
      ExecuteRestore(*fixture_.repository, *plan, progress,
                     []() -> Status { return MakeError(ErrorCode::kCancelled, "enough"); }),
      ErrorCode::kCancelled);
  EXPECT_FALSE(fixture_.HasControlFile());
}

TEST_F(RestoredServerTest, AForeignFileInTheWayIsAnError) {
  ASSERT_OK(fixture_.Backup());
  std::filesystem::create_directory(fixture_.Target());
  const auto plan = PlanRestore(*fixture_.repository, fixture_.Options());
  ASSERT_OK(plan);
  // Created after the plan was made.
  WriteText(fixture_.Target() + "/PG_VERSION", "mine");
  RestoreProgress progress;
  const auto restored = ExecuteRestore(*fixture_.repository, *plan, progress);
  ASSERT_FALSE(restored);
  EXPECT_THAT(restored.error().message, HasSubstr("PG_VERSION"));
  EXPECT_EQ(ReadText(fixture_.Target() + "/PG_VERSION"), "mine");
  EXPECT_FALSE(fixture_.HasControlFile());
}

}  // namespace
}  // namespace veza
