// The metrics of a pass of the mirror, for node_exporter's textfile collector.
#pragma once

#include <string>
#include <string_view>

#include "core/environment.h"
#include "core/mirror/mirror.h"

namespace veza::cli {

// `report` is null after a pass that came to no end. Then the file keeps what the pass before has
// found. `before` is what the file holds until now.
std::string FormatMirrorMetrics(const std::string& cluster, const MirrorReport* report,
                                TimePoint begun, TimePoint ended, std::string_view before);

}  // namespace veza::cli
