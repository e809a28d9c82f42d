#include "core/backup/read_wal_changes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/repository/test_repository.h"
#include "core/wal_index/index_catalog.h"
#include "core/wal_index/index_object.h"
#include "core/wal_index/indexed_wal.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

constexpr RelationFile kTable{1663, 5, 16384};
constexpr RelationFile kBorderTable{1663, 5, 16390};
constexpr SegmentNumber kFirst = 7;
constexpr std::size_t kSegments = 4;

// WAL of four segments of 1 MiB from 0/700000 on. In segment n block n of the table changes, and
// the record across its end changes block n of the other table. The last segment is half full.
WalWriter FourSegments(TimelineId timeline = 1) {
  WalWriter wal({.timeline = timeline});
  for (std::uint32_t segment = kFirst; segment < kFirst + kSegments; ++segment) {
    wal.Add(Change(100, kTable, segment));
    const std::size_t end = (segment - kFirst + 1) * kTestSegmentSize;
    while (wal.bytes().size() + 60'000 < end) {
      wal.Add({.xid = 100, .blocks = {{.file = kTable, .block = 1, .data = Bytes(50'000)}}});
    }
    if (segment + 1 == kFirst + kSegments) {
      wal.bytes().resize(end - kTestSegmentSize / 2);
      break;
    }
    WrittenRecord across = Change(100, kBorderTable, segment);
    across.main_data.resize(70'000);
    wal.Add(across);
  }
  return wal;
}

class ReadWalChangesTest : public testing::TestWithParam<Cipher> {
 protected:
  ReadWalChangesTest() {
    std::filesystem::create_directories(PgWal());
    interval_ = {.system_identifier = kTestSystem,
                 .segment_size = kTestSegmentSize,
                 .history = {},
                 .from = Lsn{kFirst * kTestSegmentSize + 100},
                 .to = Lsn{(kFirst + kSegments - 1) * kTestSegmentSize + 200'000},
                 .wal_directory = PgWal(),
                 .jobs = 3,
                 .parent_end = {}};
    interval_.without_proof = true;
  }

  std::string PgWal() const { return repository_.Scratch("pg_wal"); }
  static std::string NameOf(std::size_t segment, TimelineId timeline = 1) {
    return SegmentName(timeline, kFirst + segment, kTestSegmentSize);
  }
  static ByteView Of(const Bytes& whole, std::size_t segment) {
    return ByteView(whole).subspan(segment * kTestSegmentSize, kTestSegmentSize);
  }
  void Archive(const WalWriter& wal, std::size_t first, std::size_t last) {
    const Bytes whole = wal.Whole();
    for (std::size_t segment = first; segment <= last; ++segment) {
      ASSERT_OK(repository_.PushWal(NameOf(segment, wal.options().timeline), Of(whole, segment)));
    }
  }
  void PutIntoPgWal(const WalWriter& wal, std::size_t segment) {
    const Bytes whole = wal.Whole();
    WriteText(PgWal() + "/" + NameOf(segment, wal.options().timeline), AsText(Of(whole, segment)));
  }
  // Stores the index of these segments. `change` may make it another one.
  void StoreIndex(const WalWriter& wal, std::size_t first, std::size_t last,
                  const std::function<void(SegmentIndex&)>& change = {}) {
    IndexObjectWriter writer(*repository_, kTestSystem);
    std::vector<SegmentIndex> indexes = IndexAll(wal);
    for (std::size_t segment = first; segment <= last; ++segment) {
      SegmentIndex& index = indexes[segment];
      const Result<ObjectAttributes> stored = repository_.wal().Attributes(NameOf(segment));
      ASSERT_OK(stored);
      index.summary.digest = *stored->plain_digest;
      index.summary.stored = 1;
      if (change) {
        change(index);
      }
      ASSERT_TRUE(writer.Fits(index));
      writer.Add(std::move(index));
    }
    const Result<std::string> name = writer.Store();
    ASSERT_OK(name);
    index_ = *name;
  }
  WalChangesFound Read() {
    Result<WalChangesFound> found = ReadWalChanges(*repository_, interval_);
    EXPECT_OK(found);
    return found ? std::move(*found) : WalChangesFound();
  }
  void ExpectAll(const WalChangesFound& found) {
    ASSERT_EQ(found.doubt, "");
    ASSERT_NE(found.changes, nullptr);
    EXPECT_THAT(found.changes->In(kTable, 0, 128).pages, ElementsAre(1, 7, 8, 9, 10));
    EXPECT_THAT(found.changes->In(kBorderTable, 0, 128).pages, ElementsAre(7, 8, 9));
    EXPECT_EQ(found.indexed + found.read, kSegments);
  }
  // What has no index, or one that may not be used, is read from WAL.
  void ExpectRead(std::size_t count) {
    const WalChangesFound found = Read();
    ExpectAll(found);
    EXPECT_EQ(found.read, count);
  }
  std::string Doubt() {
    const WalChangesFound found = Read();
    EXPECT_EQ(found.changes, nullptr);
    EXPECT_NE(found.doubt, "");
    return found.doubt;
  }

  TestRepository repository_{GetParam()};
  WalWriter wal_ = FourSegments();
  WalInterval interval_;
  std::string index_;  // the name of the object
};

INSTANTIATE_TEST_SUITE_P(Ciphers, ReadWalChangesTest, testing::ValuesIn(kAllCiphers),
                         CipherTestName);

TEST_P(ReadWalChangesTest, ReadsWalWhereThereIsNoIndex) {
  Archive(wal_, 0, 3);
  ExpectRead(4);
}

TEST_P(ReadWalChangesTest, ReadsWhatIsNotArchivedFromPgWal) {
  Archive(wal_, 0, 1);
  PutIntoPgWal(wal_, 2);
  PutIntoPgWal(wal_, 3);
  ExpectRead(4);
}

TEST_P(ReadWalChangesTest, UsesTheIndex) {
  Archive(wal_, 0, 3);
  StoreIndex(wal_, 0, 2);
  ExpectRead(1);
  for (const int jobs : {1, 8}) {
    interval_.jobs = jobs;
    ExpectRead(1);
  }
}

TEST_P(ReadWalChangesTest, ReadsOnlyTheSegmentsOfTheInterval) {
  Archive(wal_, 1, 2);
  interval_.from = Lsn{(kFirst + 1) * kTestSegmentSize + 100};
  interval_.to = Lsn{(kFirst + 2) * kTestSegmentSize + 200'000};
  const WalChangesFound found = Read();
  ASSERT_EQ(found.doubt, "");
  EXPECT_EQ(found.read, 2U);
  EXPECT_THAT(found.changes->In(kTable, 0, 128).pages, ElementsAre(1, 8, 9));
}

// It was made from another segment of the same name.
TEST_P(ReadWalChangesTest, AnIndexOfOtherWalIsNotUsed) {
  Archive(wal_, 0, 3);
  StoreIndex(wal_, 0, 2, [](SegmentIndex& index) {
    index.summary.digest.bytes[0] ^= 1;
    index.blocks = {};
  });
  ExpectRead(4);
}

TEST_P(ReadWalChangesTest, ADamagedIndexIsNotUsed) {
  Archive(wal_, 0, 3);
  StoreIndex(wal_, 0, 2);
  const std::string whole = ReadText(repository_.PathOf(index_));
  for (const std::size_t at : {std::size_t{70}, whole.size() / 2, whole.size() - 60}) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    WriteText(repository_.PathOf(index_), damaged);
    ExpectAll(Read());
  }
  WriteText(repository_.PathOf(index_), "");
  ExpectRead(4);
}

TEST_P(ReadWalChangesTest, DoubtsOfTheIndexAreDoubts) {
  Archive(wal_, 0, 3);
  StoreIndex(wal_, 0, 2, [](SegmentIndex& index) {
    if (index.summary.number == kFirst + 1) {
      index.summary.doubt = WalDoubt{Lsn{0x800028}, "something was left out"};
      index.summary.doubts = 1;
    }
  });
  EXPECT_EQ(Doubt(), "at 0/800028, something was left out");
}

TEST_P(ReadWalChangesTest, AMissingSegmentIsADoubt) {
  Archive(wal_, 0, 1);
  Archive(wal_, 3, 3);
  EXPECT_EQ(Doubt(),
            "WAL segment \"000000010000000000000009\" is neither in pg_wal nor in the repository");
}

// It is there, and so nobody should look for what has deleted it.
TEST_P(ReadWalChangesTest, ADamagedSegmentIsNotCalledMissing) {
  Archive(wal_, 0, 3);
  const std::string object = repository_.PathOf(WalObjectName(kTestSystem, NameOf(2)).value());
  const std::string whole = ReadText(object);
  for (const std::size_t left : {std::size_t{0}, whole.size() - 20}) {
    WriteText(object, whole.substr(0, left));
    EXPECT_EQ(Doubt(), "WAL segment \"" + NameOf(2) +
                           "\" is not in pg_wal, and is damaged in the repository");
  }
  WriteText(PgWal() + "/" + NameOf(2), "cut off");
  EXPECT_EQ(Doubt(), "WAL segment \"" + NameOf(2) +
                         "\" is damaged in pg_wal, and is damaged in the repository");
  std::filesystem::remove(object);
  EXPECT_EQ(Doubt(),
            "WAL segment \"" + NameOf(2) + "\" is damaged in pg_wal, and is not in the repository");
}

TEST_P(ReadWalChangesTest, WalThatEndsTooEarlyIsADoubt) {
  Archive(wal_, 0, 3);
  interval_.to = Lsn{(kFirst + kSegments) * kTestSegmentSize - 100};
  EXPECT_THAT(Doubt(),
              StartsWith("WAL in segment \"00000001000000000000000A\" can be read up to "));
}

TEST_P(ReadWalChangesTest, DamagedWalIsADoubt) {
  wal_.bytes()[kTestSegmentSize + 100'000] ^= 1;
  Archive(wal_, 0, 3);
  EXPECT_THAT(Doubt(), HasSubstr("0/8"));
}

// The server has taken the file for a later segment.
TEST_P(ReadWalChangesTest, ARecycledFileInPgWalIsPassedOver) {
  Archive(wal_, 0, 3);
  const Bytes whole = wal_.Whole();
  WriteText(PgWal() + "/" + NameOf(1), AsText(Of(whole, 0)));
  std::string half(AsText(Of(whole, 2)));
  half.replace(500'000, 200'000, AsText(Of(whole, 0)).substr(500'000, 200'000));
  WriteText(PgWal() + "/" + NameOf(2), half);
  std::filesystem::create_directory(PgWal() + "/" + NameOf(0));
  ExpectRead(4);
}

// As after an error of the disk. No record goes on there, so the rest of the file is all that
// tells.
TEST_P(ReadWalChangesTest, AFileThatIsCutOffIsNoWholeSegment) {
  WalWriter wal({});
  wal.Add({.blocks = {{.file = kTable, .block = 7, .data = Bytes(100)}}});
  constexpr std::size_t kHeaders = kWalRecordHeader + 20;
  const std::size_t room = 8192 - wal.bytes().size() % 8192;
  wal.Add({.blocks = {{.file = kTable, .block = 7, .data = Bytes(room - kHeaders)}}});
  const std::size_t cut = wal.bytes().size();
  ASSERT_EQ(cut % 8192, 0U);
  wal.Add(Change(100, kTable, 8));
  wal.Switch();
  wal.Add(Change(100, kTable, 9));
  interval_.to = wal.position();
  const std::string whole(AsText(wal.Whole()));
  WriteText(PgWal() + "/" + NameOf(0), whole.substr(0, cut));
  WriteText(PgWal() + "/" + NameOf(1), whole.substr(kTestSegmentSize));
  EXPECT_THAT(Doubt(), HasSubstr(NameOf(0)));

  const Bytes bytes = wal.Whole();
  ASSERT_OK(repository_.PushWal(NameOf(0), Of(bytes, 0)));
  const WalChangesFound found = Read();
  ASSERT_EQ(found.doubt, "");
  EXPECT_THAT(found.changes->In(kTable, 0, 128).pages, ElementsAre(7, 8, 9));
}

// Segment 8 is of another history, in which no record goes on.
TEST_P(ReadWalChangesTest, ARecordWithoutABeginningIsADoubt) {
  WalWriter other({});
  other.Add(Change(100, kTable, 7));
  other.Switch();
  Archive(other, 0, 0);
  Archive(wal_, 1, 3);
  EXPECT_THAT(Doubt(), HasSubstr("WAL segment 8 goes on with a record"));
}

// The server writes there just now.
TEST_P(ReadWalChangesTest, WhatLiesBehindTheIntervalIsNoDoubt) {
  const std::size_t at = 3 * kTestSegmentSize + 300'000;
  wal_.bytes()[at] ^= 1;
  Archive(wal_, 0, 2);
  PutIntoPgWal(wal_, 3);
  interval_.to = Lsn{kFirst * kTestSegmentSize + at - 100'000};
  ExpectAll(Read());
  interval_.to = Lsn{kFirst * kTestSegmentSize + at + 100'000};
  EXPECT_THAT(Doubt(), HasSubstr("can be read up to"));
}

// Another server has archived under the same name.
TEST_P(ReadWalChangesTest, WalThatIsToBeArchivedIsReadFromPgWal) {
  WalWriter other({});
  other.Add(Change(100, kTable, 99));
  other.Switch();
  Archive(other, 0, 0);
  StoreIndex(other, 0, 0);
  Archive(wal_, 1, 3);
  PutIntoPgWal(wal_, 0);
  std::filesystem::create_directory(PgWal() + "/archive_status");
  WriteText(PgWal() + "/archive_status/" + NameOf(0) + ".ready", "");
  ExpectRead(4);
}

TEST_P(ReadWalChangesTest, AnIndexThatCannotBeOfTheSegmentIsNotUsed) {
  Archive(wal_, 0, 3);
  StoreIndex(wal_, 0, 2, [](SegmentIndex& index) { index.summary.end.value += kTestSegmentSize; });
  ExpectRead(4);
}

TEST_P(ReadWalChangesTest, FollowsTheHistory) {
  const WalWriter second = FourSegments(2);
  Archive(wal_, 0, 1);
  Archive(second, 2, 3);
  interval_.history = {2, {{1, Lsn{(kFirst + 2) * kTestSegmentSize + 1000}}}};
  ExpectRead(4);
  interval_.history = {2, {{1, Lsn{(kFirst + 3) * kTestSegmentSize + 1000}}}};
  EXPECT_THAT(Doubt(), HasSubstr("\"000000010000000000000009\""));
}

TEST_P(ReadWalChangesTest, TooMuchWalWithoutAnIndexIsADoubt) {
  Archive(wal_, 0, 3);
  interval_.most_unindexed = 4 * kTestSegmentSize;
  ExpectRead(4);
  interval_.most_unindexed = 3 * kTestSegmentSize;
  EXPECT_EQ(Doubt(),
            "4 MB of WAL would have to be read without an index, more than the limit of 3 MB");
  StoreIndex(wal_, 0, 0);
  ExpectRead(3);
  // It is noticed later that an index is of no use.
  WriteText(repository_.PathOf(index_), "");
  EXPECT_THAT(Doubt(), HasSubstr("would have to be read without an index"));
}

// The interval of a server that has not made its parent since it was started.
class ReadWalHistoryTest : public ReadWalChangesTest {
 protected:
  ReadWalHistoryTest() {
    interval_.parent_end = Lsn{kFirst * kTestSegmentSize + 5000};
    interval_.without_proof = false;
    interval_.own = OwnWal{true, kFirst + 2, kFirst + 2, kRun};
  }
  // Stores segments that say which one they follow.
  void ArchiveLinked(const WalWriter& wal, std::size_t first, std::size_t last) {
    const Bytes whole = wal.Whole();
    for (std::size_t segment = first; segment <= last; ++segment) {
      const std::string path = repository_.Scratch("linked");
      WriteBytes(path, Of(whole, segment));
      SegmentOrigin origin{.run = kRun};
      if (segment > 0) {
        origin.previous =
            LinkTo(NameOf(segment - 1),
                   DigestContent(repository_->digest_method(), repository_->seal_policy().key.get(),
                                 Of(whole, segment - 1)));
      }
      const Result<SealedWalFile> sealed =
          repository_.wal().Seal(NameOf(segment), path, {.origin = [&] { return origin; }});
      ASSERT_OK(sealed);
      ASSERT_OK(repository_.wal().Put(*sealed));
    }
  }

  const Sha256Digest kRun = Sha256Of(AsBytes("run"));
};

INSTANTIATE_TEST_SUITE_P(Ciphers, ReadWalHistoryTest, testing::ValuesIn(kAllCiphers),
                         CipherTestName);

TEST_P(ReadWalHistoryTest, LinkedSegmentsAreRead) {
  ArchiveLinked(wal_, 0, 2);
  PutIntoPgWal(wal_, 3);
  ExpectRead(4);
  StoreIndex(wal_, 0, 2);
  ExpectRead(1);
}

TEST_P(ReadWalHistoryTest, WithoutLinksThereIsADoubt) {
  Archive(wal_, 0, 2);
  PutIntoPgWal(wal_, 3);
  StoreIndex(wal_, 0, 2);
  EXPECT_THAT(Doubt(), HasSubstr("no transaction ended"));
  interval_.own.first = kFirst;
  EXPECT_THAT(Doubt(), HasSubstr("no transaction ended")) << "twins that do nothing are the same";
  interval_.own = {};
  EXPECT_THAT(Doubt(), HasSubstr("known to be this server's own"));
}

// What has the same name there may be of a twin.
TEST_P(ReadWalHistoryTest, BehindItsOwnSegmentsOnlyPgWalIsRead) {
  ArchiveLinked(wal_, 0, 3);
  StoreIndex(wal_, 0, 3);
  EXPECT_EQ(
      Doubt(),
      "WAL segment \"00000001000000000000000A\" is not in pg_wal, and is not known to be in the "
      "repository");
  PutIntoPgWal(wal_, 3);
  ExpectRead(1);
}

// Files of another life of the server.
TEST_P(ReadWalHistoryTest, BeforeItsOwnSegmentsOnlyTheRepositoryIsRead) {
  PutIntoPgWal(wal_, 0);
  PutIntoPgWal(wal_, 3);
  ArchiveLinked(wal_, 1, 2);
  EXPECT_EQ(Doubt(), "the repository does not have WAL segment \"000000010000000000000007\"");
  const std::string object = repository_.PathOf(WalObjectName(kTestSystem, NameOf(0)).value());
  WriteText(object, "");
  EXPECT_EQ(Doubt(), "WAL segment \"000000010000000000000007\" is damaged in the repository");
  std::filesystem::remove(object);
  std::filesystem::create_symlink("/nonexistent", object);
  EXPECT_EQ(Doubt(), "WAL segment \"000000010000000000000007\" is damaged in the repository");
}

// The other history has records of the same sizes on other blocks.
TEST_P(ReadWalHistoryTest, WalOfATwinIsADoubt) {
  WalWriter other({});
  other.Add(Change(100, kTable, 77));
  other.bytes().insert(other.bytes().end(),
                       wal_.bytes().begin() + static_cast<std::ptrdiff_t>(other.bytes().size()),
                       wal_.bytes().end());
  Archive(other, 0, 0);
  ArchiveLinked(wal_, 1, 2);
  PutIntoPgWal(wal_, 3);
  EXPECT_THAT(Doubt(), HasSubstr("follows another segment \"000000010000000000000007\""));
  interval_.without_proof = true;
  EXPECT_EQ(Read().doubt, "") << "nothing else tells";
}

TEST_P(ReadWalHistoryTest, ATimelineThatChangesWhereTheParentEndedIsADoubt) {
  interval_.history = {2, {{1, Lsn{kFirst * kTestSegmentSize + 9000}}}};
  EXPECT_THAT(Doubt(), HasSubstr("the timeline changed in the WAL segment"));
}

TEST_P(ReadWalChangesTest, AStoreThatDoesNotAnswerIsNoDoubt) {
  Archive(wal_, 0, 3);
  StoreIndex(wal_, 0, 2);
  for (const char* const part : {"walindex/", "wal/"}) {
    repository_.store().SetHook([&](FaultStore::Operation, std::string_view name) -> Status {
      return name.starts_with(part) ? MakeError(ErrorCode::kUnavailable, "down") : Ok();
    });
    EXPECT_ERROR(ReadWalChanges(*repository_, interval_), ErrorCode::kUnavailable);
  }
}

TEST_P(ReadWalChangesTest, CanBeCancelled) {
  Archive(wal_, 0, 3);
  repository_.cancellation().Cancel();
  EXPECT_ERROR(ReadWalChanges(*repository_, interval_), ErrorCode::kCancelled);
}

TEST_P(ReadWalChangesTest, ABackupBeforeItsParentIsADoubt) {
  Archive(wal_, 0, 3);
  std::swap(interval_.from, interval_.to);
  EXPECT_THAT(Doubt(), HasSubstr("before its parent"));
}

}  // namespace
}  // namespace veza
