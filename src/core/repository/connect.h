// From settings to a store: what the server and vezactl both begin with.
#pragma once

#include <memory>
#include <string>

#include "core/config/config.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/repository/repository.h"
#include "core/storage/retrying_store.h"
#include "core/storage/store.h"

namespace veza {

// The configured store with retries, rooted at the cluster. No request is made. On S3 it is tried
// before anything is created in it (core/storage/conditional_writes.h): whoever writes to a
// repository has its store from here.
Result<std::shared_ptr<Store>> ConnectStore(const Config& config, const Environment& environment,
                                            const RetryPolicy& policy, RetryObserver observer = {});

// Endpoint and region of a repository on S3, which Store::location() does not name: another
// endpoint is another place. Empty for a directory.
std::string ServiceOf(const Config& config);

// `node` is who we say we are in the repository; `spill_directory` must exist.
RepositoryOptions MakeRepositoryOptions(const Config& config, std::string node,
                                        std::string spill_directory);

// The machine's name.
std::string HostName();

}  // namespace veza
