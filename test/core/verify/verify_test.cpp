// Verifies repositories that are complete, and repositories that are damaged.
#include "core/verify/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>

#include "core/archive/archive_survey.h"
#include "core/archive/index_builder.h"
#include "core/limits.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/damage_record.h"
#include "core/repository/key_wraps.h"
#include "core/restore/test_restore.h"
#include "core/retention/pins.h"
#include "core/wal_index/index_catalog.h"
#include "core/wal_index/index_object.h"
#include "core/wal_index/test_index.h"

namespace veza {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;
using testing::UnorderedElementsAre;

// A full, a diff that refers to it and has a pack of its own, and some WAL.
class VerifyTest : public testing::TestWithParam<Cipher> {
 protected:
  VerifyTest() {
    fixture_.source.Directory("pg_xact");
    fixture_.source.File("base/5/PG_VERSION", AsBytes("15\n"));
    fixture_.source.File("pg_xact/0000", NoiseBytes(1'500'000));
    fixture_.source.File("pg_xact/0001", Bytes(500'000, 'x'));
    full_ = Unwrap(fixture_.Backup());
    EXPECT_EQ(full_.packs, 1U);
    fixture_.source.File("pg_xact/0002", NoiseBytes(300'000, 7));
    diff_ = Unwrap(fixture_.Diff(full_));
    EXPECT_EQ(diff_.packs, 1U);
  }

  static BackupSummary Unwrap(const Result<BackupSummary>& backup) {
    if (!backup) {
      ADD_FAILURE() << backup.error().message;
      std::abort();
    }
    return *backup;
  }

  Result<VerifyReport> Verify(bool full, std::vector<std::string> labels = {}) {
    VerifyOptions options;
    options.full = full;
    options.labels = std::move(labels);
    options.retention = {.full = retention_full_, .archive = retention_archive_, .window = window_};
    options.jobs = 3;
    VerifyProgress progress;
    auto report = VerifyRepository(*fixture_.repository, options, progress);
    bytes_expected_ = progress.bytes_total;
    return report;
  }

  // Returns "object | backup" for each problem. Checks that each message names the object.
  std::vector<std::string> Problems(bool full, std::vector<std::string> labels = {}) {
    const auto report = Verify(full, std::move(labels));
    EXPECT_OK(report);
    std::vector<std::string> problems;
    for (const VerifyProblem& problem : report->problems) {
      problems.push_back(problem.object + " | " + problem.backup);
      const std::string base = problem.object.substr(problem.object.rfind('/') + 1);
      EXPECT_THAT(problem.message, testing::AnyOf(HasSubstr(base), HasSubstr(problem.backup)));
    }
    EXPECT_EQ(report->problem_count, problems.size());
    EXPECT_EQ(report->passed(), problems.empty());
    for (const VerifiedBackup& backup : report->backups) {
      const bool named = std::ranges::any_of(report->problems, [&](const VerifyProblem& problem) {
        return problem.backup == backup.label;
      });
      EXPECT_EQ(backup.good, !named) << backup.label;
    }
    return problems;
  }

  // Writes the summary of a backup that has no other objects.
  void WriteSummary(const BackupSummary& backup) const {
    WriteText(PathOf(BackupDocumentName(backup.label)),
              SerializeSummary(backup, fixture_.repository->seal_policy()).value());
  }
  BackupSummary FullAt(SegmentNumber number, const std::string& label,
                       std::chrono::hours later) const {
    BackupSummary full = TestSummary(*fixture_.repository, label);
    full.start_lsn = Lsn{number * kTestSegmentSize + 0x28};
    full.stop_lsn = Lsn{number * kTestSegmentSize + 0x500};
    full.start_time += later;
    full.stop_time += later;
    return full;
  }
  std::vector<std::string> ProblemsOfWal() {
    std::vector<std::string> problems = Problems(false);
    std::erase_if(problems,
                  [](const std::string& problem) { return !problem.starts_with("wal/"); });
    return problems;
  }

  std::string PathOf(const std::string& name) const { return fixture_.repository.PathOf(name); }
  std::string Wal(TimelineId timeline, SegmentNumber number) const {
    return WalObjectName(kTestSystem, SegmentName(timeline, number, kTestSegmentSize)).value();
  }
  std::string OfFull(const std::string& object) const { return object + " | " + full_.label; }
  std::string OfDiff(const std::string& object) const { return object + " | " + diff_.label; }

  RestoreFixture fixture_{GetParam()};
  BackupSummary full_;
  BackupSummary diff_;
  int retention_full_ = 0;
  int retention_archive_ = 0;
  std::chrono::seconds window_{0};
  std::uint64_t bytes_expected_ = 0;  // of the last verification
};

INSTANTIATE_TEST_SUITE_P(Ciphers, VerifyTest, testing::Values(Cipher::kNone, Cipher::kAes256Gcm),
                         CipherTestName);

TEST_P(VerifyTest, AnAbsentRepositoryIsNeitherGoodNorDamaged) {
  const std::string root = fixture_.repository.PathOf("");
  const std::string away = fixture_.repository.Scratch("away");
  std::filesystem::rename(root, away);
  const auto is_away = [&](std::vector<std::string> labels) {
    const auto report = Verify(true, std::move(labels));
    ASSERT_FALSE(report.has_value());
    EXPECT_THAT(report.error().message, HasSubstr("can no longer be found"));
  };
  is_away({});
  is_away({full_.label});
  std::filesystem::create_directory(root);  // the mount point still exists
  is_away({});
  std::filesystem::remove(root);
  std::filesystem::rename(away, root);
  EXPECT_TRUE(Verify(true)->passed());
}

TEST_P(VerifyTest, AFormatMarkThatCannotBeUsedIsAProblemOfNoBackup) {
  if (GetParam() == Cipher::kNone) {
    return;  // it has none
  }
  const std::string mark(kFormatMarkName);
  EXPECT_TRUE(fixture_.repository.Exists(mark));
  FlipByte(PathOf(mark), 30);
  EXPECT_THAT(Problems(false), ElementsAre(mark + " | "));
  std::filesystem::remove(PathOf(mark));
  EXPECT_THAT(Problems(false), IsEmpty());
  WriteText(PathOf("format/3"), "{}");
  EXPECT_THAT(Verify(false)->orphans, ElementsAre("format/3"));
}

TEST_P(VerifyTest, ADamagedWrapIsAProblemOfNoBackup) {
  if (GetParam() == Cipher::kNone) {
    return;  // there is none
  }
  const Repository& repository = *fixture_.repository;
  const std::string id = AddPassphrase(repository, "in the safe, and long", "").value().wrap_id;
  const std::string wrap = KeyWrapName(repository.seal_policy().key->hex_id(), id);
  EXPECT_THAT(Problems(false), IsEmpty());
  WriteText(PathOf(wrap), "{}");
  EXPECT_THAT(Problems(false), ElementsAre(wrap + " | "));
}

// Version 0.1 left out databases that were behind a link.
TEST_P(VerifyTest, ADatabaseWithoutFilesIsNamed) {
  fixture_.databases.push_back({16384, "app", 740, 0});
  const BackupSummary diff = Unwrap(fixture_.Diff(full_));
  const auto report = Verify(false);
  ASSERT_OK(report);
  ASSERT_EQ(report->problems.size(), 1U);
  EXPECT_EQ(report->problems[0].backup, diff.label);
  EXPECT_THAT(report->problems[0].message, HasSubstr("no files of database \"app\""));
}

TEST_P(VerifyTest, AWholeRepositoryPasses) {
  for (const bool full : {false, true}) {
    const auto report = Verify(full);
    ASSERT_OK(report);
    EXPECT_TRUE(report->passed());
    EXPECT_EQ(report->bytes_read, bytes_expected_);
    ASSERT_EQ(report->backups.size(), 2U);
    EXPECT_EQ(report->backups[0].label, full_.label);
    EXPECT_EQ(report->backups[1].type, BackupType::kDiff);
    EXPECT_TRUE(report->backups[1].good);
    EXPECT_THAT(report->problems, IsEmpty());
    EXPECT_THAT(report->orphans, IsEmpty());
    EXPECT_GE(report->extents, 5U);
    EXPECT_GT(report->objects, 2U + full_.packs + diff_.packs);
    const std::uint64_t manifests = full_.manifest_size + diff_.manifest_size;
    if (full) {
      EXPECT_GT(report->bytes_read, full_.stored_size + diff_.stored_size);
    } else {
      EXPECT_EQ(report->bytes_read, manifests);
    }
  }
}

// The bytes are as they were stored, but the backup may still be wrong. A verification must say so.
TEST_P(VerifyTest, AnOldDiffOfAClusterWithoutChecksumsIsNamed) {
  diff_.data_checksum_version = 0;
  WriteSummary(diff_);
  EXPECT_THAT(Problems(false), ElementsAre(OfDiff(BackupDocumentName(diff_.label))));
  EXPECT_TRUE(Verify(false).value().backups[1].suspect);
  diff_.changes_by = "digest";
  WriteSummary(diff_);
  EXPECT_THAT(Problems(false), IsEmpty());
}

TEST_P(VerifyTest, AnEmptyRepositoryPasses) {
  std::filesystem::remove_all(PathOf("backup"));
  std::filesystem::remove_all(PathOf("wal"));
  EXPECT_THAT(Problems(false), IsEmpty());
  EXPECT_THAT(Problems(true), IsEmpty());
}

TEST_P(VerifyTest, EverythingIsOpenedOnce) {
  fixture_.source.File("pg_xact/0003", NoiseBytes(20U << 20, 8));
  const BackupSummary larger = Unwrap(fixture_.Diff(full_));
  EXPECT_GE(larger.packs, 2U);
  std::mutex mutex;
  std::map<std::string, int> gets;
  fixture_.repository.store().SetHook(
      [&](FaultStore::Operation operation, std::string_view name) -> Status {
        const std::lock_guard lock(mutex);
        if (operation == FaultStore::Operation::kGet) {
          ++gets[std::string(name)];
        }
        return Ok();
      });
  EXPECT_THAT(Problems(true), IsEmpty());
  fixture_.repository.store().SetHook(nullptr);
  int packs = 0;
  for (const auto& [name, count] : gets) {
    EXPECT_EQ(count, 1) << name;
    packs += name.find("/pack/") != std::string::npos ? 1 : 0;
  }
  EXPECT_EQ(packs, static_cast<int>(full_.packs + diff_.packs + larger.packs));
  EXPECT_TRUE(gets.contains(Wal(1, 3)));
}

TEST_P(VerifyTest, AMissingPackIsNamedWithAllThatNeedIt) {
  const std::string object = PackName(full_.label, 1);
  std::filesystem::remove(PathOf(object));
  for (const bool full : {false, true}) {
    EXPECT_THAT(Problems(full), ElementsAre(OfFull(object), OfDiff(object)));
  }
}

TEST_P(VerifyTest, AMissingPackOfADiffIsAProblemOfTheDiff) {
  const std::string object = PackName(diff_.label, 1);
  std::filesystem::remove(PathOf(object));
  EXPECT_THAT(Problems(false), ElementsAre(OfDiff(object)));
  EXPECT_THAT(Problems(false, {full_.label}), IsEmpty());
  EXPECT_THAT(Problems(false, {diff_.label}), ElementsAre(OfDiff(object)));
}

TEST_P(VerifyTest, ATruncatedPackIsNamed) {
  const std::string object = PackName(full_.label, 1);
  const std::string good = ReadText(PathOf(object));
  WriteText(PathOf(object), good.substr(0, good.size() - 1));
  for (const bool full : {false, true}) {
    EXPECT_THAT(Problems(full), ElementsAre(OfFull(object), OfDiff(object)));
  }
}

TEST_P(VerifyTest, AFlippedByteIsFoundOnlyByOpening) {
  const std::string object = PackName(full_.label, 1);
  const std::size_t size = std::filesystem::file_size(PathOf(object));
  for (const std::size_t offset : {std::size_t{0}, std::size_t{40}, size / 2, size - 1}) {
    FlipByte(PathOf(object), offset);
    EXPECT_THAT(Problems(false), IsEmpty());
    EXPECT_THAT(Problems(true), ElementsAre(OfFull(object), OfDiff(object)));
    FlipByte(PathOf(object), offset);
  }
  FlipByte(PathOf(PackName(diff_.label, 1)), 100'000);
  EXPECT_THAT(Problems(true), ElementsAre(OfDiff(PackName(diff_.label, 1))));
}

// A full verification whose findings are remembered.
class RememberTest : public VerifyTest {
 protected:
  RememberedDamage Remember(std::vector<std::string> labels = {}) {
    const auto report = Verify(true, std::move(labels));
    EXPECT_OK(report);
    RememberedDamage remembered = RememberDamage(*fixture_.repository, *report);
    EXPECT_OK(remembered.status);
    return remembered;
  }
  LostParts Known() const {
    return ReadKnownDamage(*fixture_.repository,
                           ReadBackupCatalog(*fixture_.repository).value().backups)
        .value();
  }
  bool IsKnown(const std::string& label) const {
    return fixture_.repository.Exists(DamageName(label));
  }
  const std::string pack_ = PackName(full_.label, 1);
};
INSTANTIATE_TEST_SUITE_P(Ciphers, RememberTest, testing::Values(Cipher::kNone, Cipher::kAes256Gcm),
                         CipherTestName);

TEST_P(RememberTest, ADamagedPackUntilItIsGoodAgain) {
  EXPECT_THAT(Remember().stored, IsEmpty());
  FlipByte(PathOf(pack_), 40'000);
  const RememberedDamage found = Remember();
  EXPECT_THAT(found.stored, ElementsAre(full_.label));
  EXPECT_THAT(found.removed, IsEmpty());
  EXPECT_FALSE(IsKnown(diff_.label)) << "it is known by its full";
  EXPECT_TRUE(Known().at(full_.label).by == LostPart::By::kRecord);
  EXPECT_THAT(Known().at(full_.label).reason, HasSubstr(pack_));
  EXPECT_THAT(Verify(false)->orphans, IsEmpty());
  if (std::system("test -x /usr/bin/python3") == 0 && GetParam() != Cipher::kNone) {
    EXPECT_EQ(fixture_.RunSecondReader("cat " + DamageName(full_.label)), 0)
        << fixture_.SecondReadersLog();
  }

  const std::string text = ReadText(PathOf(DamageName(full_.label)));
  EXPECT_THAT(Remember().stored, IsEmpty()) << "it is known";
  EXPECT_THAT(Remember({diff_.label}).removed, IsEmpty());
  EXPECT_EQ(ReadText(PathOf(DamageName(full_.label))), text);

  FlipByte(PathOf(ManifestName(full_.label)), 70);
  EXPECT_THAT(Remember().stored, IsEmpty()) << "what it names may still be bad";
  EXPECT_EQ(ReadText(PathOf(DamageName(full_.label))), text);
  std::filesystem::remove(PathOf(DamageName(full_.label)));
  EXPECT_THAT(Remember().stored, ElementsAre(full_.label));
  EXPECT_THAT(Known().at(full_.label).reason, HasSubstr(ManifestName(full_.label)));
  FlipByte(PathOf(ManifestName(full_.label)), 70);
  EXPECT_THAT(Remember().stored, ElementsAre(full_.label)) << "what it names is good again";
  EXPECT_THAT(Known().at(full_.label).reason, HasSubstr(pack_));
  FlipByte(PathOf(pack_), 40'000);
  EXPECT_THAT(Remember().removed, ElementsAre(full_.label));
  EXPECT_FALSE(IsKnown(full_.label));
}

// A listing finds these at any time, and nobody has read them.
TEST_P(RememberTest, NotWhatIsMissingOrOfAnotherSize) {
  FlipByte(PathOf(pack_), 40'000);
  Remember();
  const std::string content = ReadText(PathOf(pack_));
  WriteText(PathOf(pack_), content.substr(0, content.size() - 1));
  EXPECT_THAT(Remember().removed, IsEmpty()) << "it was not read";
  std::filesystem::remove(PathOf(pack_));
  EXPECT_THAT(Remember().removed, IsEmpty());
  std::filesystem::remove(PathOf(DamageName(full_.label)));
  EXPECT_THAT(Remember().stored, IsEmpty());
  EXPECT_FALSE(Verify(true)->passed());
}

TEST_P(RememberTest, NotWhatTheStoreOrItsDiskDidNotGive) {
  for (const ErrorCode code : {ErrorCode::kIo, ErrorCode::kUnavailable}) {
    fixture_.repository.store().SetHook(
        [&](FaultStore::Operation operation, std::string_view name) -> Status {
          return operation == FaultStore::Operation::kGet && name == pack_
                     ? Status(MakeError(code, "no answer of {}", name))
                     : Ok();
        });
    const auto report = Verify(true);
    ASSERT_EQ(report.has_value(), code == ErrorCode::kIo);
    fixture_.repository.store().SetHook(nullptr);
    if (report) {
      EXPECT_FALSE(report->passed());
      EXPECT_THAT(RememberDamage(*fixture_.repository, *report).stored, IsEmpty());
    }
  }
}

// For example a proxy, or a memory module, that is wrong once.
TEST_P(RememberTest, NotWhatIsGoodWhenItIsReadAgain) {
  FlipByte(PathOf(pack_), 40'000);
  int gets = 0;
  fixture_.repository.store().SetHook(
      [&](FaultStore::Operation operation, std::string_view name) -> Status {
        if (operation == FaultStore::Operation::kGet && name == pack_ && ++gets == 2) {
          FlipByte(PathOf(pack_), 40'000);
        }
        return Ok();
      });
  EXPECT_THAT(Remember().stored, IsEmpty());
  EXPECT_EQ(gets, 2);
  fixture_.repository.store().SetHook(nullptr);
}

// Its content was bad twice, but nobody knows whether all of it was read.
TEST_P(RememberTest, NotWhatTheDiskCannotReadToItsEnd) {
  FlipByte(PathOf(pack_), 40'000);
  int gets = 0;
  fixture_.repository.store().SetHook(
      [&](FaultStore::Operation operation, std::string_view name) -> Status {
        return operation == FaultStore::Operation::kGet && name == pack_ && ++gets == 3
                   ? Status(MakeError(ErrorCode::kIo, "could not read {}", name))
                   : Ok();
      });
  EXPECT_THAT(Remember().stored, IsEmpty());
  EXPECT_EQ(gets, 3);
  fixture_.repository.store().SetHook(nullptr);
}

TEST_P(RememberTest, AStoreThatMayNotBeWrittenIsAnErrorOfItsOwn) {
  FlipByte(PathOf(pack_), 40'000);
  const auto report = Verify(true);
  ASSERT_OK(report);
  fixture_.repository.store().SetHook([](FaultStore::Operation operation, std::string_view) {
    return operation == FaultStore::Operation::kPut
               ? Status(MakeError(ErrorCode::kPermissionDenied, "access denied"))
               : Ok();
  });
  EXPECT_FALSE(RememberDamage(*fixture_.repository, *report).status);
  fixture_.repository.store().SetHook(nullptr);
  EXPECT_THAT(Known(), IsEmpty());
}

// An expiry needs no lock of ours: it may have removed the backup in between.
TEST_P(RememberTest, NothingIsLeftOfABackupThatIsRemovedMeanwhile) {
  FlipByte(PathOf(pack_), 40'000);
  const auto report = Verify(true);
  ASSERT_OK(report);
  int heads = 0;
  fixture_.repository.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kHead && name == BackupDocumentName(full_.label) &&
        ++heads == 2) {
      std::filesystem::remove(PathOf(std::string(name)));
    }
    return Ok();
  });
  const RememberedDamage remembered = RememberDamage(*fixture_.repository, *report);
  EXPECT_OK(remembered.status);
  EXPECT_THAT(remembered.stored, IsEmpty());
  EXPECT_EQ(heads, 2);
  fixture_.repository.store().SetHook(nullptr);
  EXPECT_FALSE(IsKnown(full_.label));
  WriteText(PathOf(DamageName(full_.label)), "left by a verification that has ended");
  EXPECT_THAT(Verify(false)->orphans, ElementsAre(DamageName(full_.label)));
}

TEST_P(RememberTest, ARecordThatIsNewerThanTheVerificationStays) {
  const auto slow = Verify(true);  // has read everything while it was good
  ASSERT_OK(slow);
  FlipByte(PathOf(pack_), 40'000);
  EXPECT_THAT(Remember().stored, ElementsAre(full_.label));
  EXPECT_THAT(RememberDamage(*fixture_.repository, *slow).removed, IsEmpty());
  EXPECT_TRUE(IsKnown(full_.label));

  // The same where there was another record before.
  FlipByte(PathOf(pack_), 40'000);
  const auto second = Verify(true);
  ASSERT_OK(second);
  FlipByte(PathOf(pack_), 40'000);
  std::filesystem::remove(PathOf(DamageName(full_.label)));
  fixture_.repository.clock().Sleep(std::chrono::seconds(5), nullptr);
  EXPECT_THAT(Remember().stored, ElementsAre(full_.label));
  EXPECT_THAT(RememberDamage(*fixture_.repository, *second).removed, IsEmpty());
  EXPECT_TRUE(IsKnown(full_.label));
}

TEST_P(RememberTest, WhatIsKnownStaysWhenNothingCanBeWritten) {
  FlipByte(PathOf(pack_), 40'000);
  Remember();
  FlipByte(PathOf(ManifestName(full_.label)), 70);
  const auto report = Verify(true);
  ASSERT_OK(report);
  fixture_.repository.store().SetHook([](FaultStore::Operation operation, std::string_view) {
    return operation == FaultStore::Operation::kPut
               ? Status(MakeError(ErrorCode::kNoSpace, "no space"))
               : Ok();
  });
  EXPECT_OK(RememberDamage(*fixture_.repository, *report).status);
  fixture_.repository.store().SetHook(nullptr);
  EXPECT_TRUE(IsKnown(full_.label));
}

TEST(DamagedObjects, TheSmallestNamesAreKeptInWhateverOrderTheyCome) {
  DamagedObjects up;
  DamagedObjects down;
  for (std::uint32_t i = 1; i <= 150; ++i) {
    up.Add(PackName("20261101-020000F", i));
    down.Add(PackName("20261101-020000F", 151 - i));
  }
  EXPECT_EQ(up.names.size(), DamagedObjects::kMostNamed);
  EXPECT_EQ(up.names, down.names);
  EXPECT_EQ(down.count, 150U);
}

TEST_P(RememberTest, OneFailureKeepsNoOtherBackupFromItsRecord) {
  WriteText(PathOf(DamageName(full_.label)), "{}");  // cannot be used, and cannot be deleted
  FlipByte(PathOf(PackName(diff_.label, 1)), 40);
  const auto report = Verify(true);
  ASSERT_OK(report);
  fixture_.repository.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    return operation == FaultStore::Operation::kDelete && name == DamageName(full_.label)
               ? Status(MakeError(ErrorCode::kPermissionDenied, "locked"))
               : Ok();
  });
  const RememberedDamage remembered = RememberDamage(*fixture_.repository, *report);
  fixture_.repository.store().SetHook(nullptr);
  EXPECT_FALSE(remembered.status);
  EXPECT_THAT(remembered.stored, ElementsAre(diff_.label));
  EXPECT_TRUE(IsKnown(diff_.label));
}

TEST_P(RememberTest, ANodeThatIsNoNameIsADoubt) {
  for (const std::string& node :
       {std::string(256, 'x'), std::string("a\nb"), std::string("a\x1b[2J"), std::string("\x7f")}) {
    ASSERT_OK(StoreDamage(
        *fixture_.repository, full_.label,
        {.manifest_sha256 = full_.manifest_sha256, .node = node, .objects = {{pack_}, 1}}));
    const LostPart part = Known().at(full_.label);
    EXPECT_TRUE(part.by == LostPart::By::kDoubt);
    EXPECT_THAT(part.reason, HasSubstr("\"node\""));
    EXPECT_LT(part.reason.size(), 500U);
    std::filesystem::remove(PathOf(DamageName(full_.label)));
  }
}

// What it has not read may be as it was. So it removes and replaces nothing.
TEST_P(RememberTest, AVerificationThatFailsRemembersWhatItHasFound) {
  fixture_.repository.PushSegment(1, 3);
  FlipByte(PathOf(pack_), 40'000);
  ASSERT_OK(StoreDamage(*fixture_.repository, diff_.label,
                        {.manifest_sha256 = diff_.manifest_sha256,
                         .node = "n",
                         .objects = {{PackName(diff_.label, 1)}, 1}}));
  fixture_.repository.store().SetHook(
      [&](FaultStore::Operation operation, std::string_view name) -> Status {
        return operation == FaultStore::Operation::kGet && name.starts_with("wal/")
                   ? Status(MakeError(ErrorCode::kUnavailable, "no answer of {}", name))
                   : Ok();
      });
  VerifyProgress progress;
  VerifyReport found;
  VerifyOptions options;
  options.full = true;
  EXPECT_FALSE(VerifyRepository(*fixture_.repository, options, progress, &found).has_value());
  fixture_.repository.store().SetHook(nullptr);
  EXPECT_FALSE(found.complete);
  const RememberedDamage remembered = RememberDamage(*fixture_.repository, found);
  EXPECT_OK(remembered.status);
  EXPECT_THAT(remembered.stored, ElementsAre(full_.label));
  EXPECT_THAT(remembered.removed, IsEmpty());
  EXPECT_TRUE(IsKnown(diff_.label));
}

TEST_P(RememberTest, ARecordThatIsNotOursIsADoubtAndIsReplaced) {
  const std::string name = DamageName(full_.label);
  for (const char* const text : {"", "{}", R"({"format":1,"mac":"00"})"}) {
    WriteText(PathOf(name), text);
    EXPECT_TRUE(Known().at(full_.label).by == LostPart::By::kDoubt) << text;
    EXPECT_THAT(Known().at(full_.label).reason, HasSubstr(name));
    EXPECT_EQ(Known().size(), 1U);
    EXPECT_THAT(Remember().removed, ElementsAre(full_.label)) << "the backup is good";
  }
  WriteText(PathOf(name), "{}");
  FlipByte(PathOf(pack_), 40'000);
  EXPECT_THAT(Remember().stored, ElementsAre(full_.label));
  EXPECT_TRUE(Known().at(full_.label).by == LostPart::By::kRecord);
  // A true record under the name of another backup, and one of another manifest.
  std::filesystem::copy_file(PathOf(name), PathOf(DamageName(diff_.label)));
  EXPECT_TRUE(Known().at(diff_.label).by == LostPart::By::kDoubt);
  std::filesystem::remove(PathOf(DamageName(diff_.label)));
  ASSERT_OK(StoreDamage(*fixture_.repository, diff_.label,
                        {.node = "n", .objects = {{PackName(diff_.label, 1)}, 1}}));
  EXPECT_THAT(Known().at(diff_.label).reason, HasSubstr("is about another manifest"));
}

TEST_P(RememberTest, WhatCannotBeListedIsADoubtAboutEveryBackup) {
  WriteText(PathOf("damage/junk"), "junk");
  WriteText(PathOf(DamageName("20200101-020000F")), "of no backup");
  EXPECT_THAT(Known(), IsEmpty());
  fixture_.repository.store().SetHook([](FaultStore::Operation operation, std::string_view name) {
    return operation == FaultStore::Operation::kList && name == kDamagePrefix
               ? Status(MakeError(ErrorCode::kPermissionDenied, "access denied"))
               : Ok();
  });
  EXPECT_EQ(Known().size(), 2U);
  EXPECT_TRUE(Known().at(diff_.label).by == LostPart::By::kDoubt);
  fixture_.repository.store().SetHook(nullptr);
}

TEST_P(VerifyTest, AManifestThatIsMissingOrDamagedIsNamed) {
  const std::string object = ManifestName(diff_.label);
  const std::string good = ReadText(PathOf(object));
  for (const std::size_t offset : {std::size_t{0}, std::size_t{70}, good.size() / 2}) {
    FlipByte(PathOf(object), offset);
    EXPECT_THAT(Problems(false), ElementsAre(OfDiff(object)));
    FlipByte(PathOf(object), offset);
  }
  WriteText(PathOf(object), good.substr(0, good.size() - 10));
  EXPECT_THAT(Problems(true), ElementsAre(OfDiff(object)));
  std::filesystem::remove(PathOf(object));
  EXPECT_THAT(Problems(true), ElementsAre(OfDiff(object)));
  EXPECT_THAT(Problems(true, {full_.label}), IsEmpty());
}

// Without the manifest, the contents of the full's packs are unknown.
TEST_P(VerifyTest, ADiffIsNotGoodWithoutTheManifestOfItsFull) {
  const std::string object = ManifestName(full_.label);
  std::filesystem::remove(PathOf(object));
  EXPECT_THAT(Problems(true), ElementsAre(OfFull(object), OfDiff(object)));
}

TEST_P(VerifyTest, ADamagedSummaryIsNamed) {
  const std::string object = BackupDocumentName(full_.label);
  FlipByte(PathOf(object), 100);
  EXPECT_THAT(Problems(true), ElementsAre(OfFull(object), OfDiff(object)));
  EXPECT_THAT(Problems(false, {full_.label}), ElementsAre(OfFull(object)));
  FlipByte(PathOf(object), 100);
  std::filesystem::remove(PathOf(object));
  EXPECT_THAT(Problems(true), ElementsAre(OfDiff(object)));
  FlipByte(PathOf(BackupDocumentName(diff_.label)), 100);
  EXPECT_THAT(Problems(true), ElementsAre(OfDiff(BackupDocumentName(diff_.label))));
}

TEST_P(VerifyTest, ADiffMustReferToTheFullThatExists) {
  BackupSummary other = diff_;
  other.sources[0].manifest_sha256 = Sha256Of(AsBytes("another"));
  WriteText(PathOf(BackupDocumentName(diff_.label)),
            SerializeSummary(other, fixture_.repository->seal_policy()).value());
  EXPECT_THAT(Problems(false), ElementsAre(OfDiff(BackupDocumentName(full_.label))));
}

// An incr names packs of the diff and of the full. Damage is a problem of each backup that needs
// it.
TEST_P(VerifyTest, AnIncrIsVerifiedWithAllThatItNames) {
  fixture_.source.File("pg_xact/0003", NoiseBytes(300'000, 8));
  const BackupSummary incr = Unwrap(fixture_.Incr(diff_));
  ASSERT_EQ(incr.sources.size(), 2U);
  const auto of = [](const std::string& object, const BackupSummary& backup) {
    return object + " | " + backup.label;
  };
  EXPECT_THAT(Problems(true), IsEmpty());
  EXPECT_THAT(Problems(true, {incr.label}), IsEmpty());

  // One that is verified names another one, which names the diff.
  const BackupSummary later = Unwrap(fixture_.Incr(incr));
  EXPECT_THAT(Problems(true, {later.label}), IsEmpty());
  std::filesystem::remove_all(PathOf(BackupDirectory(later.label)));

  const std::string pack = PackName(diff_.label, 1);
  FlipByte(PathOf(pack), 1000);
  EXPECT_THAT(Problems(false), IsEmpty());
  EXPECT_THAT(Problems(true), UnorderedElementsAre(of(pack, diff_), of(pack, incr)));
  EXPECT_THAT(Problems(true, {incr.label}), UnorderedElementsAre(of(pack, diff_), of(pack, incr)));
  std::filesystem::remove(PathOf(pack));
  EXPECT_THAT(Problems(false), UnorderedElementsAre(of(pack, diff_), of(pack, incr)));

  const std::string document = BackupDocumentName(diff_.label);
  std::filesystem::remove(PathOf(document));
  EXPECT_THAT(Problems(false), UnorderedElementsAre(of(document, incr), of(pack, incr)));
}

TEST_P(VerifyTest, WalThatABackupNeedsIsNamed) {
  for (const SegmentNumber number : {SegmentNumber{3}, SegmentNumber{4}}) {
    const std::string object = Wal(1, number);
    const std::string good = ReadText(PathOf(object));
    std::filesystem::remove(PathOf(object));
    EXPECT_THAT(Problems(false), ElementsAre(OfFull(object), OfDiff(object)));
    EXPECT_THAT(Problems(false, {full_.label}), ElementsAre(OfFull(object)));
    WriteText(PathOf(object), "");
    EXPECT_THAT(Problems(false), ElementsAre(OfFull(object), OfDiff(object)));
    WriteText(PathOf(object), good);
    FlipByte(PathOf(object), good.size() / 2);
    EXPECT_THAT(Problems(false), IsEmpty());
    EXPECT_THAT(Problems(true), ElementsAre(OfFull(object), OfDiff(object)));
    WriteText(PathOf(object), good);
  }
  EXPECT_THAT(Problems(true), IsEmpty());
}

TEST_P(VerifyTest, AHoleInTheWalAfterTheNewestBackupIsNamed) {
  for (const SegmentNumber number : {5, 7, 9}) {
    fixture_.repository.PushSegment(1, number);
  }
  EXPECT_THAT(Problems(false), ElementsAre(Wal(1, 6) + " | ", Wal(1, 8) + " | "));
  EXPECT_THAT(Problems(false, {diff_.label}), IsEmpty());
  fixture_.repository.PushSegment(1, 6);
  fixture_.repository.PushSegment(1, 8);
  EXPECT_THAT(Problems(true), IsEmpty());
  FlipByte(PathOf(Wal(1, 9)), 100);
  EXPECT_THAT(Problems(true), ElementsAre(Wal(1, 9) + " | "));
  EXPECT_THAT(Problems(true, {diff_.label}), IsEmpty());
}

TEST_P(VerifyTest, AHoleInTheWalOfABackupIsOneProblem) {
  const auto name = [](SegmentNumber number) { return SegmentName(1, number, kTestSegmentSize); };
  std::filesystem::remove(PathOf(Wal(1, 3)));
  std::filesystem::remove(PathOf(Wal(1, 4)));
  const VerifyReport report = Verify(false, {full_.label}).value();
  EXPECT_THAT(
      report.problems,
      ElementsAre(Field(&VerifyProblem::message,
                        fmt::format("2 WAL segments from \"{}\" to \"{}\", which backup \"{}\" "
                                    "needs to become consistent, are missing",
                                    name(3), name(4), full_.label))));
  EXPECT_EQ(report.problems.front().object, Wal(1, 3));
}

TEST_P(VerifyTest, ALongHoleIsOneProblem) {
  const auto name = [](SegmentNumber number) { return SegmentName(1, number, kTestSegmentSize); };
  for (const SegmentNumber number : {5, 7, 20}) {
    fixture_.repository.PushSegment(1, number);
  }
  const VerifyReport report = Verify(false).value();
  EXPECT_EQ(report.problem_count, 2U);
  EXPECT_THAT(
      report.problems,
      ElementsAre(
          Field(&VerifyProblem::message, HasSubstr("WAL segment \"" + name(6) + "\" is missing: ")),
          Field(&VerifyProblem::message, StartsWith("12 WAL segments from \"" + name(8) +
                                                    "\" to \"" + name(19) + "\" are missing: "))));
  fixture_.repository.PushSegment(1, 3000);
  EXPECT_THAT(
      Verify(false).value().problems,
      Contains(Field(&VerifyProblem::message, StartsWith("at least 987 WAL segments from \"" +
                                                         name(21) + "\" on are missing: "))));
}

TEST_P(VerifyTest, AHoleBetweenBackupsIsNamedUnlessItIsRecorded) {
  // The diff is moved to a later position, and an older full is added.
  diff_.start_lsn = Lsn{8 * kTestSegmentSize + 0x28};
  diff_.stop_lsn = Lsn{9 * kTestSegmentSize};
  diff_.stop_time += std::chrono::hours(1);
  BackupSummary first = TestSummary(*fixture_.repository, "20261101-020000F");
  first.start_lsn = Lsn{1 * kTestSegmentSize + 0x28};
  first.stop_lsn = Lsn{1 * kTestSegmentSize + 0x500};
  first.stop_time -= std::chrono::hours(1);
  for (const BackupSummary& backup : {diff_, first}) {
    WriteText(PathOf(BackupDocumentName(backup.label)),
              SerializeSummary(backup, fixture_.repository->seal_policy()).value());
  }
  for (const SegmentNumber number : {1, 3, 4, 5, 8}) {
    fixture_.repository.PushSegment(1, number);
  }
  const auto of_wal = [this] {
    std::vector<std::string> problems = Problems(false);
    std::erase_if(problems,
                  [](const std::string& problem) { return !problem.starts_with("wal/"); });
    return problems;
  };
  retention_archive_ = 1;
  EXPECT_THAT(of_wal(), ElementsAre(Wal(1, 6) + " | "));
  retention_archive_ = 2;
  EXPECT_THAT(of_wal(), ElementsAre(Wal(1, 2) + " | ", Wal(1, 6) + " | "));
  retention_archive_ = 0;
  EXPECT_THAT(of_wal(), ElementsAre(Wal(1, 2) + " | ", Wal(1, 6) + " | "));

  const auto name = [](SegmentNumber number) { return SegmentName(1, number, kTestSegmentSize); };
  const std::string forged = GapName(kTestSystem, name(6), name(7));
  WriteText(PathOf(forged),
            R"({"format": 1, "first": ")" + name(6) + R"(", "last": ")" + name(7) + R"("})");
  EXPECT_THAT(Problems(false), Contains(forged + " | "));
  EXPECT_THAT(of_wal(), ElementsAre(Wal(1, 2) + " | ", Wal(1, 6) + " | "));
  std::filesystem::remove(PathOf(forged));
  ASSERT_OK(RecordGap(*fixture_.repository, kTestSystem, {name(6), name(7)}));
  EXPECT_THAT(of_wal(), ElementsAre(Wal(1, 2) + " | "));
  // After the newest backup, no backup has followed the gap.
  fixture_.repository.PushSegment(1, 10);
  ASSERT_OK(RecordGap(*fixture_.repository, kTestSystem, {name(9), name(9)}));
  EXPECT_THAT(of_wal(), ElementsAre(Wal(1, 2) + " | ", Wal(1, 9) + " | "));
}

// vezactl info still shows the rest.
TEST_P(VerifyTest, TooManyRecordsOfGapsAreAProblemOfTheArchive) {
  if (GetParam() == Cipher::kNone) {  // slow, and independent of the cipher
    return;
  }
  WriteSummary(FullAt(1, "20261101-020000F", -std::chrono::hours(1)));
  for (const SegmentNumber number : {1, 3}) {
    fixture_.repository.PushSegment(1, number);
  }
  const std::string prefix = GapPrefix(kTestSystem);
  for (std::size_t i = 0; i <= limits::kGapRecords; ++i) {
    WriteText(PathOf(fmt::format("{}{}", prefix, i)), "");
  }
  const std::vector<std::string> problems = Problems(false);
  EXPECT_THAT(problems, Contains(prefix + " | "));
  EXPECT_THAT(problems, Contains(Wal(1, 2) + " | "));
}

// Fulls that are kept for another reason do not keep WAL.
TEST_P(VerifyTest, WalThatRetentionRemovedIsNotMissing) {
  WriteSummary(FullAt(1, "20261101-020000F", -std::chrono::hours(1)));
  WriteSummary(FullAt(6, "20261123-020000F", std::chrono::hours(1)));
  for (const SegmentNumber number : {1, 5, 6}) {
    fixture_.repository.PushSegment(1, number);
  }
  retention_archive_ = 4;
  EXPECT_THAT(ProblemsOfWal(), ElementsAre(Wal(1, 2) + " | "));
  retention_full_ = 2;
  EXPECT_THAT(ProblemsOfWal(), IsEmpty());
}

// The WAL between two backups may have been removed before the window was set.
TEST_P(VerifyTest, AWindowAsksForTheWalBehindABackupOnlyIfSomeOfItIsThere) {
  WriteSummary(FullAt(1, "20261101-020000F", -std::chrono::hours(24 * 21)));
  const SegmentNumber first = SegmentOf(full_.start_lsn, kTestSegmentSize);
  const SegmentNumber last = SegmentOf(full_.stop_lsn, kTestSegmentSize) + 4;
  WriteSummary(FullAt(last, "20261123-020000F", std::chrono::hours(24)));
  fixture_.repository.PushSegment(1, 1);
  for (SegmentNumber number = first; number <= last; ++number) {
    fixture_.repository.PushSegment(1, number);
  }
  retention_full_ = retention_archive_ = 1;
  window_ = std::chrono::hours(24 * 14);
  fixture_.repository.clock().Sleep(std::chrono::hours(48), nullptr);
  EXPECT_THAT(ProblemsOfWal(), IsEmpty());
  std::filesystem::remove(PathOf(Wal(1, last - 1)));
  EXPECT_THAT(ProblemsOfWal(), ElementsAre(Wal(1, last - 1) + " | "));
  // The first segment behind a backup is missed, too.
  fixture_.repository.PushSegment(1, last - 1);
  std::filesystem::remove(PathOf(Wal(1, last - 3)));
  std::filesystem::remove_all(PathOf("backup/" + diff_.label));
  EXPECT_THAT(ProblemsOfWal(), ElementsAre(Wal(1, last - 3) + " | "));
  // The store's clock counts, as for retention. That of the past is the time of which it is read.
  fixture_.repository.clock().Sleep(std::chrono::hours(24 * 60), nullptr);
  EXPECT_THAT(ProblemsOfWal(), IsEmpty());
  window_ = {};
  EXPECT_THAT(ProblemsOfWal(), IsEmpty());
}

// A full is taken meanwhile, and retention removes an older backup.
TEST_P(VerifyTest, WalThatRetentionRemovesMeanwhileIsNotMissing) {
  const BackupSummary first = FullAt(1, "20261101-020000F", -std::chrono::hours(1));
  WriteSummary(first);
  for (const SegmentNumber number : {1, 2, 5, 6}) {
    fixture_.repository.PushSegment(1, number);
  }
  const auto expire = [&] {
    WriteSummary(FullAt(6, "20261123-020000F", std::chrono::hours(1)));
    std::filesystem::remove_all(PathOf("backup/" + first.label));
    std::filesystem::remove(PathOf(Wal(1, 1)));
    std::filesystem::remove(PathOf(Wal(1, 2)));
  };
  const std::string manifests = BackupDirectory(full_.label);
  retention_full_ = 2;
  for (const std::string& during : {std::string("wal/"), manifests}) {
    bool done = false;
    fixture_.repository.store().SetHook(
        [&](FaultStore::Operation operation, std::string_view name) -> Status {
          if (operation == FaultStore::Operation::kList && name.starts_with(during) && !done) {
            done = true;
            expire();
          }
          return Ok();
        });
    EXPECT_THAT(Problems(false), IsEmpty());
    EXPECT_TRUE(done);
    fixture_.repository.store().SetHook(nullptr);
    std::filesystem::remove_all(PathOf("backup/20261123-020000F"));
    WriteSummary(first);
    fixture_.repository.PushSegment(1, 1);
    fixture_.repository.PushSegment(1, 2);
  }
}

// An archiver stores several segments at the same time. A later one may arrive before an earlier
// one.
TEST_P(VerifyTest, ASegmentOnItsWayIsNotMissing) {
  fixture_.repository.PushSegment(1, 6);
  fixture_.repository.clock().on_sleep = [&] {
    fixture_.repository.clock().on_sleep = nullptr;
    fixture_.repository.PushSegment(1, 5);
  };
  EXPECT_THAT(Problems(false), IsEmpty());
}

TEST_P(VerifyTest, TheWindowGoesOnAlongTheNewestTimeline) {
  fixture_.repository.PushSegment(1, 5);
  const std::string history = TimelineHistoryName(2);
  ASSERT_OK(fixture_.repository.PushWal(
      history, AsBytes(fmt::format("1\t{}\tno recovery target specified\n",
                                   FormatLsn(Lsn{6 * kTestSegmentSize + 0x500})))));
  EXPECT_THAT(Problems(true), IsEmpty());
  // Later WAL of the old timeline is not needed, so a hole in it is not a problem.
  fixture_.repository.PushSegment(1, 6);
  fixture_.repository.PushSegment(1, 8);
  fixture_.repository.PushSegment(2, 6);
  fixture_.repository.PushSegment(2, 8);
  EXPECT_THAT(Problems(false), ElementsAre(Wal(2, 7) + " | "));
  fixture_.repository.PushSegment(2, 7);
  EXPECT_THAT(Problems(true), IsEmpty());
  std::filesystem::remove(PathOf(Wal(1, 5)));
  EXPECT_THAT(Problems(false), ElementsAre(Wal(1, 5) + " | "));
  fixture_.repository.PushSegment(1, 5);
  FlipByte(PathOf(WalObjectName(kTestSystem, history).value()), 100);
  EXPECT_THAT(Problems(false), ElementsAre(WalObjectName(kTestSystem, history).value() + " | "));
}

// An index of three archived segments. The test damages it, or replaces it.
class VerifyIndexTest : public VerifyTest {
 protected:
  void ArchiveAndIndex() {
    for (const SegmentNumber number : {40, 41, 42}) {
      EXPECT_OK(fixture_.repository.PushWal(SegmentName(1, number, kTestSegmentSize),
                                            TestSegment(number)));
    }
    IndexBuildProgress progress;
    EXPECT_OK(BuildIndex(*fixture_.repository,
                         {.system_identifier = kTestSystem, .segment_size = kTestSegmentSize},
                         progress));
    for (const IndexName& name : Indexes()) {
      if (name.first == SegmentName(1, 40, kTestSegmentSize)) {
        object_ = name.name;
      }
    }
    ASSERT_FALSE(object_.empty());
  }
  std::vector<IndexName> Indexes() const {
    return ListIndexes(*fixture_.repository, kTestSystem).value();
  }
  std::string Stored(SegmentNumber number) const { return PathOf(Wal(1, number)); }
  // Only those of the index: there are holes in the WAL.
  std::vector<std::string> ProblemsOfIndex(bool full) {
    const Result<VerifyReport> report = Verify(full);
    EXPECT_OK(report);
    std::vector<std::string> problems;
    for (const VerifyProblem& problem : report->problems) {
      if (problem.object.starts_with(kIndexPrefix)) {
        EXPECT_THAT(problem.message, HasSubstr("\"vezactl index"));
        EXPECT_EQ(problem.backup, "");
        problems.push_back(problem.object);
        message_ = problem.message;
      }
    }
    EXPECT_TRUE(report->passed() == report->problems.empty());
    for (const VerifiedBackup& backup : report->backups) {
      EXPECT_TRUE(backup.good) << backup.label;
    }
    EXPECT_THAT(report->orphans, IsEmpty());
    return problems;
  }

  std::string object_;
  std::string message_;
};

INSTANTIATE_TEST_SUITE_P(Ciphers, VerifyIndexTest,
                         testing::Values(Cipher::kNone, Cipher::kAes256Gcm), CipherTestName);

TEST_P(VerifyIndexTest, AnIndexThatIsRightPasses) {
  ArchiveAndIndex();
  EXPECT_THAT(ProblemsOfIndex(false), IsEmpty());
  EXPECT_THAT(ProblemsOfIndex(true), IsEmpty());
}

TEST_P(VerifyIndexTest, ADamagedIndexIsAProblemOfNoBackup) {
  ArchiveAndIndex();
  FlipByte(PathOf(object_), 700);
  EXPECT_THAT(ProblemsOfIndex(false), ElementsAre(object_));
}

TEST_P(VerifyIndexTest, AnIndexOfAnotherWalObjectIsNamed) {
  ArchiveAndIndex();
  std::filesystem::remove(Stored(41));
  EXPECT_THAT(ProblemsOfIndex(false), IsEmpty()) << "retention may have removed it";
  EXPECT_OK(fixture_.repository.PushWal(SegmentName(1, 41, kTestSegmentSize),
                                        NoiseBytes(kTestSegmentSize)));
  EXPECT_THAT(ProblemsOfIndex(false), ElementsAre(object_));
  EXPECT_THAT(message_, HasSubstr(SegmentName(1, 41, kTestSegmentSize)));
}

TEST_P(VerifyIndexTest, AnIndexThatSaysSomethingElseIsFoundByReadingTheWal) {
  ArchiveAndIndex();
  std::filesystem::remove(PathOf(object_));
  IndexObjectWriter writer(*fixture_.repository, kTestSystem);
  for (const SegmentNumber number : {40, 41, 42}) {
    SegmentIndex index = TestIndex(number);
    index.summary.stored = std::filesystem::file_size(Stored(number));
    if (number == 41) {
      index.blocks = TestIndex(40).blocks;
    }
    writer.Add(std::move(index));
  }
  const std::string other = writer.Store().value();
  EXPECT_THAT(ProblemsOfIndex(false), IsEmpty());
  EXPECT_THAT(ProblemsOfIndex(true), ElementsAre(other));
  EXPECT_THAT(message_, HasSubstr("--all --from " + SegmentName(1, 41, kTestSegmentSize)));
}

TEST_P(VerifyTest, OrphansAreListedAndAreNotProblems) {
  const std::vector<std::string> orphans = {
      PackName(full_.label, 99),
      BackupDirectory(diff_.label) + "notes",
      "backup/notes/x",
      "identity/42",
      "key/00000000000000000000000000000000.0000000000000000",
      "lock/1",
      "pin/20010101-000000F",
      "stray",
      "wal/42/00000001/00000000/000000010000000000000003",
      "walindex/stray",
      IndexObjectName(42, SegmentName(1, 3, kTestSegmentSize), SegmentName(1, 4, kTestSegmentSize),
                      1, "0123456789abcdef"),
      WalTimelinePrefix(kTestSystem, 1) + "00000009/" + SegmentName(1, 3, kTestSegmentSize),
  };
  for (const std::string& orphan : orphans) {
    WriteText(PathOf(orphan), "x");
  }
  ASSERT_OK(PinBackup(*fixture_.repository, diff_.label));
  for (const char* known :
       {"probe/1", "lock/0000000001", "backup/20010101-000000F/pack/00000001",
        "backup/20010101-000000F/pack/00000002", "drill/20010101-000000-20010101-000000F",
        "lease/20010101-000000F.0123456789abcdef"}) {
    WriteText(PathOf(known), "x");
  }
  const auto report = Verify(true);
  ASSERT_OK(report);
  EXPECT_TRUE(report->passed());
  EXPECT_THAT(report->orphans, testing::UnorderedElementsAreArray(orphans));
  EXPECT_EQ(report->orphan_count, orphans.size());
}

TEST_P(VerifyTest, ALabelThatIsNotThereIsRefused) {
  EXPECT_ERROR(Verify(false, {"20010101-000000F"}), ErrorCode::kNotFound);
  EXPECT_ERROR(Verify(false, {"newest"}), ErrorCode::kInvalidArgument);
}

TEST_P(VerifyTest, AStoreThatDoesNotAnswerIsNotDamage) {
  for (const ErrorCode code : {ErrorCode::kUnavailable, ErrorCode::kPermissionDenied}) {
    fixture_.repository.store().SetHook(
        [code](FaultStore::Operation operation, std::string_view name) -> Status {
          if (operation == FaultStore::Operation::kGet && name.ends_with("pack/00000001")) {
            return MakeError(code, "no answer");
          }
          return Ok();
        });
    EXPECT_ERROR(Verify(true), code);
    EXPECT_OK(Verify(false));
  }
}

TEST_P(VerifyTest, ItCanBeCancelled) {
  fixture_.repository.store().SetHook([&](FaultStore::Operation, std::string_view name) -> Status {
    if (name.ends_with("pack/00000001")) {
      fixture_.repository.cancellation().Cancel();
    }
    return fixture_.repository.cancellation().Check();
  });
  EXPECT_ERROR(Verify(true), ErrorCode::kCancelled);
}

// Retention deletes backup.json first, and then the rest.
TEST_P(VerifyTest, ABackupThatIsDeletedMeanwhileIsForgotten) {
  fixture_.repository.store().SetHook(
      [&](FaultStore::Operation operation, std::string_view name) -> Status {
        if (operation == FaultStore::Operation::kList && name == BackupDirectory(diff_.label)) {
          std::filesystem::remove_all(PathOf("backup/" + diff_.label));
        }
        return Ok();
      });
  const auto report = Verify(true);
  ASSERT_OK(report);
  EXPECT_TRUE(report->passed());
  ASSERT_EQ(report->backups.size(), 1U);
  EXPECT_EQ(report->backups[0].label, full_.label);
}

TEST_P(VerifyTest, TheRateIsKept) {
  VerifyOptions options;
  options.full = true;
  options.max_rate = 100'000;
  VerifyProgress progress;
  const SteadyTime begin = fixture_.repository.clock().Steady();
  ASSERT_OK(VerifyRepository(*fixture_.repository, options, progress));
  const double seconds =
      std::chrono::duration<double>(fixture_.repository.clock().Steady() - begin).count();
  const double expected = static_cast<double>(progress.bytes_read) / 100'000;
  // Nothing waits after the segment that is read last.
  EXPECT_GT(seconds, 0.9 * expected);
  EXPECT_LT(seconds, 1.1 * expected);
}

// The newest backup is the one with the highest position in WAL, regardless of the servers' clocks.
TEST_P(VerifyTest, AFullBackupFollowsMinimalWalRegardlessOfItsClock) {
  BackupSummary later = FullAt(8, "20261124-020000F", std::chrono::hours(-24 * 30));
  WriteSummary(later);
  ASSERT_OK(RecordMinimal(*fixture_.repository, kTestSystem, SegmentName(1, 6, kTestSegmentSize),
                          Lsn{6 * kTestSegmentSize}));
  std::vector<std::string> problems = Problems(false);
  EXPECT_THAT(problems, testing::Not(Contains(Wal(1, 6) + " | ")));
  std::filesystem::remove(PathOf(BackupDocumentName(later.label)));
  EXPECT_THAT(Problems(false), Contains(Wal(1, 6) + " | "));
}

// --- Manifests that do not fit what they refer to ------------------------------------------------

// Changes one record of the diff's manifest, as somebody who has the key could.
class ForgedManifestTest : public VerifyTest {
 protected:
  template <typename Change>
  void Forge(Change change) {
    std::vector<ManifestRecord> records;
    ASSERT_OK(ReadManifest(*fixture_.repository, diff_, [&](ManifestRecord&& record) {
      records.push_back(std::move(record));
      return Ok();
    }));
    std::ranges::for_each(records, change);
    Store(records);
  }
  void Store(const std::vector<ManifestRecord>& records) {
    std::filesystem::remove(PathOf(ManifestName(diff_.label)));
    ManifestWriter writer(*fixture_.repository, diff_.label);
    for (const ManifestRecord& record : records) {
      ASSERT_OK(writer.Add(record));
    }
    const auto stored = writer.Commit();
    ASSERT_OK(stored);
    diff_.size = stored->totals.size;
    diff_.files = stored->totals.files;
    diff_.manifest_sha256 = stored->sha256;
    diff_.manifest_size = stored->size;
    WriteText(PathOf(BackupDocumentName(diff_.label)),
              SerializeSummary(diff_, fixture_.repository->seal_policy()).value());
  }
};

INSTANTIATE_TEST_SUITE_P(Ciphers, ForgedManifestTest, testing::Values(Cipher::kNone),
                         CipherTestName);

TEST_P(ForgedManifestTest, AnExtentThatTheFullDoesNotHave) {
  Forge([](ManifestRecord& record) {
    auto* file = std::get_if<FileRecord>(&record);
    if (file != nullptr && file->path == "pg_xact/0000") {
      file->extents[1].digest[0] ^= 1;
    }
  });
  EXPECT_THAT(Problems(false), ElementsAre(OfDiff(ManifestName(diff_.label))));
}

// Records that no backup may contain. A restore calls them damage, and a verification must find
// them, too.
TEST_P(ForgedManifestTest, RecordsThatARestoreRefusesAreFound) {
  std::vector<ManifestRecord> good;
  ASSERT_OK(ReadManifest(*fixture_.repository, diff_, [&](ManifestRecord&& record) {
    good.push_back(std::move(record));
    return Ok();
  }));
  const auto file = [](std::string path) {
    return FileRecord{std::move(path), 0600, 0, 0, {}, {}};
  };
  const std::vector<ManifestRecord> strange = {
      file("pg_xact/0000"),
      file("postgresql.auto.conf"),
      file("pg_xact"),
      file("PG_VERSION/below"),
      file("absent/file"),
      file("veza-restoring"),
      file("global/pg_control.veza-restoring"),
      file("postmaster.pid"),
      file("base/5/postmaster.opts"),
      file("pg_wal/000000010000000000000004"),
      file(std::string(5U << 20, 'n')),
      DirectoryRecord{"pg_xact", 0700},
      DirectoryRecord{"PG_VERSION", 0700},
      DirectoryRecord{"absent/directory", 0700},
      DirectoryRecord{"veza-directory", 0700},
      DirectoryRecord{"recovery.signal", 0700},
  };
  for (const ManifestRecord& record : strange) {
    const auto* const directory = std::get_if<DirectoryRecord>(&record);
    SCOPED_TRACE((directory != nullptr ? directory->path : std::get<FileRecord>(record).path)
                     .substr(0, 100));
    std::vector<ManifestRecord> records = good;
    records.push_back(record);
    Store(records);
    EXPECT_THAT(Problems(true), ElementsAre(OfDiff(ManifestName(diff_.label))));
    EXPECT_ERROR(fixture_.Restore(), ErrorCode::kDataCorrupted);
    EXPECT_FALSE(fixture_.HasControlFile());
    std::filesystem::remove_all(fixture_.Target());
  }
}

TEST_P(ForgedManifestTest, HolesDoNotMakeABackupLargerThanItSays) {
  std::vector<ManifestRecord> records;
  ASSERT_OK(ReadManifest(*fixture_.repository, diff_, [&](ManifestRecord&& record) {
    records.push_back(std::move(record));
    return Ok();
  }));
  const BackupSummary honest = diff_;
  FileRecord holes{"pg_xact/0003", 0600, std::uint64_t{1} << 43, 0, {}, {}};
  holes.extents.assign(4096, Extent{.length = std::uint32_t{1} << 31});
  records.emplace_back(holes);
  Store(records);
  for (const auto& [size, files] : {std::pair(honest.size, honest.files + 1),
                                    std::pair(honest.size + holes.size, honest.files)}) {
    diff_.size = size;
    diff_.files = files;
    WriteSummary(diff_);
    EXPECT_THAT(Problems(true), ElementsAre(OfDiff(ManifestName(diff_.label))));
  }
}

TEST_P(ForgedManifestTest, APackOfTheFullThatIsAnother) {
  Forge([](ManifestRecord& record) {
    auto* pack = std::get_if<PackRecord>(&record);
    if (pack != nullptr && pack->source == 1 && pack->number == 1) {
      pack->header[40] ^= 1;
    }
  });
  EXPECT_THAT(Problems(false), ElementsAre(OfDiff(ManifestName(diff_.label))));
}

TEST_P(ForgedManifestTest, APackThatIsNotDescribedCompletely) {
  Forge([](ManifestRecord& record) {
    auto* pack = std::get_if<PackRecord>(&record);
    if (pack != nullptr && pack->source == 0) {
      pack->frames += 1;
    }
  });
  EXPECT_THAT(Problems(true), ElementsAre(OfDiff(ManifestName(diff_.label))));
}

}  // namespace
}  // namespace veza
