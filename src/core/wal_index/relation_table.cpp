#include "core/wal_index/relation_table.h"

#include <algorithm>
#include <numeric>

namespace veza {
namespace {

constexpr unsigned kSmallestLog = 8;

}  // namespace

RelationTable::RelationTable() {
  SystemRandom().Fill({reinterpret_cast<std::uint8_t*>(secrets_), sizeof secrets_});
  Clear();
}

void RelationTable::Clear() {
  forks_.clear();
  files_.clear();
  slots_.assign(std::size_t{1} << kSmallestLog, 0);
  shift_ = 64 - kSmallestLog;
  recent_.fill(0);
}

// The highest bits of a sum of products with random numbers: any two relations collide by chance
// only.
std::size_t RelationTable::SlotOf(const RelationFork& fork) const {
  const std::uint64_t hash = secrets_[0] + secrets_[1] * fork.file.relation +
                             secrets_[2] * fork.file.database + secrets_[3] * fork.file.tablespace +
                             secrets_[4] * fork.fork;
  return hash >> shift_;
}

std::size_t RelationTable::Search(const RelationFork& fork) const {
  std::size_t slot = SlotOf(fork);
  while (slots_[slot] != 0 && forks_[slots_[slot] - 1] != fork) {
    slot = (slot + 1) & (slots_.size() - 1);
  }
  return slot;
}

std::uint32_t RelationTable::Find(const RelationFork& fork) {
  const std::size_t slot = Search(fork);
  return slots_[slot] != 0 ? slots_[slot] - 1 : Add(fork, slot);
}

std::optional<std::uint32_t> RelationTable::Look(const RelationFile& file,
                                                 std::uint8_t fork) const {
  const std::uint32_t found = slots_[Search({file, fork})];
  return found != 0 ? std::optional(found - 1) : std::nullopt;
}

std::size_t RelationTable::memory() const {
  return forks_.capacity() * sizeof(RelationFork) +
         (files_.capacity() + slots_.capacity()) * sizeof(std::uint32_t);
}

void RelationTable::Fit() {
  forks_.shrink_to_fit();
  files_.shrink_to_fit();
}

std::uint32_t RelationTable::Add(const RelationFork& fork, std::size_t slot) {
  const auto number = static_cast<std::uint32_t>(forks_.size());
  forks_.push_back(fork);
  files_.push_back(number);
  slots_[slot] = number + 1;
  if (2 * forks_.size() > slots_.size()) {
    Grow();
  }
  if (fork.fork != kMainFork) {
    files_[number] = Find({fork.file, kMainFork});
  }
  return number;
}

void RelationTable::Grow() {
  slots_.assign(2 * slots_.size(), 0);
  --shift_;
  for (std::uint32_t number = 0; number < forks_.size(); ++number) {
    std::size_t slot = SlotOf(forks_[number]);
    while (slots_[slot] != 0) {
      slot = (slot + 1) & (slots_.size() - 1);
    }
    slots_[slot] = number + 1;
  }
}

std::vector<std::uint32_t> RelationTable::Ordered() const {
  std::vector<std::uint32_t> order(forks_.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::sort(order, {}, [this](std::uint32_t number) { return forks_[number]; });
  return order;
}

}  // namespace veza
