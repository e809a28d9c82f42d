// How many WAL files are sealed at the same time. Sealing (compressing and encrypting) takes a CPU
// and some working memory, so a thread takes a turn for it and gives the turn back afterwards.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "core/archive/wal_archive.h"

namespace veza {

// Thread-safe. Must outlive its turns.
class SealingTurns {
 public:
  // How many turns to have where `wanted` are wanted: fewer where `memory` bytes are not enough for
  // the working memory of so many, but at least one.
  static std::size_t CountFor(std::size_t wanted, std::size_t memory, std::uint64_t segment_size);

  // `count` is at least 1.
  explicit SealingTurns(std::size_t count);
  SealingTurns(const SealingTurns&) = delete;
  SealingTurns& operator=(const SealingTurns&) = delete;

  // A turn, from its construction, which waits until one is free, to its destruction.
  class Turn {
   public:
    explicit Turn(SealingTurns& turns);
    ~Turn();
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    // The working memory, which one turn leaves to a later one.
    WalScratch* scratch() { return &scratch_; }

   private:
    SealingTurns& turns_;
    WalScratch scratch_;
  };

  std::size_t count() const { return count_; }
  // Frees the working memory of the turns that nobody has.
  void FreeScratch();
  // Whether somebody has a turn now, or has given one back since the last call.
  bool TakeProgress();

 private:
  const std::size_t count_;
  std::mutex mutex_;
  std::condition_variable turn_ended_;
  std::size_t free_;
  bool has_ended_ = false;  // a turn, since TakeProgress()
  std::vector<WalScratch> scratch_;
};

}  // namespace veza
