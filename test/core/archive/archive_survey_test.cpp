#include "core/archive/archive_survey.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/codec/their_json.h"
#include "core/repository/test_backup.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

Lsn StartOf(SegmentNumber number) {
  return Lsn{number * kTestSegmentSize};
}

class ArchiveSurveyTest : public testing::Test {
 protected:
  // Makes a backup that needs two segments of WAL.
  void PutBackup(const std::string& label, TimelineId timeline, SegmentNumber first) {
    BackupSummary summary = TestSummary(*repository_, label);
    summary.timeline = timeline;
    summary.start_lsn = Lsn{StartOf(first).value + 40};
    summary.stop_lsn = Lsn{StartOf(first + 1).value + 300};
    summary.start_wal = SegmentName(timeline, first, kTestSegmentSize);
    summary.stop_wal = SegmentName(timeline, first + 1, kTestSegmentSize);
    const std::string text = SerializeSummary(summary, repository_->seal_policy()).value();
    EXPECT_OK(
        PutSmall(repository_->store(), BackupDocumentName(label), AsBytes(text), PutMode::kCreate));
  }
  void PushSegments(TimelineId timeline, SegmentNumber first, SegmentNumber last) {
    for (SegmentNumber number = first; number <= last; ++number) {
      repository_.PushSegment(timeline, number);
    }
  }
  ArchiveSurvey Survey(TimelineId timeline, std::string_view history, Lsn end,
                       std::size_t limit = 100) {
    const auto survey = SurveyArchive(*repository_, kTestSystem,
                                      ParseTimelineHistory(timeline, history).value(), end, limit);
    EXPECT_OK(survey);
    return survey.value_or(ArchiveSurvey{});
  }
  static std::string Name(TimelineId timeline, SegmentNumber number) {
    return SegmentName(timeline, number, kTestSegmentSize);
  }

  TestRepository repository_;
};

TEST_F(ArchiveSurveyTest, WithoutABackupNothingIsMissed) {
  PushSegments(1, 3, 4);
  const ArchiveSurvey survey = Survey(1, "", StartOf(9));
  EXPECT_EQ(survey.backup, "");
  EXPECT_THAT(survey.missing, IsEmpty());
}

TEST_F(ArchiveSurveyTest, FromTheStartOfTheNewestBackupToTheEnd) {
  PutBackup("20261122-020000F", 1, 3);
  PutBackup("20261123-020000F", 1, 6);
  PushSegments(1, 7, 9);
  const ArchiveSurvey survey = Survey(1, "", StartOf(12));
  EXPECT_EQ(survey.backup, "20261123-020000F");
  EXPECT_THAT(survey.missing, ElementsAre(Name(1, 6), Name(1, 10), Name(1, 11)));
  EXPECT_THAT(Survey(1, "", StartOf(12), 2).missing, ElementsAre(Name(1, 6), Name(1, 10)));
  EXPECT_THAT(Survey(1, "", StartOf(10)).missing, ElementsAre(Name(1, 6)));
  // The end of the server's WAL is before the start of the backup.
  EXPECT_THAT(Survey(1, "", StartOf(5)).missing, IsEmpty());
}

TEST_F(ArchiveSurveyTest, ThroughASwitchInTheMiddleOfASegment) {
  PutBackup("20261122-020000F", 1, 3);
  PushSegments(1, 3, 4);
  // Timeline 1 was left in segment 6. Timeline 2 has a segment 6 as well.
  const Lsn parted{StartOf(6).value + 500};
  const std::string history = "1\t" + FormatLsn(parted) + "\tno recovery target specified\n";
  ArchiveSurvey survey = Survey(2, history, StartOf(9));
  EXPECT_THAT(survey.missing, ElementsAre(Name(1, 5), Name(2, 6), Name(2, 7), Name(2, 8)));
  ASSERT_OK(repository_.PushWal("00000002.history", AsBytes(history)));
  PushSegments(1, 5, 5);
  PushSegments(2, 6, 8);
  survey = Survey(2, history, StartOf(9));
  EXPECT_THAT(survey.missing, IsEmpty());
  // Right after the promotion no segment of timeline 2 is complete.
  EXPECT_THAT(Survey(2, history, StartOf(6)).missing, IsEmpty());
}

TEST_F(ArchiveSurveyTest, EveryHistoryFileOfTheServerThatIsNotStored) {
  const std::string second = "1\t0/300000\tx\n";
  const std::string third = second + "2\t0/500000\tx\n";
  const std::string fourth = third + "3\t0/700000\tx\n";
  const std::string pg_wal = repository_.Scratch("pg_wal");
  WriteText(pg_wal + "/00000002.history", second);
  WriteText(pg_wal + "/00000003.history", third);
  WriteText(pg_wal + "/00000004.history", fourth);
  WriteText(pg_wal + "/000000040000000000000007", "not one");
  const auto unstored = [&](TimelineId timeline, std::string_view text) {
    return FindUnstoredHistories(repository_.wal(), pg_wal,
                                 ParseTimelineHistory(timeline, text).value())
        .value();
  };
  EXPECT_THAT(unstored(4, fourth),
              ElementsAre("00000002.history", "00000003.history", "00000004.history"));
  ASSERT_OK(repository_.PushWal("00000003.history", AsBytes(third)));
  EXPECT_THAT(unstored(4, fourth), ElementsAre("00000002.history", "00000004.history"));
  // A server that was rewound: its own timelines 2 and 4 are not those that it follows now.
  EXPECT_THAT(unstored(4, "1\t0/200000\tx\n2\t0/500000\tx\n"), ElementsAre("00000004.history"))
      << "its own timeline's file is the one that was given";
  WriteText(pg_wal + "/00000002.history", "1\t0/200000\tx\n");
  EXPECT_THAT(unstored(4, fourth), ElementsAre("00000004.history"));
  WriteText(pg_wal + "/00000002.history", "damaged\n");
  EXPECT_THAT(unstored(4, fourth), ElementsAre("00000004.history"));
  EXPECT_EQ(FindUnstoredHistories(repository_.wal(), pg_wal + "/none", {}).error().code,
            ErrorCode::kIo);
}

TEST_F(ArchiveSurveyTest, ThroughASwitchAtTheEndOfASegment) {
  PutBackup("20261122-020000F", 1, 3);
  PushSegments(1, 3, 4);
  const std::string history = "1\t" + FormatLsn(StartOf(6)) + "\treason\n";
  EXPECT_THAT(Survey(2, history, StartOf(7)).missing, ElementsAre(Name(1, 5), Name(2, 6)));
}

TEST_F(ArchiveSurveyTest, ThroughSeveralTimelines) {
  PutBackup("20261122-020000F", 1, 3);
  PutBackup("20261123-020000F", 2, 7);
  const std::string history = "1\t" + FormatLsn(Lsn{StartOf(6).value + 9}) + "\tx\n2\t" +
                              FormatLsn(Lsn{StartOf(9).value + 9}) + "\tx\n";
  EXPECT_THAT(Survey(3, history, StartOf(10)).missing,
              ElementsAre(Name(2, 7), Name(2, 8), Name(3, 9)));
}

TEST_F(ArchiveSurveyTest, ABackupOfAnotherBranchDoesNotCount) {
  PutBackup("20261122-020000F", 1, 3);
  PutBackup("20261123-020000F", 1, 9);  // made after the timelines had parted
  PushSegments(1, 3, 5);
  const std::string history = "1\t" + FormatLsn(Lsn{StartOf(6).value + 500}) + "\tx\n";
  const ArchiveSurvey survey = Survey(2, history, StartOf(7));
  EXPECT_EQ(survey.backup, "20261122-020000F");
  EXPECT_THAT(survey.missing, ElementsAre(Name(2, 6)));
}

TEST(JoinGaps, NeighboursOfOneTimelineAreOneGap) {
  const auto name = [](TimelineId timeline, SegmentNumber number) {
    return SegmentName(timeline, number, 16U << 20);
  };
  EXPECT_THAT(JoinGaps({}, 16U << 20), IsEmpty());
  // The name of a segment counts in logs, of 256 segments of this size each.
  const std::vector<WalGap> gaps =
      JoinGaps({name(1, 5), name(1, 254), name(1, 255), name(1, 256), name(2, 257), name(2, 258)},
               16U << 20);
  ASSERT_THAT(gaps, SizeIs(3));
  EXPECT_EQ(gaps[0].first, gaps[0].last);
  EXPECT_EQ(gaps[1].first, name(1, 254));
  EXPECT_EQ(gaps[1].last, name(1, 256));
  EXPECT_EQ(gaps[2].first, name(2, 257));
  EXPECT_EQ(gaps[2].last, name(2, 258));
}

TEST(RecordGap, LeavesOneSignedRecord) {
  const TestRepository repository(Cipher::kAes256Gcm);
  const WalGap gap{SegmentName(1, 5, kTestSegmentSize), SegmentName(1, 7, kTestSegmentSize)};
  ASSERT_OK(RecordGap(*repository, kTestSystem, gap));
  const std::string name = GapName(kTestSystem, gap.first, gap.last);
  const std::string text = ReadText(repository.PathOf(name));
  const auto document = OpenTheirs(text, repository->seal_policy(), name);
  ASSERT_OK(document);
  EXPECT_EQ(document->at("first"), gap.first);
  EXPECT_EQ(document->at("last"), gap.last);
  EXPECT_EQ(document->at("node"), "node-a");
  ASSERT_OK(RecordGap(*repository, kTestSystem, gap));
  EXPECT_EQ(ReadText(repository.PathOf(name)), text);
}

}  // namespace
}  // namespace veza
