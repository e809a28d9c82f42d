// What a drill tells Prometheus, by way of node_exporter's textfile collector.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/environment.h"
#include "core/repository/drill_record.h"

namespace veza::cli {

// `before` is the file's former content: when this drill has failed and nobody knows
// (`last_passed`) when one succeeded, it may.
std::string FormatDrillMetrics(const std::string& cluster, const DrillRecord& record,
                               std::optional<TimePoint> last_passed, std::string_view before);

}  // namespace veza::cli
