// A store in memory that contains a repository without encryption.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "core/repository/repository.h"
#include "core/storage/store.h"

namespace veza::fuzz {

class MemoryStore final : public Store {
 public:
  void Set(const std::string& name, Bytes content) { objects_[name] = std::move(content); }

  const std::string& location() const override { return location_; }
  Status Put(std::string_view name, Body& body, PutMode) override {
    RETURN_IF_ERROR(body.Rewind());
    Bytes content(body.size());
    for (std::size_t filled = 0; filled < content.size();) {
      ASSIGN_OR_RETURN(const std::size_t count,
                       body.Read(MutableByteView(content).subspan(filled)));
      filled += count;
    }
    Set(std::string(name), std::move(content));
    return Ok();
  }
  Status Get(std::string_view name, ByteRange range, const Sink& sink) override {
    const auto found = objects_.find(name);
    if (found == objects_.end()) {
      return MakeError(ErrorCode::kNotFound, "object \"{}\" does not exist", name);
    }
    const ByteView content = found->second;
    if (range.length == 0 || (!range.whole() && range.offset >= content.size())) {
      return MakeError(ErrorCode::kInvalidArgument, "no such range");
    }
    const auto begin = static_cast<std::size_t>(range.offset);
    const auto length =
        static_cast<std::size_t>(std::min<std::uint64_t>(range.length, content.size() - begin));
    return length == 0 ? Ok() : sink(content.subspan(begin, length));
  }
  Result<ObjectInfo> Head(std::string_view name) override {
    const auto found = objects_.find(name);
    if (found == objects_.end()) {
      return MakeError(ErrorCode::kNotFound, "object \"{}\" does not exist", name);
    }
    return ObjectInfo{found->first, found->second.size(), {}};
  }
  Status Delete(std::string_view name) override {
    objects_.erase(std::string(name));
    return Ok();
  }
  Status List(std::string_view prefix, std::string_view start_after,
              const ObjectVisitor& each) override {
    for (const auto& [name, content] : objects_) {
      if (name.starts_with(prefix) && name > start_after) {
        RETURN_IF_ERROR(each({name, content.size(), {}}));
      }
    }
    return Ok();
  }
  Result<std::vector<std::string>> ListDirectories(std::string_view) override {
    return std::vector<std::string>();
  }
  Result<TimePoint> Now() override { return TimePoint(); }

 private:
  const std::string location_ = "memory";
  std::map<std::string, Bytes, std::less<>> objects_;
};

// Made once. All inputs share its store.
struct FuzzRepository {
  std::shared_ptr<MemoryStore> store;
  std::unique_ptr<Repository> repository;
};
inline FuzzRepository& TheRepository() {
  static FuzzRepository* const made = [] {
    auto* const fuzz = new FuzzRepository{std::make_shared<MemoryStore>(), nullptr};
    Identity identity;
    identity.system_identifier = 7711348379840072545U;
    identity.postgres_version_num = 150020;
    identity.wal_segment_size = 1U << 20;
    identity.block_size = 8192;
    RepositoryOptions options;
    options.cipher = Cipher::kNone;
    options.node = "fuzz";
    options.spill_directory = "/tmp";
    fuzz->repository =
        Repository::Initialise(fuzz->store, options, Environment(), identity, false).value();
    return fuzz;
  }();
  return *made;
}

}  // namespace veza::fuzz
