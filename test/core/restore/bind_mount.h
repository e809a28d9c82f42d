// Bind mounts that end with the process.
#pragma once

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <optional>
#include <string>

namespace veza {

// Mounts `directory` at `point`, too, in a mount namespace of this process.
inline bool MountAlsoAt(const std::string& directory, const std::string& point) {
  return unshare(CLONE_NEWNS) == 0 &&
         mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mount(directory.c_str(), point.c_str(), nullptr, MS_BIND, nullptr) == 0;
}

// The result of `check` in another process, for which `directory` is also at `point`. nullopt where
// such a mount is not allowed.
inline std::optional<bool> WithBindMount(const std::string& directory, const std::string& point,
                                         const std::function<bool()>& check) {
  constexpr int kUnavailable = 2;
  const pid_t process = fork();
  if (process == 0) {
    _exit(!MountAlsoAt(directory, point) ? kUnavailable : check() ? 0 : 1);
  }
  int status = 0;
  waitpid(process, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == kUnavailable) {
    return std::nullopt;
  }
  return status == 0;
}

}  // namespace veza
