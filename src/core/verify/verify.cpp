#include "core/verify/verify.h"

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "core/repository/backup_catalog.h"
#include "core/repository/names.h"
#include "core/verify/backup_verifier.h"
#include "core/verify/orphans.h"
#include "core/verify/session.h"
#include "core/verify/wal_verifier.h"

namespace veza {

namespace {

class Verification {
 public:
  Verification(const Repository& repository, const VerifyOptions& options, VerifyProgress& progress)
      : repository_(repository),
        options_(options),
        progress_(progress),
        session_(repository, options, progress) {}

  Result<VerifyReport> Run() {
    RETURN_IF_ERROR(ChooseBackups());
    RETURN_IF_ERROR(session_.Start(options_.jobs));
    RETURN_IF_ERROR(CheckWalOfBackups());
    RETURN_IF_ERROR(AddUpBytes());
    RETURN_IF_ERROR(VerifyBackups());
    if (options_.full) {
      for (const Identity& system : repository_.identities()) {
        RETURN_IF_ERROR(wal_.OpenAll(system, !verifies_all()));
      }
    }
    if (verifies_all()) {
      RETURN_IF_ERROR(CheckWindows());
      RETURN_IF_ERROR(FindOrphans(session_));
    }
    RETURN_IF_ERROR(session_.WaitUntilIdle());
    RETURN_IF_ERROR(ForgetDeleted());
    return Report();
  }

 private:
  bool verifies_all() const { return options_.labels.empty(); }

  Status ChooseBackups() {
    ASSIGN_OR_RETURN(BackupCatalog catalog, ReadBackupCatalog(repository_));
    std::set<std::string> wanted;
    for (const std::string& label : options_.labels) {
      wanted.insert(label);
      if (const auto parts = ParseLabel(label); parts && parts->type == BackupType::kDiff) {
        wanted.insert(parts->full_label);
      }
    }
    std::set<std::string> seen;
    for (BackupSummary& backup : catalog.backups) {
      seen.insert(backup.label);
      if (verifies_all() || wanted.contains(backup.label)) {
        backups_.push_back(std::move(backup));
      }
    }
    for (const BrokenBackup& broken : catalog.broken) {
      seen.insert(broken.label);
      if (verifies_all() || wanted.contains(broken.label)) {
        broken_.push_back(broken.label);
        session_.findings().AddProblem(
            {BackupDocumentName(broken.label), broken.label, broken.error.message});
      }
    }
    for (const std::string& label : options_.labels) {
      if (!seen.contains(label)) {
        // For the error, which says what there is.
        RETURN_IF_ERROR(ReadBackup(repository_, label));
      }
    }
    return Ok();
  }

  Status CheckWalOfBackups() {
    for (const BackupSummary& backup : backups_) {
      RETURN_IF_ERROR(wal_.CheckBackup(backup));
    }
    return Ok();
  }

  Status AddUpBytes() {
    std::uint64_t total = 0;
    for (const BackupSummary& backup : backups_) {
      total += options_.full ? backup.stored_size : backup.manifest_size;
    }
    if (options_.full) {
      for (const Identity& system : repository_.identities()) {
        ASSIGN_OR_RETURN(const std::uint64_t size, wal_.SizeOf(system, !verifies_all()));
        total += size;
      }
    }
    progress_.bytes_total = total;
    return Ok();
  }

  // A full sorts right before its diffs.
  Status VerifyBackups() {
    for (auto backup = backups_.begin(); backup != backups_.end();) {
      const std::string full_label = backup->full_label();
      const auto end = std::find_if(backup, backups_.end(), [&](const BackupSummary& other) {
        return other.full_label() != full_label;
      });
      BackupVerifier verifier(session_, end - backup > 1);
      for (; backup != end; ++backup) {
        RETURN_IF_ERROR(backup->type == BackupType::kFull ? verifier.VerifyFull(*backup)
                                                          : verifier.VerifyDiff(*backup));
      }
      RETURN_IF_ERROR(verifier.Finish());
    }
    return Ok();
  }

  Status CheckWindows() {
    std::map<std::uint64_t, std::vector<const BackupSummary*>> by_system;
    for (const BackupSummary& backup : backups_) {
      by_system[backup.system_identifier].push_back(&backup);
    }
    for (auto& [system, backups] : by_system) {
      std::ranges::stable_sort(backups, std::greater(), &BackupSummary::stop_time);
      RETURN_IF_ERROR(wal_.CheckWindow(*backups.front()));
      if (const BackupSummary* const oldest = OldestWithWal(backups); oldest != backups.front()) {
        RETURN_IF_ERROR(wal_.CheckUpTo(*oldest, *backups.front()));
      }
    }
    return Ok();
  }

  // Of one system's backups, the newest first: the full whose WAL retention keeps longest.
  const BackupSummary* OldestWithWal(const std::vector<const BackupSummary*>& backups) const {
    const BackupSummary* oldest = backups.front();
    int fulls = 0;
    for (const BackupSummary* const backup : backups) {
      if (backup->type != BackupType::kFull) {
        continue;
      }
      oldest = backup;
      if (++fulls == options_.retention_archive) {
        break;
      }
    }
    return oldest;
  }

  // What retention has deleted meanwhile is not missing.
  Status ForgetDeleted() {
    std::vector<BackupSummary> left;
    for (BackupSummary& backup : backups_) {
      if (session_.findings().HasProblems(backup.label)) {
        const Result<ObjectInfo> document =
            repository_.store().Head(BackupDocumentName(backup.label));
        if (!document && document.error().code == ErrorCode::kNotFound) {
          session_.findings().Forget(backup.label);
          continue;
        }
        RETURN_IF_ERROR(document);
      }
      left.push_back(std::move(backup));
    }
    backups_ = std::move(left);
    return Ok();
  }

  VerifyReport Report() const {
    const Findings& findings = session_.findings();
    VerifyReport report;
    for (const BackupSummary& backup : backups_) {
      report.backups.push_back({backup.label, backup.type, !findings.HasProblems(backup.label)});
    }
    for (const std::string& label : broken_) {
      const auto parts = ParseLabel(label);
      report.backups.push_back({label, parts ? parts->type : BackupType::kFull, false});
    }
    std::ranges::sort(report.backups, {}, &VerifiedBackup::label);
    report.problems = findings.problems();
    report.problem_count = findings.problem_count();
    report.orphans = findings.orphans();
    report.orphan_count = findings.orphan_count();
    report.objects = progress_.objects;
    report.extents = progress_.extents;
    report.bytes_read = progress_.bytes_read;
    return report;
  }

  const Repository& repository_;
  const VerifyOptions& options_;
  VerifyProgress& progress_;
  std::vector<BackupSummary> backups_;  // by label
  std::vector<std::string> broken_;     // labels
  // Jobs of the session use it.
  WalVerifier wal_{session_};
  VerifySession session_;
};

}  // namespace

Result<VerifyReport> VerifyRepository(const Repository& repository, const VerifyOptions& options,
                                      VerifyProgress& progress) {
  return Verification(repository, options, progress).Run();
}

}  // namespace veza
