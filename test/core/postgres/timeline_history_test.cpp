#include "core/postgres/timeline_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/archive/stored_histories.h"
#include "core/limits.h"
#include "core/repository/test_repository.h"

namespace veza {
namespace {

TEST(TimelineHistory, ReadsWhatTheServerWrites) {
  const auto history = ParseTimelineHistory(4,
                                            "1\t0/3000110\tno recovery target specified\n"
                                            "\n"
                                            "# a comment\n"
                                            "  # another\n"
                                            "3\t1/A000000\tbefore 2026-11-22 02:00:00+00");
  ASSERT_OK(history);
  EXPECT_EQ(history->timeline, 4U);
  ASSERT_EQ(history->ancestors.size(), 2U);
  EXPECT_EQ(history->ancestors[0].timeline, 1U);
  EXPECT_EQ(history->ancestors[0].switch_point.value, 0x3000110U);
  EXPECT_EQ(history->ancestors[1].timeline, 3U);
  EXPECT_EQ(history->ancestors[1].switch_point.value, 0x10A000000U);
  EXPECT_TRUE(ParseTimelineHistory(2, "").value().ancestors.empty());
}

TEST(TimelineHistory, RefusesDamage) {
  for (const char* text : {"x", "1", "1\t", "1\tx", "1\t0", "1\t0/x\treason", "4\t0/1\titself",
                           "5\t0/1\tdescendant", "0\t0/1\tnone", "2\t0/1\n1\t0/2\n",
                           "1\t0/1\n1\t0/2\n", "-1\t0/1\treason", "4294967297\t0/1\treason"}) {
    EXPECT_ERROR(ParseTimelineHistory(4, text), ErrorCode::kDataCorrupted);
  }
  EXPECT_THAT(
      ParseTimelineHistory(4, "1\t0/1\nnonsense\n").error().message,
      testing::AllOf(testing::HasSubstr("00000004.history"), testing::HasSubstr("nonsense")));
}

// Four megabytes of lines would take even more memory, for each timeline that somebody makes up.
TEST(TimelineHistory, RefusesMoreAncestorsThanAClusterCanHave) {
  std::string text;
  for (std::size_t timeline = 1; timeline <= limits::kTimelines; ++timeline) {
    text += fmt::format("{}\t0/1\n", timeline);
  }
  ASSERT_OK(ParseTimelineHistory(20000, text));
  EXPECT_ERROR(ParseTimelineHistory(20000, text + "15000\t0/1\n"), ErrorCode::kDataCorrupted);

  const TimelineHistory history = ParseTimelineHistory(20000, text).value();
  std::size_t total = 0;
  for (std::size_t i = 0; i < limits::kTimelineSwitches / limits::kTimelines; ++i) {
    ASSERT_OK(CountSwitches(history, &total));
  }
  EXPECT_ERROR(CountSwitches(history, &total), ErrorCode::kDataCorrupted);
}

TEST(TimelineHistory, LeadsFromItselfAndFromAncestorsBeforeTheyWereLeft) {
  const TimelineHistory history = ParseTimelineHistory(4, "1\t0/3000000\n3\t0/5000000\n").value();
  EXPECT_TRUE(history.Contains(4, Lsn{~0ULL}));
  EXPECT_TRUE(history.Contains(1, Lsn{0x2FFFFFF}));
  EXPECT_TRUE(history.Contains(1, Lsn{0x3000000}));
  EXPECT_FALSE(history.Contains(1, Lsn{0x3000001}));
  EXPECT_TRUE(history.Contains(3, Lsn{0x5000000}));
  EXPECT_FALSE(history.Contains(3, Lsn{0x5000001}));
  // Timeline 2 also left timeline 1, but it is not an ancestor of timeline 3.
  EXPECT_FALSE(history.Contains(2, Lsn{0}));
  EXPECT_FALSE(history.Contains(5, Lsn{0}));
}

TEST(TimelineHistory, ComesFromTheRepository) {
  const TestRepository repository(Cipher::kAes256Gcm);
  EXPECT_OK(repository.PushWal("00000002.history", AsBytes("1\t0/3000000\treason\n")));
  EXPECT_OK(repository.PushWal("00000003.history", AsBytes("nonsense\n")));

  const auto first = ReadTimelineHistory(repository.wal(), 1);
  ASSERT_OK(first);
  EXPECT_EQ(first->timeline, 1U);
  EXPECT_TRUE(first->ancestors.empty());
  const auto second = ReadTimelineHistory(repository.wal(), 2);
  ASSERT_OK(second);
  EXPECT_EQ(second->ancestors.size(), 1U);
  EXPECT_ERROR(ReadTimelineHistory(repository.wal(), 3), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadTimelineHistory(repository.wal(), 4), ErrorCode::kNotFound);
}

// findNewestTimeLine() stops at the first number without a history file.
TEST(TimelineHistory, TheNewestTimelineIsTheLastWithoutAHole) {
  const TestRepository repository;
  EXPECT_EQ(FindNewestTimeline(repository.wal(), 1).value(), 1U);
  for (const char* file : {"00000002.history", "00000003.history", "00000005.history"}) {
    EXPECT_OK(repository.PushWal(file, AsBytes("1\t0/3000000\treason\n")));
  }
  EXPECT_EQ(FindNewestTimeline(repository.wal(), 1).value(), 3U);
  EXPECT_EQ(FindNewestTimeline(repository.wal(), 4).value(), 5U);
  EXPECT_EQ(FindNewestTimeline(repository.wal(), 7).value(), 7U);

  repository.store().SetHook([](FaultStore::Operation, std::string_view) -> Status {
    return MakeError(ErrorCode::kUnavailable, "the store is away");
  });
  EXPECT_ERROR(FindNewestTimeline(repository.wal(), 1), ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace veza
