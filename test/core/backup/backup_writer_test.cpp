#include "core/backup/backup_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <thread>

#include "core/memory_gauge.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/manifest.h"
#include "core/repository/test_backup.h"

namespace veza {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

using Operation = FaultStore::Operation;

// Holds the uploads of packs until it is opened, so that a test can act in the middle of a backup.
class PackGate {
 public:
  explicit PackGate(FaultStore& store) {
    store.SetHook([this](Operation operation, std::string_view name) -> Status {
      if (operation == Operation::kPut && name.find("/pack/") != name.npos) {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return open_; });
      }
      return Ok();
    });
  }
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = false;
};

class BackupWriterTest : public testing::Test {
 protected:
  BackupWriterOptions Options() { return TestBackupOptions(source_, sentences_); }
  Result<BackupSummary> Backup() { return MakeBackup(repository_, Options()); }

  struct Manifest {
    std::vector<std::string> directories;
    std::map<std::string, FileRecord> files;
    std::map<std::uint32_t, PackRecord> packs;
    std::vector<Tablespace> tablespaces;
  };
  Manifest ReadWhole(const BackupSummary& summary) {
    Manifest manifest;
    EXPECT_OK(ReadManifest(*repository_, summary, [&](ManifestRecord&& record) {
      if (const auto* directory = std::get_if<DirectoryRecord>(&record)) {
        manifest.directories.push_back(directory->path);
      } else if (auto* file = std::get_if<FileRecord>(&record)) {
        manifest.files[file->path] = std::move(*file);
      } else if (const auto* pack = std::get_if<PackRecord>(&record)) {
        manifest.packs[pack->number] = *pack;
      } else {
        manifest.tablespaces.push_back(std::get<Tablespace>(record));
      }
      return Ok();
    }));
    return manifest;
  }
  // Makes a backup in which `change` runs while file "bbb" is open and not yet read: "bbb" waits
  // behind all of "aaa", which the store does not take yet. The walk warns of a special file, in
  // the order of the names, so `change` runs between two files of the same directory.
  Result<BackupSummary> BackupWithChange(ByteView content, const std::function<void()>& change) {
    // More than all packs that may exist at a time can hold, so that readers wait for the store.
    source_.File("aaa", NoiseBytes(40U << 20));
    source_.File("bbb", Bytes(content.begin(), content.end()));
    EXPECT_EQ(mkfifo(source_.In("ccc").c_str(), 0600), 0);
    PackGate gate(repository_.store());
    BackupWriterOptions options = Options();
    options.uploads = 1;
    options.warn = [&](const std::string& sentence) {
      sentences_.Put(sentence);
      change();
      gate.Open();
    };
    return MakeBackup(repository_, options);
  }

  TestRepository repository_{Cipher::kNone};
  SourceTree source_;
  Sentences sentences_;
};

TEST_F(BackupWriterTest, DescribesWhatItStored) {
  source_.File("base/5/100", NoiseBytes(3 << 20));
  source_.File("base/5/200", {});
  source_.File("mine", NoiseBytes(5'000), 0640, 1'000'000'000);
  Bytes with_hole = NoiseBytes(3 << 20);
  std::fill(with_hole.begin() + (1 << 20), with_hole.begin() + (2 << 20), std::uint8_t{0});
  source_.File("hole", with_hole);
  source_.File("zero", Bytes(1'500'000));
  BackupWriterOptions options = Options();
  options.verify_checksums = false;
  BackupProgress progress;
  const auto summary = MakeBackup(repository_, options, progress);
  ASSERT_OK(summary);
  EXPECT_THAT(sentences_.Take(), IsEmpty());

  const Manifest manifest = ReadWhole(*summary);
  EXPECT_THAT(manifest.directories, ElementsAre("", "base", "base/5", "global", "pg_tblspc",
                                                "pg_wal", "pg_wal/archive_status"));
  EXPECT_THAT(manifest.files, SizeIs(9));
  EXPECT_EQ(manifest.files.at("mine").mode, 0640U);
  EXPECT_EQ(manifest.files.at("mine").mtime, 1'000'000'000);
  EXPECT_THAT(manifest.files.at("mine").extents, SizeIs(1));
  EXPECT_THAT(manifest.files.at("base/5/200").extents, IsEmpty());
  EXPECT_THAT(manifest.files.at("base/5/100").extents, SizeIs(3));
  ASSERT_THAT(manifest.files.at("hole").extents, SizeIs(3));
  EXPECT_EQ(manifest.files.at("hole").extents[1].pack, 0U);
  EXPECT_NE(manifest.files.at("hole").extents[2].pack, 0U);
  ASSERT_THAT(manifest.files.at("zero").extents, SizeIs(2));
  EXPECT_EQ(manifest.files.at("zero").extents[0].pack, 0U);
  EXPECT_EQ(manifest.files.at("zero").extents[1].pack, 0U);
  EXPECT_EQ(manifest.files.at("zero").extents[1].length, 1'500'000U - (1U << 20));

  std::uint64_t size = 0;
  for (const auto& [path, file] : manifest.files) {
    size += file.size;
  }
  std::uint64_t stored = summary->manifest_size;
  for (const auto& [number, pack] : manifest.packs) {
    EXPECT_EQ(std::filesystem::file_size(repository_.PathOf(PackName(kTestLabel, number))),
              pack.size);
    stored += pack.size;
  }
  EXPECT_EQ(summary->size, size);
  EXPECT_EQ(summary->stored_size, stored);
  EXPECT_EQ(summary->files, manifest.files.size());
  EXPECT_EQ(summary->packs, manifest.packs.size());
  EXPECT_EQ(summary->manifest_size,
            std::filesystem::file_size(repository_.PathOf(ManifestName(kTestLabel))));
  EXPECT_EQ(progress.bytes_done, size);
  EXPECT_EQ(progress.files_done, manifest.files.size());
  EXPECT_EQ(progress.bytes_stored, stored);

  const auto read = ReadBackup(*repository_, kTestLabel);
  ASSERT_OK(read);
  EXPECT_EQ(read->manifest_sha256, summary->manifest_sha256);
}

TEST_F(BackupWriterTest, ABackupExistsOnlyAfterCommit) {
  BackupProgress progress;
  BackupWriter writer(*repository_, Options(), progress);
  ASSERT_OK(writer.CopyDataDirectory());
  BackupSummary summary = TestSummary(*repository_, kTestLabel);
  ASSERT_OK(writer.AddFile("global/pg_control", 0600, SourceTree::ControlFile()));
  ASSERT_OK(writer.FinishPacks(summary));
  EXPECT_TRUE(repository_.Exists(PackName(kTestLabel, 1)));
  EXPECT_FALSE(repository_.Exists(ManifestName(kTestLabel)));
  EXPECT_THAT(ReadBackupCatalog(*repository_)->backups, IsEmpty());

  // The summary comes last: without it the manifest is not a backup.
  repository_.store().SetHook([](Operation operation, std::string_view name) -> Status {
    if (operation == Operation::kPut && name.ends_with("backup.json")) {
      return MakeError(ErrorCode::kUnavailable, "the store is away");
    }
    return Ok();
  });
  EXPECT_ERROR(writer.Commit(summary, Ok), ErrorCode::kUnavailable);
  EXPECT_TRUE(repository_.Exists(ManifestName(kTestLabel)));
  EXPECT_THAT(ReadBackupCatalog(*repository_)->backups, IsEmpty());
  EXPECT_THAT(ReadBackupCatalog(*repository_)->unfinished, SizeIs(1));

  // There is also no backup when nobody could read it.
  repository_.store().SetHook(nullptr);
  const std::string identity = repository_.PathOf(IdentityName(kTestSystem));
  const std::string text = ReadText(identity);
  std::filesystem::remove(identity);
  EXPECT_ERROR(writer.Commit(summary, Ok), ErrorCode::kFailedPrecondition);
  EXPECT_FALSE(repository_.Exists(BackupDocumentName(kTestLabel)));
  WriteText(identity, text);
  // The guard is asked last.
  const auto lost = [&] {
    std::filesystem::remove(identity);
    return Status(MakeError(ErrorCode::kInternal, "the lock is lost"));
  };
  EXPECT_ERROR(writer.Commit(summary, lost), ErrorCode::kInternal);
  EXPECT_FALSE(repository_.Exists(BackupDocumentName(kTestLabel)));
  WriteText(identity, text);
  EXPECT_OK(writer.Commit(summary, Ok));
}

TEST_F(BackupWriterTest, AUsedLabelIsRefused) {
  EXPECT_OK(BackupWriter::RequireUnusedLabel(*repository_, kTestLabel));
  WriteText(repository_.PathOf(PackName(kTestLabel, 1)), "remains");
  EXPECT_ERROR(BackupWriter::RequireUnusedLabel(*repository_, kTestLabel),
               ErrorCode::kAlreadyExists);
  // One label may be the beginning of another.
  EXPECT_OK(BackupWriter::RequireUnusedLabel(
      *repository_, DiffLabel(kTestLabel, kTestTime + std::chrono::hours(1))));
  repository_.store().SetHook([](Operation, std::string_view) -> Status {
    return MakeError(ErrorCode::kUnavailable, "the store is away");
  });
  EXPECT_ERROR(BackupWriter::RequireUnusedLabel(*repository_, kTestLabel), ErrorCode::kUnavailable);
}

TEST_F(BackupWriterTest, WhatIsBehindLinksIsInTheBackup) {
  const Bytes relation = NoiseBytes(3 << 20);
  std::filesystem::create_directories(source_.Beside("ssd/6"));
  WriteBytes(source_.Beside("ssd/6/100"), relation);
  WriteText(source_.Beside("key"), "secret");
  ASSERT_EQ(chmod(source_.Beside("key").c_str(), 0640), 0);
  ASSERT_EQ(symlink("../../ssd/6", source_.In("base/6").c_str()), 0);
  ASSERT_EQ(symlink("../key", source_.In("server.key").c_str()), 0);
  ASSERT_EQ(mkfifo(source_.In("fifo").c_str(), 0600), 0);
  BackupWriterOptions options = Options();
  options.verify_checksums = false;
  const auto summary = MakeBackup(repository_, options);
  ASSERT_OK(summary);
  const Manifest manifest = ReadWhole(*summary);
  EXPECT_THAT(manifest.directories, Contains("base/6"));
  ASSERT_THAT(manifest.files.at("base/6/100").extents, SizeIs(3));
  EXPECT_EQ(
      manifest.files.at("base/6/100").extents[1].digest,
      DigestExtent(ByteView(relation).subspan(1U << 20, 1U << 20), DigestMethod::kSha256, nullptr));
  EXPECT_EQ(manifest.files.at("server.key").mode, 0640U);
  const auto read = ReadBackup(*repository_, kTestLabel);
  ASSERT_OK(read);
  EXPECT_THAT(read->notes.links, ElementsAre(FollowedLink{"base/6", "../../ssd/6"},
                                             FollowedLink{"server.key", "../key"}));
  EXPECT_THAT(read->notes.skipped, ElementsAre(SkippedItem{"fifo", "a FIFO"}));
  EXPECT_THAT(sentences_.Take(), ElementsAre(HasSubstr("fifo")));
}

// The server may read it by its group. The restored file will belong to the server's account.
TEST_F(BackupWriterTest, AForeignFileBehindALinkComesBackForTheServerAlone) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can give a file away";
  }
  WriteText(source_.Beside("key"), "secret");
  ASSERT_EQ(chmod(source_.Beside("key").c_str(), 0640), 0);
  ASSERT_EQ(chown(source_.Beside("key").c_str(), 65534, 65534), 0);
  ASSERT_EQ(symlink("../key", source_.In("server.key").c_str()), 0);
  const auto summary = Backup();
  ASSERT_OK(summary);
  EXPECT_EQ(ReadWhole(*summary).files.at("server.key").mode, 0600U);
}

// --- Files that change under the backup ----------------------------------------------------------

TEST_F(BackupWriterTest, AFileThatShrinksIsFilledWithZeros) {
  const Bytes content = NoiseBytes(3 << 20);
  constexpr std::size_t kLeft = (1U << 20) + 1000;
  const auto summary =
      BackupWithChange(content, [&] { EXPECT_EQ(truncate(source_.In("bbb").c_str(), kLeft), 0); });
  ASSERT_OK(summary);
  EXPECT_THAT(sentences_.Take(), ElementsAre(HasSubstr("ccc")));
  const FileRecord file = ReadWhole(*summary).files.at("bbb");
  EXPECT_EQ(file.size, content.size());
  ASSERT_THAT(file.extents, SizeIs(3));
  Bytes padded(content.begin(), content.begin() + kLeft);
  padded.resize(2U << 20);
  const ByteView second = ByteView(padded).subspan(1U << 20);
  EXPECT_EQ(file.extents[0].digest,
            DigestExtent(ByteView(content).first(1U << 20), DigestMethod::kSha256, nullptr));
  EXPECT_EQ(file.extents[1].digest, DigestExtent(second, DigestMethod::kSha256, nullptr));
  EXPECT_EQ(file.extents[2].pack, 0U);
}

TEST_F(BackupWriterTest, OfAFileThatGrowsOnlyTheFirstSizeIsRead) {
  const auto summary = BackupWithChange(NoiseBytes(5000),
                                        [&] { WriteBytes(source_.In("bbb"), NoiseBytes(50'000)); });
  ASSERT_OK(summary);
  const FileRecord file = ReadWhole(*summary).files.at("bbb");
  EXPECT_EQ(file.size, 5000U);
  ASSERT_THAT(file.extents, SizeIs(1));
  EXPECT_EQ(file.extents[0].digest, DigestExtent(NoiseBytes(5000), DigestMethod::kSha256, nullptr));
}

TEST_F(BackupWriterTest, AFileThatIsRemovedBeforeItsTurnIsLeftOut) {
  ASSERT_EQ(mkfifo(source_.In("bbb").c_str(), 0600), 0);
  source_.File("ccc", NoiseBytes(5000));
  source_.File("ddd", NoiseBytes(5000));
  BackupWriterOptions options = Options();
  options.warn = [&](const std::string&) { std::filesystem::remove(source_.In("ccc")); };
  const auto summary = MakeBackup(repository_, options);
  ASSERT_OK(summary);
  const Manifest manifest = ReadWhole(*summary);
  EXPECT_FALSE(manifest.files.contains("ccc"));
  EXPECT_TRUE(manifest.files.contains("ddd"));
  EXPECT_EQ(summary->files, manifest.files.size());
}

// The file is open already, so its bytes are still there.
TEST_F(BackupWriterTest, AFileThatIsRemovedWhileItIsCopiedIsKept) {
  const auto summary =
      BackupWithChange(NoiseBytes(5000), [&] { std::filesystem::remove(source_.In("bbb")); });
  ASSERT_OK(summary);
  EXPECT_EQ(ReadWhole(*summary).files.at("bbb").extents.at(0).digest,
            DigestExtent(NoiseBytes(5000), DigestMethod::kSha256, nullptr));
}

TEST_F(BackupWriterTest, AFileThatCannotBeReadIsAnError) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can become somebody else";
  }
  TestRepository repository;
  source_.File("base/5/100", NoiseBytes(5000), 0);
  for (const auto& entry : std::filesystem::recursive_directory_iterator(source_.Beside(""))) {
    ASSERT_EQ(lchown(entry.path().c_str(), 65534, 65534), 0);
  }
  ASSERT_EQ(chown(source_.In("base/5/100").c_str(), 0, 0), 0);
  ASSERT_EQ(chown(source_.path().c_str(), 65534, 65534), 0);
  BackupProgress progress;
  BackupWriter writer(*repository, Options(), progress);
  ASSERT_EQ(seteuid(65534), 0);
  const Status copied = writer.CopyDataDirectory();
  ASSERT_EQ(seteuid(0), 0);
  EXPECT_ERROR(copied, ErrorCode::kPermissionDenied);
  EXPECT_THAT(copied.error().message, HasSubstr(source_.In("base/5/100")));
  BackupSummary summary = TestSummary(*repository, kTestLabel);
  EXPECT_ERROR(writer.FinishPacks(summary), ErrorCode::kPermissionDenied);
}

// --- Checksums -----------------------------------------------------------------------------------

class BackupChecksumTest : public BackupWriterTest {
 protected:
  // A relation of good pages, but for those in `bad`, which are damaged.
  void Relation(const std::string& path, std::uint32_t first_block, std::uint32_t pages,
                const std::vector<std::uint32_t>& bad, Lsn lsn = Lsn{0x200000}) {
    Bytes content;
    for (std::uint32_t i = 0; i < pages; ++i) {
      Bytes page = TestPage(first_block + i, lsn);
      if (std::find(bad.begin(), bad.end(), i) != bad.end()) {
        page[5000] ^= 1;
      }
      content.insert(content.end(), page.begin(), page.end());
    }
    source_.File(path, content);
  }
  static std::vector<std::string> Pages(const BackupSummary& summary) {
    std::vector<std::string> pages;
    for (const ChecksumFailure& failure : summary.checksum_failure_pages) {
      pages.push_back(fmt::format("{}:{}", failure.path, failure.block));
    }
    return pages;
  }
};

TEST_F(BackupChecksumTest, WrongPagesAreCountedListedAndTold) {
  Relation("base/5/100", 0, 300, {0, 128, 299});
  Relation("base/5/100_fsm", 0, 3, {1});
  Relation("global/1262", 0, 2, {});
  const auto summary = Backup();
  ASSERT_OK(summary);
  EXPECT_EQ(summary->checksum_failures, 4U);
  EXPECT_THAT(Pages(*summary),
              ElementsAre("base/5/100:0", "base/5/100:128", "base/5/100:299", "base/5/100_fsm:1"));
  EXPECT_THAT(sentences_.Take(),
              AllOf(SizeIs(4), Contains(AllOf(HasSubstr("base/5/100\""), HasSubstr("block 128")))));
  // The backup has the pages as they are.
  const auto read = ReadBackup(*repository_, kTestLabel);
  ASSERT_OK(read);
  EXPECT_EQ(read->checksum_failures, 4U);
  EXPECT_THAT(read->checksum_failure_pages, SizeIs(4));
}

// Block numbers count through the segments of a fork.
TEST_F(BackupChecksumTest, SegmentsGoOnCounting) {
  Relation("base/5/100", 0, 4, {});
  Relation("base/5/100.1", 4, 4, {});
  Relation("base/5/100.2", 8, 3, {1});
  BackupWriterOptions options = Options();
  options.segment_blocks = 4;
  const auto summary = MakeBackup(repository_, options);
  ASSERT_OK(summary);
  EXPECT_THAT(Pages(*summary), ElementsAre("base/5/100.2:9"));
}

// WAL replay restores these pages, or they have no checksum yet.
TEST_F(BackupChecksumTest, NewAndRecentPagesAreNotChecked) {
  Relation("base/5/100", 0, 3, {0, 1, 2}, kTestStartLsn);
  Relation("base/5/101", 0, 3, {0, 1, 2}, Lsn{~std::uint64_t{0}});
  Relation("base/5/102", 0, 3, {2}, Lsn{kTestStartLsn.value - 1});
  Bytes new_pages = NoiseBytes(3 * 8192);
  for (std::size_t i = 0; i < 3; ++i) {
    new_pages[i * 8192 + 14] = new_pages[i * 8192 + 15] = 0;  // pd_upper
    std::fill_n(new_pages.begin() + static_cast<long>(i * 8192), 8, std::uint8_t{0});
  }
  source_.File("base/5/103", new_pages);
  source_.File("base/5/104", Bytes(3 * 8192));
  const auto summary = Backup();
  ASSERT_OK(summary);
  EXPECT_THAT(Pages(*summary), ElementsAre("base/5/102:2"));
}

TEST_F(BackupChecksumTest, OtherFilesAreNotPages) {
  source_.File("base/5/pg_filenode.map", NoiseBytes(8192));
  source_.File("mine/100", NoiseBytes(8192));
  source_.File("pg_xact/0000", NoiseBytes(8192));
  Relation("base/5/100", 0, 2, {});
  Bytes with_tail = TestPage(0, Lsn{1});
  with_tail.resize(8192 + 500, 7);  // not a whole page: the relation is being extended
  source_.File("base/5/101", with_tail);
  const auto summary = Backup();
  ASSERT_OK(summary);
  EXPECT_EQ(summary->checksum_failures, 0U);
  EXPECT_THAT(sentences_.Take(), IsEmpty());
}

TEST_F(BackupChecksumTest, WithoutChecksumsNothingIsChecked) {
  Relation("base/5/100", 0, 2, {0, 1});
  BackupWriterOptions options = Options();
  options.verify_checksums = false;
  const auto summary = MakeBackup(repository_, options);
  ASSERT_OK(summary);
  EXPECT_EQ(summary->checksum_failures, 0U);
}

TEST_F(BackupChecksumTest, NoMoreThanAHundredPagesAreListed) {
  std::vector<std::uint32_t> all(150);
  for (std::uint32_t i = 0; i < all.size(); ++i) {
    all[i] = i;
  }
  Relation("base/5/100", 0, 150, all);
  const auto summary = Backup();
  ASSERT_OK(summary);
  EXPECT_EQ(summary->checksum_failures, 150U);
  EXPECT_THAT(summary->checksum_failure_pages, SizeIs(kMaxChecksumFailurePages));
  EXPECT_THAT(sentences_.Take(), SizeIs(kMaxChecksumFailurePages));
}

// A page that was read while the server wrote it is good when it is read again, and that is what
// goes into the backup.
TEST_F(BackupChecksumTest, ATornPageIsReadAgain) {
  Relation("base/5/100", 0, 5, {3});
  int sleeps = 0;
  repository_.clock().on_sleep = [&] {
    if (++sleeps == 2) {
      Relation("base/5/100", 0, 5, {});
    }
  };
  BackupWriterOptions options = Options();
  options.jobs = 1;
  const auto summary = MakeBackup(repository_, options);
  ASSERT_OK(summary);
  EXPECT_EQ(summary->checksum_failures, 0U);
  EXPECT_EQ(sleeps, 2);
  EXPECT_EQ(
      ReadWhole(*summary).files.at("base/5/100").extents.at(0).digest,
      DigestExtent(AsBytes(ReadText(source_.In("base/5/100"))), DigestMethod::kSha256, nullptr));
}

// --- Failures and stopping -----------------------------------------------------------------------

TEST_F(BackupWriterTest, AFailingStoreEndsTheBackup) {
  source_.File("aaa", NoiseBytes(100U << 20));
  repository_.store().SetHook([](Operation operation, std::string_view name) -> Status {
    if (operation == Operation::kPut && name.ends_with("00000003")) {
      return MakeError(ErrorCode::kNoSpace, "no room for \"{}\"", name);
    }
    return Ok();
  });
  const auto summary = Backup();
  EXPECT_ERROR(summary, ErrorCode::kNoSpace);
  EXPECT_FALSE(repository_.Exists(ManifestName(kTestLabel)));
  EXPECT_FALSE(repository_.Exists(BackupDocumentName(kTestLabel)));
  EXPECT_FALSE(repository_.Exists(PackName(kTestLabel, 3)));
}

TEST_F(BackupWriterTest, CancellingEndsItWithinASecond) {
  source_.File("aaa", NoiseBytes(60U << 20));
  for (int i = 0; i < 2000; ++i) {
    source_.File(fmt::format("base/5/{}", i + 1000), Bytes(8192));
  }
  // A store at the speed of a bad network, which gives up when it is told to.
  repository_.store().SetHook([this](Operation operation, std::string_view name) -> Status {
    if (operation == Operation::kPut && name.find("/pack/") != name.npos) {
      SystemClock().Sleep(std::chrono::seconds(30), &repository_.cancellation());
      return repository_.cancellation().Check();
    }
    return Ok();
  });
  std::chrono::steady_clock::time_point cancelled;
  std::thread canceller([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    cancelled = std::chrono::steady_clock::now();
    repository_.cancellation().Cancel();
  });
  const auto summary = Backup();
  const auto ended = std::chrono::steady_clock::now();
  canceller.join();
  EXPECT_ERROR(summary, ErrorCode::kCancelled);
  EXPECT_LT(ended - cancelled, std::chrono::seconds(1));
  repository_.cancellation().Reset();
  EXPECT_FALSE(repository_.Exists(BackupDocumentName(kTestLabel)));
}

TEST_F(BackupWriterTest, MayBeAbandonedAtAnyPoint) {
  source_.File("aaa", NoiseBytes(20U << 20));
  {
    BackupProgress progress;
    const BackupWriter writer(*repository_, Options(), progress);
  }
  {
    BackupProgress progress;
    BackupWriter writer(*repository_, Options(), progress);
    ASSERT_OK(writer.CopyDataDirectory());
  }
  EXPECT_FALSE(repository_.Exists(ManifestName(kTestLabel)));
}

// The secret may have been set after the survey.
TEST_F(BackupWriterTest, ASecretInTheClearIsAnError) {
  source_.File("postgresql.auto.conf",
               AsBytes(std::string_view("veza_backup.s3_secret_key = 'hunter2'\n")));
  BackupWriterOptions options = Options();
  options.secrets = std::make_shared<const SecretScan>(std::vector<SecretString>());
  const auto summary = MakeBackup(repository_, options);
  EXPECT_ERROR(summary, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(summary.error().message, HasSubstr("file \"postgresql.auto.conf\" holds a value of"));
  options.secrets = nullptr;
  EXPECT_OK(MakeBackup(repository_, options));
}

TEST_F(BackupWriterTest, AMissingDataDirectoryIsAnError) {
  BackupWriterOptions options = Options();
  options.walk.data_directory = source_.Beside("absent");
  const auto summary = MakeBackup(repository_, options);
  EXPECT_ERROR(summary, ErrorCode::kNotFound);
  EXPECT_THAT(summary.error().message, HasSubstr("absent"));
}

// --- Tablespaces ---------------------------------------------------------------------------------

TEST_F(BackupWriterTest, TablespacesAreCountedByThemselves) {
  source_.Tablespace(16384, source_.Beside("fast"));
  source_.Tablespace(16385, source_.Beside("odd \xff"));
  source_.Tablespace(16386, source_.Beside("empty"));
  WriteBytes(source_.Beside("fast") + "/" + kTestVersionDirectory + "/5/100", NoiseBytes(20'000));
  WriteBytes(source_.Beside("odd \xff") + "/" + kTestVersionDirectory + "/5/100", Bytes(8192));
  BackupWriterOptions options = Options();
  options.verify_checksums = false;
  ASSERT_OK(MakeBackup(repository_, options));
  const auto summary = ReadBackup(*repository_, kTestLabel);
  ASSERT_OK(summary);
  ASSERT_THAT(summary->tablespaces, SizeIs(3));
  EXPECT_EQ(summary->tablespaces[0].path, source_.Beside("fast"));
  EXPECT_EQ(summary->tablespaces[0].size, 20'000U);
  EXPECT_EQ(summary->tablespaces[1].path, source_.Beside("odd \xff"));
  EXPECT_EQ(summary->tablespaces[1].size, 8192U);
  EXPECT_EQ(summary->tablespaces[2].size, 0U);
  const Manifest manifest = ReadWhole(*summary);
  EXPECT_THAT(manifest.tablespaces, SizeIs(3));
  EXPECT_TRUE(
      manifest.files.contains(fmt::format("pg_tblspc/16384/{}/5/100", kTestVersionDirectory)));
}

// --- Memory --------------------------------------------------------------------------------------

// A store that is slower than the disk must not make the server take more and more memory.
TEST_F(BackupWriterTest, MemoryIsBoundedByThePacksInFlight) {
  source_.File("aaa", NoiseBytes(160U << 20));
  BackupWriterOptions options = Options();
  options.jobs = 2;
  options.uploads = 2;
  repository_.store().SetHook([](Operation operation, std::string_view name) -> Status {
    if (operation == Operation::kPut && name.find("/pack/") != name.npos) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return Ok();
  });
  const MemoryGauge gauge;
  ASSERT_OK(MakeBackup(repository_, options));
  if (MemoryGauge::meaningful()) {
    EXPECT_LT(gauge.grown_bytes(), (3U * 17 + 2U * 8 + 10) << 20);
  }
}

}  // namespace
}  // namespace veza
