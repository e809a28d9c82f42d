// A file of metrics for node_exporter's textfile collector.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "core/error.h"

namespace veza::cli {

// Replaces the file. `format` gets what it holds until now, which may be known nowhere else; empty
// when there is no file. Fails when there is one that cannot be read.
Status ReplaceMetrics(const std::string& path,
                      const std::function<std::string(std::string_view before)>& format);

}  // namespace veza::cli
