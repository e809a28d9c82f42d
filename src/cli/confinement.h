// Keeps a program from what it must not do, whatever its account may. A drill's server runs code of
// others: what the owners of the restored databases have written, and what WAL says.
//
// Files are Landlock's matter, and calls are a seccomp filter's. Neither needs rights, and both
// hold for whatever the program starts, for good. The filter has what no Landlock governs (owners,
// permissions, times and attributes of files) and what an older kernel's lacks: truncation (before
// Linux 6.2) and the network. Signals to single processes and process groups it cannot tell apart:
// before Linux 6.12 they reach the account's other processes.
#pragma once

#include <linux/filter.h>

#include <string>
#include <vector>

#include "core/error.h"
#include "core/storage/unique_fd.h"

namespace veza::cli {

// What ChildSpec::confinement takes: the program can make, change and remove files below
// `directory` only; reading and executing stay as they are. kUnsupported when the kernel, or what
// this process runs in, has no Landlock.
Result<UniqueFd> ConfineWritesTo(const std::string& directory);

// The same, and it can read files only there, in `readable` (files and directories; what is absent
// does not matter) and where the system has its programs, libraries, time zones and lists of
// accounts. So neither secrets nor other servers' files nor /dev/shm are within reach, nor the
// memory and environment of processes outside. Where the kernel can do that (Linux 6.7, 6.12) it is
// kept from TCP, and from signals to other processes.
Result<UniqueFd> ConfineFilesTo(const std::string& directory,
                                const std::vector<std::string>& readable);

// Where an installation of PostgreSQL has its libraries and other files, by its directory of
// programs: the nearest directory above that has a "share" in it. `programs` itself if there is
// none.
std::string InstallationOf(const std::string& programs);

// For good, this process. Between fork() and exec(): nothing but system calls. False, with errno.
bool EnterConfinement(int confinement);

// What ChildSpec::calls takes. Refused: sockets but those of the machine itself (AF_UNIX), and with
// these to call anybody (connect, sendto with an address, sendmsg): a server only answers. A socket
// of another server on the machine would take its account for that server's superuser. Also refused
// is what could look into other processes or change them, or get around the rest: ptrace and its
// kind, limits and priorities of others, kill(-1), message queues, SysV semaphores, SysV shared
// memory by its key or to change its owner, io_uring, namespaces. What changes permissions, owners
// and times of files does nothing and succeeds. kUnsupported where there are no filters.
using CallFilter = std::vector<sock_filter>;
Result<CallFilter> RefuseCalls();

// The same for a kernel with this version of Landlock; below 1: none. Before 3, truncate() does
// nothing and succeeds. For RefuseCalls() and tests.
Result<CallFilter> MakeCallFilter(int landlock);

// As EnterConfinement().
bool EnterCallFilter(const CallFilter& filter);

}  // namespace veza::cli
