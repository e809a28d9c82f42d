// Programs that vezactl runs, and does not outlive.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/confinement.h"
#include "core/environment.h"
#include "core/error.h"

namespace veza::cli {

struct ChildSpec {
  std::vector<std::string> arguments{};    // the first is the program's path
  std::vector<std::string> environment{};  // all of it, NAME=value
  std::string directory = "/";             // to work in
  // What the child gets should this process die; it is one that the child may be given by us, too.
  // 0: nothing.
  int death_signal = SIGKILL;
  int inherited = -1;    // a descriptor that stays open in it; -1: none
  int confinement = -1;  // of confinement.h; -1: none
  const CallFilter* calls = nullptr;
};

// No other descriptor of ours is open in it, whoever opened it: a library may not say that it is to
// be closed, and a connection to the store would be a way out of a confinement.
//
// Leads a process group and session of its own, so that signals of the terminal do not reach it,
// and has every signal at its default. Started by the main thread only: the kernel takes the death
// of the thread that has started a child for that of its parent.
class ChildProcess {
 public:
  // Standard output and error go to these descriptors; standard input is /dev/null.
  static Result<ChildProcess> Start(const ChildSpec& spec, int output, int error);

  ChildProcess(ChildProcess&& other) noexcept
      : pid_(std::exchange(other.pid_, 0)), exit_code_(other.exit_code_) {}
  ChildProcess& operator=(ChildProcess&& other) = delete;
  // Kills it and what is in its group.
  ~ChildProcess();

  // 128 and its number when a signal has ended it. Nothing while it runs.
  std::optional<int> Poll();
  int Wait();
  // It may outlive us from now on. Started with death_signal 0, it does. Returns its id.
  pid_t Release() { return std::exchange(pid_, 0); }
  void Signal(int signal_number) const;
  pid_t pid() const { return pid_; }

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}

  pid_t pid_;
  std::optional<int> exit_code_;
};

struct ChildOutput {
  int exit_code = 0;  // as of ChildProcess::Poll()
  std::string output{};
  std::string error{};  // both: the first MiB
};

// Runs it to its end, or until `cancellation`: then it is killed and the error is kCancelled. What
// it says on standard error goes to `error_log` at once, if there is one, and is not in the output.
Result<ChildOutput> RunToEnd(const ChildSpec& spec, const Cancellation& cancellation,
                             int error_log = -1);

// What PostgreSQL's programs need, and nothing else of ours: credentials (AWS_…) are not for them,
// nor what changes their meaning (PG…, LANG). PATH, LC_ALL=C, and LD_LIBRARY_PATH where we have it.
std::vector<std::string> CleanEnvironment();
inline constexpr const char* kLibraryPath = "LD_LIBRARY_PATH";
// All of ours: for vezactl itself.
std::vector<std::string> OwnEnvironment();

// Descendants of this process that lose their parent become its children, so that
// KillAllChildren() finds them; or, again, not.
void AdoptOrphans(bool adopt);
void KillAllChildren();
// The same of all but one.
void KillChildrenBut(pid_t kept);

}  // namespace veza::cli
