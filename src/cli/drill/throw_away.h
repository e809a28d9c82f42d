// The directory that a drill throws away, and what drills that were killed have left of theirs.
//
// The file drill.lock in it is locked (flock) for as long as a process of the drill lives, be it
// only the server, and marks a directory that nobody wants: a directory without it is never
// touched. So what a drill leaves that was killed together with its supervisor, or by a reboot,
// goes when the next one begins; one that runs, and one that was kept, stay.
#pragma once

#include <string>
#include <utility>

#include "cli/account.h"
#include "core/error.h"
#include "core/storage/unique_fd.h"

namespace veza::cli {

class ThrowAwayDirectory {
 public:
  // Below `base`, empty but for the lock. Root makes it for the account, and trusts nobody who may
  // write in `base`.
  static Result<ThrowAwayDirectory> Make(const std::string& base, const Account& account);

  const std::string& path() const { return path_; }
  // The descriptor that holds the lock; every process that inherits it does.
  int lock() const { return lock_.get(); }

  // From now on it is somebody's.
  Status Keep(bool holds_server) const;
  // With all that is in it. Nobody must use it any more.
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

// What killed drills of the account have left below `base`; each with a warning. What cannot be
// removed stays.
void RemoveLeftOvers(const std::string& base, const Account& account);

}  // namespace veza::cli
