// The metrics of a drill, for node_exporter's textfile collector.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/environment.h"
#include "core/repository/drill_record.h"

namespace veza::cli {

// `before` is the previous content of the file. When this drill has failed and `last_passed` is not
// known, the time of the last success is taken from there.
std::string FormatDrillMetrics(const std::string& cluster, const DrillRecord& record,
                               std::optional<TimePoint> last_passed, std::string_view before);

}  // namespace veza::cli
