// How the server gets to its repository: what identifies the server, and how it opens the
// repository that the settings name, or creates it on first use.
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

// What only the main thread may ask the server for. It is taken before a thread starts.
struct ServerFacts {
  std::uint64_t system_identifier = 0;
  bool is_primary = false;
  std::string node;            // "host:port"
  std::string data_directory;  // absolute
  std::string log_directory;   // as set: absolute, or relative to data_directory
  std::string config_file;     // absolute
};
ServerFacts GetServerFacts();
// Does not fill in the tablespaces. May be called in any thread.
WalkOptions MakeWalkOptions(const Config& config, const ServerFacts& facts);

// The next two functions may be called in any thread. They refuse a repository that belongs to
// another system (kConflict).
//
// Opens a repository that exists already. On a primary it must also be the one that the server's
// marker file names, if there is a marker.
Result<std::unique_ptr<Repository>> OpenExistingRepository(const Config& config,
                                                           const ServerFacts& facts,
                                                           const Environment& environment,
                                                           const RetryPolicy& policy,
                                                           RetryObserver observer = {});
// The same, but a primary initialises an empty repository by itself, unless its marker says that it
// has archived to another one before (core/repository/repository_marker.h).
Result<std::unique_ptr<Repository>> OpenServerRepository(const Config& config,
                                                         const ServerFacts& facts,
                                                         const Environment& environment,
                                                         const RetryPolicy& policy,
                                                         RetryObserver observer = {});

// Where the server's marker file is, and the part of its content that comes from the settings.
MarkerPlace MakeMarkerPlace(const Config& config, const ServerFacts& facts);

// The identity that this server gives to a repository that it initialises.
Identity MakeIdentity(const ServerFacts& facts);

}  // namespace veza::pg
