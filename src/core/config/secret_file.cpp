#include "core/config/secret_file.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace veza {
namespace {

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

Result<SecretString> ParseSecretLine(std::string_view content, const std::string& source) {
  if (content.size() > kLongestSecret) {
    return MakeError(ErrorCode::kInvalidArgument, "{} is larger than {} bytes", source,
                     kLongestSecret);
  }
  while (content.ends_with('\n') || content.ends_with('\r')) {
    content.remove_suffix(1);
  }
  if (content.empty()) {
    return MakeError(ErrorCode::kInvalidArgument, "{} is empty", source)
        .WithHint("The secret has to be there, as its only line.");
  }
  if (content.find_first_of(std::string_view("\n\r\0", 3)) != std::string_view::npos) {
    return MakeError(ErrorCode::kInvalidArgument, "{} has more than one line", source)
        .WithHint("The secret has to be its only line.");
  }
  return SecretString(content);
}

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

  char buffer[kLongestSecret + 1];
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
  Result<SecretString> secret =
      read_errno != 0
          ? ErrnoError(read_errno, fmt::format("could not read secret file \"{}\"", path))
          : ParseSecretLine({buffer, used}, fmt::format("secret file \"{}\"", path));
  OPENSSL_cleanse(buffer, sizeof buffer);
  return secret;
}

}  // namespace veza
