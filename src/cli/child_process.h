// Programs that vezactl runs, and does not outlive.
#pragma once

#include <sys/types.h>

#include <csignal>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/environment.h"
#include "core/error.h"

namespace veza::cli {

struct ChildSpec {
  std::vector<std::string> arguments{};    // the first is the program's path
  std::vector<std::string> environment{};  // all of it, NAME=value
  std::string directory = "/";             // to work in
  // What the child gets should this process die; it is one that the child may be given by us, too.
  int death_signal = SIGKILL;
  int inherited = -1;    // a descriptor that stays open in it; -1: none
  int confinement = -1;  // of confinement.h; -1: none
};

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
  void Signal(int signal_number) const;

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

// Runs it to its end, or until `cancellation`: then it is killed and the error is kCancelled.
Result<ChildOutput> RunToEnd(const ChildSpec& spec, const Cancellation& cancellation);

// Our environment without what changes the meaning of PostgreSQL's programs (PG…, LANG, LC_…), with
// LC_ALL=C.
std::vector<std::string> CleanEnvironment();

// Descendants of this process that lose their parent become its children, so that
// KillAllChildren() finds them; or, again, not.
void AdoptOrphans(bool adopt);
void KillAllChildren();

}  // namespace veza::cli
