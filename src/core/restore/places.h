// Where a restore puts the parts of a cluster: the data directory, the tablespaces and the WAL.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/repository/repository.h"
#include "core/restore/plan.h"

namespace veza {

// The path without slashes at its end, so that the same place has the same name.
std::string WithoutLastSlash(std::string path);

// Checks that the target directory can be written to, and that it is empty or absent. For a delta
// it may also be a data directory of this cluster in which no server runs.
Status RequireTarget(const std::string& path, bool delta, std::uint64_t system_identifier);

// The tablespaces of the backup, with the places that the options give them. Refuses a place that
// cannot be used, and a place that nothing but an unencrypted repository names.
Result<std::vector<Tablespace>> PlaceTablespaces(const Repository& repository,
                                                 const BackupSummary& backup,
                                                 const RestoreOptions& options);

// Refuses tablespaces that lie within each other or within the target directory, where the user has
// chosen the place. Elsewhere it refuses only what would put one tablespace among the files of
// another: PostgreSQL allows the rest, at most with a warning.
Status RequireSeparateTablespaces(const RestorePlan& plan);

// Refuses to restore into the repository, or around it, where a delta could remove it.
Status RequireApartFromRepository(const RestorePlan& plan);

// Checks that each file system has as much space as the restore needs there.
Status RequireSpace(const RestorePlan& plan);

// Fills in wal_directory and keeps_wal_link.
Status PlaceWalOf(RestorePlan& plan, const RestoreOptions& options);

// For a delta: fills in replaced_places and left_links. Call it after LockOthers(): another restore
// may have filled a place before.
Status TakeOwnPlaces(RestorePlan& plan, const RestoreOptions& options);

// Locks the directories outside of the target directory, and looks at them again: another restore
// may have ended since PlaceTablespaces() looked.
Status LockOthers(RestorePlan& plan);

}  // namespace veza
