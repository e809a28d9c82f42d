#include "core/restore/places.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "core/repository/names.h"
#include "core/restore/existing_directory.h"
#include "core/restore/overlap.h"
#include "core/restore/wal_directory.h"
#include "core/storage/file_io.h"

namespace veza {

namespace {

// The nearest ancestor that exists. It tells about the file system.
std::string ExistingAncestor(std::string path) {
  struct stat info {};
  while (path.size() > 1 && stat(path.c_str(), &info) != 0) {
    const std::size_t slash = path.rfind('/');
    path = slash == 0 ? "/" : path.substr(0, slash);
  }
  return path;
}

}  // namespace

std::string WithoutLastSlash(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) {
    path.pop_back();
  }
  return path;
}

namespace {

constexpr const char* kWhoMayWrite =
    "Run vezactl as the account that will run PostgreSQL (root names it with --user), and let that "
    "account write there.";

// Goes by the rights that the restore will have. Sets errno when it returns false.
bool MayWriteTo(const std::string& directory) {
  return faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) == 0;
}

// The path is absent and can be created, or it is a directory that may be written to.
Status RequireUsableDirectory(const std::string& path) {
  if (!path.starts_with('/')) {
    return MakeError(ErrorCode::kInvalidArgument, "directory \"{}\" is not an absolute path", path);
  }
  struct stat info {};
  if (stat(path.c_str(), &info) != 0 && errno == ENOENT) {
    const std::string ancestor = ExistingAncestor(path);
    if (!MayWriteTo(ancestor)) {
      return ErrnoError(errno,
                        fmt::format("could not create directory \"{}\" in \"{}\"", path, ancestor))
          .WithHint(kWhoMayWrite);
    }
    return Ok();
  }
  if (!MayWriteTo(path)) {
    return ErrnoError(errno, fmt::format("could not write to directory \"{}\"", path))
        .WithHint(kWhoMayWrite);
  }
  return Ok();
}

Status RequireEmpty(const std::string& path, const Result<bool>& empty) {
  RETURN_IF_ERROR(empty);
  if (!*empty) {
    const bool interrupted =
        access(fmt::format("{}/{}", path, kUnfinishedMarker).c_str(), F_OK) == 0;
    return MakeError(ErrorCode::kFailedPrecondition, "directory \"{}\" is not empty", path)
        .WithHint(interrupted
                      ? "A restore into this directory has not ended. Complete it with --delta."
                      : "Choose another directory, or remove its content. Nothing was written.");
  }
  return Ok();
}

}  // namespace

Status RequireTarget(const std::string& path, bool delta, std::uint64_t system_identifier) {
  RETURN_IF_ERROR(delta ? RequireReplaceableDirectory(path, system_identifier)
                        : RequireEmpty(path, IsEmptyTarget(path)));
  return RequireUsableDirectory(path);
}

namespace {

// What a delta finds there is checked later by RequireOwnPlaces(), when nobody else can fill the
// place any more.
Status RequireTablespace(const Tablespace& tablespace, const RestoreOptions& options) {
  if (!options.delta) {
    RETURN_IF_ERROR(RequireEmpty(tablespace.path, IsEmptyDirectory(tablespace.path)));
  }
  return RequireUsableDirectory(tablespace.path);
}

std::string LinkOf(const std::string& target, const Tablespace& tablespace) {
  return fmt::format("{}/pg_tblspc/{}", target, tablespace.oid);
}

// The option --tablespace-map, quoted for a shell.
std::string MapOption(std::string_view from, std::string_view to) {
  const auto escaped = [](std::string_view path) {
    std::string text;
    for (const char c : path) {
      text += c == '=' ? "\\=" : std::string(1, c);
    }
    return text;
  };
  return "--tablespace-map " + QuoteForShell(escaped(from) + "=" + escaped(to));
}

OuterPlace PlaceOf(const Tablespace& recorded, const std::string& directory,
                   const RestoreOptions& options) {
  OuterPlace place{directory, LinkOf(options.target_directory, recorded), "",
                   options.tablespace_map.contains(recorded.path)};
  if (const std::string leads_to = TextOfLink(place.link); !leads_to.empty()) {
    place.option = MapOption(recorded.path, leads_to);
  }
  return place;
}

// Without encryption, anybody who can write to the repository can have written the location there.
// When the target has it as well, it does not come from the repository alone.
Status RequireProvenPlace(const Repository& repository, const Tablespace& tablespace,
                          const RestoreOptions& options) {
  if (repository.seal_policy().encrypts() ||
      (options.delta &&
       MayBelongTo(options.target_directory, PlaceOf(tablespace, tablespace.path, options)))) {
    return Ok();
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "tablespace {} would be restored to \"{}\", a directory that only "
                   "an unencrypted repository names",
                   tablespace.oid, tablespace.path)
      .WithHint(fmt::format(
          "With veza_backup.cipher = 'none' nothing proves who wrote this path. Choose the place, "
          "even if it is the same one, with --tablespace-map {}=DIRECTORY. Nothing was written.",
          tablespace.path));
}

}  // namespace

Result<std::vector<Tablespace>> PlaceTablespaces(const Repository& repository,
                                                 const BackupSummary& backup,
                                                 const RestoreOptions& options) {
  std::vector<Tablespace> placed = backup.tablespaces;
  for (const auto& mapping : options.tablespace_map) {
    const std::string& from = mapping.first;
    const auto found =
        std::find_if(placed.begin(), placed.end(),
                     [&](const Tablespace& tablespace) { return tablespace.path == from; });
    if (found == placed.end()) {
      std::string known;
      for (const Tablespace& tablespace : backup.tablespaces) {
        known += fmt::format("{}\"{}\"", known.empty() ? "" : ", ", tablespace.path);
      }
      return MakeError(ErrorCode::kInvalidArgument, "backup \"{}\" has no tablespace at \"{}\"",
                       backup.label, from)
          .WithHint(known.empty() ? "It has no tablespaces."
                                  : fmt::format("Its tablespaces are at {}.", known));
    }
  }
  for (Tablespace& tablespace : placed) {
    const auto mapped = options.tablespace_map.find(tablespace.path);
    if (mapped != options.tablespace_map.end()) {
      tablespace.path = WithoutLastSlash(mapped->second);
    } else if (!options.tablespace_root.empty()) {
      tablespace.path = fmt::format("{}/{}", options.tablespace_root, tablespace.oid);
    } else {
      RETURN_IF_ERROR(RequireProvenPlace(repository, tablespace, options));
    }
    Status usable = RequireTablespace(tablespace, options);
    if (!usable) {
      Error error =
          std::move(usable.error()).WithContext(fmt::format("tablespace {}", tablespace.oid));
      error.hint += error.hint.empty() ? "" : " ";
      error.hint += "Or choose another place for the tablespace with --tablespace-map OLD=NEW.";
      return error;
    }
  }
  return placed;
}

namespace {

constexpr const char* kGiveAnotherPlace = "Choose another place with --tablespace-map OLD=NEW.";

// Whether the user has chosen the place: the tablespace was not there when the backup was made, and
// the link in the target does not lead there.
bool IsNewPlace(const Tablespace& recorded, const Tablespace& placed, const RestorePlan& plan) {
  return CanonicalPath(recorded.path) != CanonicalPath(placed.path) &&
         !IsSameFile(LinkOf(plan.target_directory, recorded), placed.path);
}

Error WithinEachOther(const std::string& one, const std::string& other) {
  return MakeError(ErrorCode::kInvalidArgument,
                   "\"{}\" and \"{}\" are the same directory, or one contains the other", one,
                   other)
      .WithHint(fmt::format("{} Nothing was written.", kGiveAnotherPlace));
}

}  // namespace

Status RequireSeparateTablespaces(const RestorePlan& plan) {
  const std::vector<Tablespace>& placed = plan.tablespaces;
  for (std::size_t i = 0; i < placed.size(); ++i) {
    const std::string& path = placed[i].path;
    const bool is_new = IsNewPlace(plan.backup.tablespaces[i], placed[i], plan);
    if (IsSamePlace(path, plan.target_directory)) {
      return MakeError(ErrorCode::kInvalidArgument,
                       "tablespace {} would be restored into the data directory itself",
                       placed[i].oid)
          .WithHint(kGiveAnotherPlace);
    }
    if ((is_new && Overlap(path, plan.target_directory)) ||
        IsWithinTablespace(plan.target_directory, path)) {
      return WithinEachOther(path, plan.target_directory);
    }
    for (std::size_t j = 0; j < placed.size(); ++j) {
      const std::string& other = placed[j].path;
      if (j < i && IsSamePlace(path, other)) {
        return MakeError(ErrorCode::kInvalidArgument, "two tablespaces would be restored to \"{}\"",
                         path)
            .WithHint("Choose a separate place for each with --tablespace-map OLD=NEW.");
      }
      if (j != i && ((is_new && Overlap(path, other)) || IsWithinTablespace(path, other))) {
        return WithinEachOther(path, other);
      }
    }
  }
  return Ok();
}

namespace {

// Whether `path` is the directory of a repository, or lies in the directory of one of its clusters.
// Beside the clusters there may be anything, even the data directory, when both are on one file
// system.
bool IsInRepository(const std::string& path, const std::string& repository) {
  const std::optional<std::filesystem::path> way = WayTo(path, repository);
  if (!way) {
    return false;
  }
  const std::filesystem::path root = CanonicalPath(repository);
  const auto holds = [&](std::string_view prefix) {
    std::error_code error;
    return std::filesystem::exists(root / *way->begin() / prefix, error);
  };
  return way->empty() || holds(kIdentityPrefix) || holds(kKeyPrefix) || holds(kBackupPrefix);
}

}  // namespace

Status RequireApartFromRepository(const RestorePlan& plan) {
  const std::string& repository = plan.repository_directory;
  if (repository.empty()) {
    return Ok();
  }
  const auto refuse = [&](const std::string& directory) {
    return MakeError(
               ErrorCode::kInvalidArgument,
               "\"{}\" and the repository \"{}\" are the same directory, or one contains the other",
               directory, repository)
        .WithHint(
            "Choose another place with --target-dir, --tablespace-map or --waldir. Nothing was "
            "written.");
  };
  for (const std::string& directory : {plan.target_directory, plan.wal_directory}) {
    if (!directory.empty() &&
        (IsInRepository(directory, repository) || IsWithin(repository, directory))) {
      return refuse(directory);
    }
  }
  for (const Tablespace& tablespace : plan.tablespaces) {
    if (IsInRepository(tablespace.path, repository) ||
        IsWithinTablespace(repository, tablespace.path)) {
      return refuse(tablespace.path);
    }
  }
  return Ok();
}

Status RequireSpace(const RestorePlan& plan) {
  struct Need {
    std::string path;
    std::uint64_t bytes = 0;
  };
  std::map<dev_t, Need> needs;
  const auto add = [&](const std::string& path, std::uint64_t bytes) {
    struct stat info {};
    if (stat(ExistingAncestor(path).c_str(), &info) == 0) {
      Need& need = needs[info.st_dev];
      need.path = path;
      need.bytes += bytes;
    }
  };
  std::uint64_t elsewhere = 0;
  for (const Tablespace& tablespace : plan.tablespaces) {
    add(tablespace.path, tablespace.size);
    elsewhere += tablespace.size;
  }
  add(plan.target_directory, plan.size - std::min(elsewhere, plan.size));
  for (const auto& [device, need] : needs) {
    struct statvfs info {};
    if (statvfs(ExistingAncestor(need.path).c_str(), &info) != 0) {
      return ErrnoError(errno, fmt::format("could not examine file system of \"{}\"", need.path));
    }
    const std::uint64_t available = std::uint64_t{info.f_bavail} * info.f_frsize;
    if (available < need.bytes) {
      return MakeError(
                 ErrorCode::kNoSpace,
                 "backup \"{}\" needs {} bytes on the file system of \"{}\", which has {} left",
                 plan.backup.label, need.bytes, need.path, available)
          .WithHint("Free some space, or choose another directory. Nothing was written.");
    }
  }
  return Ok();
}

Status PlaceWalOf(RestorePlan& plan, const RestoreOptions& options) {
  ASSIGN_OR_RETURN(WalDirectory wal, PlaceWal(plan.target_directory, options.wal_directory,
                                              plan.tablespaces, options.delta));
  if (!wal.path.empty()) {
    RETURN_IF_ERROR(RequireUsableDirectory(wal.path));
  }
  plan.wal_directory = std::move(wal.path);
  plan.keeps_wal_link = wal.is_linked;
  return Ok();
}

Status TakeOwnPlaces(RestorePlan& plan, const RestoreOptions& options) {
  std::vector<OuterPlace> places;
  for (std::size_t i = 0; i < plan.tablespaces.size(); ++i) {
    places.push_back(PlaceOf(plan.backup.tablespaces[i], plan.tablespaces[i].path, options));
    const OuterPlace& place = places.back();
    if (std::string leads_to = TextOfLink(place.link);
        !leads_to.empty() && !place.is_named && !IsSameFile(place.link, place.directory)) {
      plan.left_links.push_back({place.link, std::move(leads_to)});
    }
  }
  if (!plan.wal_directory.empty()) {
    places.push_back({plan.wal_directory, plan.target_directory + "/pg_wal",
                      "--waldir " + QuoteForShell(plan.wal_directory),
                      !options.wal_directory.empty()});
  }
  ASSIGN_OR_RETURN(plan.replaced_places, RequireOwnPlaces(plan.target_directory, places));
  return Ok();
}

Status LockOthers(RestorePlan& plan) {
  for (const std::string& directory : plan.OtherDirectories()) {
    ASSIGN_OR_RETURN(plan.locks[directory], LockTarget(directory));
    ASSIGN_OR_RETURN(const bool empty, IsEmptyDirectory(directory));
    if (!empty && !plan.delta) {
      return FilledMeanwhile(directory);
    }
  }
  return Ok();
}

}  // namespace veza
