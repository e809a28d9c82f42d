// Programs that vezactl runs, and that end when it does.
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
  std::vector<std::string> arguments{};    // the first one is the path of the program
  std::vector<std::string> environment{};  // the whole environment, as NAME=value
  std::string directory = "/";             // the working directory
  // The signal that the child gets when this process dies; 0 for none. This process may send the
  // same signal for other reasons, with Signal().
  int death_signal = SIGKILL;
  int inherited = -1;    // a descriptor that the child inherits; -1: none
  int confinement = -1;  // a ruleset of confinement.h; -1: none
  const CallFilter* calls = nullptr;
};

// A child process. It inherits none of our descriptors but those named in the spec, whoever opened
// them: a library may have opened one without FD_CLOEXEC, and a connection to the store would be a
// way out of a confinement.
//
// It leads a process group and a session of its own, so that signals of the terminal do not reach
// it. All its signals have their default action. Only the main thread may start it: the kernel
// sends death_signal when the thread that started the child ends, not when the process does.
class ChildProcess {
 public:
  // Starts it. Its standard output and error go to these descriptors. Its standard input is
  // /dev/null.
  static Result<ChildProcess> Start(const ChildSpec& spec, int output, int error);

  ChildProcess(ChildProcess&& other) noexcept
      : pid_(std::exchange(other.pid_, 0)), exit_code_(other.exit_code_) {}
  ChildProcess& operator=(ChildProcess&& other) = delete;
  // Kills the whole process group, and waits for the child.
  ~ChildProcess();

  // The exit code, or 128 plus the number of the signal that ended it. Absent while it runs.
  std::optional<int> Poll();
  // Waits for its end, and returns the same code.
  int Wait();
  // From now on the object does not kill the child. When it was started with death_signal 0, it
  // outlives this process. Returns its process id.
  pid_t Release() { return std::exchange(pid_, 0); }
  // Sends a signal to the child; SIGKILL goes to its whole process group.
  void Signal(int signal_number) const;
  pid_t pid() const { return pid_; }

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}

  pid_t pid_;
  std::optional<int> exit_code_;
};

struct ChildOutput {
  int exit_code = 0;  // as ChildProcess::Poll() returns it
  std::string output{};
  std::string error{};  // of both only the first MiB is kept
};

// Runs the program to its end. When `cancellation` comes first, the program is killed and the error
// is kCancelled. When `error_log` is a descriptor, standard error goes there instead of into the
// result.
Result<ChildOutput> RunToEnd(const ChildSpec& spec, const Cancellation& cancellation,
                             int error_log = -1);

// An environment for PostgreSQL's programs: PATH, LC_ALL=C, and LD_LIBRARY_PATH where this process
// has it. It leaves out our credentials (AWS_…), and variables that change what the programs do
// (PG…, LANG).
std::vector<std::string> CleanEnvironment();
inline constexpr const char* kLibraryPath = "LD_LIBRARY_PATH";
// The environment of this process, for running vezactl itself.
std::vector<std::string> OwnEnvironment();

// Whether descendants of this process that lose their parent become its children (a "subreaper"),
// so that KillAllChildren() finds them.
void AdoptOrphans(bool adopt);
void KillAllChildren();
// Kills all children but one.
void KillChildrenBut(pid_t kept);

}  // namespace veza::cli
