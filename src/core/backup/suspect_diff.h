// Names backups of which it is known that they may restore to wrong rows although all their bytes
// are what was stored: those with damaged pages, and diffs that version 0.1 made in a way that can
// lose changes.
#pragma once

#include <span>
#include <string>

#include "core/repository/backup_summary.h"

namespace veza {

// Empty, or why the backup may restore to wrong answers although all its bytes are what was stored;
// the sentence names the backup. That holds for diffs without `changes_by` of clusters without data
// checksums. wal_log_hints would have helped, but what it was when the two backups were made says
// nothing of the time between. A full backup, and a diff of a cluster with data checksums, is never
// suspect: a diff that went over a switch of checksums is made by nobody (choose_full.h).
std::string SuspectDiff(const BackupSummary& backup);

// Empty, or why rows of the backup may be wrong: what SuspectDiff() says, or pages with wrong
// checksums, also in the full backup of a diff, which is looked for in `backups`.
std::string WhyDoubtful(const BackupSummary& backup, std::span<const BackupSummary> backups);

// What to do about such a diff, and about servers that were restored from one.
inline constexpr const char* kSuspectDiffHint =
    "Take a new backup with this version, and restore that or a full backup instead. On every "
    "server that was restored from this backup run \"vacuumdb --all --disable-page-skipping\" "
    "before anything else writes to it. Rows that it has already written from wrong answers stay "
    "wrong.";

}  // namespace veza
