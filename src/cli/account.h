// How root works on behalf of the account that runs the server.
//
// vezactl never writes files as root that a repository describes: with cipher none, anybody who can
// write to the repository may have written them. So restore and drill first become the account that
// was named, and wal-get the owner of the directory that it writes to. They stay that account, and
// change before they read the repository.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>

#include "core/error.h"

namespace veza::cli {

// When root runs vezactl: becomes the owner of `directory`, permanently, unless root owns it. Does
// nothing for other accounts. Call it once the settings have been read, which root alone may be
// able to read.
Status BecomeOwnerOf(const std::string& directory);

struct Account {
  std::string name{};
  uid_t uid = 0;
  gid_t gid = 0;
};

// The account to work as. For root that is `name`, which must not be root and must not be empty.
// For anybody else it is their own account, and `name` must be empty or name that one. Errors have
// a hint.
Result<Account> ChooseAccount(const std::string& name);
// The account of that name. kNotFound with a hint when there is none.
Result<Account> FindAccount(const std::string& name);
// The account that runs this process.
Account OwnAccount();
// Becomes that account, permanently. Needs root, unless the process runs as that account already.
Status BecomeAccount(const Account& account);
// Runs `work` as that account and returns its result. Unless the process runs as that account
// already, it forks one that does; false also when that fails. Must be called while the process has
// only one thread.
bool RunAs(const Account& account, const std::function<bool()>& work);

}  // namespace veza::cli
