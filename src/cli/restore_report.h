// What `vezactl restore` says: of a restore that is done, or, with --dry-run, of one that would be.
#pragma once

#include <chrono>

#include "cli/command.h"
#include "core/restore/plan.h"
#include "core/restore/restore.h"

namespace veza::cli {

// As text, unless --quiet, or as JSON.
void PrintReport(const GlobalOptions& options, const RestorePlan& plan, const RestoreReport& report,
                 std::chrono::milliseconds elapsed);
void PrintPlan(const GlobalOptions& options, const RestorePlan& plan);

}  // namespace veza::cli
