// CRC-32C (Castagnoli), the checksum of pg_control and of WAL records.
#pragma once

#include <cstdint>

#include "core/bytes.h"

namespace veza {

// The checksum of one text that comes in pieces: call Add() for each piece, then value().
class Crc32c {
 public:
  Crc32c() = default;
  // Goes on behind bytes whose checksum is known.
  static Crc32c After(std::uint32_t value) {
    Crc32c crc;
    crc.state_ = ~value;
    return crc;
  }

  void Add(ByteView bytes);
  std::uint32_t value() const { return ~state_; }

 private:
  std::uint32_t state_ = 0xFFFFFFFF;
};

// The same without the processor's instruction for it, for processors that have none: what state_
// becomes by these bytes.
std::uint32_t AddToCrc32cByTables(std::uint32_t state, ByteView bytes);

}  // namespace veza
