// The scheduler's watch over archiving. On a primary it observes how archiving keeps up
// (archive_pace_watch.h), surveys whether the archive is whole (archive_survey_watch.h), and
// completes the index of WAL (index_watch.h). On a standby it marks the WAL that a promotion must
// not lose (streamed_wal.h).
#pragma once

#include "core/config/config.h"
#include "pg/archive/archive_survey_watch.h"
#include "pg/server_repository.h"
//
#include "pg/postgres.h"

namespace veza::pg {

struct WatchOutcome {
  long nap_ms;  // until the next call, at most
  SurveyOutcome survey;
};

// Called in the scheduler's loop; does not wait for the store. `config` is null when there is no
// repository. May raise ERROR.
WatchOutcome WatchArchive(const Config* config, const ServerFacts& facts);

}  // namespace veza::pg
