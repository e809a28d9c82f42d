#include "core/repository/drill_record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/limits.h"
#include "core/repository/names.h"
#include "core/repository/test_backup.h"

namespace veza {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kDiff = "20261122-020000F_20261123-020000D";

DrillRecord TestRecord() {
  return {.label = kTestLabel,
          .system_identifier = kTestSystem,
          .node = "node-b",
          .target = "the end of WAL",
          .started = kTestTime,
          .finished = kTestTime + std::chrono::seconds(90),
          .passed = true,
          .phases = {{"restore", milliseconds(1234)}, {"recovery", milliseconds(0)}},
          .restored_bytes = 5'000'000'000,
          .last_commit = kTestTime - std::chrono::microseconds(61'000'001),
          .rto = milliseconds(1234),
          .rpo = milliseconds(61'000),
          .checks_passed = 3,
          .checks_failed = 0};
}

class DrillRecordTest : public testing::Test {
 protected:
  DrillRecordTest() { repository_.clock().Sleep(std::chrono::hours(24 * 30), nullptr); }

  TestRepository repository_{Cipher::kAes256Gcm};
};

TEST_F(DrillRecordTest, NamesAreBuiltAndParsed) {
  const std::string name = DrillName(kTestTime, kDiff);
  EXPECT_EQ(ParseDrillName(name), kDiff);
  EXPECT_EQ(ParseDrillName("drill/20261122-020000-20261122-020000F"), kTestLabel);
  for (const char* other :
       {"drill/", "drill/20261122-020000", "drill/20261122-020000-", "drill/20261122-020000-x",
        "drill/20261122_020000-20261122-020000F", "pin/20261122-020000-20261122-020000F"}) {
    EXPECT_EQ(ParseDrillName(other), std::nullopt) << other;
  }
}

TEST_F(DrillRecordTest, IsReadAsItWasWritten) {
  const DrillRecord record = TestRecord();
  const std::string name = StoreDrill(*repository_, record).value();
  EXPECT_EQ(name, DrillName(kTestTime, kTestLabel));
  const std::vector<StoredDrill> drills = ReadDrills(*repository_).value();
  ASSERT_EQ(drills.size(), 1U);
  EXPECT_EQ(drills[0].name, name);
  EXPECT_EQ(drills[0].label, kTestLabel);
  ASSERT_OK(drills[0].record);
  EXPECT_EQ(DrillToJson(*drills[0].record).Print(), DrillToJson(record).Print());
  EXPECT_EQ(drills[0].record->last_commit, record.last_commit);
}

TEST_F(DrillRecordTest, AFailureHasFewerMembers) {
  EXPECT_FALSE(DrillToJson(TestRecord()).contains("suspect"));
  DrillRecord record{.label = kTestLabel,
                     .started = kTestTime,
                     .finished = kTestTime,
                     .suspect = true,
                     .error = "check \xff failed"};
  ASSERT_OK(StoreDrill(*repository_, record));
  const DrillRecord back = ReadDrills(*repository_).value()[0].record.value();
  EXPECT_FALSE(back.passed);
  EXPECT_TRUE(back.suspect);
  EXPECT_EQ(back.error, "check \xEF\xBF\xBD failed");
  EXPECT_FALSE(back.rto || back.rpo || back.last_commit);
}

TEST_F(DrillRecordTest, DrillsOfTheSameSecondHaveDifferentNames) {
  DrillRecord record = TestRecord();
  EXPECT_EQ(StoreDrill(*repository_, record).value(), DrillName(kTestTime, kTestLabel));
  // Storing the same record again finds it.
  EXPECT_EQ(StoreDrill(*repository_, record).value(), DrillName(kTestTime, kTestLabel));
  record.node = "node-c";
  EXPECT_EQ(StoreDrill(*repository_, record).value(),
            DrillName(kTestTime + std::chrono::seconds(1), kTestLabel));
}

TEST_F(DrillRecordTest, TheLatestOfEachLabel) {
  EXPECT_THAT(ReadLatestDrills(*repository_).value(), IsEmpty());
  DrillRecord record = TestRecord();
  ASSERT_OK(StoreDrill(*repository_, record));
  record.started += std::chrono::hours(24);
  record.passed = false;
  ASSERT_OK(StoreDrill(*repository_, record));
  record.label = kDiff;
  ASSERT_OK(StoreDrill(*repository_, record));
  const auto latest = ReadLatestDrills(*repository_).value();
  ASSERT_EQ(latest.size(), 2U);
  EXPECT_EQ(latest.at(kTestLabel).started, record.started);
  EXPECT_FALSE(latest.at(kTestLabel).passed);
  EXPECT_EQ(latest.at(kDiff).label, kDiff);
  EXPECT_EQ(LastPassed(ReadDrills(*repository_).value()), kTestTime);
}

TEST_F(DrillRecordTest, TheNewestOfASystemIsFoundWithoutReadingTheOthers) {
  EXPECT_EQ(ReadNewestDrill(*repository_, kTestSystem).value(), std::nullopt);
  DrillRecord record = TestRecord();
  for (int day = 0; day < 5; ++day) {
    record.started += std::chrono::hours(24);
    ASSERT_OK(StoreDrill(*repository_, record));
  }
  const TimePoint newest = record.started;
  record.system_identifier = 42;
  record.started += std::chrono::hours(24);
  ASSERT_OK(StoreDrill(*repository_, record));
  record.started += std::chrono::hours(24);
  const std::string damaged = StoreDrill(*repository_, record).value();
  WriteText(repository_.PathOf(damaged), "else");
  int reads = 0;
  repository_.store().SetHook([&](FaultStore::Operation operation, std::string_view) {
    reads += operation == FaultStore::Operation::kGet ? 1 : 0;
    return Ok();
  });
  EXPECT_EQ(ReadNewestDrill(*repository_, kTestSystem).value().value().started, newest);
  EXPECT_EQ(reads, 3);
}

// Anybody who can write to the store can choose names.
TEST_F(DrillRecordTest, RecordsFromTheFutureDisplaceNoOthers) {
  DrillRecord record = TestRecord();
  const TimePoint now = repository_.clock().Now();
  ASSERT_OK(StoreDrill(*repository_, record));
  record.started = now + std::chrono::minutes(50);  // by a clock that is ahead
  const std::string newest = StoreDrill(*repository_, record).value();
  for (std::size_t i = 0; i <= limits::kDrillRecords; ++i) {
    WriteText(repository_.PathOf(DrillName(now + std::chrono::minutes(61 + i), kTestLabel)), "?");
  }
  const std::vector<StoredDrill> drills = ReadDrills(*repository_).value();
  ASSERT_EQ(drills.size(), 2U);
  EXPECT_OK(drills[0].record);
  EXPECT_EQ(drills[1].name, newest);
  EXPECT_EQ(ReadLatestDrills(*repository_).value().at(kTestLabel).started, record.started);
  EXPECT_EQ(ReadNewestDrill(*repository_, kTestSystem).value().value().started, record.started);
}

// A few hundred large records would fill the reader's memory.
TEST_F(DrillRecordTest, ReadsTheNewestThatFit) {
  constexpr std::size_t kLarge = 10'000;
  DrillRecord record = TestRecord();
  ASSERT_OK(StoreDrill(*repository_, record));
  record.error = std::string(kLarge, 'x');
  for (int i = 0; i < 3; ++i) {
    record.started += std::chrono::hours(1);
    ASSERT_OK(StoreDrill(*repository_, record));
  }
  record.label = kDiff;
  record.started += std::chrono::hours(1);
  ASSERT_OK(StoreDrill(*repository_, record));
  const std::vector<StoredDrill> drills = ReadDrills(*repository_, 2 * kLarge).value();
  ASSERT_EQ(drills.size(), 5U);
  for (std::size_t i = 0; i < drills.size(); ++i) {
    EXPECT_EQ(drills[i].record.has_value(), i >= 3) << i;
  }
  EXPECT_ERROR(drills[0].record, ErrorCode::kDataCorrupted);
  EXPECT_THAT(drills[0].record.error().message, HasSubstr("was not read"));
  EXPECT_EQ(ReadLatestDrills(*repository_, kLarge).value().size(), 1U);
  EXPECT_EQ(ReadLatestDrills(*repository_, 2 * kLarge).value().size(), 2U);
  const std::vector<StoredDrill> newest = ReadDrills(*repository_).value();
  EXPECT_OK(newest[0].record);
}

// A phase takes more memory than its stored size.
TEST_F(DrillRecordTest, RefusesThousandsOfPhases) {
  DrillRecord record = TestRecord();
  for (std::size_t i = record.phases.size(); i < limits::kDrillPhases; ++i) {
    record.phases[std::to_string(i)] = milliseconds(1);
  }
  EXPECT_OK(DrillFromJson(DrillToJson(record), "x"));
  record.phases["more"] = milliseconds(1);
  EXPECT_ERROR(DrillFromJson(DrillToJson(record), "x"), ErrorCode::kDataCorrupted);
}

TEST_F(DrillRecordTest, AnUnreadableRecordHidesNoOlderOne) {
  const DrillRecord record = TestRecord();
  ASSERT_OK(StoreDrill(*repository_, record));
  for (int i = 1; i < 4; ++i) {
    WriteText(repository_.PathOf(DrillName(kTestTime + std::chrono::hours(i), kTestLabel)), "?");
  }
  const auto latest = ReadLatestDrills(*repository_).value();
  ASSERT_EQ(latest.size(), 1U);
  EXPECT_EQ(latest.at(kTestLabel).started, record.started);
}

TEST_F(DrillRecordTest, AForgedRecordIsRecognised) {
  const std::string name = StoreDrill(*repository_, TestRecord()).value();
  std::string text = ReadText(repository_.PathOf(name));
  const std::size_t at = text.find("\"passed\": true");
  ASSERT_NE(at, std::string::npos) << text;
  WriteText(repository_.PathOf(name), text.replace(at, 14, "\"passed\":false"));
  WriteText(repository_.PathOf("drill/something"), "else");
  const std::vector<StoredDrill> drills = ReadDrills(*repository_).value();
  ASSERT_EQ(drills.size(), 1U);
  EXPECT_ERROR(drills[0].record, ErrorCode::kDataCorrupted);
  EXPECT_THAT(drills[0].record.error().message, HasSubstr(name));
  EXPECT_THAT(ReadLatestDrills(*repository_).value(), IsEmpty());
  EXPECT_EQ(LastPassed(drills), std::nullopt);
}

}  // namespace
}  // namespace veza
