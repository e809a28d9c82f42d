// The same readers for libFuzzer: VEZA_FUZZ_READER=xml veza_fuzz corpus/xml
#include <cstdint>
#include <cstdlib>

#include "fuzz/readers.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const veza::fuzz::Reader* const reader = [] {
    const char* const name = std::getenv("VEZA_FUZZ_READER");
    const veza::fuzz::Reader* const found = veza::fuzz::FindReader(name == nullptr ? "" : name);
    FUZZ_REQUIRE(found != nullptr);
    return found;
  }();
  reader->run({data, size});
  return 0;
}
