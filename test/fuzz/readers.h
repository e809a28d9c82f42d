// The readers of what others have written, each as a function that takes any bytes at all. It
// returns, or the process ends: by a sanitizer, by FUZZ_REQUIRE, or because it took too long.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <vector>

#include "core/bytes.h"

namespace veza::fuzz {

struct Reader {
  const char* name;  // also of its directory below corpus/
  void (*run)(ByteView input);
};

const std::vector<Reader>& AllReaders();
// Null: there is none of this name.
const Reader* FindReader(std::string_view name);

// Each file has some.
std::vector<Reader> DocumentReaders();
std::vector<Reader> ObjectReaders();
std::vector<Reader> TextReaders();

}  // namespace veza::fuzz

// What has to hold, whatever the input.
#define FUZZ_REQUIRE(condition)                                                           \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                       \
    }                                                                                     \
  } while (false)
