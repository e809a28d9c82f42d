#include "core/archive/sealed_memory.h"

#include <algorithm>

namespace veza {
namespace {

// A segment that cannot be compressed grows a little, and the buffer grows by whole frames.
std::size_t LargestSealed(std::uint64_t segment_size) {
  return segment_size + segment_size / 64 + (1U << 20);
}

}  // namespace

SealedMemory::SealedMemory(std::size_t part, std::uint64_t segment_size)
    : for_asked_file_(part), largest_(LargestSealed(segment_size)), free_ahead_(part) {}

SealedMemory::Share::~Share() {
  KeepOnly(0);
}

std::size_t SealedMemory::Share::ReserveForAskedFile() {
  limit_ = memory_.for_asked_file_;
  return limit_;
}

std::size_t SealedMemory::Share::ReserveForFileAhead() {
  const std::lock_guard lock(memory_.mutex_);
  limit_ = std::min(memory_.free_ahead_, memory_.largest_);
  reserved_ = limit_;
  memory_.free_ahead_ -= reserved_;
  return limit_;
}

void SealedMemory::Share::Keep(std::uint64_t sealed_bytes) {
  KeepOnly(sealed_bytes <= limit_ ? sealed_bytes : 0);
}

void SealedMemory::Share::KeepOnly(std::size_t bytes) {
  const std::lock_guard lock(memory_.mutex_);
  const std::size_t kept = std::min(reserved_, bytes);
  memory_.free_ahead_ += reserved_ - kept;
  reserved_ = kept;
}

}  // namespace veza
