// The server's way to its repository: who it is, and how it opens, or on first use makes, the
// repository that the settings name.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/config/config.h"
#include "core/postgres/data_directory.h"
#include "core/repository/repository.h"
#include "core/repository/repository_marker.h"
#include "core/storage/retrying_store.h"

namespace veza::pg {

// What only the main thread may ask the server; taken before a thread starts.
struct ServerFacts {
  std::uint64_t system_identifier = 0;
  bool is_primary = false;
  std::string node;            // "host:port"
  std::string data_directory;  // absolute
  std::string log_directory;   // as it is set: absolute, or below data_directory
  std::string config_file;     // absolute
};
ServerFacts GetServerFacts();
// Without tablespaces. May be called in any thread.
WalkOptions MakeWalkOptions(const Config& config, const ServerFacts& facts);

// Both may be called in any thread. One that belongs to another system is refused.
//
// What somebody has initialised; on a primary, nothing that its marker does not name.
Result<std::unique_ptr<Repository>> OpenExistingRepository(const Config& config,
                                                           const ServerFacts& facts,
                                                           const Environment& environment,
                                                           const RetryPolicy& policy,
                                                           RetryObserver observer = {});
// The same, but a primary initialises an empty repository by itself, unless it has archived to
// another one before (core/repository/repository_marker.h).
Result<std::unique_ptr<Repository>> OpenServerRepository(const Config& config,
                                                         const ServerFacts& facts,
                                                         const Environment& environment,
                                                         const RetryPolicy& policy,
                                                         RetryObserver observer = {});

// Where the marker of the server is, and what it says of the settings.
MarkerPlace MakeMarkerPlace(const Config& config, const ServerFacts& facts);

// The identity this server would give a repository.
Identity MakeIdentity(const ServerFacts& facts);

}  // namespace veza::pg
