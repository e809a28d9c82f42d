// Walks over a data directory before a backup of it. Counts what there is, and checks that all of
// it can be read.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "core/backup/secret_scan.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/postgres/data_directory.h"
#include "core/thread_group.h"

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

// A survey in a thread of its own, while its owner does something else. Not thread-safe.
class SurveyAhead {
 public:
  // `secrets` may be null. Begins at once. If the system cannot start a thread, Finish() does it
  // all.
  SurveyAhead(WalkOptions options, std::shared_ptr<const Cancellation> cancellation,
              std::shared_ptr<const SecretScan> secrets);
  // Ends the survey, if it still goes on.
  ~SurveyAhead();
  SurveyAhead(const SurveyAhead&) = delete;
  SurveyAhead& operator=(const SurveyAhead&) = delete;

  // Waits for the end. Call it once.
  Result<DirectorySurvey> Finish();

 private:
  void Work();

  const WalkOptions options_;
  const std::shared_ptr<const Cancellation> cancellation_;
  const std::shared_ptr<const SecretScan> secrets_;
  std::atomic<bool> is_abandoned_{false};
  std::optional<Result<DirectorySurvey>> found_;  // the thread's, until it is joined
  ThreadGroup thread_;                            // last: it uses the others
};

}  // namespace veza
