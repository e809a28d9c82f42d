// The page of vezactl report: one HTML file that needs no network.
#pragma once

#include <string>

#include "core/codec/json.h"

namespace veza::cli {

// `report` is the document that `vezactl report --output json` prints. Its texts come from the
// repository: they stand in the page as data only, and the page shows them as text only.
std::string ReportPage(const Json& report);

}  // namespace veza::cli
