#include "core/import/secret_directory.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "core/secret_file.h"
#include "core/storage/file_io.h"
#include "core/storage/local_directories.h"
#include "core/storage/unique_fd.h"

namespace veza {
namespace {

Result<UniqueFd> OpenOwnDirectory(const std::string& path) {
  const std::string named = fmt::format("directory \"{}\"", path);
  UniqueFd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  struct stat info {};
  if (!directory.valid() || fstat(directory.get(), &info) != 0) {
    return ErrnoError(errno, "could not open " + named)
        .WithHint(fmt::format("Make it, for this account only: mkdir -m 0700 {}", path));
  }
  if (info.st_uid != geteuid() && info.st_uid != 0) {
    return MakeError(ErrorCode::kPermissionDenied, "{} belongs to another account", named)
        .WithHint("Run this as that account, or name a directory of your own.");
  }
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return MakeError(ErrorCode::kPermissionDenied, "others may write in {}", named)
        .WithHint("Set its mode to 0700 or 0750, or name another directory.");
  }
  return directory;
}

// The temporary file is a left-over of a run that was killed if it is there.
Status WriteTemporary(int directory, const std::string& name, const ImportedSecret& secret) {
  const std::string named = fmt::format("a temporary file for \"{}\"", secret.file);
  unlinkat(directory, name.c_str(), 0);
  const UniqueFd file(
      openat(directory, name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) {
    return ErrnoError(errno, "could not create " + named)
        .WithHint("Let this account write in the directory.");
  }
  const std::string_view text = secret.content.text();
  RETURN_IF_ERROR(WriteAllAt(file.get(), 0, AsBytes(text), named));
  RETURN_IF_ERROR(WriteAllAt(file.get(), text.size(), AsBytes("\n"), named));
  return fsync(file.get()) == 0 ? Ok() : Status(ErrnoError(errno, "could not fsync " + named));
}

Status RequireSameSecret(const ImportedSecret& secret) {
  RETURN_IF_ERROR(RequireReplaceableFile(secret.file));  // which follows no link
  ASSIGN_OR_RETURN(const SecretString present, ReadSecretFile(secret.file, kTokenFile));
  return present == secret.content.text()
             ? Ok()
             : Status(MakeError(ErrorCode::kAlreadyExists, "file \"{}\" holds another secret",
                                secret.file)
                          .WithHint("Move it away, or name another directory."));
}

Status WriteSecret(int directory, const ImportedSecret& secret) {
  if (IsThere(secret.file)) {
    return RequireSameSecret(secret);
  }
  const std::string name = LastPartOf(secret.file);
  const std::string temporary = std::string(kTemporaryPrefix) + name;
  Status written = WriteTemporary(directory, temporary, secret);
  if (written && linkat(directory, temporary.c_str(), directory, name.c_str(), 0) != 0) {
    written =
        errno == EEXIST
            ? RequireSameSecret(secret)
            : Status(ErrnoError(errno, fmt::format("could not create file \"{}\"", secret.file)));
  }
  unlinkat(directory, temporary.c_str(), 0);
  return written;
}

}  // namespace

Status WriteSecretFiles(const std::string& directory, const std::vector<ImportedSecret>& secrets) {
  if (secrets.empty()) {
    return Ok();
  }
  const std::string path = directory.empty() ? "/" : directory;
  ASSIGN_OR_RETURN(const UniqueFd opened, OpenOwnDirectory(path));
  for (const ImportedSecret& secret : secrets) {
    RETURN_IF_ERROR(WriteSecret(opened.get(), secret));
  }
  return SyncDirectory(opened.get(), path);
}

}  // namespace veza
