// All clusters that share a root: the setting `repository`, without `cluster`.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/config/config.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/storage/retrying_store.h"
#include "core/storage/store.h"

namespace veza {

// Thread-safe.
class ClusterRoot {
 public:
  // Makes no request. The cluster of `config` does not matter.
  static Result<ClusterRoot> Connect(const Config& config, const Environment& environment,
                                     const RetryPolicy& policy, RetryObserver observer = {});

  // The root for messages, as Store::location().
  const std::string& location() const { return store_->location(); }
  // The present by the clock of the store.
  Result<TimePoint> Now() const { return store_->Now(); }

  struct Directories {
    std::vector<std::string> names;   // the setting `cluster` would take them
    std::vector<std::string> others;  // it would not
  };
  // The directories, both in byte order, whatever they hold. In a directory they may be symbolic
  // links, as the setting allows. kDataCorrupted for more than limits::kDirectories. kNotFound when
  // a directory does not exist.
  Result<Directories> List() const;

  // The store of one cluster. On S3 all share the connections.
  Result<std::shared_ptr<Store>> StoreOf(const std::string& cluster) const;

 private:
  ClusterRoot() = default;

  Config config_;  // of the root
  Environment environment_;
  RetryPolicy policy_;
  RetryObserver observer_;
  std::shared_ptr<Store> store_;
};

}  // namespace veza
