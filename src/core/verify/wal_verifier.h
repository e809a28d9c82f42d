// Verifies the WAL of a repository: that none is missing where recovery needs it, and that it can
// be opened.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "core/archive/wal_archive.h"
#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/verify/session.h"

namespace veza {

class WalVerifier {
 public:
  explicit WalVerifier(VerifySession& session) : session_(session) {}

  // The segments from its start to its stop.
  Status CheckBackup(const BackupSummary& backup);

  // What is missing behind the newest backup, along the newest timeline that it leads to, to the
  // end of the archive; and from an older backup (which may be the same) to the newest one's start.
  // A gap that a server has recorded there is no problem: it is known, and a backup has followed
  // it. Archiving and retention may be at work, so what is missing must be so at a second look.
  Result<std::vector<std::string>> Missing(const BackupSummary& older, const BackupSummary& newest);
  // WAL with wal_level = minimal behind the newest backup of its system. Behind an older one it is
  // known, as a gap.
  Status CheckLevel(const std::vector<BackupSummary>& backups);
  // A segment of these, or a history file of MissingHistories().
  Status ReportMissing(const std::string& file, std::uint64_t system_identifier);

  // Bytes of the objects that OpenAll() would open.
  Result<std::uint64_t> SizeOf(const Identity& system, bool only_of_backups);
  // Opens every WAL object of the system, or what the backups that were checked need.
  Status OpenAll(const Identity& system, bool only_of_backups);

 private:
  // Segments that belong together, of one timeline.
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

  // Segments behind the backup's stop and before `end`.
  Result<std::vector<std::string>> MissingAfter(const BackupSummary& backup, SegmentNumber end);
  // Of these, in the order of their names.
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
  std::vector<Need> needs_;
};

}  // namespace veza
