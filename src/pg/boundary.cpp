#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
//
#include "pg/boundary.h"

namespace veza::pg {

namespace {

constexpr long kTickMs = 200;

int SqlstateOf(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return ERRCODE_INVALID_PARAMETER_VALUE;
    case ErrorCode::kNotFound:
      return ERRCODE_UNDEFINED_OBJECT;
    case ErrorCode::kAlreadyExists:
      return ERRCODE_DUPLICATE_OBJECT;
    case ErrorCode::kConflict:
    case ErrorCode::kFailedPrecondition:
      return ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
    case ErrorCode::kPermissionDenied:
    case ErrorCode::kWrongKey:
      return ERRCODE_INSUFFICIENT_PRIVILEGE;
    case ErrorCode::kCredentials:
      return ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineExceeded:
      return ERRCODE_CONNECTION_FAILURE;
    case ErrorCode::kCancelled:
      return ERRCODE_QUERY_CANCELED;
    case ErrorCode::kDataCorrupted:
      return ERRCODE_DATA_CORRUPTED;
    case ErrorCode::kUnsupported:
      return ERRCODE_FEATURE_NOT_SUPPORTED;
    case ErrorCode::kNoSpace:
      return ERRCODE_DISK_FULL;
    case ErrorCode::kIo:
      return ERRCODE_IO_ERROR;
    case ErrorCode::kInternal:
      return ERRCODE_INTERNAL_ERROR;
  }
  return ERRCODE_INTERNAL_ERROR;
}

// The calls of this process whose threads may be running. Main thread only.
std::vector<BackgroundCall*>& LiveCalls() {
  static std::vector<BackgroundCall*> calls;
  return calls;
}

// A process that exits by FATAL does not unwind its stack, so no destructor joins the threads. They
// must not outlive the memory that they use.
void JoinLiveCalls(int, Datum) {
  for (BackgroundCall* call : LiveCalls()) {
    call->Cancel();
  }
  // Join() removes the call from the list.
  while (!LiveCalls().empty()) {
    (void)LiveCalls().back()->Join();
  }
}

void RegisterExitCallback() {
  static bool registered = false;
  if (!registered) {
    before_shmem_exit(JoinLiveCalls, 0);
    registered = true;
  }
}

void SleepUntilDone(const BackgroundCall& call) {
  pollfd watched{call.done_fd(), POLLIN, 0};
  while (!call.done()) {
    poll(&watched, 1, 1000);
  }
}

}  // namespace

void FillReport(const char* message, const char* hint, int sqlstate, ErrorReport* report) {
  report->sqlstate = sqlstate;
  strlcpy(report->message, message, sizeof report->message);
  strlcpy(report->hint, hint, sizeof report->hint);
}

void FillReport(const ErrorData* error, ErrorReport* report) {
  FillReport(error->message != nullptr ? error->message : "unknown error",
             error->hint != nullptr ? error->hint : "", error->sqlerrcode, report);
}

void FillReport(const Error& error, ErrorReport* report) {
  FillReport(Shorten(error.message, sizeof report->message - 1).c_str(), error.hint.c_str(),
             SqlstateOf(error.code), report);
}

bool Failed(const Status& status, ErrorReport* report) {
  if (!status) {
    FillReport(status.error(), report);
  }
  return !status.has_value();
}

void Raise(int level, const ErrorReport* report) {
  if (report->hint[0] == '\0') {
    ereport(level, (errcode(report->sqlstate), errmsg("%s", report->message)));
  } else {
    ereport(level, (errcode(report->sqlstate), errmsg("%s", report->message),
                    errhint("%s", report->hint)));
  }
}

SignalsBlocked::SignalsBlocked() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before_);
}

SignalsBlocked::~SignalsBlocked() {
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

BackgroundCall::BackgroundCall(Environment environment)
    : environment_(std::move(environment)), done_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

BackgroundCall::~BackgroundCall() {
  StopAndJoin();
  if (done_fd_ >= 0) {
    close(done_fd_);
  }
}

void BackgroundCall::StopAndJoin() {
  if (thread_.joinable()) {
    Cancel();
    (void)Join();
  }
}

Status BackgroundCall::Start() {
  RegisterExitCallback();
  if (done_fd_ < 0) {
    return MakeError(ErrorCode::kInternal, "could not create an event descriptor")
        .WithHint("The process has run out of file descriptors.");
  }
  const SignalsBlocked blocked;
  Status started = CatchExceptions([this] {
    LiveCalls().push_back(this);
    thread_ = std::thread([this] {
      status_ = CatchExceptions([this] { return Work(); });
      done_.store(true, std::memory_order_release);
      const std::uint64_t one = 1;
      [[maybe_unused]] const ssize_t written = write(done_fd_, &one, sizeof one);
    });
    return Ok();
  });
  if (!started) {
    std::erase(LiveCalls(), this);
  }
  return started;
}

Status BackgroundCall::Join() {
  if (thread_.joinable()) {
    thread_.join();
  }
  std::erase(LiveCalls(), this);
  return status_;
}

bool WaitForCall(BackgroundCall* call, long timeout_ms, uint32 wait_event) {
  if (call->done()) {
    return true;
  }
  WaitLatchOrSocket(MyLatch, WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
                    call->done_fd(), timeout_ms, wait_event);
  ResetLatch(MyLatch);
  if (InterruptPending && (QueryCancelPending || ProcDiePending)) {
    call->Cancel();
    SleepUntilDone(*call);
  }
  CHECK_FOR_INTERRUPTS();
  return call->done();
}

// Runs `tick`. When it raises an error, the thread is stopped first, because the cleanup after the
// error frees what the thread uses.
static void Tick(BackgroundCall* call, void (*tick)(void*), void* argument) {
  PG_TRY();
  { tick(argument); }
  PG_CATCH();
  {
    call->Cancel();
    SleepUntilDone(*call);
    PG_RE_THROW();
  }
  PG_END_TRY();
}

void RunCall(BackgroundCall* call, uint32 wait_event, void (*tick)(void*), void* tick_argument) {
  ErrorReport report;
  if (Failed(call->Start(), &report)) {
    Raise(ERROR, &report);
  }
  bool done = false;
  while (!done) {
    done = WaitForCall(call, kTickMs, wait_event);
    if (tick != nullptr) {
      Tick(call, tick, tick_argument);
    }
  }
  if (Failed(call->Join(), &report)) {
    Raise(ERROR, &report);
  }
}

}  // namespace veza::pg
