#include "core/backup/finished_copy.h"

#include <algorithm>
#include <utility>
#include <variant>
#include <vector>

#include "core/codec/document.h"
#include "core/codec/json.h"
#include "core/limits.h"
#include "core/repository/delete_objects.h"
#include "core/repository/entrance.h"
#include "core/repository/key_wraps.h"
#include "core/repository/manifest.h"
#include "core/repository/names.h"
#include "core/repository/pack_list.h"
#include "core/retention/retention.h"

namespace veza {

namespace {

// The lock is looked at again after so many objects.
constexpr std::size_t kBatch = 1000;

// Returns the text of the future backup.json. It is signed under that name only now. Otherwise
// anybody who can write to the store could make a backup of it, although nobody has checked that
// its WAL is there.
Result<std::string> ReadFinished(const Repository& repository, const std::string& label,
                                 const Sha256Digest& own) {
  const std::string name = FinishedCopyName(label);
  ASSIGN_OR_RETURN(const Bytes text, GetSmall(repository.store(), name, limits::kBackupDocument));
  if (Sha256Of(text) != own) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "\"{}\" is not what this server has stored since its start", name);
  }
  ASSIGN_OR_RETURN(const Json document, OpenDocument(AsText(text), repository.seal_policy(), name));
  const Json* const summary = document.Find("backup");
  if (summary == nullptr || !summary->is_object()) {
    return MakeError(ErrorCode::kDataCorrupted, "\"{}\": member \"backup\" is not an object", name);
  }
  return SignDocument(*summary, repository.seal_policy(), BackupDocumentName(label));
}

bool Fits(const BackupSummary& copy, const CopyWanted& wanted) {
  if (copy.system_identifier != wanted.system_identifier || copy.timeline != wanted.timeline ||
      copy.type != wanted.type || copy.stop_lsn > wanted.position) {
    return false;
  }
  // A data directory that may be damaged needs a new copy, which tells how it is now. After
  // checksums were switched on or off, the copy would describe the server wrongly.
  if (copy.checksum_failures > 0 || copy.data_checksum_version != wanted.data_checksum_version) {
    return false;
  }
  if (copy.type == BackupType::kFull) {
    return true;
  }
  if (wanted.parent == nullptr) {
    return false;
  }
  return copy.type == BackupType::kIncr
             ? copy.parent == wanted.parent->label
             : copy.full_label() == wanted.parent->label &&
                   copy.sources.front().manifest_sha256 == wanted.parent->manifest_sha256;
}

// The last segments of gaps, and the segments where WAL with wal_level = minimal begins.
Result<std::vector<std::string>> EndsOfGaps(const Repository& repository,
                                            std::uint64_t system_identifier) {
  constexpr std::size_t kSegmentName = 24;
  const std::string prefix = GapPrefix(system_identifier);
  std::vector<std::string> ends;
  ASSIGN_OR_RETURN(const std::vector<ObjectInfo> records,
                   ListAtMost(repository.store(), prefix, limits::kGapRecords));
  for (const ObjectInfo& record : records) {
    if (record.name.size() > prefix.size() + kSegmentName) {
      ends.push_back(record.name.substr(prefix.size() + kSegmentName + 1, kSegmentName));
    }
  }
  return ends;
}

// After a gap, a backup is needed from which recovery can begin behind the gap. The copy is not
// one.
bool IsBeforeGap(const BackupSummary& copy, const std::vector<std::string>& ends) {
  return std::ranges::any_of(ends, [&](const std::string& end) {
    return end.starts_with(copy.start_wal.substr(0, 8)) && end >= copy.start_wal;
  });
}

bool IsOutdone(const BackupSummary& copy, const BackupCatalog& catalog) {
  for (const BackupSummary& backup : catalog.backups) {
    if (backup.system_identifier == copy.system_identifier && backup.type == copy.type &&
        backup.start_lsn >= copy.start_lsn) {
      return true;
    }
  }
  return false;
}

// The copy of this label. Nothing when there is none that can be completed.
Result<std::optional<BackupSummary>> LookAt(const Repository& repository, const std::string& label,
                                            const Sha256Digest& own, TimePoint now) {
  ASSIGN_OR_RETURN(const std::optional<ObjectInfo> info,
                   HeadIfThere(repository.store(), FinishedCopyName(label)));
  if (!info) {
    return std::optional<BackupSummary>();
  }
  if (now - info->modified > kFinishedCopyAge) {
    return std::optional<BackupSummary>();
  }
  const Result<std::string> text = ReadFinished(repository, label, own);
  if (!text && LeavesCopyOpen(text.error())) {
    return text.error();
  }
  Result<BackupSummary> copy = text ? ParseSummary(*text, label, repository.seal_policy())
                                    : Result<BackupSummary>(text.error());
  return copy ? std::optional(std::move(*copy)) : std::optional<BackupSummary>();
}

}  // namespace

Result<Sha256Digest> StoreFinishedCopy(const Repository& repository, const BackupSummary& summary) {
  const std::string name = FinishedCopyName(summary.label);
  ASSIGN_OR_RETURN(const std::string signed_text,
                   SerializeSummary(summary, repository.seal_policy()));
  ASSIGN_OR_RETURN(Json backup, OpenDocument(signed_text, repository.seal_policy(),
                                             BackupDocumentName(summary.label)));
  ASSIGN_OR_RETURN(
      const std::string text,
      SignDocument({{"format", 1}, {"label", summary.label}, {"backup", std::move(backup)}},
                   repository.seal_policy(), name));
  RETURN_IF_ERROR(PutSmall(repository.store(), name, AsBytes(text), PutMode::kCreate));
  return Sha256Of(AsBytes(text));
}

Result<std::optional<BackupSummary>> FindFinishedCopy(const Repository& repository,
                                                      const BackupCatalog& catalog,
                                                      const CopyWanted& wanted) {
  if (!wanted.own || catalog.unfinished.empty()) {
    return std::optional<BackupSummary>();
  }
  ASSIGN_OR_RETURN(const TimePoint now, repository.store().Now());
  ASSIGN_OR_RETURN(const std::vector<std::string> gaps,
                   EndsOfGaps(repository, wanted.system_identifier));
  for (const UnfinishedBackup& unfinished : catalog.unfinished) {
    ASSIGN_OR_RETURN(std::optional<BackupSummary> copy,
                     LookAt(repository, unfinished.label, *wanted.own, now));
    if (!copy || !Fits(*copy, wanted) || IsOutdone(*copy, catalog) || IsBeforeGap(*copy, gaps)) {
      continue;
    }
    const Status whole = RequireWholeCopy(repository, *copy);
    if (whole) {
      return copy;
    }
    if (LeavesCopyOpen(whole.error())) {
      return whole.error();
    }
  }
  return std::optional<BackupSummary>();
}

Status RequireWholeCopy(const Repository& repository, const BackupSummary& summary) {
  NamedPacks packs;
  RETURN_IF_ERROR(ReadManifest(repository, summary, [&](ManifestRecord&& record) -> Status {
    RETURN_IF_ERROR(repository.environment().cancellation->Check());
    if (const auto* pack = std::get_if<PackRecord>(&record)) {
      packs.Add(*pack);
    }
    return Ok();
  }));
  return packs.RequireAll(repository, summary);
}

bool LeavesCopyOpen(const Error& error) {
  return error.retryable || error.code == ErrorCode::kCredentials ||
         error.code == ErrorCode::kCancelled;
}

Status CommitFinishedCopy(const Repository& repository, const BackupSummary& summary,
                          const Sha256Digest& own, const CommitGuard& guard) {
  ASSIGN_OR_RETURN(const std::string finished, ReadFinished(repository, summary.label, own));
  ASSIGN_OR_RETURN(BackupSummary completed,
                   ParseSummary(finished, summary.label, repository.seal_policy()));
  // Since the copy was made, passphrases may have come and gone.
  ASSIGN_OR_RETURN(completed.key_wraps, WrapsToCopy(repository));
  ASSIGN_OR_RETURN(const std::string text, SerializeSummary(completed, repository.seal_policy()));
  RETURN_IF_ERROR(RequireKeyInPlace(repository, summary.system_identifier));
  RETURN_IF_ERROR(guard());
  RETURN_IF_ERROR(PutSmall(repository.store(), BackupDocumentName(summary.label), AsBytes(text),
                           PutMode::kCreate));
  // It is a backup now; what is left goes with it.
  [[maybe_unused]] const Status removed =
      repository.store().Delete(FinishedCopyName(summary.label));
  return Ok();
}

Status RemoveCopy(const Repository& repository, const std::string& label, ClusterLock& lock,
                  int requests_in_flight) {
  Store& store = repository.store();
  RETURN_IF_ERROR(lock.RequireHeld());
  // From now on nobody completes it.
  RETURN_IF_ERROR(store.Delete(FinishedCopyName(label)));
  for (;;) {
    std::vector<std::string> names;
    bool is_backup = false;
    const Status listed = store.List(BackupDirectory(label), "", [&](const ObjectInfo& object) {
      is_backup = is_backup || object.name == BackupDocumentName(label);
      names.push_back(object.name);
      return names.size() < kBatch ? Ok() : Status(MakeError(ErrorCode::kCancelled, "enough"));
    });
    if (names.size() < kBatch) {
      RETURN_IF_ERROR(listed);
    }
    if (names.empty()) {
      return Ok();
    }
    if (is_backup) {
      return MakeError(ErrorCode::kInternal, "\"{}\" is a backup", label);
    }
    RETURN_IF_ERROR(lock.RequireHeld());
    RETURN_IF_ERROR(DeleteObjects(store, names, requests_in_flight));
  }
}

}  // namespace veza
