// Confines a program, whatever rights its account has. The server of a drill runs code of others:
// what the owners of the restored databases have written, and what the WAL contains.
//
// Landlock confines the access to files, a seccomp filter the system calls. Neither needs
// privileges. Both are inherited by everything that the program starts, and cannot be undone. The
// filter covers what Landlock does not govern in any version (owners, permissions, times and
// attributes of files), and what it does not govern in older kernels: truncation (before Linux 6.2)
// and the network. One hole remains before Linux 6.12: the program can send signals to single
// processes and process groups of the account, because the filter cannot tell whose they are.
#pragma once

#include <linux/filter.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "core/storage/unique_fd.h"

namespace veza::cli {

// Returns a Landlock ruleset for ChildSpec::confinement. The program can create, change and remove
// files only below `directory`. Reading and executing are not restricted. kUnsupported when the
// kernel has no Landlock, or the container does not allow it.
Result<UniqueFd> ConfineWritesTo(const std::string& directory);

// Like ConfineWritesTo(), and the program can also read files only below `directory`, in `readable`
// (files and directories; absent ones are skipped), and where the system has its programs,
// libraries, time zones and lists of accounts. So it cannot read secrets, files of other servers,
// /dev/shm, or the memory and environment of processes outside. Where the kernel supports it, the
// program can also not use TCP (Linux 6.7), nor send signals to processes outside (Linux 6.12).
Result<UniqueFd> ConfineFilesTo(const std::string& directory,
                                const std::vector<std::string>& readable);

// The directory in which an installation of PostgreSQL has its libraries and other files: the
// nearest directory above `programs` that contains "share". `programs` itself when there is none.
std::string InstallationOf(const std::string& programs);

// Confines this process, permanently. For use between fork() and exec(), so it makes system calls
// only. Returns false and sets errno on failure.
bool EnterConfinement(int confinement);

// Returns a filter for ChildSpec::calls. It refuses:
//
// - sockets other than AF_UNIX, and to call anybody with those (connect, sendto with an address,
//   sendmsg). A server only answers. Another server on the machine would take this account for its
//   superuser.
// - what could look into other processes or change them: ptrace and its kind, limits and priorities
//   of others, kill(-1), message queues, SysV semaphores, and SysV shared memory by its key or to
//   change its owner.
// - ways around the filter: io_uring and namespaces.
//
// Calls that change permissions, owners and times of files do nothing and report success.
// kUnsupported when the kernel has no filters.
using CallFilter = std::vector<sock_filter>;
Result<CallFilter> RefuseCalls();

// The same for a kernel with this version of Landlock; below 1 means none. Before version 3,
// truncate() does nothing and reports success. Used by RefuseCalls() and by tests.
Result<CallFilter> MakeCallFilter(int landlock);

// Puts this process under the filter. The same rules as for EnterConfinement().
bool EnterCallFilter(const CallFilter& filter);

}  // namespace veza::cli
