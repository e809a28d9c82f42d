#include "cli/child_process.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "core/config/config.h"
#include "core/process_identity.h"
#include "core/storage/pipe.h"

namespace veza::cli {
namespace {

constexpr std::size_t kOutputLimit = 1U << 20;
constexpr std::chrono::seconds kKillPatience{20};
constexpr std::chrono::milliseconds kKillPause{20};

int ExitCodeOf(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

std::vector<char*> Pointers(const std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (const std::string& text : strings) {
    pointers.push_back(const_cast<char*>(text.c_str()));  // NOLINT: execve() takes it so
  }
  pointers.push_back(nullptr);
  return pointers;
}

// Makes exec() close every descriptor above standard error. Runs between fork() and exec(), so it
// makes system calls only. Returns false and sets errno on failure.
bool CloseAtExec() {
#ifdef SYS_close_range
  if (syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC) == 0) {
    return true;
  }
#endif
  // For Linux before 5.11.
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
    return false;
  }
  for (int fd = STDERR_FILENO + 1; static_cast<rlim_t>(fd) < limit.rlim_cur; ++fd) {
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 && errno != EBADF) {
      return false;
    }
  }
  return true;
}

// What a child needs beside its ChildSpec, made before fork(): the child may not allocate.
struct ChildStart {
  char* const* arguments = nullptr;
  char* const* environment = nullptr;
  pid_t parent = 0;
  int output = -1;
  int error = -1;
  int report = -1;  // gets the errno of what fails before exec()
};

// Turns the forked process into the program. Runs between fork() and exec(), so it makes system
// calls only. Does not return.
[[noreturn]] void BecomeChild(const ChildSpec& spec, const ChildStart& start) {
  const auto fail = [&start] {
    const int code = errno;
    [[maybe_unused]] const ssize_t written = write(start.report, &code, sizeof code);
    _exit(127);
  };
  sigset_t none;
  sigemptyset(&none);
  // exec() resets handlers, but keeps signals ignored that were ignored.
  struct sigaction standard {};
  standard.sa_handler = SIG_DFL;
  for (const int signal_number : {SIGPIPE, SIGCHLD, SIGINT, SIGQUIT, SIGHUP}) {
    sigaction(signal_number, &standard, nullptr);
  }
  const int null = open("/dev/null", O_RDONLY);
  if (null < 0 || setsid() < 0 || prctl(PR_SET_PDEATHSIG, spec.death_signal) != 0 ||
      chdir(spec.directory.c_str()) != 0 || dup2(null, STDIN_FILENO) < 0 ||
      dup2(start.output, STDOUT_FILENO) < 0 || dup2(start.error, STDERR_FILENO) < 0 ||
      sigprocmask(SIG_SETMASK, &none, nullptr) != 0) {
    fail();
  }
  if (getppid() != start.parent) {
    _exit(127);  // the parent died before prctl()
  }
  if (!CloseAtExec()) {
    fail();
  }
  if (spec.inherited >= 0 && fcntl(spec.inherited, F_SETFD, 0) != 0) {
    fail();
  }
  if (spec.confinement >= 0 && !EnterConfinement(spec.confinement)) {
    fail();
  }
  if (spec.calls != nullptr && !EnterCallFilter(*spec.calls)) {
    fail();
  }
  execve(start.arguments[0], start.arguments, start.environment);
  fail();
  _exit(127);
}

// The children of a process, according to /proc. Finds also those that have left its process group.
std::vector<pid_t> ChildrenOf(pid_t parent) {
  std::vector<pid_t> children;
  DIR* const processes = opendir("/proc");
  if (processes == nullptr) {
    return children;
  }
  // NOLINTNEXTLINE(concurrency-mt-unsafe): nobody else reads from it
  while (const dirent* entry = readdir(processes)) {
    const int pid = std::atoi(entry->d_name);  // NOLINT(cert-err34-c): 0 for other names
    if (pid <= 0) {
      continue;
    }
    if (ParentOf(pid) == parent) {
      children.push_back(pid);
    }
  }
  closedir(processes);
  return children;
}

// Returns false at the end of the file.
bool ReadInto(int fd, std::string& text) {
  std::array<char, 16384> buffer{};
  const ssize_t got = read(fd, buffer.data(), buffer.size());
  if (got < 0) {
    return errno == EINTR || errno == EAGAIN;
  }
  text.append(buffer.data(), std::min(static_cast<std::size_t>(got),
                                      kOutputLimit - std::min(text.size(), kOutputLimit)));
  return got > 0;
}

}  // namespace

Result<ChildProcess> ChildProcess::Start(const ChildSpec& spec, int output, int error) {
  const std::vector<char*> arguments = Pointers(spec.arguments);
  const std::vector<char*> environment = Pointers(spec.environment);
  ASSIGN_OR_RETURN(Pipe report, MakePipe());
  const ChildStart start{arguments.data(),   environment.data(), getpid(), output, error,
                         report.writer.get()};
  const pid_t pid = fork();
  if (pid < 0) {
    return ErrnoError(errno, "could not start a process");
  }
  if (pid == 0) {
    BecomeChild(spec, start);
  }
  ChildProcess child(pid);
  report.writer.Reset();
  int code = 0;
  ssize_t got = 0;
  while ((got = read(report.reader.get(), &code, sizeof code)) < 0 && errno == EINTR) {
  }
  if (got == sizeof code) {
    return ErrnoError(code, fmt::format("could not run program \"{}\"", spec.arguments[0]));
  }
  return child;
}

ChildProcess::~ChildProcess() {
  if (pid_ != 0 && !exit_code_) {
    Signal(SIGKILL);
    Wait();
  }
}

std::optional<int> ChildProcess::Poll() {
  int status = 0;
  if (!exit_code_ && waitpid(pid_, &status, WNOHANG) == pid_) {
    exit_code_ = ExitCodeOf(status);
  }
  return exit_code_;
}

int ChildProcess::Wait() {
  int status = 0;
  while (!exit_code_) {
    if (waitpid(pid_, &status, 0) == pid_) {
      exit_code_ = ExitCodeOf(status);
    } else if (errno != EINTR) {
      exit_code_ = 127;
    }
  }
  return *exit_code_;
}

void ChildProcess::Signal(int signal_number) const {
  if (!exit_code_) {
    // The postmaster passes other signals on to its children itself. It cannot pass on SIGKILL.
    kill(signal_number == SIGKILL ? -pid_ : pid_, signal_number);
  }
}

Result<ChildOutput> RunToEnd(const ChildSpec& spec, const Cancellation& cancellation,
                             int error_log) {
  ASSIGN_OR_RETURN(Pipe output, MakePipe());
  ASSIGN_OR_RETURN(Pipe error, MakePipe());
  ASSIGN_OR_RETURN(ChildProcess child,
                   ChildProcess::Start(spec, output.writer.get(),
                                       error_log >= 0 ? error_log : error.writer.get()));
  output.writer.Reset();
  error.writer.Reset();
  ChildOutput result;
  std::array<pollfd, 3> files{{{output.reader.get(), POLLIN, 0},
                               {error.reader.get(), POLLIN, 0},
                               {cancellation.fd(), POLLIN, 0}}};
  while (files[0].fd >= 0 || files[1].fd >= 0) {
    const int ready = poll(files.data(), files.size(), -1);
    RETURN_IF_ERROR(cancellation.Check());
    if (ready < 0 && errno != EINTR) {
      return ErrnoError(errno, fmt::format("could not wait for \"{}\"", spec.arguments[0]));
    }
    if (ready <= 0) {
      continue;
    }
    if (files[0].revents != 0 && !ReadInto(files[0].fd, result.output)) {
      files[0].fd = -1;
    }
    if (files[1].revents != 0 && !ReadInto(files[1].fd, result.error)) {
      files[1].fd = -1;
    }
  }
  result.exit_code = child.Wait();
  return result;
}

std::vector<std::string> CleanEnvironment() {
  std::vector<std::string> clean = {"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C"};
  // For a PostgreSQL that is not installed in the usual place.
  if (const std::optional<std::string> libraries = ProcessEnvironment()(kLibraryPath)) {
    clean.push_back(fmt::format("{}={}", kLibraryPath, *libraries));
  }
  return clean;
}

std::vector<std::string> OwnEnvironment() {
  std::vector<std::string> own;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    own.emplace_back(*variable);
  }
  return own;
}

void AdoptOrphans(bool adopt) {
  prctl(PR_SET_CHILD_SUBREAPER, adopt ? 1 : 0);
}

void KillAllChildren() {
  KillChildrenBut(0);
}

void KillChildrenBut(pid_t kept) {
  const auto deadline = std::chrono::steady_clock::now() + kKillPatience;
  while (std::chrono::steady_clock::now() < deadline) {
    std::vector<pid_t> children = ChildrenOf(getpid());
    std::erase(children, kept);
    if (children.empty()) {
      return;
    }
    for (const pid_t child : children) {
      kill(child, SIGKILL);
      waitpid(child, nullptr, WNOHANG);
    }
    std::this_thread::sleep_for(kKillPause);
  }
}

}  // namespace veza::cli
