#include "core/codec/crc32c.h"

#include <array>
#include <cstddef>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace veza {

namespace {

using Table = std::array<std::uint32_t, 256>;

// The first table is that of one byte. Table n is for a byte with n bytes behind it.
constexpr std::array<Table, 8> MakeTables() {
  constexpr std::uint32_t kPolynomial = 0x82F63B78;  // bits reversed
  std::array<Table, 8> tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kPolynomial : 0);
    }
    tables[0][byte] = crc;
  }
  for (std::size_t n = 1; n < tables.size(); ++n) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t before = tables[n - 1][byte];
      tables[n][byte] = (before >> 8) ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}

constexpr std::array<Table, 8> kTables = MakeTables();

#if defined(__x86_64__)
// The instruction takes three cycles, but one can begin in each. So long texts are cut into
// stripes, each of three lanes of this many bytes, which are computed side by side.
constexpr std::size_t kLane = 256;

// What a state becomes by kLane bytes of zero. That is linear: the parts of the four bytes of the
// state are found in one table each, and added.
constexpr std::array<Table, 4> MakeShift() {
  std::array<std::uint32_t, 32> bits{};
  for (std::size_t bit = 0; bit < bits.size(); ++bit) {
    bits[bit] = std::uint32_t{1} << bit;
    for (std::size_t i = 0; i < kLane; ++i) {
      bits[bit] = kTables[0][bits[bit] & 0xFF] ^ (bits[bit] >> 8);
    }
  }
  std::array<Table, 4> shift{};
  for (std::size_t part = 0; part < shift.size(); ++part) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      for (std::size_t bit = 0; bit < 8; ++bit) {
        shift[part][byte] ^= (byte >> bit & 1) != 0 ? bits[8 * part + bit] : 0;
      }
    }
  }
  return shift;
}

constexpr std::array<Table, 4> kShift = MakeShift();

std::uint64_t Shift(std::uint64_t state) {
  return kShift[0][state & 0xFF] ^ kShift[1][(state >> 8) & 0xFF] ^
         kShift[2][(state >> 16) & 0xFF] ^ kShift[3][(state >> 24) & 0xFF];
}

template <typename T>
T Load(const std::uint8_t* from) {
  T value{};
  std::memcpy(&value, from, sizeof value);
  return value;
}

[[gnu::target("sse4.2")]] std::uint32_t AddByInstruction(std::uint32_t state, ByteView bytes) {
  std::uint64_t wide = state;
  for (; bytes.size() >= 3 * kLane; bytes = bytes.subspan(3 * kLane)) {
    std::uint64_t second = 0;
    std::uint64_t third = 0;
    for (const std::uint8_t* at = bytes.data(); at < bytes.data() + kLane; at += sizeof wide) {
      wide = _mm_crc32_u64(wide, Load<std::uint64_t>(at));
      second = _mm_crc32_u64(second, Load<std::uint64_t>(at + kLane));
      third = _mm_crc32_u64(third, Load<std::uint64_t>(at + 2 * kLane));
    }
    wide = Shift(Shift(wide) ^ second) ^ third;
  }
  for (; bytes.size() >= sizeof wide; bytes = bytes.subspan(sizeof wide)) {
    wide = _mm_crc32_u64(wide, Load<std::uint64_t>(bytes.data()));
  }
  // At most three steps for what is left: WAL has many short records.
  state = static_cast<std::uint32_t>(wide);
  if ((bytes.size() & 4) != 0) {
    state = _mm_crc32_u32(state, Load<std::uint32_t>(bytes.data()));
    bytes = bytes.subspan(4);
  }
  if ((bytes.size() & 2) != 0) {
    state = _mm_crc32_u16(state, Load<std::uint16_t>(bytes.data()));
    bytes = bytes.subspan(2);
  }
  return bytes.empty() ? state : _mm_crc32_u8(state, bytes[0]);
}

bool HasInstruction() {
  return __builtin_cpu_supports("sse4.2") != 0;
}
#else
constexpr auto AddByInstruction = AddToCrc32cByTables;

bool HasInstruction() {
  return false;
}
#endif

}  // namespace

// Eight bytes at a time.
std::uint32_t AddToCrc32cByTables(std::uint32_t state, ByteView bytes) {
  for (; bytes.size() >= 8; bytes = bytes.subspan(8)) {
    const std::uint64_t next = LoadLittleEndian<std::uint64_t>(bytes.data()) ^ state;
    state = 0;
    for (std::size_t i = 0; i < 8; ++i) {
      state ^= kTables[7 - i][(next >> (8 * i)) & 0xFF];
    }
  }
  for (const std::uint8_t byte : bytes) {
    state = kTables[0][(state ^ byte) & 0xFF] ^ (state >> 8);
  }
  return state;
}

void Crc32c::Add(ByteView bytes) {
  static const bool has_instruction = HasInstruction();
  state_ = has_instruction ? AddByInstruction(state_, bytes) : AddToCrc32cByTables(state_, bytes);
}

}  // namespace veza
