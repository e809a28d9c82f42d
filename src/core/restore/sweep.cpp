#include "core/restore/sweep.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <system_error>
#include <utility>

#include "core/postgres/data_directory.h"
#include "core/postgres/empty_databases.h"
#include "core/repository/manifest_rules.h"
#include "core/repository/names.h"
#include "core/repository/pack_list.h"
#include "core/repository/repository_marker.h"
#include "core/restore/existing_directory.h"
#include "core/restore/overlap.h"
#include "core/restore/recovery_settings.h"
#include "core/restore/running_servers.h"
#include "core/storage/file_io.h"
#include "core/storage/unique_fd.h"

namespace veza {

namespace {

std::uint64_t HashOf(std::string_view path, PathSet::Kind kind) {
  return std::hash<std::string>()(std::string(1, static_cast<char>(kind)) + std::string(path));
}

// The names that PostgreSQL 15 to 18 itself creates at the top of a data directory (initdb.c,
// subdirs; guc_file, syslogger, backups, pg_upgrade), whether or not the backup contains them.
// These are full names. A prefix such as "pg_" would not do, because a name that only looks like
// PostgreSQL's may belong to another cluster.
constexpr std::array<std::string_view, 43> kServerNames = {"PG_VERSION",
                                                           "backup_label",
                                                           "backup_label.old",
                                                           "backup_manifest",
                                                           "backup_manifest.tmp",
                                                           "base",
                                                           "current_logfiles",
                                                           "current_logfiles.tmp",
                                                           "global",
                                                           "log",
                                                           "logfile",
                                                           "pg_commit_ts",
                                                           "pg_dynshmem",
                                                           "pg_hba.conf",
                                                           "pg_ident.conf",
                                                           "pg_logical",
                                                           "pg_multixact",
                                                           "pg_notify",
                                                           "pg_replslot",
                                                           "pg_serial",
                                                           "pg_snapshots",
                                                           "pg_stat",
                                                           "pg_stat_tmp",
                                                           "pg_subtrans",
                                                           "pg_tblspc",
                                                           "pg_twophase",
                                                           "pg_upgrade_output.d",
                                                           "pg_wal",
                                                           "pg_xact",
                                                           "postgresql.auto.conf",
                                                           "postgresql.auto.conf.tmp",
                                                           "postgresql.conf",
                                                           "postmaster.opts",
                                                           "postmaster.pid",
                                                           "promote",
                                                           "recovery.done",
                                                           "recovery.signal",
                                                           "standby.signal",
                                                           "tablespace_map",
                                                           "tablespace_map.old",
                                                           kDirectoryNote,
                                                           kUnfinishedMarker,
                                                           kLostAndFound};
// Sockets, temporary files, and our own files (veza-repository) including their temporary names.
constexpr std::array<std::string_view, 5> kServerPrefixes = {
    ".s.PGSQL.", "pgsql_tmp", kRepositoryMarker, kEmptyDatabasesFile, kRecoverySettingsFile};

// The same for pg_wal, in addition to names that begin with a timeline number.
constexpr std::array<std::string_view, 4> kWalNames = {"archive_status", "summaries",
                                                       "RECOVERYXLOG", "RECOVERYHISTORY"};
// New WAL files of the server, and our own files (veza_spool, veza_lease, veza_key_wrap).
constexpr std::array<std::string_view, 2> kWalPrefixes = {"xlogtemp.", "veza_"};

bool IsServerName(std::string_view name) {
  return std::ranges::find(kServerNames, name) != kServerNames.end() ||
         std::ranges::any_of(kServerPrefixes,
                             [name](std::string_view prefix) { return name.starts_with(prefix); });
}

bool IsWalName(std::string_view name) {
  constexpr std::size_t kTimelineDigits = 8;
  return std::ranges::find(kWalNames, name) != kWalNames.end() || name == kLostAndFound ||
         std::ranges::any_of(
             kWalPrefixes, [name](std::string_view prefix) { return name.starts_with(prefix); }) ||
         (name.size() > kTimelineDigits &&
          name.find_first_not_of("0123456789ABCDEF") >= kTimelineDigits);
}

// Whether anything is mounted at `path`.
bool IsMountPoint(const std::string& path) {
  struct statx info {};
  return statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &info) == 0 &&
         (info.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0 &&
         (info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

// Whether this account can list the directory and remove its content. The owner can give himself
// these rights.
bool CanSweep(const std::string& path, const struct stat& info) {
  return info.st_uid == geteuid() ||
         faccessat(AT_FDCWD, path.c_str(), R_OK | W_OK | X_OK, AT_EACCESS) == 0;
}

bool CanReuse(const std::string& path, const struct stat& info) {
  return info.st_uid == geteuid() ||
         faccessat(AT_FDCWD, path.c_str(), R_OK | W_OK, AT_EACCESS) == 0;
}

// Whether a directory that the backup does not have, `name` in the target, looks like something
// that a cluster never creates there itself: a data directory, a tablespace, or a directory of WAL.
// It does not matter which cluster it belongs to; it may be a copy of this one that somebody keeps.
bool IsSomeones(const std::string& path, std::string_view name) {
  return (IsThere(path + "/PG_VERSION") && IsThere(path + "/global/pg_control")) ||
         (IsVersionDirectory(name.substr(name.rfind('/') + 1)) && !IsInPlaceTablespace(name)) ||
         (name != "pg_wal" && IsThere(path + "/archive_status"));
}

// Walks the directories twice. The first walk removes nothing, and finds what must not be removed.
class Sweeper {
 public:
  Sweeper(const PathSet& wanted, const RestorePlan& plan, SweepFindings* findings)
      : wanted_(wanted), plan_(plan), findings_(findings), used_(FindUsedPlaces()) {
    struct stat info {};
    if (!plan.repository_directory.empty() && stat(plan.repository_directory.c_str(), &info) == 0) {
      used_.push_back({info.st_dev, info.st_ino, "", "", false, false});
    }
  }

  Status Run() {
    RETURN_IF_ERROR(SweepRoot(plan_.target_directory, "", Place::kTopOfData));
    if (!plan_.wal_directory.empty() && plan_.keeps_wal_link) {
      RETURN_IF_ERROR(SweepRoot(plan_.wal_directory, "pg_wal/", Place::kTopOfWal));
    }
    for (const Tablespace& tablespace : plan_.tablespaces) {
      RETURN_IF_ERROR(SweepRoot(tablespace.path, fmt::format("pg_tblspc/{}/", tablespace.oid),
                                Place::kTopOfTablespace));
    }
    return Ok();
  }

 private:
  enum class Place { kTopOfData, kTopOfWal, kTopOfTablespace, kInside };

  bool examines() const { return findings_ != nullptr; }

  // Sweeps one of the directories that the plan names. It may be reached through a symbolic link,
  // and may be on any device.
  Status SweepRoot(const std::string& directory, const std::string& prefix, Place place) {
    struct stat info {};
    if (stat(directory.c_str(), &info) != 0) {
      return errno == ENOENT
                 ? Ok()
                 : ErrnoError(errno, fmt::format("could not stat directory \"{}\"", directory));
    }
    return Sweep(directory, prefix, place, info.st_dev, 0);
  }

  // `directory` is the place of `prefix` in the backup. `prefix` is empty or ends with a slash.
  Status Sweep(const std::string& directory, const std::string& prefix, Place place, dev_t device,
               int no_follow) {
    const UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | no_follow));
    struct stat info {};
    if (!fd.valid() || fstat(fd.get(), &info) != 0) {
      return errno == ENOENT
                 ? Ok()
                 : ErrnoError(errno, fmt::format("could not open directory \"{}\"", directory));
    }
    if (info.st_dev != device) {
      return MakeError(ErrorCode::kFailedPrecondition,
                       "a file system was mounted at \"{}\" meanwhile", directory);
    }
    ASSIGN_OR_RETURN(const std::vector<std::string> names, ListNames(directory, fd.get()));
    for (const std::string& name : names) {
      if (!IsLeftAlone(name, prefix, place)) {
        RETURN_IF_ERROR(Visit(fmt::format("{}/{}", directory, name), prefix + name, place, device));
      }
    }
    return Ok();
  }

  static Result<std::vector<std::string>> ListNames(const std::string& directory, int fd) {
    const std::unique_ptr<DIR, int (*)(DIR*)> items(fdopendir(dup(fd)), closedir);
    if (items == nullptr) {
      return ErrnoError(errno, fmt::format("could not open directory \"{}\"", directory));
    }
    std::vector<std::string> names;
    while (const dirent* item = readdir(items.get())) {
      const std::string_view name = item->d_name;
      if (name != "." && name != "..") {
        names.emplace_back(name);
      }
    }
    return names;
  }

  bool IsLeftAlone(std::string_view name, const std::string& prefix, Place place) const {
    return !removes_all_ && place != Place::kInside &&
           (name == kLostAndFound || (prefix.empty() && name == kUnfinishedMarker) ||
            (place != Place::kTopOfData && name == kClaim));
  }

  bool IsKnown(std::string_view name, const std::string& path, Place place) const {
    switch (place) {
      case Place::kTopOfData:
        return IsServerName(name) || wanted_.Contains(path, PathSet::Kind::kFile) ||
               wanted_.Contains(path, PathSet::Kind::kDirectory);
      case Place::kTopOfWal:
        return IsWalName(name);
      case Place::kTopOfTablespace:
        return wanted_.Contains(path, PathSet::Kind::kDirectory);
      case Place::kInside:
        break;
    }
    return true;
  }

  // Whether a name at the top of a directory is kept because it is unknown.
  bool StaysUnknown(const std::string& path, const std::string& name, Place place) {
    if (IsKnown(name.substr(name.rfind('/') + 1), name, place)) {
      return false;
    }
    if (place == Place::kTopOfTablespace) {
      return true;  // it belongs to another version
    }
    // Nobody has agreed to lose what was created after the plan was made.
    const bool keeps = examines() ? plan_.unknown_names == UnknownNames::kKeep
                                  : plan_.unknown_names != UnknownNames::kRemove;
    if (examines()) {
      findings_->unknown.push_back(path);
      if (keeps && removes_all_) {
        findings_->in_the_way.push_back(path);
      }
    }
    return keeps;
  }

  Status Visit(const std::string& path, const std::string& name, Place place, dev_t device) {
    struct stat info {};
    if (lstat(path.c_str(), &info) != 0) {
      return errno == ENOENT ? Ok()
                             : ErrnoError(errno, fmt::format("could not stat file \"{}\"", path));
    }
    if (StaysUnknown(path, name, place)) {
      return Ok();
    }
    if (S_ISDIR(info.st_mode)) {
      return VisitDirectory(path, name, info, device);
    }
    if (S_ISLNK(info.st_mode) && name == "pg_wal" && plan_.keeps_wal_link) {
      return Ok();
    }
    const bool wanted = S_ISREG(info.st_mode) && IsWanted(name, PathSet::Kind::kFile);
    if (examines()) {
      ExamineFile(path, name, info, wanted);
      return Ok();
    }
    if (!wanted && unlink(path.c_str()) != 0) {
      return ErrnoError(errno, fmt::format("could not remove file \"{}\"", path));
    }
    return Ok();
  }

  void ExamineFile(const std::string& path, const std::string& name, const struct stat& info,
                   bool wanted) {
    if (wanted && !CanReuse(path, info)) {
      findings_->closed.push_back(path);
    }
    const bool is_tablespace =
        std::ranges::any_of(plan_.tablespaces, [&](const Tablespace& tablespace) {
          return name == fmt::format("pg_tblspc/{}", tablespace.oid);
        });
    if (S_ISLNK(info.st_mode) && !is_tablespace) {
      findings_->links.push_back({path, TextOfLink(path)});
    }
  }

  Status VisitDirectory(const std::string& path, const std::string& name, const struct stat& info,
                        dev_t device) {
    const bool is_wal = name == "pg_wal";
    // If WAL goes to another directory, pg_wal will be a link.
    const bool becomes_link = is_wal && !plan_.wal_directory.empty();
    const bool wanted = IsWanted(name, PathSet::Kind::kDirectory) && !becomes_link;
    if (IsUsed(info)) {
      return Refuse(path, &SweepFindings::used, "a running server, or the repository, uses");
    }
    const bool is_mount = info.st_dev != device || IsMountPoint(path);
    if (is_mount && !(is_wal && wanted)) {
      if (wanted && IsEmptiedDirectory(name)) {
        // Its content does not matter, for example pg_stat_tmp on a memory file system.
        return Ok();
      }
      return Refuse(path, &SweepFindings::mounts, "a file system is mounted at");
    }
    if (!IsWanted(name, PathSet::Kind::kDirectory) && IsSomeones(path, name)) {
      return Refuse(path, &SweepFindings::someones, "another cluster's data have appeared in");
    }
    if (!CanSweep(path, info)) {
      return Refuse(path, &SweepFindings::closed, "this account has no permission to change");
    }
    const bool is_closed = info.st_uid == geteuid() && (info.st_mode & S_IRWXU) != S_IRWXU;
    if (is_closed) {
      RETURN_IF_ERROR(SetMode(path, S_IRWXU));
    }
    // Inside an unwanted directory nothing is wanted. The exception is a pg_wal that becomes a
    // link: its wanted content will be behind the link.
    removes_all_ = removes_all_ || becomes_link;
    const Status swept = Sweep(path, name + "/", is_wal ? Place::kTopOfWal : Place::kInside,
                               info.st_dev, O_NOFOLLOW);
    removes_all_ = removes_all_ && !becomes_link;
    if (is_closed && examines()) {
      RETURN_IF_ERROR(SetMode(path, info.st_mode & 07777));
    }
    RETURN_IF_ERROR(swept);
    if (!wanted && !examines() && rmdir(path.c_str()) != 0) {
      return ErrnoError(errno, fmt::format("could not remove directory \"{}\"", path));
    }
    return Ok();
  }

  bool IsUsed(const struct stat& info) const {
    return std::ranges::any_of(used_, [&](const UsedPlace& place) {
      return place.device == info.st_dev && place.inode == info.st_ino;
    });
  }

  static Status SetMode(const std::string& directory, mode_t mode) {
    return chmod(directory.c_str(), mode) == 0
               ? Ok()
               : ErrnoError(errno, fmt::format("could not set permissions of directory \"{}\"",
                                               directory));
  }

  // During the first walk the path is recorded. During the second it has appeared since, which is
  // an error.
  Status Refuse(const std::string& path, std::vector<std::string> SweepFindings::*list,
                const char* what) {
    if (examines()) {
      (findings_->*list).push_back(path);
      return Ok();
    }
    return MakeError(ErrorCode::kFailedPrecondition, "{} \"{}\"", what, path);
  }

  bool IsWanted(const std::string& name, PathSet::Kind kind) const {
    return !removes_all_ && wanted_.Contains(name, kind);
  }

  const PathSet& wanted_;
  const RestorePlan& plan_;
  SweepFindings* const findings_;  // null when removing
  std::vector<UsedPlace> used_;    // by running servers and by the repository
  bool removes_all_ = false;       // inside a pg_wal that becomes a link
};

std::string ListPaths(const std::vector<std::string>& paths) {
  constexpr std::size_t kShown = 10;
  std::string text;
  for (std::size_t i = 0; i < std::min(paths.size(), kShown); ++i) {
    text += fmt::format("{}\"{}\"", i == 0 ? "" : ", ", paths[i]);
  }
  return paths.size() > kShown ? fmt::format("{} and {} more", text, paths.size() - kShown) : text;
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
  // In the data directory, these directories are replaced by links.
  const auto is_tablespace = [&](const std::string& path) {
    return std::ranges::any_of(plan.tablespaces, [&](const Tablespace& tablespace) {
      return path == fmt::format("pg_tblspc/{}", tablespace.oid);
    });
  };
  PathSet wanted;
  NamedPacks packs;
  RETURN_IF_ERROR(ReadWithRules(repository, plan.backup, [&](ManifestRecord&& record) -> Status {
    RETURN_IF_ERROR(repository.environment().cancellation->Check());
    if (const auto* directory = std::get_if<DirectoryRecord>(&record)) {
      if (!is_tablespace(directory->path)) {
        wanted.Add(directory->path, PathSet::Kind::kDirectory);
      }
    } else if (const auto* file = std::get_if<FileRecord>(&record)) {
      if (!plan.unlogged.LeavesOut(file->path)) {
        wanted.Add(file->path, PathSet::Kind::kFile);
      }
    } else if (const auto* pack = std::get_if<PackRecord>(&record)) {
      packs.Add(*pack);
    }
    return Ok();
  }));
  wanted.Close();
  RETURN_IF_ERROR(packs.RequireAll(repository, plan.backup));
  return wanted;
}

Result<SweepFindings> FindWhatDoesNotBelong(const PathSet& wanted, const RestorePlan& plan) {
  SweepFindings findings;
  RETURN_IF_ERROR(Sweeper(wanted, plan, &findings).Run());
  return findings;
}

Status RequireSweepable(const SweepFindings& findings, const RestorePlan& plan) {
  if (!findings.mounts.empty()) {
    return MakeError(ErrorCode::kFailedPrecondition, "another file system is mounted at {}",
                     ListPaths(findings.mounts))
        .WithHint(
            "A delta removes what is not in the backup, but not on another file system. Unmount "
            "that file system, or restore into another directory. Nothing was changed.");
  }
  if (!findings.used.empty()) {
    return MakeError(ErrorCode::kFailedPrecondition, "a running server, or the repository, uses {}",
                     ListPaths(findings.used))
        .WithHint(
            "A delta would remove what is there. Restore into another directory. Nothing was "
            "changed.");
  }
  if (!findings.someones.empty()) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "directories that are not in the backup look like the data of a cluster: {}",
                     ListPaths(findings.someones))
        .WithHint(fmt::format(
            "A delta does not remove a data directory, tablespace or WAL directory that is not its "
            "own. Move it away, or remove it yourself{}. Nothing was changed.",
            plan.unknown_names == UnknownNames::kKeep
                ? ""
                : "; or add --unknown keep, which keeps names at the top of the directory that are "
                  "not PostgreSQL's"));
  }
  if (!findings.in_the_way.empty()) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "pg_wal cannot become a link because it contains {}",
                     ListPaths(findings.in_the_way))
        .WithHint("Move it away, or leave out --waldir. Nothing was changed.");
  }
  if (!findings.closed.empty()) {
    return MakeError(ErrorCode::kPermissionDenied, "this account has no permission to change {}",
                     ListPaths(findings.closed))
        .WithHint(
            "Change its owner to the account that restores, or remove it. Nothing was changed.");
  }
  if (!findings.unknown.empty() && plan.unknown_names == UnknownNames::kRefuse) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "directory \"{}\" contains names that are neither in the backup nor "
                     "PostgreSQL's: {}",
                     plan.target_directory, ListPaths(findings.unknown))
        .WithHint(
            "Move them away, or add --unknown keep or --unknown remove. Nothing was changed.");
  }
  return Ok();
}

Status RemoveWhatDoesNotBelong(const PathSet& wanted, const RestorePlan& plan) {
  return Sweeper(wanted, plan, nullptr).Run();
}

}  // namespace veza
