// The throw-away directory of a drill, and the directories that killed drills have left.
//
// Every process of a drill, the server included, holds a lock (flock) on the file drill.lock in the
// directory. The file marks a directory that nobody needs once the lock is free; a directory
// without the file is never touched. So what is left by a drill that was killed together with its
// supervisor, or by a reboot, is removed when the next drill begins. Directories of running drills
// and of kept ones stay.
#pragma once

#include <string>
#include <utility>

#include "cli/account.h"
#include "core/error.h"
#include "core/storage/unique_fd.h"

namespace veza::cli {

class ThrowAwayDirectory {
 public:
  // Makes the directory below `base`. It is empty but for the lock file. When root makes it, it
  // belongs to the account, and nobody who may write in `base` is trusted.
  static Result<ThrowAwayDirectory> Make(const std::string& base, const Account& account);

  const std::string& path() const { return path_; }
  // The descriptor that holds the lock. Every process that inherits it also holds the lock.
  int lock() const { return lock_.get(); }

  // Keeps the directory: removes the lock file, so that no later drill removes the directory.
  // `holds_server` also makes it read-only.
  Status Keep(bool holds_server) const;
  // Removes the directory with everything in it. No process may use it any more.
  Status Remove() const;

 private:
  ThrowAwayDirectory(std::string path, Account account, UniqueFd directory, UniqueFd lock)
      : path_(std::move(path)),
        account_(std::move(account)),
        directory_(std::move(directory)),
        lock_(std::move(lock)) {}

  std::string path_;
  Account account_;
  UniqueFd directory_;
  UniqueFd lock_;
};

// Removes what killed drills of the account have left below `base`, each with a warning. What
// cannot be removed stays.
void RemoveLeftOvers(const std::string& base, const Account& account);

}  // namespace veza::cli
