// Finds backups that may restore to wrong rows although all their bytes are what was stored:
// backups with damaged pages, and diffs that version 0.1 made in a way that can lose changes.
#pragma once

#include <span>
#include <string>

#include "core/repository/backup_summary.h"

namespace veza {

// Why the diff may restore to wrong answers although all its bytes are what was stored. The
// sentence names the backup. Empty when it does not. A diff is suspect if it has no `changes_by`
// and is of a cluster without data checksums. wal_log_hints would have helped, but its value at the
// two backups says nothing about the time between them. A full backup is never suspect. Neither is
// a diff of a cluster with data checksums: no diff refers to a full backup from before the
// checksums were switched (choose_parent.h).
std::string SuspectDiff(const BackupSummary& backup);

// Why rows of the backup may be wrong: what SuspectDiff() says, or that pages have wrong checksums,
// in the backup or in one whose packs it names. `backups` has these. Empty when nothing is known to
// be wrong.
std::string WhyDoubtful(const BackupSummary& backup, std::span<const BackupSummary> backups);

// What to do about such a diff, and about servers that were restored from one.
inline constexpr const char* kSuspectDiffHint =
    "Take a new backup with this version, and restore that or a full backup instead. On every "
    "server that was restored from this backup run \"vacuumdb --all --disable-page-skipping\" "
    "before anything else writes to it. Rows that it has already written from wrong answers stay "
    "wrong.";

}  // namespace veza
