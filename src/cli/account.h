// Root working for the account that runs the server.
//
// vezactl never writes as root what a repository says: with cipher none anybody who can write to
// the repository has written it. A restore and a drill become an account that was named, and
// wal-get the owner of the directory that it writes to, for good and before anything is read there.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "core/error.h"

namespace veza::cli {

// When root runs vezactl: becomes, for good, the owner of `directory`, if that is somebody else.
// Call it once the settings, which may be root's alone, have been read.
Status BecomeOwnerOf(const std::string& directory);

struct Account {
  std::string name{};
  uid_t uid = 0;
  gid_t gid = 0;
};

// That of `name`, for root, and never root's own; for anybody else the own one, the only one there
// can be. Empty: root has not said. Errors have a hint.
Result<Account> ChooseAccount(const std::string& name);
// kNotFound with a hint when there is none of that name.
Result<Account> FindAccount(const std::string& name);
// The one that runs this process.
Account OwnAccount();
// For good. Needs root, unless it is the own account.
Status BecomeAccount(const Account& account);
// What `work` returns, which runs as that account: in a process of its own unless we are it. False
// also when there is no such process to be had. Call it while there are no threads.
bool RunAs(const Account& account, const std::function<bool()>& work);

}  // namespace veza::cli
