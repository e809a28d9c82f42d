#include "core/repository/data_directory.h"

#include <dirent.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <optional>
#include <unordered_set>

#include "core/repository/empty_databases.h"

namespace veza {

namespace {

// basebackup.c, excludeDirContents: these directories are kept, their contents are not.
constexpr std::array<std::string_view, 7> kEmptiedDirectories = {
    "pg_stat_tmp", "pg_replslot",  "pg_dynshmem", "pg_notify",
    "pg_serial",   "pg_snapshots", "pg_subtrans"};

// basebackup.c, excludeFiles, what a backup provides itself, and what only the copy that a restore
// has made may act upon.
constexpr std::array<std::string_view, 8> kExcludedFiles = {
    "postgresql.auto.conf.tmp", "current_logfiles.tmp", "backup_label",    "tablespace_map",
    "backup_manifest",          "postmaster.pid",       "postmaster.opts", kEmptyDatabasesFile};

constexpr std::string_view kRelationCachePrefix = "pg_internal.init";
constexpr std::string_view kTemporaryPrefix = "pgsql_tmp";

bool IsDigits(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

// "<number>[_fork][.segment]"
struct RelationName {
  std::string_view number;
  std::string_view fork;  // empty for the main fork
  std::uint32_t segment = 0;
};

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

// "t<backend>_<relation name>" (reinit.c, looks_like_temp_rel_name).
bool IsTemporaryRelationName(std::string_view name) {
  if (!name.starts_with('t')) {
    return false;
  }
  const std::size_t underscore = name.find('_');
  return underscore != std::string_view::npos && IsDigits(name.substr(1, underscore - 1)) &&
         ParseRelationName(name.substr(underscore + 1)).has_value();
}

// Whether `path` is a directory that holds relations: "global", "base/<n>",
// "pg_tblspc/<n>/PG_…/<n>".
enum class RelationDirectory { kNo, kGlobal, kDatabase };

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

bool IsExcludedName(std::string_view name) {
  return name.starts_with(kTemporaryPrefix) || name.starts_with(kRelationCachePrefix) ||
         std::find(kExcludedFiles.begin(), kExcludedFiles.end(), name) != kExcludedFiles.end();
}

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};

class Walker {
 public:
  Walker(const WalkOptions& options, const std::function<Status(const DirectoryEntry&)>& visit,
         const std::function<void(const std::string&)>& warn)
      : options_(options), visit_(visit), warn_(warn) {}

  Status Run() {
    if (access(options_.data_directory.c_str(), F_OK) != 0) {
      return ErrnoError(errno,
                        fmt::format("could not access directory \"{}\"", options_.data_directory));
    }
    RETURN_IF_ERROR(VisitDirectory("", options_.data_directory));
    RETURN_IF_ERROR(Descend("", options_.data_directory));
    for (const Tablespace& tablespace : options_.tablespaces) {
      RETURN_IF_ERROR(WalkTablespace(tablespace));
    }
    return Ok();
  }

 private:
  // Only the directory of this server's version belongs to this server (sendTablespace).
  Status WalkTablespace(const Tablespace& tablespace) {
    const std::string path = fmt::format("pg_tblspc/{}", tablespace.oid);
    const std::string version_path = path + "/" + options_.tablespace_version_directory;
    const std::string version_source =
        tablespace.path + "/" + options_.tablespace_version_directory;
    RETURN_IF_ERROR(VisitDirectory(path, tablespace.path));
    struct stat info {};
    if (lstat(version_source.c_str(), &info) != 0) {
      if (errno == ENOENT) {
        return Ok();
      }
      return ErrnoError(errno, fmt::format("could not stat directory \"{}\"", version_source));
    }
    RETURN_IF_ERROR(VisitDirectory(version_path, version_source));
    return Descend(version_path, version_source);
  }

  Status VisitDirectory(const std::string& path, const std::string& source) {
    struct stat info {};
    // stat, not lstat: pg_wal and others may be symbolic links and come back as directories.
    if (stat(source.c_str(), &info) != 0) {
      if (errno == ENOENT) {
        return Ok();  // dropped since it was listed
      }
      return ErrnoError(errno, fmt::format("could not stat directory \"{}\"", source));
    }
    if (!S_ISDIR(info.st_mode)) {
      warn_(fmt::format("skipping special file \"{}\"", source));
      return Ok();
    }
    DirectoryEntry entry;
    entry.kind = DirectoryEntry::Kind::kDirectory;
    entry.path = path;
    entry.source_path = source;
    entry.mode = info.st_mode & 07777;
    return visit_(entry);
  }

  Result<std::vector<std::string>> ListNames(const std::string& source) {
    std::vector<std::string> names;
    const std::unique_ptr<DIR, CloseDirectory> directory(opendir(source.c_str()));
    if (!directory) {
      if (errno == ENOENT) {
        return names;  // dropped since its parent was listed
      }
      return ErrnoError(errno, fmt::format("could not open directory \"{}\"", source));
    }
    errno = 0;
    while (const dirent* item = readdir(directory.get())) {
      const std::string_view name = item->d_name;
      if (name != "." && name != "..") {
        names.emplace_back(name);
      }
    }
    if (errno != 0) {
      return ErrnoError(errno, fmt::format("could not read directory \"{}\"", source));
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  Status Descend(const std::string& path, const std::string& source) {
    ASSIGN_OR_RETURN(const std::vector<std::string> names, ListNames(source));
    const bool is_database = ClassifyDirectory(path) == RelationDirectory::kDatabase;

    std::unordered_set<std::string_view> unlogged;
    if (is_database) {
      for (const std::string& name : names) {
        const auto relation = ParseRelationName(name);
        if (relation && relation->fork == "init") {
          unlogged.insert(relation->number);
        }
      }
    }

    for (const std::string& name : names) {
      if (IsExcludedName(name)) {
        continue;
      }
      if (is_database) {
        const auto relation = ParseRelationName(name);
        const bool is_unlogged_content =
            relation && relation->fork != "init" && unlogged.contains(relation->number);
        if (is_unlogged_content || IsTemporaryRelationName(name)) {
          continue;
        }
      }
      RETURN_IF_ERROR(VisitItem(path, source, name));
    }
    return Ok();
  }

  Status VisitItem(const std::string& parent, const std::string& parent_source,
                   const std::string& name) {
    const std::string path = parent.empty() ? name : parent + "/" + name;
    const std::string source = parent_source + "/" + name;
    struct stat info {};
    if (lstat(source.c_str(), &info) != 0) {
      if (errno == ENOENT) {
        return Ok();
      }
      return ErrnoError(errno, fmt::format("could not stat file \"{}\"", source));
    }

    if (!S_ISREG(info.st_mode) && std::find(kEmptiedDirectories.begin(), kEmptiedDirectories.end(),
                                            name) != kEmptiedDirectories.end()) {
      return VisitDirectory(path, source);
    }
    if (path == "pg_wal") {
      RETURN_IF_ERROR(VisitDirectory(path, source));
      return VisitWalDirectories(path, source);
    }
    if (S_ISLNK(info.st_mode) && parent == "pg_tblspc") {
      return Ok();  // a tablespace: walked by itself, linked again on restore
    }
    if (S_ISDIR(info.st_mode)) {
      if (IsTablespaceLocation(source)) {
        return Ok();  // somebody made a tablespace inside the data directory: walked by itself
      }
      RETURN_IF_ERROR(VisitDirectory(path, source));
      return Descend(path, source);
    }
    if (!S_ISREG(info.st_mode)) {
      warn_(fmt::format("skipping special file \"{}\"", source));
      return Ok();
    }
    if (path == "global/pg_control") {
      return Ok();
    }
    DirectoryEntry entry;
    entry.path = path;
    entry.source_path = source;
    entry.mode = info.st_mode & 07777;
    entry.size = static_cast<std::uint64_t>(info.st_size);
    entry.relation = ClassifyFile(path);
    return visit_(entry);
  }

  bool IsTablespaceLocation(const std::string& source) const {
    return std::any_of(options_.tablespaces.begin(), options_.tablespaces.end(),
                       [&](const Tablespace& tablespace) { return tablespace.path == source; });
  }

  // pg_wal itself is rebuilt from the archive; the server wants the directories inside it.
  Status VisitWalDirectories(const std::string& path, const std::string& source) {
    RETURN_IF_ERROR(VisitDirectory(path + "/archive_status", source + "/archive_status"));
    if (options_.postgres_major >= 17) {
      RETURN_IF_ERROR(VisitDirectory(path + "/summaries", source + "/summaries"));
    }
    return Ok();
  }

  const WalkOptions& options_;
  const std::function<Status(const DirectoryEntry&)>& visit_;
  const std::function<void(const std::string&)>& warn_;
};

}  // namespace

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

RelationFile ClassifyFile(std::string_view path) {
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

Status WalkDataDirectory(const WalkOptions& options,
                         const std::function<Status(const DirectoryEntry&)>& visit,
                         const std::function<void(const std::string&)>& warn) {
  return Walker(options, visit, warn).Run();
}

}  // namespace veza
