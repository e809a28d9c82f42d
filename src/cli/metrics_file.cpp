#include "cli/metrics_file.h"

#include "core/storage/file_io.h"

namespace veza::cli {

Status ReplaceMetrics(const std::string& path,
                      const std::function<std::string(std::string_view before)>& format) {
  const Result<std::string> before = ReadTextFile(path);
  if (!before && before.error().code != ErrorCode::kNotFound) {
    return before.error();
  }
  return ReplaceTextFile(path, format(before.value_or("")));
}

}  // namespace veza::cli
