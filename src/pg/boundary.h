// The border between C++ and PostgreSQL: the one place where errors cross it.
//
// Two rules hold everywhere in pg/. No C++ exception reaches PostgreSQL's C code. And no longjmp
// (ereport(ERROR), CHECK_FOR_INTERRUPTS(), an allocation that fails) passes over a C++ object that
// has a destructor: an error is first copied into an ErrorReport, which is plain memory, the C++
// scope is left, and only then is it raised.
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

// An Error in plain memory of fixed size; may be in shared memory. Long texts are cut.
struct ErrorReport {
  int sqlstate;
  char message[1024];
  char hint[512];
};

void FillReport(const Error& error, ErrorReport* report);
void FillReport(const char* message, const char* hint, int sqlstate, ErrorReport* report);
// Of an error of the server's, as CopyErrorData() returns it.
void FillReport(const ErrorData* error, ErrorReport* report);

// True: the status is an error, now in `report`. Takes the Status apart so that no caller holds one
// when the error is raised.
bool Failed(const Status& status, ErrorReport* report);

// ereport() of it at `level`. With ERROR and above it does not return.
void Raise(int level, const ErrorReport* report);

// Blocks every signal for a time: threads that are started meanwhile inherit it.
class SignalsBlocked {
 public:
  SignalsBlocked();
  ~SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

// Work that may block (network, disk, key derivation) done by a thread of its own, so that the
// server process can go on serving interrupts. The thread starts with every signal blocked and
// calls nothing of PostgreSQL.
//
// Created, waited for and destroyed by the main thread; destroying cancels and joins. Live objects
// are also cancelled and joined before the process exits (FATAL, postmaster death).
class BackgroundCall {
 public:
  // Calls that share a store share the environment it was made with.
  explicit BackgroundCall(Environment environment = {});
  virtual ~BackgroundCall();
  BackgroundCall(const BackgroundCall&) = delete;
  BackgroundCall& operator=(const BackgroundCall&) = delete;

  // Once.
  Status Start();
  void Cancel() { environment_.cancellation->Cancel(); }
  bool done() const { return done_.load(std::memory_order_acquire); }
  int done_fd() const { return done_fd_; }
  // Joins the thread and gives its result. Blocks unless done().
  Status Join();

 protected:
  // In the thread. Everything slow in it obeys environment_.cancellation.
  virtual Status Work() = 0;
  Environment environment_;

  // A derived destructor calls it first, before its members go.
  void StopAndJoin();

 private:
  std::thread thread_;
  std::atomic<bool> done_{false};
  int done_fd_;
  Status status_;
};

// A call made of a function, for those that need no state of their own. The function refers to what
// outlives the call, by plain pointers.
class FunctionCall final : public BackgroundCall {
 public:
  FunctionCall(Environment environment, std::function<Status()> work)
      : BackgroundCall(std::move(environment)), work_(std::move(work)) {}
  ~FunctionCall() override { StopAndJoin(); }

 private:
  Status Work() override { return work_(); }
  std::function<Status()> work_;
};

// Waits up to `timeout_ms` for the call; true when it is done. Serves the latch and interrupts, so
// it may raise ERROR: when somebody wants this process to stop, the call has been cancelled and has
// ended by then. `call` must be owned by a memory context (NewInContext) or a static.
bool WaitForCall(BackgroundCall* call, long timeout_ms, uint32 wait_event);

// Starts, waits, and raises the call's error. `tick`, when given, runs about every 200 ms and at
// the end; it may raise ERROR, and the call has been cancelled and has ended by then.
void RunCall(BackgroundCall* call, uint32 wait_event, void (*tick)(void*) = nullptr,
             void* tick_argument = nullptr);

// A C++ object that lives as long as the current memory context: its destructor runs when the
// context is reset or deleted, also after an error. Raises ERROR when memory is short.
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

}  // namespace veza::pg
