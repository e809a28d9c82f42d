#include "core/restore/running_servers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <system_error>

namespace veza {

namespace {

namespace fs = std::filesystem;

struct Server {
  std::string process;
  fs::path data_directory;  // as the process sees it, in its own mount namespace
};

// One process of each data directory. By way of /proc/PID/cwd, which leads into the directory also
// where it has another path here.
std::vector<Server> FindServers() {
  std::vector<Server> servers;
  std::error_code error;
  for (fs::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string process = entry->path().filename().string();
    std::ifstream file(entry->path() / "comm");
    std::string name;
    if (std::isdigit(static_cast<unsigned char>(process.front())) == 0 ||
        !std::getline(file, name) || name != "postgres") {
      continue;
    }
    std::error_code unreadable;
    const fs::path directory = entry->path() / "cwd";
    if (!fs::exists(directory / "PG_VERSION", unreadable)) {
      continue;
    }
    const bool is_known = std::ranges::any_of(servers, [&](const Server& server) {
      return fs::equivalent(server.data_directory, directory, unreadable);
    });
    if (!is_known) {
      servers.push_back({process, directory});
    }
  }
  return servers;
}

// Where the WAL and the tablespaces of a data directory are. Links are followed by the comparison.
std::vector<fs::path> PlacesOf(const fs::path& data_directory) {
  std::vector<fs::path> places{data_directory, data_directory / "pg_wal"};
  std::error_code error;
  for (fs::directory_iterator entry(data_directory / "pg_tblspc", error), end;
       !error && entry != end; entry.increment(error)) {
    places.push_back(entry->path());
  }
  return places;
}

}  // namespace

Status RequireUnused(const std::string& target, const std::vector<std::string>& directories) {
  for (const Server& server : FindServers()) {
    std::error_code error;
    if (fs::equivalent(server.data_directory, target, error)) {
      return MakeError(ErrorCode::kFailedPrecondition,
                       "a server with process id {} runs in directory \"{}\"", server.process,
                       target)
          .WithHint("Stop it first. Nothing was written.");
    }
    for (const fs::path& place : PlacesOf(server.data_directory)) {
      for (const std::string& directory : directories) {
        if (fs::equivalent(place, directory, error)) {
          return MakeError(ErrorCode::kFailedPrecondition,
                           "directory \"{}\" is in use by the server with process id {} in "
                           "directory \"{}\"",
                           directory, server.process,
                           fs::read_symlink(server.data_directory, error).string())
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
