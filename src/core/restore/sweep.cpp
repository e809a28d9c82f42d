#include "core/restore/sweep.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "core/repository/manifest.h"
#include "core/repository/names.h"
#include "core/restore/existing_directory.h"

namespace veza {

namespace {

std::uint64_t HashOf(std::string_view path, PathSet::Kind kind) {
  return std::hash<std::string>()(std::string(1, static_cast<char>(kind)) + std::string(path));
}

class Sweeper {
 public:
  explicit Sweeper(const PathSet& wanted) : wanted_(wanted) {}

  // `directory` is where `prefix` (empty, or with a slash at the end) of the backup is.
  // `keep_strangers`: what is directly in it and not in the backup stays.
  Status Sweep(const std::string& directory, const std::string& prefix, bool keep_strangers) {
    const std::unique_ptr<DIR, int (*)(DIR*)> items(opendir(directory.c_str()), closedir);
    if (items == nullptr) {
      return errno == ENOENT
                 ? Ok()
                 : ErrnoError(errno, fmt::format("could not open directory \"{}\"", directory));
    }
    while (const dirent* item = readdir(items.get())) {
      const std::string name = item->d_name;
      if (name != "." && name != ".." && !(prefix.empty() && name == kUnfinishedMarker)) {
        RETURN_IF_ERROR(
            Visit(fmt::format("{}/{}", directory, name), prefix + name, keep_strangers));
      }
    }
    return Ok();
  }

 private:
  Status Visit(const std::string& path, const std::string& name, bool keep_strangers) {
    struct stat info {};
    if (lstat(path.c_str(), &info) != 0) {
      return errno == ENOENT ? Ok()
                             : ErrnoError(errno, fmt::format("could not stat file \"{}\"", path));
    }
    if (S_ISDIR(info.st_mode)) {
      const bool wanted = wanted_.Contains(name, PathSet::Kind::kDirectory);
      if (!wanted && keep_strangers) {
        return Ok();
      }
      if ((info.st_mode & S_IRWXU) != S_IRWXU && chmod(path.c_str(), S_IRWXU) != 0) {
        return ErrnoError(errno,
                          fmt::format("could not set permissions of directory \"{}\"", path));
      }
      // In a directory that is not wanted nothing is.
      RETURN_IF_ERROR(Sweep(path, name + "/", false));
      if (!wanted && rmdir(path.c_str()) != 0) {
        return ErrnoError(errno, fmt::format("could not remove directory \"{}\"", path));
      }
      return Ok();
    }
    const bool wanted = S_ISREG(info.st_mode) && wanted_.Contains(name, PathSet::Kind::kFile);
    if (!wanted && !keep_strangers && unlink(path.c_str()) != 0) {
      return ErrnoError(errno, fmt::format("could not remove file \"{}\"", path));
    }
    return Ok();
  }

  const PathSet& wanted_;
};

using PackSizes = std::map<std::uint32_t, std::uint64_t>;  // by number

Status RequirePacks(const Repository& repository, const std::string& label, PackSizes wanted) {
  if (wanted.empty()) {
    return Ok();
  }
  RETURN_IF_ERROR(
      repository.store().List(BackupDirectory(label), "", [&](const ObjectInfo& object) -> Status {
        const auto number = ParsePackName(label, object.name);
        const auto pack = number ? wanted.find(*number) : wanted.end();
        if (pack == wanted.end()) {
          return Ok();
        }
        if (object.size != pack->second) {
          return MakeError(ErrorCode::kDataCorrupted, "object \"{}\" has {} bytes instead of {}",
                           object.name, object.size, pack->second)
              .WithHint("The object is damaged. Restore another backup.");
        }
        wanted.erase(pack);
        return Ok();
      }));
  if (!wanted.empty()) {
    return MissingPart(PackName(label, wanted.begin()->first));
  }
  return Ok();
}

}  // namespace

void PathSet::Add(std::string_view path, Kind kind) {
  hashes_.push_back(HashOf(path, kind));
}

void PathSet::Close() {
  std::sort(hashes_.begin(), hashes_.end());
}

bool PathSet::Contains(std::string_view path, Kind kind) const {
  return std::binary_search(hashes_.begin(), hashes_.end(), HashOf(path, kind));
}

Result<PathSet> ReadPaths(const Repository& repository, const RestorePlan& plan) {
  // In the data directory there are links in the place of these directories.
  const auto is_tablespace = [&](const std::string& path) {
    return std::ranges::any_of(plan.tablespaces, [&](const Tablespace& tablespace) {
      return path == fmt::format("pg_tblspc/{}", tablespace.oid);
    });
  };
  PathSet wanted;
  PackSizes own;
  PackSizes of_full;
  RETURN_IF_ERROR(ReadManifest(repository, plan.backup, [&](ManifestRecord&& record) -> Status {
    RETURN_IF_ERROR(repository.environment().cancellation->Check());
    if (const auto* directory = std::get_if<DirectoryRecord>(&record)) {
      if (!is_tablespace(directory->path)) {
        wanted.Add(directory->path, PathSet::Kind::kDirectory);
      }
    } else if (const auto* file = std::get_if<FileRecord>(&record)) {
      wanted.Add(file->path, PathSet::Kind::kFile);
    } else if (const auto* pack = std::get_if<PackRecord>(&record)) {
      (pack->of_full ? of_full : own)[pack->number] = pack->size;
    }
    return Ok();
  }));
  wanted.Close();
  RETURN_IF_ERROR(RequirePacks(repository, plan.backup.label, std::move(own)));
  RETURN_IF_ERROR(RequirePacks(repository, plan.backup.full_label(), std::move(of_full)));
  return wanted;
}

Status RemoveWhatDoesNotBelong(const PathSet& wanted, const RestorePlan& plan) {
  Sweeper sweeper(wanted);
  RETURN_IF_ERROR(sweeper.Sweep(plan.target_directory, "", false));
  for (const Tablespace& tablespace : plan.tablespaces) {
    RETURN_IF_ERROR(
        sweeper.Sweep(tablespace.path, fmt::format("pg_tblspc/{}/", tablespace.oid), true));
  }
  return Ok();
}

}  // namespace veza
