#include "pg/archive/archive_watch.h"

#include <algorithm>
#include <chrono>
#include <utility>

//
#include "pg/archive/archive_pace_watch.h"
#include "pg/archive/archiving.h"
#include "pg/archive/index_watch.h"
#include "pg/archive/streamed_wal.h"
#include "pg/compat.h"
#include "pg/shared/shared_archive.h"
#include "pg/shared/shared_archive_watch.h"

namespace veza::pg {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLongestNap{3'600'000};
// Short, because the first checkpoint after a promotion may remove what a standby has streamed
// since its last nap.
constexpr milliseconds kNapInRecovery{1000};
constexpr milliseconds kNapWhileSurveying{200};

milliseconds Until(SteadyTime time) {
  return std::max(milliseconds(10), std::chrono::ceil<milliseconds>(time - SystemClock().Steady()));
}

milliseconds WatchStandby() {
  ForgetObservation();
  StopSurvey();
  StopIndexing();
  SurveyArchiveSoon();  // after a promotion
  LookAtIndexSoon();
  WatchStreamedWal();
  return kNapInRecovery;
}

WatchOutcome WatchPrimary(const Config& config, const ServerFacts& facts, bool promoted) {
  WatchStreamedWal();
  ObserveArchive(config.archive.max_age, promoted);
  const SurveyOutcome outcome =
      WatchSurvey(config, facts, GetWALInsertionTimeLine(), Lsn{GetXLogWriteRecPtr()});
  const milliseconds nap =
      IsSurveying() ? kNapWhileSurveying : std::min(Until(NextObservation()), Until(NextSurvey()));
  return {.nap_ms = std::min<long>(nap.count(), WatchIndex(config, facts)), .survey = outcome};
}

}  // namespace

WatchOutcome WatchArchive(const Config* config, const ServerFacts& facts) {
  static bool was_primary = false;
  if (config == nullptr || !ArchivesWithVeza()) {
    ForgetObservation();
    StopSurvey();
    StopIndexing();
    return {.nap_ms = kLongestNap.count(), .survey = {}};
  }
  if (RecoveryInProgress()) {
    was_primary = false;
    return {.nap_ms = WatchStandby().count(), .survey = {}};
  }
  return WatchPrimary(*config, facts, !std::exchange(was_primary, true));
}

}  // namespace veza::pg
