#include "core/restore/running_servers.h"

#include <fmt/format.h>
#include <sys/types.h>

#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <system_error>

namespace veza {

namespace {

namespace fs = std::filesystem;

// The process of each data directory; of several, any.
std::map<fs::path, pid_t> FindServers() {
  std::map<fs::path, pid_t> servers;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator("/proc", error)) {
    const std::string number = entry.path().filename().string();
    if (std::isdigit(static_cast<unsigned char>(number.front())) == 0) {
      continue;
    }
    std::ifstream file(entry.path() / "comm");
    std::string name;
    if (!std::getline(file, name) || name != "postgres") {
      continue;
    }
    std::error_code unreadable;
    const fs::path directory = fs::read_symlink(entry.path() / "cwd", unreadable);
    if (!unreadable && fs::exists(directory / "PG_VERSION", unreadable)) {
      servers.emplace(directory, static_cast<pid_t>(std::atol(number.c_str())));
    }
  }
  return servers;
}

// Where the WAL and the tablespaces of a data directory are. Links are followed by the comparison.
std::vector<fs::path> PlacesOf(const fs::path& data_directory) {
  std::vector<fs::path> places{data_directory, data_directory / "pg_wal"};
  std::error_code error;
  for (const fs::directory_entry& entry :
       fs::directory_iterator(data_directory / "pg_tblspc", error)) {
    places.push_back(entry.path());
  }
  return places;
}

}  // namespace

Status RequireUnused(const std::string& target, const std::vector<std::string>& directories) {
  std::error_code error;
  for (const auto& [data_directory, process] : FindServers()) {
    if (fs::equivalent(data_directory, target, error)) {
      return MakeError(ErrorCode::kFailedPrecondition,
                       "a server with process id {} runs in directory \"{}\"", process, target)
          .WithHint("Stop it first. Nothing was written.");
    }
    for (const fs::path& place : PlacesOf(data_directory)) {
      for (const std::string& directory : directories) {
        if (fs::equivalent(place, directory, error)) {
          return MakeError(ErrorCode::kFailedPrecondition,
                           "directory \"{}\" is in use by the server with process id {} in "
                           "directory \"{}\"",
                           directory, process, data_directory.string())
              .WithHint(
                  "The links of a copied data directory lead to what the original uses. Give "
                  "another place with --tablespace-map or --waldir. Nothing was written.");
        }
      }
    }
  }
  return Ok();
}

}  // namespace veza
