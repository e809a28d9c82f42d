#include "core/postgres/data_directory.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <memory>
#include <system_error>
#include <thread>
#include <utility>

#include "core/postgres/empty_databases.h"
#include "core/postgres/own_names.h"
#include "core/storage/file_io.h"

namespace veza {

namespace {

// basebackup.c, excludeDirContents: these directories are kept, and their contents are left out.
constexpr std::array<std::string_view, 7> kEmptiedDirectories = {
    "pg_stat_tmp", "pg_replslot",  "pg_dynshmem", "pg_notify",
    "pg_serial",   "pg_snapshots", "pg_subtrans"};

// basebackup.c, excludeFiles; the files that a backup writes itself; and the file that only the
// restored copy may act on.
constexpr std::array<std::string_view, 8> kExcludedFiles = {
    "postgresql.auto.conf.tmp", "current_logfiles.tmp", "backup_label",    "tablespace_map",
    "backup_manifest",          "postmaster.pid",       "postmaster.opts", kEmptyDatabasesFile};
// Since version 0.2 these are left out, too. Backups of version 0.1 may contain them.
constexpr std::array<std::string_view, 2> kExcludedSince02 = {kRepositoryMarker, kDirectoryNote};

bool IsExcludedSince02(std::string_view name) {
  return std::ranges::find(kExcludedSince02, name) != kExcludedSince02.end();
}

constexpr std::string_view kRelationCachePrefix = "pg_internal.init";
constexpr std::string_view kTemporaryPrefix = "pgsql_tmp";

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};

// PostgreSQL opens what is at or below these names. A symbolic link there that leads nowhere is an
// error.
constexpr std::array<std::string_view, 15> kNeededByServer = {
    "PG_VERSION",     "base",
    "global",         "pg_commit_ts",
    "pg_hba.conf",    "pg_ident.conf",
    "pg_logical",     "pg_multixact",
    "pg_stat",        "pg_tblspc",
    "pg_twophase",    "pg_wal",
    "pg_xact",        "postgresql.auto.conf",
    "postgresql.conf"};

bool IsNeededByServer(std::string_view path) {
  return std::find(kNeededByServer.begin(), kNeededByServer.end(),
                   path.substr(0, path.find('/'))) != kNeededByServer.end();
}

// Whether `path` is `directory` or inside it. Neither contains symbolic links or "..".
bool IsWithin(std::string_view path, std::string_view directory) {
  return directory == "/" || path == directory ||
         (path.starts_with(directory) && path[directory.size()] == '/');
}

std::string LastPart(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

// Empty, with errno set, when the path does not exist or cannot be resolved.
std::string RealPath(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> real(realpath(path.c_str(), nullptr),
                                                         &std::free);
  return real ? real.get() : "";
}

// Identifies a directory, whatever path leads to it.
struct FileId {
  dev_t device = 0;
  ino_t inode = 0;
  bool operator==(const FileId&) const = default;
};

// The names in one directory. A database with a million relations has a million of them or more, so
// they take 5 bytes each besides their characters.
class NameList {
 public:
  // False when there is no room left.
  bool Add(const char* name) {
    if (text_.size() > std::numeric_limits<std::uint32_t>::max()) {
      return false;
    }
    places_.push_back(static_cast<std::uint32_t>(text_.size()));
    text_.append(name).push_back('\0');
    return true;
  }
  // Puts them in order. Some file systems list a name twice when the file was replaced meanwhile.
  void Finish() {
    std::ranges::sort(places_, {}, [this](std::uint32_t place) { return At(place); });
    const auto is_same = [this](std::uint32_t a, std::uint32_t b) { return At(a) == At(b); };
    places_.erase(std::unique(places_.begin(), places_.end(), is_same), places_.end());
  }
  std::size_t size() const { return places_.size(); }
  std::string_view operator[](std::size_t index) const { return At(places_[index]); }

 private:
  std::string_view At(std::uint32_t place) const { return text_.data() + place; }

  std::string text_;
  std::vector<std::uint32_t> places_;
};

constexpr const char* kTakeItAgain = "Take the backup again.";

class Walker {
 public:
  Walker(const WalkOptions& options, const WalkVisitor& visitor)
      : options_(options), visitor_(visitor), root_(RealPath(options.data_directory)) {}

  Status Run() {
    if (root_.empty()) {
      return ErrnoError(errno,
                        fmt::format("could not access directory \"{}\"", options_.data_directory));
    }
    roots_.push_back(root_);
    for (const Tablespace& tablespace : options_.tablespaces) {
      struct stat info {};
      if (stat(tablespace.path.c_str(), &info) == 0) {
        locations_.push_back({{info.st_dev, info.st_ino}, tablespace.oid});
      }
    }
    struct stat repository {};
    if (!options_.repository_directory.empty() &&
        stat(options_.repository_directory.c_str(), &repository) == 0) {
      repository_ = FileId{repository.st_dev, repository.st_ino};
    }
    ASSIGN_OR_RETURN(const struct stat info, Examine(root_));
    RETURN_IF_ERROR(VisitDirectory("", root_, info));
    RETURN_IF_ERROR(Descend("", root_, ""));
    for (const Tablespace& tablespace : options_.tablespaces) {
      RETURN_IF_ERROR(WalkTablespace(tablespace));
    }
    return RequireVersionDirectories();
  }

 private:
  // --- Tablespaces

  std::string LinkOf(const Tablespace& tablespace) const {
    return fmt::format("{}/pg_tblspc/{}", root_, tablespace.oid);
  }
  std::string VersionDirectoryOf(const Tablespace& tablespace) const {
    return tablespace.path + "/" + options_.tablespace_version_directory;
  }

  // Only the directory of this server's version belongs to this server (sendTablespace).
  Status WalkTablespace(const Tablespace& tablespace) {
    const std::string location = RealPath(tablespace.path);
    if (location.empty()) {
      const int error_number = errno;
      if (error_number != ENOENT && error_number != ENOTDIR) {
        return ErrnoError(error_number,
                          fmt::format("could not access directory \"{}\"", tablespace.path));
      }
      // DROP TABLESPACE removes the link and leaves the location.
      return IsThere(LinkOf(tablespace)) ? NoLocation(tablespace, "does not exist") : Ok();
    }
    const std::string path = fmt::format("pg_tblspc/{}", tablespace.oid);
    ASSIGN_OR_RETURN(const struct stat info, Examine(location));
    RETURN_IF_ERROR(RefuseInRepository(path, location));
    RETURN_IF_ERROR(VisitDirectory(path, location, info));
    if (!IsThere(VersionDirectoryOf(tablespace))) {
      without_version_.push_back(&tablespace);
      return Ok();
    }
    roots_.push_back(location);
    RETURN_IF_ERROR(VisitItem(path, location, options_.tablespace_version_directory));
    roots_.pop_back();
    return Ok();
  }

  static Status NoLocation(const Tablespace& tablespace, const std::string& what) {
    return MakeError(ErrorCode::kFailedPrecondition, "the location \"{}\" of tablespace {} {}",
                     tablespace.path, tablespace.oid, what)
        .WithHint(
            "Its file system may not be mounted. Without the tablespace the backup would be "
            "incomplete.");
  }

  // DROP TABLESPACE removes the directory first and the link a moment later. So wait for a moment.
  Status RequireVersionDirectories() {
    constexpr int kAttempts = 20;
    constexpr std::chrono::milliseconds kPause{50};
    for (const Tablespace* tablespace : without_version_) {
      for (int attempt = 0;
           IsThere(LinkOf(*tablespace)) && !IsThere(VersionDirectoryOf(*tablespace)); ++attempt) {
        if (attempt == kAttempts) {
          return NoLocation(*tablespace, fmt::format("has no directory \"{}\"",
                                                     options_.tablespace_version_directory));
        }
        std::this_thread::sleep_for(kPause);
      }
    }
    return Ok();
  }

  // --- The repository

  static Error HoldsRepository(const std::string& path, const std::string& source) {
    return MakeError(
               ErrorCode::kFailedPrecondition,
               "\"{}\" in the data directory leads to \"{}\", which belongs to the repository",
               path, source)
        .WithHint(
            "Each backup would contain all earlier backups, and would be lost together with the "
            "server. Move the repository out of the data directory and its tablespaces, or remove "
            "the symbolic link that leads to it.");
  }

  // `target` is where a link leads, or the location of a tablespace. It contains no symbolic links.
  Status RefuseInRepository(const std::string& path, const std::string& target) const {
    for (std::string directory = target; repository_ && !directory.empty();
         directory.resize(directory.rfind('/'))) {
      struct stat info {};
      if (stat(directory.c_str(), &info) == 0 && FileId{info.st_dev, info.st_ino} == *repository_) {
        return HoldsRepository(path, target);
      }
    }
    return Ok();
  }

  // --- Directories

  static Result<struct stat> Examine(const std::string& directory) {
    struct stat info {};
    if (stat(directory.c_str(), &info) != 0) {
      return ErrnoError(errno, fmt::format("could not stat directory \"{}\"", directory));
    }
    return info;
  }

  Status VisitDirectory(const std::string& path, const std::string& source,
                        const struct stat& info) {
    DirectoryEntry entry;
    entry.kind = DirectoryEntry::Kind::kDirectory;
    entry.path = path;
    entry.source_path = source;
    entry.mode = info.st_mode & 07777;
    return visitor_.visit(entry);
  }

  // A listed directory has vanished. That is normal, because relations and databases are dropped.
  // If a symbolic link leads to it and still exists, it may have vanished for another reason.
  static Status Vanished(const std::string& source, const std::string& link) {
    return link.empty() || !IsThere(link) ? Ok() : Dangling(link, source);
  }

  static Status Dangling(const std::string& link, const std::string& target) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "symbolic link \"{}\" leads to \"{}\", which does not exist", link, target)
        .WithHint(
            "Restore what the link led to, or remove the link if nothing needs it. Without it the "
            "backup might be incomplete.");
  }

  // `link` is the symbolic link that leads to `source`. Empty when there is none.
  Status Descend(const std::string& path, const std::string& source, const std::string& link) {
    // O_NOFOLLOW: the directory must be the one that was examined, and no link in its place.
    UniqueFd fd(open(source.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd.valid()) {
      if (errno == ENOENT) {
        return Vanished(source, link);
      }
      Error error = ErrnoError(errno, fmt::format("could not open directory \"{}\"", source));
      if (errno == ELOOP || errno == ENOTDIR) {
        return std::move(error).WithHint(kTakeItAgain);
      }
      return error;
    }
    struct stat info {};
    if (fstat(fd.get(), &info) != 0) {
      return ErrnoError(errno, fmt::format("could not stat directory \"{}\"", source));
    }
    const FileId id{info.st_dev, info.st_ino};
    if (id == repository_) {
      return HoldsRepository(path, source);
    }
    if (std::find(open_.begin(), open_.end(), id) != open_.end()) {
      return MakeError(ErrorCode::kFailedPrecondition, "directory \"{}\" contains itself", source)
          .WithHint(
              "A symbolic link or a mount leads back to the directory. Remove that link or mount.");
    }
    ASSIGN_OR_RETURN(const NameList names, ListNames(std::move(fd), source));
    open_.push_back(id);
    RETURN_IF_ERROR(VisitItems(path, source, names));
    open_.pop_back();
    return Ok();
  }

  static Result<NameList> ListNames(UniqueFd fd, const std::string& source) {
    NameList names;
    const std::unique_ptr<DIR, CloseDirectory> directory(fdopendir(fd.get()));
    if (!directory) {
      return ErrnoError(errno, fmt::format("could not open directory \"{}\"", source));
    }
    (void)fd.Release();  // closed with the directory
    errno = 0;
    while (const dirent* item = readdir(directory.get())) {
      const std::string_view name = item->d_name;
      if (name != "." && name != ".." && !names.Add(item->d_name)) {
        return MakeError(ErrorCode::kFailedPrecondition, "directory \"{}\" has too many files",
                         source);
      }
    }
    if (errno != 0) {
      return ErrnoError(errno, fmt::format("could not read directory \"{}\"", source));
    }
    names.Finish();
    return names;
  }

  // The numbers of the unlogged relations, in order.
  static std::vector<std::string_view> FindUnlogged(const NameList& names) {
    std::vector<std::string_view> unlogged;
    for (std::size_t i = 0; i < names.size(); ++i) {
      const auto relation = ParseRelationName(names[i]);
      if (relation && relation->fork == "init") {
        unlogged.push_back(relation->number);
      }
    }
    std::ranges::sort(unlogged);
    return unlogged;
  }

  // Looks for the init fork now, as sendDir does, because a relation may have been made while its
  // directory was listed. At the end of recovery the server makes the main fork of such a relation,
  // and fails if the restored directory has one.
  bool IsUnlogged(std::string_view number, const std::vector<std::string_view>& unlogged,
                  const std::string& directory) const {
    return std::ranges::binary_search(unlogged, number) ||
           (options_.looks_again_for_init_forks &&
            IsThere(fmt::format("{}/{}_init", directory, number)));
  }

  Status VisitItems(const std::string& path, const std::string& source, const NameList& names) {
    const bool is_database = ClassifyDirectory(path) == RelationDirectory::kDatabase;
    const std::vector<std::string_view> unlogged =
        is_database ? FindUnlogged(names) : std::vector<std::string_view>();
    for (std::size_t i = 0; i < names.size(); ++i) {
      const std::string_view name = names[i];
      if (IsExcludedName(name) || IsExcludedSince02(name)) {
        continue;
      }
      if (is_database) {
        const auto relation = ParseRelationName(name);
        if (IsTemporaryRelationName(name) || (relation && relation->fork != "init" &&
                                              IsUnlogged(relation->number, unlogged, source))) {
          continue;
        }
      }
      RETURN_IF_ERROR(VisitItem(path, source, std::string(name)));
    }
    return Ok();
  }

  // --- What is in them

  Status VisitItem(const std::string& parent, const std::string& parent_source,
                   const std::string& name) {
    const std::string path = parent.empty() ? name : parent + "/" + name;
    if (path == kUnfinishedMarker || path == kUnfinishedControlFile) {
      return Ok();  // a restore would refuse a backup with these names
    }
    const std::string source = parent_source + "/" + name;
    struct stat info {};
    if (lstat(source.c_str(), &info) != 0) {
      if (errno == ENOENT) {
        return Ok();
      }
      return ErrnoError(errno, fmt::format("could not stat file \"{}\"", source));
    }
    if (!S_ISLNK(info.st_mode)) {
      return VisitPlain(path, source, info, "");
    }
    if (parent == "pg_tblspc" && IsDigits(name)) {
      return Ok();  // walked as a tablespace, and linked again on restore
    }
    return VisitLink(path, source);
  }

  // Follows the link, as PostgreSQL does when it opens the file.
  Status VisitLink(const std::string& path, const std::string& link) {
    const std::string text = TextOfLink(link);
    const std::string target = RealPath(link);
    struct stat info {};
    if (target.empty() || stat(target.c_str(), &info) != 0) {
      return errno == ENOENT || errno == ENOTDIR
                 ? VisitDangling(path, link, text)
                 : ErrnoError(errno, fmt::format("could not follow symbolic link \"{}\"", link));
    }
    const bool is_directory = S_ISDIR(info.st_mode);
    if (!is_directory && !S_ISREG(info.st_mode)) {
      return Skip(path, fmt::format("a symbolic link to {}", NameOfKind(info.st_mode)));
    }
    if (const auto* location = LocationOf(info); is_directory && location != nullptr) {
      return Skip(
          path,
          fmt::format(
              "a symbolic link to the location of tablespace {}, which is backed up separately",
              location->oid));
    }
    RETURN_IF_ERROR(RefuseInRepository(path, target));
    visitor_.follow({path, text});
    if (!is_directory) {
      return VisitPlain(path, target, info, link);
    }
    for (const std::string& root : roots_) {
      if (IsWithin(root, target)) {
        return MakeError(ErrorCode::kFailedPrecondition,
                         "symbolic link \"{}\" leads to \"{}\", which contains the link", link,
                         target)
            .WithHint("The link cannot be followed. Remove it, or change where it leads.");
      }
    }
    roots_.push_back(target);
    RETURN_IF_ERROR(VisitPlain(path, target, info, link));
    roots_.pop_back();
    return Ok();
  }

  Status VisitDangling(const std::string& path, const std::string& link, const std::string& text) {
    if (!IsThere(link)) {
      return Ok();
    }
    if (IsEmptiedDirectory(LastPart(path))) {
      visitor_.follow({path, text});
      struct stat info {};
      info.st_mode = S_IFDIR | S_IRWXU;
      return VisitDirectory(path, link, info);
    }
    return IsNeededByServer(path)
               ? Dangling(link, text)
               : Skip(path, fmt::format("a symbolic link to \"{}\", which does not exist", text));
  }

  Status VisitPlain(const std::string& path, const std::string& source, const struct stat& info,
                    const std::string& link) {
    if (S_ISREG(info.st_mode)) {
      return path == "global/pg_control" ? Ok() : VisitFile(path, source, info, link);
    }
    if (!S_ISDIR(info.st_mode)) {
      return Skip(path, NameOfKind(info.st_mode));
    }
    const std::string name = LastPart(path);
    if (name == kLostAndFound) {
      return Skip(path, "belongs to the file system", false);
    }
    if (LocationOf(info) != nullptr) {
      return Ok();  // somebody made a tablespace inside the data directory; walked as a tablespace
    }
    RETURN_IF_ERROR(VisitDirectory(path, source, info));
    if (IsEmptiedDirectory(name)) {
      return Ok();
    }
    return path == "pg_wal" ? VisitWalDirectories(path, source) : Descend(path, source, link);
  }

  Status VisitFile(const std::string& path, const std::string& source, const struct stat& info,
                   const std::string& link) {
    DirectoryEntry entry;
    entry.path = path;
    entry.source_path = source;
    entry.link_path = link;
    entry.mode = info.st_mode & 07777;
    entry.size = static_cast<std::uint64_t>(info.st_size);
    entry.mtime = info.st_mtim.tv_sec;
    entry.relation = ClassifyFile(path);
    return visitor_.visit(entry);
  }

  Status Skip(const std::string& path, const std::string& reason, bool unexpected = true) {
    visitor_.skip({path, reason}, unexpected);
    return Ok();
  }

  struct Location {
    FileId id;
    std::uint32_t oid = 0;
  };
  // Null when the directory is not the location of a tablespace.
  const Location* LocationOf(const struct stat& info) const {
    const auto found = std::find_if(locations_.begin(), locations_.end(), [&](const Location& one) {
      return one.id == FileId{info.st_dev, info.st_ino};
    });
    return found == locations_.end() ? nullptr : &*found;
  }

  // The content of pg_wal comes from the archive. The server needs the directories inside it.
  Status VisitWalDirectories(const std::string& path, const std::string& source) {
    for (const char* name : {"archive_status", "summaries"}) {
      struct stat info {};
      const std::string inner = fmt::format("{}/{}", source, name);
      if ((options_.postgres_major >= 17 || name == std::string_view("archive_status")) &&
          stat(inner.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
        RETURN_IF_ERROR(VisitDirectory(fmt::format("{}/{}", path, name), inner, info));
      }
    }
    return Ok();
  }

  const WalkOptions& options_;
  const WalkVisitor& visitor_;
  const std::string root_;
  // The directories that the walk is in: the data directory, a tablespace's location, and those
  // that links have led to.
  std::vector<std::string> roots_;
  std::vector<FileId> open_;
  std::optional<FileId> repository_;
  std::vector<Location> locations_;
  std::vector<const Tablespace*> without_version_;
};

// The error of an open() that failed with `error_number`. ELOOP means that a symbolic link, or
// something else that is no regular file, has taken the file's place.
Error OpeningFailed(const DirectoryEntry& entry, int error_number) {
  if (error_number == ELOOP) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "file \"{}\" was replaced by something else while the backup was made",
                     entry.source_path)
        .WithHint(kTakeItAgain);
  }
  return ErrnoError(error_number, fmt::format("could not open file \"{}\"", entry.source_path));
}

}  // namespace

bool IsExcludedName(std::string_view name) {
  return name.starts_with(kTemporaryPrefix) || name.starts_with(kRelationCachePrefix) ||
         std::ranges::find(kExcludedFiles, name) != kExcludedFiles.end();
}

bool IsEmptiedDirectory(std::string_view name) {
  return std::find(kEmptiedDirectories.begin(), kEmptiedDirectories.end(), name) !=
         kEmptiedDirectories.end();
}

Status WalkDataDirectory(const WalkOptions& options, const WalkVisitor& visitor) {
  return Walker(options, visitor).Run();
}

Result<std::optional<OpenedFile>> OpenForBackup(const DirectoryEntry& entry) {
  // O_NONBLOCK: if something else has taken the file's place, open() must not wait for it.
  OpenedFile file{
      UniqueFd(open(entry.source_path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)),
      {}};
  if (!file.fd.valid()) {
    if (errno == ENOENT && (entry.link_path.empty() || !IsThere(entry.link_path))) {
      return std::nullopt;  // dropped since it was listed; WAL replay drops it, too
    }
    return OpeningFailed(entry, errno);
  }
  if (fstat(file.fd.get(), &file.info) != 0) {
    return ErrnoError(errno, fmt::format("could not stat file \"{}\"", entry.source_path));
  }
  if (!S_ISREG(file.info.st_mode)) {
    return OpeningFailed(entry, ELOOP);
  }
  return file;
}

Result<std::vector<Tablespace>> ReadTablespaceLinks(const std::string& data_directory) {
  std::vector<Tablespace> tablespaces;
  const std::string directory = data_directory + "/pg_tblspc";
  std::error_code error;
  for (std::filesystem::directory_iterator item(directory, error), end; !error && item != end;
       item.increment(error)) {
    const std::string name = item->path().filename().string();
    Tablespace tablespace;
    tablespace.path = TextOfLink(item->path());
    if (!tablespace.path.empty() && IsDigits(name)) {
      std::from_chars(name.data(), name.data() + name.size(), tablespace.oid);
      tablespaces.push_back(std::move(tablespace));
    }
  }
  if (error) {
    return ErrnoError(error.value(), fmt::format("could not read directory \"{}\"", directory));
  }
  std::ranges::sort(tablespaces, {}, &Tablespace::oid);
  return tablespaces;
}

}  // namespace veza
