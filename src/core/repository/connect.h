// Makes a store from settings. Both the server and vezactl begin with this.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/config/config.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/repository/repository.h"
#include "core/storage/retrying_store.h"
#include "core/storage/store.h"

namespace veza {

// The configured store, with retries, rooted at the cluster's directory. Makes no request. On S3,
// conditional writes are tested before the first object is created
// (core/storage/conditional_writes.h). Therefore everything that writes to a repository must take
// its store from here.
Result<std::shared_ptr<Store>> ConnectStore(const Config& config, const Environment& environment,
                                            const RetryPolicy& policy, RetryObserver observer = {});

// Whether the configured bucket, which keeps versions, knows of any object with the prefix, of now
// or of any other time, a delete marker included. Without retries.
Result<bool> HasEverHeld(const Config& config, const Environment& environment,
                         std::string_view prefix);

// Whether versioning of the configured bucket is suspended, so that --as-of may show an older
// version of an object than the one of that time, or none. False also when the bucket does not
// tell. One request, without retries.
bool IsVersioningSuspended(const Config& config, const Environment& environment);

// The endpoint and region of a repository on S3. Store::location() does not contain them, and the
// same bucket name at another endpoint is another place. Empty for a directory.
std::string ServiceOf(const Config& config);

// `node` is the name by which this node calls itself in the repository. `spill_directory` must
// exist.
RepositoryOptions MakeRepositoryOptions(const Config& config, std::string node,
                                        std::string spill_directory);

// The machine's host name, or "unknown".
std::string HostName();

}  // namespace veza
