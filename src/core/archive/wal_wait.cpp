#include "core/archive/wal_wait.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/repository/names.h"
#include "core/storage/body.h"

namespace veza {

namespace {

// The archiver usually needs some 100 ms; an outage of the store may last for hours.
constexpr std::chrono::milliseconds kFirstPause{20};
constexpr std::chrono::milliseconds kLongestPause{500};
// A look that took so long has met an outage. The archiver needs time to go on after one.
constexpr std::chrono::seconds kOutage{10};
// How often to look whether earlier WAL is still arriving. That takes a listing.
constexpr std::chrono::seconds kLookBehind{30};
constexpr int kLooksBehind = 4;  // at least so many before patience ends
// When more are missing, it is enough to see the first ones arrive.
constexpr SegmentNumber kMostMissing = 10'000;

// The segments before those that are waited for. While these do not arrive, the archiver may be
// busy with thousands of older ones.
class Backlog {
 public:
  Backlog(const WalArchive& archive, const WalWait& wait) : archive_(archive), wait_(wait) {}

  // Whether a newer one has arrived since the last look. The first look says no.
  Result<bool> Moved() {
    const std::string before = newest_;
    ASSIGN_OR_RETURN(
        const std::vector<WalRange> ranges,
        archive_.Ranges(wait_.segment_size, before.empty()
                                                ? SegmentName(wait_.timeline, 0, wait_.segment_size)
                                                : before));
    const std::string end = SegmentName(wait_.timeline, wait_.first, wait_.segment_size);
    for (const WalRange& range : ranges) {
      if (range.timeline == wait_.timeline && range.first < end) {
        newest_ = std::max(newest_, std::min(range.last, end));
      }
    }
    return std::exchange(looked_, true) && newest_ != before;
  }

 private:
  const WalArchive& archive_;
  const WalWait& wait_;
  std::string newest_;  // empty when there is none
  bool looked_ = false;
};

}  // namespace

Status WaitForWal(const WalArchive& archive, const Environment& environment, const WalWait& wait) {
  const Clock& clock = *environment.clock;
  const auto limit = static_cast<std::size_t>(std::min(wait.last - wait.first + 1, kMostMissing));
  const std::chrono::milliseconds look_behind = std::min<std::chrono::milliseconds>(
      kLookBehind, std::chrono::milliseconds(wait.patience) / kLooksBehind);
  Backlog backlog(archive, wait);
  std::vector<std::string> missing_before;
  SteadyTime last_progress = clock.Steady();
  SteadyTime without_outage = last_progress;  // since when patience counts
  SteadyTime looked_behind = last_progress;
  for (auto pause = kFirstPause;; pause = std::min(pause * 3 / 2, kLongestPause)) {
    const SteadyTime began = clock.Steady();
    ASSIGN_OR_RETURN(
        std::vector<std::string> missing,
        archive.Missing(wait.timeline, wait.first, wait.last, wait.segment_size, limit));
    if (missing.empty()) {
      return Ok();
    }
    if (wait.obstacle) {
      RETURN_IF_ERROR(wait.obstacle(missing.front()));
    }
    bool progress = missing != missing_before;
    if (!progress && clock.Steady() - looked_behind >= look_behind) {
      ASSIGN_OR_RETURN(progress, backlog.Moved());
      looked_behind = clock.Steady();
    }
    missing_before = std::move(missing);
    const SteadyTime now = clock.Steady();
    if (progress) {
      last_progress = now;
    }
    if (progress || now - began >= kOutage) {
      without_outage = now;
    }
    if (now - without_outage >= wait.patience ||
        now - last_progress >= wait.patience + wait.longest_outage) {
      // With an empty object in its place it never arrives, and the error is another one.
      RETURN_IF_ERROR(archive.RequireNotEmpty(missing_before.front()));
      const auto waited = std::chrono::duration_cast<std::chrono::seconds>(now - last_progress);
      return MakeError(
          ErrorCode::kDeadlineExceeded,
          "WAL segment \"{}\", which backup \"{}\" needs, did not reach the "
          "repository within {} s",
          missing_before.front(), wait.label,
          now - without_outage >= wait.patience ? wait.patience.count() : waited.count());
    }
    if (!clock.Sleep(pause, environment.cancellation.get())) {
      return Cancelled();
    }
  }
}

Status RequireRoomForWal(const Repository& repository, std::uint64_t segment_size) {
  const std::string name = std::string(kProbePrefix) + "room";
  // No file system can compress it: none looks for repetitions over such a distance.
  constexpr std::size_t kNoise = 1 << 20;
  Bytes noise(kNoise);
  repository.environment().random->Fill(noise);
  RepeatedBody body(noise, segment_size);
  Status put = repository.store().Put(name, body, PutMode::kReplace);
  // Also after a failure: the object may have been stored nevertheless.
  [[maybe_unused]] const Status removed = repository.store().Delete(name);
  return put;
}

bool IsAbandoned(const TimelineHistory& history, TimelineId timeline, SegmentNumber segment,
                 std::uint64_t segment_size) {
  if (history.timeline == timeline) {
    return false;
  }
  for (const TimelineSwitch& ancestor : history.ancestors) {
    if (ancestor.timeline == timeline) {
      return segment >= SegmentOf(ancestor.switch_point, segment_size);
    }
  }
  return true;  // the server has gone on along another branch
}

}  // namespace veza
