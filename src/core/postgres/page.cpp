#include "core/postgres/page.h"

#include <cstring>

namespace veza {

namespace {

constexpr std::size_t kLanes = 32;
constexpr std::uint32_t kFnvPrime = 16777619;
constexpr std::size_t kRowSize = kLanes * sizeof(std::uint32_t);
constexpr std::size_t kLsnOffset = 0;
constexpr std::size_t kChecksumOffset = 8;
constexpr std::size_t kFlagsOffset = 10;
constexpr std::size_t kUpperOffset = 14;
constexpr std::uint16_t kAllVisibleFlag = 0x0004;

// The starting values of the lanes, as storage/checksum_impl.h gives them.
constexpr std::uint32_t kBaseOffsets[kLanes] = {
    0x5B1F36E9, 0xB8525960, 0x02AB50AA, 0x1DE66D2A, 0x79FF467A, 0x9BB9F8A3, 0x217E7CD2, 0x83E13D2C,
    0xF8D4474F, 0xE39EB970, 0x42C6AE16, 0x993216FA, 0x7B093B5D, 0x98DAFF3C, 0xF718902A, 0x0B1C9CDB,
    0xE58F764B, 0x187636BC, 0x5D7B3BB1, 0xE73DE7DE, 0x92BEC979, 0xCCA6C0B2, 0x304A0979, 0x85AA43D4,
    0x783125BB, 0x6CA8EAA2, 0xE407EAC6, 0x4B5CFC3E, 0x9FBF8C76, 0x15CA20BE, 0xF2CA9FD3, 0x959BD756};

[[gnu::always_inline]] inline void MixRow(std::uint32_t* sums, const std::uint8_t* row) {
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    std::uint32_t value;
    std::memcpy(&value, row + lane * sizeof value, sizeof value);
    const std::uint32_t mixed = sums[lane] ^ value;
    sums[lane] = mixed * kFnvPrime ^ (mixed >> 17);
  }
}

[[gnu::always_inline]] inline std::uint32_t Checksum(const std::uint8_t* page,
                                                     std::size_t page_size) {
  std::uint32_t sums[kLanes];
  std::memcpy(sums, kBaseOffsets, sizeof sums);

  // The checksum field of the first row counts as zero. The page itself is not changed.
  std::uint8_t first_row[kRowSize];
  std::memcpy(first_row, page, kRowSize);
  std::memset(first_row + kChecksumOffset, 0, sizeof(std::uint16_t));
  MixRow(sums, first_row);
  for (std::size_t offset = kRowSize; offset < page_size; offset += kRowSize) {
    MixRow(sums, page + offset);
  }

  constexpr std::uint8_t kZeroRow[kRowSize] = {};
  MixRow(sums, kZeroRow);
  MixRow(sums, kZeroRow);

  std::uint32_t result = 0;
  for (const std::uint32_t sum : sums) {
    result ^= sum;
  }
  return result;
}

// The lanes were designed for vector instructions, which -O2 uses poorly on the base instruction
// set.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
[[gnu::target("avx2"), gnu::optimize("O3")]] std::uint32_t ChecksumAvx2(const std::uint8_t* page,
                                                                        std::size_t page_size) {
  return Checksum(page, page_size);
}
bool HaveAvx2() {
  static const bool have = __builtin_cpu_supports("avx2") != 0;
  return have;
}
#endif

std::uint32_t ChecksumBestWay(const std::uint8_t* page, std::size_t page_size) {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  if (HaveAvx2()) {
    return ChecksumAvx2(page, page_size);
  }
#endif
  return Checksum(page, page_size);
}

}  // namespace

Lsn PageLsn(const std::uint8_t* page) {
  const auto high = LoadLittleEndian<std::uint32_t>(page + kLsnOffset);
  const auto low = LoadLittleEndian<std::uint32_t>(page + kLsnOffset + 4);
  return Lsn{std::uint64_t{high} << 32 | low};
}

bool PageIsNew(const std::uint8_t* page) {
  return LoadLittleEndian<std::uint16_t>(page + kUpperOffset) == 0;
}

std::uint16_t StoredPageChecksum(const std::uint8_t* page) {
  return LoadLittleEndian<std::uint16_t>(page + kChecksumOffset);
}

bool PageIsMarkedAllVisible(const std::uint8_t* page) {
  return (LoadLittleEndian<std::uint16_t>(page + kFlagsOffset) & kAllVisibleFlag) != 0;
}

std::uint16_t ComputePageChecksum(const std::uint8_t* page, std::size_t page_size,
                                  std::uint32_t block) {
  return static_cast<std::uint16_t>((ChecksumBestWay(page, page_size) ^ block) % 65535 + 1);
}

bool IsAllZero(ByteView bytes) {
  // A buffer is all zero when its first byte is zero and every byte equals the one before it.
  return bytes.empty() ||
         (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

}  // namespace veza
