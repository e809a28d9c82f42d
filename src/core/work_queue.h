// A queue of jobs between one thread that produces them and several that do them. Only a limited
// number of jobs may wait. The first error stops the work.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/thread_group.h"

namespace veza {

// One thread, the owner, calls Start(), Push(), WaitUntilIdle() and Finish(). Any thread may call
// Fail(). Declare the queue after everything that its threads use. Destroying it drops the jobs
// that no thread has begun.
template <typename Job>
class WorkQueue {
 public:
  // Called once with the first error, by the thread that has it, when the queue has taken it. It
  // may be called while the queue is destroyed.
  using FailureHandler = std::function<void(const Error&)>;

  // Push() waits while `limit` jobs are waiting.
  explicit WorkQueue(std::size_t limit, FailureHandler on_failure = {})
      : limit_(limit), on_failure_(std::move(on_failure)) {}
  ~WorkQueue() {
    Fail(MakeError(ErrorCode::kCancelled, "the work was abandoned"));
    threads_.Join();
  }

  // Starts at least one thread. `make_worker` is called once in each thread. The worker that it
  // returns is called with each job (Job&). An error that the worker returns stops all threads.
  template <typename MakeWorker>
  Status Start(int threads, MakeWorker make_worker) {
    for (int i = 0; i < std::max(threads, 1); ++i) {
      RETURN_IF_ERROR(threads_.Start([this, make_worker] {
        Status status = CatchExceptions([&] { return Work(make_worker()); });
        if (!status) {
          Fail(std::move(status.error()));
        }
      }));
    }
    return Ok();
  }

  // Returns the error that has stopped the work, if there is one.
  Status Push(Job job) {
    std::unique_lock lock(mutex_);
    owner_.wait(lock, [this] { return jobs_.size() < limit_ || failure_; });
    if (failure_) {
      return *failure_;
    }
    jobs_.push_back(std::move(job));
    workers_.notify_one();
    return Ok();
  }

  // Waits until every job that was pushed is done.
  Status WaitUntilIdle() {
    std::unique_lock lock(mutex_);
    owner_.wait(lock, [this] { return IsIdle() || failure_; });
    return StatusOf(failure_);
  }

  // The same, and then ends the threads.
  Status Finish() {
    {
      const std::lock_guard lock(mutex_);
      finished_ = true;
      workers_.notify_all();
    }
    threads_.Join();
    const std::lock_guard lock(mutex_);
    return StatusOf(failure_);
  }

  // Stops the work with this error. Only the first error counts. Each thread ends after its current
  // job.
  void Fail(Error error) {
    {
      const std::lock_guard lock(mutex_);
      if (failure_) {
        return;
      }
      failure_ = std::move(error);
      workers_.notify_all();
      owner_.notify_one();
    }
    if (on_failure_) {
      on_failure_(*failure_);  // which nobody changes any more
    }
  }

 private:
  bool IsIdle() const { return jobs_.empty() && working_ == 0; }

  static Status StatusOf(const std::optional<Error>& failure) {
    return failure ? Status(*failure) : Ok();
  }

  template <typename Worker>
  Status Work(Worker worker) {
    std::unique_lock lock(mutex_);
    for (;;) {
      workers_.wait(lock, [this] { return !jobs_.empty() || finished_ || failure_; });
      if (failure_ || jobs_.empty()) {
        return Ok();
      }
      {
        Job job(std::move(jobs_.front()));
        jobs_.pop_front();
        ++working_;
        // Push() waits only when the queue is full. It is woken when half the queue is free, and
        // not for each single place: thousands of small jobs would cost a switch of threads each.
        if (jobs_.size() == limit_ / 2) {
          owner_.notify_one();
        }
        lock.unlock();
        RETURN_IF_ERROR(worker(job));
      }  // frees what the job holds, such as an open file, without the lock
      lock.lock();
      --working_;
      if (IsIdle()) {
        owner_.notify_one();
      }
    }
  }

  const std::size_t limit_;
  const FailureHandler on_failure_;
  std::mutex mutex_;
  std::condition_variable workers_;  // the threads wait here
  std::condition_variable owner_;    // Push() and WaitUntilIdle() wait here
  std::deque<Job> jobs_;
  int working_ = 0;
  bool finished_ = false;
  std::optional<Error> failure_;
  ThreadGroup threads_;
};

}  // namespace veza
