#include "pg/shared/shared_archive_watch.h"

#include "pg/shared/shared_state.h"

namespace veza::pg {

void ReportObservation(std::int64_t at_us, double written_rate, double archived_rate,
                       std::int64_t exposed_since_us) {
  UpdatePart<&SharedState::archive_watch>([=](SharedArchiveWatch& watch) {
    watch.observed_us = at_us;
    watch.written_rate = written_rate;
    watch.archived_rate = archived_rate;
    watch.exposed_since_us = exposed_since_us;
  });
}

void ReportSurvey(std::int64_t at_us, std::uint32_t gaps, std::uint32_t lost,
                  const char* first_gap) {
  UpdatePart<&SharedState::archive_watch>([=](SharedArchiveWatch& watch) {
    watch.surveyed_us = at_us;
    watch.gaps = gaps;
    watch.lost = lost;
    strlcpy(watch.first_gap, first_gap, sizeof watch.first_gap);
  });
}

void ReportIndexLook(std::int64_t at_us, std::uint64_t missing, std::uint64_t unreadable) {
  UpdatePart<&SharedState::archive_watch>([=](SharedArchiveWatch& watch) {
    watch.index_looked_us = at_us;
    watch.index_missing = missing;
    watch.index_unreadable = unreadable;
  });
}

void ReportIndexFailure() {
  UpdatePart<&SharedState::archive_watch>(
      [](SharedArchiveWatch& watch) { ++watch.index_unfinished; });
}

SharedArchiveWatch ReadSharedArchiveWatch() {
  return CopyPart<&SharedState::archive_watch>();
}

}  // namespace veza::pg
