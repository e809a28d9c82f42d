#include "core/backup/wal_changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace veza {
namespace {

// Groups of 128 blocks are extents of 1 MiB at the usual block size. Larger ones say too little.
constexpr std::uint32_t kGroupBits = 7;

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <typename... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

}  // namespace

void WalChanges::NoteBlocks(const RelationFile& file, std::uint8_t fork, std::uint32_t first,
                            std::uint32_t count) {
  if (!doubt_.empty()) {
    return;
  }
  if (fork > kInitFork) {
    NoteDoubt(
        fmt::format("WAL names fork {} of relation {}, which does not exist", fork, file.relation));
    return;
  }
  if (fork != kMainFork) {
    return;
  }
  if (count > most_entries_ || first > std::numeric_limits<std::uint32_t>::max() - count) {
    NoteDoubt(fmt::format("WAL names {} blocks of relation {} from block {} on", count,
                          file.relation, first));
    return;
  }
  const std::uint32_t number = NumberOf(file);
  const std::uint64_t end = std::uint64_t{first} + count;
  for (std::uint64_t block = first; block < end && doubt_.empty();
       block = ((block >> group_bits_) + 1) << group_bits_) {
    const std::uint64_t entry = Entry(number, static_cast<std::uint32_t>(block >> group_bits_));
    if (!entries_.empty() && entries_.back() == entry) {
      continue;
    }
    entries_.push_back(entry);
    if (entries_.size() >= std::max<std::size_t>(2 * sorted_, most_entries_ / 8) ||
        entries_.size() >= most_entries_ + most_entries_ / 4) {
      Compact();
    }
  }
}

void WalChanges::NoteFact(Lsn lsn, const WalFact& fact) {
  if (!doubt_.empty()) {
    return;
  }
  std::visit(
      Overloaded{
          [&](const UnknownFact& unknown) {
            NoteDoubt(fmt::format("the WAL record at {} is not understood: {}", FormatLsn(lsn),
                                  unknown.reason));
          },
          [&](const TransactionEnd& end) {
            for (const RelationFile& file : end.dropped) {
              Cut(file, 0);
            }
          },
          [&](const RelationCreated& created) {
            if (created.fork == kMainFork) {
              Cut(created.file, 0);
            }
          },
          [&](const RelationTruncated& truncated) {
            if (truncated.main) {
              Cut(truncated.file, truncated.blocks);
            }
          },
          [&](const DatabaseCopied& copied) { RenewDatabase(copied.tablespace, copied.database); },
          [&](const DatabaseCreated& created) {
            RenewDatabase(created.tablespace, created.database);
          },
          [&](const DatabaseDropped& dropped) {
            for (const std::uint32_t tablespace : dropped.tablespaces) {
              RenewDatabase(tablespace, dropped.database);
            }
          },
          [&](const TablespaceCreated& created) { RenewTablespace(created.tablespace); },
          [&](const TablespaceDropped& dropped) { RenewTablespace(dropped.tablespace); },
          [&](const CheckpointMade& checkpoint) {
            if (checkpoint.wal_level) {
              RequireWal(lsn, *checkpoint.wal_level);
            }
          },
          [&](const CheckpointBegun& checkpoint) { RequireWal(lsn, checkpoint.wal_level); },
          [&](const ParametersChanged& parameters) { RequireWal(lsn, parameters.wal_level); },
          [&](const RecoveryEnded& recovery) {
            if (recovery.wal_level) {
              RequireWal(lsn, *recovery.wal_level);
            }
          },
          [&](const ChecksumsChanged&) {
            NoteDoubt(fmt::format("data checksums were switched at {}", FormatLsn(lsn)));
          },
          // These change no file of a relation. All kinds are named here, so that a new one does
          // not compile before it was thought about.
          [](const NothingMore&) {}, [](const TransactionPrepared&) {},
          [](const RestorePointMade&) {}, [](const FullPageWritesChanged&) {},
          [](const SegmentSwitched&) {}, [](const RecordOverwritten&) {}},
      fact);
}

void WalChanges::NoteDoubt(std::string reason) {
  if (doubt_.empty()) {
    doubt_ = std::move(reason);
  }
}

// Without WAL, pages may be written that no record names.
void WalChanges::RequireWal(Lsn lsn, WalLevel level) {
  if (level == WalLevel::kMinimal) {
    NoteDoubt(fmt::format("wal_level was minimal at {}", FormatLsn(lsn)));
  }
}

void WalChanges::RenewDatabase(std::uint32_t tablespace, std::uint32_t database) {
  databases_.emplace(tablespace, database);
  RequireFew(databases_.size());
}

void WalChanges::RenewTablespace(std::uint32_t tablespace) {
  tablespaces_.insert(tablespace);
  RequireFew(tablespaces_.size());
}

void WalChanges::Cut(const RelationFile& file, std::uint32_t blocks) {
  const auto [limit, is_new] = limits_.try_emplace(file, blocks);
  limit->second = std::min(limit->second, blocks);
  RequireFew(limits_.size());
}

void WalChanges::RequireFew(std::size_t relations) {
  if (relations > kMostRelations) {
    NoteDoubt(fmt::format("more than {} relations have changed", kMostRelations));
  }
}

std::uint32_t WalChanges::NumberOf(const RelationFile& file) {
  if (numbers_.empty() || last_.first != file) {
    const auto number = static_cast<std::uint32_t>(numbers_.size());
    last_ = {file, numbers_.try_emplace(file, number).first->second};
    RequireFew(numbers_.size());
  }
  return last_.second;
}

// Sorts the entries, and leaves each of them once. If they are still too many, makes groups.
void WalChanges::Compact() {
  std::ranges::sort(entries_);  // in place: a merge would take as much memory again
  entries_.erase(std::unique(entries_.begin(), entries_.end()), entries_.end());
  if (entries_.size() > most_entries_ && group_bits_ == 0) {
    group_bits_ = kGroupBits;
    for (std::uint64_t& entry : entries_) {
      entry = Entry(static_cast<std::uint32_t>(entry >> 32),
                    static_cast<std::uint32_t>(entry) >> group_bits_);
    }
    entries_.erase(std::unique(entries_.begin(), entries_.end()), entries_.end());
  }
  if (entries_.size() > most_entries_) {
    NoteDoubt(fmt::format("more than {} groups of blocks have changed", most_entries_));
    entries_.clear();
  }
  sorted_ = entries_.size();
}

void WalChanges::Finish() {
  Compact();
  entries_.shrink_to_fit();
}

bool WalChanges::IsAllNew(const RelationFile& file) const {
  return tablespaces_.contains(file.tablespace) ||
         databases_.contains({file.tablespace, file.database});
}

WalChanges::Answer WalChanges::In(const RelationFile& file, std::uint32_t first,
                                  std::uint32_t count) const {
  Answer answer;
  const auto limit = limits_.find(file);
  const std::uint64_t end = std::uint64_t{first} + count;
  if (IsAllNew(file) || (limit != limits_.end() && limit->second <= first)) {
    answer.all = true;
    return answer;
  }
  const auto number = numbers_.find(file);
  if (number != numbers_.end()) {
    const std::uint64_t last = Entry(number->second, static_cast<std::uint32_t>(end - 1));
    for (auto entry =
             std::ranges::lower_bound(entries_, Entry(number->second, first >> group_bits_));
         entry != entries_.end() && (*entry >> 32) == number->second &&
         (*entry & 0xFFFFFFFFU) <= (static_cast<std::uint32_t>(last) >> group_bits_);
         ++entry) {
      if (group_bits_ > 0) {
        answer.some = true;
        break;
      }
      answer.pages.push_back(static_cast<std::uint32_t>(*entry) - first);
    }
  }
  if (limit != limits_.end() && limit->second < end && !answer.some) {
    while (!answer.pages.empty() && answer.pages.back() + first >= limit->second) {
      answer.pages.pop_back();
    }
    for (std::uint32_t block = limit->second; block < end; ++block) {
      answer.pages.push_back(block - first);
    }
  }
  if (answer.some) {
    answer.pages.clear();
  }
  return answer;
}

}  // namespace veza
