#include "core/archive/index_groups.h"

#include <algorithm>
#include <iterator>

namespace veza {

std::size_t MemoryOf(const SegmentIndex& index) {
  return sizeof index + index.events.capacity() + index.blocks.capacity() +
         index.transactions.capacity() +
         index.summary.minutes.capacity() * sizeof index.summary.minutes[0];
}

bool IndexGroups::Fit(const Run& run, std::size_t segments, std::size_t bytes) const {
  return run.group.indexes.size() + segments <= limits_.segments &&
         run.bytes + bytes <= limits_.bytes;
}

// The run that ends right before the segment.
IndexGroups::Runs::iterator IndexGroups::RunBefore(const Key& key) {
  auto run = runs_.lower_bound(key);
  if (run == runs_.begin()) {
    return runs_.end();
  }
  --run;
  const bool is_neighbour = run->first.first == key.first &&
                            run->first.second + run->second.group.indexes.size() == key.second;
  return is_neighbour ? run : runs_.end();
}

void IndexGroups::Add(SegmentIndex index, SteadyTime now) {
  const Key key{index.summary.timeline, index.summary.number};
  const std::size_t bytes = MemoryOf(index);
  memory_ += bytes;
  auto run = RunBefore(key);
  if (run == runs_.end() || !Fit(run->second, 1, bytes)) {
    // The same segment may come twice: then the newer index stays.
    run = runs_.try_emplace(key).first;
    Run& fresh = run->second;
    if (!fresh.group.indexes.empty()) {
      memory_ -= MemoryOf(fresh.group.indexes.front());
      fresh.bytes += bytes - MemoryOf(fresh.group.indexes.front());
      fresh.group.indexes.front() = std::move(index);
      return;
    }
    fresh.group.since = now;
  }
  run->second.bytes += bytes;
  run->second.group.indexes.push_back(std::move(index));
  JoinNext(run);
  StayBelowLimit();
}

void IndexGroups::JoinNext(Runs::iterator run) {
  const auto next =
      runs_.find({run->first.first, run->first.second + run->second.group.indexes.size()});
  if (next == runs_.end() ||
      !Fit(run->second, next->second.group.indexes.size(), next->second.bytes)) {
    return;
  }
  std::ranges::move(next->second.group.indexes, std::back_inserter(run->second.group.indexes));
  run->second.bytes += next->second.bytes;
  run->second.group.since = std::min(run->second.group.since, next->second.group.since);
  runs_.erase(next);
}

// A run whose neighbour waits as well could not take it, so it is full.
SteadyTime IndexGroups::DueAt(Runs::const_iterator run) const {
  const Group& group = run->second.group;
  const bool is_full = group.indexes.size() >= limits_.segments ||
                       run->second.bytes >= limits_.bytes ||
                       runs_.contains({run->first.first, run->first.second + group.indexes.size()});
  return is_full ? group.since : group.since + limits_.age;
}

IndexGroups::Runs::iterator IndexGroups::Longest() {
  return std::ranges::min_element(runs_, {},
                                  [](const auto& run) { return run.second.group.since; });
}

void IndexGroups::StayBelowLimit() {
  while (memory_ > limits_.memory && runs_.size() > 1) {
    const auto run = Longest();
    given_up_ += run->second.group.indexes.size();
    memory_ -= run->second.bytes;
    runs_.erase(run);
  }
}

std::optional<IndexGroups::Group> IndexGroups::TakeDue(SteadyTime now) {
  auto found = runs_.end();
  for (auto run = runs_.begin(); run != runs_.end(); ++run) {
    if (DueAt(run) <= now &&
        (found == runs_.end() || run->second.group.since < found->second.group.since)) {
      found = run;
    }
  }
  if (found == runs_.end()) {
    return std::nullopt;
  }
  Group group = std::move(found->second.group);
  memory_ -= found->second.bytes;
  runs_.erase(found);
  return group;
}

std::optional<SteadyTime> IndexGroups::NextDue() const {
  std::optional<SteadyTime> next;
  for (auto run = runs_.begin(); run != runs_.end(); ++run) {
    const SteadyTime due = DueAt(run);
    next = next ? std::min(*next, due) : due;
  }
  return next;
}

void IndexGroups::PutBack(Group group) {
  const SegmentSummary& first = group.indexes.front().summary;
  const auto [run, is_new] = runs_.try_emplace({first.timeline, first.number});
  if (!is_new) {
    return;  // its first segment was archived again meanwhile
  }
  run->second.group = std::move(group);
  for (const SegmentIndex& index : run->second.group.indexes) {
    run->second.bytes += MemoryOf(index);
  }
  memory_ += run->second.bytes;
  StayBelowLimit();
}

}  // namespace veza
