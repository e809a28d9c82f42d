#include "core/backup/copied_contents.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/postgres/relation_names.h"

namespace veza {

namespace {

constexpr std::string_view kTablespaces = "pg_tblspc/";

std::uint32_t TablespaceOf(std::string_view path) {
  std::uint32_t oid = kDefaultTablespaceOid;
  if (path.starts_with(kTablespaces)) {
    std::from_chars(path.data() + kTablespaces.size(), path.data() + path.size(), oid);
  }
  return oid;
}

std::string DirectoryNameOf(const ListedDatabase& database) {
  return database.tablespace == kDefaultTablespaceOid
             ? fmt::format("base/{}", database.oid)
             : fmt::format("directory {} of tablespace {}", database.oid, database.tablespace);
}

}  // namespace

void CopiedContents::Note(std::string_view path) {
  has_version_ = has_version_ || path == "PG_VERSION";
  has_global_map_ = has_global_map_ || path == "global/pg_filenode.map";
  has_commit_log_ = has_commit_log_ || path.starts_with("pg_xact/");
  const std::uint32_t database = DatabaseOf(path);
  if (database == 0) {
    return;
  }
  Directory& directory = directories_[{TablespaceOf(path), database}];
  const std::string_view name = path.substr(path.rfind('/') + 1);
  directory.has_version = directory.has_version || name == "PG_VERSION";
  directory.has_map = directory.has_map || name == "pg_filenode.map";
  directory.has_relation = directory.has_relation || ClassifyFile(path).is_main_fork;
}

std::string CopiedContents::MissingOfCluster() const {
  if (!has_version_) {
    return "PG_VERSION";
  }
  if (!has_global_map_) {
    return "global/pg_filenode.map";
  }
  return has_commit_log_ ? "" : "pg_xact";
}

std::string CopiedContents::MissingOf(const ListedDatabase& database) const {
  const auto found = directories_.find({database.tablespace, database.oid});
  if (found == directories_.end()) {
    return DirectoryNameOf(database);
  }
  const Directory& directory = found->second;
  const char* const missing = !directory.has_version    ? "PG_VERSION"
                              : !directory.has_map      ? "pg_filenode.map"
                              : !directory.has_relation ? "every relation"
                                                        : nullptr;
  return missing == nullptr ? "" : fmt::format("{} in {}", missing, DirectoryNameOf(database));
}

std::optional<UncopiedDatabase> FindUncopied(const CopiedContents& contents,
                                             const std::vector<ListedDatabase>& at_start,
                                             const std::vector<ListedDatabase>& now) {
  for (const ListedDatabase& database : at_start) {
    const std::string missing = contents.MissingOf(database);
    const bool is_there_still = std::any_of(now.begin(), now.end(), [&](const ListedDatabase& one) {
      return one.oid == database.oid && !one.is_invalid;
    });
    if (!missing.empty() && is_there_still) {
      return UncopiedDatabase{database, missing};
    }
  }
  return std::nullopt;
}

bool IsNamedInSummary(const CopiedContents& contents, std::uint32_t oid,
                      const std::vector<ListedDatabase>& now) {
  const auto row = std::ranges::find(now, oid, &ListedDatabase::oid);
  return row != now.end() && (!row->is_invalid || contents.MissingOf(*row).empty());
}

}  // namespace veza
