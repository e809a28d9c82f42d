#include "core/repository/backup_catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "core/codec/document.h"
#include "core/codec/json.h"
#include "core/repository/test_repository.h"
#include "core/repository/tombstone.h"
#include "core/s3/loopback_server.h"
#include "core/s3/s3_store.h"

namespace veza {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

class BackupCatalogTest : public testing::Test {
 protected:
  void Have(const std::string& label) { Have(label, repository_->seal_policy()); }
  void Have(const std::string& label, const SealPolicy& policy) { Have(label, policy, {}); }
  void Have(const std::string& label, const SealPolicy& policy, BackupSummary summary) {
    summary.label = label;
    summary.type = ParseLabel(label)->type;
    summary.wal_segment_size = kTestSegmentSize;
    summary.block_size = 8192;
    if (summary.type == BackupType::kDiff) {
      summary.sources = {{summary.full_label()}};
    }
    const auto text = SerializeSummary(summary, policy);
    ASSERT_OK(text);
    WriteText(repository_.PathOf(BackupDocumentName(label)), *text);
  }

  // Behaves as an S3 server with these objects, and with a label of which only delete markers are
  // left.
  LoopbackReply Answer(const LoopbackRequest& request) const {
    if (request.Query("list-type") != "2") {
      const std::string name = request.target.substr(std::string("/bucket/").size());
      return repository_.Exists(name)
                 ? LoopbackReply{200, {}, ReadText(repository_.PathOf(name))}
                 : LoopbackReply{404, {}, "<Error><Code>NoSuchKey</Code></Error>"};
    }
    const std::string prefix = request.Query("prefix");
    const bool grouped = request.Query("delimiter") == "/";
    std::string items;
    std::set<std::string> groups;
    EXPECT_OK(repository_->store().List(prefix, "", [&](const ObjectInfo& object) {
      const std::size_t slash = object.name.find('/', prefix.size());
      if (grouped && slash != std::string::npos) {
        groups.insert(object.name.substr(0, slash + 1));
      } else {
        items += fmt::format(
            "<Contents><Key>{}</Key><LastModified>2026-11-22T02:00:00.000Z</LastModified>"
            "<Size>{}</Size></Contents>",
            object.name, object.size);
      }
      return Ok();
    }));
    if (grouped && prefix == kBackupPrefix) {
      groups.insert("backup/20261123-020000F/");
    }
    for (const std::string& group : groups) {
      items += fmt::format("<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", group);
    }
    return {200,
            {},
            "<ListBucketResult><IsTruncated>false</IsTruncated>" + items + "</ListBucketResult>"};
  }

  TestRepository repository_{Cipher::kAes256Gcm};
};

TEST_F(BackupCatalogTest, AnEmptyRepositoryHoldsNothing) {
  const auto catalog = ReadBackupCatalog(*repository_);
  ASSERT_OK(catalog);
  EXPECT_THAT(catalog->backups, IsEmpty());
  EXPECT_THAT(catalog->unfinished, IsEmpty());
  EXPECT_THAT(catalog->broken, IsEmpty());
}

TEST_F(BackupCatalogTest, DistinguishesBackupsRemainsAndDamage) {
  Have("20261123-020000F");
  Have("20261122-020000F");
  Have("20261122-020000F_20261122-030000D");
  WriteText(repository_.PathOf(PackName("20261124-020000F", 1)), "x");
  Have("20261125-020000F");
  FlipByte(repository_.PathOf(BackupDocumentName("20261125-020000F")), 20);
  Have("20261126-020000F", TestPolicy(Cipher::kNone));  // forged
  WriteText(repository_.PathOf(BackupDocumentName("20261127-020000F")),
            R"({"format":2,"mac":"x"})");
  WriteText(repository_.PathOf(BackupDocumentName("20261128-020000F")),
            std::string((16U << 20) + 1, ' '));

  WriteText(repository_.PathOf(BackupDocumentName("20261129-020000F")),
            SerializeTombstone("20261129-020000F", "node-a", kTestTime, repository_->seal_policy())
                .value());
  WriteText(repository_.PathOf(BackupDocumentName("20261130-020000F")),  // forged
            SerializeTombstone("20261130-020000F", "node-a", kTestTime, TestPolicy(Cipher::kNone))
                .value());

  const auto catalog = ReadBackupCatalog(*repository_);
  ASSERT_OK(catalog);
  EXPECT_THAT(catalog->buried, ElementsAre("20261129-020000F"));
  EXPECT_THAT(catalog->backups,
              ElementsAre(Field(&BackupSummary::label, "20261122-020000F"),
                          Field(&BackupSummary::label, "20261122-020000F_20261122-030000D"),
                          Field(&BackupSummary::label, "20261123-020000F")));
  EXPECT_EQ(catalog->backups[1].type, BackupType::kDiff);
  EXPECT_THAT(catalog->unfinished,
              ElementsAre(Field(&UnfinishedBackup::label, "20261124-020000F")));
  const auto is_broken = [](const char* label, ErrorCode code) {
    return AllOf(Field(&BrokenBackup::label, label),
                 Field(&BrokenBackup::error, Field(&Error::code, code)));
  };
  EXPECT_THAT(catalog->broken,
              ElementsAre(is_broken("20261125-020000F", ErrorCode::kDataCorrupted),
                          is_broken("20261126-020000F", ErrorCode::kPermissionDenied),
                          is_broken("20261127-020000F", ErrorCode::kUnsupported),
                          is_broken("20261128-020000F", ErrorCode::kDataCorrupted),
                          is_broken("20261130-020000F", ErrorCode::kPermissionDenied)));
}

// Unfinished backups are deleted, so they must not include directories of others.
TEST_F(BackupCatalogTest, DirectoriesOfOthersAreNotUnfinishedBackups) {
  WriteText(repository_.PathOf("backup/old/notes"), "x");
  const auto catalog = ReadBackupCatalog(*repository_);
  ASSERT_OK(catalog);
  EXPECT_THAT(catalog->unfinished, IsEmpty());
  EXPECT_THAT(catalog->broken, IsEmpty());
}

TEST_F(BackupCatalogTest, AnErrorOfTheStoreIsReturned) {
  Have("20261122-020000F");
  for (const auto broken : {FaultStore::Operation::kGet, FaultStore::Operation::kListDirectories}) {
    repository_.store().SetHook(
        [broken](FaultStore::Operation operation, std::string_view) -> Status {
          if (operation == broken) {
            return MakeError(ErrorCode::kUnavailable, "the store is away");
          }
          return Ok();
        });
    EXPECT_ERROR(ReadBackupCatalog(*repository_), ErrorCode::kUnavailable);
  }
}

TEST_F(BackupCatalogTest, OneBackupIsReadByItsLabel) {
  Have("20261122-020000F");
  WriteText(repository_.PathOf(PackName("20261124-020000F", 1)), "x");
  EXPECT_EQ(ReadBackup(*repository_, "20261122-020000F").value().label, "20261122-020000F");

  const auto unfinished = ReadBackup(*repository_, "20261124-020000F");
  EXPECT_ERROR(unfinished, ErrorCode::kNotFound);
  EXPECT_THAT(unfinished.error().message, HasSubstr("is not complete"));
  const auto absent = ReadBackup(*repository_, "20261125-020000F");
  EXPECT_ERROR(absent, ErrorCode::kNotFound);
  EXPECT_THAT(absent.error().hint, HasSubstr("20261122-020000F"));
  for (const char* label : {"", "latest", "../20261122-020000F", "20261122-020000F/"}) {
    EXPECT_ERROR(ReadBackup(*repository_, label), ErrorCode::kInvalidArgument);
  }
  FlipByte(repository_.PathOf(BackupDocumentName("20261122-020000F")), 20);
  const auto damaged = ReadBackup(*repository_, "20261122-020000F");
  EXPECT_ERROR(damaged, ErrorCode::kDataCorrupted);
  EXPECT_THAT(damaged.error().message, HasSubstr("20261122-020000F"));
}

TEST_F(BackupCatalogTest, AnEmptyRepositorySaysSo) {
  const auto absent = ReadBackup(*repository_, "20261125-020000F");
  EXPECT_ERROR(absent, ErrorCode::kNotFound);
  EXPECT_THAT(absent.error().hint, HasSubstr("holds no backup"));
}

// The order is that of WAL, whatever the labels say.
TEST_F(BackupCatalogTest, TheOldestComesFirst) {
  const auto have = [&](const std::string& label, Lsn stop) {
    BackupSummary summary;
    summary.label = label;
    summary.wal_segment_size = kTestSegmentSize;
    summary.block_size = 8192;
    summary.stop_lsn = stop;
    WriteText(repository_.PathOf(BackupDocumentName(label)),
              SerializeSummary(summary, repository_->seal_policy()).value());
  };
  have("20261122-020000F", Lsn{300});
  have("20261123-020000F", Lsn{100});
  EXPECT_THAT(ReadBackupCatalog(*repository_).value().backups,
              ElementsAre(Field(&BackupSummary::label, "20261123-020000F"),
                          Field(&BackupSummary::label, "20261122-020000F")));
}

// MinIO lists such a common prefix for a bucket with versioning: there are only delete markers
// under it.
TEST_F(BackupCatalogTest, ALabelWithoutAnObjectIsNotAnUnfinishedBackup) {
  Have("20261122-020000F");
  WriteText(repository_.PathOf(PackName("20261124-020000F", 1)), "x");
  const LoopbackServer server([&](const LoopbackRequest& request) { return Answer(request); });
  S3Options options;
  options.bucket = "bucket";
  options.endpoint = server.endpoint();
  options.access_key = "key";
  options.secret_key = "secret";
  const auto repository = Repository::Open(MakeS3Store(options, Environment{}).value(),
                                           repository_.options(), repository_.environment())
                              .value();
  EXPECT_THAT(repository->store().ListDirectories(kBackupPrefix).value(),
              ElementsAre("20261122-020000F", "20261123-020000F", "20261124-020000F"));
  const BackupCatalog catalog = ReadBackupCatalog(*repository).value();
  EXPECT_THAT(catalog.backups, ElementsAre(Field(&BackupSummary::label, "20261122-020000F")));
  EXPECT_THAT(catalog.unfinished, ElementsAre(Field(&UnfinishedBackup::label, "20261124-020000F")));
  EXPECT_THAT(ReadBackup(*repository, "20261123-020000F").error().message,
              HasSubstr("there is no backup"));
}

// Somebody has made up large documents. The other backups must still be read, and the large ones
// must not count as absent: retention could then delete what they need.
TEST_F(BackupCatalogTest, TheLargestAreBrokenWhenMemoryIsExceeded) {
  constexpr std::size_t kEnough = 64 << 10;
  BackupSummary large;
  large.node = std::string(kEnough / 2, 'x');
  Have("20261122-020000F");
  Have("20261123-020000F", repository_->seal_policy(), large);
  large.node += std::string(kEnough / 4, 'x');
  Have("20261124-020000F", repository_->seal_policy(), large);
  Have("20261125-020000F");
  for (const SummaryParts parts : {SummaryParts::kFacts, SummaryParts::kAll}) {
    const auto catalog = ReadBackupCatalog(*repository_, parts, {.memory = kEnough});
    ASSERT_OK(catalog);
    EXPECT_THAT(catalog->backups, ElementsAre(Field(&BackupSummary::label, "20261122-020000F"),
                                              Field(&BackupSummary::label, "20261123-020000F"),
                                              Field(&BackupSummary::label, "20261125-020000F")));
    ASSERT_THAT(catalog->broken, ElementsAre(Field(&BrokenBackup::label, "20261124-020000F")));
    EXPECT_ERROR(Status(tl::unexpected(catalog->broken[0].error)), ErrorCode::kDataCorrupted);
    EXPECT_THAT(catalog->broken[0].error.message, HasSubstr("was not read"));
    EXPECT_THAT(catalog->unfinished, IsEmpty());
  }
  // The limit applies only to reading many at once.
  EXPECT_EQ(ReadBackup(*repository_, "20261124-020000F").value().node, large.node);
}

TEST_F(BackupCatalogTest, WhatDoesNotFitIsBrokenWhenTheStoredSizeIsExceeded) {
  BackupSummary large;
  large.node = std::string(64 << 10, 'x');
  Have("20261122-020000F");
  Have("20261123-020000F", repository_->seal_policy(), large);
  Have("20261124-020000F", repository_->seal_policy(), large);
  WriteText(repository_.PathOf(PackName("20261125-020000F", 1)), "x");
  Have("20261126-020000F");
  const auto catalog = ReadBackupCatalog(*repository_, SummaryParts::kFacts, {.stored = 100 << 10});
  ASSERT_OK(catalog);
  EXPECT_THAT(catalog->backups, ElementsAre(Field(&BackupSummary::label, "20261122-020000F"),
                                            Field(&BackupSummary::label, "20261123-020000F"),
                                            Field(&BackupSummary::label, "20261126-020000F")));
  EXPECT_THAT(catalog->broken, ElementsAre(Field(&BrokenBackup::label, "20261124-020000F")));
  EXPECT_THAT(catalog->unfinished,
              ElementsAre(Field(&UnfinishedBackup::label, "20261125-020000F")));
}

TEST_F(BackupCatalogTest, HoldsWhatItsReadersAskFor) {
  BackupSummary whole;
  whole.databases = {{5, "postgres", 1, 100}, {6, "missing", 2, 0}};
  whole.extensions.assign(1000, {"postgres", "plpgsql", "1.0"});
  whole.settings = {{"work_mem", "4MB"}};
  whole.notes.Skip({"log/x", "a FIFO"});
  Have("20261122-020000F", repository_->seal_policy(), whole);
  const auto read = [&](SummaryParts parts, const CatalogBudget& budget) {
    return ReadBackupCatalog(*repository_, parts, budget).value().backups.at(0);
  };
  const BackupSummary facts = read(SummaryParts::kFacts, {});
  EXPECT_THAT(facts.databases, ElementsAre(Field(&DatabaseSummary::name, "missing")));
  EXPECT_THAT(facts.extensions, IsEmpty());
  EXPECT_THAT(facts.settings, IsEmpty());
  EXPECT_EQ(facts.notes.skipped_count, 0U);
  EXPECT_EQ(read(SummaryParts::kNotes, {}).notes.skipped_count, 1U);
  const BackupSummary all = read(SummaryParts::kAll, {});
  EXPECT_EQ(all.databases.size(), 2U);
  EXPECT_EQ(all.extensions.size(), 1000U);
  EXPECT_FALSE(all.is_cut);
  // The backup is kept without its lists rather than not at all.
  const BackupSummary cut = read(SummaryParts::kAll, {.memory = 64 << 10});
  EXPECT_TRUE(cut.is_cut);
  EXPECT_EQ(cut.databases.size(), 1U);
  EXPECT_THAT(cut.extensions, IsEmpty());
}

// The message may quote the document.
TEST_F(BackupCatalogTest, ShortensTheMessageOfADamagedDocument) {
  TestRepository plain(Cipher::kNone);
  Have("20261122-020000F", plain->seal_policy());
  const std::string name = BackupDocumentName("20261122-020000F");
  Json document = ParseJson(ReadText(repository_.PathOf(name))).value();
  document.erase("mac");
  document["settings"][std::string(100'000, 'x')] = 4;
  WriteText(plain.PathOf(name),
            SignDocument(std::move(document), plain->seal_policy(), name).value());
  const auto catalog = ReadBackupCatalog(*plain);
  ASSERT_OK(catalog);
  ASSERT_THAT(catalog->broken, testing::SizeIs(1));
  EXPECT_THAT(catalog->broken[0].error.message, HasSubstr("xxx"));
  EXPECT_LT(catalog->broken[0].error.message.size(), 1000U);
}

// Somebody has renamed a backup. Its document names the true label.
TEST_F(BackupCatalogTest, ARenamedBackupIsBroken) {
  Have("20261122-020000F");
  std::filesystem::rename(repository_.PathOf("backup/20261122-020000F"),
                          repository_.PathOf("backup/20261122-020001F"));
  const auto catalog = ReadBackupCatalog(*repository_);
  ASSERT_OK(catalog);
  EXPECT_THAT(catalog->backups, IsEmpty());
  EXPECT_THAT(catalog->broken, ElementsAre(Field(&BrokenBackup::label, "20261122-020001F")));
}

}  // namespace
}  // namespace veza
