// Implements the views veza_backup_recovery_window and veza_backup_archive_ranges: what the
// repository holds for this server's system.

#include <memory>
#include <string>
#include <vector>

#include "core/archive/recovery_window.h"
#include "core/timeline/window_end.h"
#include "pg/sql/archive_call.h"
#include "pg/sql/sql_function.h"

namespace veza::pg {

namespace {

class RecoveryWindowCall final : public ArchiveCall {
 public:
  ~RecoveryWindowCall() override { StopAndJoin(); }

 private:
  Status Work() override {
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenOwn());
    ASSIGN_OR_RETURN(const BackupCatalog catalog, ReadBackupCatalog(*repository));
    ASSIGN_OR_RETURN(const ArchiveMap archive, ReadArchive(*repository));
    ASSIGN_OR_RETURN(const LostParts lost, FindLostParts(*repository, catalog.backups));
    ASSIGN_OR_RETURN(
        RecoveryWindow window,
        ReadRecoveryWindow(*repository, facts_.system_identifier, catalog, archive, lost));
    RETURN_IF_ERROR(
        FindWindowEnds(*repository, facts_.system_identifier, catalog, archive, &window));
    for (const RecoveryStretch& stretch : window.stretches) {
      rows_.push_back(
          {FormatUtc(stretch.start_time),
           stretch.end_time ? std::optional(FormatUtc(*stretch.end_time)) : std::nullopt,
           FormatLsn(stretch.start_lsn), FormatLsn(stretch.end_lsn),
           std::to_string(stretch.first_timeline), std::to_string(stretch.last_timeline),
           stretch.oldest_backup, stretch.newest_backup, std::to_string(stretch.backups),
           stretch.EndedBy()});
    }
    for (const UnrestorableBackup& backup : window.unrestorable) {
      Row row(10);
      row[6] = backup.label;
      row[7] = backup.label;
      row[8] = std::to_string(1);
      row[9] = "not restorable: " + backup.reason;
      rows_.push_back(std::move(row));
    }
    return Ok();
  }
};

class ArchiveRangesCall final : public ArchiveCall {
 public:
  ~ArchiveRangesCall() override { StopAndJoin(); }

 private:
  Status Work() override {
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenOwn());
    ASSIGN_OR_RETURN(const ArchiveMap archive, ReadArchive(*repository));
    const std::uint64_t size = archive.segment_size();
    for (const ArchivePiece& piece : archive.Pieces()) {
      rows_.push_back({std::to_string(piece.timeline), piece.is_gap ? "gap" : "range",
                       SegmentName(piece.timeline, piece.first, size),
                       SegmentName(piece.timeline, piece.last, size),
                       std::to_string(piece.last - piece.first + 1),
                       FormatLsn({piece.first * size}), FormatLsn({(piece.last + 1) * size})});
    }
    return Ok();
  }
};

}  // namespace
}  // namespace veza::pg

VEZA_SQL_FUNCTION(veza_backup_get_recovery_window) {
  return veza::pg::ReturnRowsOf<veza::pg::RecoveryWindowCall>(fcinfo);
}

VEZA_SQL_FUNCTION(veza_backup_get_archive_ranges) {
  return veza::pg::ReturnRowsOf<veza::pg::ArchiveRangesCall>(fcinfo);
}
