// A group of threads that one owner starts and joins.
#pragma once

#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "core/error.h"

namespace veza {

// Not thread-safe: one thread starts and joins the others. The owner must tell the threads to stop
// before it joins or destroys the group. It declares the group after everything that the threads
// use.
class ThreadGroup {
 public:
  ThreadGroup() = default;
  ~ThreadGroup() { Join(); }
  ThreadGroup(const ThreadGroup&) = delete;
  ThreadGroup& operator=(const ThreadGroup&) = delete;

  // `work` must not throw. kUnavailable when the system cannot start another thread.
  template <typename Work>
  Status Start(Work work) {
    try {
      threads_.emplace_back(std::move(work));
      return Ok();
    } catch (const std::system_error& error) {
      return MakeError(ErrorCode::kUnavailable, "could not start a thread: {}",
                       error.code().message())
          .WithHint("Raise the limit on processes of the operating system user (ulimit -u).");
    }
  }

  void Join() {
    for (std::thread& thread : threads_) {
      thread.join();
    }
    threads_.clear();
  }

 private:
  std::vector<std::thread> threads_;
};

}  // namespace veza
