#include "core/archive/index_builder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/limits.h"
#include "core/repository/test_repository.h"
#include "core/storage/forwarding_store.h"
#include "core/wal_index/index_catalog.h"
#include "core/wal_index/index_object.h"
#include "core/wal_index/test_index.h"

namespace veza {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using Operation = FaultStore::Operation;

class IndexBuilderTest : public testing::Test {
 protected:
  IndexBuilderTest() {
    options_ = {.system_identifier = kTestSystem,
                .segment_size = kTestSegmentSize,
                .open_objects = true,
                .jobs = 3};
  }

  static std::string Segment(SegmentNumber number, TimelineId timeline = 1) {
    return SegmentName(timeline, number, kTestSegmentSize);
  }
  std::string PathOfWal(SegmentNumber number) {
    return repository_.PathOf(WalObjectName(kTestSystem, Segment(number)).value());
  }
  void Archive(SegmentNumber first, SegmentNumber last, TimelineId timeline = 1) {
    for (SegmentNumber number = first; number <= last; ++number) {
      EXPECT_OK(repository_.PushWal(Segment(number, timeline), TestSegment(number, timeline)));
    }
  }
  IndexReport Build() {
    IndexBuildProgress progress;
    const Result<IndexReport> report = BuildIndex(*repository_, options_, progress);
    EXPECT_OK(report);
    return report.value_or(IndexReport());
  }
  // "1: 7-9" for each object.
  std::vector<std::string> Objects() {
    std::vector<std::string> objects;
    const std::vector<IndexName> listed = ListIndexes(*repository_, kTestSystem).value();
    for (const IndexName& name : listed) {
      objects.push_back(fmt::format("{}: {}-{}", name.timeline,
                                    SegmentNumberOf(name.first, kTestSegmentSize),
                                    SegmentNumberOf(name.last, kTestSegmentSize)));
    }
    return objects;
  }
  std::vector<std::string> Names() {
    std::vector<std::string> names;
    const std::vector<IndexName> listed = ListIndexes(*repository_, kTestSystem).value();
    for (const IndexName& name : listed) {
      names.push_back(name.name);
    }
    return names;
  }
  std::string Store(SegmentNumber first, SegmentNumber last) {
    IndexObjectWriter writer(*repository_, kTestSystem);
    for (SegmentNumber number = first; number <= last; ++number) {
      writer.Add(TestIndex(number));
    }
    return writer.Store().value();
  }

  TestRepository repository_{Cipher::kAes256Gcm, DigestMethod::kSha256};
  IndexBuildOptions options_;
};

TEST_F(IndexBuilderTest, MakesTheIndexOfAllSegmentsThatHaveNone) {
  Archive(3, 9);
  Archive(12, 13);
  Archive(13, 14, 2);
  const IndexReport report = Build();
  EXPECT_EQ(report.archived, 11);
  EXPECT_EQ(report.missing, 11);
  EXPECT_EQ(report.made, 11);
  EXPECT_EQ(report.objects, 3);
  EXPECT_THAT(Objects(), ElementsAre("1: 3-9", "1: 12-13", "2: 13-14"));

  const IndexObject object = IndexObject::Open(*repository_, Names().front()).value();
  const SegmentIndex expected = TestIndex(5);
  const SegmentSummary& made = object.segments()[2];
  EXPECT_EQ(made.number, 5);
  EXPECT_EQ(made.digest, expected.summary.digest);
  EXPECT_EQ(made.stored, std::filesystem::file_size(PathOfWal(5)));
  EXPECT_EQ(made.records, expected.summary.records);
  EXPECT_EQ(object.ReadBlocks(2).value(), expected.blocks);
  EXPECT_EQ(object.ReadTransactions(2).value(), expected.transactions);

  const IndexReport again = Build();
  EXPECT_EQ(again.archived, 11);
  EXPECT_EQ(again.missing, 0);
  EXPECT_EQ(again.objects, 0);
  EXPECT_EQ(again.removed, 0);
}

TEST_F(IndexBuilderTest, KeepsToTheRange) {
  Archive(3, 9);
  Archive(3, 9, 2);
  options_.timeline = 2;
  options_.first = 5;
  options_.last = 6;
  EXPECT_EQ(Build().archived, 2);
  EXPECT_THAT(Objects(), ElementsAre("2: 5-6"));
}

TEST_F(IndexBuilderTest, ALimitTakesTheNewest) {
  Archive(3, 9);
  options_.most_segments = 2;
  IndexReport report = Build();
  EXPECT_EQ(report.made, 2);
  EXPECT_EQ(report.left, 5);
  EXPECT_THAT(Objects(), ElementsAre("1: 8-9"));
  report = Build();
  EXPECT_EQ(report.left, 3);
  EXPECT_THAT(Objects(), ElementsAre("1: 6-7", "1: 8-9"));
}

TEST_F(IndexBuilderTest, LeavesYoungSegmentsToTheArchiver) {
  Archive(3, 4);
  repository_.clock().Sleep(std::chrono::minutes(20), nullptr);
  Archive(5, 6);
  options_.grace = std::chrono::minutes(15);
  EXPECT_EQ(Build().made, 2);
  EXPECT_THAT(Objects(), ElementsAre("1: 3-4"));
}

TEST_F(IndexBuilderTest, ReplacesADamagedObject) {
  Archive(3, 9);
  Build();
  const std::string damaged = Names().front();
  FlipByte(repository_.PathOf(damaged), 600);
  const IndexReport report = Build();
  EXPECT_EQ(report.made, 7);
  EXPECT_EQ(report.removed, 1);
  EXPECT_THAT(Names(), SizeIs(1));
  EXPECT_THAT(Names(), Not(Contains(damaged)));
  EXPECT_EQ(Build().missing, 0);
}

TEST_F(IndexBuilderTest, ReplacesADamagedObjectOfWhichTheFirstWalIsGone) {
  Archive(3, 9);
  Build();
  const std::string damaged = Names().front();
  FlipByte(repository_.PathOf(damaged), 600);
  ASSERT_TRUE(std::filesystem::remove(PathOfWal(3)));
  ASSERT_TRUE(std::filesystem::remove(PathOfWal(4)));
  EXPECT_EQ(Build().made, 5);
  EXPECT_THAT(Objects(), ElementsAre("1: 5-9"));
}

TEST_F(IndexBuilderTest, ANameOfTooManySegmentsCountsForNothing) {
  Archive(3, 9);
  WriteText(repository_.PathOf(
                IndexObjectName(kTestSystem, Segment(1), Segment(200), 1, "00112233aabbccdd")),
            "");
  options_.open_objects = false;
  EXPECT_EQ(Build().made, 7);
}

TEST_F(IndexBuilderTest, ReplacesWhatWasMadeFromAnotherWalObject) {
  Archive(3, 5);
  const std::string other = Store(3, 5);  // names other sizes
  options_.open_objects = false;
  EXPECT_EQ(Build().missing, 0) << "names are trusted";
  options_.open_objects = true;
  EXPECT_EQ(Build().made, 3);
  EXPECT_THAT(Names(), Not(Contains(other)));
  EXPECT_THAT(Objects(), ElementsAre("1: 3-5"));
}

TEST_F(IndexBuilderTest, ReplacesAnOlderVersionAndLeavesANewerOne) {
  Archive(3, 9);
  const auto put = [this](SegmentNumber first, SegmentNumber last, std::uint32_t version) {
    const std::string name =
        IndexObjectName(kTestSystem, Segment(first), Segment(last), version, "00112233aabbccdd");
    WriteText(repository_.PathOf(name), "an index");
    return name;
  };
  const std::string old = put(3, 5, kWalIndexVersion - 1);
  const std::string newer = put(6, 7, kWalIndexVersion + 1);
  EXPECT_EQ(Build().made, 5);
  EXPECT_THAT(Names(), Not(Contains(old)));
  EXPECT_THAT(Names(), Contains(newer));
  EXPECT_THAT(Objects(), ElementsAre("1: 3-5", "1: 6-7", "1: 8-9"));
}

TEST_F(IndexBuilderTest, WithAllItMakesEverythingAnew) {
  Archive(3, 9);
  Build();
  const std::vector<std::string> before = Names();
  options_.all = true;
  options_.first = 4;
  EXPECT_EQ(Build().made, 6);
  EXPECT_THAT(Objects(), SizeIs(2)) << "the old one is needed for segment 3";
  options_.first.reset();
  EXPECT_EQ(Build().removed, 2);
  EXPECT_THAT(Objects(), ElementsAre("1: 3-9"));
  EXPECT_NE(Names(), before);
}

TEST_F(IndexBuilderTest, DamagedWalHasNoIndexAndIsNamed) {
  Archive(3, 7);
  FlipByte(PathOfWal(5), 600);
  const IndexReport report = Build();
  EXPECT_EQ(report.made, 4);
  EXPECT_EQ(report.failed, 1);
  ASSERT_THAT(report.failures, SizeIs(1));
  EXPECT_EQ(report.failures.front().object, WalObjectName(kTestSystem, Segment(5)).value());
  EXPECT_EQ(report.failures.front().error.code, ErrorCode::kDataCorrupted);
  EXPECT_THAT(Objects(), ElementsAre("1: 3-4", "1: 6-7"));
}

TEST_F(IndexBuilderTest, KnownDamageTakesNoPlaceOfOthers) {
  Archive(3, 7);
  FlipByte(PathOfWal(7), 600);
  options_.most_segments = 1;
  EXPECT_EQ(Build().made, 0);
  options_.unreadable = {WalObjectName(kTestSystem, Segment(7)).value()};
  const IndexReport report = Build();
  EXPECT_EQ(report.made, 1);
  EXPECT_EQ(report.missing, 5);
  EXPECT_EQ(report.failed, 1);
  EXPECT_EQ(report.left, 3);
  EXPECT_THAT(report.failures, IsEmpty());
  EXPECT_THAT(Objects(), ElementsAre("1: 6-6"));
}

TEST_F(IndexBuilderTest, LeavesNothingWhereTheIdentityIsGone) {
  Archive(3, 4);
  const std::string identity = repository_.PathOf(IdentityName(kTestSystem));
  std::filesystem::remove(identity);
  IndexBuildProgress progress;
  EXPECT_ERROR(BuildIndex(*repository_, options_, progress), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(Objects(), IsEmpty());
}

TEST_F(IndexBuilderTest, AnObjectHasAtMost64Segments) {
  Archive(1, 66);
  EXPECT_EQ(Build().objects, 2);
  EXPECT_THAT(Objects(), ElementsAre("1: 1-64", "1: 65-66"));
}

TEST_F(IndexBuilderTest, WhatItHasStoredStaysWhenItIsInterrupted) {
  Archive(1, 3);
  Archive(5, 6);
  repository_.store().SetHook([this](Operation operation, std::string_view name) {
    if (operation == Operation::kGet && name.ends_with(Segment(6))) {
      repository_.cancellation().Cancel();
    }
    return Ok();
  });
  options_.jobs = 1;
  IndexBuildProgress progress;
  EXPECT_ERROR(BuildIndex(*repository_, options_, progress), ErrorCode::kCancelled);
  repository_.store().SetHook(nullptr);
  repository_.cancellation().Reset();
  EXPECT_THAT(Objects(), ElementsAre("1: 1-3"));
  Build();
  EXPECT_THAT(Objects(), ElementsAre("1: 1-3", "1: 5-6"));
}

// Lists so many index objects more, and tells whether anything is written or removed.
class CrowdedStore final : public ForwardingStore {
 public:
  CrowdedStore(std::shared_ptr<Store> inner, std::size_t objects)
      : ForwardingStore(std::move(inner)), objects_(objects) {}
  Status Put(std::string_view, Body&, PutMode) override { return Touch(); }
  Status Delete(std::string_view) override { return Touch(); }
  Status List(std::string_view prefix, std::string_view start_after,
              const ObjectVisitor& each) override {
    if (!prefix.starts_with(kIndexPrefix)) {
      return inner().List(prefix, start_after, each);
    }
    for (std::size_t i = 0; i < objects_; ++i) {
      const std::string segment = SegmentName(9, i + 1, kTestSegmentSize);
      RETURN_IF_ERROR(each({.name = IndexObjectName(kTestSystem, segment, segment, kWalIndexVersion,
                                                    "0123456789abcdef"),
                            .size = 1,
                            .modified = kTestTime}));
    }
    return Ok();
  }
  bool touched() const { return touched_; }

 private:
  Status Touch() {
    touched_ = true;
    return Ok();
  }
  const std::size_t objects_;
  bool touched_ = false;
};

TEST_F(IndexBuilderTest, BeyondTheMostObjectsNothingIsWrittenOrRemoved) {
  Archive(1, 3);
  const auto build = [&](std::size_t objects, bool* touched) {
    const auto store = std::make_shared<CrowdedStore>(repository_.MakeStore(), objects);
    const auto crowded =
        Repository::Open(store, repository_.options(), repository_.environment()).value();
    options_.open_objects = false;
    IndexBuildProgress progress;
    const Result<IndexReport> report = BuildIndex(*crowded, options_, progress);
    *touched = store->touched();
    return report;
  };
  bool touched = false;
  const Result<IndexReport> report = build(limits::kIndexObjects + 1, &touched);
  EXPECT_ERROR(report, ErrorCode::kDataCorrupted);
  EXPECT_THAT(report.error().message, HasSubstr("holds more than 250000 names \"walindex/"));
  EXPECT_THAT(report.error().hint, HasSubstr("vezactl index"));
  EXPECT_FALSE(touched);
  EXPECT_OK(build(limits::kIndexObjects, &touched));
  EXPECT_TRUE(touched);
}

TEST_F(IndexBuilderTest, AnErrorOfTheStoreEndsIt) {
  Archive(1, 9);
  repository_.store().SetHook([](Operation operation, std::string_view name) -> Status {
    return operation == Operation::kGet && name.starts_with("wal/")
               ? Status(MakeError(ErrorCode::kUnavailable, "away"))
               : Ok();
  });
  IndexBuildProgress progress;
  EXPECT_ERROR(BuildIndex(*repository_, options_, progress), ErrorCode::kUnavailable);
  EXPECT_THAT(Objects(), IsEmpty());
}

}  // namespace
}  // namespace veza
