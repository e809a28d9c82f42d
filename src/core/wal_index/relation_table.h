// Gives each fork of a relation a small number, in the order in which they come.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "core/wal_index/segment_index.h"

namespace veza {

// Not thread-safe. Its hash has a secret, so that nobody can choose relations that collide.
class RelationTable {
 public:
  RelationTable();

  // The numbers begin at 0 again.
  void Clear();
  std::uint32_t NumberOf(const RelationFile& file, std::uint8_t fork) {
    // The relations that are in use are few.
    std::uint32_t& recent = recent_[(file.relation * 4 + fork) % kRecent];
    if (recent >= forks_.size() || forks_[recent].file.relation != file.relation ||
        forks_[recent].fork != fork || forks_[recent].file != file) {
      recent = Find({file, fork});
    }
    return recent;
  }
  // The number of a fork, if it has one. Thread-safe while nobody gives numbers.
  std::optional<std::uint32_t> Look(const RelationFile& file, std::uint8_t fork) const;
  // The number of the relation's main fork, which stands for the relation.
  std::uint32_t file_of(std::uint32_t number) const { return files_[number]; }
  const RelationFork& operator[](std::uint32_t number) const { return forks_[number]; }
  std::size_t size() const { return forks_.size(); }

  // In bytes.
  std::size_t memory() const;
  // Frees the memory that growing has left.
  void Fit();

  // All numbers, in the order of relations and forks.
  std::vector<std::uint32_t> Ordered() const;

 private:
  static constexpr std::size_t kRecent = 256;

  std::uint32_t Find(const RelationFork& fork);
  std::uint32_t Add(const RelationFork& fork, std::size_t slot);
  std::size_t SlotOf(const RelationFork& fork) const;
  // The slot that has the fork, or a free one.
  std::size_t Search(const RelationFork& fork) const;
  void Grow();

  std::uint64_t secrets_[5];
  std::vector<RelationFork> forks_;
  std::vector<std::uint32_t> files_;
  std::vector<std::uint32_t> slots_;  // number + 1; 0: free
  unsigned shift_ = 0;                // of a hash, to get a slot
  std::array<std::uint32_t, kRecent> recent_{};
};

}  // namespace veza
