#include "core/wal_index/minutes.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace veza {
namespace {

// `each` is a power of two.
std::int64_t FirstOf(std::int64_t minute, std::uint64_t each) {
  return minute & ~static_cast<std::int64_t>(each - 1);
}

void AddTo(MinuteOfWal& to, const MinuteOfWal& more) {
  to.commits += more.commits;
  to.aborts += more.aborts;
  to.bytes += more.bytes;
  to.images += more.images;
  to.image_bytes += more.image_bytes;
}

}  // namespace

void MinuteList::Clear() {
  minutes_.assign(1, {});
  current_ = 0;
  has_end_ = false;
  each_ = 1;
}

void MinuteList::AddEnd(TimePoint time, bool committed) {
  const std::int64_t minute =
      std::chrono::floor<std::chrono::minutes>(time).time_since_epoch().count();
  if (!has_end_) {
    has_end_ = true;
    minutes_[0].minute = minute;
  }
  Find(minute);
  ++(committed ? minutes_[current_].commits : minutes_[current_].aborts);
}

void MinuteList::Find(std::int64_t minute) {
  if (minutes_[current_].minute == FirstOf(minute, each_)) {
    return;
  }
  for (;;) {
    const std::int64_t first = FirstOf(minute, each_);
    auto place = std::ranges::lower_bound(minutes_, first, {}, &MinuteOfWal::minute);
    if (place == minutes_.end() || place->minute != first) {
      if (minutes_.size() == kIndexMostMinutes) {
        Coarsen();
        continue;
      }
      place = minutes_.insert(place, MinuteOfWal{.minute = first});
    }
    current_ = static_cast<std::size_t>(place - minutes_.begin());
    return;
  }
}

void MinuteList::Coarsen() {
  each_ *= 2;
  std::vector<MinuteOfWal> coarser;
  for (MinuteOfWal& minute : minutes_) {
    minute.minute = FirstOf(minute.minute, each_);
    if (!coarser.empty() && coarser.back().minute == minute.minute) {
      AddTo(coarser.back(), minute);
    } else {
      coarser.push_back(minute);
    }
  }
  minutes_ = std::move(coarser);
}

void MinuteList::MoveTo(SegmentSummary& summary) {
  const bool is_empty = !has_end_ && minutes_[0].bytes == 0;
  summary.minutes = is_empty ? std::vector<MinuteOfWal>() : std::exchange(minutes_, {});
  summary.minutes_each = each_;
  Clear();
}

}  // namespace veza
