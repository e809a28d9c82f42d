#include "core/backup/wal_changes.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

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
    if (!pending_.empty() && pending_.back() == entry) {
      continue;
    }
    pending_.push_back(entry);
    if (pending_.size() >= most_pending_) {
      TakePending();
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
  const std::uint32_t number = NumberOf(file);
  if (limits_.size() <= number) {
    limits_.resize(std::size_t{number} + 1, kNoLimit);
  }
  limits_[number] = std::min(limits_[number], blocks);
}

void WalChanges::RequireFew(std::size_t relations) {
  if (relations > kMostRelations) {
    NoteDoubt(fmt::format("more than {} relations have changed", kMostRelations));
  }
}

std::uint32_t WalChanges::NumberOf(const RelationFile& file) {
  const std::uint32_t number = relations_.NumberOf(file, kMainFork);
  RequireFew(relations_.size());
  return number;
}

std::uint32_t WalChanges::LimitOf(std::uint32_t relation) const {
  return relation < limits_.size() ? limits_[relation] : kNoLimit;
}

// If the entries are too many, makes groups.
void WalChanges::TakePending() {
  std::ranges::sort(pending_);
  pending_.erase(std::unique(pending_.begin(), pending_.end()), pending_.end());
  entries_.Merge(pending_);
  pending_.clear();
  if (entries_.size() > most_entries_ && group_bits_ == 0) {
    group_bits_ = kGroupBits;
    entries_ = entries_.Transformed([this](std::uint64_t entry) {
      return Entry(static_cast<std::uint32_t>(entry >> 32),
                   static_cast<std::uint32_t>(entry) >> group_bits_);
    });
  }
  if (entries_.size() > most_entries_) {
    NoteDoubt(fmt::format("more than {} groups of blocks have changed", most_entries_));
    entries_ = NumberSet();
  }
}

void WalChanges::Finish() {
  TakePending();
  std::vector<std::uint64_t>().swap(pending_);
  entries_.Fit();
  relations_.Fit();
}

std::size_t WalChanges::memory() const {
  return entries_.memory() + pending_.capacity() * sizeof(std::uint64_t) + relations_.memory() +
         limits_.capacity() * sizeof(std::uint32_t);
}

bool WalChanges::IsAllNew(const RelationFile& file) const {
  return tablespaces_.contains(file.tablespace) ||
         databases_.contains({file.tablespace, file.database});
}

WalChanges::Answer WalChanges::In(const RelationFile& file, std::uint32_t first,
                                  std::uint32_t count) const {
  Answer answer;
  const std::optional<std::uint32_t> number = relations_.Look(file, kMainFork);
  const std::uint32_t limit = number ? LimitOf(*number) : kNoLimit;
  const std::uint64_t end = std::uint64_t{first} + count;
  if (IsAllNew(file) || limit <= first) {
    answer.all = true;
    return answer;
  }
  if (number) {
    const std::uint64_t last = Entry(*number, static_cast<std::uint32_t>(end - 1) >> group_bits_);
    entries_.VisitFrom(Entry(*number, first >> group_bits_), [&](std::uint64_t entry) {
      if (entry > last) {
        return false;
      }
      answer.some = group_bits_ > 0;
      answer.pages.push_back(static_cast<std::uint32_t>(entry) - first);
      return !answer.some;
    });
  }
  if (limit < end && !answer.some) {
    while (!answer.pages.empty() && answer.pages.back() + first >= limit) {
      answer.pages.pop_back();
    }
    for (std::uint64_t block = limit; block < end; ++block) {
      answer.pages.push_back(static_cast<std::uint32_t>(block - first));
    }
  }
  if (answer.some) {
    answer.pages.clear();
  }
  return answer;
}

}  // namespace veza
