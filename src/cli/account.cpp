#include "cli/account.h"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace veza::cli {
namespace {

// The account of `uid`. When there is no passwd entry for it, the name is empty and the group is
// `group`.
Account AccountOf(uid_t uid, gid_t group) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): no thread has been started yet
  const passwd* const entry = getpwuid(uid);
  return entry != nullptr ? Account{entry->pw_name, uid, entry->pw_gid} : Account{"", uid, group};
}

// Returns false and sets errno when it is not permitted.
bool SwitchTo(const Account& account) {
  const int groups_set =
      account.name.empty() ? setgroups(0, nullptr) : initgroups(account.name.c_str(), account.gid);
  return groups_set == 0 && setresgid(account.gid, account.gid, account.gid) == 0 &&
         setresuid(account.uid, account.uid, account.uid) == 0;
}

}  // namespace

Status BecomeOwnerOf(const std::string& directory) {
  struct stat info {};
  if (geteuid() != 0) {
    return Ok();
  }
  if (stat(directory.c_str(), &info) != 0) {
    return ErrnoError(errno, fmt::format("could not stat directory \"{}\"", directory));
  }
  if (info.st_uid != 0 && !SwitchTo(AccountOf(info.st_uid, info.st_gid))) {
    return ErrnoError(errno, fmt::format("could not become the owner of \"{}\"", directory));
  }
  return Ok();
}

Result<Account> ChooseAccount(const std::string& name) {
  if (geteuid() != 0) {
    Account account = OwnAccount();
    if (!name.empty() && name != account.name) {
      return MakeError(ErrorCode::kPermissionDenied, "only root can switch to user \"{}\"", name)
          .WithHint("Omit --user, or run vezactl as root or as that user.");
    }
    return account;
  }
  if (name.empty()) {
    return MakeError(ErrorCode::kInvalidArgument, "vezactl does not restore as root")
        .WithHint(
            "Use --user to name the user that will run PostgreSQL and own the files, or run "
            "vezactl as that user.");
  }
  ASSIGN_OR_RETURN(Account account, FindAccount(name));
  if (account.uid == 0) {
    return MakeError(ErrorCode::kInvalidArgument, "PostgreSQL does not run as root")
        .WithHint("Name another user with --user.");
  }
  return account;
}

Result<Account> FindAccount(const std::string& name) {
  // NOLINTNEXTLINE(concurrency-mt-unsafe): no thread has been started yet
  const passwd* const entry = getpwnam(name.c_str());
  if (entry == nullptr) {
    return MakeError(ErrorCode::kNotFound, "there is no operating system user \"{}\"", name)
        .WithHint("Use --user to name the user that will run PostgreSQL.");
  }
  return Account{name, entry->pw_uid, entry->pw_gid};
}

Account OwnAccount() {
  return AccountOf(geteuid(), getegid());
}

Status BecomeAccount(const Account& account) {
  if (geteuid() != account.uid && !SwitchTo(account)) {
    return ErrnoError(errno, fmt::format("could not become user \"{}\"", account.name));
  }
  return Ok();
}

bool RunAs(const Account& account, const std::function<bool()>& work) {
  if (geteuid() == account.uid) {
    return work();
  }
  const pid_t pid = fork();
  if (pid == 0) {
    _exit(BecomeAccount(account) && work() ? 0 : 1);
  }
  int status = 1;
  while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return pid > 0 && status == 0;
}

}  // namespace veza::cli
