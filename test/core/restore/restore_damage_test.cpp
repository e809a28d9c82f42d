// Repositories whose content is not what was written. A restore says so, names the object, and
// leaves nothing that a server would start from.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>

#include "core/repository/manifest.h"
#include "core/restore/existing_directory.h"
#include "core/restore/test_restore.h"

namespace veza {
namespace {

using testing::HasSubstr;

class RestoreDamageTest : public testing::TestWithParam<Cipher> {
 protected:
  RestoreDamageTest() {
    fixture_.source.File("base/5/100", NoiseBytes(20U << 20));
    fixture_.source.File("base/5/200", Bytes(500'000, 'x'));
    const auto summary = fixture_.Backup();
    if (!summary) {
      ADD_FAILURE() << summary.error().message;
      std::abort();
    }
    summary_ = *summary;
    EXPECT_GE(summary_.packs, 2U);
  }

  std::string PathOf(std::uint32_t pack) const {
    return fixture_.repository.PathOf(PackName(kTestLabel, pack));
  }
  void ExpectRefused(const std::string& object) {
    const auto restored = fixture_.Restore();
    ASSERT_FALSE(restored) << object;
    EXPECT_THAT(restored.error().message, HasSubstr(object));
    EXPECT_FALSE(fixture_.HasControlFile());
    std::filesystem::remove_all(fixture_.Target());
  }
  void ExpectRefused(std::uint32_t pack) { ExpectRefused(PackName(kTestLabel, pack)); }

  RestoreFixture fixture_{GetParam()};
  BackupSummary summary_;
};

INSTANTIATE_TEST_SUITE_P(Ciphers, RestoreDamageTest, testing::ValuesIn(kAllCiphers),
                         CipherTestName);

TEST_P(RestoreDamageTest, AnUndamagedOneIsRestored) {
  ASSERT_OK(fixture_.Restore());
  fixture_.ExpectRestored();
}

TEST_P(RestoreDamageTest, ADamagedPackIsNamed) {
  const std::size_t size = std::filesystem::file_size(PathOf(2));
  for (const std::size_t offset :
       {std::size_t{0}, std::size_t{11}, std::size_t{40}, std::size_t{80}, size / 2, size - 1}) {
    FlipByte(PathOf(2), offset);
    ExpectRefused(2);
    FlipByte(PathOf(2), offset);
  }
}

TEST_P(RestoreDamageTest, ATruncatedPackIsNamed) {
  const std::string good = ReadText(PathOf(1));
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{63}, std::size_t{200}, good.size() / 2, good.size() - 1}) {
    WriteText(PathOf(1), good.substr(0, size));
    ExpectRefused(1);
  }
  WriteText(PathOf(1), good + "x");
  ExpectRefused(1);
}

TEST_P(RestoreDamageTest, SwappedPacksAreNamed) {
  const std::string first = ReadText(PathOf(1));
  const std::string second = ReadText(PathOf(2));
  WriteText(PathOf(1), second);
  ExpectRefused(1);
  WriteText(PathOf(1), first);
  WriteText(PathOf(2), first);
  ExpectRefused(2);
}

TEST_P(RestoreDamageTest, AMissingPackIsNamed) {
  std::filesystem::remove(PathOf(2));
  ExpectRefused(2);
}

// A pack that is complete, authentic and correctly named, but belongs to another manifest: that of
// an older backup with the same label, for example.
TEST_P(RestoreDamageTest, APackOfAnotherTimeIsNamed) {
  PackBuilder builder({2, PackName(kTestLabel, 2), "node-a", kTestTime},
                      fixture_.repository->seal_policy(), SystemRandom());
  const Bytes extent = NoiseBytes(kExtentSize, 99);
  ASSERT_OK(builder.Fill(builder.Reserve(extent.size()), kFrameStored, extent));
  ASSERT_OK(builder.Close());
  WriteBytes(PathOf(2), builder.content());
  ExpectRefused(2);
}

TEST_P(RestoreDamageTest, ADamagedManifestIsNamed) {
  const std::string path = fixture_.repository.PathOf(ManifestName(kTestLabel));
  const std::string good = ReadText(path);
  for (const std::size_t offset : {std::size_t{0}, std::size_t{70}, good.size() / 2}) {
    FlipByte(path, offset);
    ExpectRefused(ManifestName(kTestLabel));
    FlipByte(path, offset);
  }
  WriteText(path, good.substr(0, good.size() - 10));
  ExpectRefused(ManifestName(kTestLabel));
  std::filesystem::remove(path);
  ExpectRefused(ManifestName(kTestLabel));
}

// --- Manifests that do not match their packs -----------------------------------------------------

// The backup's own manifest, rewritten by somebody who has the key.
class ForgedRestoreTest : public testing::Test {
 protected:
  ForgedRestoreTest() {
    fixture_.source.File("base/5/100", NoiseBytes(200'000));
    summary_ = fixture_.Backup().value();
    EXPECT_OK(ReadManifest(*fixture_.repository, summary_, [&](ManifestRecord&& record) {
      records_.push_back(std::move(record));
      return Ok();
    }));
  }

  Result<RestoreReport> RestoreForged() {
    std::filesystem::remove_all(fixture_.Target());
    Forge();
    return fixture_.Restore();
  }
  void Forge() {
    std::filesystem::remove(fixture_.repository.PathOf(ManifestName(kTestLabel)));
    ManifestWriter writer(*fixture_.repository, kTestLabel);
    for (const ManifestRecord& record : records_) {
      EXPECT_OK(writer.Add(record));
    }
    const ManifestWriter::Stored stored = writer.Commit().value();
    BackupSummary summary = summary_;
    summary.size = stored.totals.size;
    summary.files = stored.totals.files;
    summary.manifest_size = stored.size;
    summary.manifest_sha256 = stored.sha256;
    WriteText(fixture_.repository.PathOf(BackupDocumentName(kTestLabel)),
              SerializeSummary(summary, fixture_.repository->seal_policy()).value());
  }
  void AddEmptyFile(const std::string& path, std::uint32_t mode = 0600) {
    records_.emplace_back(FileRecord{path, mode, 0, 0, {}, {}});
  }
  void ExpectRefused(const char* message) {
    const auto restored = RestoreForged();
    EXPECT_ERROR(restored, ErrorCode::kDataCorrupted);
    EXPECT_THAT(restored.error().message, HasSubstr(message));
    EXPECT_FALSE(fixture_.HasControlFile());
  }
  FileRecord& File(const std::string& path) {
    for (ManifestRecord& record : records_) {
      if (auto* file = std::get_if<FileRecord>(&record); file != nullptr && file->path == path) {
        return *file;
      }
    }
    ADD_FAILURE() << path;
    std::abort();
  }
  PackRecord& Pack() {
    for (ManifestRecord& record : records_) {
      if (auto* pack = std::get_if<PackRecord>(&record)) {
        return *pack;
      }
    }
    ADD_FAILURE() << "no pack";
    std::abort();
  }

  RestoreFixture fixture_{Cipher::kNone};
  BackupSummary summary_;
  std::vector<ManifestRecord> records_;
};

TEST_F(ForgedRestoreTest, TheSameRecordsInAnotherOrderAreGood) {
  // Packs come before the files that need them. Directories still come first.
  std::stable_partition(records_.begin(), records_.end(), [](const ManifestRecord& record) {
    return !std::holds_alternative<FileRecord>(record);
  });
  ASSERT_OK(RestoreForged());
  fixture_.ExpectRestored();
}

TEST_F(ForgedRestoreTest, EveryExtentIsWhereTheManifestSays) {
  Extent& extent = File("base/5/100").extents.at(0);
  const Extent good = extent;
  extent.offset += 1;
  ExpectRefused("pack/00000001");
  extent = good;
  extent.stored -= 1;
  ExpectRefused("pack/00000001");
  extent = good;
  extent.frame += 100;
  ExpectRefused("pack/00000001");
  extent = good;
  extent.digest[0] ^= 1;
  ExpectRefused("does not match its digest");
  extent = good;
  File("base/5/100").size += 1;
  extent.length += 1;
  ExpectRefused("pack/00000001");
}

TEST_F(ForgedRestoreTest, TwoFilesCannotHaveOneExtent) {
  File("PG_VERSION").extents = File("base/5/100").extents;
  File("PG_VERSION").size = File("base/5/100").size;
  ExpectRefused("pack/00000001");
}

TEST_F(ForgedRestoreTest, PacksAreDescribedCompletely) {
  const PackRecord good = Pack();
  Pack().frames += 1;
  ExpectRefused("does not describe pack 1 completely");
  Pack() = good;
  Pack().frames -= 1;
  ExpectRefused("pack");
  Pack() = good;
  Pack().number = 2;
  ExpectRefused("does not describe pack 1 completely");
  Pack() = good;
  std::erase_if(records_, [](const ManifestRecord& record) {
    return std::holds_alternative<PackRecord>(record);
  });
  ExpectRefused("does not describe pack 1 completely");
  records_.push_back(good);
  records_.push_back(good);
  ExpectRefused("does not describe pack 1 completely");
}

TEST_F(ForgedRestoreTest, NoFileOccursTwice) {
  FileRecord twice = File("PG_VERSION");
  twice.extents = {Extent{.length = static_cast<std::uint32_t>(twice.size)}};
  records_.emplace_back(twice);
  ExpectRefused("has \"PG_VERSION\" twice");
}

// An existing file would be taken for the one that the manifest's second record means.
TEST_F(ForgedRestoreTest, ADeltaIsRefusedBeforeAnythingIsRemoved) {
  ASSERT_OK(fixture_.Restore());
  AddEmptyFile("postmaster.pid");
  Forge();
  RestoreOptions options = fixture_.Options();
  options.delta = true;
  EXPECT_ERROR(fixture_.Restore(options), ErrorCode::kDataCorrupted);
  EXPECT_TRUE(fixture_.HasControlFile());
}

// Version 0.1 has backed up the note in a cluster that version 0.2 had restored. It names another
// directory.
TEST_F(ForgedRestoreTest, TheNoteOfAnotherDirectoryIsNotKept) {
  AddEmptyFile("veza-directory");
  ASSERT_OK(RestoreForged());
  EXPECT_FALSE(std::filesystem::exists(fixture_.Target() + "/veza-directory"));
}

TEST_F(ForgedRestoreTest, HarmfulPermissionsAreNotRestored) {
  records_.emplace_back(DirectoryRecord{"shared", 07777});
  AddEmptyFile("shared/shell", 06777);
  AddEmptyFile("script", 0755);
  AddEmptyFile("group", 0660);
  ASSERT_OK(RestoreForged());
  const auto tree = ReadTree(fixture_.Target());
  EXPECT_EQ(tree.at("shared").mode, 0750U);
  EXPECT_EQ(tree.at("shared/shell").mode, 0750U);
  EXPECT_EQ(tree.at("script").mode, 0750U);
  EXPECT_EQ(tree.at("group").mode, 0640U);
}

// The server's own settings must not be ignored when they cannot be read. Nor may an oversized file
// fill the memory.
TEST_F(ForgedRestoreTest, SettingsThatCannotBeReadAreAnError) {
  FileRecord& file = File("postgresql.auto.conf");
  const FileRecord good = file;
  file.mode = 0200;
  if (geteuid() != 0) {
    EXPECT_ERROR(RestoreForged(), ErrorCode::kPermissionDenied);
    EXPECT_FALSE(fixture_.HasControlFile());
  }
  file = good;
  file.path = "elsewhere";
  records_.emplace_back(DirectoryRecord{"postgresql.auto.conf", 0700});
  const auto restored = RestoreForged();
  ASSERT_FALSE(restored);
  EXPECT_THAT(restored.error().message, HasSubstr("postgresql.auto.conf"));
  EXPECT_FALSE(fixture_.HasControlFile());
  records_.pop_back();
  FileRecord endless{"postgresql.auto.conf", 0600, std::uint64_t{1} << 32, 0, {}, {}};
  endless.extents.assign(4, Extent{.length = std::uint32_t{1} << 30});
  records_.emplace_back(std::move(endless));
  ExpectRefused("is larger than");
}

TEST_F(ForgedRestoreTest, EveryFileIsInADirectoryThatTheManifestNames) {
  AddEmptyFile("absent/file");
  ExpectRefused("contains \"absent/file\", which no backup can contain");
  records_.back() = DirectoryRecord{"absent/directory", 0700};
  ExpectRefused("\"absent/directory\"");
  records_.back() = DirectoryRecord{"PG_VERSION", 0700};  // it is a file now
  EXPECT_FALSE(RestoreForged());
  records_.pop_back();
  AddEmptyFile(std::string(kUnfinishedMarker));  // version 0.1 would read tablespaces from it
  ExpectRefused("veza-restoring");
}

// Existing names that are kept are not examined.
TEST_F(ForgedRestoreTest, NoLinkLeadsOutOfTheDirectory) {
  const std::string elsewhere = fixture_.source.Beside("elsewhere");
  const std::string link = fixture_.Target() + "/lost+found";
  std::filesystem::create_directories(elsewhere);
  std::filesystem::create_directories(fixture_.Target());
  std::filesystem::create_directory_symlink(elsewhere, link);
  AddEmptyFile("lost+found/authorized_keys");
  Forge();
  EXPECT_ERROR(fixture_.Restore(), ErrorCode::kDataCorrupted);
  EXPECT_TRUE(std::filesystem::is_empty(elsewhere));

  records_.insert(records_.end() - 1, DirectoryRecord{"lost+found", 0700});
  Forge();
  RestoreOptions options = fixture_.Options();
  options.delta = true;
  EXPECT_FALSE(fixture_.Restore(options));
  EXPECT_TRUE(std::filesystem::is_empty(elsewhere));

  std::filesystem::rename(link, fixture_.Target() + "/notes");
  records_.erase(records_.end() - 2, records_.end());
  AddEmptyFile("notes/authorized_keys");
  Forge();
  options.unknown_names = UnknownNames::kKeep;
  EXPECT_ERROR(fixture_.Restore(options), ErrorCode::kDataCorrupted);
  EXPECT_TRUE(std::filesystem::is_empty(elsewhere));
}

TEST_F(ForgedRestoreTest, WithoutAControlFileThereIsNoServer) {
  File("global/pg_control").path = "global/other";
  EXPECT_FALSE(RestoreForged());
  EXPECT_FALSE(fixture_.HasControlFile());
}

// The backup is expired or deleted during the restore.
TEST_P(RestoreDamageTest, ABackupThatIsRemovedMeanwhileFailsTheRestore) {
  for (const bool with_packs : {true, false}) {
    const auto plan = PlanRestore(*fixture_.repository, fixture_.Options());
    ASSERT_OK(plan);
    std::atomic<bool> removed = false;
    fixture_.repository.store().SetHook([&](FaultStore::Operation operation, std::string_view) {
      if (operation == FaultStore::Operation::kGet && !removed.exchange(true)) {
        std::filesystem::rename(fixture_.repository.PathOf(BackupDocumentName(kTestLabel)),
                                fixture_.repository.Scratch("backup.json"));
        if (with_packs) {
          std::filesystem::rename(PathOf(1), fixture_.repository.Scratch("pack"));
        }
      }
      return Ok();
    });
    RestoreProgress progress;
    const auto restored = ExecuteRestore(*fixture_.repository, *plan, progress);
    fixture_.repository.store().SetHook(nullptr);
    EXPECT_ERROR(restored, ErrorCode::kDataCorrupted);
    EXPECT_THAT(restored.error().message,
                HasSubstr("was removed from the repository while it was being restored"));
    EXPECT_FALSE(fixture_.HasControlFile());
    std::filesystem::rename(fixture_.repository.Scratch("backup.json"),
                            fixture_.repository.PathOf(BackupDocumentName(kTestLabel)));
    if (with_packs) {
      std::filesystem::rename(fixture_.repository.Scratch("pack"), PathOf(1));
    }
    std::filesystem::remove_all(fixture_.Target());
  }
}

}  // namespace
}  // namespace veza
