// The directories of a local store: made durably before the first object, removed with the last.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "core/error.h"
#include "core/storage/unique_fd.h"

namespace veza {

// Begins the name of every temporary file of a local store. ValidateObjectName refuses it.
inline constexpr std::string_view kTemporaryPrefix = ".veza-tmp-";

// fsync(2) of a directory: makes the names in it durable.
Status SyncDirectory(const std::string& path);
// The same of a directory that is open, with O_PATH if need be; `path` is for messages.
Status SyncDirectory(int fd, const std::string& path);

// The directory `relative` (empty: `root` itself), to reach what is in it. `root`, and what is
// above it, may be symbolic links: the operator has put them there. Below it none is followed:
// whoever has put one there could lead us anywhere, in a circle, or to a file system that is not
// mounted, where everything seems to be missing. kNotFound when there is none, or only an object of
// that name; kFailedPrecondition when something else has its name.
Result<UniqueFd> OpenDirectoryBelow(const std::string& root, std::string_view relative);

// That `path`, below the root of a store, is neither file nor directory, or a directory where an
// object should be; `mode` as stat(2) has it.
Error NotOurs(ErrorCode code, const std::string& path, mode_t mode);

// What root has made and opened as `fd`, for a restore for example, becomes that of who owns the
// directory: the server's account, which must be able to read it, and to remove it. (Never by name:
// that account could have put another file in its place.)
void GiveToOwnerOf(const std::string& directory, int fd);
void GiveToOwnerOf(int directory, int fd);

// While it lives, root writes below `root`, a store, with the rights of the account that owns it,
// and what it makes there is that account's: the account could have put symbolic links on the way
// to it, and may not lead root to places where only root can write. Its group is the account's own
// and not the directory's, which is root's where the directory was given away without its group.
// For the calling thread and its access to files alone. Nothing happens where the process is not
// root's, or all of the way to `root` is root's own.
class OwnersRights {
 public:
  explicit OwnersRights(const std::string& root);
  ~OwnersRights();
  OwnersRights(const OwnersRights&) = delete;
  OwnersRights& operator=(const OwnersRights&) = delete;

 private:
  bool taken_ = false;
  gid_t group_ = 0;            // ours
  std::vector<gid_t> groups_;  // ours
};

// Thread-safe; other processes may work on the same tree.
class LocalDirectories {
 public:
  explicit LocalDirectories(std::string root) : root_(std::move(root)) {}

  // Makes the directory `relative` (empty: the root itself) below the root, with its parents, mode
  // 0700, and their names durable; returns it as OpenDirectoryBelow() does. kNotFound when somebody
  // removed one in the meantime: try again. kFailedPrecondition when something else has the name,
  // or when the root was there and is not any more: what was mounted on it has gone, and what is
  // written in its place would be found by nobody.
  Result<UniqueFd> Make(std::string_view relative);

  // Something was found in the root.
  void NoteRoot() { root_was_there_ = true; }

  // Removes `relative` and its parents below the root as far as they are empty, temporary files
  // that a crash left behind a day ago or earlier aside. Only tidies up: failures are not errors.
  void RemoveEmpty(std::string_view relative);

 private:
  // Device, inode and birth time: a directory that was removed and made again is another one.
  using Identity = std::tuple<std::uint64_t, std::uint64_t, std::int64_t, std::uint32_t>;

  Status MakeRoot();
  // `fd`: the directory itself, -1 where it could not be opened.
  Status MakeDurable(int fd, bool made, bool parent_is_ours, const std::function<Status()>& sync);
  Status MakeAbove(const std::string& parent, const std::string& path);
  Result<UniqueFd> MakeBelow(int parent, const std::string& parent_path, const std::string& name);

  std::string root_;
  std::atomic<bool> root_was_there_ = false;
  std::mutex mutex_;
  std::set<Identity> durable_;  // names known to be on disk, so that fsync is not repeated
};

}  // namespace veza
