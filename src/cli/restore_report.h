// The output of `vezactl restore`: a report of what was restored, or with --dry-run a plan of what
// would be.
#pragma once

#include <chrono>

#include "cli/command.h"
#include "core/restore/plan.h"
#include "core/restore/restore.h"

namespace veza::cli {

// Printed as JSON or as text. --quiet suppresses the text.
void PrintReport(const GlobalOptions& options, const RestorePlan& plan, const RestoreReport& report,
                 std::chrono::milliseconds elapsed);
void PrintPlan(const GlobalOptions& options, const RestorePlan& plan);

}  // namespace veza::cli
