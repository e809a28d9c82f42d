#include "core/schedule/planner.h"

#include <gtest/gtest.h>

#include <set>

namespace veza {
namespace {

using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;

TimePoint Utc(std::string_view text) {
  return ParseUtc(text).value();
}

ScheduleSettings Settings(std::string_view full, std::string_view diff) {
  ScheduleSettings settings;
  if (!full.empty()) {
    settings.full = Schedule::Parse(full, TimeZone()).value();
  }
  if (!diff.empty()) {
    settings.diff = Schedule::Parse(diff, TimeZone()).value();
  }
  settings.jitter = seconds(0);
  return settings;
}

SlotRecord Record(std::string_view slot, SlotState state, int attempts = 1,
                  std::string_view updated = {}) {
  SlotRecord record;
  record.slot = Utc(slot);
  record.state = state;
  record.attempts = attempts;
  record.node = "other:5432";
  record.updated = updated.empty() ? record.slot : Utc(updated);
  return record;
}

// A primary with weekly fulls on Sunday and daily diffs, both at 02:00. All have been taken so far.
// 22 November 2026 is a Sunday.
class PlannerTest : public testing::Test {
 protected:
  PlannerTest() {
    input_.settings = &settings_;
    input_.node = "here:5432";
    input_.records["full"] = Record("2026-11-15T02:00:00Z", SlotState::kSucceeded);
    input_.records["diff"] = Record("2026-11-21T02:00:00Z", SlotState::kSucceeded);
  }

  SchedulePlan PlanAt(std::string_view now) {
    input_.now = Utc(now);
    return PlanSchedule(input_);
  }

  void ExpectStart(std::string_view now, ScheduleKind kind, std::string_view slot, int attempt) {
    const SchedulePlan plan = PlanAt(now);
    ASSERT_TRUE(plan.start.has_value()) << now;
    EXPECT_EQ(plan.start->kind, kind) << now;
    EXPECT_EQ(FormatUtc(plan.start->slot), slot) << now;
    EXPECT_EQ(plan.start->attempt, attempt) << now;
  }

  void ExpectNothingUntil(std::string_view now, std::string_view look_again) {
    const SchedulePlan plan = PlanAt(now);
    EXPECT_FALSE(plan.start.has_value()) << now;
    EXPECT_TRUE(plan.skipped.empty()) << now;
    EXPECT_TRUE(plan.baselines.empty()) << now;
    ASSERT_TRUE(plan.look_again.has_value()) << now;
    EXPECT_EQ(FormatUtc(*plan.look_again), look_again) << now;
  }

  std::string Next(ScheduleKind kind) { return FormatUtc(NextRun(input_, kind).value()); }

  ScheduleSettings settings_ = Settings("0 2 * * 0", "0 2 * * 1-6");
  PlannerInput input_;
};

TEST_F(PlannerTest, ASlotIsClaimedWhenItIsDue) {
  ExpectNothingUntil("2026-11-22T01:59:59Z", "2026-11-22T02:00:00Z");
  ExpectStart("2026-11-22T02:00:00Z", ScheduleKind::kFull, "2026-11-22T02:00:00Z", 1);
  input_.records["full"] = Record("2026-11-22T02:00:00Z", SlotState::kSucceeded);
  ExpectNothingUntil("2026-11-22T02:00:01Z", "2026-11-23T02:00:00Z");
  ExpectStart("2026-11-23T02:00:00Z", ScheduleKind::kDiff, "2026-11-23T02:00:00Z", 1);
}

TEST_F(PlannerTest, NothingIsRunTwice) {
  for (const SlotState state : {SlotState::kSucceeded, SlotState::kSkipped, SlotState::kNone}) {
    input_.records["full"] = Record("2026-11-22T02:00:00Z", state, 0);
    ExpectNothingUntil("2026-11-22T12:00:00Z", "2026-11-23T02:00:00Z");
  }
  // A node whose clock is ahead has claimed a slot that is not due yet by our clock.
  input_.records["diff"] = Record("2026-11-24T02:00:00Z", SlotState::kSucceeded);
  ExpectNothingUntil("2026-11-23T03:00:00Z", "2026-11-24T02:00:00Z");
}

TEST_F(PlannerTest, WithoutSchedulesThereIsNothingToDoEver) {
  settings_ = Settings("", "");
  const SchedulePlan plan = PlanAt("2026-11-22T02:00:00Z");
  EXPECT_FALSE(plan.start || plan.look_again);
  EXPECT_TRUE(plan.skipped.empty() && plan.baselines.empty());
  EXPECT_FALSE(NextRun(input_, ScheduleKind::kFull).has_value());
}

TEST_F(PlannerTest, OnlyTheLatestMissedSlotIsMadeUp) {
  input_.records["diff"] = Record("2026-11-16T02:00:00Z", SlotState::kSucceeded);
  ExpectStart("2026-11-20T12:00:00Z", ScheduleKind::kDiff, "2026-11-20T02:00:00Z", 1);
  input_.records["diff"] = Record("2026-11-20T02:00:00Z", SlotState::kSucceeded);
  ExpectNothingUntil("2026-11-20T12:30:00Z", "2026-11-21T02:00:00Z");
}

TEST_F(PlannerTest, WithoutRecordsTheBaselineIsNow) {
  input_.records.clear();
  SchedulePlan plan = PlanAt("2026-11-22T12:00:00Z");
  EXPECT_FALSE(plan.start.has_value());
  EXPECT_EQ(plan.baselines, (std::vector{ScheduleKind::kFull, ScheduleKind::kDiff}));
  EXPECT_EQ(Next(ScheduleKind::kFull), "2026-11-29T02:00:00Z");

  for (const char* kind : {"full", "diff"}) {
    input_.records[kind] = Record("2026-11-22T12:00:00Z", SlotState::kNone, 0);
  }
  ExpectNothingUntil("2026-11-22T12:00:01Z", "2026-11-23T02:00:00Z");
  ExpectStart("2026-11-23T02:00:00Z", ScheduleKind::kDiff, "2026-11-23T02:00:00Z", 1);

  settings_.backup_from = BackupFrom::kStandby;
  input_.records.clear();
  EXPECT_TRUE(PlanAt("2026-11-22T12:00:00Z").baselines.empty()) << "the standbys do it";
}

TEST_F(PlannerTest, ANewScheduleMakesNothingUp) {
  settings_ = Settings("0 2 * * 0", "0 11 * * *");
  input_.since[ScheduleKind::kDiff] = Utc("2026-11-21T12:00:00Z");
  ExpectNothingUntil("2026-11-21T12:00:01Z", "2026-11-22T02:00:00Z");
  ExpectStart("2026-11-22T02:00:00Z", ScheduleKind::kFull, "2026-11-22T02:00:00Z", 1);
}

// A diff may still be running when the next full comes due. It is not skipped.
TEST_F(PlannerTest, ADiffThatRunsIsNotSkippedForAFullThatIsDue) {
  settings_ = Settings("0 2 * * 0", "0 1 * * *");
  input_.records["diff"] = Record("2026-11-22T01:00:00Z", SlotState::kRunning);
  input_.lock = LockUse::kDiffBackup;
  EXPECT_TRUE(PlanAt("2026-11-22T02:00:00Z").skipped.empty());
  // The node that ran it has died: the full takes its place.
  input_.lock = LockUse::kFree;
  EXPECT_EQ(PlanAt("2026-11-22T02:00:00Z").skipped.size(), 1U);
}

TEST_F(PlannerTest, AFullOrADiffTakesThePlaceOfAnIncr) {
  settings_ = Settings("0 2 * * 0", "0 2 * * *");
  settings_.incr = Schedule::Parse("0 * * * *", TimeZone()).value();
  input_.records["incr"] = Record("2026-11-22T01:00:00Z", SlotState::kSucceeded);
  const SchedulePlan sunday = PlanAt("2026-11-22T02:00:00Z");
  EXPECT_EQ(sunday.start->kind, ScheduleKind::kFull);
  ASSERT_EQ(sunday.skipped.size(), 2U);
  EXPECT_EQ(sunday.skipped[1].kind, ScheduleKind::kIncr);
  EXPECT_EQ(sunday.skipped[1].reason, "a full backup is due as well");

  input_.records["full"] = Record("2026-11-22T02:00:00Z", SlotState::kSucceeded);
  input_.records["diff"] = Record("2026-11-22T02:00:00Z", SlotState::kSkipped);
  input_.records["incr"] = Record("2026-11-23T01:00:00Z", SlotState::kSucceeded);
  const SchedulePlan monday = PlanAt("2026-11-23T02:00:00Z");
  EXPECT_EQ(monday.start->kind, ScheduleKind::kDiff);
  ASSERT_EQ(monday.skipped.size(), 1U);
  EXPECT_EQ(monday.skipped[0].kind, ScheduleKind::kIncr);
  EXPECT_EQ(monday.skipped[0].reason, "a diff backup is due as well");
  EXPECT_TRUE(SkippedBy(ScheduleKind::kDiff, ScheduleKind::kIncr, settings_, input_.records,
                        Utc("2026-11-23T02:00:00Z"))
                  .has_value());

  // While a diff runs, an incr has no point. While another incr runs, it waits.
  input_.records["diff"] = Record("2026-11-23T02:00:00Z", SlotState::kRunning);
  input_.lock = LockUse::kDiffBackup;
  const SchedulePlan meanwhile = PlanAt("2026-11-23T02:00:00Z");
  ASSERT_EQ(meanwhile.skipped.size(), 1U);
  EXPECT_EQ(meanwhile.skipped[0].kind, ScheduleKind::kIncr);
  input_.records["diff"] = Record("2026-11-23T02:00:00Z", SlotState::kSucceeded);
  input_.lock = LockUse::kOther;
  EXPECT_TRUE(PlanAt("2026-11-23T03:00:00Z").skipped.empty());
  input_.lock = LockUse::kFree;
  ExpectStart("2026-11-23T03:00:00Z", ScheduleKind::kIncr, "2026-11-23T03:00:00Z", 1);
}

TEST_F(PlannerTest, AFullTakesThePlaceOfADiff) {
  settings_ = Settings("0 2 * * 0", "0 2 * * *");
  const SchedulePlan plan = PlanAt("2026-11-22T02:00:00Z");
  ASSERT_TRUE(plan.start.has_value());
  EXPECT_EQ(plan.start->kind, ScheduleKind::kFull);
  ASSERT_EQ(plan.skipped.size(), 1U);
  EXPECT_EQ(plan.skipped[0].kind, ScheduleKind::kDiff);
  EXPECT_EQ(FormatUtc(plan.skipped[0].slot), "2026-11-22T02:00:00Z");
  EXPECT_EQ(plan.skipped[0].reason, "a full backup is due as well");
  EXPECT_EQ(Next(ScheduleKind::kFull), "2026-11-22T02:00:00Z");
  EXPECT_EQ(Next(ScheduleKind::kDiff), "2026-11-23T02:00:00Z");

  const auto skipped =
      SkippedBy(ScheduleKind::kFull, ScheduleKind::kDiff, settings_, input_.records, input_.now);
  ASSERT_TRUE(skipped.has_value());
  EXPECT_EQ(skipped->state, SlotState::kSkipped);
  input_.records["diff"] = *skipped;
  EXPECT_FALSE(
      SkippedBy(ScheduleKind::kFull, ScheduleKind::kDiff, settings_, input_.records, input_.now)
          .has_value());
  input_.records["full"] = Record("2026-11-22T02:00:00Z", SlotState::kSucceeded);
  ExpectNothingUntil("2026-11-22T02:30:00Z", "2026-11-23T02:00:00Z");
}

TEST_F(PlannerTest, TheDiffWaitsForAFullThatItsJitterDelays) {
  settings_ = Settings("0 2 * * 0", "0 2 * * *");
  settings_.jitter = hours(2);
  const SchedulePlan plan = PlanAt("2026-11-22T02:00:00Z");
  EXPECT_FALSE(plan.start.has_value());
  EXPECT_EQ(plan.skipped.size(), 1U);
}

TEST_F(PlannerTest, ADiffDueWhileAFullRunsIsSkipped) {
  input_.records["full"] = Record("2026-11-22T02:00:00Z", SlotState::kRunning);
  input_.lock = LockUse::kFullBackup;
  input_.holder = "other:5432";
  SchedulePlan plan = PlanAt("2026-11-23T02:00:00Z");
  EXPECT_FALSE(plan.start.has_value());
  ASSERT_EQ(plan.skipped.size(), 1U);
  EXPECT_EQ(plan.skipped[0].reason, "a full backup is running on \"other:5432\"");
  ASSERT_TRUE(plan.look_again.has_value());

  // The same for a full that was started by hand.
  input_.records["full"] = Record("2026-11-22T02:00:00Z", SlotState::kSucceeded);
  EXPECT_EQ(PlanAt("2026-11-23T02:00:00Z").skipped.size(), 1U);
}

TEST_F(PlannerTest, AnyOtherHolderIsWaitedFor) {
  input_.lock = LockUse::kOther;
  ExpectNothingUntil("2026-11-22T02:00:00Z", "2026-11-22T02:01:00Z");
  input_.records["full"] = Record("2026-11-22T02:00:00Z", SlotState::kSucceeded);
  ExpectNothingUntil("2026-11-23T02:00:00Z", "2026-11-23T02:01:00Z");
  input_.lock = LockUse::kFree;
  ExpectStart("2026-11-23T02:01:00Z", ScheduleKind::kDiff, "2026-11-23T02:00:00Z", 1);
}

TEST_F(PlannerTest, AFailedSlotIsTriedAgainWithGrowingPauses) {
  input_.records["full"] =
      Record("2026-11-22T02:00:00Z", SlotState::kFailed, 1, "2026-11-22T02:10:00Z");
  ExpectNothingUntil("2026-11-22T02:10:59Z", "2026-11-22T02:11:00Z");
  EXPECT_EQ(Next(ScheduleKind::kFull), "2026-11-22T02:11:00Z");
  ExpectStart("2026-11-22T02:11:00Z", ScheduleKind::kFull, "2026-11-22T02:00:00Z", 2);
  input_.records["full"] =
      Record("2026-11-22T02:00:00Z", SlotState::kFailed, 5, "2026-11-22T03:00:00Z");
  ExpectNothingUntil("2026-11-22T03:15:59Z", "2026-11-22T03:16:00Z");
  ExpectStart("2026-11-22T03:16:00Z", ScheduleKind::kFull, "2026-11-22T02:00:00Z", 6);

  int expected = 1;
  for (int attempts = 1; attempts <= 8; ++attempts, expected *= 2) {
    EXPECT_EQ(RetryPause(attempts), minutes(std::min(expected, 30)));
  }
  EXPECT_EQ(RetryPause(1000), minutes(30));
}

TEST_F(PlannerTest, TriesEndWithTheNextSlotOfTheKind) {
  input_.records["diff"] =
      Record("2026-11-20T02:00:00Z", SlotState::kFailed, 40, "2026-11-21T01:55:00Z");
  ExpectNothingUntil("2026-11-21T01:59:59Z", "2026-11-21T02:00:00Z");
  ExpectStart("2026-11-21T02:00:00Z", ScheduleKind::kDiff, "2026-11-21T02:00:00Z", 1);
}

TEST_F(PlannerTest, AFullThatFailedDoesNotStopTheDiffs) {
  input_.records["full"] =
      Record("2026-11-22T02:00:00Z", SlotState::kFailed, 40, "2026-11-23T01:50:00Z");
  ExpectStart("2026-11-23T02:00:00Z", ScheduleKind::kDiff, "2026-11-23T02:00:00Z", 1);
}

TEST_F(PlannerTest, ARunOfADeadNodeIsTakenOver) {
  input_.records["full"] = Record("2026-11-22T02:00:00Z", SlotState::kRunning, 1);
  input_.lock = LockUse::kFullBackup;
  ExpectNothingUntil("2026-11-22T02:10:00Z", "2026-11-22T02:15:00Z");
  EXPECT_EQ(Next(ScheduleKind::kFull), "2026-11-29T02:00:00Z");
  input_.lock = LockUse::kFree;
  ExpectStart("2026-11-22T02:15:00Z", ScheduleKind::kFull, "2026-11-22T02:00:00Z", 2);
}

TEST_F(PlannerTest, OnlyTheRightRoleClaims) {
  const auto starts = [&](BackupFrom from, bool is_primary) {
    settings_.backup_from = from;
    input_.is_primary = is_primary;
    return PlanAt("2026-11-22T02:00:00Z").start.has_value();
  };
  EXPECT_TRUE(starts(BackupFrom::kPrimary, true));
  EXPECT_FALSE(starts(BackupFrom::kPrimary, false));
  EXPECT_FALSE(starts(BackupFrom::kStandby, true));
  EXPECT_TRUE(starts(BackupFrom::kStandby, false));
  EXPECT_TRUE(starts(BackupFrom::kPreferStandby, true)) << "no standby is known";
  EXPECT_TRUE(starts(BackupFrom::kPreferStandby, false));

  settings_.backup_from = BackupFrom::kPrimary;
  ExpectNothingUntil("2026-11-22T02:00:00Z", "2026-11-23T02:00:00Z");
}

TEST_F(PlannerTest, ThePrimaryLeavesTheStandbysTime) {
  settings_.backup_from = BackupFrom::kPreferStandby;
  input_.has_standbys = true;
  ExpectNothingUntil("2026-11-22T02:00:00Z", "2026-11-22T02:02:00Z");
  ExpectStart("2026-11-22T02:02:00Z", ScheduleKind::kFull, "2026-11-22T02:00:00Z", 1);
  input_.records["full"] =
      Record("2026-11-22T02:00:00Z", SlotState::kFailed, 1, "2026-11-22T02:10:00Z");
  ExpectNothingUntil("2026-11-22T02:11:00Z", "2026-11-22T02:13:00Z");
}

TEST_F(PlannerTest, APromotedStandbyCarriesOn) {
  input_.is_primary = false;
  input_.records["diff"] = Record("2026-11-20T02:00:00Z", SlotState::kRunning);
  ExpectNothingUntil("2026-11-20T03:00:00Z", "2026-11-21T02:00:00Z");
  input_.is_primary = true;
  ExpectStart("2026-11-20T03:00:00Z", ScheduleKind::kDiff, "2026-11-20T02:00:00Z", 2);
}

TEST_F(PlannerTest, JitterIsStableForASlotAndDiffersBetweenNodes) {
  settings_.jitter = minutes(5);
  const auto ready = [&](const std::string& node, std::string_view now) {
    input_.node = node;
    input_.now = Utc(now);
    return NextRun(input_, ScheduleKind::kFull).value() - Utc("2026-11-22T02:00:00Z");
  };
  std::set<std::chrono::microseconds> delays;
  for (int i = 0; i < 20; ++i) {
    const std::string node = fmt::format("db{}:5432", i);
    const auto delay = ready(node, "2026-11-22T02:00:00Z");
    EXPECT_GE(delay, seconds(0));
    EXPECT_LE(delay, minutes(5));
    EXPECT_EQ(ready(node, "2026-11-22T02:00:00Z"), delay);
    delays.insert(delay);
  }
  EXPECT_GT(delays.size(), 15U);
  EXPECT_GT(*delays.rbegin() - *delays.begin(), minutes(2));
}

TEST_F(PlannerTest, FrequentSlotsAreNotOvertakenByTheirJitter) {
  settings_ = Settings("", "* * * * *");
  settings_.jitter = hours(24);
  settings_.backup_from = BackupFrom::kPreferStandby;
  input_.has_standbys = true;
  for (int i = 0; i < 60; ++i) {
    const TimePoint slot = Utc("2026-11-22T02:00:00Z") + minutes(i);
    input_.now = slot + seconds(45);
    const SchedulePlan plan = PlanSchedule(input_);
    ASSERT_TRUE(plan.start.has_value()) << i;
    EXPECT_EQ(plan.start->slot, slot);
  }
}

TEST_F(PlannerTest, WhatMayBeClaimedUnderTheLock) {
  const SlotClaim claim{ScheduleKind::kFull, Utc("2026-11-22T02:00:00Z"), 2};
  const auto may_claim = [&](std::string_view slot, SlotState state, int attempts) {
    const SlotRecord record = Record(slot, state, attempts);
    return MayClaim(&record, claim);
  };
  EXPECT_TRUE(MayClaim(nullptr, claim));
  EXPECT_TRUE(may_claim("2026-11-15T02:00:00Z", SlotState::kSucceeded, 1));
  EXPECT_TRUE(may_claim("2026-11-22T02:00:00Z", SlotState::kFailed, 1));
  EXPECT_TRUE(may_claim("2026-11-22T02:00:00Z", SlotState::kRunning, 1));
  EXPECT_FALSE(may_claim("2026-11-22T02:00:00Z", SlotState::kFailed, 2)) << "another node was";
  EXPECT_FALSE(may_claim("2026-11-22T02:00:00Z", SlotState::kSucceeded, 1));
  EXPECT_FALSE(may_claim("2026-11-22T02:00:00Z", SlotState::kSkipped, 0));
  EXPECT_FALSE(may_claim("2026-11-29T02:00:00Z", SlotState::kFailed, 1));
}

TEST_F(PlannerTest, AFullThatBeginsSkipsADiffThatFailed) {
  const auto skipped_at = [&](std::string_view now) {
    return SkippedBy(ScheduleKind::kFull, ScheduleKind::kDiff, settings_, input_.records, Utc(now));
  };
  EXPECT_FALSE(skipped_at("2026-11-21T12:00:00Z").has_value());
  input_.records["diff"] = Record("2026-11-21T02:00:00Z", SlotState::kFailed, 3);
  EXPECT_TRUE(skipped_at("2026-11-21T12:00:00Z").has_value());
  input_.records.clear();
  EXPECT_FALSE(skipped_at("2026-11-21T12:00:00Z").has_value()) << "no baseline yet";
}

// Three nodes plan with shared records, every three minutes for a week and a day. One of them is
// always down. Every slot is taken exactly once.
TEST_F(PlannerTest, AFormationTakesEverySlotOnce) {
  settings_ = Settings("0 2 * * 0", "0 */6 * * *");
  settings_.jitter = minutes(5);
  std::multiset<std::string> taken;
  for (const char* kind : {"full", "diff"}) {
    input_.records[kind] = Record("2026-11-01T00:00:00Z", SlotState::kNone, 0);
  }
  const TimePoint begin = Utc("2026-11-01T00:01:00Z");
  for (TimePoint now = begin; now < begin + hours(24 * 8) + minutes(10); now += minutes(3)) {
    for (int node = 0; node < 3; ++node) {
      const auto down = static_cast<int>((now - begin) / hours(5) % 3);
      if (node == down) {
        continue;
      }
      input_.node = fmt::format("db{}:5432", node);
      input_.now = now;
      const SchedulePlan plan = PlanSchedule(input_);
      if (plan.start) {
        const char* const kind = ScheduleKindName(plan.start->kind);
        taken.insert(fmt::format("{} {}", kind, FormatUtc(plan.start->slot)));
        SlotRecord record;
        record.slot = plan.start->slot;
        record.state = SlotState::kSucceeded;
        record.attempts = plan.start->attempt;
        record.updated = now;
        input_.records[kind] = record;
      }
    }
  }
  EXPECT_EQ(taken.size(), std::set<std::string>(taken.begin(), taken.end()).size());
  EXPECT_EQ(taken.size(), 2U + 8 * 4);
}

}  // namespace
}  // namespace veza
