#include "core/postgres/relation_names.h"

#include <algorithm>
#include <charconv>

namespace veza {

bool IsDigits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::optional<RelationName> ParseRelationName(std::string_view name) {
  RelationName parsed;
  if (const std::size_t dot = name.find('.'); dot != std::string_view::npos) {
    const std::string_view digits = name.substr(dot + 1);
    if (!IsDigits(digits) || digits.size() > 9) {
      return std::nullopt;
    }
    std::from_chars(digits.data(), digits.data() + digits.size(), parsed.segment);
    name = name.substr(0, dot);
  }
  if (const std::size_t underscore = name.find('_'); underscore != std::string_view::npos) {
    parsed.fork = name.substr(underscore + 1);
    if (parsed.fork != "fsm" && parsed.fork != "vm" && parsed.fork != "init") {
      return std::nullopt;
    }
    name = name.substr(0, underscore);
  }
  if (!IsDigits(name)) {
    return std::nullopt;
  }
  parsed.number = name;
  return parsed;
}

bool IsTemporaryRelationName(std::string_view name) {
  if (!name.starts_with('t')) {
    return false;
  }
  const std::size_t underscore = name.find('_');
  return underscore != std::string_view::npos && IsDigits(name.substr(1, underscore - 1)) &&
         ParseRelationName(name.substr(underscore + 1)).has_value();
}

RelationDirectory ClassifyDirectory(std::string_view path) {
  if (path == "global") {
    return RelationDirectory::kGlobal;
  }
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos || !IsDigits(path.substr(slash + 1))) {
    return RelationDirectory::kNo;
  }
  const std::string_view parent = path.substr(0, slash);
  if (parent == "base") {
    return RelationDirectory::kDatabase;
  }
  constexpr std::string_view kTablespaces = "pg_tblspc/";
  if (parent.starts_with(kTablespaces)) {
    const std::string_view rest = parent.substr(kTablespaces.size());
    const std::size_t middle = rest.find('/');
    if (middle != std::string_view::npos && IsDigits(rest.substr(0, middle)) &&
        rest.substr(middle + 1).starts_with("PG_") &&
        rest.find('/', middle + 1) == std::string_view::npos) {
      return RelationDirectory::kDatabase;
    }
  }
  return RelationDirectory::kNo;
}

std::uint32_t DatabaseOf(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos ||
      ClassifyDirectory(path.substr(0, slash)) != RelationDirectory::kDatabase) {
    return 0;
  }
  const std::string_view directory = path.substr(0, slash);
  const std::string_view digits = directory.substr(directory.rfind('/') + 1);
  std::uint32_t oid = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), oid);
  return oid;
}

RelationPath ClassifyFile(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos ||
      ClassifyDirectory(path.substr(0, slash)) == RelationDirectory::kNo) {
    return {};
  }
  const auto relation = ParseRelationName(path.substr(slash + 1));
  if (!relation) {
    return {};
  }
  return {true, relation->fork.empty(), relation->segment, DatabaseOf(path)};
}

}  // namespace veza
