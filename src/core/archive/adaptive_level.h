// How hard to compress WAL while WAL files wait to be archived.
#pragma once

#include <chrono>
#include <cstddef>

namespace veza {

// Chooses the zstd level for each file. While few files wait it is the configured level. It falls
// from file to file while more wait and compressing clearly takes longer than storing. It rises
// again when storing takes longer (a slow network), because smaller files arrive sooner. Not
// thread-safe.
class AdaptiveLevel {
 public:
  // `sealers` files are sealed at a time, `streams` stored; both at least 1.
  AdaptiveLevel(int configured, std::size_t sealers, std::size_t streams)
      : configured_(configured), sealers_(sealers), streams_(streams) {}

  // What a file took: CPU time to compress and seal it, and elapsed time to store it. For
  // compressing, elapsed time would be wrong where the store keeps the same CPU busy: compressing
  // would seem slow, and a larger file would give the store even more to do.
  void Note(std::chrono::duration<double> sealing, std::chrono::duration<double> storing);
  // The level of the next file, while `backlog` files wait. Never above the configured level.
  int Next(std::size_t backlog);

 private:
  // How long compressing occupies the pipeline for a file, as a multiple of how long storing does.
  double CompressingByStoring() const;

  int configured_;
  std::size_t sealers_;
  std::size_t streams_;
  std::size_t step_ = 0;
  // Moving averages; 0 while nothing is known.
  std::chrono::duration<double> sealing_{0};
  std::chrono::duration<double> storing_{0};
};

}  // namespace veza
