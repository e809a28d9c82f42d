// Verifies the WAL of a repository: that no WAL that recovery needs is missing, and that it can be
// opened.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/archive/wal_archive.h"
#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/verify/index_verifier.h"
#include "core/verify/session.h"

namespace veza {

class WalVerifier {
 public:
  // `indexes` is told what the segments hold that are opened.
  WalVerifier(VerifySession& session, IndexVerifier& indexes)
      : session_(session), indexes_(indexes) {}

  // Checks that the segments from the backup's start to its stop exist. One problem for each range
  // of those that are missing.
  Status CheckBackup(const BackupSummary& backup);

  // Returns the missing segments after the newest backup, up to the end of the archive, along the
  // newest timeline that it leads to. Also those between `older` (which may be the same backup) and
  // the newest backup's start, except for gaps that a server has recorded: such a gap is known, and
  // a backup has followed it. Archiving and retention may be at work, so only what a second call
  // also returns is really missing.
  Result<std::vector<std::string>> Missing(const BackupSummary& older, const BackupSummary& newest);
  // Reports WAL with wal_level = minimal after the newest backup of its system. Such WAL before the
  // newest backup is a known gap.
  Status CheckLevel(const std::vector<BackupSummary>& backups);
  // Reports segments from Missing() and history files from MissingHistories() as problems: one for
  // each range of segments, and one for each history file. `files` are in the order of their names.
  Status ReportMissing(const std::vector<std::string>& files, std::uint64_t system_identifier);

  // Returns the number of bytes that OpenAll() would read.
  Result<std::uint64_t> SizeOf(const Identity& system, bool only_of_backups);
  // Opens every WAL object of the system. With `only_of_backups`, opens only those that the backups
  // passed to CheckBackup() need.
  Status OpenAll(const Identity& system, bool only_of_backups);

 private:
  // Consecutive segments of one timeline, from `first` to `last`.
  struct Stretch {
    TimelineId timeline = 0;
    SegmentNumber first = 0;
    SegmentNumber last = 0;
  };
  struct Need {
    std::uint64_t system_identifier = 0;
    Stretch stretch;
    std::string label;
  };
  using Visitor = std::function<Status(const ObjectInfo& object, std::vector<std::string> labels)>;

  // Returns the missing segments after the backup's stop and before `end`.
  Result<std::vector<std::string>> MissingAfter(const BackupSummary& backup, SegmentNumber end);
  // Removes segments in recorded gaps.
  Result<std::vector<std::string>> WithoutKnownGaps(std::vector<std::string> segments,
                                                    std::uint64_t system_identifier,
                                                    std::uint64_t segment_size);
  Result<std::vector<Stretch>> WayFrom(const WalArchive& archive, const BackupSummary& backup);
  Status JudgeGapRecords(const Error& error, std::uint64_t system_identifier);
  Status JudgeHistory(const Error& error, std::uint64_t system_identifier, TimelineId timeline);
  std::vector<std::string> LabelsOf(const Identity& system, const std::string& file) const;
  Status ForEachWanted(const Identity& system, bool only_of_backups, const Visitor& visit);
  Status Open(const ObjectInfo& object, const Identity& system,
              const std::vector<std::string>& labels);

  VerifySession& session_;
  IndexVerifier& indexes_;
  std::vector<Need> needs_;
};

}  // namespace veza
