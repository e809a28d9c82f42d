#include "core/timeline/wal_way.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>

#include "core/timeline/story.h"

namespace veza {
namespace {

// A way with a commit in each segment and an index object for each.
class WalWayTest : public testing::Test {
 protected:
  static constexpr int kSegments = 12;

  void SetUp() override {
    for (int minute = 0; minute < kSegments; ++minute) {
      if (minute > 0) {
        story_.NextSegment();
      }
      story_.Commit(Xid(minute), minute);
    }
    story_.Archive(repository_);
    story_.Index(repository_, 1);
  }
  static std::uint32_t Xid(int minute) { return 700 + static_cast<std::uint32_t>(minute); }
  WalWay Open() {
    const WalPiece piece{1, story_.first(), story_.last(),
                         Lsn{(story_.last() + 1) * kTestSegmentSize}};
    return WalWay::Open(*repository_, TestIdentity(), {piece}, {}).value();
  }
  // The xids of the commits, read from the first segment to the last.
  static std::vector<std::uint32_t> Read(WalWay& way) {
    std::vector<std::uint32_t> xids;
    for (std::size_t index = 0; index < way.size(); ++index) {
      const std::vector<IndexedEnd> ends = way.Ends(index).value();
      for (const IndexedEnd& end : ends) {
        xids.push_back(end.xid);
      }
    }
    return xids;
  }
  static std::vector<std::uint32_t> All() {
    std::vector<std::uint32_t> xids;
    for (int minute = 0; minute < kSegments; ++minute) {
      xids.push_back(Xid(minute));
    }
    return xids;
  }

  TestRepository repository_;
  Story story_{3};
};

// A request for an index object waits until another one is under way.
TEST_F(WalWayTest, OpensIndexObjectsAtTheSameTime) {
  WalWay way = Open();
  ASSERT_EQ(way.size(), static_cast<std::size_t>(kSegments));
  ASSERT_OK(way.Summary(0));
  std::mutex mutex;
  std::condition_variable changed;
  int running = 0;
  int most = 0;
  bool gave_up = false;
  repository_.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kGet && name.starts_with("walindex/")) {
      std::unique_lock lock(mutex);
      most = std::max(most, ++running);
      changed.notify_all();
      gave_up =
          !changed.wait_for(lock, std::chrono::seconds(30), [&] { return most > 1 || gave_up; });
      --running;
    }
    return Ok();
  });
  for (std::size_t index = 1; index < way.size(); ++index) {
    ASSERT_OK(way.Summary(index));
  }
  EXPECT_GT(most, 1);
  EXPECT_EQ(way.fetched(), 0U);
}

// Each object is opened once, in whatever order.
TEST_F(WalWayTest, OpensNothingAheadOfWhoReadsBackwards) {
  WalWay way = Open();
  int gets = 0;
  repository_.store().SetHook([&](FaultStore::Operation operation, std::string_view /*name*/) {
    gets += operation == FaultStore::Operation::kGet ? 1 : 0;
    return Ok();
  });
  for (std::size_t index = way.size(); index-- > 0;) {
    ASSERT_OK(way.Summary(index));
  }
  EXPECT_EQ(gets, kSegments);
}

TEST_F(WalWayTest, ReadsTheWalWhereAnObjectIsDamaged) {
  std::vector<std::string> names;
  ASSERT_OK(repository_->store().List("walindex/", {}, [&](const ObjectInfo& info) {
    names.push_back(info.name);
    return Ok();
  }));
  ASSERT_EQ(names.size(), static_cast<std::size_t>(kSegments));
  WriteText(repository_.PathOf(names[5]), "damaged");
  WriteText(repository_.PathOf(names[11]), "damaged");
  WalWay way = Open();
  EXPECT_EQ(Read(way), All());
  EXPECT_EQ(way.fetched(), 2U);
}

TEST_F(WalWayTest, ReturnsTheErrorOfARequestAhead) {
  WalWay way = Open();
  repository_.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    return operation == FaultStore::Operation::kGet && name.starts_with("walindex/") &&
                   name.find(story_.Name(story_.first() + 4)) != std::string_view::npos
               ? Status(MakeError(ErrorCode::kUnavailable, "no route"))
               : Ok();
  });
  for (std::size_t index = 0; index < 4; ++index) {
    ASSERT_OK(way.Summary(index));
  }
  EXPECT_ERROR(way.Summary(4), ErrorCode::kUnavailable);
  repository_.store().SetHook(nullptr);
  EXPECT_EQ(Read(way), All());
}

}  // namespace
}  // namespace veza
