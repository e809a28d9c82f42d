#include "cli/account.h"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace veza::cli {

Result<bool> BecomeOwnerOf(const std::string& directory) {
  if (geteuid() != 0) {
    return true;
  }
  std::string path = directory;
  struct stat info {};
  while (stat(path.c_str(), &info) != 0) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos || path == "/") {
      return ErrnoError(errno, fmt::format("could not stat directory \"{}\"", path));
    }
    path = slash == 0 ? "/" : path.substr(0, slash);
  }
  if (info.st_uid == 0) {
    return false;
  }
  // NOLINTNEXTLINE(concurrency-mt-unsafe): no thread has been started yet
  const passwd* const account = getpwuid(info.st_uid);
  const gid_t group = account != nullptr ? account->pw_gid : info.st_gid;
  const int groups_set =
      account != nullptr ? initgroups(account->pw_name, group) : setgroups(0, nullptr);
  if (groups_set != 0 || setresgid(group, group, group) != 0 ||
      setresuid(info.st_uid, info.st_uid, info.st_uid) != 0) {
    return ErrnoError(errno, fmt::format("could not become the owner of \"{}\"", path));
  }
  return true;
}

}  // namespace veza::cli
