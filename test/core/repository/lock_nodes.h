// Nodes of a cluster on one repository. Each node has a clock of its own, and so has the store.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "core/repository/cluster_lock.h"
#include "core/repository/test_repository.h"

namespace veza {

// A clock that moves only when told. Sleep() waits for that, or for its cancellation. Thread-safe.
class ManualClock final : public Clock {
 public:
  explicit ManualClock(std::chrono::hours skew = {}) : skew_(skew) {}

  TimePoint Now() const override {
    return kTestTime + skew_ + std::chrono::microseconds(passed_.load());
  }
  SteadyTime Steady() const override {
    return SteadyTime(std::chrono::microseconds(passed_.load()));
  }
  bool Sleep(std::chrono::milliseconds duration, const Cancellation* cancellation) const override {
    const SteadyTime end = Steady() + duration;
    ++sleepers_;
    const auto cancelled = [&] { return cancellation != nullptr && cancellation->cancelled(); };
    while (Steady() < end && !cancelled()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    --sleepers_;
    return !cancelled();
  }
  // Whether a thread sleeps, and so has seen the present time.
  bool has_sleeper() const { return sleepers_ > 0; }
  void Advance(std::chrono::microseconds by) { passed_ += by.count(); }

 private:
  const std::chrono::hours skew_;
  std::atomic<std::int64_t> passed_{0};
  mutable std::atomic<int> sleepers_{0};
};

// `store` is the node's view of the repository's store.
class LockNode {
 public:
  LockNode(const TestRepository& shared, std::string name, std::chrono::hours skew = {},
           std::shared_ptr<Store> store = nullptr,
           std::shared_ptr<Cancellation> cancellation = std::make_shared<Cancellation>())
      : clock_(skew), faults_(shared.MakeStore()) {
    environment_.clock = &clock_;
    environment_.cancellation = std::move(cancellation);
    RepositoryOptions options = shared.options();
    options.node = std::move(name);
    repository_ =
        Repository::Open(store ? std::move(store) : faults_, options, environment_).value();
  }

  const Repository& operator*() const { return *repository_; }
  ManualClock& clock() { return clock_; }
  FaultStore& store() { return *faults_; }

  Result<std::unique_ptr<ClusterLock>> Acquire(const std::string& purpose = "full backup") const {
    return ClusterLock::Acquire(*repository_, {.purpose = purpose});
  }

 private:
  ManualClock clock_;
  Environment environment_;
  std::shared_ptr<FaultStore> faults_;
  std::unique_ptr<Repository> repository_;
};

// Waits, in real time, for something that another thread does.
inline bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 10'000; ++i) {
    if (condition()) {
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

}  // namespace veza
