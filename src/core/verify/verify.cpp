#include "core/verify/verify.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <ranges>
#include <set>
#include <utility>

#include "core/archive/recovery_window.h"
#include "core/backup/suspect_diff.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/backup_order.h"
#include "core/repository/entrance.h"
#include "core/repository/format_mark.h"
#include "core/repository/key_wraps.h"
#include "core/repository/names.h"
#include "core/verify/backup_verifier.h"
#include "core/verify/orphans.h"
#include "core/verify/session.h"
#include "core/verify/wal_verifier.h"

namespace veza {

namespace {

// Names of segments and history files, with their system identifier.
using MissingWal = std::set<std::pair<std::uint64_t, std::string>>;

class Verification {
 public:
  Verification(const Repository& repository, const VerifyOptions& options, VerifyProgress& progress)
      : repository_(repository),
        options_(options),
        progress_(progress),
        session_(repository, options, progress) {}

  Result<VerifyReport> Run() {
    RETURN_IF_ERROR(ChooseBackups());
    if (options_.full) {
      // Before anything is read. What comes later may rest on a later look at the same objects.
      known_damage_ = ReadDamageRecords(repository_, backups_);
    }
    RETURN_IF_ERROR(session_.Start(options_.jobs));
    RETURN_IF_ERROR(CheckSummaries());
    if (verifies_all()) {
      RETURN_IF_ERROR(CheckWindows());
    }
    if (verifies_all()) {
      for (const Identity& system : repository_.identities()) {
        RETURN_IF_ERROR(indexes_.CheckObjects(system));
      }
    }
    RETURN_IF_ERROR(AddUpBytes());
    RETURN_IF_ERROR(VerifyBackups());
    if (options_.full) {
      for (const Identity& system : repository_.identities()) {
        RETURN_IF_ERROR(wal_.OpenAll(system, !verifies_all()));
      }
    }
    if (verifies_all()) {
      RETURN_IF_ERROR(FindOrphans(session_));
      RETURN_IF_ERROR(CheckFormatMark());
      RETURN_IF_ERROR(CheckKeyWraps());
    }
    RETURN_IF_ERROR(session_.WaitUntilIdle());
    RETURN_IF_ERROR(ForgetDeleted());
    return Report(true);
  }

  // After an error of Run().
  VerifyReport UntilError() const { return Report(false); }

 private:
  bool verifies_all() const { return options_.labels.empty(); }

  Status ChooseBackups() {
    ASSIGN_OR_RETURN(BackupCatalog catalog, ReadBackupCatalog(repository_));
    // This order puts each full right before what builds on it, which is verified with it.
    std::ranges::sort(catalog.backups, {}, &BackupSummary::label);
    std::set<std::string> wanted(options_.labels.begin(), options_.labels.end());
    for (const std::string& label : options_.labels) {
      if (const auto parts = ParseLabel(label)) {
        wanted.insert(parts->full_label);
      }
    }
    // What a backup names is older, and of the same full. So one way backwards finds it all.
    for (auto backup = catalog.backups.rbegin(); backup != catalog.backups.rend(); ++backup) {
      if (wanted.contains(backup->label)) {
        std::ranges::transform(backup->sources, std::inserter(wanted, wanted.end()),
                               &SourceBackup::label);
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
        // Fails, with an error that lists the existing backups.
        RETURN_IF_ERROR(ReadBackup(repository_, label));
      }
    }
    return Ok();
  }

  Status CheckSummaries() {
    for (const BackupSummary& backup : backups_) {
      NameDoubt(backup);
      NameMissingDatabases(backup);
      RETURN_IF_ERROR(wal_.CheckBackup(backup));
    }
    return Ok();
  }

  // Reports a backup whose bytes may be as written, and still not be what the server had.
  void NameDoubt(const BackupSummary& backup) {
    const std::string doubt = WhyDoubtful(backup, backups_);
    if (!doubt.empty()) {
      session_.findings().AddProblem(
          {BackupDocumentName(backup.label), backup.label,
           SuspectDiff(backup).empty() ? doubt : fmt::format("{}. {}", doubt, kSuspectDiffHint)});
    }
  }

  void NameMissingDatabases(const BackupSummary& backup) {
    for (const DatabaseSummary& database : DatabasesWithoutFiles(backup)) {
      session_.findings().AddProblem(
          {BackupDocumentName(backup.label), backup.label,
           fmt::format("backup \"{}\" has no files of database \"{}\". {}", backup.label,
                       database.name, kMissingDatabaseHint)});
    }
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

  Status VerifyBackups() {
    for (auto backup = backups_.begin(); backup != backups_.end();) {
      const std::string full_label = backup->full_label();
      const auto end = std::find_if(backup, backups_.end(), [&](const BackupSummary& other) {
        return other.full_label() != full_label;
      });
      std::set<std::string> named;
      for (auto one = backup; one != end; ++one) {
        for (const SourceBackup& source : one->sources) {
          named.insert(source.label);
        }
      }
      BackupVerifier verifier(session_, std::move(named));
      for (; backup != end; ++backup) {
        RETURN_IF_ERROR(verifier.Verify(*backup));
      }
      RETURN_IF_ERROR(verifier.Finish());
    }
    return Ok();
  }

  // An archiver or retention may be at work. What is missing is therefore looked for again a little
  // later, for the backups that exist then.
  Status CheckWindows() {
    ASSIGN_OR_RETURN(const MissingWal first, FindMissingWal(backups_));
    RETURN_IF_ERROR(wal_.CheckLevel(backups_));
    if (first.empty()) {
      return Ok();
    }
    const Environment& environment = repository_.environment();
    environment.clock->Sleep(kUploadGrace, environment.cancellation.get());
    ASSIGN_OR_RETURN(const BackupCatalog catalog, ReadBackupCatalog(repository_));
    ASSIGN_OR_RETURN(const MissingWal second, FindMissingWal(catalog.backups));
    std::map<std::uint64_t, std::vector<std::string>> missing;
    for (const auto& [system, file] : first) {
      if (second.contains({system, file})) {
        missing[system].push_back(file);
      }
    }
    for (const auto& [system, files] : missing) {
      RETURN_IF_ERROR(wal_.ReportMissing(files, system));
    }
    return Ok();
  }

  // A mark that cannot be used harms nothing that is stored, but writers use version 1 again.
  Status CheckFormatMark() {
    ASSIGN_OR_RETURN(const FormatMark mark,
                     ReadFormatMark(repository_.store(), repository_.seal_policy()));
    if (mark.state == FormatMark::State::kUnreadable) {
      session_.findings().AddProblem(
          {.object = std::string(kFormatMarkName),
           .message = fmt::format("object \"{}\" cannot be used, so writers use version 1: {}",
                                  kFormatMarkName, mark.problem)});
    }
    return Ok();
  }

  // The passphrase that opens the repository now may not be the one that is needed one day.
  Status CheckKeyWraps() {
    ASSIGN_OR_RETURN(const std::vector<KeyWrapInfo> wraps, LookAtKeyWraps(repository_));
    for (const KeyWrapInfo& wrap : wraps) {
      if (IsDamagedWrap(wrap)) {
        session_.findings().AddProblem(
            {.object = wrap.object.name,
             .message = fmt::format("object \"{}\" cannot be used as wrap of the key: {}. {}",
                                    wrap.object.name, wrap.problem, kDamagedWrapHint)});
      }
    }
    return Ok();
  }

  Result<MissingWal> FindMissingWal(const std::vector<BackupSummary>& backups) {
    std::map<std::uint64_t, BackupCatalog> by_system;
    for (const BackupSummary& backup : backups) {
      by_system[backup.system_identifier].backups.push_back(backup);
    }
    MissingWal missing;
    for (const auto& [system, catalog] : by_system) {
      const BackupSummary& newest = *std::ranges::max_element(catalog.backups, IsBefore);
      ASSIGN_OR_RETURN(const BackupSummary oldest, OldestWithWal(system, catalog, newest));
      ASSIGN_OR_RETURN(const std::vector<std::string> segments, wal_.Missing(oldest, newest));
      for (const std::string& segment : segments) {
        missing.insert({system, segment});
      }
      ASSIGN_OR_RETURN(const std::vector<std::string> histories,
                       MissingHistories(WalArchive(repository_, system), system, catalog.backups));
      for (const std::string& history : histories) {
        missing.insert({system, history});
      }
    }
    return missing;
  }

  // Returns the oldest backup from which retention keeps all WAL.
  Result<BackupSummary> OldestWithWal(std::uint64_t system, const BackupCatalog& catalog,
                                      const BackupSummary& newest) const {
    ASSIGN_OR_RETURN(const TimePoint now, repository_.store().Now());
    ASSIGN_OR_RETURN(std::optional<BackupSummary> oldest,
                     OldestWithAllWal(repository_, system, options_.retention, catalog, now));
    return std::move(oldest).value_or(newest);
  }

  // Backups that retention has deleted meanwhile have no problems.
  Status ForgetDeleted() {
    std::vector<BackupSummary> left;
    for (BackupSummary& backup : backups_) {
      if (session_.findings().HasProblems(backup.label)) {
        ASSIGN_OR_RETURN(const std::optional<ObjectInfo> document,
                         HeadIfThere(repository_.store(), BackupDocumentName(backup.label)));
        if (!document) {
          session_.findings().Forget(backup.label);
          continue;
        }
      }
      left.push_back(std::move(backup));
    }
    backups_ = std::move(left);
    return Ok();
  }

  VerifyReport Report(bool complete) const {
    const Findings& findings = session_.findings();
    VerifyReport report;
    for (const BackupSummary& backup : backups_) {
      report.backups.push_back(
          {.label = backup.label,
           .type = backup.type,
           .good = !findings.HasProblems(backup.label),
           .suspect = !SuspectDiff(backup).empty(),
           .damaged = findings.Damaged(backup.label),
           .is_whole = complete && options_.full && !findings.HasProblemsInside(backup.label),
           .manifest_sha256 = backup.manifest_sha256});
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
    report.complete = complete;
    report.known_damage = known_damage_;
    return report;
  }

  const Repository& repository_;
  const VerifyOptions& options_;
  VerifyProgress& progress_;
  std::vector<BackupSummary> backups_;  // by label
  std::vector<std::string> broken_;     // labels
  Result<std::vector<StoredDamage>> known_damage_ = std::vector<StoredDamage>();
  // Declared before session_, so that they outlive the session's jobs, which use them.
  IndexVerifier indexes_{session_};
  WalVerifier wal_{session_, indexes_};
  VerifySession session_;
};

// Whether the record was there before the verification read anything.
bool IsOlderThan(const VerifyReport& report, const StoredDamage& damage) {
  return report.known_damage &&
         std::ranges::any_of(*report.known_damage,
                             [&](const StoredDamage& one) { return one.IsSameAs(damage); });
}

// Replacing a record deletes it first, and what comes then may fail. So that is not done to one
// that is still true, or may be: nobody has read the packs of a manifest that is damaged.
bool StaysAsItIs(const VerifyReport& report, const StoredDamage& there,
                 const DamagedObjects& damaged) {
  if (!there.record) {
    return false;
  }
  std::vector<std::string> telling = {ManifestName(there.label)};
  std::ranges::copy(there.record->objects.names, std::back_inserter(telling));
  return !report.complete || !IsOlderThan(report, there) || damaged.count > damaged.names.size() ||
         std::ranges::any_of(telling, [&](const std::string& name) {
           return std::ranges::binary_search(damaged.names, name);
         });
}

// `there` is the record of the backup, or null.
Status Remember(const Repository& repository, const VerifyReport& report,
                const VerifiedBackup& backup, const StoredDamage* there,
                RememberedDamage& changed) {
  if (backup.damaged.count == 0) {
    if (backup.is_whole && there != nullptr && IsOlderThan(report, *there)) {
      RETURN_IF_ERROR(repository.store().Delete(there->object.name));
      changed.removed.push_back(backup.label);
    }
    return Ok();
  }
  if (there != nullptr) {
    if (StaysAsItIs(report, *there, backup.damaged)) {
      return Ok();
    }
    RETURN_IF_ERROR(repository.store().Delete(there->object.name));
  }
  ASSIGN_OR_RETURN(const bool stored, StoreDamage(repository, backup.label,
                                                  {.manifest_sha256 = backup.manifest_sha256,
                                                   .node = repository.options().node,
                                                   .created = repository.environment().clock->Now(),
                                                   .objects = backup.damaged}));
  if (stored) {
    changed.stored.push_back(backup.label);
  }
  return Ok();
}

}  // namespace

Result<VerifyReport> VerifyRepository(const Repository& repository, const VerifyOptions& options,
                                      VerifyProgress& progress, VerifyReport* until_error) {
  Verification verification(repository, options, progress);
  Result<VerifyReport> report = verification.Run();
  // A repository that is away (for example, not mounted) looks empty. Neither "passed" nor
  // "missing" would then be true.
  if (!repository.identities().empty() && (report || report.error().code == ErrorCode::kNotFound ||
                                           report.error().code == ErrorCode::kDataCorrupted)) {
    RETURN_IF_ERROR(
        RequireRepositoryInPlace(repository, repository.identities().front().system_identifier));
  }
  if (!report && until_error != nullptr) {
    *until_error = verification.UntilError();
  }
  return report;
}

RememberedDamage RememberDamage(const Repository& repository, const VerifyReport& report) {
  RememberedDamage changed;
  std::vector<BackupSummary> backups;
  for (const VerifiedBackup& backup : report.backups) {
    const bool was_known = report.known_damage &&
                           std::ranges::any_of(*report.known_damage, [&](const StoredDamage& one) {
                             return one.label == backup.label;
                           });
    if (backup.damaged.count > 0 || (backup.is_whole && was_known)) {
      BackupSummary summary;
      summary.label = backup.label;
      summary.manifest_sha256 = backup.manifest_sha256;
      backups.push_back(std::move(summary));
    }
  }
  if (report.complete && !report.known_damage) {
    changed.status = report.known_damage.error();
  }
  if (backups.empty()) {
    return changed;  // nothing new is known
  }
  const Result<std::vector<StoredDamage>> known = ReadDamageRecords(repository, backups);
  if (!known) {
    changed.status = known.error();
    return changed;
  }
  for (const VerifiedBackup& backup : report.backups) {
    const auto there = std::ranges::find(*known, backup.label, &StoredDamage::label);
    const Status remembered =
        Remember(repository, report, backup, there == known->end() ? nullptr : &*there, changed);
    if (!remembered && changed.status) {
      changed.status = remembered;
    }
    if (!remembered && IsOfTheStore(remembered.error())) {
      break;
    }
  }
  return changed;
}

}  // namespace veza
