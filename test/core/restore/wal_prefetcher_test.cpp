#include "core/restore/wal_prefetcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <set>
#include <thread>
#include <vector>

#include "core/repository/test_repository.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Optional;
using testing::UnorderedElementsAre;

std::string Segment(SegmentNumber number, TimelineId timeline = 1) {
  return SegmentName(timeline, number, kTestSegmentSize);
}

// The threads wait for each other in real time.
constexpr std::chrono::seconds kPatience{60};

class WalPrefetcherTest : public testing::Test {
 protected:
  WalPrefetcherTest() {
    environment_.clock = &SystemClock();
    environment_.cancellation = repository_.environment().cancellation;
    options_.segments = 4;
    options_.threads = 3;
    options_.segment_size = kTestSegmentSize;
    lock_ = std::move(*WalSpoolLock::TryAcquire(spool_.directory()));
  }
  ~WalPrefetcherTest() override { End(); }

  void HaveSegments(SegmentNumber first, SegmentNumber last, TimelineId timeline = 1) {
    for (SegmentNumber number = first; number <= last; ++number) {
      repository_.PushSegment(timeline, number);
    }
  }
  // Starts it with a first request.
  void Start(const std::string& segment) {
    ASSERT_OK(spool_.Request(segment));
    running_ = std::async(std::launch::async, [this] {
      return PrefetchWal(archive_, spool_, options_, environment_, [this] { return over_.load(); });
    });
  }
  void End() {
    over_ = true;
    if (running_.valid()) {
      EXPECT_OK(running_.get());
    }
  }
  bool HasEnded() { return running_.wait_for(kPatience) == std::future_status::ready; }

  std::vector<std::string> Segments() {
    std::vector<std::string> segments;
    for (const std::string& name : ListTree(spool_.directory())) {
      if (ParseWalFileName(name).has_value()) {
        segments.push_back(name);
      }
    }
    return segments;
  }
  // Waits until the spool holds exactly these.
  void Await(const std::vector<std::string>& segments) {
    const SteadyTime deadline = SystemClock().Steady() + kPatience;
    while (Segments() != segments && SystemClock().Steady() < deadline) {
      SystemClock().Sleep(std::chrono::milliseconds(2), nullptr);
    }
    EXPECT_EQ(Segments(), segments);
  }
  // Does what wal-get does.
  void TakeNext(const std::string& segment) {
    EXPECT_THAT(spool_.Take(segment, destination_), Optional(true));
    EXPECT_EQ(std::filesystem::file_size(destination_), kTestSegmentSize);
    EXPECT_OK(spool_.Request(segment));
  }

  TestRepository repository_{Cipher::kAes256Gcm};
  const WalArchive archive_ = repository_.wal();
  const WalSpool spool_{
      WalSpoolDirectory(repository_.Scratch(kDefaultWalSpool), {"r", "", "d", "p"})};
  const std::string destination_ = repository_.Scratch("RECOVERYXLOG");
  Environment environment_;
  PrefetchOptions options_;
  std::optional<WalSpoolLock> lock_;
  std::atomic<bool> over_{false};
  std::future<Status> running_;
};

TEST_F(WalPrefetcherTest, TheNextSegmentsAreFetchedAndNoMore) {
  HaveSegments(1, 8);
  std::atomic<int> gets{0};
  repository_.store().SetHook([&](FaultStore::Operation operation, std::string_view) {
    gets += operation == FaultStore::Operation::kGet ? 1 : 0;
    return Ok();
  });
  Start(Segment(1));
  Await({Segment(2), Segment(3), Segment(4), Segment(5)});
  TakeNext(Segment(2));
  Await({Segment(3), Segment(4), Segment(5), Segment(6)});
  for (SegmentNumber number = 3; number <= 8; ++number) {
    Await([&] {
      std::vector<std::string> expected;
      for (SegmentNumber i = number; i <= std::min<SegmentNumber>(number + 3, 8); ++i) {
        expected.push_back(Segment(i));
      }
      return expected;
    }());
    TakeNext(Segment(number));
  }
  End();
  EXPECT_THAT(ListTree(spool_.directory()), ElementsAre("lock", "request"));
  // Each of 2 to 8 once, and some that do not exist.
  EXPECT_GE(gets, 7);
}

TEST_F(WalPrefetcherTest, NoSegmentIsFetchedTwice) {
  HaveSegments(1, 20);
  std::mutex mutex;
  std::multiset<std::string> gets;
  repository_.store().SetHook([&](FaultStore::Operation, std::string_view name) {
    const std::lock_guard lock(mutex);
    gets.insert(std::string(name));
    return Ok();
  });
  Start(Segment(1));
  for (SegmentNumber number = 2; number <= 16; ++number) {
    const SteadyTime deadline = SystemClock().Steady() + kPatience;
    while (!spool_.Holds(Segment(number)) && SystemClock().Steady() < deadline) {
      SystemClock().Sleep(std::chrono::milliseconds(1), nullptr);
    }
    TakeNext(Segment(number));
  }
  Await({Segment(17), Segment(18), Segment(19), Segment(20)});
  End();
  for (SegmentNumber number = 2; number <= 20; ++number) {
    EXPECT_EQ(gets.count(WalObjectName(kTestSystem, Segment(number)).value()), 1U) << number;
  }
}

TEST_F(WalPrefetcherTest, AMissingSegmentIsTriedAgainAfterTheNextRequest) {
  HaveSegments(1, 2);
  Start(Segment(1));
  Await({Segment(2)});
  HaveSegments(3, 4);
  TakeNext(Segment(2));
  Await({Segment(3), Segment(4)});
  // Also when recovery asks for the same segment once more.
  HaveSegments(5, 5);
  EXPECT_OK(spool_.Request(Segment(2)));
  Await({Segment(3), Segment(4), Segment(5)});
}

TEST_F(WalPrefetcherTest, DamageEndsTheWindow) {
  HaveSegments(1, 6);
  const std::string damaged = repository_.PathOf(WalObjectName(kTestSystem, Segment(3)).value());
  FlipByte(damaged, std::filesystem::file_size(damaged) - 1);
  options_.threads = 1;
  Start(Segment(1));
  Await({Segment(2)});
  TakeNext(Segment(2));
  SystemClock().Sleep(std::chrono::milliseconds(200), nullptr);
  EXPECT_THAT(Segments(), IsEmpty());
}

TEST_F(WalPrefetcherTest, AnotherTimelineReplacesTheWindow) {
  HaveSegments(1, 8);
  HaveSegments(3, 5, 2);
  Start(Segment(1));
  Await({Segment(2), Segment(3), Segment(4), Segment(5)});
  TakeNext(Segment(2));
  EXPECT_OK(spool_.Request(Segment(3, 2)));
  Await({Segment(4, 2), Segment(5, 2)});
  // And back: recovery starts again at an earlier position.
  EXPECT_OK(spool_.Request(Segment(1)));
  Await({Segment(2), Segment(3), Segment(4), Segment(5)});
}

TEST_F(WalPrefetcherTest, AnUnreachableStoreDoesNotEndIt) {
  HaveSegments(1, 3);
  std::atomic<bool> away{true};
  repository_.store().SetHook([&](FaultStore::Operation, std::string_view) -> Status {
    return away ? Status(MakeError(ErrorCode::kUnavailable, "the store is away")) : Ok();
  });
  Start(Segment(1));
  SystemClock().Sleep(std::chrono::milliseconds(100), nullptr);
  EXPECT_THAT(Segments(), IsEmpty());
  away = false;
  EXPECT_OK(spool_.Request(Segment(1)));
  Await({Segment(2), Segment(3)});
  End();  // its threads look at `away`
}

TEST_F(WalPrefetcherTest, WhatAKilledPrefetcherHasLeftIsUsedOrRemoved) {
  HaveSegments(1, 4);
  WriteText(spool_.directory() + "/" + Segment(2), std::string(kTestSegmentSize, 'x'));
  WriteText(spool_.PartPath(Segment(3)), "");
  WriteText(spool_.PartPath(Segment(9)) + ".veza-tmp-17", "torn");
  WriteText(spool_.directory() + "/" + Segment(9), std::string(kTestSegmentSize, 'x'));
  Start(Segment(1));
  Await({Segment(2), Segment(3), Segment(4)});
  End();
  EXPECT_EQ(ReadText(spool_.directory() + "/" + Segment(2)), std::string(kTestSegmentSize, 'x'));
  EXPECT_THAT(ListTree(spool_.directory()),
              UnorderedElementsAre(Segment(2), Segment(3), Segment(4), "lock", "request"));
}

TEST_F(WalPrefetcherTest, ASegmentOfAnotherSizeIsNotGivenOut) {
  HaveSegments(1, 2);
  options_.segment_size = 2 * kTestSegmentSize;
  // The names are computed with the larger size, with which segment 2 is also 2.
  Start(Segment(1));
  SystemClock().Sleep(std::chrono::milliseconds(200), nullptr);
  End();
  EXPECT_THAT(ListTree(spool_.directory()), ElementsAre("lock", "request"));
}

TEST_F(WalPrefetcherTest, IdleItEnds) {
  HaveSegments(1, 2);
  options_.idle = std::chrono::milliseconds(300);
  Start(Segment(1));
  EXPECT_TRUE(HasEnded());
}

TEST_F(WalPrefetcherTest, WithoutItsSpoolItEnds) {
  HaveSegments(1, 2);
  Start(Segment(1));
  Await({Segment(2)});
  // The prefetcher may remove one of its files at the same time. Then remove_all() stops half-way.
  std::error_code error;
  do {
    std::filesystem::remove_all(repository_.Scratch(kDefaultWalSpool), error);
  } while (error);
  EXPECT_TRUE(HasEnded());
}

TEST_F(WalPrefetcherTest, CancelledItEnds) {
  HaveSegments(1, 2);
  Start(Segment(1));
  repository_.cancellation().Cancel();
  EXPECT_TRUE(HasEnded());
}

}  // namespace
}  // namespace veza
