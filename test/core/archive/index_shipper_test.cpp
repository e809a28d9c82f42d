#include "core/archive/index_shipper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "core/repository/entrance.h"
#include "core/repository/test_repository.h"
#include "core/wal_index/index_catalog.h"
#include "core/wal_index/test_index.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Operation = FaultStore::Operation;

// Threads and time are real; groups are due after a few milliseconds.
class IndexShipperTest : public testing::Test {
 protected:
  IndexShipperTest() {
    options_ = {.system_identifier = kTestSystem,
                .limits = {.age = std::chrono::milliseconds(20)},
                .pause = std::chrono::milliseconds(20)};
  }
  ~IndexShipperTest() override { environment_.cancellation->Cancel(); }

  void Start() {
    shipper_.emplace(
        options_,
        [this]() -> Result<std::unique_ptr<Repository>> {
          ++opened_;
          std::shared_ptr<FaultStore> store = repository_.MakeStore();
          store->SetHook([this](Operation operation, std::string_view name) -> Status {
            if (fails_ && operation == Operation::kPut) {
              return MakeError(ErrorCode::kPermissionDenied, "may not write \"{}\"", name);
            }
            if (operation == Operation::kPut && on_put_) {
              on_put_();
            }
            return Ok();
          });
          return Repository::Open(store, repository_.options(), environment_);
        },
        environment_);
    EXPECT_OK(shipper_->Start());
  }

  template <typename Condition>
  static bool Eventually(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) {
        return false;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }
  bool EventuallyStored(std::uint64_t segments) {
    return Eventually([&] { return shipper_->counters().segments == segments; });
  }
  // "7-9" for each object.
  std::vector<std::string> Objects() {
    std::vector<std::string> objects;
    const std::vector<IndexName> listed = ListIndexes(*repository_, kTestSystem).value();
    for (const IndexName& name : listed) {
      objects.push_back(fmt::format("{}-{}", SegmentNumberOf(name.first, kTestSegmentSize),
                                    SegmentNumberOf(name.last, kTestSegmentSize)));
    }
    return objects;
  }

  TestRepository repository_{Cipher::kAes256Gcm};
  Environment environment_;
  IndexShipper::Options options_;
  std::atomic<bool> fails_{false};
  std::atomic<int> opened_{0};
  std::function<void()> on_put_;
  std::optional<IndexShipper> shipper_;
};

TEST_F(IndexShipperTest, StoresAGroupWhenItIsDueAlthoughNoSegmentFollows) {
  options_.limits.age = std::chrono::milliseconds(500);
  std::vector<SegmentIndex> indexes;
  for (const SegmentNumber number : {7, 9, 8, 11}) {
    indexes.push_back(TestIndex(number));
  }
  Start();
  for (SegmentIndex& index : indexes) {
    shipper_->Add(std::move(index));
  }
  ASSERT_TRUE(EventuallyStored(4));
  EXPECT_THAT(Objects(), ElementsAre("7-9", "11-11"));
  EXPECT_EQ(opened_, 1);
  const IndexObject object =
      IndexObject::Open(*repository_, ListIndexes(*repository_, kTestSystem)->front().name).value();
  ASSERT_EQ(object.segments().size(), 3);
  EXPECT_EQ(object.segments()[1].number, 8);
  EXPECT_EQ(object.segments()[1].stored, TestIndex(8).summary.stored);
  EXPECT_EQ(object.segments()[1].digest, TestIndex(8).summary.digest);
}

TEST_F(IndexShipperTest, WaitsForMoreUntilAGroupIsDue) {
  options_.limits.age = std::chrono::hours(1);
  options_.limits.segments = 3;
  Start();
  shipper_->Add(TestIndex(1));
  shipper_->Add(TestIndex(2));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_THAT(Objects(), IsEmpty());
  EXPECT_EQ(opened_, 0);
  shipper_->Add(TestIndex(3));
  ASSERT_TRUE(EventuallyStored(3));
  EXPECT_THAT(Objects(), ElementsAre("1-3"));
}

TEST_F(IndexShipperTest, TriesAgainWhatItCouldNotStore) {
  fails_ = true;
  Start();
  shipper_->Add(TestIndex(1));
  ASSERT_TRUE(Eventually([&] { return shipper_->counters().failures >= 2; }));
  const IndexCounters failing = shipper_->counters();
  ASSERT_TRUE(failing.error);
  EXPECT_THAT(failing.error->message, HasSubstr("may not write \"walindex/"));
  EXPECT_GT(failing.memory, 0);
  shipper_->Add(TestIndex(2));
  fails_ = false;
  ASSERT_TRUE(EventuallyStored(2));
  EXPECT_FALSE(shipper_->counters().error);
  EXPECT_EQ(shipper_->counters().memory, 0);
  EXPECT_EQ(shipper_->counters().given_up, 0);
}

TEST_F(IndexShipperTest, GivesUpTheOldestWhenTooMuchWaits) {
  fails_ = true;
  options_.limits.memory = 3 * MemoryOf(TestIndex(1)) + 500;
  Start();
  for (const SegmentNumber number : {1, 3, 5, 7, 9}) {
    shipper_->Add(TestIndex(number));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  ASSERT_TRUE(Eventually([&] { return shipper_->counters().given_up == 2; }));
  fails_ = false;
  ASSERT_TRUE(EventuallyStored(3));
  EXPECT_THAT(Objects(), ElementsAre("5-5", "7-7", "9-9"));
}

// An index object alone would look like the rest of a repository that has lost its key.
TEST_F(IndexShipperTest, LeavesNothingInAPlaceWithoutAnIdentity) {
  const std::string identity = IdentityName(kTestSystem);
  const std::string text = ReadText(repository_.PathOf(identity));
  on_put_ = [&] { std::filesystem::remove(repository_.PathOf(identity)); };
  Start();
  shipper_->Add(TestIndex(1));
  ASSERT_TRUE(Eventually([&] { return shipper_->counters().failures >= 2; }));
  EXPECT_THAT(Objects(), IsEmpty());
  environment_.cancellation->Cancel();
  shipper_.reset();
  WriteText(repository_.PathOf(identity), text);
}

TEST_F(IndexShipperTest, EndsAtOnceWhateverWaits) {
  options_.limits.age = std::chrono::hours(1);
  Start();
  shipper_->Add(TestIndex(1));
  environment_.cancellation->Cancel();
  const auto begin = std::chrono::steady_clock::now();
  shipper_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
  EXPECT_THAT(Objects(), IsEmpty());
}

}  // namespace
}  // namespace veza
