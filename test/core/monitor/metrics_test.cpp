#include "core/monitor/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/repository/test_backup.h"

namespace veza {
namespace {

using std::chrono::seconds;
using testing::HasSubstr;
using testing::Not;

Config TestConfig() {
  Config config;
  config.cluster = "a \"b\"";
  return config;
}

TEST(Metrics, OfANodeWithAnUnreachableRepository) {
  NodeFacts node;
  node.in_recovery = true;
  node.ready_files = 7;
  node.oldest_ready_age = seconds(95);
  node.conflicts = 2;
  node.next_runs = {{"full", kTestTime}};
  const std::string text = FormatMetrics(ListMetrics(node, nullptr, TestConfig()));
  EXPECT_THAT(text, HasSubstr("veza_backup_up{cluster=\"a \\\"b\\\"\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("veza_backup_in_recovery{cluster=\"a \\\"b\\\"\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE veza_backup_archive_conflicts_total counter\n"
                              "veza_backup_archive_conflicts_total{cluster=\"a \\\"b\\\"\"} 2\n"));
  EXPECT_THAT(text, HasSubstr("# TYPE veza_backup_archive_ready_files gauge\n"));
  EXPECT_THAT(text, HasSubstr("veza_backup_archiving{cluster=\"a \\\"b\\\"\"} 0\n"));
  EXPECT_THAT(text, HasSubstr("veza_backup_archive_oldest_ready_age_seconds"));
  EXPECT_THAT(text, HasSubstr("type=\"full\"} 1795312800\n"));
  // Unknown values are left out.
  for (const char* name :
       {"last_failure", "archive_gaps", "wal_full_in", "last_success", "recovery_window",
        "lock_held", "index_missing", "last_drill", "exposure"}) {
    EXPECT_THAT(text, Not(HasSubstr(name)));
  }
}

// An alert takes the newest of all types. So a clock that was ahead must not silence it.
TEST(Metrics, ABackupOfATimeToComeIsNoSuccess) {
  const TestRepository repository;
  RepositoryFacts facts;
  BackupSummary full = TestSummary(*repository, "20261122-020000F");
  full.stop_time = kTestTime + std::chrono::hours(24 * 400);
  facts.newest = {{BackupType::kFull, full}};
  facts.lock.now = kTestTime;
  EXPECT_THAT(FormatMetrics(ListMetrics({}, &facts, TestConfig())),
              testing::ContainsRegex("last_success_timestamp_seconds[{].*type=\"full\"[}] 0\n"));
  facts.newest[BackupType::kFull].stop_time = kTestTime + std::chrono::minutes(30);
  EXPECT_THAT(
      FormatMetrics(ListMetrics({}, &facts, TestConfig())),
      testing::ContainsRegex("last_success_timestamp_seconds[{].*type=\"full\"[}] 1795314600\n"));
}

TEST(Metrics, OfTheRepository) {
  const TestRepository repository;
  RepositoryFacts facts;
  facts.backups = {{BackupType::kFull, 3}};
  facts.unrestorable = {{BackupType::kDiff, 2}};
  BackupSummary full = TestSummary(*repository, "20261122-020000F");
  full.size = 1000;
  full.stored_size = 300;
  full.checksum_failures = 1;
  facts.newest = {{BackupType::kFull, full}};
  facts.newest[BackupType::kIncr] = full;
  facts.newest[BackupType::kIncr].duration = 77;  // the clock was set meanwhile
  facts.window.emplace();
  facts.window->start_time = kTestTime;
  facts.window->end_time = kTestTime + seconds(10);
  facts.last_drill.emplace();
  facts.last_drill->passed = true;
  facts.lock.alive = true;
  NodeFacts node;
  node.gaps = 0;
  node.indexed = 60;
  node.index_missing = 4;
  node.wal_full_in = seconds(77);
  node.last_failure = kTestTime;
  const std::string text = FormatMetrics(ListMetrics(node, &facts, TestConfig()));
  for (const char* line :
       {"veza_backup_up{cluster=\"a \\\"b\\\"\"} 1\n", "type=\"full\"} 3\n", "type=\"diff\"} 0\n",
        "veza_backup_backups_unrestorable{cluster=\"a \\\"b\\\"\",type=\"diff\"} 2\n",
        "veza_backup_backups_unrestorable{cluster=\"a \\\"b\\\"\",type=\"full\"} 0\n",
        "veza_backup_last_duration_seconds{cluster=\"a \\\"b\\\"\",type=\"full\"} 60\n",
        "veza_backup_last_duration_seconds{cluster=\"a \\\"b\\\"\",type=\"incr\"} 77\n",
        "veza_backup_last_size_bytes{cluster=\"a \\\"b\\\"\",type=\"full\"} 1000\n",
        "veza_backup_last_stored_bytes{cluster=\"a \\\"b\\\"\",type=\"full\"} 300\n",
        "veza_backup_last_checksum_failures{cluster=\"a \\\"b\\\"\",type=\"full\"} 1\n",
        "veza_backup_archive_gaps{cluster=\"a \\\"b\\\"\"} 0\n",
        "veza_backup_archive_indexed_total{cluster=\"a \\\"b\\\"\"} 60\n",
        "veza_backup_archive_index_missing_segments{cluster=\"a \\\"b\\\"\"} 4\n",
        "veza_backup_wal_full_in_seconds{cluster=\"a \\\"b\\\"\"} 77\n",
        "veza_backup_recovery_window_end_timestamp_seconds{cluster=\"a \\\"b\\\"\"} 1795312810\n",
        "veza_backup_last_drill_passed{cluster=\"a \\\"b\\\"\"} 1\n",
        "veza_backup_retention{cluster=\"a \\\"b\\\"\",type=\"archive\"} 4\n",
        "veza_backup_lock_held{cluster=\"a \\\"b\\\"\"} 1\n"}) {
    EXPECT_THAT(text, HasSubstr(line));
  }
  EXPECT_THAT(text, Not(HasSubstr("type=\"diff\"} 1000")));
}

// The text format requires the samples of a name to be adjacent.
TEST(Metrics, SamplesOfANameAreAdjacent) {
  RepositoryFacts facts;
  std::set<std::string> seen;
  std::string last;
  for (const Metric& metric : ListMetrics({}, &facts, TestConfig())) {
    EXPECT_TRUE(metric.name == last || !seen.contains(metric.name)) << metric.name;
    EXPECT_FALSE(metric.help.empty());
    seen.insert(metric.name);
    last = metric.name;
  }
}

TEST(RepositoryFacts, AreOfOneSystem) {
  const TestRepository repository;
  const auto put = [&](const std::string& label, std::uint64_t system, SegmentNumber first) {
    BackupSummary summary = TestSummary(*repository, label);
    summary.system_identifier = system;
    summary.start_lsn = Lsn{first * kTestSegmentSize + 40};
    summary.stop_lsn = Lsn{(first + 1) * kTestSegmentSize + 40};
    summary.start_wal = SegmentName(1, first, kTestSegmentSize);
    summary.stop_wal = SegmentName(1, first + 1, kTestSegmentSize);
    summary.stop_time = kTestTime + seconds(first);
    PutWithoutPacks(*repository, std::move(summary));
  };
  put("20261101-020000F", kTestSystem, 3);
  put("20261108-020000F", kTestSystem, 6);
  put("20261115-020000F", 42, 9);
  for (SegmentNumber number = 3; number <= 8; ++number) {
    repository.PushSegment(1, number);
  }
  const auto facts = ReadRepositoryFacts(*repository, kTestSystem);
  ASSERT_OK(facts);
  EXPECT_EQ(facts->backups.at(BackupType::kFull), 2U);
  EXPECT_EQ(facts->newest.at(BackupType::kFull).label, "20261108-020000F");
  EXPECT_FALSE(facts->newest.contains(BackupType::kDiff));
  ASSERT_TRUE(facts->window);
  EXPECT_EQ(facts->window->oldest_backup, "20261101-020000F");
  EXPECT_EQ(facts->window->end_lsn, Lsn{9 * kTestSegmentSize});
  EXPECT_FALSE(facts->last_drill);
  EXPECT_FALSE(facts->lock.held);
}

TEST(RepositoryFacts, CountABackupThatCannotBeRestoredByItself) {
  const TestRepository repository;
  const auto put = [&](const std::string& label, std::uint64_t packs) {
    BackupSummary summary = TestSummary(*repository, label);
    summary.packs = packs;
    PutWithoutPacks(*repository, std::move(summary));
  };
  repository.PushSegment(1, 3);
  repository.PushSegment(1, 4);
  put("20261101-020000F", 0);
  put("20261108-020000F", 1);
  ASSERT_OK(PutSmall(repository->store(), BackupDocumentName("20261108-020000F_20261109-020000D"),
                     AsBytes("{}"), PutMode::kCreate));
  const auto facts = ReadRepositoryFacts(*repository, kTestSystem);
  ASSERT_OK(facts);
  EXPECT_EQ(facts->backups, (std::map<BackupType, std::size_t>{{BackupType::kFull, 1}}));
  EXPECT_EQ(facts->unrestorable,
            (std::map<BackupType, std::size_t>{{BackupType::kFull, 1}, {BackupType::kDiff, 1}}));
  EXPECT_EQ(facts->newest.at(BackupType::kFull).label, "20261101-020000F");
}

// A copy was promoted, archived for a day and was thrown away. The original continues.
TEST(RepositoryFacts, ABackupOnAnAbandonedBranchIsNotTheNewest) {
  const TestRepository repository;
  const auto put = [&](const std::string& label, TimelineId timeline, SegmentNumber first) {
    BackupSummary summary = TestSummary(*repository, label);
    summary.timeline = timeline;
    summary.start_lsn = Lsn{first * kTestSegmentSize + 40};
    summary.stop_lsn = Lsn{first * kTestSegmentSize + 400};
    PutWithoutPacks(*repository, std::move(summary));
  };
  repository.PushSegment(1, 3);
  ASSERT_OK(repository.PushWal("00000002.history", AsBytes("1\t0/400000\tno recovery target\n")));
  repository.PushSegment(2, 4);
  put("20261108-020000F", 2, 4);
  const auto newest = [&] {
    return ReadRepositoryFacts(*repository, kTestSystem).value().newest.at(BackupType::kFull).label;
  };
  put("20261101-020000F", 1, 3);
  EXPECT_EQ(newest(), "20261108-020000F");
  repository.environment().clock->Sleep(std::chrono::hours(24 * 8), nullptr);
  repository.PushSegment(1, 5);
  EXPECT_EQ(newest(), "20261101-020000F");
}

}  // namespace
}  // namespace veza
