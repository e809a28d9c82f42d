// How hard to compress WAL while some of it waits.
#pragma once

#include <chrono>
#include <cstddef>

namespace veza {

// The zstd level for each file: the configured one while few wait; lower and lower, file by file,
// the more wait and as long as compressing is clearly what takes the time. Where storing takes
// longer (a slow network), smaller files arrive sooner, and the level rises again. Not thread-safe.
class AdaptiveLevel {
 public:
  // `sealers` files are sealed at a time, `streams` stored; both at least 1.
  AdaptiveLevel(int configured, std::size_t sealers, std::size_t streams)
      : configured_(configured), sealers_(sealers), streams_(streams) {}

  // What a file took: of the CPU, to compress and seal it, and of time, to store it then. (By the
  // clock, compressing would seem slow where the store's own work keeps the CPU busy, and a larger
  // file makes more of that.)
  void Note(std::chrono::duration<double> sealing, std::chrono::duration<double> storing);
  // For the next file, while `backlog` wait. Never above the configured level.
  int Next(std::size_t backlog);

 private:
  // What compressing allows a file to take in a pipeline, as a multiple of what storing does.
  double CompressingByStoring() const;

  int configured_;
  std::size_t sealers_;
  std::size_t streams_;
  std::size_t step_ = 0;
  // Moving averages; 0: nothing is known.
  std::chrono::duration<double> sealing_{0};
  std::chrono::duration<double> storing_{0};
};

}  // namespace veza
