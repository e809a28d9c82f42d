// postmaster.pid: the lock file that a server keeps in its data directory (PostgreSQL's pidfile.h;
// CreateLockFile() in miscinit.c). Nothing else in this program parses it.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "core/error.h"

namespace veza {

inline constexpr const char* kPostmasterPidFile = "postmaster.pid";

struct PostmasterPid {
  // Line 1: the process that owns the data directory. 0 when the line is not a process id, or is
  // not complete: a server that starts may be writing it.
  pid_t pid = 0;
  // The process is a single-user server. The file has its id with a minus.
  bool is_single_user = false;
  // Line 8, without the blanks behind it: "starting", "stopping", "ready" or "standby". Empty until
  // the server has written it. A single-user server never does.
  std::string state;
};

// Any text is allowed.
PostmasterPid ParsePostmasterPid(std::string_view text);

// Nothing when the directory has no such file. An error when something else has its name, or it
// cannot be read: then nobody knows whether a server runs there. Never waits, and reads a few KiB
// at the most: another account may have written the file.
Result<std::optional<PostmasterPid>> ReadPostmasterPid(const std::string& data_directory);

// Identifies (process_identity.h) the server process that recovers, for a program that this process
// has started by restore_command and that so runs in its data directory. Empty when no postmaster
// is among our ancestors.
std::string IdentifyRecoveringProcess();

}  // namespace veza
