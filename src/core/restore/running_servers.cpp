#include "core/restore/running_servers.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>

#include "core/restore/overlap.h"

namespace veza {

namespace {

namespace fs = std::filesystem;

struct Server {
  std::string process;
  std::string directory;  // /proc/PID
  std::string data_directory() const { return directory + "/cwd"; }
};

// Finds one process for each data directory, through /proc/PID/cwd, which leads to the directory
// even if it has another path here.
std::vector<Server> FindServers() {
  std::vector<Server> servers;
  std::error_code error;
  for (fs::directory_iterator entry("/proc", error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string process = entry->path().filename().string();
    std::ifstream file(entry->path() / "comm");
    std::string name;
    if (std::isdigit(static_cast<unsigned char>(process.front())) == 0 ||
        !std::getline(file, name) || (name != "postgres" && name != "postmaster")) {
      continue;
    }
    std::error_code unreadable;
    const Server found{process, entry->path().string()};
    if (!fs::exists(found.data_directory() + "/PG_VERSION", unreadable)) {
      continue;
    }
    const bool is_known = std::ranges::any_of(servers, [&](const Server& server) {
      return fs::equivalent(server.data_directory(), found.data_directory(), unreadable);
    });
    if (!is_known) {
      servers.push_back(found);
    }
  }
  return servers;
}

// The symbolic links directly in `directory`.
std::vector<std::string> LinksIn(const std::string& directory) {
  std::vector<std::string> links;
  std::error_code error;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code gone;
    if (entry->is_symlink(gone)) {
      links.push_back(entry->path().string());
    }
  }
  return links;
}

// Whether PostgreSQL stores data behind this link at the top of a data directory. Links of other
// names, and "log", may lead to a directory that others use, too.
bool IsOfData(const std::string& link) {
  const std::string name = fs::path(link).filename().string();
  return name == "base" || name == "global" || name.starts_with("pg_");
}

// Where a link in the server's data directory leads for the server.
std::string Follow(const Server& server, const std::string& link) {
  std::error_code error;
  const fs::path text = fs::read_symlink(link, error);
  // A relative link starts in a directory that is reached through /proc, so the kernel can follow
  // it.
  return text.is_absolute() ? ResolveIn(server.directory + "/root", text.string()).value_or("")
                            : link;
}

void AddPlace(const Server& server, const std::string& path, bool is_tablespace,
              std::vector<UsedPlace>* places) {
  struct stat info {};
  if (stat(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
    return;
  }
  std::error_code error;
  const std::string data_directory = server.data_directory();
  places->push_back({info.st_dev, info.st_ino, server.process,
                     fs::read_symlink(data_directory, error).string(), path == data_directory,
                     is_tablespace});
}

// How a server uses `directory`: itself, or a directory that contains it.
struct Use {
  const UsedPlace* place = nullptr;
  bool is_around = false;
};

Use FindUse(const std::string& directory, const std::vector<UsedPlace>& places) {
  for (const Around& around : DirectoriesAround(directory)) {
    struct stat info {};
    if (stat(around.path.c_str(), &info) != 0) {
      continue;
    }
    const bool is_around = !around.below.empty();
    for (const UsedPlace& place : places) {
      if (place.device == info.st_dev && place.inode == info.st_ino &&
          (!is_around || !place.is_tablespace ||
           IsVersionDirectory(around.below.begin()->string()))) {
        return {&place, is_around};
      }
    }
  }
  return {};
}

}  // namespace

std::optional<std::string> ResolveIn(const std::string& root, const std::string& path) {
  constexpr int kMostLinks = 40;
  std::vector<fs::path> rest;  // in reverse order
  const auto add = [&rest](const fs::path& parts) {
    std::vector<fs::path> list(parts.begin(), parts.end());
    rest.insert(rest.end(), std::make_move_iterator(list.rbegin()),
                std::make_move_iterator(list.rend()));
  };
  add(path);
  fs::path done = "/";
  int links = 0;
  while (!rest.empty()) {
    const fs::path part = std::move(rest.back());
    rest.pop_back();
    if (part.empty() || part == "." || part == "/") {
      continue;
    }
    if (part == "..") {
      done = done.parent_path();
      continue;
    }
    const fs::path next = done / part;
    std::error_code error;
    const fs::path text = fs::read_symlink(root + next.string(), error);
    if (error) {
      done = next;
      continue;
    }
    if (++links > kMostLinks) {
      return std::nullopt;
    }
    if (text.is_absolute()) {
      done = "/";
    }
    add(text);
  }
  return root + done.string();
}

std::vector<UsedPlace> FindUsedPlaces() {
  std::vector<UsedPlace> places;
  for (const Server& server : FindServers()) {
    const std::string directory = server.data_directory();
    AddPlace(server, directory, false, &places);
    for (const std::string& link : LinksIn(directory)) {
      if (IsOfData(link)) {
        AddPlace(server, Follow(server, link), false, &places);
      }
    }
    for (const std::string& link : LinksIn(directory + "/base")) {
      AddPlace(server, Follow(server, link), false, &places);
    }
    for (const std::string& link : LinksIn(directory + "/pg_tblspc")) {
      AddPlace(server, Follow(server, link), true, &places);
    }
  }
  return places;
}

Status RequireUnused(const std::string& target, const std::vector<std::string>& directories) {
  const std::vector<UsedPlace> places = FindUsedPlaces();
  const auto require = [&](const std::string& directory) -> Status {
    const Use use = FindUse(directory, places);
    if (use.place == nullptr) {
      return Ok();
    }
    return MakeError(ErrorCode::kFailedPrecondition,
                     "directory \"{}\" {} by the server with process id {} in directory \"{}\"",
                     directory, use.is_around ? "is inside one that is used" : "is in use",
                     use.place->process, use.place->data_directory)
        .WithHint(
            "The backup names this directory, or a link of the data directory leads to it, but a "
            "server uses it: the original, for example, if the data directory is a copy. Choose "
            "another place with --target-dir, with --tablespace-map OLD=NEW for a tablespace, or "
            "with --waldir for pg_wal. Nothing was written.");
  };
  if (const Use use = FindUse(target, places);
      use.place != nullptr && use.place->is_data_directory && !use.is_around) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "a server with process id {} runs in directory \"{}\"", use.place->process,
                     target)
        .WithHint("Stop it first. Nothing was written.");
  }
  RETURN_IF_ERROR(require(target));
  for (const std::string& directory : directories) {
    RETURN_IF_ERROR(require(directory));
  }
  return Ok();
}

}  // namespace veza
