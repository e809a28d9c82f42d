#include "core/storage/local_store.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <optional>
#include <utility>

#include "core/limits.h"
#include "core/storage/local_directories.h"
#include "core/storage/local_tree.h"
#include "core/storage/unique_fd.h"

namespace veza {

namespace {

constexpr std::size_t kBufferSize = 256U << 10;
// Objects of at least this size are dropped from the page cache once they are on disk, because the
// database needs the cache.
constexpr std::uint64_t kUncachedSize = 1U << 20;
// How often a directory may vanish during one Put, because another process deletes its last object.
constexpr int kMaxVanishings = 100;

std::string_view DirectoryOf(std::string_view name) {
  const std::size_t slash = name.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : name.substr(0, slash);
}

std::string LastPartOf(std::string_view name) {
  return std::string(name.substr(name.rfind('/') + 1));
}

// A file under a temporary name. The destructor removes that name.
class TemporaryFile {
 public:
  TemporaryFile() = default;
  TemporaryFile(TemporaryFile&&) noexcept = default;
  TemporaryFile& operator=(TemporaryFile&&) noexcept = default;
  ~TemporaryFile() {
    if (fd_.valid()) {
      unlinkat(directory_.get(), name_.c_str(), 0);
    }
  }

  // `path` is the directory's path, for messages.
  static Result<TemporaryFile> Make(UniqueFd directory, const std::string& path, Random& random) {
    std::uint8_t unique[8];
    random.Fill(unique);
    TemporaryFile file;
    file.directory_ = std::move(directory);
    file.name_ = fmt::format("{}{}", kTemporaryPrefix, ToHex(unique));
    file.path_ = fmt::format("{}/{}", path, file.name_);
    file.fd_.Reset(openat(file.directory_.get(), file.name_.c_str(),
                          O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
    if (!file.fd_.valid()) {
      return ErrnoError(errno, fmt::format("could not create file \"{}\"", file.path_));
    }
    GiveToOwnerOf(file.directory(), file.fd());
    return file;
  }

  int fd() const { return fd_.get(); }
  int directory() const { return directory_.get(); }
  const char* name() const { return name_.c_str(); }

  Status Write(ByteView bytes) {
    while (!bytes.empty()) {
      const ssize_t written = write(fd_.get(), bytes.data(), bytes.size());
      if (written < 0 && errno != EINTR) {
        return ErrnoError(errno, fmt::format("could not write file \"{}\"", path_));
      }
      bytes = bytes.subspan(static_cast<std::size_t>(std::max<ssize_t>(written, 0)));
    }
    return Ok();
  }

  // Makes the content durable. The file keeps the time from the file system; tests set `modified`.
  Status Finish(std::uint64_t size, std::optional<TimePoint> modified) {
    const auto micros = modified.value_or(TimePoint{}).time_since_epoch().count();
    const timespec time{micros / 1'000'000, micros % 1'000'000 * 1000};
    const timespec times[2] = {time, time};
    if (modified && futimens(fd_.get(), times) != 0) {
      return ErrnoError(errno, fmt::format("could not set the time of file \"{}\"", path_));
    }
    if (fsync(fd_.get()) != 0) {
      return ErrnoError(errno, fmt::format("could not fsync file \"{}\"", path_));
    }
    if (size >= kUncachedSize) {
      posix_fadvise(fd_.get(), 0, 0, POSIX_FADV_DONTNEED);
    }
    return Ok();
  }

 private:
  std::string name_;
  std::string path_;
  UniqueFd directory_;
  UniqueFd fd_;
};

class LocalStore final : public Store {
 public:
  LocalStore(std::string root, Environment environment, const Clock* file_clock)
      : root_(std::move(root)),
        environment_(std::move(environment)),
        file_clock_(file_clock),
        directories_(root_) {}

  const std::string& location() const override { return root_; }

  Status Put(std::string_view name, Body& body, PutMode mode) override {
    const OwnersRights rights(root_);
    Status put = PutFile(name, body, mode);
    if (!put && put.error().code != ErrorCode::kAlreadyExists && ValidateObjectName(name)) {
      // It may have made them. Nobody would delete an object there, and remove them with it.
      directories_.RemoveEmpty(DirectoryOf(name));
    }
    return WithAdvice(std::move(put));
  }

  Status ListFragments(const ObjectVisitor& each) override {
    return WithAdvice(WalkFragments(root_, *environment_.cancellation, each));
  }

  Status RemoveFragment(std::string_view name) override {
    const OwnersRights rights(root_);
    const std::string_view directory = DirectoryOf(name);
    const std::string_view file = name.substr(directory.empty() ? 0 : directory.size() + 1);
    if (!file.starts_with(kTemporaryPrefix) || file.find('/') != std::string_view::npos ||
        (!directory.empty() && !ValidateObjectName(directory))) {
      return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not a temporary file", name);
    }
    ASSIGN_OR_RETURN(const std::optional<UniqueFd> opened, OpenDirectoryIfThere(root_, directory));
    if (!opened) {
      return Ok();
    }
    if (unlinkat(opened->get(), std::string(file).c_str(), 0) != 0 && errno != ENOENT) {
      return AccessError("remove", name, errno);
    }
    directories_.RemoveEmpty(directory);
    return Ok();
  }

  Status Get(std::string_view name, ByteRange range, const Sink& sink) override {
    RETURN_IF_ERROR(Begin(name));
    const std::string path = PathOf(name);
    struct stat info {};
    ASSIGN_OR_RETURN(const UniqueFd directory, FindObject(name, &info));
    // It may have been replaced by a FIFO meanwhile, which would block without O_NONBLOCK.
    const UniqueFd fd(openat(directory.get(), LastPartOf(name).c_str(),
                             O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
    if (!fd.valid() || fstat(fd.get(), &info) != 0) {
      return AccessError("read", name, errno);
    }
    RETURN_IF_ERROR(RequireObject(name, info));
    directories_.NoteRoot();
    const auto size = static_cast<std::uint64_t>(info.st_size);
    if (range.length == 0 || (range.offset >= size && !range.whole())) {
      return MakeError(ErrorCode::kInvalidArgument,
                       "range {}+{} is outside of object \"{}\" of {} bytes", range.offset,
                       range.length, path, size);
    }
    return Deliver(fd.get(), path, range.offset, std::min(range.length, size - range.offset), sink);
  }

  Result<ObjectInfo> Head(std::string_view name) override {
    RETURN_IF_ERROR(Begin(name));
    struct stat info {};
    RETURN_IF_ERROR(FindObject(name, &info));
    return ObjectInfo{std::string(name), static_cast<std::uint64_t>(info.st_size),
                      FromTimespec(info.st_mtim)};
  }

  // Removes whatever has the name, except a directory.
  Status Delete(std::string_view name) override {
    const OwnersRights rights(root_);
    RETURN_IF_ERROR(Begin(name));
    const Result<UniqueFd> directory = OpenDirectoryOf(name);
    if (!directory) {
      return directory.error().code == ErrorCode::kNotFound ? Ok() : Status(directory.error());
    }
    if (unlinkat(directory->get(), LastPartOf(name).c_str(), 0) != 0 && errno != ENOENT) {
      return errno == EISDIR ? Ok() : AccessError("remove", name, errno);
    }
    // The directory is synced even when the object was gone already, because the process that
    // removed it may not have synced it yet. Otherwise a crash could bring back the summary of a
    // backup whose packs are gone.
    const Status synced = SyncDirectory(directory->get(), PathOf(DirectoryOf(name)));
    if (!synced && synced.error().code != ErrorCode::kNotFound) {
      return synced.error();
    }
    directories_.RemoveEmpty(DirectoryOf(name));
    return Ok();
  }

  Status List(std::string_view prefix, std::string_view start_after,
              const ObjectVisitor& each) override {
    RETURN_IF_ERROR(environment_.cancellation->Check());
    return WithAdvice(WalkTree(root_, prefix, start_after, *environment_.cancellation, each));
  }

  Result<std::vector<std::string>> ListDirectories(std::string_view prefix) override {
    RETURN_IF_ERROR(environment_.cancellation->Check());
    RETURN_IF_ERROR(ValidateDirectoryPrefix(prefix));
    Result<std::vector<std::string>> found = WithAdvice(
        DirectoriesWithObjects(root_, prefix.substr(0, prefix.empty() ? 0 : prefix.size() - 1),
                               *environment_.cancellation));
    if (found && found->size() > limits::kDirectories) {
      return TooManyObjects(*this, prefix, limits::kDirectories);
    }
    return found;
  }

  Result<TimePoint> Now() override {
    RETURN_IF_ERROR(environment_.cancellation->Check());
    ASSIGN_OR_RETURN(const TimePoint now, file_clock_ ? file_clock_->Now() : FileSystemTime());
    return TimePoint(std::chrono::floor<std::chrono::seconds>(now));
  }

 private:
  // Returns the present by the file system's clock. On NFS that is the server's clock, the same for
  // all nodes.
  Result<TimePoint> FileSystemTime() {
    const OwnersRights rights(root_);
    const UniqueFd fd(open(root_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    struct stat info {};
    // No new file is made for this: there may be no space for it, and a crash would leave it
    // behind.
    if (fd.valid() && futimens(fd.get(), nullptr) == 0 && fstat(fd.get(), &info) == 0) {
      return FromTimespec(info.st_mtim);
    }
    // The directory does not exist yet, or this account may only read. Such an account neither
    // locks nor deletes anything.
    if (errno == ENOENT || errno == EACCES || errno == EPERM || errno == EROFS) {
      return environment_.clock->Now();
    }
    return ErrnoError(errno, fmt::format("could not set the time of directory \"{}\"", root_));
  }

  Status PutFile(std::string_view name, Body& body, PutMode mode) {
    RETURN_IF_ERROR(Begin(name));
    const std::string path = PathOf(name);
    const std::string own_name = LastPartOf(name);
    if (mode == PutMode::kCreate && IsThere(name)) {
      return Taken(name);
    }
    ASSIGN_OR_RETURN(TemporaryFile file, MakeTemporaryFile(name));
    RETURN_IF_ERROR(Fill(file, body, name));
    const std::string directory = PathOf(DirectoryOf(name));
    if (mode == PutMode::kReplace) {
      // If a symbolic link has the name, the link itself is replaced.
      if (renameat(file.directory(), file.name(), file.directory(), own_name.c_str()) != 0) {
        return errno == EISDIR
                   ? NotOurs(ErrorCode::kDataCorrupted, path, S_IFDIR)
                   : ErrnoError(errno, fmt::format("could not write file \"{}\"", path));
      }
      return SyncDirectory(file.directory(), directory);
    }
    if (linkat(file.directory(), file.name(), file.directory(), own_name.c_str(), 0) != 0) {
      const int error_number = errno;
      struct stat info {};
      // NFS may link the file, lose the response, and report EEXIST for the repeated request.
      const bool linked = fstat(file.fd(), &info) == 0 && info.st_nlink == 2;
      if (!linked && error_number == EEXIST) {
        return Taken(name);
      }
      if (!linked && (error_number == EPERM || error_number == EOPNOTSUPP)) {
        return MakeError(ErrorCode::kUnsupported,
                         "could not link file \"{}\": the file system does not support hard links",
                         path)
            .WithHint(
                "Put the repository on a file system with hard links, or on S3. Hard links keep "
                "two writers from overwriting each other.");
      }
      if (!linked) {
        return ErrnoError(error_number, fmt::format("could not link file \"{}\"", path));
      }
    }
    // If this fails, the object stays, because another writer may already have found it, made it
    // durable and acknowledged it.
    return SyncDirectory(file.directory(), directory);
  }

  Status Begin(std::string_view name) const {
    RETURN_IF_ERROR(ValidateObjectName(name));
    return environment_.cancellation->Check();
  }

  std::string PathOf(std::string_view name) const {
    return name.empty() ? root_ : fmt::format("{}/{}", root_, name);
  }

  Result<UniqueFd> OpenDirectoryOf(std::string_view name) const {
    Result<UniqueFd> directory = OpenDirectoryBelow(root_, DirectoryOf(name));
    if (!directory && directory.error().code == ErrorCode::kNotFound) {
      return Missing(name);
    }
    return WithAdvice(std::move(directory));
  }

  // True when anything has the name.
  bool IsThere(std::string_view name) const {
    struct stat info {};
    const Result<UniqueFd> directory = OpenDirectoryOf(name);
    return directory &&
           fstatat(directory->get(), LastPartOf(name).c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0;
  }

  // Opens the directory of the object.
  Result<UniqueFd> FindObject(std::string_view name, struct stat* info) const {
    ASSIGN_OR_RETURN(UniqueFd directory, OpenDirectoryOf(name));
    if (fstatat(directory.get(), LastPartOf(name).c_str(), info, AT_SYMLINK_NOFOLLOW) != 0) {
      return AccessError("stat", name, errno);
    }
    RETURN_IF_ERROR(RequireObject(name, *info));
    return directory;
  }

  // A directory of this name is not an object, as on S3. Anything else is damage: somebody has put
  // it in the place of the object.
  Status RequireObject(std::string_view name, const struct stat& info) const {
    if (S_ISREG(info.st_mode)) {
      return Ok();
    }
    return S_ISDIR(info.st_mode) ? Missing(name)
                                 : NotOurs(ErrorCode::kDataCorrupted, PathOf(name), info.st_mode);
  }

  Error Missing(std::string_view name) const {
    return MakeError(ErrorCode::kNotFound, "object \"{}\" does not exist", PathOf(name));
  }

  Error AccessError(const char* operation, std::string_view name, int error_number) const {
    if (error_number == ENOENT) {
      return Missing(name);
    }
    return WithAdvice(
        ErrnoError(error_number, fmt::format("could not {} file \"{}\"", operation, PathOf(name))));
  }

  static Error WithAdvice(Error error) {
    if (error.code == ErrorCode::kPermissionDenied && error.hint.empty()) {
      error.hint =
          "Make the operating system user that runs this process the owner of the directory named "
          "in veza_backup.repository.";
    } else if (error.code == ErrorCode::kNoSpace) {
      error.hint =
          "Free some space on that file system, or keep fewer backups: lower "
          "veza_backup.retention_full and call veza_backup_expire(), which also works on a full "
          "repository.";
    }
    return error;
  }

  template <typename T>
  static Result<T> WithAdvice(Result<T> result) {
    if (!result) {
      return WithAdvice(std::move(result.error()));
    }
    return result;
  }

  // Syncs the directory first. The other writer may not have done so yet, and our caller may
  // acknowledge the object as stored after comparing it.
  Error Taken(std::string_view name) {
    const Result<UniqueFd> directory = directories_.Make(DirectoryOf(name));
    const Status durable = directory ? SyncDirectory(directory->get(), PathOf(DirectoryOf(name)))
                                     : Status(directory.error());
    if (!durable) {
      return WithAdvice(durable.error());
    }
    struct stat info {};
    if (fstatat(directory->get(), LastPartOf(name).c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
        !S_ISREG(info.st_mode)) {
      return NotOurs(ErrorCode::kDataCorrupted, PathOf(name), info.st_mode);
    }
    return MakeError(ErrorCode::kAlreadyExists, "object \"{}\" already exists", PathOf(name));
  }

  Result<TemporaryFile> MakeTemporaryFile(std::string_view name) {
    const std::string path = PathOf(DirectoryOf(name));
    for (int vanishings = 0;; ++vanishings) {
      Result<UniqueFd> directory = directories_.Make(DirectoryOf(name));
      Result<TemporaryFile> file =
          directory ? TemporaryFile::Make(*std::move(directory), path, *environment_.random)
                    : Result<TemporaryFile>(std::move(directory.error()));
      if (file || file.error().code != ErrorCode::kNotFound || vanishings == kMaxVanishings) {
        if (!file) {
          return WithAdvice(std::move(file.error()));
        }
        return file;
      }
    }
  }

  Status Fill(TemporaryFile& file, Body& body, std::string_view name) {
    RETURN_IF_ERROR(body.Rewind());
    Bytes buffer(static_cast<std::size_t>(std::clamp<std::uint64_t>(body.size(), 1, kBufferSize)));
    std::uint64_t written = 0;
    for (;;) {
      RETURN_IF_ERROR(environment_.cancellation->Check());
      ASSIGN_OR_RETURN(const std::size_t count, body.Read(buffer));
      if (count == 0) {
        break;
      }
      RETURN_IF_ERROR(file.Write(ByteView(buffer).first(count)));
      written += count;
    }
    if (written != body.size()) {
      return MakeError(ErrorCode::kInternal,
                       "content of object \"{}\" has {} bytes, but {} were announced", PathOf(name),
                       written, body.size());
    }
    return file.Finish(written, file_clock_ ? std::optional(file_clock_->Now()) : std::nullopt);
  }

  Status Deliver(int fd, const std::string& path, std::uint64_t offset, std::uint64_t length,
                 const Sink& sink) const {
    posix_fadvise(fd, static_cast<off_t>(offset), static_cast<off_t>(length),
                  POSIX_FADV_SEQUENTIAL);
    Bytes buffer(static_cast<std::size_t>(std::min<std::uint64_t>(length, kBufferSize)));
    while (length > 0) {
      RETURN_IF_ERROR(environment_.cancellation->Check());
      const auto wanted = static_cast<std::size_t>(std::min<std::uint64_t>(length, buffer.size()));
      const ssize_t count = pread(fd, buffer.data(), wanted, static_cast<off_t>(offset));
      if (count < 0) {
        if (errno == EINTR) {
          continue;
        }
        return ErrnoError(errno, fmt::format("could not read file \"{}\"", path));
      }
      if (count == 0) {
        return MakeError(ErrorCode::kIo, "file \"{}\" ended early at {} bytes", path, offset);
      }
      RETURN_IF_ERROR(sink(ByteView(buffer).first(static_cast<std::size_t>(count))));
      offset += static_cast<std::uint64_t>(count);
      length -= static_cast<std::uint64_t>(count);
    }
    return Ok();
  }

  std::string root_;
  Environment environment_;
  const Clock* file_clock_;
  LocalDirectories directories_;
};

}  // namespace

Result<std::unique_ptr<Store>> MakeLocalStore(std::string root, Environment environment,
                                              const Clock* file_clock) {
  while (root.size() > 1 && root.ends_with('/')) {
    root.pop_back();
  }
  if (!root.starts_with('/') || root == "/") {
    return MakeError(ErrorCode::kInvalidArgument,
                     "repository directory \"{}\" is not an absolute path below \"/\"", root);
  }
  return std::make_unique<LocalStore>(std::move(root), std::move(environment), file_clock);
}

}  // namespace veza
