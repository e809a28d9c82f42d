// A walk over a data directory before a backup of it: how much there is, and whether all of it can
// be read.
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

// Looks for the tablespaces by itself: those of `options` do not count. An error names the first
// file or directory that this process may not read, or that WalkDataDirectory() refuses, or that
// `secrets` (may be null) finds something in. Opens directories, and of files those that the scan
// concerns.
Result<DirectorySurvey> SurveyDataDirectory(WalkOptions options, const Cancellation& cancellation,
                                            const SecretScan* secrets = nullptr);

}  // namespace veza
