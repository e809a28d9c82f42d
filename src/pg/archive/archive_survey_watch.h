// The scheduler's survey of the archive of a primary: whether the repository holds all WAL from the
// newest backup on (core/archive/archive_survey.h).
//
// A survey runs when the server has started or was promoted, every hour, and when the repository
// takes WAL again after some was given up. A segment that is missing there and still in pg_wal is
// offered to the archiver again, whatever its archive status says. A standby marks the WAL that it
// streams as archived, so after a promotion nobody else would send what the lost primary had not
// sent. A segment that is not in pg_wal either is a gap: it is recorded in the repository and
// logged, and a new backup is asked for.
#pragma once

#include "core/config/config.h"
#include "core/postgres/lsn.h"
#include "pg/server_repository.h"
//
#include "pg/postgres.h"

namespace veza::pg {

struct SurveyOutcome {
  bool wants_backup = false;  // no backup can be restored to the present any more
  bool wants_full = false;    // and a diff would not change that
};

// Called in the scheduler's loop on a primary that archives; does not wait for the store. Begins a
// survey when it is time, of WAL up to `end` on `timeline`, and evaluates one that has ended. May
// raise ERROR.
SurveyOutcome WatchSurvey(const Config& config, const ServerFacts& facts, TimelineId timeline,
                          Lsn end);

// Whether a survey is under way. Otherwise NextSurvey() says when the next one is due.
bool IsSurveying();
SteadyTime NextSurvey();

// Ends the survey that is under way, without a result.
void StopSurvey();

// Makes the next call of WatchSurvey() begin a new survey: the repository is another one, or a
// backup has ended.
void SurveyArchiveSoon();

}  // namespace veza::pg
