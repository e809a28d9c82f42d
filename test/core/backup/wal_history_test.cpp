#include "core/backup/wal_history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/repository/test_repository.h"

namespace veza {
namespace {

using testing::HasSubstr;

constexpr SegmentNumber kFirst = 7;

Sha256Digest Hash(const std::string& text) {
  return Sha256Of(AsBytes(text));
}

std::string NameOf(SegmentNumber number, TimelineId timeline = 1) {
  return SegmentName(timeline, number, kTestSegmentSize);
}

// Five segments of one run; the last two are behind it, in pg_wal only.
class HistoryTest : public testing::Test {
 protected:
  HistoryTest() {
    for (SegmentNumber number = kFirst; number < kFirst + 5; ++number) {
      SegmentFacts& facts = segments_[number];
      facts.name = NameOf(number);
      if (number < kFirst + 3) {
        facts.link = Hash(facts.name);
        facts.origin = {.previous = Hash(NameOf(number - 1)), .run = Hash("run")};
      }
    }
  }
  std::string Doubt() const { return DoubtOfHistory(segments_, own_); }
  SegmentFacts& at(SegmentNumber index) { return segments_.at(kFirst + index); }

  std::map<SegmentNumber, SegmentFacts> segments_;
  OwnWal own_{.is_known = true, .first = kFirst + 2, .last = kFirst + 2, .run = Hash("run")};
};

TEST_F(HistoryTest, OneRunIsOneHistory) {
  EXPECT_EQ(Doubt(), "");
}

TEST_F(HistoryTest, SomethingMustBeTheServersOwn) {
  own_.is_known = false;
  EXPECT_THAT(Doubt(), HasSubstr("known to be this server's own"));
  own_ = {.is_known = true, .first = kFirst + 6, .last = kFirst + 8, .run = Hash("run")};
  EXPECT_THAT(Doubt(), HasSubstr("known to be this server's own"));
  own_ = {.is_known = true, .first = 1, .last = kFirst - 1, .run = Hash("run")};
  EXPECT_THAT(Doubt(), HasSubstr("known to be this server's own"));
}

// Whoever else has stored these: they are the same.
TEST_F(HistoryTest, WhatIsAllOwnNeedsNoLinks) {
  for (auto& [number, facts] : segments_) {
    facts.origin = {};
  }
  own_.first = kFirst;
  at(1).has_end = true;
  EXPECT_EQ(Doubt(), "");
  own_.first = kFirst - 3;
  own_.last = kFirst + 9;
  EXPECT_EQ(Doubt(), "");
  at(1).has_end = false;
  EXPECT_THAT(Doubt(), HasSubstr("no transaction ended")) << "idle twins have the same segments";
}

// Somebody else has filled a gap of what this server has archived elsewhere.
TEST_F(HistoryTest, WhatIsOwnMustNotContradictItself) {
  own_.first = kFirst;
  EXPECT_EQ(Doubt(), "");
  at(1).link = Hash("of somebody else");
  EXPECT_THAT(Doubt(), HasSubstr("follows another segment \"000000010000000000000008\""));
}

TEST_F(HistoryTest, EachSegmentMustNameTheOneBeforeIt) {
  at(1).origin.previous = Hash("another content");
  EXPECT_EQ(Doubt(),
            "WAL segment \"000000010000000000000008\" follows another segment "
            "\"000000010000000000000007\" than the one in the repository");
  at(1).origin.previous.reset();
  EXPECT_EQ(Doubt(),
            "WAL segment \"000000010000000000000008\" does not say which segment it follows");
}

// The interval begins there.
TEST_F(HistoryTest, WhatTheFirstSegmentFollowsIsOfNoInterest) {
  at(0).origin.previous.reset();
  EXPECT_EQ(Doubt(), "");
}

// Twins that did nothing may have the same segment, and a different one before it.
TEST_F(HistoryTest, BetweenTwoWritersATransactionMustHaveEnded) {
  at(0).origin.run = Hash("another");
  EXPECT_THAT(Doubt(), HasSubstr("are of two writers, and no transaction ended in the first"));
  at(0).has_end = true;
  EXPECT_EQ(Doubt(), "");
  at(0).has_end = false;
  at(0).origin.run.reset();
  at(1).origin.run.reset();
  EXPECT_THAT(Doubt(), HasSubstr("two writers"));
}

TEST_F(HistoryTest, ComparedSegmentsMustHoldTheEndOfATransaction) {
  own_ = {.is_known = true, .first = kFirst + 1, .last = kFirst + 2};
  EXPECT_THAT(Doubt(), HasSubstr("no transaction ended in WAL segments "
                                 "\"000000010000000000000008\" to \"000000010000000000000009\""));
  at(2).has_end = true;
  EXPECT_EQ(Doubt(), "");
  at(1).origin.previous.reset();
  EXPECT_THAT(Doubt(), HasSubstr("does not say"));
}

// Another server has stored the first segments of the run, which were the same.
TEST_F(HistoryTest, ARunThatBeginsWithTheSegmentsOfOthersNeedsTheEndOfATransaction) {
  own_.run = Hash("of this server");
  EXPECT_THAT(Doubt(), HasSubstr("no transaction ended"));
  at(2).has_end = true;
  EXPECT_EQ(Doubt(), "");
}

class OwnWalTest : public testing::TestWithParam<Cipher> {
 protected:
  OwnWalTest() {
    std::filesystem::create_directories(place_.wal_directory + "/archive_status");
    for (SegmentNumber number = kFirst; number < kFirst + 4; ++number) {
      EXPECT_OK(repository_.PushWal(NameOf(number), Content(number)));
      PutIntoPgWal(number, number);
    }
    run_ = {.repository = IdOfRepository(*repository_, kTestSystem).value(),
            .run = Hash("run"),
            .first = NameOf(kFirst),
            .last = NameOf(kFirst + 2),
            .link = LinkOf(kFirst + 2)};
  }
  static Bytes Content(std::uint64_t seed) { return NoiseBytes(kTestSegmentSize, seed); }
  Sha256Digest LinkOf(SegmentNumber number) const {
    return LinkTo(NameOf(number),
                  *repository_.wal().Attributes(NameOf(number)).value().plain_digest);
  }
  void PutIntoPgWal(SegmentNumber number, std::uint64_t seed, TimelineId timeline = 1) {
    WriteBytes(place_.wal_directory + "/" + NameOf(number, timeline), Content(seed));
  }
  void MakeReady(SegmentNumber number) {
    WriteText(place_.wal_directory + "/archive_status/" + NameOf(number) + ".ready", "");
  }
  void Remember() { ASSERT_OK(WriteAcknowledgedRun(place_.wal_directory, run_)); }
  OwnWal Find(Lsn position = Lsn{(kFirst + 4) * kTestSegmentSize + 100}) {
    const Result<OwnWal> own = FindOwnWal(*repository_, place_, position, kFirst + 3);
    EXPECT_OK(own);
    return own.value_or(OwnWal());
  }
  void ExpectOwn(const OwnWal& own, SegmentNumber first, SegmentNumber last) {
    EXPECT_TRUE(own.is_known);
    EXPECT_EQ(own.first, kFirst + first);
    EXPECT_EQ(own.last, kFirst + last);
  }
  // What is remembered cannot be right; then pg_wal is compared.
  void ExpectForgotten() {
    Remember();
    const OwnWal own = Find();
    EXPECT_FALSE(own.run);
  }

  TestRepository repository_{GetParam()};
  OwnWalPlace place_{.system_identifier = kTestSystem,
                     .segment_size = kTestSegmentSize,
                     .history = {},
                     .wal_directory = repository_.Scratch("pg_wal")};
  AcknowledgedRun run_;
};

INSTANTIATE_TEST_SUITE_P(Ciphers, OwnWalTest, testing::ValuesIn(kAllCiphers), CipherTestName);

TEST_P(OwnWalTest, IsWhatWasAcknowledged) {
  Remember();
  PutIntoPgWal(kFirst + 3, 99);
  for (const SegmentNumber number : {kFirst, kFirst + 1, kFirst + 2}) {
    std::filesystem::remove(place_.wal_directory + "/" + NameOf(number));
  }
  const OwnWal own = Find();
  ExpectOwn(own, 0, 2);
  EXPECT_EQ(own.run, Hash("run"));
}

// On a standby that was made from a copy of its primary.
TEST_P(OwnWalTest, WhatIsNewerInPgWalIsOwnAsWell) {
  run_.last = NameOf(kFirst + 1);
  run_.link = LinkOf(kFirst + 1);
  Remember();
  OwnWal own = Find();
  ExpectOwn(own, 0, 3);
  EXPECT_EQ(own.run, Hash("run"));
  PutIntoPgWal(kFirst + 2, 99);
  own = Find();
  ExpectOwn(own, 3, 3);
  EXPECT_FALSE(own.run);
}

TEST_P(OwnWalTest, WithoutThatPgWalIsCompared) {
  const OwnWal own = Find();
  ExpectOwn(own, 0, 3);
  EXPECT_FALSE(own.run);
}

TEST_P(OwnWalTest, OnlyTheNewestSegmentsThatAreTheSameCount) {
  PutIntoPgWal(kFirst + 3, 99);
  PutIntoPgWal(kFirst, 99);
  ExpectOwn(Find(), 1, 2);
  std::filesystem::remove(place_.wal_directory + "/" + NameOf(kFirst + 2));
  ExpectOwn(Find(), 1, 1);
  PutIntoPgWal(kFirst + 1, 99);
  EXPECT_FALSE(Find().is_known);
}

TEST_P(OwnWalTest, ACutOrMissingSegmentIsNotTheSame) {
  WriteBytes(place_.wal_directory + "/" + NameOf(kFirst + 3), Bytes(100));
  ExpectOwn(Find(), 0, 2);
  WriteText(repository_.PathOf(WalObjectName(kTestSystem, NameOf(kFirst + 2)).value()), "");
  ExpectOwn(Find(), 0, 1);
}

// The data directory was put back, or has lost WAL, and pg_wal has not been written that far again.
TEST_P(OwnWalTest, AcknowledgedWalBehindTheEndOfTheServerIsForgotten) {
  Remember();
  EXPECT_TRUE(Find(Lsn{(kFirst + 3) * kTestSegmentSize}).run);
  EXPECT_FALSE(Find(Lsn{(kFirst + 3) * kTestSegmentSize - 1}).run);
}

TEST_P(OwnWalTest, AcknowledgedWalThatIsWrittenAnewIsForgotten) {
  MakeReady(kFirst + 1);
  Remember();
  EXPECT_TRUE(Find().run) << "a crash may lose that it was archived";
  PutIntoPgWal(kFirst + 1, 99);
  ExpectForgotten();
}

// And somebody has removed its .ready file.
TEST_P(OwnWalTest, TheLastSegmentIsComparedIfItIsInPgWal) {
  Remember();
  EXPECT_TRUE(Find().run);
  PutIntoPgWal(kFirst + 2, 99);
  EXPECT_FALSE(Find().run);
}

TEST_P(OwnWalTest, AnotherRepositoryIsNotRemembered) {
  run_.repository[0] ^= 1;
  ExpectForgotten();
}

TEST_P(OwnWalTest, OtherContentIsNotRemembered) {
  run_.link[0] ^= 1;
  ExpectForgotten();
  run_.last = NameOf(kFirst + 9);
  ExpectForgotten();
}

TEST_P(OwnWalTest, ATimelineThatWasLeftIsNotRemembered) {
  place_.history = {2, {{1, Lsn{(kFirst + 2) * kTestSegmentSize + 1000}}}};
  ExpectForgotten();
}

TEST_P(OwnWalTest, AStoreThatDoesNotAnswerIsAnError) {
  repository_.store().SetHook([&](FaultStore::Operation, std::string_view name) -> Status {
    return name.starts_with("wal/") ? MakeError(ErrorCode::kUnavailable, "down") : Ok();
  });
  EXPECT_ERROR(FindOwnWal(*repository_, place_, Lsn{}, kFirst + 3), ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace veza
