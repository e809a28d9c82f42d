#include "core/wal_index/index_catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "core/repository/names.h"
#include "core/repository/test_repository.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t kSize = std::uint64_t{16} << 20;

std::string NameOf(SegmentNumber first, SegmentNumber last, std::uint32_t version = 1,
                   std::string_view id = "0123456789abcdef", TimelineId timeline = 1,
                   std::uint64_t size = kSize) {
  return IndexObjectName(kTestSystem, SegmentName(timeline, first, size),
                         SegmentName(timeline, last, size), version, id);
}

TEST(IndexCatalog, ParsesTheNamesThatWritersMake) {
  const std::string name = NameOf(255, 257, 12);
  EXPECT_EQ(name,
            "walindex/7711348379840072545/00000001/0000000100000000000000FF-"
            "000000010000000100000001-12-0123456789abcdef");
  const std::optional<IndexName> parsed = ParseIndexName(name);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->name, name);
  EXPECT_EQ(parsed->system_identifier, kTestSystem);
  EXPECT_EQ(parsed->timeline, 1U);
  EXPECT_EQ(parsed->first, "0000000100000000000000FF");
  EXPECT_EQ(parsed->last, "000000010000000100000001");
  EXPECT_EQ(parsed->reader_version, 12U);
}

TEST(IndexCatalog, ParsesNoOtherNames) {
  const std::string good = NameOf(1, 2);
  EXPECT_TRUE(ParseIndexName(good));
  for (std::size_t i = 0; i < good.size(); ++i) {
    EXPECT_FALSE(ParseIndexName(good.substr(0, i))) << i;
    std::string changed = good;
    changed[i] = '~';
    EXPECT_FALSE(ParseIndexName(changed)) << i;
  }
  EXPECT_FALSE(ParseIndexName(good + "0"));
  EXPECT_FALSE(ParseIndexName(NameOf(2, 1)));
  EXPECT_FALSE(ParseIndexName(NameOf(1, 2, 1, "0123456789ABCDEF")));
  EXPECT_FALSE(
      ParseIndexName("walindex/007/00000001/000000010000000000000001-"
                     "000000010000000000000001-1-0123456789abcdef"));
  EXPECT_FALSE(
      ParseIndexName("walindex/7/00000002/000000010000000000000001-"
                     "000000010000000000000001-1-0123456789abcdef"));
  EXPECT_FALSE(
      ParseIndexName("walindex/7/00000001/000000010000000000000001-"
                     "000000020000000000000001-1-0123456789abcdef"));
}

IndexName Parsed(const std::string& name) {
  return ParseIndexName(name).value();
}

TEST(IndexCatalog, ListsThoseOfASystemATimelineOrFromASegmentOn) {
  const TestRepository repository;
  const std::vector<std::string> names = {NameOf(1, 64), NameOf(60, 80), NameOf(4000, 4000),
                                          NameOf(70, 90, 1, "0123456789abcdef", 2)};
  for (const std::string& name : names) {
    ASSERT_OK(PutSmall(repository.store(), name, {}, PutMode::kCreate));
  }
  ASSERT_OK(PutSmall(repository.store(), "walindex/7711348379840072545/00000001/other", {},
                     PutMode::kCreate));
  const auto list = [&](std::optional<TimelineId> timeline, const std::string& from) {
    std::vector<std::string> found;
    const auto listed = ListIndexes(*repository, kTestSystem, timeline, from);
    EXPECT_OK(listed);
    for (const IndexName& index : *listed) {
      found.push_back(index.name);
    }
    return found;
  };
  EXPECT_THAT(list({}, ""), ElementsAre(names[0], names[1], names[2], names[3]));
  EXPECT_THAT(list(1, ""), ElementsAre(names[0], names[1], names[2]));
  EXPECT_THAT(list(2, ""), ElementsAre(names[3]));
  EXPECT_THAT(list(1, SegmentName(1, 64, kSize)), ElementsAre(names[0], names[1], names[2]));
  EXPECT_THAT(list(1, SegmentName(1, 65, kSize)), ElementsAre(names[1], names[2]));
  EXPECT_THAT(list(1, SegmentName(1, 4001, kSize)), IsEmpty());
  EXPECT_THAT(list({}, SegmentName(1, 81, kSize)), ElementsAre(names[2], names[3]));
  EXPECT_THAT(ListIndexes(*repository, 5).value(), IsEmpty());
}

// Objects of 64 segments of any size that hold the first wanted one.
TEST(IndexCatalog, ListsFromASegmentOnWithoutLeavingOutAny) {
  for (const std::uint64_t size : {std::uint64_t{1} << 20, kSize, std::uint64_t{1} << 30}) {
    const TestRepository repository;
    for (SegmentNumber first = 0; first < 400; first += 13) {
      ASSERT_OK(PutSmall(repository.store(),
                         NameOf(first, first + 63, 1, "0123456789abcdef", 1, size), {},
                         PutMode::kCreate));
    }
    for (SegmentNumber from = 0; from < 500; from += 7) {
      std::size_t expected = 0;
      for (SegmentNumber first = 0; first < 400; first += 13) {
        expected += first + 63 >= from ? 1 : 0;
      }
      EXPECT_THAT(ListIndexes(*repository, kTestSystem, 1, SegmentName(1, from, size)).value(),
                  SizeIs(expected));
    }
  }
}

// Each segment has the best object that covers it, and no other.
TEST(IndexCatalog, CoversSegmentsAsANaiveChoiceDoes) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 300; ++round) {
    std::vector<IndexName> indexes;
    for (std::size_t count = random() % 12; count > 0; --count) {
      const SegmentNumber first = random() % 100;
      indexes.push_back(Parsed(NameOf(first, first + random() % 30,
                                      1 + static_cast<std::uint32_t>(random() % 8 == 0),
                                      fmt::format("{:016x}", random()))));
    }
    const SegmentNumber first = random() % 60;
    const SegmentNumber last = first + random() % 80;
    const IndexCover cover = CoverSegments(indexes, first, last, kSize);
    std::vector<std::string> found(last - first + 1, "none");
    for (const auto& [from, to] : cover.missing) {
      for (SegmentNumber at = from; at <= to; ++at) {
        EXPECT_EQ(found.at(at - first), "none");
        found[at - first] = "missing";
      }
    }
    std::optional<SegmentNumber> next;
    for (const IndexCover::Part& part : cover.parts) {
      EXPECT_LE(part.first, part.last);
      EXPECT_GE(part.first, next.value_or(first));
      next = part.last + 1;
      for (SegmentNumber at = part.first; at <= part.last; ++at) {
        EXPECT_EQ(found.at(at - first), "none");
        found[at - first] = part.object.name;
      }
    }
    for (SegmentNumber at = first; at <= last; ++at) {
      std::string best = "missing";
      SegmentNumber longest = 0;
      for (const IndexName& index : indexes) {
        const SegmentNumber begin = SegmentNumberOf(index.first, kSize);
        const SegmentNumber end = SegmentNumberOf(index.last, kSize);
        if (index.reader_version > kWalIndexVersion || begin > at || end < at) {
          continue;
        }
        if (best == "missing" || std::pair(end - begin, index.name) > std::pair(longest, best)) {
          best = index.name;
          longest = end - begin;
        }
      }
      EXPECT_EQ(found[at - first], best) << round << " " << at;
    }
  }
}

// Anybody who can write to the store may put such a name there.
TEST(IndexCatalog, AnObjectOfTooManySegmentsHidesNone) {
  const std::vector<IndexName> indexes = {*ParseIndexName(NameOf(1, 200)),
                                          *ParseIndexName(NameOf(1, 64)),
                                          *ParseIndexName(NameOf(65, 66))};
  const IndexCover cover = CoverSegments(indexes, 1, 66, kSize);
  ASSERT_THAT(cover.parts, SizeIs(2));
  EXPECT_EQ(cover.parts[0].object.name, indexes[1].name);
  EXPECT_EQ(cover.parts[1].object.name, indexes[2].name);
  EXPECT_THAT(cover.missing, IsEmpty());
}

TEST(IndexCatalog, CoversAYearOfSegmentsInLittleTime) {
  std::vector<IndexName> indexes;
  for (SegmentNumber first = 0; first < 5'000'000; first += 64) {
    indexes.push_back(Parsed(NameOf(first, first + 63)));
  }
  const IndexCover cover = CoverSegments(indexes, 10, 4'999'999, kSize);
  EXPECT_THAT(cover.parts, SizeIs(indexes.size()));
  EXPECT_THAT(cover.missing, IsEmpty());
}

}  // namespace
}  // namespace veza
