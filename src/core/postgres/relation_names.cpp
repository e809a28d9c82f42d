#include "core/postgres/relation_names.h"

#include <algorithm>
#include <charconv>

namespace veza {

namespace {

constexpr std::string_view kTablespaces = "pg_tblspc/";

}  // namespace

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

namespace {

// 0 if `digits` are more than an oid can be.
std::uint32_t OidOf(std::string_view digits) {
  std::uint32_t oid = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), oid);
  return error == std::errc() && end == digits.data() + digits.size() ? oid : 0;
}

// Whether one of the numbers in a path has a leading zero. The server writes none, so a file of
// such a name is not the one that its number says.
bool HasLeadingZero(std::string_view path) {
  for (std::size_t at = 0; at + 1 < path.size(); ++at) {
    const bool begins_number = path[at] == '0' && path[at + 1] >= '0' && path[at + 1] <= '9' &&
                               (at == 0 || path[at - 1] == '/' || path[at - 1] == '.');
    const bool is_segment_zero = path[at] == '.' && path[at + 1] == '0';
    if (begins_number || is_segment_zero) {
      return true;
    }
  }
  return false;
}

// `directory` holds relations.
std::uint32_t TablespaceOf(std::string_view directory) {
  constexpr std::uint32_t kDefaultTablespace = 1663;  // DEFAULTTABLESPACE_OID
  constexpr std::uint32_t kGlobalTablespace = 1664;   // GLOBALTABLESPACE_OID
  if (!directory.starts_with(kTablespaces)) {
    return ClassifyDirectory(directory) == RelationDirectory::kGlobal ? kGlobalTablespace
                                                                      : kDefaultTablespace;
  }
  directory.remove_prefix(kTablespaces.size());
  return OidOf(directory.substr(0, directory.find('/')));
}

}  // namespace

std::uint32_t DatabaseOf(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos ||
      ClassifyDirectory(path.substr(0, slash)) != RelationDirectory::kDatabase) {
    return 0;
  }
  const std::string_view directory = path.substr(0, slash);
  return OidOf(directory.substr(directory.rfind('/') + 1));
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
  return {.is_relation = true,
          .is_main_fork = relation->fork.empty(),
          .segment = relation->segment,
          .database = DatabaseOf(path),
          .tablespace = TablespaceOf(path.substr(0, slash)),
          .number = HasLeadingZero(path) ? 0 : OidOf(relation->number)};
}

}  // namespace veza
