#include "core/backup/number_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <iterator>
#include <random>
#include <set>
#include <vector>

namespace veza {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::uint64_t> From(const NumberSet& set, std::uint64_t first,
                                std::size_t most = SIZE_MAX) {
  std::vector<std::uint64_t> numbers;
  set.VisitFrom(first, [&](std::uint64_t number) {
    numbers.push_back(number);
    return numbers.size() < most;
  });
  return numbers;
}

TEST(NumberSet, HasNothingAtFirst) {
  NumberSet set;
  set.Merge({});
  EXPECT_EQ(set.size(), 0U);
  EXPECT_THAT(From(set, 0), IsEmpty());
}

TEST(NumberSet, HoldsAnyNumberOnce) {
  constexpr std::uint64_t kHighest = UINT64_MAX;
  NumberSet set;
  set.Merge(std::vector<std::uint64_t>{5, kHighest});
  set.Merge(std::vector<std::uint64_t>{0, 5, 6, kHighest - 1, kHighest});
  EXPECT_EQ(set.size(), 5U);
  EXPECT_THAT(From(set, 0), ElementsAre(0, 5, 6, kHighest - 1, kHighest));
  EXPECT_THAT(From(set, 6), ElementsAre(6, kHighest - 1, kHighest));
  EXPECT_THAT(From(set, kHighest), ElementsAre(kHighest));
  EXPECT_THAT(From(set, 1, 2), ElementsAre(5, 6));
}

TEST(NumberSet, ChangesItsNumbers) {
  NumberSet set;
  set.Merge(std::vector<std::uint64_t>{1, 2, 3, 4, 9});
  EXPECT_THAT(From(set.Transformed([](std::uint64_t number) { return number / 2; }), 0),
              ElementsAre(0, 1, 2, 4));
}

TEST(NumberSet, IsWhatAPlainSetSays) {
  std::mt19937_64 random(20261130);
  for (int round = 0; round < 50; ++round) {
    NumberSet set;
    std::set<std::uint64_t> model;
    const std::uint64_t range = std::uint64_t{1} << (4 + random() % 60);
    for (int step = 0; step < 5; ++step) {
      std::set<std::uint64_t> more;
      for (std::uint64_t left = random() % 300; left > 0; --left) {
        more.insert(random() % range);
      }
      set.Merge(std::vector<std::uint64_t>(more.begin(), more.end()));
      model.insert(more.begin(), more.end());
      ASSERT_EQ(set.size(), model.size());
      for (int look = 0; look < 20; ++look) {
        const std::uint64_t first = look == 0 ? 0 : random() % range;
        const std::vector<std::uint64_t> expected(model.lower_bound(first), model.end());
        ASSERT_EQ(From(set, first), expected);
      }
    }
  }
}

TEST(NumberSet, TakesAByteOrTwoForEachOfManyNumbers) {
  std::vector<std::uint64_t> numbers(100'000);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = (std::uint64_t{1} << 50) + 100 * i;
  }
  NumberSet set;
  set.Merge(numbers);
  set.Fit();
  EXPECT_LT(set.memory(), 125'000U + 100);
  for (std::uint64_t& number : numbers) {
    number += 16'000 * (&number - numbers.data());
  }
  NumberSet far;
  far.Merge(numbers);
  far.Fit();
  EXPECT_LT(far.memory(), 225'000U + 100);
}

}  // namespace
}  // namespace veza
