// Walks over a data directory before a backup of it. Counts what there is, and checks that all of
// it can be read.
#pragma once

#include <cstdint>

#include "core/backup/secret_scan.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/postgres/data_directory.h"

namespace veza {

struct DirectorySurvey {
  std::uint64_t files = 0;
  std::uint64_t bytes = 0;
  WalkNotes notes;
};

// Finds the tablespaces by itself and ignores those of `options`. An error names the first file or
// directory that this process may not read, or that WalkDataDirectory() refuses, or in which
// `secrets` (may be null) finds something. Opens all directories, but only those files that the
// scan concerns.
Result<DirectorySurvey> SurveyDataDirectory(WalkOptions options, const Cancellation& cancellation,
                                            const SecretScan* secrets = nullptr);

}  // namespace veza
