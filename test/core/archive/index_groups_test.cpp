#include "core/archive/index_groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

namespace veza {
namespace {

using std::chrono::minutes;
using testing::ElementsAre;

SteadyTime At(minutes time) {
  return SteadyTime(time);
}

SegmentIndex Index(SegmentNumber number, std::size_t bytes = 100, TimelineId timeline = 1) {
  SegmentIndex index;
  index.summary.timeline = timeline;
  index.summary.number = number;
  index.blocks = Bytes(bytes);
  return index;
}

std::vector<SegmentNumber> Numbers(const std::optional<IndexGroups::Group>& group) {
  std::vector<SegmentNumber> numbers;
  if (group) {
    for (const SegmentIndex& index : group->indexes) {
      numbers.push_back(index.summary.number);
    }
  }
  return numbers;
}

TEST(IndexGroups, AGroupIsDueWhenItsFirstIndexIsTenMinutesOld) {
  IndexGroups groups;
  EXPECT_EQ(groups.NextDue(), std::nullopt);
  groups.Add(Index(7), At(minutes(1)));
  groups.Add(Index(8), At(minutes(9)));
  EXPECT_EQ(groups.NextDue(), At(minutes(11)));
  EXPECT_EQ(groups.TakeDue(At(minutes(11)) - std::chrono::nanoseconds(1)), std::nullopt);
  EXPECT_THAT(Numbers(groups.TakeDue(At(minutes(11)))), ElementsAre(7, 8));
  EXPECT_EQ(groups.NextDue(), std::nullopt);
  EXPECT_EQ(groups.memory(), 0);
}

TEST(IndexGroups, AGroupOf64SegmentsIsDueAtOnce) {
  IndexGroups groups;
  for (SegmentNumber number = 1; number < 64; ++number) {
    groups.Add(Index(number), At(minutes(1)));
  }
  EXPECT_EQ(groups.TakeDue(At(minutes(1))), std::nullopt);
  groups.Add(Index(64), At(minutes(1)));
  EXPECT_EQ(Numbers(groups.TakeDue(At(minutes(1)))).size(), 64);
}

TEST(IndexGroups, ALargeGroupIsDueAtOnce) {
  IndexGroups groups({.bytes = 100'000});
  groups.Add(Index(1, 60'000), At(minutes(1)));
  EXPECT_EQ(groups.TakeDue(At(minutes(1))), std::nullopt);
  groups.Add(Index(2, 60'000), At(minutes(1)));
  EXPECT_THAT(Numbers(groups.TakeDue(At(minutes(1)))), ElementsAre(1)) << "2 does not fit";
  EXPECT_EQ(groups.TakeDue(At(minutes(1))), std::nullopt);
  groups.Add(Index(3, 1), At(minutes(2)));
  EXPECT_THAT(Numbers(groups.TakeDue(At(minutes(11)))), ElementsAre(2, 3));
}

TEST(IndexGroups, SegmentsMayComeInAnyOrder) {
  IndexGroups groups;
  groups.Add(Index(5), At(minutes(3)));
  groups.Add(Index(7), At(minutes(1)));
  groups.Add(Index(6), At(minutes(2)));
  EXPECT_THAT(Numbers(groups.TakeDue(At(minutes(11)))), ElementsAre(5, 6, 7))
      << "the oldest index decides";
}

TEST(IndexGroups, AHoleOrAnotherTimelineBeginsAnotherGroup) {
  IndexGroups groups;
  groups.Add(Index(5), At(minutes(1)));
  groups.Add(Index(7), At(minutes(2)));
  groups.Add(Index(6, 100, 2), At(minutes(3)));
  EXPECT_THAT(Numbers(groups.TakeDue(At(minutes(20)))), ElementsAre(5));
  EXPECT_THAT(Numbers(groups.TakeDue(At(minutes(20)))), ElementsAre(7));
  EXPECT_THAT(Numbers(groups.TakeDue(At(minutes(20)))), ElementsAre(6));
}

TEST(IndexGroups, TheGroupThatWaitsLongestIsGivenUpWhenMemoryIsShort) {
  IndexGroups groups({.memory = 300'000});
  groups.Add(Index(10, 100'000), At(minutes(2)));
  groups.Add(Index(1, 100'000), At(minutes(1)));
  EXPECT_EQ(groups.given_up(), 0);
  groups.Add(Index(20, 200'000), At(minutes(3)));
  EXPECT_EQ(groups.given_up(), 2);
  EXPECT_LE(groups.memory(), 300'000);
  EXPECT_THAT(Numbers(groups.TakeDue(At(minutes(20)))), ElementsAre(20));
}

TEST(IndexGroups, WhatCouldNotBeStoredIsTakenAgain) {
  IndexGroups groups;
  groups.Add(Index(1), At(minutes(1)));
  std::optional<IndexGroups::Group> group = groups.TakeDue(At(minutes(11)));
  ASSERT_TRUE(group);
  const std::size_t none = groups.memory();
  groups.PutBack(std::move(*group));
  EXPECT_GT(groups.memory(), none);
  groups.Add(Index(2), At(minutes(12)));
  EXPECT_THAT(Numbers(groups.TakeDue(At(minutes(12)))), ElementsAre(1, 2));
}

TEST(IndexGroups, TheLastOfTwoIndexesOfASegmentStays) {
  IndexGroups groups;
  groups.Add(Index(1, 10), At(minutes(1)));
  groups.Add(Index(1, 20), At(minutes(2)));
  const std::optional<IndexGroups::Group> group = groups.TakeDue(At(minutes(11)));
  ASSERT_EQ(Numbers(group).size(), 1);
  EXPECT_EQ(group->indexes.front().blocks.size(), 20);
  EXPECT_EQ(groups.memory(), 0);
}

// Whatever the order, each segment leaves once, in groups that may be stored, and memory is
// counted.
TEST(IndexGroups, NothingIsLostInAnyOrder) {
  for (unsigned seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    std::vector<SegmentNumber> numbers;
    for (SegmentNumber number = 0; number < 300; ++number) {
      if (random() % 20 > 0) {
        numbers.push_back(number);
      }
    }
    // As archived: a few at a time.
    for (std::size_t i = 0; i + 4 < numbers.size(); ++i) {
      std::swap(numbers[i], numbers[i + random() % 5]);
    }
    IndexGroups groups;
    std::set<SegmentNumber> left(numbers.begin(), numbers.end());
    minutes now{0};
    const auto take = [&](SteadyTime until) {
      while (const std::optional<IndexGroups::Group> group = groups.TakeDue(until)) {
        const std::vector<SegmentNumber> taken = Numbers(group);
        EXPECT_LE(taken.size(), 64);
        for (std::size_t i = 0; i < taken.size(); ++i) {
          EXPECT_EQ(taken[i], taken[0] + i) << "consecutive";
          EXPECT_EQ(left.erase(taken[i]), 1);
        }
      }
    };
    for (const SegmentNumber number : numbers) {
      groups.Add(Index(number, random() % 5000), At(now));
      now += minutes(random() % 3);
      take(At(now));
    }
    take(At(now + kIndexAge));
    EXPECT_TRUE(left.empty());
    EXPECT_EQ(groups.memory(), 0);
    EXPECT_EQ(groups.given_up(), 0);
  }
}

}  // namespace
}  // namespace veza
