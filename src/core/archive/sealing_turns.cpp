#include "core/archive/sealing_turns.h"

#include <algorithm>
#include <utility>

namespace veza {

std::size_t SealingTurns::CountFor(std::size_t wanted, std::size_t memory,
                                   std::uint64_t segment_size) {
  wanted = std::max<std::size_t>(wanted, 1);
  if (segment_size > WalScratch::kLargest) {
    return wanted;  // they are sealed piece by piece, without working memory
  }
  return std::clamp<std::size_t>(memory / WalScratch::MemoryFor(segment_size), 1, wanted);
}

SealingTurns::SealingTurns(std::size_t count) : count_(count), free_(count) {
  scratch_.reserve(count);
}

SealingTurns::Turn::Turn(SealingTurns& turns) : turns_(turns) {
  std::unique_lock lock(turns_.mutex_);
  turns_.turn_ended_.wait(lock, [&] { return turns_.free_ > 0; });
  --turns_.free_;
  if (!turns_.scratch_.empty()) {
    scratch_ = std::move(turns_.scratch_.back());
    turns_.scratch_.pop_back();
  }
}

SealingTurns::Turn::~Turn() {
  {
    const std::lock_guard lock(turns_.mutex_);
    ++turns_.free_;
    turns_.has_ended_ = true;
    turns_.scratch_.push_back(std::move(scratch_));  // allocates nothing: the place is reserved
  }
  turns_.turn_ended_.notify_one();
}

void SealingTurns::FreeScratch() {
  const std::lock_guard lock(mutex_);
  scratch_.clear();
}

bool SealingTurns::TakeProgress() {
  const std::lock_guard lock(mutex_);
  return std::exchange(has_ended_, false) || free_ < count_;
}

}  // namespace veza
