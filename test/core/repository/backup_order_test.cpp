#include "core/repository/backup_order.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/repository/test_repository.h"

namespace veza {
namespace {

using testing::HasSubstr;

BackupSummary At(const std::string& label, TimelineId timeline, std::uint64_t stop) {
  BackupSummary backup;
  backup.label = label;
  backup.timeline = timeline;
  backup.start_lsn = Lsn{stop - 10};
  backup.stop_lsn = Lsn{stop};
  return backup;
}

TEST(BackupOrder, WalDecidesNotTheLabel) {
  const BackupSummary older = At("20261122-120000F", 1, 100);
  // Made by a node whose clock is ten minutes behind.
  const BackupSummary newer = At("20261122-115000F", 1, 200);
  EXPECT_TRUE(IsBefore(older, newer));
  EXPECT_FALSE(IsBefore(newer, older));
  EXPECT_FALSE(IsSurelyOlder(older, newer)) << "the labels say otherwise";
  EXPECT_TRUE(IsSurelyOlder(older, At("20261122-120001F", 1, 200)));
  EXPECT_TRUE(IsBefore(newer, At("20261101-000000F", 2, 50))) << "a newer timeline comes behind";
}

TEST(BackupOrder, TheAgeOfADiffIsItsOwn) {
  const BackupSummary diff = At("20261101-000000F_20261122-120000D", 1, 100);
  EXPECT_TRUE(IsSurelyOlder(diff, At("20261122-120001F", 1, 200)));
  EXPECT_FALSE(IsSurelyOlder(diff, At("20261121-000000F", 1, 200)));
}

TEST(BackupOrder, SortsByPositionWithinASystem) {
  std::vector<BackupSummary> backups{At("20261122-130000F", 1, 100), At("20261122-120000F", 1, 200),
                                     At("20261122-110000F", 2, 150)};
  std::swap(backups[0], backups[2]);
  backups.push_back(At("20261122-090000F", 1, 500));
  backups.back().system_identifier = 7;
  SortBackups(backups);
  EXPECT_EQ(backups[0].stop_lsn, Lsn{100});
  EXPECT_EQ(backups[1].stop_lsn, Lsn{200});
  EXPECT_EQ(backups[2].timeline, 2U);
  EXPECT_EQ(backups[3].system_identifier, 7U);
}

TEST(BackupOrder, ANewLabelIsLaterThanEveryOther) {
  const TimePoint noon = ParseUtc("2026-11-22T12:00:00.7Z").value();
  const auto next = [&](const std::vector<std::string>& names) {
    const Result<TimePoint> time = NextLabelTime(names, noon);
    return time ? FullLabel(*time) : time.error().message;
  };
  EXPECT_EQ(next({}), "20261122-120000F");
  EXPECT_EQ(next({"20261122-115959F"}), "20261122-120000F");
  EXPECT_EQ(next({"20261122-120000F"}), "20261122-120001F");
  EXPECT_EQ(next({"20261122-130000F", "20261122-110000F"}), "20261122-130001F");
  EXPECT_EQ(next({"20261101-000000F_20261122-130000D"}), "20261122-130001F");
  EXPECT_EQ(next({"20261122-235959F"}), "20261123-000000F");
  EXPECT_EQ(next({"notes", "20269999-999999F"}), "20261122-120000F") << "no label, or no time";
  EXPECT_THAT(next({"99991231-235959F"}), HasSubstr("99991231-235959F"));
}

}  // namespace
}  // namespace veza
