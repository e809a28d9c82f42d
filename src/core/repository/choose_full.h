// Which full backup a diff refers to.
#pragma once

#include <optional>
#include <string>

#include "core/repository/backup_catalog.h"
#include "core/repository/timeline_history.h"

namespace veza {

// The server that is about to take a diff.
struct DiffCandidate {
  std::uint64_t system_identifier = 0;
  int postgres_major = 0;
  std::uint32_t block_size = 0;
  std::uint32_t data_checksum_version = 0;
  TimelineHistory history;  // of its timeline
};

struct FullChoice {
  std::optional<BackupSummary> full;
  // Why there is none, for "full backup instead of diff: …".
  std::string reason;
};

// The newest full backup that a diff of this server may refer to: of the same system and version,
// on the way to the server's timeline, made with data checksums as they are now (a switch rewrites
// pages without a trace in their LSNs), and without pages that failed their checksum.
FullChoice ChooseFull(const BackupCatalog& catalog, const DiffCandidate& server);

}  // namespace veza
