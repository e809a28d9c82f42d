#include "cli/drill/supervisor.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>

#include "cli/child_process.h"
#include "cli/drill/throw_away.h"
#include "cli/output.h"
#include "cli/signals.h"
#include "core/codec/json.h"
#include "core/codec/json_fields.h"
#include "core/storage/file_io.h"
#include "core/storage/unique_fd.h"

namespace veza::cli {
namespace {

// The signals that stop a drill, and SIGCHLD.
sigset_t SupervisedSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal_number : {SIGINT, SIGTERM, SIGHUP, SIGCHLD}) {
    sigaddset(&signals, signal_number);
  }
  return signals;
}

std::string ToText(const DrillOutcome& outcome) {
  Json document = {{"exit_code", outcome.exit_code},
                   {"interrupted", outcome.interrupted},
                   {"kept", outcome.kept},
                   {"record", DrillToJson(outcome.record)}};
  if (outcome.last_passed) {
    document["last_passed"] = FormatUtc(*outcome.last_passed);
  }
  return document.Print();
}

struct ReportAndKept {
  DrillReport report;
  bool kept = false;
};

Result<ReportAndKept> FromText(const std::string& text) {
  const std::string where = "report of the drill";
  const auto document = ParseJsonObject(text);
  if (!document) {
    return MakeError(ErrorCode::kDataCorrupted, "there is no {}", where);
  }
  ReportAndKept result;
  JsonFields fields(*document, where);
  fields.Read("exit_code", result.report.exit_code);
  fields.Read("interrupted", result.report.interrupted);
  fields.Read("kept", result.kept);
  RETURN_IF_ERROR(fields.status());
  const Json* const record = document->Find("record");
  ASSIGN_OR_RETURN(result.report.record,
                   DrillFromJson(record != nullptr ? *record : Json(), where));
  if (const auto last_passed = StringMember(*document, "last_passed")) {
    ASSIGN_OR_RETURN(result.report.last_passed.emplace(), ParseUtc(*last_passed));
  }
  return result;
}

using Show = void (*)(const GlobalOptions&, const DrillOutcome&, const std::string&);

// What the process of the drill gets from its supervisor.
struct Assignment {
  const Account& account;
  const ThrowAwayDirectory& directory;
  pid_t supervisor = 0;
  int report = -1;  // the file that the result is written to
  Show show = nullptr;
};

// Runs the drill in its process. Does not return.
[[noreturn]] void BeTheDrill(const GlobalOptions& options, const Assignment& assignment,
                             DrillOptions drill) {
  const ThrowAwayDirectory& directory = assignment.directory;
  InstallSignalHandlers(*options.environment.cancellation, SecondSignal::kIgnored);
  const sigset_t signals = SupervisedSignals();
  sigprocmask(SIG_UNBLOCK, &signals, nullptr);
  const Status became = BecomeAccount(assignment.account);
  // After the change of account, which would reset both settings.
  if (!became || prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || prctl(PR_SET_DUMPABLE, 0) != 0 ||
      getppid() != assignment.supervisor || chdir(directory.path().c_str()) != 0) {
    if (!became) {
      PrintError(became.error());
    }
    _exit(kFailed);
  }
  AdoptOrphans(true);
  alarm(static_cast<unsigned>(drill.timeout_seconds));
  const DrillOutcome outcome = RunDrill(options, std::move(drill));
  if (outcome.kept) {
    if (const Status kept = directory.Keep(!outcome.how_to_stop.empty()); !kept) {
      PrintWarning(kept.error().message);
    }
  } else {
    KillAllChildren();
    // The supervisor also does this, but it may be gone.
    [[maybe_unused]] const Status removed = directory.Remove();
  }
  assignment.show(options, outcome, directory.path());
  const bool written = FlushOutput();
  const std::string text = ToText(outcome);
  const Status reported =
      WriteAllAt(assignment.report, 0, AsBytes(text), "the report of the drill");
  _exit(reported && written ? outcome.exit_code : kFailed);
}

// Passes signals that stop the drill on to it. Returns its status, as waitpid() gives it.
int WaitForDrill(pid_t drill) {
  const sigset_t signals = SupervisedSignals();
  for (;;) {
    const int signal_number = sigwaitinfo(&signals, nullptr);
    if (signal_number > 0 && signal_number != SIGCHLD) {
      kill(drill, signal_number);
    }
    int status = 0;
    pid_t ended = 0;
    while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
      if (ended == drill) {
        return status;
      }
    }
  }
}

Result<std::string> ReadAll(int fd) {
  std::string text;
  std::array<char, 65536> buffer{};
  ssize_t got = 0;
  while ((got = pread(fd, buffer.data(), buffer.size(), static_cast<off_t>(text.size()))) > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  if (got < 0) {
    return ErrnoError(errno, "could not read the report of the drill");
  }
  return text;
}

}  // namespace

Result<DrillReport> SuperviseDrill(const GlobalOptions& options, const Account& account,
                                   const std::string& base, DrillOptions drill, Show show) {
  const sigset_t signals = SupervisedSignals();
  std::signal(SIGCHLD, SIG_DFL);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  RemoveLeftOvers(base, account);
  ASSIGN_OR_RETURN(const ThrowAwayDirectory directory, ThrowAwayDirectory::Make(base, account));
  if (Status usable = DrillServer::RequireUsable(directory.path()); !usable) {
    RETURN_IF_ERROR(directory.Remove());
    return usable.error();
  }
  drill.directory = directory.path();
  drill.lock = directory.lock();
  const UniqueFd report(memfd_create("veza-drill", MFD_CLOEXEC));
  AdoptOrphans(true);
  // This process has the account and the credentials. The restored server has the account too, and
  // must not be able to read our memory and environment. Landlock ensures that as well, where the
  // kernel has it.
  prctl(PR_SET_DUMPABLE, 0);
  const pid_t supervisor = getpid();
  const pid_t pid = report.valid() ? fork() : -1;
  if (pid < 0) {
    Error error = ErrnoError(errno, "could not start the drill");
    RETURN_IF_ERROR(directory.Remove());
    return error;
  }
  if (pid == 0) {
    BeTheDrill(options, {account, directory, supervisor, report.get(), show}, std::move(drill));
  }
  const int status = WaitForDrill(pid);
  ASSIGN_OR_RETURN(const std::string text, ReadAll(report.get()));
  Result<ReportAndKept> result = FromText(text);
  if (result && result->kept) {
    return result->report;
  }
  KillAllChildren();
  RETURN_IF_ERROR(directory.Remove());
  if (!result) {
    if (WIFSIGNALED(status)) {
      return MakeError(ErrorCode::kInternal, "the process of the drill was terminated by signal {}",
                       WTERMSIG(status))
          .WithHint("None of its processes runs any more. The machine may have run out of memory.");
    }
    return MakeError(ErrorCode::kInternal, "the process of the drill has ended without a result");
  }
  return result->report;
}

}  // namespace veza::cli
