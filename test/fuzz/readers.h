// The readers of data that others have written. Each is a function that accepts any bytes. It must
// return; otherwise the process ends because of a sanitizer, FUZZ_REQUIRE or a timeout.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/bytes.h"

namespace veza::fuzz {

struct Reader {
  const char* name;  // also the name of its directory in corpus/
  void (*run)(ByteView input);
};

const std::vector<Reader>& AllReaders();
// Null when there is no reader of this name.
const Reader* FindReader(std::string_view name);

// The readers of each source file.
std::vector<Reader> DocumentReaders();
std::vector<Reader> ObjectReaders();
std::vector<Reader> TextReaders();
std::vector<Reader> WalReaders();
std::vector<Reader> IndexReaders();
std::vector<Reader> CatalogReaders();

}  // namespace veza::fuzz

// A condition that must be true for every input.
#define FUZZ_REQUIRE(condition)                                                           \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                       \
    }                                                                                     \
  } while (false)
