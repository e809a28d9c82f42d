#include "pg/backup_job.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "core/repository/backup_catalog.h"
#include "core/repository/choose_full.h"
#include "core/repository/choose_label.h"
#include "core/repository/connect.h"
#include "core/repository/directory_survey.h"
#include "core/repository/expire.h"
#include "core/repository/slot_claim.h"
#include "core/repository/timeline_history.h"
#include "core/repository/wal_archive.h"
//
#include "pg/boundary.h"

namespace veza::pg {

namespace {

constexpr RetryPolicy kBackupRetries{.budget = std::chrono::minutes(2), .max_attempts = 20};
// The archiver usually needs some 100 ms; an outage of the store may last for minutes.
constexpr std::chrono::milliseconds kFirstWalPollPause{20};
constexpr std::chrono::milliseconds kLongestWalPollPause{500};

// A full backup when there is nothing that a diff could refer to.
Status ChooseKind(BackupJob* job) {
  if (!job->diff) {
    return Ok();
  }
  DiffCandidate server;
  server.system_identifier = job->facts.system_identifier;
  server.postgres_major = job->summary.postgres_version_num / 10000;
  server.block_size = job->summary.block_size;
  server.data_checksum_version = job->summary.data_checksum_version;
  ASSIGN_OR_RETURN(server.history,
                   ReadServerHistory(WalArchive(*job->repository, job->facts.system_identifier),
                                     job->facts.data_directory + "/pg_wal", job->timeline));
  ASSIGN_OR_RETURN(server.minimal, ReadMinimalWal(*job->repository, job->facts.system_identifier));
  ASSIGN_OR_RETURN(const BackupCatalog catalog, ReadBackupCatalog(*job->repository));
  server.position = job->position;
  server.hint_bits_logged = job->hint_bits_logged;
  server.own_full = job->own_full;
  FullChoice choice = ChooseFull(catalog, server);
  if (!choice.full) {
    job->diff = false;
    job->notice = fmt::format("taking a full backup instead of a diff: {}", choice.reason);
    return Ok();
  }
  job->full = std::move(choice.full);
  job->doubt = std::move(choice.doubt);
  job->summary.changes_by = job->doubt.empty() ? "lsn" : "digest";
  ASSIGN_OR_RETURN(job->full_index, FullIndex::Load(*job->repository, *job->full));
  job->summary.full_manifest_sha256 = job->full->manifest_sha256;
  return Ok();
}

// What cannot be copied is found now, and not in the middle of the copy.
Status Survey(BackupJob* job) {
  ASSIGN_OR_RETURN(
      const DirectorySurvey survey,
      SurveyDataDirectory(MakeWalkOptions(job->facts), *job->environment.cancellation));
  job->progress.bytes_total = survey.bytes;
  job->progress.files_total = survey.files;
  return Ok();
}

// The times in the summary are by this server's clock, as those in commit records are.
Status ChooseLabelAndStart(BackupJob* job) {
  BackupSummary& summary = job->summary;
  summary.type = job->diff ? BackupType::kDiff : BackupType::kFull;
  ASSIGN_OR_RETURN(
      LabelChoice choice,
      ChooseLabel(*job->repository, job->diff ? std::optional(job->full->label) : std::nullopt));
  for (const std::string& warning : choice.warnings) {
    job->log.Put(warning);
  }
  summary.label = std::move(choice.label);
  summary.start_time = job->environment.clock->Now();
  return Ok();
}

// A full backup takes the place of a diff that is due, unless it was meant to be that diff.
Status SkipDiffFor(BackupJob* job) {
  const bool is_diff = job->diff || (job->claim && job->claim->kind == ScheduleKind::kDiff);
  return is_diff ? Ok()
                 : SkipDueDiff(*job->lock, job->config.schedule, job->environment.clock->Now());
}

Status BeginSlot(BackupJob* job) {
  if (job->claim) {
    RETURN_IF_ERROR(ClaimSlot(*job->lock, *job->claim));
  }
  return SkipDiffFor(job);
}

Status EndSlot(BackupJob* job, SlotState state, const std::string& error) {
  if (job->claim) {
    RETURN_IF_ERROR(job->lock->SetSlot(ScheduleKindName(job->claim->kind),
                                       OutcomeOf(*job->claim, state, job->summary.label, error)));
  }
  return SkipDiffFor(job);
}

}  // namespace

void LogQueue::Put(const std::string& sentence) {
  const std::lock_guard lock(mutex_);
  sentences_.push_back(sentence);
}

bool LogQueue::Take(char* buffer, std::size_t size) {
  const std::lock_guard lock(mutex_);
  if (sentences_.empty()) {
    return false;
  }
  strlcpy(buffer, sentences_.front().c_str(), size);
  sentences_.pop_front();
  return true;
}

Status ConnectAndChoose(BackupJob* job) {
  ASSIGN_OR_RETURN(job->repository,
                   OpenServerRepository(job->config, job->facts, job->environment, kBackupRetries));
  // Before the choice, so that no other node expires what it falls on.
  ASSIGN_OR_RETURN(job->lock, ClusterLock::Acquire(*job->repository,
                                                   {.purpose = job->diff ? kDiffBackupPurpose
                                                                         : kFullBackupPurpose}));
  RETURN_IF_ERROR(BeginSlot(job));
  RETURN_IF_ERROR(Survey(job));
  RETURN_IF_ERROR(ChooseKind(job));
  return ChooseLabelAndStart(job);
}

Status StoreLastFiles(BackupJob* job, const LastFiles* files) {
  RETURN_IF_ERROR(job->writer->AddFile("backup_label", files->mode, AsBytes(files->backup_label)));
  if (files->tablespace_map[0] != '\0') {
    RETURN_IF_ERROR(
        job->writer->AddFile("tablespace_map", files->mode, AsBytes(files->tablespace_map)));
  }
  RETURN_IF_ERROR(job->writer->AddFile("global/pg_control", files->mode,
                                       {files->control_file, files->control_file_size}));
  return job->writer->FinishPacks(job->summary);
}

Status WaitForWal(BackupJob* job) {
  const BackupSummary& summary = job->summary;
  const WalArchive archive(*job->repository, summary.system_identifier);
  const SegmentNumber first = SegmentOf(summary.start_lsn, summary.wal_segment_size);
  const SegmentNumber last = SegmentBefore(summary.stop_lsn, summary.wal_segment_size);
  const SteadyTime deadline = job->environment.clock->Steady() + job->config.backup_wal_timeout;
  for (auto pause = kFirstWalPollPause;; pause = std::min(pause * 3 / 2, kLongestWalPollPause)) {
    ASSIGN_OR_RETURN(const std::vector<std::string> missing,
                     archive.Missing(summary.timeline, first, last, summary.wal_segment_size, 1));
    if (missing.empty()) {
      return Ok();
    }
    if (job->environment.clock->Steady() >= deadline) {
      return MakeError(
                 ErrorCode::kDeadlineExceeded,
                 "WAL segment \"{}\", which backup \"{}\" needs, did not reach the repository "
                 "within {} s",
                 missing.front(), summary.label, job->config.backup_wal_timeout.count())
          .WithHint(
              "Look for warnings of the archiver in the server log, or raise "
              "veza_backup.backup_wal_timeout.");
    }
    if (!job->environment.clock->Sleep(pause, job->environment.cancellation.get())) {
      return job->environment.cancellation->Check();
    }
  }
}

// The last segment is enough: where two histories have parted, no later segment is the same. A
// primary has completed it by the end of the backup, and keeps it until its own archiver has found
// the repository to have the same.
Status RequireOwnWal(BackupJob* job) {
  if (job->summary.from_standby) {
    return Ok();
  }
  const std::string& segment = job->summary.stop_wal;
  return WalArchive(*job->repository, job->summary.system_identifier)
      .RequireSame(segment, fmt::format("{}/pg_wal/{}", job->facts.data_directory, segment));
}

Status Commit(BackupJob* job) {
  RETURN_IF_ERROR(job->lock->RequireHeld());
  RETURN_IF_ERROR(job->writer->Commit(job->summary));
  // The backup exists, whatever becomes of the note about it.
  if (const Status noted = EndSlot(job, SlotState::kSucceeded, ""); !noted) {
    job->log.Put(fmt::format("could not record the end of backup \"{}\": {}", job->summary.label,
                             noted.error().message));
  }
  return Ok();
}

Status RecordFailure(BackupJob* job, const std::string& error, bool canceled) {
  return EndSlot(job, canceled ? SlotState::kSkipped : SlotState::kFailed, error);
}

Status ExpireOld(BackupJob* job) {
  const Result<std::vector<RetentionDecision>> decisions =
      Expire(*job->repository, job->facts.system_identifier, RetentionOf(job->config), *job->lock,
             job->config.s3_connections);
  if (!decisions) {
    RETURN_IF_ERROR(job->environment.cancellation->Check());
    job->log.Put("old backups were not removed: " + decisions.error().message);
    return Ok();
  }
  for (const RetentionDecision& decision : *decisions) {
    if (!decision.keep) {
      job->expired += fmt::format("{}{} {}{}{}", job->expired.empty() ? "" : ", ",
                                  RetentionKindName(decision.kind), decision.name,
                                  decision.last.empty() ? "" : "-", decision.last);
    }
  }
  return Ok();
}

void ReleaseLock(BackupJob* job, std::chrono::milliseconds patience) {
  if (job == nullptr || job->lock == nullptr) {
    return;
  }
  // It may still have threads that only the cancellation keeps from working.
  job->writer.reset();
  FunctionCall call({}, [job, patience] { return job->lock->ReleaseWithin(patience); });
  if (call.Start()) {
    // If it fails: this process is about to end, which other processes of this machine see; other
    // machines wait for the end of the lease.
    (void)call.Join();
  }
}

}  // namespace veza::pg
