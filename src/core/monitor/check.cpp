#include "core/monitor/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iterator>
#include <utility>

#include "core/archive/archive_map.h"
#include "core/archive/recovery_window.h"
#include "core/limits.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/format_mark.h"
#include "core/repository/key_wraps.h"
#include "core/repository/names.h"

namespace veza {

namespace {

// S3 refuses requests whose time is more than 15 minutes off. A third of that leaves time to act.
constexpr std::chrono::seconds kLargestSkew{300};

CheckResult Passed(std::string name, std::string detail) {
  return {std::move(name), true, std::move(detail), ""};
}

CheckResult CheckConditionalWrites(Store& store, const std::string& probe,
                                   bool looks_before_writes) {
  const Status second = PutSmall(store, probe, AsBytes("second"), PutMode::kCreate);
  if (!second && second.error().code == ErrorCode::kAlreadyExists) {
    return Passed("conditional_writes",
                  looks_before_writes
                      ? "not tested, because veza_backup.s3_conditional_writes is \"look\": two "
                        "servers that write at the same moment can overwrite each other's objects"
                      : "the store refuses to overwrite an object");
  }
  if (!second) {
    return FailedCheck("conditional_writes", second.error());
  }
  return {"conditional_writes", false,
          "the store overwrote an object although If-None-Match was sent",
          "Two servers with the same name could overwrite each other's WAL here. Use a store that "
          "supports conditional writes: AWS S3, MinIO since May 2024, or Ceph in a bucket without "
          "versioning."};
}

CheckResult CheckClock(Store& store, const Clock& clock) {
  const Result<TimePoint> theirs = store.Now();
  if (!theirs) {
    return FailedCheck("clock", theirs.error());
  }
  const auto skew = std::chrono::duration_cast<std::chrono::seconds>(*theirs - clock.Now());
  const std::string detail = fmt::format("the store's clock is {} s {}", std::abs(skew.count()),
                                         skew.count() < 0 ? "behind" : "ahead");
  if (std::chrono::abs(skew) > kLargestSkew) {
    return {"clock", false, detail, "Synchronize the clocks of this server and the store (NTP)."};
  }
  return Passed("clock", detail);
}

CheckResult CheckRead(Store& store, const std::string& probe, std::string_view content) {
  const Result<Bytes> read = GetSmall(store, probe, limits::kProbe);
  if (!read) {
    return FailedCheck("read", read.error());
  }
  if (AsText(*read) != content) {
    return {"read", false, "an object did not have the content that was written",
            "Check proxies and gateways between this server and the store."};
  }
  return Passed("read", "an object was read back");
}

CheckResult CheckDelete(Store& store, const std::string& probe) {
  if (const Status deleted = store.Delete(probe); !deleted) {
    return FailedCheck("delete", deleted.error());
  }
  const Result<ObjectInfo> gone = store.Head(probe);
  if (!gone) {
    return gone.error().code == ErrorCode::kNotFound ? Passed("delete", "an object was deleted")
                                                     : FailedCheck("delete", gone.error());
  }
  return {"delete", false, "an object was still there after it was deleted",
          "Retention (expiry of old backups) cannot work on this store."};
}

CheckResult CheckIdentity(const Repository& repository) {
  std::string detail;
  for (const Identity& identity : repository.identities()) {
    detail += fmt::format("{}system {} of PostgreSQL {}, cipher {}", detail.empty() ? "" : "; ",
                          identity.system_identifier, identity.postgres_version_num / 10000,
                          identity.cipher);
  }
  return Passed("identity", detail);
}

// Backups that cannot be restored, with the reasons: unlike FindUnrestorable() of pack_list.h also
// those that lack WAL, and those that cannot be read.
Result<std::vector<UnrestorableBackup>> FindAllUnrestorable(const Repository& repository,
                                                            const BackupCatalog& catalog) {
  std::vector<UnrestorableBackup> all;
  ASSIGN_OR_RETURN(const LostParts lost, FindLostParts(repository, catalog.backups));
  for (const Identity& identity : repository.identities()) {
    if (std::ranges::find(catalog.backups, identity.system_identifier,
                          &BackupSummary::system_identifier) == catalog.backups.end()) {
      continue;
    }
    ASSIGN_OR_RETURN(const ArchiveMap archive, ReadArchiveMap(repository, identity));
    ASSIGN_OR_RETURN(
        RecoveryWindow window,
        ReadRecoveryWindow(repository, identity.system_identifier, catalog, archive, lost));
    std::ranges::move(window.unrestorable, std::back_inserter(all));
  }
  for (const BrokenBackup& broken : catalog.broken) {
    all.push_back({broken.label, broken.error.message});
  }
  return all;
}

CheckResult JudgeBackups(const std::vector<BackupSummary>& backups,
                         const std::vector<UnrestorableBackup>& unrestorable) {
  std::size_t restorable = 0;
  const BackupSummary* last = nullptr;
  for (const BackupSummary& backup : backups) {
    if (!IsAmong(unrestorable, backup.label)) {
      ++restorable;
      last = &backup;
    }
  }
  const std::string good =
      last != nullptr ? fmt::format("{} backups, the last of them \"{}\"", restorable, last->label)
                      : "no backup can be restored";
  if (unrestorable.empty()) {
    return Passed("backups", good);
  }
  return {
      "backups", false,
      fmt::format("{}; {} that cannot be restored, for example \"{}\": {}", good,
                  unrestorable.size(), unrestorable.back().label, unrestorable.back().reason),
      "Run \"vezactl info\", which names all of them, and \"vezactl verify\", which names what is "
      "missing. Find out what has deleted it. If newer backups are concerned, take a full backup."};
}

CheckResult CheckBackups(const Repository& repository, std::optional<std::uint64_t> system) {
  Result<BackupCatalog> catalog = ReadBackupCatalog(repository);
  if (!catalog) {
    return FailedCheck("backups", catalog.error());
  }
  if (system) {
    std::erase_if(catalog->backups,
                  [&](const BackupSummary& backup) { return backup.system_identifier != *system; });
  }
  if (catalog->backups.empty() && catalog->broken.empty()) {
    return {"backups", false,
            fmt::format("no backup here yet, in \"{}\"", repository.store().location()),
            "Archived WAL cannot be restored without a backup. Run SELECT veza_backup_now('full'), "
            "or check veza_backup.repository and veza_backup.cluster."};
  }
  const Result<std::vector<UnrestorableBackup>> unrestorable =
      FindAllUnrestorable(repository, *catalog);
  return unrestorable ? JudgeBackups(catalog->backups, *unrestorable)
                      : FailedCheck("backups", unrestorable.error());
}

// Whether each passphrase still has its wrap. A damaged one is a failure: backups from now on hold
// no copy of it, so it is lost with the last older one. A wrap that is missing is none: it may have
// been removed on purpose.
std::optional<CheckResult> CheckPassphrases(const Repository& repository) {
  if (!repository.seal_policy().key) {
    return std::nullopt;
  }
  const Result<std::vector<KeyWrapInfo>> wraps = LookAtKeyWraps(repository);
  if (!wraps) {
    return FailedCheck("passphrases", wraps.error());
  }
  std::size_t good = 0;
  std::size_t damaged = 0;
  std::string example;
  for (const KeyWrapInfo& wrap : *wraps) {
    good += wrap.copy_of.empty() && wrap.state <= KeyWrapInfo::State::kSigned ? 1 : 0;
    if (IsDamagedWrap(wrap) && ++damaged == 1) {
      example = fmt::format("\"{}\": {}", wrap.object.name, wrap.problem);
    }
  }
  CheckResult row = Passed("passphrases", fmt::format("{} with a good wrap", good));
  if (damaged > 0) {
    row.passed = false;
    row.detail +=
        fmt::format("; {} objects cannot be used as wraps, for example {}", damaged, example);
    row.hint = kDamagedWrapHint;
  }
  return row;
}

// Which version of the format writers use. Nothing without a key, where there is only one.
std::optional<CheckResult> CheckFormat(const Repository& repository) {
  const Result<FormatMark> mark = ReadFormatMark(repository.store(), repository.seal_policy());
  if (!mark) {
    return FailedCheck("format", mark.error());
  }
  switch (mark->state) {
    case FormatMark::State::kPresent:
      return Passed("format", "backups and WAL are written in version 2");
    case FormatMark::State::kNotNeeded:
      return std::nullopt;
    case FormatMark::State::kUnreadable:
      return CheckResult{
          "format", false,
          fmt::format("object \"{}\" cannot be used: {}", kFormatMarkName, mark->problem),
          "Version 1 is written, which is safe and slower. Find out who has written "
          "the object, delete it, and run \"vezactl repository upgrade\"."};
    case FormatMark::State::kAbsent:
      break;
  }
  return CheckResult{"format", true, "backups and WAL are written in version 1",
                     "When all nodes of the formation have version 0.2 or later, run \"vezactl "
                     "repository upgrade\". Version 2 takes less CPU time; 0.1 cannot read it."};
}

}  // namespace

CheckResult FailedCheck(std::string name, const Error& error) {
  return {std::move(name), false, error.message, error.hint};
}

std::vector<CheckResult> CheckRepository(const std::shared_ptr<Store>& store,
                                         const RepositoryOptions& options,
                                         const Environment& environment,
                                         std::optional<std::uint64_t> system_identifier,
                                         bool looks_before_writes,
                                         const std::function<Status(Store&)>& may_write) {
  std::vector<CheckResult> results;
  if (const auto listed = store->ListDirectories(""); !listed) {
    results.push_back(FailedCheck("store", listed.error()));
    return results;
  }
  results.push_back(Passed("store", fmt::format("\"{}\" can be listed", store->location())));
  if (const Status may = may_write ? may_write(*store) : Ok(); !may) {
    results.push_back(FailedCheck("identity", may.error()));
    return results;
  }

  std::array<std::uint8_t, 16> random;
  environment.random->Fill(random);
  const std::string probe = std::string(kProbePrefix) + ToHex(random);
  constexpr std::string_view kContent = "veza_backup probe";
  if (const Status put = PutSmall(*store, probe, AsBytes(kContent), PutMode::kReplace); !put) {
    results.push_back(FailedCheck("write", put.error()));
  } else {
    results.push_back(Passed("write", "an object was written"));
    results.push_back(CheckRead(*store, probe, kContent));
    results.push_back(CheckConditionalWrites(*store, probe, looks_before_writes));
    results.push_back(CheckDelete(*store, probe));
  }
  results.push_back(CheckClock(*store, *environment.clock));
  const Result<std::unique_ptr<Repository>> repository =
      Repository::Open(store, options, environment);
  if (!repository) {
    results.push_back(FailedCheck("identity", repository.error()));
    return results;
  }
  results.push_back(CheckIdentity(**repository));
  if (std::optional<CheckResult> passphrases = CheckPassphrases(**repository)) {
    results.push_back(*std::move(passphrases));
  }
  if (std::optional<CheckResult> format = CheckFormat(**repository)) {
    results.push_back(*std::move(format));
  }
  results.push_back(CheckBackups(**repository, system_identifier));
  return results;
}

}  // namespace veza
