#include "fuzz/readers.h"

#include <algorithm>

namespace veza::fuzz {

const std::vector<Reader>& AllReaders() {
  static const std::vector<Reader> readers = [] {
    std::vector<Reader> all = DocumentReaders();
    for (const auto& more :
         {ObjectReaders(), TextReaders(), WalReaders(), IndexReaders(), CatalogReaders()}) {
      all.insert(all.end(), more.begin(), more.end());
    }
    return all;
  }();
  return readers;
}

const Reader* FindReader(std::string_view name) {
  const auto found = std::ranges::find(AllReaders(), name, &Reader::name);
  return found == AllReaders().end() ? nullptr : &*found;
}

}  // namespace veza::fuzz
