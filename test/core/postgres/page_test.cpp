#include "core/postgres/page.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "core/codec/codec_fixtures.h"
#include "source_root.h"

namespace veza {
namespace {

constexpr std::size_t kPageSize = 8192;

// Pages of a cluster that PostgreSQL 15.20's initdb -k created. A shutdown checkpoint has written
// them after `create table t as select g, md5(g::text) m from generate_series(1,3000) g` and the
// creation of an index.
Bytes FixturePage(const std::string& name) {
  std::ifstream file(VEZA_SOURCE_ROOT "/test/core/repository/fixtures/" + name, std::ios::binary);
  Bytes page{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  EXPECT_EQ(page.size(), kPageSize) << name;
  page.resize(kPageSize);
  return page;
}

struct KnownPage {
  const char* file;
  std::uint32_t block;
  std::uint64_t lsn;
  std::uint16_t checksum;
};
constexpr KnownPage kKnownPages[] = {{"heap_block_19.page", 19, 0x17AEBD0, 0x0569},
                                     {"btree_block_7.page", 7, 0x17C8198, 0x5EE1}};

TEST(Page, ChecksumsAreThoseOfTheServer) {
  for (const KnownPage& known : kKnownPages) {
    const Bytes page = FixturePage(known.file);
    EXPECT_EQ(PageLsn(page.data()).value, known.lsn);
    EXPECT_FALSE(PageIsNew(page.data()));
    EXPECT_EQ(StoredPageChecksum(page.data()), known.checksum);
    EXPECT_EQ(ComputePageChecksum(page.data(), kPageSize, known.block), known.checksum);
  }
}

TEST(Page, ChecksumsDependOnTheBlockNumberAndOnEveryBit) {
  for (const KnownPage& known : kKnownPages) {
    const Bytes page = FixturePage(known.file);
    EXPECT_NE(ComputePageChecksum(page.data(), kPageSize, known.block + 1), known.checksum);
    EXPECT_NE(ComputePageChecksum(page.data(), kPageSize, 0), known.checksum);
    for (std::size_t bit = 0; bit < kPageSize * 8; bit += 61) {
      if (bit / 8 == 8 || bit / 8 == 9) {
        continue;  // pd_checksum itself
      }
      const Bytes damaged = FlipBit(page, bit);
      ASSERT_NE(ComputePageChecksum(damaged.data(), kPageSize, known.block), known.checksum) << bit;
    }
  }
}

TEST(Page, TheStoredChecksumIsNotPartOfTheSum) {
  Bytes page = FixturePage(kKnownPages[0].file);
  const Bytes before = page;
  EXPECT_EQ(ComputePageChecksum(page.data(), kPageSize, 19), 0x0569);
  EXPECT_EQ(page, before);
  page[8] ^= 0xff;
  page[9] ^= 0xff;
  EXPECT_EQ(ComputePageChecksum(page.data(), kPageSize, 19), 0x0569);
}

// The sum is reduced modulo 65535 and then incremented, so it is never 0.
TEST(Page, ChecksumsAreNeverZero) {
  const Bytes page = FixturePage(kKnownPages[0].file);
  for (std::uint32_t block = 0; block < 20'000; ++block) {
    ASSERT_NE(ComputePageChecksum(page.data(), kPageSize, block * 7919), 0) << block;
  }
}

TEST(Page, APageWithoutUpperBoundIsNew) {
  Bytes page(kPageSize);
  EXPECT_TRUE(PageIsNew(page.data()));
  page[15] = 0x20;
  EXPECT_FALSE(PageIsNew(page.data()));
}

TEST(Page, AllZeroMeansEveryByte) {
  EXPECT_TRUE(IsAllZero({}));
  Bytes bytes(3 * 8192);
  EXPECT_TRUE(IsAllZero(bytes));
  for (const std::size_t at :
       {std::size_t{0}, std::size_t{1}, bytes.size() / 2, bytes.size() - 1}) {
    bytes[at] = 1;
    EXPECT_FALSE(IsAllZero(bytes)) << at;
    bytes[at] = 0;
  }
  // All bytes are equal, but not zero.
  EXPECT_FALSE(IsAllZero(Bytes(100, 7)));
}

}  // namespace
}  // namespace veza
