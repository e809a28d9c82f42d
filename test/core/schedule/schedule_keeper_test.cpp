#include "core/schedule/schedule_keeper.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace veza {
namespace {

TimePoint Utc(std::string_view text) {
  return ParseUtc(text).value();
}

ScheduleSettings Settings(std::string_view full, std::string_view diff) {
  ScheduleSettings settings;
  settings.full = Schedule::Parse(full, settings.zone).value();
  settings.diff = Schedule::Parse(diff, settings.zone).value();
  settings.jitter = std::chrono::seconds(0);
  return settings;
}

SlotRecord Record(std::string_view slot, SlotState state, int attempts = 1) {
  SlotRecord record;
  record.slot = Utc(slot);
  record.state = state;
  record.attempts = attempts;
  record.updated = record.slot;
  return record;
}

class ScheduleKeeperTest : public testing::Test {
 protected:
  ScheduleKeeperTest() {
    keeper_.SetSettings(Settings("0 2 * * 0", "0 2 * * 1-6"), Utc("2026-11-22T01:00:00Z"));
    keeper_.Learn(records_);
  }

  std::optional<SlotClaim> StartAt(std::string_view now) {
    NodeState state;
    state.node = "here:5432";
    state.now = Utc(now);
    return keeper_.Plan(state).start;
  }

  SlotRecords records_{{"full", Record("2026-11-15T02:00:00Z", SlotState::kSucceeded)},
                       {"diff", Record("2026-11-21T02:00:00Z", SlotState::kSucceeded)}};
  ScheduleKeeper keeper_;
};

TEST_F(ScheduleKeeperTest, FailuresCountWhileTheRepositoryCannotBeReached) {
  const auto first = StartAt("2026-11-22T02:00:00Z");
  ASSERT_TRUE(first.has_value());
  keeper_.NoteFailure(*first, "here:5432", "no route to host", Utc("2026-11-22T02:00:10Z"));
  EXPECT_FALSE(StartAt("2026-11-22T02:01:00Z").has_value());
  EXPECT_EQ(keeper_.Records().at("full").error, "no route to host");

  const auto second = StartAt("2026-11-22T02:01:10Z");
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->attempt, 2);
  keeper_.NoteFailure(*second, "here:5432", "no route to host", Utc("2026-11-22T02:01:20Z"));
  EXPECT_FALSE(StartAt("2026-11-22T02:03:19Z").has_value()) << "two minutes";

  // The repository is back, and no other node has done anything.
  keeper_.Learn(records_);
  EXPECT_EQ(StartAt("2026-11-22T02:03:20Z").value().attempt, 3);
}

TEST_F(ScheduleKeeperTest, RecordsOfOthersReplaceOurFailures) {
  keeper_.NoteFailure({ScheduleKind::kFull, Utc("2026-11-22T02:00:00Z"), 2}, "here:5432", "trouble",
                      Utc("2026-11-22T02:00:10Z"));
  records_["full"] = Record("2026-11-22T02:00:00Z", SlotState::kSucceeded);
  keeper_.Learn(records_);
  EXPECT_EQ(keeper_.Records().at("full").state, SlotState::kSucceeded);
  EXPECT_FALSE(StartAt("2026-11-22T12:00:00Z").has_value());
}

TEST_F(ScheduleKeeperTest, AFailureThatTheRepositoryKnowsIsForgotten) {
  keeper_.NoteFailure({ScheduleKind::kFull, Utc("2026-11-22T02:00:00Z"), 1}, "here:5432", "trouble",
                      Utc("2026-11-22T02:00:10Z"));
  records_["full"] = Record("2026-11-22T02:00:00Z", SlotState::kFailed, 1);
  records_["full"].label = "20261122-020001F";
  keeper_.Learn(records_);
  EXPECT_EQ(keeper_.Records().at("full").label, "20261122-020001F");
}

TEST_F(ScheduleKeeperTest, OnlyTheScheduleThatChangedBeginsAnew) {
  records_["full"] = Record("2026-11-22T02:00:00Z", SlotState::kFailed);
  keeper_.Learn(records_);
  keeper_.SetSettings(Settings("0 2 * * 0", "0 11 * * *"), Utc("2026-11-22T12:00:00Z"));
  const auto start = StartAt("2026-11-22T12:00:01Z");
  ASSERT_TRUE(start.has_value());
  EXPECT_EQ(start->kind, ScheduleKind::kFull) << "its tries go on";

  ScheduleSettings elsewhere = Settings("0 2 * * 0", "0 11 * * *");
  elsewhere.zone = TimeZone::Find("Asia/Tokyo").value();
  keeper_.SetSettings(elsewhere, Utc("2026-11-22T12:00:00Z"));
  EXPECT_FALSE(StartAt("2026-11-22T12:00:01Z").has_value()) << "other times";
}

// While it was ahead, a schedule was changed, and a backup failed.
TEST_F(ScheduleKeeperTest, AClockThatIsSetBackDoesNotEndTheSchedules) {
  keeper_.SetSettings(Settings("0 2 * * 0", "0 3 * * 1-6"), Utc("2028-01-02T01:00:00Z"));
  keeper_.NoteFailure(StartAt("2028-01-02T02:00:00Z").value(), "here:5432", "no space",
                      Utc("2028-01-02T02:00:10Z"));
  EXPECT_FALSE(StartAt("2026-11-29T02:00:00Z").has_value());
  keeper_.ForgetFuture(Utc("2026-11-28T12:00:00Z"));
  EXPECT_EQ(StartAt("2026-11-29T02:00:00Z").value().kind, ScheduleKind::kFull);
  keeper_.Learn({{"full", Record("2026-11-29T02:00:00Z", SlotState::kSucceeded)},
                 {"diff", Record("2026-11-21T02:00:00Z", SlotState::kSucceeded)}});
  EXPECT_EQ(StartAt("2026-11-30T03:00:00Z").value().kind, ScheduleKind::kDiff);
}

// Somebody has cancelled it when the clock was right again.
TEST_F(ScheduleKeeperTest, AFailureOfATimeToComeIsForgotten) {
  keeper_.NoteFailure({ScheduleKind::kFull, Utc("2028-01-02T02:00:00Z"), 1}, "here:5432",
                      "canceled", Utc("2026-11-28T12:00:00Z"));
  keeper_.Learn({});
  keeper_.ForgetFuture(Utc("2026-11-28T12:00:00Z"));
  EXPECT_TRUE(keeper_.Records().empty());
  NodeState state;
  state.now = Utc("2026-11-28T12:00:00Z");
  EXPECT_EQ(keeper_.Plan(state).baselines.size(), 2U);
}

// The pause before the next attempt is reckoned from it.
TEST_F(ScheduleKeeperTest, NoFailureThatIsKeptHappenedInATimeToCome) {
  const TimePoint now = Utc("2026-11-28T12:00:00Z");
  for (const char* const noted : {"2028-01-02T02:00:00Z", "2026-11-28T11:00:00Z"}) {
    keeper_.NoteFailure({ScheduleKind::kFull, Utc("2026-11-22T02:00:00Z"), 1}, "here:5432",
                        "no answer", Utc(noted));
    keeper_.ForgetFuture(now);
    EXPECT_EQ(keeper_.Records().at("full").updated, std::min(Utc(noted), now));
  }
}

TEST_F(ScheduleKeeperTest, TellsEachSkippedSlotOnce) {
  const SkippedSlot diff{ScheduleKind::kDiff, Utc("2026-11-23T02:00:00Z"), "a full backup runs"};
  const SkippedSlot incr{ScheduleKind::kIncr, Utc("2026-11-23T02:00:00Z"), "a full backup runs"};
  const SkippedSlot tuesday{ScheduleKind::kDiff, Utc("2026-11-24T02:00:00Z"), "a full one is due"};
  EXPECT_EQ(keeper_.TellOnce({}), "");
  EXPECT_EQ(keeper_.TellOnce({diff, incr}),
            "skipping the diff backup scheduled for 2026-11-23T02:00:00Z: a full backup runs; "
            "skipping the incr backup scheduled for 2026-11-23T02:00:00Z: a full backup runs");
  EXPECT_EQ(keeper_.TellOnce({diff, incr}), "");
  keeper_.ForgetFuture(Utc("2026-11-23T02:00:01Z"));  // as each look at the lock does
  EXPECT_EQ(keeper_.TellOnce({diff, incr}), "");
  EXPECT_EQ(keeper_.TellOnce({tuesday, incr}),
            "skipping the diff backup scheduled for 2026-11-24T02:00:00Z: a full one is due");
}

}  // namespace
}  // namespace veza
