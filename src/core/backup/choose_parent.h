// Chooses the backup that a diff or an incr builds on, and the way to find what has changed since.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/archive/gap_record.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/pack_list.h"

namespace veza {

// The server that is about to take a diff or an incr.
struct ServerFit {
  std::uint64_t system_identifier = 0;
  int postgres_major = 0;
  std::uint32_t block_size = 0;
  std::uint32_t data_checksum_version = 0;
  TimelineHistory history;  // of its timeline
  // The end of its WAL. Nothing on a standby: it may not have replayed yet what the server of the
  // parent has written, and waits until it has.
  std::optional<Lsn> position;
  bool hint_bits_logged = false;  // XLogHintBitIsNeeded()
  // `manifest_sha256` of the newest full backup, and of the newest backup of any type, that this
  // server has made itself since its shared memory was set up.
  std::optional<Sha256Digest> own_full;
  std::optional<Sha256Digest> own_newest{};
  std::vector<MinimalWal> minimal{};
};

struct ParentChoice {
  std::optional<BackupSummary> parent;
  // Why the newest backup of the type was passed over, a clause. Empty when it was not. When there
  // is no parent: why, for the message that a full backup is taken instead.
  std::string reason;
  // Why the LSNs of pages may not tell what was changed since the parent. Empty when they do.
  std::string doubt;
};

// Whether the server has made this backup itself since its shared memory was set up.
bool IsOwn(const BackupSummary& backup, const std::optional<Sha256Digest>& own_full,
           const std::optional<Sha256Digest>& own_newest);

// Chooses the newest backup that a backup of type `type` of this server may build on. Of a diff
// that is a full, of an incr a backup of any type:
// - It is of the same system and the same major version.
// - It is in the history of the server's timeline, and not later than the end of the server's WAL.
// - Data checksums were on or off as they are now: switching them rewrites pages without moving
//   their LSNs.
// - wal_level has not been minimal since: pages that are written without WAL get no LSN of their
//   own.
// - It has no pages with wrong checksums, nor has a backup whose packs it names. These are there.
// - `damage` (ReadKnownDamage) says nothing about it, nor about a backup that it names, not even a
//   doubt.
// - It names packs of fewer than limits::kSources backups, and is no suspect diff (suspect_diff.h).
//
// LSNs are trusted only when hint bits are known to have been logged all the time since the parent
// was begun. Data checksums and wal_log_hints cannot change while a server runs, and the server
// remembers in its memory which backups it has made. So there is doubt after a restart, on
// another node, after pg_resetwal, after checksums were switched off and on, and when a data
// directory or even the memory of a machine was put back to a time before the parent. In doubt,
// contents are compared, which is always right.
ParentChoice ChooseParent(const BackupCatalog& catalog, const ServerFit& server, BackupType type,
                          const LostParts& damage);

}  // namespace veza
