// Root restoring for the account that will run the server.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "core/error.h"

namespace veza::cli {

// When root runs vezactl: becomes, for good, the owner of `directory` or of its nearest ancestor
// that exists, so that PostgreSQL, which refuses root, owns what is restored. False: that owner is
// root too, and nothing was changed. For anybody else there is nothing to do (true). Call it once
// the settings, which may be root's alone, have been read.
Result<bool> BecomeOwnerOf(const std::string& directory);

struct Account {
  std::string name{};
  uid_t uid = 0;
  gid_t gid = 0;
};

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
