// Sorts numbers without comparing them, in time that is linear in how many there are.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

namespace veza {

// Ascending, and stable. Only the bits of `mask` count; those in which no two numbers differ cost
// next to nothing. `scratch` is memory that is used again.
inline void RadixSort(std::vector<std::uint64_t>& numbers, std::vector<std::uint64_t>& scratch,
                      std::uint64_t mask = ~std::uint64_t{0}) {
  constexpr unsigned kBits = 11;
  constexpr std::size_t kBuckets = std::size_t{1} << kBits;
  std::uint64_t any = 0;
  std::uint64_t all = ~std::uint64_t{0};
  for (const std::uint64_t number : numbers) {
    any |= number;
    all &= number;
  }
  const std::uint64_t differ = any & ~all & mask;
  scratch.resize(numbers.size());
  for (unsigned shift = 0; shift < 64 && differ >> shift != 0;) {
    // Begins at a bit in which they differ.
    if ((differ >> shift & 1) == 0) {
      ++shift;
      continue;
    }
    const std::uint64_t digit = mask >> shift & (kBuckets - 1);
    std::array<std::uint32_t, kBuckets> place{};
    for (const std::uint64_t number : numbers) {
      ++place[number >> shift & digit];
    }
    std::uint32_t begin = 0;
    for (std::uint32_t& count : place) {
      begin += count;
      count = begin - count;
    }
    for (const std::uint64_t number : numbers) {
      scratch[place[number >> shift & digit]++] = number;
    }
    numbers.swap(scratch);
    shift += kBits;
  }
}

}  // namespace veza
