#include "core/backup/number_set.h"

#include <utility>

namespace veza {

void NumberSet::Append(std::uint64_t number) {
  if (size_ % kMarkEach == 0) {
    marks_.push_back({number, bytes_.size()});
  } else {
    const std::size_t size = bytes_.size();
    bytes_.resize(size + kLongestVarint);
    const std::uint8_t* const end = StoreVarint(bytes_.data() + size, number - last_);
    bytes_.resize(static_cast<std::size_t>(end - bytes_.data()));
  }
  last_ = number;
  ++size_;
}

void NumberSet::Merge(std::span<const std::uint64_t> numbers) {
  NumberSet merged;
  auto next = numbers.begin();
  VisitFrom(0, [&](std::uint64_t number) {
    while (next != numbers.end() && *next < number) {
      merged.Append(*next++);
    }
    if (next != numbers.end() && *next == number) {
      ++next;
    }
    merged.Append(number);
    return true;
  });
  while (next != numbers.end()) {
    merged.Append(*next++);
  }
  *this = std::move(merged);
}

void NumberSet::Fit() {
  bytes_.shrink_to_fit();
  marks_.shrink_to_fit();
}

}  // namespace veza
