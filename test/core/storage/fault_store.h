// A store that can be told to fail, to wait, or to count.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "core/storage/store.h"

namespace veza {

// Forwards every call. Before each call it calls the hook in the caller's thread. If the hook
// returns an error, the call returns that error.
class FaultStore final : public Store {
 public:
  enum class Operation { kPut, kGet, kHead, kDelete, kList, kListDirectories, kNow };
  using Hook = std::function<Status(Operation operation, std::string_view name)>;

  explicit FaultStore(std::unique_ptr<Store> inner) : inner_(std::move(inner)) {}

  void SetHook(Hook hook) {
    const std::lock_guard lock(mutex_);
    hook_ = hook ? std::make_shared<const Hook>(std::move(hook)) : nullptr;
  }

  // Running Gets, whose sinks may still be called.
  int open_gets() const { return open_gets_; }

  const std::string& location() const override { return inner_->location(); }
  Status Put(std::string_view name, Body& body, PutMode mode) override {
    RETURN_IF_ERROR(Ask(Operation::kPut, name));
    return inner_->Put(name, body, mode);
  }
  Status Get(std::string_view name, ByteRange range, const Sink& sink) override {
    RETURN_IF_ERROR(Ask(Operation::kGet, name));
    ++open_gets_;
    Status got = inner_->Get(name, range, sink);
    --open_gets_;
    return got;
  }
  Result<ObjectInfo> Head(std::string_view name) override {
    RETURN_IF_ERROR(Ask(Operation::kHead, name));
    return inner_->Head(name);
  }
  Status Delete(std::string_view name) override {
    RETURN_IF_ERROR(Ask(Operation::kDelete, name));
    return inner_->Delete(name);
  }
  Status List(std::string_view prefix, std::string_view start_after,
              const ObjectVisitor& each) override {
    RETURN_IF_ERROR(Ask(Operation::kList, prefix));
    return inner_->List(prefix, start_after, each);
  }
  Result<std::vector<std::string>> ListDirectories(std::string_view prefix) override {
    RETURN_IF_ERROR(Ask(Operation::kListDirectories, prefix));
    return inner_->ListDirectories(prefix);
  }
  Result<TimePoint> Now() override {
    RETURN_IF_ERROR(Ask(Operation::kNow, ""));
    return inner_->Now();
  }
  Status ListFragments(const ObjectVisitor& each) override { return inner_->ListFragments(each); }
  Status RemoveFragment(std::string_view name) override {
    RETURN_IF_ERROR(Ask(Operation::kDelete, name));
    return inner_->RemoveFragment(name);
  }

 private:
  Status Ask(Operation operation, std::string_view name) {
    std::shared_ptr<const Hook> hook;
    {
      const std::lock_guard lock(mutex_);
      hook = hook_;
    }
    return hook ? (*hook)(operation, name) : Ok();
  }

  std::unique_ptr<Store> inner_;
  std::atomic<int> open_gets_ = 0;
  std::mutex mutex_;
  std::shared_ptr<const Hook> hook_;
};

}  // namespace veza
