#include "core/config/secret_file.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace veza {
namespace {

constexpr std::size_t kMaxSecretSize = 4096;

class FileDescriptor {
 public:
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() {
    if (fd_ >= 0) {
      close(fd_);
    }
  }
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

Status CheckOwnerAndMode(const std::string& path, const struct stat& status) {
  if (!S_ISREG(status.st_mode)) {
    return MakeError(ErrorCode::kInvalidArgument, "secret file \"{}\" is not a regular file", path);
  }
  const uid_t reader = geteuid();
  if (status.st_uid != reader && status.st_uid != 0 && reader != 0) {
    return MakeError(ErrorCode::kPermissionDenied,
                     "secret file \"{}\" must be owned by the user who reads it or by root", path)
        .WithHint("Change the owner of the file with chown.");
  }
  const mode_t forbidden = status.st_uid == 0 ? (S_IWGRP | S_IXGRP | S_IRWXO) : (S_IRWXG | S_IRWXO);
  if ((status.st_mode & forbidden) != 0) {
    return MakeError(ErrorCode::kPermissionDenied, "secret file \"{}\" has group or world access",
                     path)
        .WithHint(
            "Set its mode to 0600 if it is owned by the user who reads it, or to 0640 if it is "
            "owned by root.");
  }
  return Ok();
}

}  // namespace

Result<SecretString> ReadSecretFile(const std::string& path) {
  // Without O_NONBLOCK, opening a FIFO would block for ever.
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) {
    return ErrnoError(errno, fmt::format("could not open secret file \"{}\"", path))
        .WithHint("Create the file, and let only the user who needs it read it.");
  }
  struct stat status {};
  if (fstat(file.get(), &status) != 0) {
    return ErrnoError(errno, fmt::format("could not stat secret file \"{}\"", path));
  }
  RETURN_IF_ERROR(CheckOwnerAndMode(path, status));

  char buffer[kMaxSecretSize + 1];
  std::size_t used = 0;
  int read_errno = 0;
  while (used < sizeof buffer) {
    const ssize_t got = read(file.get(), buffer + used, sizeof buffer - used);
    if (got == 0) {
      break;
    }
    if (got < 0 && errno != EINTR) {
      read_errno = errno;
      break;
    }
    used += got > 0 ? static_cast<std::size_t>(got) : 0;
  }
  std::string_view line(buffer, used);
  while (line.ends_with('\n') || line.ends_with('\r')) {
    line.remove_suffix(1);
  }
  const bool one_line = line.find_first_of(std::string_view("\n\r\0", 3)) == std::string_view::npos;
  SecretString secret(line);
  OPENSSL_cleanse(buffer, sizeof buffer);

  if (read_errno != 0) {
    return ErrnoError(read_errno, fmt::format("could not read secret file \"{}\"", path));
  }
  if (used > kMaxSecretSize) {
    return MakeError(ErrorCode::kInvalidArgument, "secret file \"{}\" is larger than {} bytes",
                     path, kMaxSecretSize);
  }
  if (secret.empty()) {
    return MakeError(ErrorCode::kInvalidArgument, "secret file \"{}\" is empty", path)
        .WithHint("Write the secret into the file as its only line.");
  }
  if (!one_line) {
    return MakeError(ErrorCode::kInvalidArgument, "secret file \"{}\" has more than one line", path)
        .WithHint("Write the secret into the file as its only line.");
  }
  return secret;
}

}  // namespace veza
