#include "core/archive/wal_wait.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <map>

#include "core/memory_gauge.h"
#include "core/repository/test_repository.h"

namespace veza {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;
using Operation = FaultStore::Operation;

// Waits for the segments 5 to 7. Time passes only in the sleeps.
class WalWaitTest : public testing::Test {
 protected:
  WalWaitTest() {
    repository_.clock().on_sleep = [this] {
      while (!arrivals_.empty() && Passed() >= arrivals_.begin()->first) {
        const SegmentNumber segment = arrivals_.begin()->second;
        arrivals_.erase(arrivals_.begin());
        Have(segment);
      }
    };
  }

  seconds Passed() {
    return std::chrono::duration_cast<seconds>(repository_.clock().Now() - kTestTime);
  }
  void Have(SegmentNumber segment) {
    WriteText(repository_.PathOf(
                  WalObjectName(kTestSystem, SegmentName(1, segment, kTestSegmentSize)).value()),
              "segment");
  }
  void Arrives(SegmentNumber segment, seconds when) { arrivals_.emplace(when, segment); }
  Status Wait(seconds patience) {
    wait_.label = "20261122-020000F";
    wait_.timeline = 1;
    wait_.first = 5;
    wait_.last = 7;
    wait_.segment_size = kTestSegmentSize;
    wait_.patience = patience;
    return WaitForWal(repository_.wal(), repository_.environment(), wait_);
  }

  TestRepository repository_;
  std::multimap<seconds, SegmentNumber> arrivals_;
  WalWait wait_;
};

TEST_F(WalWaitTest, AFullStoreHasNoRoomForASegment) {
  EXPECT_OK(RequireRoomForWal(*repository_, kTestSegmentSize));
  EXPECT_FALSE(repository_.Exists("probe/room"));
  repository_.store().SetHook([](Operation operation, std::string_view name) -> Status {
    return operation == Operation::kPut && name == "probe/room"
               ? Status(MakeError(ErrorCode::kNoSpace, "no space left on device"))
               : Ok();
  });
  EXPECT_ERROR(RequireRoomForWal(*repository_, kTestSegmentSize), ErrorCode::kNoSpace);
  EXPECT_FALSE(repository_.Exists("probe/room"));
}

// A segment may have 1 GiB.
TEST_F(WalWaitTest, ASegmentIsNotHeldInMemory) {
  constexpr std::uint64_t kSize = 64 << 20;
  std::uint64_t stored = 0;
  repository_.store().SetHook([&](Operation operation, std::string_view name) {
    if (operation == Operation::kDelete) {
      stored = std::filesystem::file_size(repository_.PathOf(std::string(name)));
    }
    return Ok();
  });
  const MemoryGauge gauge;
  EXPECT_OK(RequireRoomForWal(*repository_, kSize));
  EXPECT_EQ(stored, kSize);
  if (MemoryGauge::meaningful()) {
    EXPECT_LT(gauge.grown_bytes(), kSize / 2);
  }
}

TEST_F(WalWaitTest, IsOverWhenAllAreThere) {
  Have(5);
  Have(6);
  Arrives(7, seconds(3));
  EXPECT_OK(Wait(seconds(600)));
  EXPECT_LT(Passed(), seconds(5));
}

TEST_F(WalWaitTest, AsLongAsSegmentsArriveItGoesOn) {
  Arrives(5, seconds(50));
  Arrives(7, seconds(100));
  Arrives(6, seconds(150));
  EXPECT_OK(Wait(seconds(60)));
}

TEST_F(WalWaitTest, ThoseFromBeforeAreProgressToo) {
  for (SegmentNumber segment = 0; segment < 5; ++segment) {
    Arrives(segment, seconds(40) * (segment + 1));
  }
  for (SegmentNumber segment = 5; segment <= 7; ++segment) {
    Arrives(segment, seconds(220));
  }
  EXPECT_OK(Wait(seconds(60)));
}

// Segments that were there before, and segments behind those that are missing, are no progress.
TEST_F(WalWaitTest, WithoutProgressItEnds) {
  Have(1);
  Have(5);
  Have(7);
  for (SegmentNumber segment = 8; segment < 40; ++segment) {
    Arrives(segment, seconds(segment));
  }
  const Status waited = Wait(seconds(60));
  EXPECT_ERROR(waited, ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(
      waited.error().message,
      fmt::format("WAL segment \"{}\", which backup \"20261122-020000F\" needs, did not reach "
                  "the repository within 60 s",
                  SegmentName(1, 6, kTestSegmentSize)));
  EXPECT_GE(Passed(), seconds(60));
  EXPECT_LT(Passed(), seconds(65));
}

// A store that takes ten seconds for each answer is there: nothing arrives for another reason.
TEST_F(WalWaitTest, ASlowStoreIsNotWaitedForForEver) {
  repository_.store().SetHook([&](Operation operation, std::string_view) {
    if (operation == Operation::kList) {
      repository_.clock().Sleep(std::chrono::seconds(20), nullptr);
    }
    return Passed() > std::chrono::hours(24)
               ? Status(MakeError(ErrorCode::kFailedPrecondition, "it waits for ever"))
               : Ok();
  });
  const Status waited = Wait(seconds(60));
  EXPECT_ERROR(waited, ErrorCode::kDeadlineExceeded);
  EXPECT_THAT(waited.error().message, testing::Not(testing::HasSubstr("within 60 s")));
}

// The archiver never replaces such an object, however long somebody waits.
TEST_F(WalWaitTest, AnObjectOfZeroBytesIsSaidToBeInTheWay) {
  const std::string object =
      WalObjectName(kTestSystem, SegmentName(1, 5, kTestSegmentSize)).value();
  WriteText(repository_.PathOf(object), "");
  const Status waited = Wait(seconds(60));
  EXPECT_ERROR(waited, ErrorCode::kDataCorrupted);
  EXPECT_THAT(waited.error().message, testing::HasSubstr(object + "\" has 0 bytes"));
  EXPECT_THAT(waited.error().hint, testing::HasSubstr("Delete the object"));
}

TEST_F(WalWaitTest, AnOutageOfTheStoreDoesNotCount) {
  bool was_away = false;
  repository_.store().SetHook([&](Operation operation, std::string_view) {
    if (operation == Operation::kList && Passed() >= seconds(30) && !was_away) {
      was_away = true;
      repository_.clock().Sleep(std::chrono::hours(1), nullptr);  // RetryingStore's patience
    }
    return Ok();
  });
  for (SegmentNumber segment = 5; segment <= 7; ++segment) {
    Arrives(segment, seconds(3600 + 80));
  }
  EXPECT_OK(Wait(seconds(60)));
  EXPECT_TRUE(was_away);
}

TEST_F(WalWaitTest, AnObstacleEndsItAtOnce) {
  wait_.obstacle = [&](const std::string& missing) -> Status {
    EXPECT_EQ(missing, SegmentName(1, 5, kTestSegmentSize));
    return MakeError(ErrorCode::kFailedPrecondition, "nobody writes it");
  };
  EXPECT_ERROR(Wait(seconds(600)), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(Passed(), seconds(0));
}

TEST_F(WalWaitTest, ACancellationEndsIt) {
  repository_.cancellation().Cancel();
  EXPECT_ERROR(Wait(seconds(600)), ErrorCode::kCancelled);
}

TEST(IsAbandonedTest, FromTheSegmentOfTheSwitchOn) {
  const Lsn in_segment_5{5 * kTestSegmentSize + 100};
  const TimelineHistory history{3, {{1, in_segment_5}, {2, Lsn{8 * kTestSegmentSize}}}};
  EXPECT_FALSE(IsAbandoned(history, 1, 4, kTestSegmentSize));
  EXPECT_TRUE(IsAbandoned(history, 1, 5, kTestSegmentSize));
  EXPECT_TRUE(IsAbandoned(history, 1, 6, kTestSegmentSize));
  // The timeline was left at the border of two segments, so the first of them is complete.
  EXPECT_FALSE(IsAbandoned(history, 2, 7, kTestSegmentSize));
  EXPECT_TRUE(IsAbandoned(history, 2, 8, kTestSegmentSize));
  EXPECT_FALSE(IsAbandoned(history, 3, 100, kTestSegmentSize));
  EXPECT_TRUE(IsAbandoned(history, 4, 1, kTestSegmentSize));
}

}  // namespace
}  // namespace veza
