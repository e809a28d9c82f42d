#include "core/storage/local_store.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "core/limits.h"
#include "core/storage/local_directories.h"
#include "core/storage/local_tree.h"
#include "core/storage/unique_fd.h"

namespace veza {

namespace {

constexpr std::size_t kBufferSize = 256U << 10;
// Objects at least this large are put out of the page cache once they are on disk: the cache is the
// database's.
constexpr std::uint64_t kUncachedSize = 1U << 20;
// How often a directory may vanish under a Put (somebody deletes its last object just then).
constexpr int kMaxVanishings = 100;

std::string_view DirectoryOf(std::string_view name) {
  const std::size_t slash = name.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : name.substr(0, slash);
}

// There is no such object: nothing has the name, or what would be a directory of it is a file.
bool MeansMissing(int error_number) {
  return error_number == ENOENT || error_number == ENOTDIR;
}

// A file under a temporary name, which its destructor removes.
class TemporaryFile {
 public:
  TemporaryFile() = default;
  TemporaryFile(TemporaryFile&&) noexcept = default;
  TemporaryFile& operator=(TemporaryFile&&) noexcept = default;
  ~TemporaryFile() {
    if (fd_.valid()) {
      unlink(path_.c_str());
    }
  }

  static Result<TemporaryFile> Make(const std::string& directory, Random& random) {
    std::uint8_t unique[8];
    random.Fill(unique);
    TemporaryFile file;
    file.path_ = fmt::format("{}/{}{}", directory, kTemporaryPrefix, ToHex(unique));
    file.fd_.Reset(open(file.path_.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
    if (!file.fd_.valid()) {
      return ErrnoError(errno, fmt::format("could not create file \"{}\"", file.path_));
    }
    GiveToOwnerOf(directory, file.fd());
    return file;
  }

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }

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

  // Content and `modified` on disk.
  Status Finish(std::uint64_t size, TimePoint modified) {
    const auto micros = modified.time_since_epoch().count();
    const timespec time{micros / 1'000'000, micros % 1'000'000 * 1000};
    const timespec times[2] = {time, time};
    if (futimens(fd_.get(), times) != 0) {
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
  std::string path_;
  UniqueFd fd_;
};

class LocalStore final : public Store {
 public:
  LocalStore(std::string root, Environment environment)
      : root_(std::move(root)), environment_(std::move(environment)), directories_(root_) {}

  const std::string& location() const override { return root_; }

  Status Put(std::string_view name, Body& body, PutMode mode) override {
    const OwnersRights rights(root_);
    return WithAdvice(PutFile(name, body, mode));
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
    if (unlink(PathOf(name).c_str()) != 0 && !MeansMissing(errno)) {
      return AccessError("remove", name, errno);
    }
    directories_.RemoveEmpty(directory);
    return Ok();
  }

  Status Get(std::string_view name, ByteRange range, const Sink& sink) override {
    RETURN_IF_ERROR(Begin(name));
    const std::string path = PathOf(name);
    // Somebody may have put a FIFO there: without O_NONBLOCK it would be waited for.
    const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (!fd.valid()) {
      return AccessError("read", name, errno);
    }
    directories_.NoteRoot();
    struct stat info {};
    if (fstat(fd.get(), &info) != 0) {
      return AccessError("read", name, errno);
    }
    if (!S_ISREG(info.st_mode)) {
      return AccessError("read", name, ENOENT);
    }
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
    if (stat(PathOf(name).c_str(), &info) != 0) {
      return AccessError("stat", name, errno);
    }
    if (!S_ISREG(info.st_mode)) {
      return AccessError("stat", name, ENOENT);
    }
    return ObjectInfo{std::string(name), static_cast<std::uint64_t>(info.st_size),
                      FromTimespec(info.st_mtim)};
  }

  Status Delete(std::string_view name) override {
    const OwnersRights rights(root_);
    RETURN_IF_ERROR(Begin(name));
    if (unlink(PathOf(name).c_str()) != 0 && errno != ENOENT) {
      return errno == ENOTDIR || errno == EISDIR ? Ok() : AccessError("remove", name, errno);
    }
    // Also when it was gone already: whoever removed it may not have come as far as this. Without
    // it a crash could bring back the summary of a backup whose packs are gone.
    const Status synced = SyncDirectory(PathOf(DirectoryOf(name)));
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
    Result<std::vector<std::string>> found = WithAdvice(DirectoriesWithObjects(
        PathOf(prefix.substr(0, prefix.rfind('/'))), *environment_.cancellation));
    if (found && found->size() > limits::kDirectories) {
      return TooManyObjects(*this, prefix, limits::kDirectories);
    }
    return found;
  }

  Result<TimePoint> Now() override {
    RETURN_IF_ERROR(environment_.cancellation->Check());
    return TimePoint(std::chrono::floor<std::chrono::seconds>(environment_.clock->Now()));
  }

 private:
  Status PutFile(std::string_view name, Body& body, PutMode mode) {
    RETURN_IF_ERROR(Begin(name));
    const std::string path = PathOf(name);
    const std::string directory = PathOf(DirectoryOf(name));
    if (mode == PutMode::kCreate && access(path.c_str(), F_OK) == 0) {
      return Taken(name, directory);
    }
    ASSIGN_OR_RETURN(TemporaryFile file, MakeTemporaryFile(name));
    RETURN_IF_ERROR(Fill(file, body, name));
    if (mode == PutMode::kReplace) {
      if (rename(file.path().c_str(), path.c_str()) != 0) {
        return ErrnoError(errno, fmt::format("could not write file \"{}\"", path));
      }
      return SyncDirectory(directory);
    }
    if (link(file.path().c_str(), path.c_str()) != 0) {
      const int error_number = errno;
      struct stat info {};
      // NFS may do the link, lose the answer, and report EEXIST for the repeated request.
      const bool linked = fstat(file.fd(), &info) == 0 && info.st_nlink == 2;
      if (!linked && error_number == EEXIST) {
        return Taken(name, directory);
      }
      if (!linked && (error_number == EPERM || error_number == EOPNOTSUPP)) {
        return MakeError(ErrorCode::kUnsupported, "could not link file \"{}\": no hard links", path)
            .WithHint(
                "Put the repository on a file system with hard links, or on S3: it is what keeps "
                "two writers from overwriting each other.");
      }
      if (!linked) {
        return ErrnoError(error_number, fmt::format("could not link file \"{}\"", path));
      }
    }
    // If this fails, the object stays: another writer may have met it, made it durable, and
    // acknowledged it.
    return SyncDirectory(directory);
  }

  Status Begin(std::string_view name) const {
    RETURN_IF_ERROR(ValidateObjectName(name));
    return environment_.cancellation->Check();
  }

  std::string PathOf(std::string_view name) const {
    return name.empty() ? root_ : fmt::format("{}/{}", root_, name);
  }

  Error AccessError(const char* operation, std::string_view name, int error_number) const {
    if (MeansMissing(error_number)) {
      return MakeError(ErrorCode::kNotFound, "object \"{}\" does not exist", PathOf(name));
    }
    return WithAdvice(
        ErrnoError(error_number, fmt::format("could not {} file \"{}\"", operation, PathOf(name))));
  }

  static Error WithAdvice(Error error) {
    if (error.code == ErrorCode::kPermissionDenied && error.hint.empty()) {
      error.hint =
          "Let the operating system user that runs this own the directory named in "
          "veza_backup.repository.";
    } else if (error.code == ErrorCode::kNoSpace) {
      error.hint =
          "Free some space on that file system, or keep fewer backups: lower "
          "veza_backup.retention_full and call veza_backup_expire(), which works on a full "
          "repository, too.";
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

  // The other writer may not have come as far as its fsync yet, and our caller may acknowledge the
  // object as stored after comparing it.
  Error Taken(std::string_view name, const std::string& directory) {
    Status durable = directories_.Make(DirectoryOf(name));
    if (durable) {
      durable = SyncDirectory(directory);
    }
    if (!durable) {
      return WithAdvice(std::move(durable.error()));
    }
    return MakeError(ErrorCode::kAlreadyExists, "object \"{}\" already exists", PathOf(name));
  }

  Result<TemporaryFile> MakeTemporaryFile(std::string_view name) {
    const std::string directory = PathOf(DirectoryOf(name));
    for (int vanishings = 0;; ++vanishings) {
      Status made = directories_.Make(DirectoryOf(name));
      Result<TemporaryFile> file = made ? TemporaryFile::Make(directory, *environment_.random)
                                        : Result<TemporaryFile>(std::move(made.error()));
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
    return file.Finish(written, environment_.clock->Now());
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
  LocalDirectories directories_;
};

}  // namespace

Result<std::unique_ptr<Store>> MakeLocalStore(std::string root, Environment environment) {
  while (root.size() > 1 && root.ends_with('/')) {
    root.pop_back();
  }
  if (!root.starts_with('/') || root == "/") {
    return MakeError(ErrorCode::kInvalidArgument,
                     "repository directory \"{}\" is not an absolute path below \"/\"", root);
  }
  return std::make_unique<LocalStore>(std::move(root), std::move(environment));
}

}  // namespace veza
