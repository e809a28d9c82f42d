#include "core/restore/file_restorer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "core/postgres/data_directory.h"
#include "core/postgres/empty_databases.h"
#include "core/postgres/tablespace_map.h"
#include "core/restore/existing_directory.h"
#include "core/restore/original.h"
#include "core/storage/file_io.h"
#include "core/storage/unique_fd.h"

namespace veza {

namespace {

constexpr std::string_view kControlFile = "global/pg_control";
constexpr std::string_view kUnfinishedSuffix = ".veza-restoring";  // of kUnfinishedControlFile
constexpr std::string_view kTablespacePrefix = "pg_tblspc/";
constexpr std::string_view kWal = "pg_wal";

enum class Links { kFollow, kRefuse };

// The path of the tablespace's link, as a backup records it.
std::string PathOf(const Tablespace& tablespace) {
  return fmt::format("{}{}", kTablespacePrefix, tablespace.oid);
}

Status MakeDirectory(const std::string& path, mode_t mode, Links links) {
  // An existing directory is used; PlanRestore() has checked its content.
  if (mkdir(path.c_str(), mode) != 0) {
    const int code = errno;
    const auto look = links == Links::kFollow ? stat : lstat;
    struct stat info {};
    if (code != EEXIST || look(path.c_str(), &info) != 0 || !S_ISDIR(info.st_mode)) {
      return ErrnoError(code, fmt::format("could not create directory \"{}\"", path));
    }
  }
  if (chmod(path.c_str(), mode) != 0) {
    return ErrnoError(errno, fmt::format("could not set permissions of directory \"{}\"", path));
  }
  return Ok();
}

Status MakeDirectories(const std::string& path) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    if (mkdir(path.substr(0, slash).c_str(), 0755) != 0 && errno != EEXIST) {
      return ErrnoError(errno,
                        fmt::format("could not create directory \"{}\"", path.substr(0, slash)));
    }
  }
  return MakeDirectory(path, 0700, Links::kFollow);
}

// The file as messages name it.
std::string Named(const std::string& path) {
  return "file \"" + path + "\"";
}

Result<UniqueFd> Create(const std::string& path) {
  UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) {
    return ErrnoError(errno, fmt::format("could not create file \"{}\"", path));
  }
  return file;
}

// Sets what must come after the content: the permissions, which may forbid writing, and the time.
Status CompleteFile(int fd, const PendingFile& file) {
  if ((file.mode != 0600 || file.reused) && fchmod(fd, file.mode) != 0) {
    return ErrnoError(errno, fmt::format("could not set permissions of file \"{}\"", file.path));
  }
  const timespec times[2] = {{0, UTIME_OMIT}, {static_cast<time_t>(file.mtime), 0}};
  if (futimens(fd, times) != 0) {
    return ErrnoError(errno, fmt::format("could not set the time of file \"{}\"", file.path));
  }
  return Ok();
}

// Writes zeros. Where the file system can punch holes, they take no space.
Status ZeroRange(int fd, std::uint64_t offset, std::uint32_t length, const std::string& name) {
  if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                static_cast<off_t>(length)) == 0) {
    return Ok();
  }
  return WriteAllAt(fd, offset, Bytes(length), name);
}

// Returns false when the file ends before the range.
Result<bool> ReadAllAt(int fd, std::uint64_t offset, MutableByteView into,
                       const std::string& name) {
  while (!into.empty()) {
    const ssize_t bytes = pread(fd, into.data(), into.size(), static_cast<off_t>(offset));
    if (bytes < 0 && errno != EINTR) {
      return ErrnoError(errno, fmt::format("could not read {}", name));
    }
    if (bytes == 0) {
      return false;
    }
    if (bytes > 0) {
      into = into.subspan(static_cast<std::size_t>(bytes));
      offset += static_cast<std::uint64_t>(bytes);
    }
  }
  return true;
}

// Also succeeds when the name, or that of its directory, belongs to something that is no file.
Status RemoveFile(const std::string& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT && errno != ENOTDIR && errno != EISDIR) {
    return ErrnoError(errno, fmt::format("could not remove file \"{}\"", path));
  }
  return Ok();
}

Status ReplaceFile(const std::string& path, std::string_view content) {
  RETURN_IF_ERROR(RemoveFile(path));
  ASSIGN_OR_RETURN(const UniqueFd file, Create(path));
  return WriteAllAt(file.get(), 0, AsBytes(content), Named(path));
}

Status SyncFileSystem(const std::string& directory) {
  const UniqueFd fd(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || syncfs(fd.get()) != 0) {
    return ErrnoError(errno, fmt::format("could not sync the file system of \"{}\"", directory));
  }
  return Ok();
}

}  // namespace

FileRestorer::FileRestorer(const RestorePlan& plan) : plan_(plan) {}

// Whether the path is one of the directories that the plan names. Such a path may be a symbolic
// link.
bool FileRestorer::IsRoot(const std::string& path) const {
  return path.empty() || (path == kWal && !plan_.wal_directory.empty()) ||
         std::ranges::any_of(plan_.tablespaces, [&](const Tablespace& tablespace) {
           return path == PathOf(tablespace);
         });
}

std::string FileRestorer::Locate(const std::string& path) const {
  if (path == kControlFile) {
    return fmt::format("{}/{}", plan_.target_directory, kUnfinishedControlFile);
  }
  if (path.starts_with(kTablespacePrefix)) {
    for (const Tablespace& tablespace : plan_.tablespaces) {
      const std::string link = PathOf(tablespace);
      if (path == link) {
        return tablespace.path;
      }
      if (path.starts_with(link + "/")) {
        return tablespace.path + path.substr(link.size());
      }
    }
  }
  return path.empty() ? plan_.target_directory : plan_.target_directory + "/" + path;
}

Status FileRestorer::CreateTarget() const {
  return MakeDirectories(plan_.target_directory);
}

Status FileRestorer::CreateRoot() const {
  RETURN_IF_ERROR(CreateTarget());
  // A running server must not lose its pg_control even for a moment.
  RETURN_IF_ERROR(RequireNoServer(plan_.target_directory));
  const std::string marker = fmt::format("{}/{}", plan_.target_directory, kUnfinishedMarker);
  if (!plan_.delta) {
    return ReplaceFile(marker, kUnfinishedText);
  }
  const bool was_marked = access(marker.c_str(), F_OK) == 0;
  std::vector<std::string> claimed;
  Status begun = Begin(marker, &claimed);
  if (begun) {
    return SyncFileSystem(plan_.target_directory);
  }
  // Restore the previous state. Claims that this call has not made belong to an earlier run, and
  // are its proof.
  if (!was_marked) {
    RETURN_IF_ERROR(RemoveFile(marker));
  }
  for (const std::string& directory : claimed) {
    RETURN_IF_ERROR(ReleaseDirectory(directory, plan_.target_directory));
  }
  return begun;
}

Status FileRestorer::Begin(const std::string& marker, std::vector<std::string>* claimed) const {
  // The claims come first, because the marker makes them necessary.
  for (const std::string& directory : plan_.OtherDirectories()) {
    if (!IsClaimedBy(plan_.target_directory, directory)) {
      claimed->push_back(directory);
      RETURN_IF_ERROR(ClaimDirectory(directory, plan_.target_directory));
    }
  }
  RETURN_IF_ERROR(ReplaceFile(marker, kUnfinishedText));
  return RemoveControlFile();
}

// A server may have been started at this moment. It creates postmaster.pid before it reads
// pg_control (postmaster.c, PostmasterMain). So once pg_control is gone, either no server can
// start, or its postmaster.pid is found here. If "global" is a symbolic link, the link is renamed,
// and what it leads to stays.
Status FileRestorer::RemoveControlFile() const {
  const std::string directory = plan_.target_directory + "/global";
  struct stat info {};
  const bool is_link = lstat(directory.c_str(), &info) == 0 && S_ISLNK(info.st_mode);
  const std::string control =
      is_link ? directory : fmt::format("{}/{}", plan_.target_directory, kControlFile);
  const std::string aside = fmt::format("{}{}", control, kUnfinishedSuffix);
  if (rename(control.c_str(), aside.c_str()) != 0) {
    if (errno != ENOENT && errno != ENOTDIR) {
      return ErrnoError(errno, fmt::format("could not rename file \"{}\"", control));
    }
    return RequireNoServer(plan_.target_directory);
  }
  if (Status free = RequireNoServer(plan_.target_directory); !free) {
    if (rename(aside.c_str(), control.c_str()) != 0) {
      return ErrnoError(errno, fmt::format("could not rename file \"{}\"", aside))
          .WithHint(fmt::format("Rename it to \"{}\": a server runs in the directory.", control));
    }
    return free;
  }
  return RemoveFile(aside);
}

Status FileRestorer::CreateOtherRoots() const {
  for (const std::string& directory : plan_.OtherDirectories()) {
    RETURN_IF_ERROR(MakeDirectories(directory));
  }
  return Ok();
}

Status FileRestorer::LinkOtherRoots() const {
  for (const std::string& directory : plan_.OtherDirectories()) {
    if (!plan_.delta) {
      RETURN_IF_ERROR(ClaimDirectory(directory, plan_.target_directory));
    }
  }
  if (plan_.wal_directory.empty()) {
    return Ok();
  }
  const std::string link = plan_.target_directory + "/pg_wal";
  if (!plan_.keeps_wal_link && symlink(plan_.wal_directory.c_str(), link.c_str()) != 0) {
    return ErrnoError(errno, fmt::format("could not create symbolic link \"{}\"", link));
  }
  return Ok();
}

Status FileRestorer::CreateDirectory(const DirectoryRecord& record) {
  const std::uint32_t mode = record.mode & kPermittedModes;
  if ((mode & S_IRWXU) != S_IRWXU) {
    restricted_directories_[record.path] = mode;
  }
  return MakeDirectory(Locate(record.path), mode | S_IRWXU,
                       IsRoot(record.path) ? Links::kFollow : Links::kRefuse);
}

Result<std::shared_ptr<PendingFile>> FileRestorer::CreateFile(const FileRecord& record,
                                                              std::size_t extents,
                                                              bool one_brings_all) const {
  auto file = std::make_shared<PendingFile>();
  file->path = Locate(record.path);
  file->mode = record.mode & kPermittedModes;
  file->mtime = record.mtime;
  file->extents_left = extents;
  if (plan_.delta) {
    ASSIGN_OR_RETURN(file->reused, ReuseFile(*file, record));
  }
  file->created = !one_brings_all || file->reused;
  if (file->created && !file->reused) {
    ASSIGN_OR_RETURN(const UniqueFd fd, Create(file->path));
    if (ftruncate(fd.get(), static_cast<off_t>(record.size)) != 0) {
      return ErrnoError(errno, fmt::format("could not extend file \"{}\"", file->path));
    }
    if (file->extents_left == 0) {
      RETURN_IF_ERROR(CompleteFile(fd.get(), *file));
    }
  }
  return file;
}

Result<bool> FileRestorer::ReuseFile(PendingFile& file, const FileRecord& record) const {
  struct stat info {};
  if (lstat(file.path.c_str(), &info) != 0) {
    return errno == ENOENT
               ? Result<bool>(false)
               : ErrnoError(errno, fmt::format("could not stat file \"{}\"", file.path));
  }
  if (!S_ISREG(info.st_mode) || info.st_nlink > 1) {
    // A file that has other names, too, must not be changed.
    RETURN_IF_ERROR(RemoveFile(file.path));
    return false;
  }
  constexpr mode_t kReadAndWrite = S_IRUSR | S_IWUSR;
  if ((info.st_mode & kReadAndWrite) != kReadAndWrite && chmod(file.path.c_str(), 0600) != 0) {
    return ErrnoError(errno, fmt::format("could not set permissions of file \"{}\"", file.path));
  }
  const UniqueFd fd(open(file.path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) {
    return ErrnoError(errno, fmt::format("could not open file \"{}\"", file.path));
  }
  const auto size = static_cast<off_t>(record.size);
  if (info.st_size != size && ftruncate(fd.get(), size) != 0) {
    return ErrnoError(errno, fmt::format("could not set the size of file \"{}\"", file.path));
  }
  std::uint64_t offset = 0;
  for (const Extent& extent : record.extents) {
    if (extent.pack == 0) {
      RETURN_IF_ERROR(ZeroRange(fd.get(), offset, extent.length, Named(file.path)));
    }
    offset += extent.length;
  }
  file.reused = true;
  if (file.extents_left == 0) {
    RETURN_IF_ERROR(CompleteFile(fd.get(), file));
  }
  return true;
}

Result<bool> FileRestorer::Holds(const PendingFile& file, std::span<const FilePiece> pieces,
                                 const ExtentToFind& wanted, MutableByteView buffer) const {
  const Extent& extent = wanted.extent;
  std::uint64_t brought = 0;
  for (const FilePiece& piece : pieces) {
    brought += piece.length;
  }
  // When only parts of an extent are wanted, there is no digest for them.
  if (!file.reused || brought != extent.length) {
    return false;
  }
  const UniqueFd fd(open(file.path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) {
    return ErrnoError(errno, fmt::format("could not open file \"{}\"", file.path));
  }
  const MutableByteView plain = buffer.first(extent.length);
  for (const FilePiece& piece : pieces) {
    ASSIGN_OR_RETURN(const bool whole,
                     ReadAllAt(fd.get(), piece.file_offset,
                               plain.subspan(piece.plain_offset, piece.length), Named(file.path)));
    if (!whole) {
      return false;
    }
  }
  return DigestExtent(plain, wanted.digest, wanted.key) == extent.digest;
}

Result<bool> FileRestorer::KeepExtent(PendingFile& file) const {
  if (file.extents_left.fetch_sub(1) != 1) {
    return false;
  }
  const UniqueFd fd(open(file.path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!fd.valid()) {
    return ErrnoError(errno, fmt::format("could not open file \"{}\"", file.path));
  }
  RETURN_IF_ERROR(CompleteFile(fd.get(), file));
  return true;
}

Result<bool> FileRestorer::WriteExtent(PendingFile& file, std::span<const FilePiece> pieces,
                                       ByteView plain) const {
  UniqueFd fd;
  if (file.created) {
    fd = UniqueFd(open(file.path.c_str(), O_WRONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!fd.valid()) {
      return ErrnoError(errno, fmt::format("could not open file \"{}\"", file.path));
    }
  } else {
    ASSIGN_OR_RETURN(fd, Create(file.path));
  }
  const std::string name = Named(file.path);
  for (const FilePiece& piece : pieces) {
    RETURN_IF_ERROR(WriteAllAt(fd.get(), piece.file_offset,
                               plain.subspan(piece.plain_offset, piece.length), name));
  }
  if (file.extents_left.fetch_sub(1) != 1) {
    return false;
  }
  RETURN_IF_ERROR(CompleteFile(fd.get(), file));
  return true;
}

Status FileRestorer::LinkTablespaces() const {
  for (const Tablespace& tablespace : plan_.tablespaces) {
    const std::string link = fmt::format("{}/{}", plan_.target_directory, PathOf(tablespace));
    if (symlink(tablespace.path.c_str(), link.c_str()) != 0) {
      return ErrnoError(errno, fmt::format("could not create symbolic link \"{}\"", link));
    }
  }
  if (plan_.tablespaces.empty()) {
    return Ok();
  }
  // Recovery creates the links again from this file, so it must name the new locations.
  return ReplaceFile(plan_.target_directory + "/tablespace_map",
                     FormatTablespaceMap(plan_.tablespaces));
}

Status FileRestorer::WriteRecoverySettings() const {
  const std::string path = plan_.target_directory + "/postgresql.auto.conf";
  const Result<std::string> before = ReadTextFile(path);
  // Only a missing file may count as empty. Otherwise all settings made by ALTER SYSTEM would be
  // lost silently.
  if (!before && before.error().code != ErrorCode::kNotFound) {
    return before.error();
  }
  RETURN_IF_ERROR(ReplaceFile(path, RewriteAutoConf(before.value_or(""), plan_.recovery)));
  RETURN_IF_ERROR(ReplaceFile(fmt::format("{}/{}", plan_.target_directory, kRecoverySettingsFile),
                              ListRecoverySettings(plan_.recovery)));
  // A backup of a standby contains standby.signal, which would win over recovery.signal.
  for (const char* name : {"recovery.signal", "standby.signal"}) {
    RETURN_IF_ERROR(RemoveFile(fmt::format("{}/{}", plan_.target_directory, name)));
  }
  return ReplaceFile(fmt::format("{}/{}", plan_.target_directory, SignalFileName(plan_.recovery)),
                     "");
}

Status FileRestorer::ListEmptyDatabases() const {
  if (!plan_.databases || plan_.databases->empty.empty()) {
    return Ok();
  }
  EmptyDatabases empty{plan_.backup.system_identifier, plan_.backup.label, {}};
  for (const DatabaseSummary& database : plan_.databases->empty) {
    empty.databases.push_back({database.oid, database.name});
  }
  return ReplaceFile(fmt::format("{}/{}", plan_.target_directory, kEmptyDatabasesFile),
                     FormatEmptyDatabases(empty));
}

Status FileRestorer::WriteServerFiles() const {
  RETURN_IF_ERROR(LinkTablespaces());
  RETURN_IF_ERROR(ListEmptyDatabases());
  return WriteRecoverySettings();
}

Status FileRestorer::RestrictDirectories() const {
  // Deeper directories come first.
  for (auto directory = restricted_directories_.rbegin();
       directory != restricted_directories_.rend(); ++directory) {
    RETURN_IF_ERROR(MakeDirectory(Locate(directory->first), directory->second, Links::kFollow));
  }
  return Ok();
}

// From now on the note proves that the other directories belong to this one, as the claims did
// before. An old note must go, because backups of version 0.1 may contain that of another
// directory.
Status FileRestorer::WriteDirectoryNote() const {
  const std::string path = fmt::format("{}/{}", plan_.target_directory, kDirectoryNote);
  if (plan_.OtherDirectories().empty()) {
    return RemoveFile(path);
  }
  ASSIGN_OR_RETURN(const std::string note, MakeDirectoryNote(plan_.target_directory));
  return ReplaceFile(path, note);
}

Status FileRestorer::SyncAndComplete() const {
  RETURN_IF_ERROR(WriteDirectoryNote());
  RETURN_IF_ERROR(RestrictDirectories());
  // One syncfs() for each file system is faster than an fsync() for each of a hundred thousand
  // files.
  RETURN_IF_ERROR(SyncFileSystem(plan_.target_directory));
  for (const std::string& directory : plan_.OtherDirectories()) {
    RETURN_IF_ERROR(SyncFileSystem(directory));
  }
  RETURN_IF_ERROR(RemoveFile(fmt::format("{}/{}", plan_.target_directory, kUnfinishedMarker)));
  const std::string control = fmt::format("{}/{}", plan_.target_directory, kControlFile);
  const std::string unfinished =
      fmt::format("{}/{}", plan_.target_directory, kUnfinishedControlFile);
  if (rename(unfinished.c_str(), control.c_str()) != 0) {
    return ErrnoError(errno, fmt::format("could not rename file \"{}\"", unfinished));
  }
  for (const std::string& directory : plan_.OtherDirectories()) {
    RETURN_IF_ERROR(ReleaseDirectory(directory, plan_.target_directory));
  }
  return SyncFileSystem(plan_.target_directory);
}

}  // namespace veza
