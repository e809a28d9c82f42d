#include "core/timeline/timeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/repository/test_backup.h"
#include "core/timeline/story.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class TimelineTest : public testing::TestWithParam<bool> {
 protected:
  void Archive(const Story& story) {
    story.Archive(repository_);
    if (GetParam()) {
      story.Index(repository_);
    }
  }
  ArchiveMap Map() const {
    return {kTestSegmentSize, repository_.wal().Ranges(kTestSegmentSize).value(), {}};
  }
  ClusterTimeline Read(const TimelineOptions& options = {}, const BackupCatalog& catalog = {}) {
    return ReadTimeline(*repository_, TestIdentity(), catalog, Map(), options).value();
  }
  Result<ClusterTransactions> Transactions(const TransactionOptions& options) {
    return ReadTransactions(*repository_, TestIdentity(), Map(), options);
  }
  static std::vector<std::uint32_t> XidsOf(const ClusterTransactions& transactions) {
    std::vector<std::uint32_t> xids;
    for (const TransactionStory& story : transactions.stories) {
      xids.push_back(story.end.xid);
    }
    return xids;
  }
  // A commit in each of the segments from 3 on, a minute from one to the next.
  static Story Segments(int count) {
    Story story(3);
    for (int minute = 0; minute < count; ++minute) {
      if (minute > 0) {
        story.NextSegment();
      }
      story.Commit(700 + static_cast<std::uint32_t>(minute), minute);
    }
    return story;
  }
  void Damage(const Story& story, SegmentNumber segment) {
    WriteText(repository_.PathOf(WalObjectName(kTestSystem, story.Name(segment)).value()),
              "damaged");
  }
  static std::vector<std::string> LoadOf(const ClusterTimeline& timeline) {
    std::vector<std::string> load;
    for (const LoadBucket& bucket : timeline.load) {
      const auto minutes =
          std::chrono::floor<std::chrono::minutes>(bucket.begin - kTestTime).count();
      load.push_back(
          fmt::format("{}: {} commits, {} aborts", minutes, bucket.commits, bucket.aborts));
      EXPECT_GT(bucket.bytes, 0U);
    }
    return load;
  }
  static std::vector<std::string> EventsOf(const ClusterTimeline& timeline) {
    std::vector<std::string> events;
    for (const TimelineEvent& event : timeline.events) {
      events.push_back(fmt::format("{} {}", event.kind, event.text));
    }
    return events;
  }
  // What both have before the branch parts. Returns where it does.
  static Lsn BeginBoth(Story& story, Story& branch) {
    for (Story* const one : {&story, &branch}) {
      one->Commit(701, 1);
      one->RestorePoint("before", 2);
    }
    return story.position();
  }

  TestRepository repository_;
};

INSTANTIATE_TEST_SUITE_P(WithoutAndWithIndex, TimelineTest, testing::Bool());

TEST_P(TimelineTest, LoadAndEventsOfSeveralSegments) {
  Story story(3);
  story.Commit(701, 1);
  story.Abort(702, 1);
  story.RestorePoint("here", 2);
  story.NextSegment();
  story.Commit(703, 3);
  story.Commit(704, 12);
  Archive(story);
  BackupCatalog catalog;
  catalog.backups.push_back(TestSummary(*repository_, kTestLabel));  // it ended in minute 1
  EXPECT_THAT(LoadOf(Read()), ElementsAre("1: 1 commits, 1 aborts", "3: 1 commits, 0 aborts",
                                          "12: 1 commits, 0 aborts"));
  EXPECT_THAT(EventsOf(Read({}, catalog)),
              ElementsAre(fmt::format("backup {}", kTestLabel), "restore_point here"));
  EXPECT_THAT(LoadOf(Read({.bucket = std::chrono::minutes(10)})),
              ElementsAre("0: 2 commits, 1 aborts", "10: 1 commits, 0 aborts"));
  const TimelineOptions late{.range = {.from = Story::Minute(3)}};
  EXPECT_THAT(LoadOf(Read(late)), ElementsAre("3: 1 commits, 0 aborts", "12: 1 commits, 0 aborts"));
  EXPECT_THAT(EventsOf(Read(late, catalog)), IsEmpty());
  EXPECT_EQ(Read().segments, 2U);
}

// The first segment of a timeline is a copy up to the switch. What is before it was told already.
TEST_P(TimelineTest, WhatLiesBeforeASwitchOfTimelineIsToldOnce) {
  Story story(3);
  Story branch(3, 2);
  const Lsn fork = BeginBoth(story, branch);
  story.RestorePoint("old", 3);
  branch.Commit(702, 4);
  branch.RestorePoint("new", 5);
  Archive(story);
  Archive(branch);
  const ArchiveMap map(kTestSegmentSize, repository_.wal().Ranges(kTestSegmentSize).value(),
                       {{2, {{1, fork}}}});
  EXPECT_THAT(EventsOf(ReadTimeline(*repository_, TestIdentity(), {}, map, {}).value()),
              ElementsAre("restore_point before", "restore_point old", "restore_point new"));
  const auto stories = ReadTransactions(*repository_, TestIdentity(), map, {})->stories;
  ASSERT_EQ(stories.size(), 2U);
  EXPECT_EQ(stories[1].end.xid, 702U);
}

// Mostly the old timeline's segment was not full, and is not there whole.
TEST_P(TimelineTest, TheCopyAtTheBeginningOfATimelineCountsIfThereIsNoOther) {
  Story story(3);
  Story branch(3, 2);
  const Lsn fork = BeginBoth(story, branch);
  branch.Commit(702, 4);
  Archive(branch);
  const auto read = [&] {
    const ArchiveMap map(kTestSegmentSize, repository_.wal().Ranges(kTestSegmentSize).value(),
                         {{2, {{1, fork}}}});
    return ReadTimeline(*repository_, TestIdentity(), {}, map, {}).value();
  };
  EXPECT_THAT(EventsOf(read()), ElementsAre("restore_point before"));
  EXPECT_THAT(LoadOf(read()), ElementsAre("1: 1 commits, 0 aborts", "4: 1 commits, 0 aborts"));
  Archive(story);
  EXPECT_THAT(EventsOf(read()), ElementsAre("restore_point before"));
  EXPECT_THAT(LoadOf(read()), ElementsAre("1: 1 commits, 0 aborts", "4: 1 commits, 0 aborts"))
      << "once";
}

TEST_P(TimelineTest, MoreThanWasAskedForIsRefused) {
  Story story(3);
  story.Commit(701, 1);
  story.RestorePoint("one", 2);
  story.RestorePoint("two", 2);
  story.Commit(702, 3);
  Archive(story);
  const auto read = [&](const TimelineOptions& options) {
    return ReadTimeline(*repository_, TestIdentity(), {}, Map(), options);
  };
  EXPECT_OK(read({.most = 2}));
  EXPECT_ERROR(read({.load = false, .most = 1}), ErrorCode::kInvalidArgument);
  EXPECT_ERROR(read({.events = false, .most = 1}), ErrorCode::kInvalidArgument);
}

TEST_P(TimelineTest, WalOfNoTimeIsNotOf1970) {
  Story story(3);
  story.Touch(701, 16384, 1);
  story.NextSegment();
  story.Commit(701, 5);
  Archive(story);
  EXPECT_THAT(LoadOf(Read()), ElementsAre("5: 1 commits, 0 aborts"));
}

// Nothing ends at the time of an event, as on a quiet server.
TEST_P(TimelineTest, AnEventBetweenTwoCommitsIsShown) {
  Story story(3);
  story.Commit(701, 1);
  story.RestorePoint("quiet", 20);
  story.NextSegment();
  story.Commit(702, 40);
  Archive(story);
  EXPECT_THAT(EventsOf(Read({.range = {.from = Story::Minute(19), .to = Story::Minute(21)}})),
              ElementsAre("restore_point quiet"));
}

// An event that does not tell its time has that of the transaction before it, in its own segment.
TEST_P(TimelineTest, AnEventWithoutATimeHasThatOfTheTransactionBeforeIt) {
  Story story(3);
  story.Commit(701, 1);
  story.NextSegment();
  story.Commit(702, 30);
  story.Truncate(16384, 5);
  story.Commit(703, 50);
  Archive(story);
  EXPECT_THAT(EventsOf(Read({.range = {.from = Story::Minute(29), .to = Story::Minute(31)}})),
              ElementsAre(HasSubstr("truncated")));
}

TEST_P(TimelineTest, AnEventOfWhichNothingTellsTheTimeHasNone) {
  Story story(3);
  story.Truncate(16384, 5);
  story.NextSegment();
  story.Commit(701, 5);
  story.Truncate(16384, 4);
  story.RestorePoint("here", 6);
  Archive(story);
  std::vector<std::string> times;
  std::vector<std::string> in_json;
  for (const TimelineEvent& event : Read().events) {
    times.push_back(DescribeTime(event));
    in_json.push_back(EventToJson(event)["time"].Print());
  }
  const std::string five = FormatUtc(Story::Minute(5));
  const std::string six = FormatUtc(Story::Minute(6));
  EXPECT_THAT(times, ElementsAre("", "about " + five, six));
  EXPECT_THAT(in_json, ElementsAre("null", "\"" + five + "\"", "\"" + six + "\""));
}

TEST_P(TimelineTest, AGapIsShownThoughNoEventIsAskedForBeforeIt) {
  Story story(3);
  story.Commit(701, 5);
  story.NextSegment();
  story.Commit(702, 6);
  story.NextSegment();
  story.Commit(703, 7);
  Archive(story);
  ASSERT_TRUE(std::filesystem::remove(
      repository_.PathOf(WalObjectName(kTestSystem, story.Name(4)).value())));
  EXPECT_THAT(EventsOf(Read({.range = {.from = Story::Minute(5)}})),
              ElementsAre(HasSubstr("missing")));
}

TEST_P(TimelineTest, AGapIsAnEventAndDamageIsTold) {
  Story story(3);
  story.Commit(701, 1);
  story.NextSegment();
  story.Commit(702, 2);
  story.NextSegment();
  story.Commit(703, 3);
  Archive(story);
  ASSERT_TRUE(std::filesystem::remove(
      repository_.PathOf(WalObjectName(kTestSystem, story.Name(4)).value())));
  EXPECT_THAT(EventsOf(Read()),
              ElementsAre(fmt::format("gap {} to {} missing", story.Name(4), story.Name(4))));
  WriteText(repository_.PathOf(WalObjectName(kTestSystem, story.Name(3)).value()), "damaged");
  EXPECT_THAT(Read().damaged, ElementsAre(HasSubstr(story.Name(3))));
}

TEST_P(TimelineTest, SegmentsThatAreTooManyToReadAreCounted) {
  Story story(3);
  story.Commit(701, 1);
  story.NextSegment();
  story.Commit(702, 2);
  Archive(story);
  EXPECT_EQ(Read({.most_read = 1}).unread, GetParam() ? 0U : 1U) << "one is always read";
  EXPECT_EQ(Read({.most_read = 2 * kTestSegmentSize - 1}).unread, GetParam() ? 0U : 1U);
  EXPECT_EQ(Read({.most_read = 2 * kTestSegmentSize}).unread, 0U);
}

TEST_P(TimelineTest, TransactionsAndWhatTheyTouched) {
  Story story(3);
  story.Touch(701, 16384, 1);
  story.Touch(701, 16384, 2);
  story.Touch(703, 16390, 1);
  story.NextSegment();
  story.Touch(701, 16385, 7);
  story.Commit(701, 5);
  story.CommitWith(702, 703, 6);
  story.Abort(704, 7);
  story.Commit(705, 20);
  Archive(story);
  const std::vector<TransactionStory> stories =
      Transactions({.range = {Story::Minute(5), Story::Minute(7)}})->stories;
  ASSERT_EQ(stories.size(), 3U);
  EXPECT_EQ(stories[0].end.xid, 701U);
  ASSERT_EQ(stories[0].touched.size(), 2U);
  EXPECT_EQ(stories[0].touched[0].file.relation, 16384U);
  EXPECT_EQ(stories[0].touched[0].blocks, 2U);
  EXPECT_EQ(stories[0].touched[1].file.relation, 16385U);
  ASSERT_EQ(stories[1].touched.size(), 1U) << "what its subtransaction changed";
  EXPECT_EQ(stories[1].touched[0].file.relation, 16390U);
  EXPECT_FALSE(stories[2].end.committed);
  EXPECT_ERROR(Transactions({.most = 3}), ErrorCode::kInvalidArgument);
  EXPECT_OK(Transactions({.most_touched = 3}));
  EXPECT_ERROR(Transactions({.most_touched = 2}), ErrorCode::kInvalidArgument);
  // What ended before does not count any more.
  EXPECT_OK(Transactions({.range = {.from = Story::Minute(7)}, .most_touched = 2}));
}

TEST_P(TimelineTest, WalThatCannotBeReadIsInTheWayOfNoOtherMoment) {
  const Story story = Segments(5);
  Archive(story);
  Damage(story, 5);
  const ClusterTransactions before = Transactions({.range = {.to = Story::Minute(1)}}).value();
  EXPECT_THAT(XidsOf(before), ElementsAre(700, 701));
  EXPECT_THAT(before.damaged, ElementsAre(HasSubstr(story.Name(5))));
  const ClusterTransactions behind = Transactions({.range = {.from = Story::Minute(3)}}).value();
  EXPECT_THAT(XidsOf(behind), ElementsAre(703, 704));
  EXPECT_THAT(behind.damaged, ElementsAre(HasSubstr(story.Name(5)))) << "once";
  EXPECT_ERROR(Transactions({}), ErrorCode::kDataCorrupted);
}

TEST_P(TimelineTest, ACommitThatGoesOnInWalThatCannotBeReadIsLeftOut) {
  Story story(3);
  story.Commit(701, 1);
  story.FillToTheBorder(24);
  story.Commit(702, 2);
  story.NextSegment();
  story.Commit(703, 3);
  Archive(story);
  EXPECT_THAT(XidsOf(Transactions({}).value()), ElementsAre(701, 702, 703));
  Damage(story, 4);
  const ClusterTransactions some = Transactions({.range = {.to = Story::Minute(2)}}).value();
  EXPECT_THAT(XidsOf(some), ElementsAre(701));
  EXPECT_THAT(some.damaged, ElementsAre(HasSubstr(story.Name(4))));
}

TEST_P(TimelineTest, WalThatIsTooMuchToReadForTransactionsIsCounted) {
  Archive(Segments(5));
  const ClusterTransactions some =
      Transactions({.range = {.to = Story::Minute(1)}, .most_read = 2 * kTestSegmentSize}).value();
  EXPECT_THAT(XidsOf(some), ElementsAre(700, 701));
  EXPECT_EQ(some.unread, GetParam() ? 0U : 3U);
  EXPECT_THAT(some.damaged, IsEmpty());
}

// Finding the range takes nothing from what may be read in it and before it.
TEST_P(TimelineTest, TheRangeHasAReadLimitOfItsOwn) {
  const Story old = Segments(20);
  Story first(23);
  first.Commit(801, 30);
  Story middle(24);
  middle.Commit(802, 31);
  Story last(25);
  last.Commit(803, 32);
  for (const Story* const story :
       std::initializer_list<const Story*>{&old, &first, &middle, &last}) {
    story->Archive(repository_);
  }
  first.Index(repository_);
  last.Index(repository_);
  const auto read = [&](std::uint64_t segments) {
    return Transactions(
        {.range = {.from = Story::Minute(30)}, .most_read = segments * kTestSegmentSize});
  };
  const ClusterTransactions all = read(kSegmentsBefore + 1).value();
  EXPECT_THAT(XidsOf(all), ElementsAre(801, 802, 803));
  EXPECT_EQ(all.unread, 0U) << "all was read in the end";
  EXPECT_ERROR(read(kSegmentsBefore), ErrorCode::kFailedPrecondition);
}

// Its time is hours behind the WAL that it has replayed.
TEST_P(TimelineTest, ABackupOfAStandbyThatLagsHidesNothing) {
  Story story(3);
  BackupCatalog catalog;
  for (int hour = 0; hour < 24; ++hour) {
    if (hour > 0) {
      story.NextSegment();
    }
    story.Commit(700 + static_cast<std::uint32_t>(hour), 60 * hour);
    if (hour == 12) {
      BackupSummary backup = TestSummary(*repository_, FullLabel(Story::Minute(60 * 20)));
      backup.from_standby = true;
      backup.start_time = Story::Minute(60 * 20);
      backup.stop_time = Story::Minute(60 * 20 + 10);
      backup.start_lsn = backup.stop_lsn = story.position();
      catalog.backups.push_back(backup);
    }
  }
  Archive(story);
  const TimelineRange range{Story::Minute(60 * 15), Story::Minute(60 * 17)};
  EXPECT_THAT(XidsOf(Transactions({.range = range}).value()), ElementsAre(715, 716, 717));
  EXPECT_EQ(Read({.range = range}, catalog).load.size(), 3U);
}

TEST_P(TimelineTest, MissingWalIsToldWhereATransactionMayHaveBeenInIt) {
  const Story story = Segments(10);
  Archive(story);
  std::filesystem::remove(
      repository_.PathOf(WalObjectName(kTestSystem, story.Name(8)).value()));  // minute 5
  const auto around = [&](int from, int to) {
    return Transactions({.range = {Story::Minute(from), Story::Minute(to)}}).value();
  };
  const std::string said = fmt::format("WAL from \"{0}\" to \"{0}\" is missing", story.Name(8));
  EXPECT_THAT(XidsOf(around(4, 6)), ElementsAre(704, 706));
  EXPECT_THAT(around(4, 6).damaged, ElementsAre(HasSubstr(said)));
  EXPECT_THAT(around(5, 5).damaged, ElementsAre(HasSubstr(said))) << "nothing else is in the range";
  EXPECT_THAT(around(7, 9).damaged, ElementsAre(HasSubstr(said))) << "a change may be in it";
  EXPECT_THAT(around(0, 3).damaged, IsEmpty());
}

TEST(DescribeFact, ACheckpointMayBeginATimeline) {
  CheckpointMade checkpoint{.shutdown = true, .timeline = 2, .previous_timeline = 1};
  EXPECT_EQ(DescribeFact(checkpoint)->kind, "timeline");
  EXPECT_EQ(JoinParts(DescribeFact(checkpoint)->parts),
            "recovery ended on timeline 2, which left timeline 1");
  checkpoint.previous_timeline = 2;
  EXPECT_EQ(DescribeFact(checkpoint)->kind, "checkpoint");
}

TEST(DescribeFact, TextsAreMadeOfWordsAndNumbers) {
  const auto say = [](const WalFact& fact) { return JoinParts(DescribeFact(fact)->parts); };
  TransactionEnd end;
  end.dropped = {{1663, 5, 16384}, {1664, 0, 1262}};
  EXPECT_EQ(say(end), "2 relation files dropped: 1663/5/16384 1664/0/1262");
  end.dropped.resize(10, {1, 2, 3});
  EXPECT_THAT(say(end), HasSubstr(" 1/2/3 1/2/3"));
  EXPECT_THAT(say(end), Not(HasSubstr("…")));
  end.dropped.resize(11, {1, 2, 3});
  EXPECT_THAT(say(end), testing::EndsWith(" 1/2/3 …"));
  EXPECT_EQ(say(RelationTruncated{.file = {1663, 5, 16384}, .blocks = 7}),
            "1663/5/16384 to 7 blocks");
  EXPECT_EQ(say(DatabaseCopied{.database = 55, .source_database = 5}), "55 made from 5");
  EXPECT_EQ(say(DatabaseCreated{.database = 55}), "55 made");
  EXPECT_EQ(say(DatabaseDropped{.database = 55}), "55 dropped");
}

// A checkpoint has a time of its own.
TEST_P(TimelineTest, TheListOfTransactionsIsReadOnlyForEventsThatNeedIt) {
  Story story(3);
  story.Commit(701, 1);
  story.RestorePoint("first", 2);
  story.NextSegment();
  story.Commit(702, 3);
  story.Truncate(16384, 7);
  Archive(story);
  int gets = 0;
  repository_.store().SetHook([&](FaultStore::Operation operation, std::string_view /*name*/) {
    gets += operation == FaultStore::Operation::kGet ? 1 : 0;
    return Ok();
  });
  EXPECT_THAT(EventsOf(Read({.kinds = {"restore_point"}})), ElementsAre("restore_point first"));
  const int without = std::exchange(gets, 0);
  EXPECT_EQ(EventsOf(Read()).size(), 2U);
  if (GetParam()) {
    EXPECT_EQ(gets, without + 1) << "that of the second segment";
  }
}

}  // namespace
}  // namespace veza
