// Keeps a program from writing where it must not, whatever its account may: Landlock.
#pragma once

#include <string>

#include "core/error.h"
#include "core/storage/unique_fd.h"

namespace veza::cli {

// What ChildSpec::confinement takes: the program, and whatever it starts, can make, change and
// remove files below `directory` only, and in /dev/shm; reading and executing stay as they are.
// kUnsupported when the kernel, or what this process runs in, has no Landlock.
Result<UniqueFd> ConfineWritesTo(const std::string& directory);

// For good, this process. Between fork() and exec(): nothing but system calls. False, with errno.
bool EnterConfinement(int confinement);

}  // namespace veza::cli
