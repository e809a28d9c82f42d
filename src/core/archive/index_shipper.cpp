#include "core/archive/index_shipper.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "core/repository/entrance.h"
#include "core/wal_index/index_object.h"

namespace veza {

namespace {

// Linux has a priority for each thread.
void YieldToOthers() {
  constexpr int kNice = 10;
  [[maybe_unused]] const int set =
      setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), kNice);
}

}  // namespace

IndexShipper::IndexShipper(const Options& options, Opener open, Environment environment)
    : options_(options),
      open_(std::move(open)),
      environment_(std::move(environment)),
      groups_(options.limits) {}

IndexShipper::~IndexShipper() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.Join();
}

Status IndexShipper::Start() {
  RETURN_IF_ERROR(thread_.Start([this] { Work(); }));
  const std::lock_guard lock(mutex_);
  started_ = true;
  return Ok();
}

void IndexShipper::Add(SegmentIndex index) {
  {
    const std::lock_guard lock(mutex_);
    if (!started_) {
      ++counters_.given_up;
      return;
    }
    groups_.Add(std::move(index), environment_.clock->Steady());
  }
  wake_.notify_all();
}

IndexCounters IndexShipper::counters() const {
  const std::lock_guard lock(mutex_);
  IndexCounters counters = counters_;
  counters.given_up += groups_.given_up();
  counters.memory = groups_.memory();
  return counters;
}

// When memory is used up, an index is given up, and not the process.
void IndexShipper::Work() {
  YieldToOthers();
  bool goes_on = true;
  while (goes_on) {
    const Status done = CatchExceptions([&] {
      goes_on = StoreNext();
      return Ok();
    });
    if (!done) {
      const std::lock_guard lock(mutex_);
      not_before_ = environment_.clock->Steady() + options_.pause;
      ++counters_.failures;
    }
  }
}

// False at the end.
bool IndexShipper::StoreNext() {
  std::optional<IndexGroups::Group> group = WaitForGroup();
  if (!group) {
    return false;
  }
  const std::size_t before = group->indexes.size();
  const Status stored = CatchExceptions([&] { return Store(*group); });
  const std::size_t segments = before - group->indexes.size();
  Note(stored, segments, std::move(*group));
  return true;
}

// None at the end.
std::optional<IndexGroups::Group> IndexShipper::WaitForGroup() {
  std::unique_lock lock(mutex_);
  for (;;) {
    if (stopping_) {
      return std::nullopt;
    }
    const std::optional<SteadyTime> due = groups_.NextDue();
    if (!due) {
      wake_.wait(lock);
      continue;
    }
    const SteadyTime begin = std::max(*due, not_before_);
    const SteadyTime now = environment_.clock->Steady();
    if (begin > now) {
      wake_.wait_for(lock, begin - now);
    } else if (std::optional<IndexGroups::Group> group = groups_.TakeDue(now)) {
      return group;
    }
  }
}

// Takes what it has stored out of the group.
Status IndexShipper::Store(IndexGroups::Group& group) {
  if (!repository_) {
    ASSIGN_OR_RETURN(repository_, open_());
  }
  while (!group.indexes.empty()) {
    RETURN_IF_ERROR(StoreSome(group));
  }
  return Ok();
}

Status IndexShipper::StoreSome(IndexGroups::Group& group) {
  IndexObjectWriter writer(*repository_, options_.system_identifier);
  auto next = group.indexes.begin();
  for (; next != group.indexes.end() && writer.Fits(*next); ++next) {
    writer.Add(*next);  // a copy: the group is tried again if it cannot be stored
  }
  if (next == group.indexes.begin()) {
    return MakeError(ErrorCode::kInternal, "the index of a segment does not fit into an object");
  }
  RETURN_IF_ERROR(writer.Store());
  group.indexes.erase(group.indexes.begin(), next);
  return Ok();
}

void IndexShipper::Note(const Status& stored, std::size_t segments, IndexGroups::Group group) {
  const std::lock_guard lock(mutex_);
  counters_.segments += segments;
  if (stored) {
    counters_.error.reset();
    return;
  }
  repository_.reset();
  ++counters_.failures;
  counters_.error = stored.error();
  not_before_ = environment_.clock->Steady() + options_.pause;
  if (!group.indexes.empty()) {
    groups_.PutBack(std::move(group));
  }
}

}  // namespace veza
