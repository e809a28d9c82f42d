// CRC-32C (Castagnoli), the checksum of pg_control and of WAL records.
#pragma once

#include <cstdint>

#include "core/bytes.h"

namespace veza {

// The checksum of one text that comes in pieces: call Add() for each piece, then value().
class Crc32c {
 public:
  void Add(ByteView bytes);
  std::uint32_t value() const { return ~state_; }

 private:
  std::uint32_t state_ = 0xFFFFFFFF;
};

}  // namespace veza
