// A store without conditional writes: of two objects of one name it keeps the last.
#pragma once

#include <memory>
#include <utility>

#include "core/storage/store.h"

namespace veza {

class OverwritingStore : public Store {
 public:
  explicit OverwritingStore(std::shared_ptr<Store> inner) : inner_(std::move(inner)) {}
  const std::string& location() const override { return inner_->location(); }
  Status Put(std::string_view name, Body& body, PutMode) override {
    return inner_->Put(name, body, PutMode::kReplace);
  }
  Status Get(std::string_view name, ByteRange range, const Sink& sink) override {
    return inner_->Get(name, range, sink);
  }
  Result<ObjectInfo> Head(std::string_view name) override { return inner_->Head(name); }
  Status Delete(std::string_view name) override { return inner_->Delete(name); }
  Status List(std::string_view prefix, std::string_view start_after,
              const ObjectVisitor& each) override {
    return inner_->List(prefix, start_after, each);
  }
  Result<std::vector<std::string>> ListDirectories(std::string_view prefix) override {
    return inner_->ListDirectories(prefix);
  }
  Result<TimePoint> Now() override { return inner_->Now(); }

 private:
  std::shared_ptr<Store> inner_;
};

}  // namespace veza
