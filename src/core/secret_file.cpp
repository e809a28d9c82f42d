#include "core/secret_file.h"

#include <fcntl.h>
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

// Fills `buffer`, or its beginning up to the end of the file.
Result<std::size_t> ReadUpTo(const FileDescriptor& file, const std::string& path, Bytes& buffer) {
  std::size_t used = 0;
  while (used < buffer.size()) {
    const ssize_t got = read(file.get(), buffer.data() + used, buffer.size() - used);
    if (got == 0) {
      break;
    }
    if (got < 0 && errno != EINTR) {
      return ErrnoError(errno, fmt::format("could not read secret file \"{}\"", path));
    }
    used += got > 0 ? static_cast<std::size_t>(got) : 0;
  }
  return used;
}

Status CheckSize(std::string_view content, const std::string& source, std::size_t most,
                 const char* hint_when_empty) {
  if (content.size() > most) {
    return MakeError(ErrorCode::kInvalidArgument, "{} is larger than {} bytes", source, most);
  }
  if (content.empty()) {
    return MakeError(ErrorCode::kInvalidArgument, "{} is empty", source).WithHint(hint_when_empty);
  }
  return Ok();
}

}  // namespace

Result<SecretString> ParseSecretLine(std::string_view content, const std::string& source,
                                     std::size_t most) {
  const std::string_view line = content.substr(0, content.find_last_not_of("\n\r") + 1);
  RETURN_IF_ERROR(CheckSize(content.size() > most ? content : line, source, most,
                            "The secret has to be there, as its only line."));
  if (line.find('\0') != std::string_view::npos) {
    return MakeError(ErrorCode::kInvalidArgument, "{} has a byte of value zero", source)
        .WithHint(
            "The secret has to be text. Random bytes may be encoded: openssl rand -base64 33.");
  }
  if (line.find_first_of("\n\r") != std::string_view::npos) {
    return MakeError(ErrorCode::kInvalidArgument, "{} has more than one line", source)
        .WithHint("The secret has to be its only line.");
  }
  return SecretString(line);
}

Result<SecretString> ReadSecretFile(const std::string& path, const SecretFileRule& rule) {
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
  const std::string source = fmt::format("secret file \"{}\"", path);
  if (!S_ISREG(status.st_mode)) {
    return MakeError(ErrorCode::kInvalidArgument, "{} is not a regular file", source);
  }
  if (!rule.others_may_read) {
    RETURN_IF_ERROR(CheckOwnerAndMode(path, status));
  }
  Bytes buffer(rule.size + 1);
  const Result<std::size_t> used = ReadUpTo(file, path, buffer);
  const std::string_view content = AsText(buffer).substr(0, used.value_or(0));
  Result<SecretString> secret;
  if (!used) {
    secret = used.error();
  } else if (!rule.many_lines) {
    secret = ParseSecretLine(content, source, rule.size);
  } else if (const Status fits =
                 CheckSize(content, source, rule.size, "Let the program that writes it try again.");
             !fits) {
    secret = fits.error();
  } else {
    secret = SecretString(content);
  }
  Wipe(buffer);
  return secret;
}

Result<SecretString> ReadCredentialFile(const std::string& path, const SecretFileRule& rule) {
  Result<SecretString> secret = ReadSecretFile(path, rule);
  if (!secret) {
    secret.error().code = ErrorCode::kCredentials;
  }
  return secret;
}

}  // namespace veza
