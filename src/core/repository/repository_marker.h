// The file `veza-repository` in the data directory: which repository this server archives to.
//
// A primary makes its repository by itself, on first use. Once it has one, it does not make
// another: a mistyped `repository` or `cluster` would begin a new one, without a backup, and take
// WAL there that the old one then lacks. No backup holds the file, so that a restored server may
// begin anew; a standby made by pg_basebackup has it, and belongs to the same repository.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/repository/repository.h"

namespace veza {

inline constexpr std::string_view kRepositoryMarker = "veza-repository";

struct RepositoryMarker {
  std::string location;  // Store::location()
  std::string key_id;    // empty with cipher none
  bool operator==(const RepositoryMarker&) const = default;
};

// Nothing: there is none. kDataCorrupted, with what can be done, for what is none.
Result<std::optional<RepositoryMarker>> ReadRepositoryMarker(const std::string& data_directory);

// Durable when it returns; writes nothing where the file says so already.
Status MarkRepository(const std::string& data_directory, const Repository& repository);

// As Repository::Initialise(), for a primary on its own account: what the marker says is not left
// for a repository that nobody has made (kFailedPrecondition) or, at the same place, for another
// key (kConflict). After a success the marker names the repository; only then may WAL be
// acknowledged.
Result<std::unique_ptr<Repository>> InitialiseMarked(const std::shared_ptr<Store>& store,
                                                     const RepositoryOptions& options,
                                                     const Environment& environment,
                                                     const Identity& identity,
                                                     const std::string& data_directory);

}  // namespace veza
