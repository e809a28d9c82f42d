#include "core/postgres/catalog_pages.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/codec/codec_fixtures.h"
#include "core/postgres/catalog_page.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> ClassesIn(ByteView page) {
  std::vector<std::string> rows;
  VisitClassRows(page, [&](const ClassRow& row) {
    rows.push_back(fmt::format("{} {} in {}, file {} in {}{}", row.oid, row.name, row.schema,
                               row.file, row.tablespace, row.is_current ? "" : ", old"));
  });
  return rows;
}

TEST(CatalogPages, RowsOfPgClass) {
  CatalogPage page;
  page.Class(16384, "orders", 2200, 16384)
      .Class(16390, "old name", 2200, 16390, 0, 800)
      .Class(16391, "elsewhere", 2200, 16399, 16380)
      .Class(16392, "never", 2200, 16392)
      .RolledBack()
      .Class(16393, "pruned", 2200, 16393)
      .Pruned()
      .Class(1249, std::string(63, 'n'), 11, 0);
  EXPECT_THAT(ClassesIn(page.bytes()),
              ElementsAre("16384 orders in 2200, file 16384 in 0",
                          "16390 old name in 2200, file 16390 in 0, old",
                          "16391 elsewhere in 2200, file 16399 in 16380",
                          "16392 never in 2200, file 16392 in 0, old",
                          fmt::format("1249 {} in 11, file 0 in 0", std::string(63, 'n'))));
}

TEST(CatalogPages, RowsOfPgNamespace) {
  std::vector<std::string> rows;
  VisitNamespaceRows(
      CatalogPage().Namespace(2200, "public").Namespace(16400, "shop", 5).bytes(),
      [&](const NamespaceRow& row) {
        rows.push_back(fmt::format("{} {}{}", row.oid, row.name, row.is_current ? "" : ", old"));
      });
  EXPECT_THAT(rows, ElementsAre("2200 public", "16400 shop, old"));
}

// Whatever a page holds, nothing outside of it is read. The address sanitizer looks on.
TEST(CatalogPages, HostilePagesAreReadWithinTheirBounds) {
  EXPECT_THAT(ClassesIn({}), IsEmpty());
  EXPECT_THAT(ClassesIn(Bytes(8192)), IsEmpty());
  EXPECT_THAT(ClassesIn(Bytes(20, 0xFF)), IsEmpty());
  const Bytes whole = CatalogPage().Class(16384, std::string(64, 'x'), 2200, 16384).bytes();
  for (std::size_t at = 0; at < whole.size(); at += at < 64 || at > 7900 ? 1 : 64) {
    for (const int value : {0x00, 0x7F, 0x80, 0xFF}) {
      Bytes page = whole;
      page[at] = static_cast<std::uint8_t>(value);
      EXPECT_LE(ClassesIn(Bytes(page)).size(), 8192U / 4);
      VisitNamespaceRows(Bytes(page), [](const NamespaceRow&) {});
    }
  }
  for (std::size_t size = 0; size < whole.size(); size += 37) {
    ClassesIn(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
  }
}

TEST(CatalogPages, TheMapOfFileNumbers) {
  const auto map = ParseFilenodeMap(FilenodeMap({{1259, 16500}, {1249, 1249}})).value();
  EXPECT_EQ(map.size(), 2U);
  EXPECT_EQ(map.at(1259), 16500U);
  EXPECT_ERROR(ParseFilenodeMap(Bytes(512)), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ParseFilenodeMap({}), ErrorCode::kDataCorrupted);
  Bytes hostile = FilenodeMap({});
  StoreLittleEndian(hostile.data() + 4, std::uint32_t{0xFFFF'FFFF});
  EXPECT_ERROR(ParseFilenodeMap(hostile), ErrorCode::kDataCorrupted);
  StoreLittleEndian(hostile.data() + 4, std::uint32_t{64});
  EXPECT_ERROR(ParseFilenodeMap(hostile), ErrorCode::kDataCorrupted);  // they do not fit
}

}  // namespace
}  // namespace veza
