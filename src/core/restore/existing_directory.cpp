#include "core/restore/existing_directory.h"

#include <dirent.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "core/repository/data_directory.h"

namespace veza {

namespace {

bool Exists(const std::string& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0;
}

std::string MarkerOf(const std::string& target) {
  return fmt::format("{}/{}", target, kUnfinishedMarker);
}

bool MarkerLists(const std::string& target, const std::string& location) {
  std::ifstream file(MarkerOf(target));
  std::string line;
  while (std::getline(file, line)) {
    if (line == location) {
      return true;
    }
  }
  return false;
}

// As PostgreSQL looks at it (CreateLockFile): a process with this number is enough. That of a
// single-user server is negative.
Status RequireNoServer(const std::string& path) {
  std::ifstream file(path + "/postmaster.pid");
  pid_t pid = 0;
  if (!(file >> pid) || pid == 0) {
    return Ok();
  }
  pid = std::abs(pid);
  if (kill(pid, 0) != 0 && errno == ESRCH) {
    return Ok();
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "a server with process id {} runs in directory \"{}\"", pid, path)
      .WithHint("Stop it first. If it does not run, remove postmaster.pid. Nothing was written.");
}

// The first eight bytes of pg_control, in the machine's order (catalog/pg_control.h).
Status RequireSystem(const std::string& path, std::uint64_t system_identifier) {
  std::ifstream file(path + "/global/pg_control", std::ios::binary);
  std::uint64_t found = 0;
  if (!file.read(reinterpret_cast<char*>(&found), sizeof found) || found == system_identifier) {
    return Ok();
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "directory \"{}\" holds the cluster with system identifier {}, not {}", path,
                   found, system_identifier)
      .WithHint(
          "Choose another directory; or, if its global/pg_control is damaged, remove that "
          "file. Nothing was written.");
}

}  // namespace

std::string FormatUnfinishedMarker(const std::vector<Tablespace>& tablespaces) {
  std::string text;
  for (const Tablespace& tablespace : tablespaces) {
    text += tablespace.path + "\n";
  }
  return text;
}

Result<bool> IsEmptyDirectory(const std::string& path) {
  DIR* const directory = opendir(path.c_str());
  if (directory == nullptr) {
    if (errno == ENOENT) {
      return true;
    }
    return ErrnoError(errno, fmt::format("could not open directory \"{}\"", path));
  }
  bool empty = true;
  while (const dirent* item = readdir(directory)) {
    const std::string_view name = item->d_name;
    empty = empty && (name == "." || name == ".." || name == kLostAndFound);
  }
  closedir(directory);
  return empty;
}

Status RequireReplaceableDirectory(const std::string& path, std::uint64_t system_identifier) {
  ASSIGN_OR_RETURN(const bool empty, IsEmptyDirectory(path));
  if (!empty && !Exists(MarkerOf(path)) && !Exists(path + "/PG_VERSION")) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "directory \"{}\" is not empty and not a data directory", path)
        .WithHint("It has no PG_VERSION. Choose another directory. Nothing was written.");
  }
  RETURN_IF_ERROR(RequireSystem(path, system_identifier));
  return RequireNoServer(path);
}

Status RequireReplaceableTablespace(const std::string& target, const Tablespace& tablespace) {
  ASSIGN_OR_RETURN(const bool empty, IsEmptyDirectory(tablespace.path));
  std::error_code error;
  const std::filesystem::path link = fmt::format("{}/pg_tblspc/{}", target, tablespace.oid);
  if (empty || MarkerLists(target, tablespace.path) ||
      std::filesystem::equivalent(link, tablespace.path, error)) {
    return Ok();
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "directory \"{}\" is not empty, and \"{}\" does not lead to it", tablespace.path,
                   link.string());
}

}  // namespace veza
