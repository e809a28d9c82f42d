#include "cli/drill/throw_away.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "cli/output.h"

namespace veza::cli {
namespace {

constexpr const char* kLock = "drill.lock";
constexpr const char* kNewLock = "drill.lock.new";
constexpr std::string_view kPrefix = "veza-drill-";
constexpr std::string_view kUnique = "XXXXXX";
constexpr int kOpenDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;

// The names in the directory, without "." and "..". Absent, with errno set, when it cannot be read.
std::optional<std::vector<std::string>> NamesIn(int directory) {
  const int again = openat(directory, ".", kOpenDirectory);
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(again < 0 ? nullptr : fdopendir(again),
                                                    closedir);
  if (!entries) {
    return std::nullopt;
  }
  std::vector<std::string> names;
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else reads from it
  while (const dirent* entry = readdir(entries.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") {
      names.emplace_back(name);
    }
  }
  return names;
}

// Removes a file or a tree. Also removes directories that their owner may not write in. Does not
// follow links. Returns false and sets errno on failure.
bool RemoveEntry(int directory, const char* name) {
  if (unlinkat(directory, name, 0) == 0) {
    return true;
  }
  if (errno != EISDIR) {
    return false;
  }
  const bool permitted = fchmodat(directory, name, S_IRWXU, 0) == 0;
  const UniqueFd below(permitted ? openat(directory, name, kOpenDirectory) : -1);
  const auto names = below.valid() ? NamesIn(below.get()) : std::nullopt;
  if (!names) {
    return false;
  }
  for (const std::string& entry : *names) {
    if (!RemoveEntry(below.get(), entry.c_str())) {
      return false;
    }
  }
  return unlinkat(directory, name, AT_REMOVEDIR) == 0;
}

// Removes everything in the directory. The lock file is removed last, so that a later drill can go
// on when this one is interrupted.
bool Empty(int directory, const std::string& path) {
  const auto names = NamesIn(directory);
  bool emptied = names.has_value();
  for (std::size_t i = 0; emptied && i < names->size(); ++i) {
    emptied = (*names)[i] == kLock || RemoveEntry(directory, (*names)[i].c_str());
  }
  emptied = emptied && (unlinkat(directory, kLock, 0) == 0 || errno == ENOENT);
  if (!emptied) {
    PrintWarning(ErrnoError(errno, fmt::format("could not empty directory \"{}\"", path)).message);
  }
  return emptied;
}

// Makes the lock file. It is locked before it gets its name, so that nobody sees it unlocked.
Result<UniqueFd> MakeLock(int directory) {
  UniqueFd lock(openat(directory, kNewLock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!lock.valid() || flock(lock.get(), LOCK_EX | LOCK_NB) != 0 ||
      renameat(directory, kNewLock, directory, kLock) != 0) {
    const int code = errno;
    unlinkat(directory, kNewLock, 0);
    return ErrnoError(code, fmt::format("could not create lock file \"{}\"", kLock));
  }
  return lock;
}

// Root only: anybody who may write in the parent directory can have replaced the new directory by
// another one of root's.
Status RequireJustMade(int directory) {
  struct stat info {};
  const auto names = NamesIn(directory);
  if (!names || fstat(directory, &info) != 0) {
    return ErrnoError(errno, "could not examine it");
  }
  if (info.st_uid != geteuid() || (info.st_mode & 0777) != S_IRWXU || !names->empty()) {
    return MakeError(ErrorCode::kPermissionDenied, "another user has replaced it")
        .WithHint("Use --directory to choose a place where nobody else may write.");
  }
  return Ok();
}

// Locks the directory and gives it to the account. Returns the descriptor that holds the lock.
Result<UniqueFd> Prepare(int directory, const Account& account) {
  if (geteuid() == 0) {
    RETURN_IF_ERROR(RequireJustMade(directory));
  }
  ASSIGN_OR_RETURN(UniqueFd lock, MakeLock(directory));
  if (geteuid() == 0 && (fchown(lock.get(), account.uid, account.gid) != 0 ||
                         fchown(directory, account.uid, account.gid) != 0)) {
    const int code = errno;
    unlinkat(directory, kLock, 0);
    return ErrnoError(code, fmt::format("could not change its owner to \"{}\"", account.name));
  }
  return lock;
}

bool IsOfADrill(std::string_view name) {
  return name.starts_with(kPrefix) && name.size() == kPrefix.size() + kUnique.size();
}

// Runs as the account. Returns true when a killed drill had left the directory, and it is empty
// now.
bool EmptyLeftOver(int base, const std::string& name, const std::string& path) {
  const UniqueFd directory(openat(base, name.c_str(), kOpenDirectory));
  struct stat info {};
  if (!directory.valid() || fstat(directory.get(), &info) != 0 || info.st_uid != geteuid()) {
    return false;
  }
  const UniqueFd lock(openat(directory.get(), kLock, O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  // A lock file without a name belongs to a drill whose directory has just been kept or removed.
  if (!lock.valid() || flock(lock.get(), LOCK_EX | LOCK_NB) != 0 || fstat(lock.get(), &info) != 0 ||
      info.st_nlink == 0) {
    return false;
  }
  return Empty(directory.get(), path);
}

}  // namespace

Result<ThrowAwayDirectory> ThrowAwayDirectory::Make(const std::string& base,
                                                    const Account& account) {
  std::string path = fmt::format("{}/{}{}", base, kPrefix, kUnique);
  if (mkdtemp(path.data()) == nullptr) {
    return ErrnoError(errno, fmt::format("could not create a directory in \"{}\"", base))
        .WithHint("Use --directory to choose one that exists and may be written.");
  }
  UniqueFd directory(open(path.c_str(), kOpenDirectory));
  Result<UniqueFd> lock = directory.valid()
                              ? Prepare(directory.get(), account)
                              : Result<UniqueFd>(ErrnoError(errno, "could not open it"));
  if (!lock) {
    rmdir(path.c_str());
    return std::move(lock.error()).WithContext(fmt::format("directory \"{}\"", path));
  }
  return ThrowAwayDirectory(path, account, std::move(directory), std::move(*lock));
}

Status ThrowAwayDirectory::Keep(bool holds_server) const {
  const std::string lock = fmt::format("{}/{}", path_, kLock);
  if (unlink(lock.c_str()) != 0) {
    return ErrnoError(errno, fmt::format("could not remove file \"{}\"", lock));
  }
  if (holds_server && fchmod(directory_.get(), S_IRUSR | S_IXUSR) != 0) {
    return ErrnoError(errno, fmt::format("could not protect directory \"{}\"", path_));
  }
  return Ok();
}

// Root must not walk through files of another account.
Status ThrowAwayDirectory::Remove() const {
  RunAs(account_, [this] { return Empty(directory_.get(), path_); });
  if (rmdir(path_.c_str()) != 0 && errno != ENOENT) {
    return ErrnoError(errno, fmt::format("could not remove directory \"{}\"", path_));
  }
  return Ok();
}

void RemoveLeftOvers(const std::string& base, const Account& account) {
  const UniqueFd directory(open(base.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const auto names = directory.valid() ? NamesIn(directory.get()) : std::nullopt;
  for (const std::string& name : names.value_or(std::vector<std::string>{})) {
    const std::string path = fmt::format("{}/{}", base, name);
    if (IsOfADrill(name) &&
        RunAs(account, [&] { return EmptyLeftOver(directory.get(), name, path); }) &&
        unlinkat(directory.get(), name.c_str(), AT_REMOVEDIR) == 0) {
      PrintWarning(fmt::format("removed \"{}\", left by a drill that was killed", path));
    }
  }
}

}  // namespace veza::cli
