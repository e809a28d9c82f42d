// Unsigned numbers of a variable number of bytes (LEB128): seven bits in each byte, the lowest
// first, and the highest bit set in all but the last byte.
#pragma once

#include <cstdint>

#include "core/bytes.h"

namespace veza {

inline constexpr std::size_t kLongestVarint = 10;

// Writes at most kLongestVarint bytes to `to`, and returns the place behind them.
inline std::uint8_t* StoreVarint(std::uint8_t* to, std::uint64_t value) {
  while (value >= 0x80) {
    *to++ = static_cast<std::uint8_t>(value | 0x80);
    value >>= 7;
  }
  *to++ = static_cast<std::uint8_t>(value);
  return to;
}
inline void PutVarint(Bytes& bytes, std::uint64_t value) {
  std::uint8_t buffer[kLongestVarint];
  bytes.insert(bytes.end(), buffer, StoreVarint(buffer, value));
}

// Numbers one behind the other. Faster than PutVarint(), and its memory is used again.
class VarintWriter {
 public:
  VarintWriter() = default;
  VarintWriter(const VarintWriter&) = delete;
  VarintWriter& operator=(const VarintWriter&) = delete;

  void Put(std::uint64_t value) {
    if (left_ < kLongestVarint) {
      Grow();
    }
    std::uint8_t* const behind = StoreVarint(at_, value);
    left_ -= static_cast<std::size_t>(behind - at_);
    at_ = behind;
  }
  std::size_t memory() const { return bytes_.capacity(); }
  ByteView written() const { return ByteView(bytes_).first(bytes_.size() - left_); }
  void Clear() {
    at_ = bytes_.data();
    left_ = bytes_.size();
  }

 private:
  void Grow() {
    const std::size_t size = bytes_.size() - left_;
    bytes_.resize(2 * bytes_.size() + 1024);
    at_ = bytes_.data() + size;
    left_ = bytes_.size() - size;
  }

  Bytes bytes_;
  std::uint8_t* at_ = nullptr;
  std::size_t left_ = 0;  // behind at_
};

// Signed differences: 0, -1, 1, -2, 2, … become 0, 1, 2, 3, 4, ….
inline std::uint64_t ZigZag(std::int64_t value) {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}
inline std::int64_t FromZigZag(std::uint64_t value) {
  return static_cast<std::int64_t>((value >> 1) ^ (~(value & 1) + 1));
}

// Takes numbers out of bytes that others may have written. After something did not fit, every
// number is 0, and failed() is true.
class VarintReader {
 public:
  explicit VarintReader(ByteView bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}

  // There is one way to write a number: it has no needless bytes, and 64 bits at most.
  std::uint64_t Take() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; at_ != end_ && shift < 64; shift += 7) {
      const std::uint8_t byte = *at_++;
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if ((byte & 0x80) == 0) {
        const bool needless = byte == 0 && shift > 0;
        return needless || (shift == 63 && byte > 1) ? Fail() : value;
      }
    }
    return Fail();
  }
  // At most `most`.
  std::uint64_t Take(std::uint64_t most) {
    const std::uint64_t value = Take();
    return value <= most ? value : Fail();
  }
  // A count of things that take at least `each` bytes, so that it can be believed.
  std::uint64_t TakeCount(std::size_t each = 1) {
    const std::uint64_t count = Take();
    return count <= left() / each ? count : Fail();
  }
  std::uint64_t Fail() {
    at_ = end_;
    failed_ = true;
    return 0;
  }

  bool failed() const { return failed_; }
  std::size_t left() const { return static_cast<std::size_t>(end_ - at_); }
  // Everything was taken, and it fitted.
  bool AtEnd() const { return !failed_ && at_ == end_; }

 private:
  const std::uint8_t* at_;
  const std::uint8_t* end_;
  bool failed_ = false;
};

}  // namespace veza
