// The directories of a local store. They are made durably before the first object, and removed with
// the last one.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "core/error.h"
#include "core/storage/unique_fd.h"

namespace veza {

// The beginning of the name of every temporary file of a local store. ValidateObjectName() refuses
// such names.
inline constexpr std::string_view kTemporaryPrefix = ".veza-tmp-";

// Calls fsync(2) on a directory, which makes the names in it durable.
Status SyncDirectory(const std::string& path);
// The same for a directory that is open, possibly with O_PATH. `path` is for messages.
Status SyncDirectory(int fd, const std::string& path);

// Opens the directory `relative` (empty: `root` itself) with O_PATH. `root` and the directories
// above it may be symbolic links, because the operator put them there. Below `root` no link is
// followed: somebody could have put one there that leads anywhere, in a circle, or to a file system
// that is not mounted, where everything seems to be missing. kNotFound when the directory does not
// exist, or when an object has its name; kFailedPrecondition when something else has its name.
Result<UniqueFd> OpenDirectoryBelow(const std::string& root, std::string_view relative);

// The same. Nothing instead of kNotFound: for whoever has seen the directory in a listing, after
// which it may have been removed.
Result<std::optional<UniqueFd>> OpenDirectoryIfThere(const std::string& root,
                                                     std::string_view relative);

// The error for a `path` below the root of a store that is neither a file nor a directory, or that
// is a directory where an object should be. `mode` is st_mode.
Error NotOurs(ErrorCode code, const std::string& path, mode_t mode);

// When root has made a file and opened it as `fd`, gives it to the owner of the directory. That is
// usually the server's account, which must be able to read and remove it. (It works on the
// descriptor and never by name, because that account could have put another file in its place.)
void GiveToOwnerOf(const std::string& directory, int fd);
void GiveToOwnerOf(int directory, int fd);

// While this object exists, root writes below `root` (a store's directory) with the rights of the
// account that owns it, and new files belong to that account. The account could have put symbolic
// links on the way, and must not lead root to places where only root can write. The group is the
// account's own. (The directory's group may be root's, when the directory was given away without
// its group.) Affects only the calling thread and only its access to files. Does nothing when the
// process is not root, or when the whole path to `root` belongs to root.
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

// Thread-safe. Other processes may work on the same tree.
class LocalDirectories {
 public:
  explicit LocalDirectories(std::string root) : root_(std::move(root)) {}

  // Makes the directory `relative` (empty: the root itself) and its parents, with mode 0700 and
  // durable names. Returns it as OpenDirectoryBelow() does. kNotFound when somebody removed one of
  // them in the meantime: try again. kFailedPrecondition when something else has the name, or when
  // the root existed before and is gone now. In that case a file system is no longer mounted there,
  // and nobody would find what is written in its place.
  Result<UniqueFd> Make(std::string_view relative);

  // Tells it that something was found in the root, so the root exists.
  void NoteRoot() { root_was_there_ = true; }

  // Removes `relative` and its parents below the root as far as they are empty. Also removes
  // temporary files there that are older than a day, which a crash left behind. `relative` need not
  // exist. A directory in which another process writes is not empty, and one in which it is about
  // to write is made again by Make(). This only tidies up: failures are not errors.
  void RemoveEmpty(std::string_view relative);

 private:
  // Device, inode and birth time. A directory that was removed and made again has another identity.
  using Identity = std::tuple<std::uint64_t, std::uint64_t, std::int64_t, std::uint32_t>;

  Status MakeRoot();
  // `fd` is the directory itself, or -1 when it could not be opened.
  Status MakeDurable(int fd, bool made, bool parent_is_ours, const std::function<Status()>& sync);
  Status MakeAbove(const std::string& parent, const std::string& path);
  Result<UniqueFd> MakeBelow(int parent, const std::string& parent_path, const std::string& name);

  std::string root_;
  std::atomic<bool> root_was_there_ = false;
  std::mutex mutex_;
  std::set<Identity> durable_;  // directories whose names are durable, to avoid another fsync
};

}  // namespace veza
