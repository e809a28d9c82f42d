// The readers of PostgreSQL's catalogs, from the pages of their files.
#include <vector>

#include "core/postgres/catalog_pages.h"
#include "fuzz/readers.h"

namespace veza::fuzz {
namespace {

// The whole input is a page, and a map of file numbers.
void ReadCatalog(ByteView input) {
  constexpr std::size_t kName = 64;
  constexpr std::size_t kLinePointer = 4;
  std::size_t rows = 0;
  VisitClassRows(input, [&](const ClassRow& row) {
    FUZZ_REQUIRE(row.name.size() <= kName);
    ++rows;
  });
  VisitNamespaceRows(input,
                     [](const NamespaceRow& row) { FUZZ_REQUIRE(row.name.size() <= kName); });
  FUZZ_REQUIRE(rows <= input.size() / kLinePointer);
  const auto map = ParseFilenodeMap(input);
  FUZZ_REQUIRE(!map || map->size() <= input.size() / 8);
}

}  // namespace

std::vector<Reader> CatalogReaders() {
  return {{"catalog", ReadCatalog}};
}

}  // namespace veza::fuzz
