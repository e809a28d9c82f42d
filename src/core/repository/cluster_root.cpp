#include "core/repository/cluster_root.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/limits.h"
#include "core/repository/connect.h"
#include "core/storage/prefix_store.h"

namespace veza {

namespace {

// Links are followed: an operator may have moved a cluster to another disk and left one.
Result<std::vector<std::string>> SubdirectoriesOf(const std::string& path,
                                                  const Cancellation& cancellation) {
  const auto failed = [&](const std::error_code& error) {
    return ErrnoError(error.value(), fmt::format("could not read directory \"{}\"", path));
  };
  std::vector<std::string> names;
  std::error_code error;
  std::filesystem::directory_iterator entries(path, error);
  if (error) {
    return failed(error);
  }
  while (entries != std::filesystem::directory_iterator()) {
    RETURN_IF_ERROR(cancellation.Check());
    std::error_code unknown;  // a link that leads nowhere is no directory
    if (entries->is_directory(unknown)) {
      names.push_back(entries->path().filename().string());
    }
    if (names.size() > limits::kDirectories) {
      return MakeError(ErrorCode::kDataCorrupted, "directory \"{}\" has more than {} directories",
                       path, limits::kDirectories);
    }
    entries.increment(error);
    if (error) {
      return failed(error);
    }
  }
  std::ranges::sort(names);
  return names;
}

}  // namespace

Result<ClusterRoot> ClusterRoot::Connect(const Config& config, const Environment& environment,
                                         const RetryPolicy& policy, RetryObserver observer) {
  ClusterRoot root;
  root.config_ = RootOf(config);
  root.environment_ = environment;
  root.policy_ = policy;
  root.observer_ = std::move(observer);
  ASSIGN_OR_RETURN(root.store_, ConnectStore(root.config_, environment, policy, root.observer_));
  return root;
}

Result<ClusterRoot::Directories> ClusterRoot::List() const {
  ASSIGN_OR_RETURN(std::vector<std::string> found,
                   config_.kind == RepositoryKind::kS3
                       ? store_->ListDirectories("")
                       : SubdirectoriesOf(config_.directory, *environment_.cancellation));
  const SettingSpec& cluster = *FindSetting("cluster");
  Directories directories;
  for (std::string& name : found) {
    auto& kind = ValidateSetting(cluster, name) ? directories.names : directories.others;
    kind.push_back(std::move(name));
  }
  return directories;
}

Result<std::shared_ptr<Store>> ClusterRoot::StoreOf(const std::string& cluster) const {
  if (config_.kind == RepositoryKind::kS3) {
    return std::shared_ptr<Store>(MakePrefixStore(store_, cluster));
  }
  return ConnectStore(ClusterBelow(config_, cluster), environment_, policy_, observer_);
}

}  // namespace veza
