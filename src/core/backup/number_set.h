// A set of many numbers of 64 bits, in little memory.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/bytes.h"
#include "core/codec/varint.h"

namespace veza {

// Holds the differences of neighbours, as numbers of variable length. A number takes a byte if the
// difference is below 128, two below 16384, ten at most, and a quarter of a byte more. Thread-safe
// for readers while nobody changes it.
class NumberSet {
 public:
  std::size_t size() const { return size_; }
  // In bytes.
  std::size_t memory() const { return bytes_.capacity() + marks_.capacity() * sizeof(Mark); }

  // Adds `numbers`, which are ascending; none may come twice among them. Takes the time and the
  // memory to write the whole set anew.
  void Merge(std::span<const std::uint64_t> numbers);
  // Frees the memory that growing has left.
  void Fit();

  // Visits the numbers from `first` on, ascending, until the visitor returns false.
  template <typename Visitor>
  void VisitFrom(std::uint64_t first, Visitor visit) const {
    const auto behind = std::ranges::upper_bound(marks_, first, {}, &Mark::number);
    const std::size_t begin = static_cast<std::size_t>(behind - marks_.begin());
    for (std::size_t mark = begin > 0 ? begin - 1 : 0; mark < marks_.size(); ++mark) {
      VarintReader differences(ByteView(bytes_).subspan(marks_[mark].at));
      std::uint64_t number = marks_[mark].number;
      for (std::size_t left = std::min(kMarkEach, size_ - mark * kMarkEach); left > 0; --left) {
        if (number >= first && !visit(number)) {
          return;
        }
        number += left > 1 ? differences.Take() : 0;
      }
    }
  }

  // The set of what `change` makes of each number. It must keep their order; some may become equal.
  template <typename Change>
  NumberSet Transformed(Change change) const {
    NumberSet set;
    VisitFrom(0, [&](std::uint64_t number) {
      if (const std::uint64_t changed = change(number); set.size_ == 0 || changed != set.last_) {
        set.Append(changed);
      }
      return true;
    });
    return set;
  }

 private:
  // Of so many numbers, the first can be found.
  static constexpr std::size_t kMarkEach = 64;
  struct Mark {
    std::uint64_t number = 0;
    std::uint64_t at = 0;  // the difference to the next number, in bytes_
  };

  void Append(std::uint64_t number);  // higher than all

  std::size_t size_ = 0;
  std::uint64_t last_ = 0;
  Bytes bytes_;
  std::vector<Mark> marks_;
};

}  // namespace veza
