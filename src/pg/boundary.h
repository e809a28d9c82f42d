// The boundary between C++ and PostgreSQL: the one place where errors cross it.
//
// Two rules hold everywhere in pg/:
//
// 1. No C++ exception reaches PostgreSQL's C code.
// 2. No longjmp (ereport(ERROR), CHECK_FOR_INTERRUPTS(), a failed palloc()) passes over a C++
//    object that has a destructor.
//
// So an error is first copied into an ErrorReport, which is plain memory. Then the C++ scope is
// left, and only then is the error raised.
#pragma once

#include <atomic>
#include <csignal>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "core/environment.h"
#include "core/error.h"
#include "pg/postgres.h"

namespace veza::pg {

// An Error in plain memory of fixed size. It may lie in shared memory. Longer texts are truncated.
struct ErrorReport {
  int sqlstate;
  char message[1024];
  char hint[512];
};

// Copy an error into `report`.
void FillReport(const Error& error, ErrorReport* report);
void FillReport(const char* message, const char* hint, int sqlstate, ErrorReport* report);
// Takes an error of the server, as CopyErrorData() returns it.
void FillReport(const ErrorData* error, ErrorReport* report);

// Returns true when the status is an error, and copies that into `report`. The caller passes a
// temporary, so that no Status is alive when the error is raised.
bool Failed(const Status& status, ErrorReport* report);

// Calls ereport() with the report at `level`. Does not return for ERROR and above.
void Raise(int level, const ErrorReport* report);

// Blocks every signal while it lives. Threads that are started meanwhile inherit the mask.
class SignalsBlocked {
 public:
  SignalsBlocked();
  ~SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

// Work that may block (network, disk, key derivation), done by a thread of its own, so that the
// server process can go on serving interrupts. The thread starts with every signal blocked and must
// not call PostgreSQL.
//
// The main thread creates, waits for and destroys the object. The destructor cancels and joins.
// Objects that are alive when the process exits (FATAL, death of the postmaster) are cancelled and
// joined before that.
class BackgroundCall {
 public:
  // Calls that share a store must share the environment with which that store was made.
  explicit BackgroundCall(Environment environment = {});
  virtual ~BackgroundCall();
  BackgroundCall(const BackgroundCall&) = delete;
  BackgroundCall& operator=(const BackgroundCall&) = delete;

  // Starts the thread. May be called once.
  Status Start();
  void Cancel() { environment_.cancellation->Cancel(); }
  bool done() const { return done_.load(std::memory_order_acquire); }
  int done_fd() const { return done_fd_; }
  // Joins the thread and returns its result. Blocks unless done().
  Status Join();

 protected:
  // Runs in the thread. Everything slow in it must obey environment_.cancellation.
  virtual Status Work() = 0;
  Environment environment_;

  // Every derived destructor must call this first, before its members are destroyed.
  void StopAndJoin();

 private:
  std::thread thread_;
  std::atomic<bool> done_{false};
  int done_fd_;
  Status status_;
};

// A call that runs a function, for work that needs no state of its own. What the function refers to
// must outlive the call.
class FunctionCall final : public BackgroundCall {
 public:
  FunctionCall(Environment environment, std::function<Status()> work)
      : BackgroundCall(std::move(environment)), work_(std::move(work)) {}
  ~FunctionCall() override { StopAndJoin(); }

 private:
  Status Work() override { return work_(); }
  std::function<Status()> work_;
};

// Waits up to `timeout_ms` milliseconds for the call. Returns true when it is done. Serves the
// latch and interrupts, so it may raise ERROR. By then the call has been cancelled and its thread
// has finished. `call` must be owned by a memory context (NewInContext) or be static.
bool WaitForCall(BackgroundCall* call, long timeout_ms, uint32 wait_event);

// Starts the call, waits for it, and raises its error. `tick`, when given, runs about every 200 ms
// and once at the end. It may raise ERROR. By then the call has been cancelled and its thread has
// finished.
void RunCall(BackgroundCall* call, uint32 wait_event, void (*tick)(void*) = nullptr,
             void* tick_argument = nullptr);

// Makes a C++ object that lives as long as the current memory context. Its destructor runs when the
// context is reset or deleted, also after an error. Raises ERROR when there is not enough memory.
template <typename T, typename... Args>
T* NewInContext(Args&&... args) {
  auto* callback = static_cast<MemoryContextCallback*>(palloc0(sizeof(MemoryContextCallback)));
  T* object = nullptr;
  try {
    object = new T(std::forward<Args>(args)...);
  } catch (...) {
    object = nullptr;
  }
  if (object == nullptr) {
    ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
  }
  callback->func = [](void* argument) { delete static_cast<T*>(argument); };
  callback->arg = object;
  MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
  return object;
}

// The same for an object that lives as long as the process.
template <typename T>
T* NewForProcess() {
  MemoryContext const context = MemoryContextSwitchTo(TopMemoryContext);
  T* const object = NewInContext<T>();
  MemoryContextSwitchTo(context);
  return object;
}

}  // namespace veza::pg
