// How much more memory something needs than there was before it.
#pragma once

#include <cstdint>
#include <fstream>
#include <string>

namespace veza {

// The kernel's own peak of resident memory, begun anew by the constructor. Sanitizers keep what was
// freed, so that under them it says nothing.
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
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return false;
#else
    return true;
#endif
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
