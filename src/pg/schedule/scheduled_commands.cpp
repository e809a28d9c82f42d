#include "pg/schedule/scheduled_commands.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <optional>

//
#include "pg/boundary.h"

namespace veza::pg {

namespace {

constexpr std::chrono::milliseconds kNapWhileRunning{1000};
constexpr std::chrono::milliseconds kLongestNap{3'600'000};

struct Task {
  const char* name;
  pid_t pid;
  std::optional<TimePoint> next;
};
Task tasks[] = {{"restore drill", 0, std::nullopt}, {"verification", 0, std::nullopt}};

const ScheduledCommand& CommandOf(const Config& config, const Task& task) {
  return &task == &tasks[0] ? config.drill : config.verify;
}

// Sends SIGTERM to the process groups. vezactl then cleans up, and its children end with it.
void StopAll(int, Datum) {
  for (Task& task : tasks) {
    if (task.pid > 0) {
      kill(-task.pid, SIGTERM);
      task.pid = 0;
    }
  }
}

// Runs in the child, between fork() and exec(). May only call functions that are safe there.
[[noreturn]] void Become(const char* command, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) {
    _exit(1);
  }
  setpriority(PRIO_PROCESS, 0, 19);
  constexpr int kIoprioWhoProcess = 1;
  constexpr int kIdleClass = 3 << 13;
  syscall(SYS_ioprio_set, kIoprioWhoProcess, 0, kIdleClass);
  for (const int number :
       {SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE, SIGALRM, SIGCHLD}) {
    std::signal(number, SIG_DFL);
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = open("/dev/null", O_RDWR);
  if (null >= 0) {
    dup2(null, STDIN_FILENO);
  }
  // The child must not inherit the server's files and sockets, but for standard error, which is the
  // log.
  closefrom(STDERR_FILENO + 1);
  dup2(STDERR_FILENO, STDOUT_FILENO);
  execl("/bin/sh", "sh", "-c", command, static_cast<char*>(nullptr));
  _exit(127);
}

void Start(Task& task, const char* command) {
  static bool registered = false;
  if (!registered) {
    before_shmem_exit(StopAll, 0);
    registered = true;
  }
  const pid_t parent = getpid();
  pid_t pid = 0;
  {
    // A signal between fork() and exec() must not run a handler of the server in the child.
    const SignalsBlocked blocked;
    pid = fork();
    if (pid == 0) {
      Become(command, parent);
    }
  }
  if (pid < 0) {
    ereport(WARNING, (errmsg("could not start the scheduled %s: %m", task.name)));
    return;
  }
  setpgid(pid, pid);
  task.pid = pid;
  ereport(LOG, (errmsg("starting the scheduled %s: %s", task.name, command)));
}

void LookAt(Task& task) {
  int status = 0;
  if (task.pid == 0 || waitpid(task.pid, &status, WNOHANG) != task.pid) {
    return;
  }
  task.pid = 0;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    ereport(LOG, (errmsg("the scheduled %s has passed", task.name)));
  } else if (WIFEXITED(status)) {
    ereport(WARNING,
            (errmsg("the scheduled %s has failed: exit code %d", task.name, WEXITSTATUS(status)),
             errhint("See its own messages above. Exit code 1 means that something is wrong with "
                     "the backups. Any other exit code means that they could not be tested.")));
  } else {
    ereport(WARNING,
            (errmsg("the scheduled %s was terminated by signal %d", task.name, WTERMSIG(status))));
  }
}

// Whether the task is due. Sets the time of its next run.
bool IsDue(Task& task, const ScheduledCommand& command) {
  bool due = false;
  (void)CatchExceptions([&] {
    const TimePoint now = SystemClock().Now();
    const TimePoint next = command.schedule->NextAfter(now);
    due = task.next && now >= *task.next;
    // Also if the clock was set back.
    if (due || !task.next || next < *task.next) {
      task.next = next;
    }
    return Ok();
  });
  return due;
}

}  // namespace

void RestartSchedulesOfCommands() {
  for (Task& task : tasks) {
    task.next.reset();
  }
}

long RunScheduledCommands(const Config* config) {
  std::chrono::milliseconds nap = kLongestNap;
  for (Task& task : tasks) {
    LookAt(task);
    if (task.pid != 0) {
      nap = std::min(nap, kNapWhileRunning);
    }
    if (config == nullptr || !CommandOf(*config, task).schedule) {
      continue;
    }
    if (IsDue(task, CommandOf(*config, task)) && task.pid == 0) {
      Start(task, CommandOf(*config, task).command.c_str());
      nap = std::min(nap, kNapWhileRunning);
    }
    if (task.next) {
      nap =
          std::min(nap, std::chrono::ceil<std::chrono::milliseconds>(std::max(
                            *task.next - SystemClock().Now(), std::chrono::microseconds(10'000))));
    }
  }
  return nap.count();
}

}  // namespace veza::pg
