#include "core/restore/wal_spool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <vector>

#include "core/codec/codec_fixtures.h"
#include "core/config/temporary_directory.h"
#include "core/test_files.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;

constexpr const char* kFirst = "000000010000000000000001";
constexpr const char* kSecond = "000000010000000000000002";
constexpr std::size_t kSize = 1U << 20;

const WalSpoolKey kKey{"/repository/main", "", "/data/pg_wal", "boot pid:[1] 17 4711"};

class WalSpoolTest : public testing::Test {
 protected:
  WalSpoolLock Lock(const std::string& directory) {
    Result<std::optional<WalSpoolLock>> lock = WalSpoolLock::TryAcquire(directory);
    EXPECT_OK(lock);
    EXPECT_TRUE(lock->has_value());
    return std::move(**lock);
  }
  void HaveSegment(const std::string& segment, std::size_t size = kSize) {
    EXPECT_OK(spool_.Claim(segment, size));
    WriteText(spool_.PartPath(segment), std::string(size, 'x'));
    EXPECT_OK(spool_.Publish(segment, size));
  }
  std::vector<std::string> Files() { return ListTree(spool_.directory()); }

  TemporaryDirectory directory_;
  const std::string root_ = directory_.path() + "/" + kDefaultWalSpool;
  const WalSpool spool_{WalSpoolDirectory(root_, kKey)};
  const std::string destination_ = directory_.path() + "/RECOVERYXLOG";
};

TEST_F(WalSpoolTest, EveryPartOfTheKeyMakesAnotherDirectory) {
  std::set<std::string> directories = {WalSpoolDirectory(root_, kKey)};
  for (std::string WalSpoolKey::*const part : {&WalSpoolKey::repository, &WalSpoolKey::system_id,
                                               &WalSpoolKey::destination, &WalSpoolKey::recovery}) {
    WalSpoolKey key = kKey;
    key.*part += '1';
    directories.insert(WalSpoolDirectory(root_, key));
  }
  EXPECT_EQ(directories.size(), 5U);
  // Nor can text move from one part of the key to the next.
  EXPECT_NE(WalSpoolDirectory(root_, {"ab", "c", "d", "e"}),
            WalSpoolDirectory(root_, {"a", "bc", "d", "e"}));
  EXPECT_EQ(WalSpoolDirectory(root_, kKey), spool_.directory());
}

TEST_F(WalSpoolTest, ASegmentIsTakenOnce) {
  const WalSpoolLock lock = Lock(spool_.directory());
  HaveSegment(kFirst);
  EXPECT_TRUE(spool_.Holds(kFirst));
  WriteText(destination_, "an old one");

  EXPECT_THAT(spool_.Take(kFirst, destination_), Optional(true));
  EXPECT_EQ(ReadText(destination_), std::string(kSize, 'x'));
  EXPECT_FALSE(spool_.Holds(kFirst));
  EXPECT_THAT(spool_.Take(kFirst, destination_), Optional(false));
  EXPECT_THAT(Files(), ElementsAre("lock"));
}

TEST_F(WalSpoolTest, WithoutASpoolNothingIsTaken) {
  EXPECT_THAT(spool_.Take(kFirst, destination_), Optional(false));
  EXPECT_FALSE(spool_.BytesOfPart(kFirst).has_value());
  EXPECT_FALSE(spool_.Requested().has_value());
  EXPECT_ERROR(spool_.Request(kFirst), ErrorCode::kNotFound);
  EXPECT_FALSE(WalSpoolLock::IsHeld(spool_.directory()));
  RemoveLeftOverSpools(root_);
  EXPECT_THAT(ListTree(directory_.path()), IsEmpty());
}

TEST_F(WalSpoolTest, AnIncompleteSegmentIsNotTaken) {
  const WalSpoolLock lock = Lock(spool_.directory());
  WriteText(spool_.directory() + "/" + kFirst, std::string(kSize - 1, 'x'));
  EXPECT_THAT(spool_.Take(kFirst, destination_), Optional(false));
  EXPECT_FALSE(std::filesystem::exists(destination_));
}

TEST_F(WalSpoolTest, NothingIsTakenFromADirectoryThatOthersCanWrite) {
  {
    const WalSpoolLock lock = Lock(spool_.directory());
    HaveSegment(kFirst);
  }
  ASSERT_EQ(chmod(spool_.directory().c_str(), 0770), 0);
  EXPECT_THAT(spool_.Take(kFirst, destination_), Optional(false));
  EXPECT_ERROR(WalSpoolLock::TryAcquire(spool_.directory()), ErrorCode::kPermissionDenied);
}

TEST_F(WalSpoolTest, ASegmentIsCopiedAcrossFileSystems) {
  struct stat here {};
  struct stat there {};
  if (stat("/dev/shm", &there) != 0 || stat(directory_.path().c_str(), &here) != 0 ||
      here.st_dev == there.st_dev || access("/dev/shm", W_OK) != 0) {
    GTEST_SKIP() << "there is no other file system";
  }
  const WalSpoolLock lock = Lock(spool_.directory());
  HaveSegment(kFirst);
  std::string elsewhere = "/dev/shm/veza-test-XXXXXX";
  ASSERT_NE(mkdtemp(elsewhere.data()), nullptr);
  EXPECT_THAT(spool_.Take(kFirst, elsewhere + "/RECOVERYXLOG"), Optional(true));
  EXPECT_EQ(ReadText(elsewhere + "/RECOVERYXLOG"), std::string(kSize, 'x'));
  EXPECT_THAT(ListTree(elsewhere), ElementsAre("RECOVERYXLOG"));
  EXPECT_THAT(Files(), ElementsAre("lock"));
  std::filesystem::remove_all(elsewhere);
}

TEST_F(WalSpoolTest, ADestinationThatIsNotAFileIsAnErrorAndKeepsTheSegment) {
  const WalSpoolLock lock = Lock(spool_.directory());
  HaveSegment(kFirst);
  EXPECT_FALSE(spool_.Take(kFirst, directory_.path() + "/none/RECOVERYXLOG").value_or(false));
  EXPECT_TRUE(spool_.Holds(kFirst));
}

TEST_F(WalSpoolTest, ASegmentBeingFetchedIsSeenButNotTaken) {
  const WalSpoolLock lock = Lock(spool_.directory());
  EXPECT_OK(spool_.Claim(kFirst, kSize));
  EXPECT_THAT(spool_.BytesOfPart(kFirst), Optional(0U));
  WriteText(spool_.PartPath(kFirst) + ".veza-tmp-1", "xyz");
  EXPECT_THAT(spool_.BytesOfPart(kFirst), Optional(3U));
  EXPECT_THAT(spool_.Take(kFirst, destination_), Optional(false));
  EXPECT_FALSE(spool_.BytesOfPart(kSecond).has_value());

  WriteText(spool_.PartPath(kFirst), "xyz");
  EXPECT_ERROR(spool_.Publish(kFirst, kSize), ErrorCode::kDataCorrupted);
  spool_.Abandon(kFirst);
  EXPECT_FALSE(spool_.BytesOfPart(kFirst).has_value());
  spool_.RemoveParts();
  EXPECT_THAT(Files(), ElementsAre("lock"));
}

TEST_F(WalSpoolTest, WhereSpaceIsShortNothingIsClaimed) {
  const WalSpoolLock lock = Lock(spool_.directory());
  EXPECT_ERROR(spool_.Claim(kFirst, std::uint64_t{1} << 58), ErrorCode::kNoSpace);
  EXPECT_FALSE(spool_.BytesOfPart(kFirst).has_value());
}

TEST_F(WalSpoolTest, ARepeatedRequestIsSeen) {
  const WalSpoolLock lock = Lock(spool_.directory());
  EXPECT_FALSE(spool_.Requested().has_value());
  EXPECT_OK(spool_.Request(kFirst));
  const std::optional<WalSpool::LastRequest> first = spool_.Requested();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->segment, kFirst);
  EXPECT_EQ(spool_.Requested()->stamp, first->stamp);
  EXPECT_OK(spool_.Request(kFirst));
  EXPECT_EQ(spool_.Requested()->segment, kFirst);
  EXPECT_NE(spool_.Requested()->stamp, first->stamp);
  WriteText(spool_.directory() + "/request", "../../etc/passwd");
  EXPECT_FALSE(spool_.Requested().has_value());
}

TEST_F(WalSpoolTest, OnlyOneHoldsTheLock) {
  {
    const WalSpoolLock lock = Lock(spool_.directory());
    EXPECT_TRUE(WalSpoolLock::IsHeld(spool_.directory()));
    const Result<std::optional<WalSpoolLock>> other = WalSpoolLock::TryAcquire(spool_.directory());
    ASSERT_OK(other);
    EXPECT_FALSE(other->has_value());
    // A descriptor that a child has inherited also holds it
    const UniqueFd inherited(dup(lock.fd()));
    EXPECT_TRUE(WalSpoolLock::IsHeld(spool_.directory()));
  }
  EXPECT_FALSE(WalSpoolLock::IsHeld(spool_.directory()));
  EXPECT_TRUE(WalSpoolLock::TryAcquire(spool_.directory())->has_value());
}

TEST_F(WalSpoolTest, TheLockOfADirectoryThatWasRemovedDoesNotHoldTheNext) {
  const WalSpoolLock old = Lock(spool_.directory());
  spool_.Remove();
  EXPECT_FALSE(std::filesystem::exists(root_));
  const WalSpoolLock next = Lock(spool_.directory());
  EXPECT_TRUE(WalSpoolLock::IsHeld(spool_.directory()));
}

TEST_F(WalSpoolTest, OnlyTheWindowIsKept) {
  const WalSpoolLock lock = Lock(spool_.directory());
  EXPECT_OK(spool_.Request(kFirst));
  HaveSegment(kFirst);
  HaveSegment(kSecond);
  EXPECT_OK(spool_.Claim("000000010000000000000003", kSize));
  spool_.KeepOnly({kSecond});
  EXPECT_THAT(Files(), ElementsAre(kSecond, "000000010000000000000003.part", "lock", "request"));
}

TEST_F(WalSpoolTest, LeftOversAreRemovedAndSpoolsInUseStay) {
  WalSpoolKey other_key = kKey;
  other_key.destination = "/other/pg_wal";
  const WalSpool other(WalSpoolDirectory(root_, other_key));
  const WalSpoolLock lock = Lock(other.directory());
  {
    const WalSpoolLock left = Lock(spool_.directory());
    HaveSegment(kFirst);
    EXPECT_OK(spool_.Claim(kSecond, kSize));
    EXPECT_OK(spool_.Request(kFirst));
  }
  WriteText(root_ + "/somebody's file", "");
  RemoveLeftOverSpools(root_);
  EXPECT_FALSE(std::filesystem::exists(spool_.directory()));
  EXPECT_TRUE(std::filesystem::exists(other.directory() + "/lock"));
  EXPECT_TRUE(std::filesystem::exists(root_ + "/somebody's file"));
}

// Directories of the same account that happen to have such a name.
TEST_F(WalSpoolTest, DirectoriesThatAreNotSpoolsAreKept) {
  const std::string letters = root_ + "/" + std::string(32, 'a');
  const std::string others = root_ + "/" + std::string(32, 'b');
  for (const std::string& directory : {letters, others}) {
    for (const char* name : {"notes", "requests", "notes.part"}) {
      WriteText(directory + "/" + name, "dear");
    }
    EXPECT_EQ(chmod(directory.c_str(), 0700), 0);
  }
  WriteText(others + "/lock", "");
  RemoveLeftOverSpools(root_);
  EXPECT_THAT(ListTree(letters), testing::UnorderedElementsAre("notes", "requests", "notes.part"));
  EXPECT_THAT(ListTree(others),
              testing::UnorderedElementsAre("lock", "notes", "requests", "notes.part"));
}

// Otherwise each claim would count the same free space.
TEST_F(WalSpoolTest, ClaimsCountEachOther) {
  const WalSpoolLock lock = Lock(spool_.directory());
  const std::uint64_t available = std::filesystem::space(spool_.directory()).available;
  const std::uint64_t size = available / 1000 * 104;  // nine leave 6 percent, ten are too many
  EXPECT_OK(spool_.Claim(kFirst, size));
  EXPECT_ERROR(spool_.Claim(kSecond, size), ErrorCode::kNoSpace);
  spool_.Abandon(kFirst);
  EXPECT_OK(spool_.Claim(kSecond, size));
}

TEST_F(WalSpoolTest, ADirectoryOfTheUserStays) {
  const std::string root = directory_.path() + "/spool";
  const WalSpool spool(WalSpoolDirectory(root, kKey));
  { const WalSpoolLock lock = Lock(spool.directory()); }
  RemoveLeftOverSpools(root);
  EXPECT_THAT(ListTree(directory_.path()), ElementsAre("spool"));
}

}  // namespace
}  // namespace veza
