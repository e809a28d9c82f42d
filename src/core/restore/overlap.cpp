#include "core/restore/overlap.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

namespace veza {

namespace {

namespace fs = std::filesystem;

fs::path Canonical(const std::string& path) {
  std::error_code error;
  fs::path canonical = fs::weakly_canonical(path, error);
  if (error) {
    return path;
  }
  // "/a/" has an empty last part.
  return canonical.has_filename() ? canonical : canonical.parent_path();
}

bool IsNumber(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

bool IsWithin(const std::string& path, const std::string& directory) {
  const fs::path inner = Canonical(path);
  const fs::path outer = Canonical(directory);
  return std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end()).first == outer.end();
}

bool Overlap(const std::string& one, const std::string& other) {
  return IsWithin(one, other) || IsWithin(other, one);
}

bool IsVersionDirectory(std::string_view name) {
  constexpr std::string_view kPrefix = "PG_";
  if (!name.starts_with(kPrefix)) {
    return false;
  }
  name.remove_prefix(kPrefix.size());
  const std::size_t underscore = name.find('_');
  return underscore != std::string_view::npos && IsNumber(name.substr(0, underscore)) &&
         IsNumber(name.substr(underscore + 1));
}

bool IsWithinTablespace(const std::string& path, const std::string& location) {
  if (!IsWithin(path, location)) {
    return false;
  }
  const fs::path below = Canonical(path).lexically_relative(Canonical(location));
  return IsVersionDirectory(below.begin()->string());
}

}  // namespace veza
