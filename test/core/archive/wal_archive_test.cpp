#include "core/archive/wal_archive.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "core/archive/push_wal_file.h"
#include "core/memory_gauge.h"
#include "core/repository/test_repository.h"

namespace veza {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kSegment = "000000010000000000000003";
constexpr const char* kNextSegment = "000000010000000000000004";

std::string ObjectOf(const std::string& file) {
  return WalObjectName(kTestSystem, file).value();
}

class WalArchiveTest : public testing::TestWithParam<Cipher> {
 protected:
  Result<std::string> Fetch(const std::string& file) {
    const std::string destination = repository_.Scratch("fetched/RECOVERYXLOG");
    std::filesystem::remove_all(repository_.Scratch("fetched"));
    std::filesystem::create_directories(repository_.Scratch("fetched"));
    const Status status = repository_.wal().Fetch(file, destination);
    const std::vector<std::string> left = ListTree(repository_.Scratch("fetched"));
    if (!status) {
      EXPECT_THAT(left, IsEmpty());
      return status.error();
    }
    EXPECT_THAT(left, ElementsAre("RECOVERYXLOG"));
    return ReadText(destination);
  }

  TestRepository repository_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Ciphers, WalArchiveTest, testing::ValuesIn(kAllCiphers), CipherTestName);

TEST_P(WalArchiveTest, EveryKindOfFileComesBack) {
  const Bytes noise = NoiseBytes(kTestSegmentSize);
  const Bytes zeros(kTestSegmentSize);
  const std::pair<std::string, Bytes> files[] = {
      {kSegment, noise},
      {kNextSegment, zeros},
      {std::string(kNextSegment) + ".partial", noise},
      {std::string(kSegment) + ".00000028.backup", NoiseBytes(300)},
      {"00000002.history", Bytes{'1'}},
      {"00000003.history", {}}};
  for (const auto& [file, content] : files) {
    EXPECT_EQ(repository_.wal().Contains(file).value(), false) << file;
    EXPECT_EQ(repository_.PushWal(file, content).value(), PushOutcome::kStored) << file;
    EXPECT_EQ(repository_.wal().Contains(file).value(), true) << file;
    EXPECT_TRUE(repository_.Exists(ObjectOf(file)));
  }
  for (const auto& [file, content] : files) {
    const auto fetched = Fetch(file);
    ASSERT_OK(fetched);
    EXPECT_EQ(*fetched, AsText(content)) << file;
    EXPECT_EQ(repository_.wal().FetchText(file).value(), AsText(content)) << file;
  }
}

TEST_P(WalArchiveTest, TheSameContentAgainIsASuccess) {
  const Bytes content = NoiseBytes(kTestSegmentSize);
  EXPECT_EQ(repository_.PushWal(kSegment, content).value(), PushOutcome::kStored);
  const std::string before = ReadText(repository_.PathOf(ObjectOf(kSegment)));
  EXPECT_EQ(repository_.PushWal(kSegment, content).value(), PushOutcome::kAlreadyThere);
  EXPECT_EQ(ReadText(repository_.PathOf(ObjectOf(kSegment))), before);
}

TEST_P(WalArchiveTest, OtherContentIsAConflictThatNamesTheWriter) {
  ASSERT_OK(repository_.PushWal(kSegment, NoiseBytes(kTestSegmentSize, 1)));
  const std::string before = ReadText(repository_.PathOf(ObjectOf(kSegment)));
  const auto second = repository_.PushWal(kSegment, NoiseBytes(kTestSegmentSize, 2));
  EXPECT_ERROR(second, ErrorCode::kConflict);
  EXPECT_THAT(second.error().message,
              AllOf(HasSubstr(kSegment), HasSubstr("node-a"), HasSubstr("2026-11-22T02:00:00Z")));
  EXPECT_THAT(second.error().hint, HasSubstr("Nothing was overwritten"));
  EXPECT_FALSE(second.error().retryable);
  EXPECT_EQ(ReadText(repository_.PathOf(ObjectOf(kSegment))), before);
  ASSERT_OK(repository_.PushWal("00000002.history", AsBytes("1\t0/1\n")));
  EXPECT_ERROR(repository_.PushWal("00000002.history", AsBytes("1\t0/1\n\n")),
               ErrorCode::kConflict);
}

// A server that was put back in time finds segments that it did not write.
TEST_P(WalArchiveTest, AnotherSegmentThanTheServersIsAConflict) {
  const std::string path = repository_.Scratch("segment");
  const Bytes content = NoiseBytes(kTestSegmentSize, 1);
  WriteBytes(path, content);
  EXPECT_ERROR(repository_.wal().RequireSame(kSegment, path), ErrorCode::kNotFound);
  ASSERT_OK(repository_.PushWal(kSegment, content));
  EXPECT_OK(repository_.wal().RequireSame(kSegment, path));
  WriteBytes(path, NoiseBytes(kTestSegmentSize, 2));
  const Status other = repository_.wal().RequireSame(kSegment, path);
  EXPECT_ERROR(other, ErrorCode::kConflict);
  EXPECT_THAT(other.error().message, AllOf(HasSubstr(kSegment), HasSubstr("node-a")));
  // The server removes a file only after it has archived it.
  std::filesystem::remove(path);
  EXPECT_OK(repository_.wal().RequireSame(kSegment, path));
}

// The server recycles a segment that was archived: it gets another name, and later other content.
TEST_P(WalArchiveTest, ASegmentThatIsPutToOtherUseMeanwhileIsNoConflict) {
  const std::string path = repository_.Scratch("segment");
  WriteBytes(path, NoiseBytes(kTestSegmentSize, 2));
  ASSERT_OK(repository_.PushWal(kSegment, NoiseBytes(kTestSegmentSize, 1)));
  repository_.store().SetHook([&](FaultStore::Operation, std::string_view) {
    std::filesystem::rename(path, path + ".recycled");
    WriteBytes(path, NoiseBytes(kTestSegmentSize, 3));
    return Ok();
  });
  EXPECT_OK(repository_.wal().RequireSame(kSegment, path));
}

// One node writes version 1 of the format, the other one version 2.
TEST_P(WalArchiveTest, WhatAnotherVersionHasStoredIsComparedByItsDigest) {
  if (GetParam() == Cipher::kNone) {
    return;  // there is no version 2
  }
  const auto attributes = [&](const std::string& file) {
    StreamOpener opener(repository_->seal_policy(), ObjectOf(file), [](ByteView) { return Ok(); });
    const std::string object = ReadText(repository_.PathOf(ObjectOf(file)));
    EXPECT_OK(opener.Feed(AsBytes(object)));
    EXPECT_OK(opener.Finish());
    return opener.attributes().value();
  };
  const Bytes content = NoiseBytes(kTestSegmentSize, 1);
  const Bytes other = NoiseBytes(kTestSegmentSize, 2);
  const std::string path = repository_.Scratch("segment");
  const std::pair<const char*, DigestMethod> stored[] = {{kSegment, DigestMethod::kSha256},
                                                         {kNextSegment, DigestMethod::kGmac}};
  for (const auto& [file, method] : stored) {
    repository_.WriteBy(method);
    ASSERT_OK(repository_.PushWal(file, content));
    EXPECT_EQ(attributes(file).plain_digest,
              DigestContent(method, repository_->seal_policy().key.get(), content));
    EXPECT_EQ(attributes(file).plain_size, content.size());
    for (const DigestMethod ours : {DigestMethod::kSha256, DigestMethod::kGmac}) {
      repository_.WriteBy(ours);
      const Result<PushOutcome> again = repository_.PushWal(file, content);
      ASSERT_OK(again);
      EXPECT_EQ(*again, PushOutcome::kAlreadyThere);
      EXPECT_ERROR(repository_.PushWal(file, other), ErrorCode::kConflict);
      WriteBytes(path, content);
      EXPECT_OK(repository_.wal().RequireSame(file, path));
      WriteBytes(path, other);
      EXPECT_ERROR(repository_.wal().RequireSame(file, path), ErrorCode::kConflict);
    }
  }
}

TEST_P(WalArchiveTest, OfManyWritersOfTheSameSegmentOneStoresIt) {
  const std::string path = repository_.Scratch("segment");
  WriteBytes(path, NoiseBytes(kTestSegmentSize));
  std::atomic<int> stored{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      const auto outcome = PushWalFile(repository_.wal(), kSegment, path);
      ASSERT_OK(outcome);
      stored += *outcome == PushOutcome::kStored ? 1 : 0;
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(stored, 1);
}

TEST_P(WalArchiveTest, SegmentsOfAnotherSizeAreRefused) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{kTestSegmentSize - 1},
                                 std::size_t{kTestSegmentSize + 1}}) {
    for (const std::string& file : {std::string(kSegment), std::string(kSegment) + ".partial"}) {
      const auto pushed = repository_.PushWal(file, Bytes(size));
      EXPECT_ERROR(pushed, ErrorCode::kDataCorrupted);
      EXPECT_THAT(pushed.error().message,
                  AllOf(HasSubstr(fmt::format("{} bytes", size)), HasSubstr("1048576")));
      EXPECT_FALSE(repository_.wal().Contains(file).value());
    }
  }
}

TEST_P(WalArchiveTest, WhatIsNotThereIsNotFoundAndLeavesNothing) {
  for (const char* file : {kSegment, "00000002.history"}) {
    EXPECT_ERROR(Fetch(file), ErrorCode::kNotFound);
    EXPECT_ERROR(repository_.wal().FetchText(file), ErrorCode::kNotFound);
  }
  const auto pushed = PushWalFile(repository_.wal(), kSegment, repository_.Scratch("absent"));
  EXPECT_ERROR(pushed, ErrorCode::kNotFound);
  EXPECT_THAT(pushed.error().message, HasSubstr("absent"));
}

TEST_P(WalArchiveTest, OtherNamesAreRefused) {
  for (const char* file : {"", "x", "../../etc/passwd", "000000010000000000000003.gz"}) {
    EXPECT_ERROR(Fetch(file), ErrorCode::kInvalidArgument);
    EXPECT_ERROR(repository_.PushWal("x", Bytes(1)), ErrorCode::kInvalidArgument);
    EXPECT_ERROR(repository_.wal().Contains(file), ErrorCode::kInvalidArgument);
    EXPECT_ERROR(repository_.wal().FetchText(file), ErrorCode::kInvalidArgument);
  }
}

TEST_P(WalArchiveTest, DamageIsRefusedAndNamed) {
  ASSERT_OK(repository_.PushWal(kSegment, NoiseBytes(kTestSegmentSize)));
  const std::string path = repository_.PathOf(ObjectOf(kSegment));
  const std::string good = ReadText(path);
  const auto expect_refused = [&](const std::string& content) {
    WriteText(path, content);
    const auto fetched = Fetch(kSegment);
    ASSERT_FALSE(fetched);
    EXPECT_NE(fetched.error().code, ErrorCode::kNotFound);
    EXPECT_THAT(fetched.error().message, HasSubstr(ObjectOf(kSegment)));
  };
  for (const std::size_t at : {std::size_t{0}, std::size_t{9}, std::size_t{20}, std::size_t{40},
                               std::size_t{70}, good.size() / 2, good.size() - 1}) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x20);
    expect_refused(bad);
  }
  for (const std::size_t size : {std::size_t{0}, std::size_t{30}, std::size_t{64}, std::size_t{300},
                                 good.size() / 2, good.size() - 1}) {
    expect_refused(good.substr(0, size));
  }
  expect_refused(good + "x");
  WriteText(path, good);
  EXPECT_OK(Fetch(kSegment));
}

TEST_P(WalArchiveTest, SwappedObjectsAreRefused) {
  ASSERT_OK(repository_.PushWal(kSegment, NoiseBytes(kTestSegmentSize, 1)));
  ASSERT_OK(repository_.PushWal(kNextSegment, NoiseBytes(kTestSegmentSize, 2)));
  const std::string first = ReadText(repository_.PathOf(ObjectOf(kSegment)));
  const std::string second = ReadText(repository_.PathOf(ObjectOf(kNextSegment)));
  WriteText(repository_.PathOf(ObjectOf(kSegment)), second);
  WriteText(repository_.PathOf(ObjectOf(kNextSegment)), first);
  for (const char* file : {kSegment, kNextSegment}) {
    const auto fetched = Fetch(file);
    EXPECT_ERROR(fetched, ErrorCode::kDataCorrupted);
    EXPECT_THAT(fetched.error().message, HasSubstr(ObjectOf(file)));
  }
}

// The object of that name cannot be compared with the file: that is no success and no conflict.
TEST_P(WalArchiveTest, ADamagedObjectUnderTheNameIsAnError) {
  const Bytes content = NoiseBytes(kTestSegmentSize);
  ASSERT_OK(repository_.PushWal(kSegment, content));
  const std::string path = repository_.PathOf(ObjectOf(kSegment));
  const std::string good = ReadText(path);
  for (const std::string& bad :
       {std::string(), good.substr(0, 40), good.substr(0, 100), std::string(5000, 'x')}) {
    WriteText(path, bad);
    const auto pushed = repository_.PushWal(kSegment, content);
    EXPECT_ERROR(pushed, ErrorCode::kDataCorrupted);
    EXPECT_THAT(pushed.error().message, HasSubstr(ObjectOf(kSegment)));
    EXPECT_EQ(ReadText(path), bad);
  }
}

TEST_P(WalArchiveTest, AFailureInTheMiddleLeavesNothing) {
  ASSERT_OK(repository_.PushWal(kSegment, NoiseBytes(kTestSegmentSize)));
  std::filesystem::create_directories(repository_.Scratch("fetched/RECOVERYXLOG/in the way"));
  const Status fetched =
      repository_.wal().Fetch(kSegment, repository_.Scratch("fetched/RECOVERYXLOG"));
  EXPECT_FALSE(fetched);
  EXPECT_THAT(ListTree(repository_.Scratch("fetched")),
              ElementsAre("RECOVERYXLOG", "RECOVERYXLOG/in the way"));
  const Status nowhere = repository_.wal().Fetch(kSegment, repository_.Scratch("absent/file"));
  EXPECT_ERROR(nowhere, ErrorCode::kNotFound);
}

TEST_P(WalArchiveTest, AFileThatIsThereIsReplacedAsAWhole) {
  ASSERT_OK(repository_.PushWal("00000002.history", AsBytes("new")));
  const std::string destination = repository_.Scratch("RECOVERYHISTORY");
  WriteText(destination, "older and longer");
  ASSERT_OK(repository_.wal().Fetch("00000002.history", destination));
  EXPECT_EQ(ReadText(destination), "new");

  WriteText(repository_.PathOf(ObjectOf("00000002.history")), "damage");
  EXPECT_FALSE(repository_.wal().Fetch("00000002.history", destination));
  EXPECT_EQ(ReadText(destination), "new");
}

// Something that is not a regular file belongs to somebody else, and so does what a link leads to.
TEST(WalArchive, OnlyAFileIsReplaced) {
  const TestRepository repository;
  repository.PushSegment(1, 1);
  const std::string segment = SegmentName(1, 1, kTestSegmentSize);
  const std::string other = repository.Scratch("other");
  const std::string destination = repository.Scratch("fetched/RECOVERYXLOG");
  const std::string temporary = fmt::format("{}.veza-tmp-{}", destination, getpid());
  WriteText(other, "mine");
  std::filesystem::create_directory(repository.Scratch("fetched"));
  const std::pair<const char*, std::function<void(const std::string&)>> obstacles[] = {
      {"a directory", [](const std::string& path) { std::filesystem::create_directory(path); }},
      {"a symbolic link",
       [&](const std::string& path) { std::filesystem::create_symlink(other, path); }},
      {"a symbolic link",
       [](const std::string& path) { std::filesystem::create_symlink("nowhere", path); }},
      {"a FIFO", [](const std::string& path) { ASSERT_EQ(mkfifo(path.c_str(), 0600), 0); }},
      {"a socket",
       [](const std::string& path) { ASSERT_EQ(mknod(path.c_str(), S_IFSOCK | 0600, 0), 0); }}};
  for (const std::string& path : {destination, temporary}) {
    for (const auto& [kind, make] : obstacles) {
      make(path);
      const auto before = std::filesystem::symlink_status(path).type();
      const Status fetched = repository.wal().Fetch(segment, destination);
      EXPECT_ERROR(fetched, ErrorCode::kInvalidArgument);
      EXPECT_THAT(fetched.error().message, HasSubstr(fmt::format("\"{}\" is {}", path, kind)));
      EXPECT_EQ(std::filesystem::symlink_status(path).type(), before) << kind;
      EXPECT_THAT(ListTree(repository.Scratch("fetched")), testing::SizeIs(1)) << kind;
      std::filesystem::remove(path);
    }
  }
  EXPECT_EQ(ReadText(other), "mine");
  EXPECT_FALSE(std::filesystem::exists(repository.Scratch("fetched/nowhere")));
  // A killed process leaves a regular file, which may be replaced.
  WriteText(temporary, "half");
  EXPECT_OK(repository.wal().Fetch(segment, destination));
  EXPECT_ERROR(repository.wal().Fetch(segment, ""), ErrorCode::kInvalidArgument);
}

TEST(WalArchive, AnEmptyObjectIsInTheWayAndNamed) {
  TestRepository repository;
  const std::string path = repository.Scratch("segment");
  WriteText(path, std::string(kTestSegmentSize, 'w'));
  const std::string object = WalObjectName(kTestSystem, kSegment).value();
  WriteText(repository.PathOf(object), "");
  const auto refused = PushWalFile(repository.wal(), kSegment, path);
  EXPECT_ERROR(refused, ErrorCode::kDataCorrupted);
  ASSERT_FALSE(refused.has_value());
  EXPECT_THAT(refused.error().message, HasSubstr("has 0 bytes"));
  EXPECT_THAT(refused.error().hint, HasSubstr("Delete the object"));
  EXPECT_FALSE(repository.wal().Contains(kSegment).value());
  EXPECT_TRUE(repository.wal().IsTaken(kSegment).value());
  ASSERT_OK(repository->store().Delete(object));
  EXPECT_OK(PushWalFile(repository.wal(), kSegment, path));
}

// --- What is there -------------------------------------------------------------------------------

// Makes objects of given names. Their content does not matter to a listing.
class WalListingTest : public testing::Test {
 protected:
  void Have(const std::string& file, const std::string& content = "x") {
    WriteText(repository_.PathOf(ObjectOf(file)), content);
  }
  void HaveSegments(TimelineId timeline, SegmentNumber first, SegmentNumber last) {
    for (SegmentNumber number = first; number <= last; ++number) {
      Have(SegmentName(timeline, number, kSize));
    }
  }
  std::vector<std::string> Missing(TimelineId timeline, SegmentNumber first, SegmentNumber last,
                                   std::size_t limit = 100) {
    const auto missing = repository_.wal().Missing(timeline, first, last, kSize, limit);
    EXPECT_OK(missing);
    return missing.value_or(std::vector<std::string>{"error"});
  }
  std::vector<std::string> Ranges(const std::string& from = {}) {
    const auto ranges = repository_.wal().Ranges(kSize, from);
    EXPECT_OK(ranges);
    std::vector<std::string> texts;
    for (const WalRange& range : ranges.value_or(std::vector<WalRange>{})) {
      texts.push_back(fmt::format("{}: {}-{}", range.timeline, range.first, range.last));
      EXPECT_EQ(range.segments,
                SegmentNumberOf(range.last, kSize) - SegmentNumberOf(range.first, kSize) + 1);
      EXPECT_EQ(range.last_stored,
                repository_->store().Head(ObjectOf(range.last)).value().modified);
    }
    return texts;
  }

  static constexpr std::uint64_t kSize = 64U << 20;  // 64 segments a log
  TestRepository repository_;
};

TEST_F(WalListingTest, NothingIsMissingOfARunAcrossALog) {
  HaveSegments(1, 60, 70);
  EXPECT_THAT(Missing(1, 60, 70), IsEmpty());
  EXPECT_THAT(Missing(1, 63, 64), IsEmpty());
  EXPECT_THAT(Missing(1, 64, 64), IsEmpty());
}

TEST_F(WalListingTest, EachMissingSegmentIsNamed) {
  HaveSegments(1, 60, 62);
  HaveSegments(1, 65, 70);
  EXPECT_THAT(Missing(1, 59, 72),
              ElementsAre("00000001000000000000003B", "00000001000000000000003F",
                          "000000010000000100000000", "000000010000000100000007",
                          "000000010000000100000008"));
  EXPECT_THAT(Missing(1, 63, 64), SizeIs(2));
  EXPECT_THAT(Missing(1, 200, 201), SizeIs(2));
  EXPECT_THAT(Missing(1, 0, 1), SizeIs(2));
  EXPECT_THAT(Missing(2, 60, 62), SizeIs(3));
}

TEST_F(WalListingTest, NoMoreAreNamedThanAskedFor) {
  HaveSegments(1, 10, 10);
  EXPECT_THAT(Missing(1, 0, 1'000'000'000, 3),
              ElementsAre("000000010000000000000000", "000000010000000000000001",
                          "000000010000000000000002"));
  EXPECT_THAT(Missing(1, 10, 1'000'000'000, 1), ElementsAre("00000001000000000000000B"));
}

TEST_F(WalListingTest, OtherFilesAreNoSegments) {
  for (const char* file :
       {"000000010000000000000003.partial", "000000010000000000000003.00000028.backup",
        "00000001.history", "00000002.history"}) {
    Have(file);
  }
  WriteText(
      repository_.PathOf("wal/7711348379840072545/00000001/00000000/000000010000000000000004.gz"),
      "x");
  Have("000000010000000000000002");
  EXPECT_THAT(Missing(1, 2, 4),
              ElementsAre("000000010000000000000003", "000000010000000000000004"));
  EXPECT_THAT(Ranges(), ElementsAre("1: 000000010000000000000002-000000010000000000000002"));
}

TEST_F(WalListingTest, AnEmptyObjectHoldsNoSegment) {
  HaveSegments(1, 2, 5);
  Have("000000010000000000000003", "");
  Have("000000010000000000000004", "");
  EXPECT_THAT(Missing(1, 2, 5),
              ElementsAre("000000010000000000000003", "000000010000000000000004"));
  EXPECT_THAT(Ranges(), ElementsAre("1: 000000010000000000000002-000000010000000000000002",
                                    "1: 000000010000000000000005-000000010000000000000005"));
  EXPECT_EQ(repository_.wal().FirstOf(1, 3, 9, kSize).value(), SegmentNumber{5});
  Have("00000002.history", "");
  EXPECT_FALSE(repository_.wal().Contains("00000002.history").value());
  Have("00000002.history");
  EXPECT_TRUE(repository_.wal().Contains("00000002.history").value());
}

TEST_F(WalListingTest, RangesEndAtHolesAndTimelines) {
  EXPECT_THAT(Ranges(), IsEmpty());
  HaveSegments(1, 60, 66);
  HaveSegments(1, 68, 68);
  HaveSegments(2, 69, 70);
  Have("00000002.history");
  HaveSegments(10, 71, 71);
  EXPECT_THAT(Ranges(), ElementsAre("1: 00000001000000000000003C-000000010000000100000002",
                                    "1: 000000010000000100000004-000000010000000100000004",
                                    "2: 000000020000000100000005-000000020000000100000006",
                                    "10: 0000000A0000000100000007-0000000A0000000100000007"));
  EXPECT_THAT(Ranges("000000010000000100000001"),
              ElementsAre("1: 000000010000000100000000-000000010000000100000002",
                          "1: 000000010000000100000004-000000010000000100000004",
                          "2: 000000020000000100000005-000000020000000100000006",
                          "10: 0000000A0000000100000007-0000000A0000000100000007"));
  EXPECT_THAT(Ranges("000000020000000100000005"), SizeIs(2));
}

TEST_F(WalListingTest, SystemsHaveTheirOwn) {
  HaveSegments(1, 1, 2);
  const WalArchive other(*repository_, 42);
  EXPECT_THAT(other.Missing(1, 1, 2, kSize, 10).value(), SizeIs(2));
  EXPECT_THAT(other.Ranges(kSize).value(), IsEmpty());
}

TEST_F(WalListingTest, TroubleOfTheStoreIsNotAnAnswer) {
  HaveSegments(1, 1, 2);
  repository_.store().SetHook([](FaultStore::Operation, std::string_view) -> Status {
    return MakeError(ErrorCode::kUnavailable, "the store is away");
  });
  const WalArchive wal = repository_.wal();
  EXPECT_ERROR(wal.Missing(1, 1, 2, kSize, 10), ErrorCode::kUnavailable);
  EXPECT_ERROR(wal.Ranges(kSize), ErrorCode::kUnavailable);
  EXPECT_ERROR(wal.Contains(kSegment), ErrorCode::kUnavailable);
  EXPECT_ERROR(wal.FetchText("00000002.history"), ErrorCode::kUnavailable);
  EXPECT_ERROR(wal.Fetch(kSegment, repository_.Scratch("x")), ErrorCode::kUnavailable);
}

TEST_F(WalListingTest, AForeignSystemMayNotPush) {
  const std::string path = repository_.Scratch("segment");
  WriteBytes(path, Bytes(kTestSegmentSize));
  EXPECT_ERROR(PushWalFile(WalArchive(*repository_, 42), kSegment, path), ErrorCode::kConflict);
}

// --- Large segments ------------------------------------------------------------------------------

TEST(WalArchive, AGibibyteInBoundedMemory) {
  constexpr std::uint64_t kLarge = MemoryGauge::Amount(1U << 30);
  constexpr std::uint64_t kBound = 40U << 20;
  const TemporaryDirectory directory;
  Identity identity = TestIdentity();
  identity.wal_segment_size = kLarge;
  RepositoryOptions options;
  options.cipher = Cipher::kNone;
  options.node = "node-a";
  options.spill_directory = directory.path();
  const auto repository = Repository::Initialise(
      MakeLocalStore(directory.path() + "/repository", {}).value(), options, {}, identity, false);
  ASSERT_OK(repository);
  const std::string path = directory.Write("segment", "");
  ASSERT_EQ(truncate(path.c_str(), kLarge), 0);

  const WalArchive wal(**repository, kTestSystem);
  const MemoryGauge gauge;
  ASSERT_OK(PushWalFile(wal, kSegment, path));
  ASSERT_OK(wal.Fetch(kSegment, directory.path() + "/fetched"));
  EXPECT_EQ(std::filesystem::file_size(directory.path() + "/fetched"), kLarge);
  if (MemoryGauge::meaningful()) {
    EXPECT_LT(gauge.grown_bytes(), kBound);
  }
  // The search for a point in time reads a whole segment.
  const auto whole = wal.FetchText(kSegment);
  ASSERT_OK(whole);
  EXPECT_EQ(whole->size(), kLarge);
}

// Content that cannot be compressed goes to the spill directory.
TEST(WalArchive, ASealedSegmentIsSpilled) {
  constexpr std::uint64_t kLarge = 128U << 20;
  constexpr std::uint64_t kBound = 100U << 20;  // 32 MiB are held in memory by design
  const TemporaryDirectory directory;
  Identity identity = TestIdentity();
  identity.wal_segment_size = kLarge;
  RepositoryOptions options;
  options.cipher = Cipher::kNone;
  options.compression_level = 1;
  options.node = "node-a";
  options.spill_directory = directory.path();
  const auto repository = Repository::Initialise(
      MakeLocalStore(directory.path() + "/repository", {}).value(), options, {}, identity, false);
  ASSERT_OK(repository);
  const std::string path = directory.path() + "/segment";
  {
    constexpr std::size_t kPiece = 8U << 20;
    std::ofstream file(path, std::ios::binary);
    for (std::uint64_t written = 0; written < kLarge; written += kPiece) {
      file << AsText(NoiseBytes(kPiece, written));
    }
  }
  const MemoryGauge gauge;
  ASSERT_OK(PushWalFile(WalArchive(**repository, kTestSystem), kSegment, path));
  if (MemoryGauge::meaningful()) {
    EXPECT_LT(gauge.grown_bytes(), kBound);
  }
}

}  // namespace
}  // namespace veza
