// CRC-32C (Castagnoli), as PostgreSQL has it in pg_control and WAL records.
#pragma once

#include <cstdint>

#include "core/bytes.h"

namespace veza {

// Of one text in several pieces: Add() each, then value().
class Crc32c {
 public:
  void Add(ByteView bytes);
  std::uint32_t value() const { return ~state_; }

 private:
  std::uint32_t state_ = 0xFFFFFFFF;
};

}  // namespace veza
