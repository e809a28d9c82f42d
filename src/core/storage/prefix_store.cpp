#include "core/storage/prefix_store.h"

#include <utility>
#include <vector>

#include "core/storage/forwarding_store.h"

namespace veza {

namespace {

class PrefixStore final : public ForwardingStore {
 public:
  PrefixStore(std::shared_ptr<Store> inner, const std::string& directory)
      : ForwardingStore(std::move(inner)),
        prefix_(directory + '/'),
        location_(fmt::format("{}/{}", ForwardingStore::location(), directory)) {}

  const std::string& location() const override { return location_; }

  Status Put(std::string_view name, Body& body, PutMode mode) override {
    return inner().Put(Full(name), body, mode);
  }
  Status Get(std::string_view name, ByteRange range, const Sink& sink) override {
    return inner().Get(Full(name), range, sink);
  }
  Result<ObjectInfo> Head(std::string_view name) override {
    Result<ObjectInfo> info = inner().Head(Full(name));
    if (info) {
      info->name = name;
    }
    return info;
  }
  Status Delete(std::string_view name) override { return inner().Delete(Full(name)); }
  Status DeleteAll(std::span<const std::string> names) override {
    std::vector<std::string> full;
    full.reserve(names.size());
    for (const std::string& name : names) {
      full.push_back(Full(name));
    }
    return inner().DeleteAll(full);
  }
  Status List(std::string_view prefix, std::string_view start_after,
              const ObjectVisitor& each) override {
    return inner().List(Full(prefix), start_after.empty() ? "" : Full(start_after),
                        [&](const ObjectInfo& object) {
                          ObjectInfo own = object;
                          own.name.erase(0, prefix_.size());
                          return each(own);
                        });
  }
  Result<std::vector<std::string>> ListDirectories(std::string_view prefix) override {
    return inner().ListDirectories(Full(prefix));
  }
  Status ListFragments(const ObjectVisitor&) override { return Ok(); }

 private:
  std::string Full(std::string_view name) const { return prefix_ + std::string(name); }

  const std::string prefix_;
  const std::string location_;
};

}  // namespace

std::unique_ptr<Store> MakePrefixStore(std::shared_ptr<Store> inner, const std::string& directory) {
  return std::make_unique<PrefixStore>(std::move(inner), directory);
}

}  // namespace veza
