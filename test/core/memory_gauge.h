// Measures how much the memory use of this process grows.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>

#include "sanitizers.h"

namespace veza {

// Reads the kernel's peak of resident memory, which the constructor resets. Sanitizers keep freed
// memory, so under them the result says nothing.
class MemoryGauge {
 public:
  MemoryGauge() {
    std::ofstream("/proc/self/clear_refs") << "5";
    before_ = ReadPeak();
  }
  std::uint64_t grown_bytes() const {
    const std::uint64_t now = ReadPeak();
    return now > before_ ? now - before_ : 0;
  }
  static constexpr bool meaningful() {
#if defined(VEZA_ADDRESS_SANITIZER) || defined(VEZA_THREAD_SANITIZER)
    return false;
#else
    return true;
#endif
  }
  // What a test takes to see that memory does not grow with it: less where memory is not measured.
  static constexpr std::uint64_t Amount(std::uint64_t amount) {
    return meaningful() ? amount : amount / 16;
  }

 private:
  static std::uint64_t ReadPeak() {
    std::ifstream status("/proc/self/status");
    for (std::string word; status >> word;) {
      std::uint64_t kilobytes = 0;
      if (word == "VmHWM:" && status >> kilobytes) {
        return kilobytes * 1024;
      }
    }
    return 0;
  }

  std::uint64_t before_;
};

}  // namespace veza
