#include "core/archive/archive_pace.h"

#include <gtest/gtest.h>

#include "core/codec/codec_fixtures.h"

namespace veza {
namespace {

using std::chrono::seconds;

class ArchivePaceTest : public testing::Test {
 protected:
  void Observe(int at_s, std::uint64_t written, std::uint64_t important, std::uint64_t archived) {
    pace_.Observe({kTestTime + seconds(at_s) + step_, SteadyTime{} + seconds(at_s), Lsn{written},
                   Lsn{important}, Lsn{archived}});
  }
  // Seconds since kTestTime; -1 when nothing is exposed.
  std::int64_t ExposedSince() {
    const auto since = pace_.exposed_since();
    return since ? std::chrono::duration_cast<seconds>(*since - kTestTime).count() : -1;
  }

  // Call it after an observation of nothing at 0 s. A minute after the last byte the rates are 0.
  void ExpectRatesOfTheLastMinute() {
    Observe(10, 1000, 1000, 500);
    EXPECT_DOUBLE_EQ(pace_.written_rate(), 100);
    EXPECT_DOUBLE_EQ(pace_.archived_rate(), 50);
    for (int i = 2; i <= 10; ++i) {
      Observe(10 * i, 1000, 1000, 500);
    }
    EXPECT_EQ(pace_.written_rate(), 0);
    EXPECT_EQ(pace_.archived_rate(), 0);
  }

  ArchivePace pace_;
  seconds step_{0};  // of the clock
};

TEST_F(ArchivePaceTest, NothingIsKnownAtFirst) {
  EXPECT_EQ(ExposedSince(), -1);
  EXPECT_EQ(pace_.written_rate(), 0);
  EXPECT_EQ(pace_.archived_rate(), 0);
  Observe(0, 500, 450, 400);
  EXPECT_EQ(ExposedSince(), 0);
  EXPECT_EQ(pace_.written_rate(), 0);
}

TEST_F(ArchivePaceTest, ExposureBeginsBeforeTheFirstThingThatIsNotArchived) {
  Observe(0, 100, 100, 100);
  EXPECT_EQ(ExposedSince(), -1);
  Observe(10, 200, 200, 100);
  EXPECT_EQ(ExposedSince(), 0);
  Observe(20, 300, 300, 100);
  EXPECT_EQ(ExposedSince(), 0);
  Observe(30, 400, 400, 250);  // what was written up to second 10 is archived
  EXPECT_EQ(ExposedSince(), 10);
  Observe(40, 500, 500, 300);
  EXPECT_EQ(ExposedSince(), 20);
  Observe(50, 500, 500, 500);
  EXPECT_EQ(ExposedSince(), -1);
}

TEST_F(ArchivePaceTest, WhatIsOfNoImportanceExposesNothing) {
  Observe(0, 1000, 900, 950);
  Observe(3600, 1400, 900, 950);
  EXPECT_EQ(ExposedSince(), -1);
}

TEST_F(ArchivePaceTest, DaysOfStandstillCostLittleAndAreNotForgotten) {
  Observe(0, 10, 10, 10);
  for (int i = 1; i < 100'000; ++i) {
    Observe(10 * i, 10 + static_cast<std::uint64_t>(i), 10 + static_cast<std::uint64_t>(i), 10);
    ASSERT_EQ(ExposedSince(), 0);
  }
  EXPECT_LT(sizeof(pace_), 10'000U);
}

TEST_F(ArchivePaceTest, RatesAreOfTheLastMinute) {
  Observe(0, 0, 0, 0);
  ExpectRatesOfTheLastMinute();
}

TEST_F(ArchivePaceTest, WhatGoesBackIsNoRate) {
  Observe(0, 1000, 1000, 900);
  Observe(10, 1000, 1000, 100);  // segments of an earlier timeline were offered again
  EXPECT_EQ(pace_.archived_rate(), 0);
  EXPECT_EQ(ExposedSince(), 0);
}

TEST_F(ArchivePaceTest, RatesSurviveAClockThatIsSetBack) {
  Observe(0, 0, 0, 0);
  step_ = seconds(-3600);
  ExpectRatesOfTheLastMinute();
  step_ = seconds(3600);
  Observe(110, 3000, 3000, 500);
  EXPECT_NEAR(pace_.written_rate(), 2000 / 60.0, 5);
}

TEST_F(ArchivePaceTest, ExposureBeginsAnewWhereTheClockIsSetBack) {
  Observe(0, 100, 100, 100);
  Observe(10, 200, 200, 100);
  step_ = seconds(-3600);
  Observe(20, 300, 300, 100);
  EXPECT_EQ(ExposedSince(), 20 - 3600);
  Observe(30, 400, 400, 100);
  EXPECT_EQ(ExposedSince(), 20 - 3600);
}

TEST(TimeToDrain, IsTheBacklogByTheDifferenceOfTheRates) {
  EXPECT_EQ(TimeToDrain(0, 100, 0), seconds(0));
  EXPECT_EQ(TimeToDrain(1000, 100, 200), seconds(10));
  EXPECT_EQ(TimeToDrain(1000, 0, 200), seconds(5));
  EXPECT_EQ(TimeToDrain(1000, 100, 100), std::nullopt);
  EXPECT_EQ(TimeToDrain(1000, 0, 0), std::nullopt);
  EXPECT_GT(TimeToDrain(1ULL << 60, 0, 1e-9).value(), seconds(1'000'000));
}

TEST(TimeUntilFull, IsTheRoomByTheDifferenceOfTheRates) {
  EXPECT_EQ(TimeUntilFull(1000, 200, 100), seconds(10));
  EXPECT_EQ(TimeUntilFull(1000, 200, 0), seconds(5));
  EXPECT_EQ(TimeUntilFull(1000, 100, 100), std::nullopt);
  EXPECT_EQ(TimeUntilFull(0, 100, 0), seconds(0));
}

}  // namespace
}  // namespace veza
