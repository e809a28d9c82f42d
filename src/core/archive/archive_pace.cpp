#include "core/archive/archive_pace.h"

#include <algorithm>
#include <limits>

namespace veza {
namespace {

constexpr std::chrono::seconds kWindow{60};
// Bounds the memory while nothing is archived for days: beyond this, every other mark is dropped.
constexpr std::size_t kMaxMarks = 1024;

std::chrono::seconds Divide(std::uint64_t bytes, double rate) {
  const double seconds = static_cast<double>(bytes) / rate;
  constexpr auto kMost = static_cast<double>(std::numeric_limits<std::int32_t>::max());
  return std::chrono::seconds(static_cast<std::int64_t>(std::min(seconds, kMost)));
}

}  // namespace

void ArchivePace::Observe(const ArchiveObservation& observation) {
  for (auto mark = marks_.rbegin(); mark != marks_.rend() && mark->at > observation.at; ++mark) {
    mark->at = observation.at;
  }
  marks_.push_back({observation.at, observation.important});
  while (marks_.size() > 1 && marks_[1].important <= observation.archived) {
    marks_.pop_front();
  }
  if (marks_.size() > kMaxMarks) {
    std::size_t place = 0;
    std::erase_if(marks_, [&](const Mark&) { return place++ % 2 == 1; });
  }
  recent_.push_back(observation);
  while (recent_.size() > 2 && observation.steady - recent_[1].steady >= kWindow) {
    recent_.pop_front();
  }
}

std::optional<TimePoint> ArchivePace::exposed_since() const {
  if (recent_.empty() || recent_.back().important <= recent_.back().archived) {
    return std::nullopt;
  }
  return marks_.front().at;
}

namespace {

double Rate(const std::deque<ArchiveObservation>& recent, Lsn ArchiveObservation::*position) {
  if (recent.size() < 2) {
    return 0;
  }
  const auto& first = recent.front();
  const auto& last = recent.back();
  const std::chrono::duration<double> time = last.steady - first.steady;
  if (time < std::chrono::seconds(1) || last.*position <= first.*position) {
    return 0;
  }
  return static_cast<double>((last.*position).value - (first.*position).value) / time.count();
}

}  // namespace

double ArchivePace::written_rate() const {
  return Rate(recent_, &ArchiveObservation::written);
}

double ArchivePace::archived_rate() const {
  return Rate(recent_, &ArchiveObservation::archived);
}

std::optional<std::chrono::seconds> TimeToDrain(std::uint64_t backlog, double written_rate,
                                                double archived_rate) {
  if (backlog == 0) {
    return std::chrono::seconds(0);
  }
  if (archived_rate <= written_rate) {
    return std::nullopt;
  }
  return Divide(backlog, archived_rate - written_rate);
}

std::optional<std::chrono::seconds> TimeUntilFull(std::uint64_t free, double written_rate,
                                                  double archived_rate) {
  if (written_rate <= archived_rate) {
    return std::nullopt;
  }
  return Divide(free, written_rate - archived_rate);
}

}  // namespace veza
