// A store that forwards every call. Wrappers of a store derive from it.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/storage/store.h"

namespace veza {

class ForwardingStore : public Store {
 public:
  explicit ForwardingStore(std::shared_ptr<Store> inner) : inner_(std::move(inner)) {}

  const std::string& location() const override { return inner_->location(); }
  Status Put(std::string_view name, Body& body, PutMode mode) override {
    return inner_->Put(name, body, mode);
  }
  Status Get(std::string_view name, ByteRange range, const Sink& sink) override {
    return inner_->Get(name, range, sink);
  }
  Result<ObjectInfo> Head(std::string_view name) override { return inner_->Head(name); }
  Status Delete(std::string_view name) override { return inner_->Delete(name); }
  Status DeleteAll(std::span<const std::string> names) override { return inner_->DeleteAll(names); }
  std::size_t NamesPerDelete() const override { return inner_->NamesPerDelete(); }
  Status List(std::string_view prefix, std::string_view start_after,
              const ObjectVisitor& each) override {
    return inner_->List(prefix, start_after, each);
  }
  Result<std::vector<std::string>> ListDirectories(std::string_view prefix) override {
    return inner_->ListDirectories(prefix);
  }
  Result<TimePoint> Now() override { return inner_->Now(); }
  Status ListFragments(const ObjectVisitor& each) override { return inner_->ListFragments(each); }
  Status RemoveFragment(std::string_view name) override { return inner_->RemoveFragment(name); }

 protected:
  Store& inner() const { return *inner_; }

 private:
  std::shared_ptr<Store> inner_;
};

}  // namespace veza
