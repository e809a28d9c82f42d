#include "pg/backup/backup_job.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "core/archive/wal_archive.h"
#include "core/archive/wal_wait.h"
#include "core/backup/choose_label.h"
#include "core/backup/choose_parent.h"
#include "core/backup/directory_survey.h"
#include "core/backup/finished_copy.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/connect.h"
#include "core/repository/damage_record.h"
#include "core/repository/entrance.h"
#include "core/repository/slot_claim.h"
#include "core/retention/expire.h"
#include "core/retention/pins.h"
#include "core/storage/file_io.h"
//
#include "core/archive/stored_histories.h"
#include "core/retention/retention.h"
#include "pg/boundary.h"

namespace veza::pg {

namespace {

// The shortest time between two log messages that the store does not answer.
constexpr std::chrono::seconds kTellTrouble{60};
// A primary is idle when it has sent nothing for so long, and slow when it has not finished its
// segment for so long.
constexpr std::chrono::seconds kIdle{2};
constexpr std::chrono::seconds kSlow{10};
// So much WAL is read for a diff without an index, however small the cluster is.
constexpr std::uint64_t kAlwaysRead = std::uint64_t{1} << 30;
// A segment that was finished on the old timeline may be on its way to the repository.
constexpr std::chrono::seconds kGraceAfterSwitch = kUploadGrace;

// Logs retries, but not too often.
RetryObserver MakeTroubleTeller(BackupJob* job) {
  auto last = std::make_shared<std::atomic<SteadyTime>>(SteadyTime::min());
  return [job, last](std::string_view operation, std::string_view name, const Error& error) {
    const SteadyTime now = job->environment.clock->Steady();
    SteadyTime before = last->load();
    if ((before == SteadyTime::min() || now - before >= kTellTrouble) &&
        last->compare_exchange_strong(before, now)) {
      job->log.Put(fmt::format(
          "{} of \"{}\" failed; the backup keeps trying for {} s: {}", operation, name,
          std::chrono::duration_cast<std::chrono::seconds>(job->patience.load()).count(),
          error.message));
    }
  };
}

RetryPolicy BackupRetries(const BackupJob& job) {
  RetryPolicy policy;
  policy.max_attempts = std::numeric_limits<int>::max();
  policy.patience = &job.patience;
  return policy;
}

Status LoadParent(BackupJob* job, const std::string& label) {
  // The catalog does not have its databases.
  ASSIGN_OR_RETURN(job->parent, ReadBackup(*job->repository, label));
  job->parent_name = NameBackup(label);
  ASSIGN_OR_RETURN(job->parent_index, ParentIndex::Load(*job->repository, *job->parent));
  return job->parent_index->RequirePacks(*job->repository);
}

// A backup that cannot be read is passed over. Otherwise every incr would fail until somebody takes
// a backup of another type.
Status ChooseAndLoadParent(BackupJob* job, BackupCatalog catalog, const ServerFit& server) {
  ASSIGN_OR_RETURN(const LostParts known, ReadKnownDamage(*job->repository, catalog.backups));
  std::string damage;
  for (;;) {
    ParentChoice choice = ChooseParent(catalog, server, job->type, known);
    const std::string& why = damage.empty() ? choice.reason : damage;
    if (!choice.parent) {
      job->parent.reset();
      job->notice =
          fmt::format("{}: {}",
                      job->type == BackupType::kIncr ? "taking a full backup instead of an incr"
                                                     : "taking a full backup instead of a diff",
                      why);
      job->type = BackupType::kFull;
      return Ok();
    }
    Status loaded = LoadParent(job, choice.parent->label);
    if (loaded) {
      job->doubt = std::move(choice.doubt);
      job->notice =
          why.empty() ? "" : fmt::format("building on {}, because {}", job->parent_name, why);
      return Ok();
    }
    if (!IsDamageOfParent(loaded.error())) {
      return loaded;
    }
    if (damage.empty()) {
      damage = fmt::format("{} cannot be read: {}", NameBackup(choice.parent->label),
                           loaded.error().message);
    }
    std::erase_if(catalog.backups, [&](const BackupSummary& backup) {
      return backup.label == choice.parent->label;
    });
  }
}

// Takes a full backup when there is no backup that a diff or an incr could build on.
Status ChooseKind(BackupJob* job, const BackupCatalog& catalog) {
  if (job->type == BackupType::kFull) {
    return Ok();
  }
  ServerFit server;
  server.system_identifier = job->facts.system_identifier;
  server.postgres_major = job->summary.postgres_version_num / 10000;
  server.block_size = job->summary.block_size;
  server.data_checksum_version = job->summary.data_checksum_version;
  ASSIGN_OR_RETURN(server.history,
                   ReadServerHistory(WalArchive(*job->repository, job->facts.system_identifier),
                                     job->facts.data_directory + "/pg_wal", job->timeline));
  ASSIGN_OR_RETURN(server.minimal, ReadMinimalWal(*job->repository, job->facts.system_identifier));
  job->history = server.history;
  server.position = job->position;
  server.hint_bits_logged = job->hint_bits_logged;
  server.own_full = job->own_full;
  server.own_newest = job->own_newest;
  return ChooseAndLoadParent(job, catalog, server);
}

OwnWalPlace PlaceOfWal(const BackupJob* job) {
  return {.system_identifier = job->facts.system_identifier,
          .segment_size = job->summary.wal_segment_size,
          .history = job->history,
          .wal_directory = job->facts.data_directory + "/pg_wal"};
}

// The checkpoint at the start of the backup removes segments.
Status LookAtOwnWal(BackupJob* job) {
  if (!job->parent || !job->config.changes_by_wal) {
    return Ok();
  }
  const SegmentNumber current = SegmentOf(job->reached, job->summary.wal_segment_size);
  ASSIGN_OR_RETURN(job->own_wal, FindOwnWal(*job->repository, PlaceOfWal(job), job->reached,
                                            current > 0 ? current - 1 : 0));
  return Ok();
}

// What is known now, or was before the checkpoint: what reaches further.
Result<OwnWal> OwnWalAtStart(const BackupJob* job) {
  const SegmentNumber start = SegmentOf(job->summary.start_lsn, job->summary.wal_segment_size);
  ASSIGN_OR_RETURN(const OwnWal now,
                   FindOwnWal(*job->repository, PlaceOfWal(job), Lsn{job->now.reached}, start + 1));
  const OwnWal& before = job->own_wal;
  const bool is_better = !now.is_known || (before.is_known && before.first <= start &&
                                           std::min(before.last, start) > now.last);
  return is_better ? before : now;
}

// The times in the summary are by this server's clock, like those in commit records.
Status ChooseLabelAndStart(BackupJob* job) {
  BackupSummary& summary = job->summary;
  summary.type = job->type;
  ASSIGN_OR_RETURN(LabelChoice choice, ChooseLabel(*job->repository, job->type,
                                                   job->parent ? job->parent->full_label() : ""));
  for (const std::string& warning : choice.warnings) {
    job->log.Put(warning);
  }
  summary.label = std::move(choice.label);
  summary.start_time = job->environment.clock->Now();
  job->started = job->environment.clock->Steady();
  return Ok();
}

// A backup replaces those of lesser kinds that are due, unless it is itself taken instead of one.
Status SkipLesser(BackupJob* job) {
  if (job->claim && TypeOf(job->claim->kind) != job->type) {
    return Ok();
  }
  ASSIGN_OR_RETURN(const TimePoint now, ReadPlanningTime(*job->repository));
  return SkipReplaced(*job->lock, job->type, job->config.schedule, now);
}

// Takes over a copy of another backup of which only WAL is missing.
Status ChooseFinishedCopy(BackupJob* job, const BackupCatalog& catalog) {
  CopyWanted wanted;
  wanted.own = job->own_copy;
  wanted.data_checksum_version = job->summary.data_checksum_version;
  wanted.system_identifier = job->facts.system_identifier;
  wanted.timeline = job->timeline;
  wanted.position = job->reached;
  wanted.type = job->type;
  wanted.parent = job->parent ? &*job->parent : nullptr;
  ASSIGN_OR_RETURN(std::optional<BackupSummary> copy,
                   FindFinishedCopy(*job->repository, catalog, wanted));
  if (!copy) {
    return Ok();
  }
  job->summary = std::move(*copy);
  job->completes_copy = true;
  job->copy = CopyState::kFinished;
  job->notice += fmt::format(
      "{}completing backup \"{}\", of which only WAL is missing, instead of copying everything "
      "again",
      job->notice.empty() ? "" : "; ", job->summary.label);
  return Ok();
}

Status BeginSlot(BackupJob* job) {
  if (job->claim) {
    RETURN_IF_ERROR(ClaimSlot(*job->lock, *job->claim));
  }
  return SkipLesser(job);
}

Status EndSlot(BackupJob* job, SlotState state, const std::string& error) {
  if (job->claim) {
    RETURN_IF_ERROR(job->lock->SetSlot(ScheduleKindName(job->claim->kind),
                                       OutcomeOf(*job->claim, state, job->summary.label, error)));
  }
  return SkipLesser(job);
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
  job->secrets = MakeSecretScan(job->config, job->facts.data_directory, job->facts.log_directory,
                                job->facts.config_file);
  // Finds what cannot be copied now, and not in the middle of the copy. Meanwhile the repository is
  // opened, which takes one processor a tenth of a second to derive a key. A repository that is
  // still to be made is opened before: the walk must know it.
  const WalkOptions walk = MakeWalkOptions(job->config, job->facts);
  std::optional<SurveyAhead> survey;
  if (walk.repository_directory.empty() || IsThere(walk.repository_directory)) {
    survey.emplace(walk, job->environment.cancellation, job->secrets);
  }
  ASSIGN_OR_RETURN(job->repository,
                   OpenServerRepository(job->config, job->facts, job->environment,
                                        BackupRetries(*job), MakeTroubleTeller(job)));
  if (!survey) {
    survey.emplace(walk, job->environment.cancellation, job->secrets);
  }
  // The lock comes before the choice, so that no other node expires what is chosen.
  ASSIGN_OR_RETURN(
      job->lock,
      ClusterLock::Acquire(*job->repository, {.purpose = PurposeOf(job->type), .regain = true}));
  // Before the lock was held, somebody may have removed the passphrase. Now nobody does.
  RETURN_IF_ERROR(RequireWrapInPlace(*job->repository));
  RETURN_IF_ERROR(BeginSlot(job));
  ASSIGN_OR_RETURN(const DirectorySurvey found, survey->Finish());
  job->progress.bytes_total = found.bytes;
  job->progress.files_total = found.files;
  ASSIGN_OR_RETURN(const BackupCatalog catalog, ReadBackupCatalog(*job->repository));
  RETURN_IF_ERROR(ChooseKind(job, catalog));
  RETURN_IF_ERROR(LookAtOwnWal(job));
  RETURN_IF_ERROR(ChooseFinishedCopy(job, catalog));
  if (!job->completes_copy) {
    RETURN_IF_ERROR(ChooseLabelAndStart(job));
  }
  // From here to the commit, a failure costs more than a few requests.
  job->patience = job->config.backup_retry_timeout;
  return Ok();
}

Status FindChanges(BackupJob* job) {
  if (!job->parent) {
    return Ok();
  }
  BackupSummary& summary = job->summary;
  if (!job->config.changes_by_wal) {
    job->wal.doubt = "veza_backup.find_changes is \"contents\"";
  } else if (job->parent->from_standby) {
    // RequireOwnWal() does not compare on a standby.
    job->wal.doubt = fmt::format("{} was made on a standby, and nothing has compared its WAL",
                                 NameBackup(job->parent->label));
  } else {
    WalInterval interval{.system_identifier = job->facts.system_identifier,
                         .segment_size = summary.wal_segment_size,
                         .history = job->history,
                         .from = job->parent->start_lsn,
                         .to = summary.start_lsn,
                         .wal_directory = job->facts.data_directory + "/pg_wal",
                         .jobs = job->config.jobs,
                         .from_timeline = job->parent->timeline,
                         .parent_end = job->parent->stop_lsn,
                         .most_unindexed = std::max(kAlwaysRead, job->progress.bytes_total.load())};
    // Also if this server has made the parent since it was started: it may have archived elsewhere
    // meanwhile, or its primary may be another one.
    ASSIGN_OR_RETURN(interval.own, OwnWalAtStart(job));
    ASSIGN_OR_RETURN(job->wal, ReadWalChanges(*job->repository, interval));
  }
  const char* const without_wal = job->doubt.empty() ? "lsn" : "digest";
  summary.changes_by = job->wal.changes ? "wal" : without_wal;
  summary.changes_doubt = job->wal.doubt;
  return Ok();
}

Status StoreLastFiles(BackupJob* job, const LastFiles* files) {
  RETURN_IF_ERROR(job->writer->AddFile("backup_label", files->mode, AsBytes(files->backup_label)));
  if (files->tablespace_map[0] != '\0') {
    RETURN_IF_ERROR(
        job->writer->AddFile("tablespace_map", files->mode, AsBytes(files->tablespace_map)));
  }
  RETURN_IF_ERROR(job->writer->AddFile("global/pg_control", files->mode,
                                       {files->control_file, files->control_file_size}));
  RETURN_IF_ERROR(job->writer->FinishPacks(job->summary));
  RETURN_IF_ERROR(job->writer->StoreManifest(job->summary));
  ASSIGN_OR_RETURN(job->own_copy, StoreFinishedCopy(*job->repository, job->summary));
  job->copy = CopyState::kFinished;
  job->copy_is_useless = job->summary.checksum_failures > 0;
  return Ok();
}

namespace {

// Finds out why a segment that the backup waits for does not arrive.
class ObstacleFinder {
 public:
  ObstacleFinder(BackupJob* job, const WalArchive& archive) : job_(job), archive_(archive) {}

  Status Look(const std::string& missing) {
    const SteadyTime now = job_->environment.clock->Steady();
    AskSlowPrimary(missing, now);
    NoteUnstored(missing);
    const TimelineId timeline = job_->now.timeline;
    if (timeline == 0 || timeline == job_->summary.timeline) {
      return Ok();
    }
    ASSIGN_OR_RETURN(const bool abandoned, IsAbandonedOn(timeline, missing));
    if (!abandoned) {
      return Ok();
    }
    switched_ = switched_.value_or(now);
    if (now - *switched_ < kGraceAfterSwitch) {
      return Ok();
    }
    job_->copy_is_useless = true;
    return MakeError(ErrorCode::kFailedPrecondition,
                     "backup \"{}\" needs WAL segment \"{}\", which nobody will finish: the server "
                     "has gone on to timeline {}",
                     job_->summary.label, missing, timeline)
        .WithHint("Take the backup again, on the new timeline.");
  }

 private:
  Result<bool> IsAbandonedOn(TimelineId timeline, const std::string& missing) const {
    const Result<TimelineHistory> history =
        ReadServerHistory(archive_, job_->facts.data_directory + "/pg_wal", timeline);
    if (!history && history.error().code == ErrorCode::kNotFound) {
      return false;  // it is on its way
    }
    RETURN_IF_ERROR(history);
    const std::uint64_t size = job_->summary.wal_segment_size;
    return IsAbandoned(*history, job_->summary.timeline, SegmentNumberOf(missing, size), size);
  }

  // The end of a backup on a standby lies in a segment that the primary has not finished. An idle
  // primary never finishes it by itself. It is asked to through the lock (wal_need.h), once for
  // each segment.
  void AskSlowPrimary(const std::string& missing, SteadyTime now) {
    const std::uint64_t size = job_->summary.wal_segment_size;
    const std::uint64_t received = job_->now.received;
    if (received != received_) {
      received_ = received;
      received_at_ = now;
    }
    if (received == 0 || received >= (SegmentNumberOf(missing, size) + 1) * size) {
      unfinished_since_.reset();
      return;
    }
    unfinished_since_ = unfinished_since_.value_or(now);
    const bool is_slow = now - received_at_ >= kIdle || now - *unfinished_since_ >= kSlow;
    if (!is_slow || asked_for_ == missing) {
      return;
    }
    if (const Status asked = Ask(missing); !asked) {
      if (!std::exchange(could_not_ask_, true)) {
        job_->log.Put(fmt::format("could not ask the primary to finish WAL segment \"{}\": {}",
                                  missing, asked.error().message));
      }
      return;  // the next look tries again
    }
    asked_for_ = missing;
    job_->waits_for_switch = true;
  }

  // WAL that a standby received before it archived with archive_mode = always counts as archived,
  // and the archiver does not store it. A backup begins with such WAL if no restartpoint has come
  // since. One look is not enough: the archiver may have stored the segment since the listing.
  void NoteUnstored(const std::string& missing) {
    if (!job_->archives_in_recovery || !CountsAsArchived(missing)) {
      counted_as_archived_.clear();
    } else if (std::exchange(counted_as_archived_, missing) == missing) {
      job_->waits_for_others = true;
    }
  }

  bool CountsAsArchived(const std::string& segment) const {
    const std::string wal = job_->facts.data_directory + "/pg_wal/";
    const std::string status = wal + "archive_status/" + segment;
    const std::uint64_t size = job_->summary.wal_segment_size;
    return job_->now.received >= (SegmentNumberOf(segment, size) + 1) * size &&
           access((status + ".ready").c_str(), F_OK) != 0 &&
           (access((status + ".done").c_str(), F_OK) == 0 ||
            access((wal + segment).c_str(), F_OK) != 0);
  }

  Status Ask(const std::string& missing) {
    ASSIGN_OR_RETURN(const std::string object,
                     WalObjectName(job_->summary.system_identifier, missing));
    return job_->lock->SetNeededWal(object);
  }

  BackupJob* const job_;
  const WalArchive& archive_;
  std::uint64_t received_ = 0;
  SteadyTime received_at_{};
  std::optional<SteadyTime> unfinished_since_;
  std::string asked_for_;
  bool could_not_ask_ = false;
  std::string counted_as_archived_;  // the segment of the last look, if it did
  std::optional<SteadyTime> switched_;
};

}  // namespace

Status WaitForWalOf(BackupJob* job) {
  const BackupSummary& summary = job->summary;
  const WalArchive archive(*job->repository, summary.system_identifier);
  ObstacleFinder obstacles(job, archive);
  WalWait wait;
  wait.label = summary.label;
  wait.timeline = summary.timeline;
  wait.first = SegmentOf(summary.start_lsn, summary.wal_segment_size);
  wait.last = SegmentBefore(summary.stop_lsn, summary.wal_segment_size);
  wait.segment_size = summary.wal_segment_size;
  wait.patience = job->config.backup_wal_timeout;
  wait.longest_outage = job->config.backup_retry_timeout;
  wait.obstacle = [&](const std::string& missing) { return obstacles.Look(missing); };
  Status arrived = WaitForWal(archive, job->environment, wait);
  if (arrived || arrived.error().code != ErrorCode::kDeadlineExceeded) {
    return arrived;
  }
  // Whatever the reason was, the copy is not worth a second wait of this length.
  job->copy_is_useless = job->copy_is_useless || job->completes_copy;
  // Removing the copy makes room for WAL, which is worth more: while WAL cannot be archived, pg_wal
  // grows.
  if (const Status room = RequireRoomForWal(*job->repository, summary.wal_segment_size);
      !room && room.error().code == ErrorCode::kNoSpace) {
    job->copy_is_useless = true;
    return std::move(arrived.error())
        .WithHint(
            fmt::format("The repository is full, so the copy is removed to make room for WAL. {}",
                        room.error().hint));
  }
  if (job->waits_for_others) {
    // The next backup would complete the copy and so wait for the same segment.
    job->copy_is_useless = true;
    return std::move(arrived.error())
        .WithHint(
            "This standby received it before it archived with veza_backup and archive_mode = "
            "always, so it does not store it. Run CHECKPOINT on the primary, wait until the "
            "standby has replayed it, and take the backup again.");
  }
  const char* const hint =
      job->waits_for_switch
          ? "The primary was asked to finish it, and has not done so. Run SELECT pg_switch_wal() "
            "there, or set archive_timeout. Check that it runs version 0.2 and archives to the "
            "same repository."
          : "Look for warnings of the archiver in the server log, or raise "
            "veza_backup.backup_wal_timeout.";
  return std::move(arrived.error())
      .WithHint(
          job->copy_is_useless
              ? hint
              : fmt::format("{} The copy is kept for a day. The next backup completes it, if this "
                            "server makes it and has not been restarted.",
                            hint));
}

// The last segment is enough: where two histories have parted, no later segment is the same. A
// primary has finished it by the end of the backup, and keeps it until its own archiver has found
// the same content in the repository. A copy that is completed later was made by this server since
// its start (FindFinishedCopy), so its WAL is of one history, also when the segment has left
// pg_wal, and on a standby.
Status RequireOwnWal(BackupJob* job) {
  if (job->summary.from_standby) {
    return Ok();
  }
  const std::string& segment = job->summary.stop_wal;
  Status same =
      WalArchive(*job->repository, job->summary.system_identifier)
          .RequireSame(segment, fmt::format("{}/pg_wal/{}", job->facts.data_directory, segment));
  job->copy_is_useless =
      job->copy_is_useless || (!same && same.error().code == ErrorCode::kConflict);
  return same;
}

// While the lock had lapsed, backups may have been removed: a full store may be expired without the
// lock.
Status RequireSourcesStillThere(BackupJob* job) {
  for (const SourceBackup& source : job->summary.sources) {
    const Result<BackupSummary> there = ReadBackup(*job->repository, source.label);
    if (!there && there.error().code != ErrorCode::kNotFound) {
      return there.error();
    }
    if (there && there->manifest_sha256 == source.manifest_sha256) {
      continue;
    }
    job->copy_is_useless = true;
    // Nobody would look for the mark of a backup that is gone.
    [[maybe_unused]] const Status removed =
        there ? Ok() : job->repository->store().Delete(NamedMarkName(source.label));
    return MakeError(ErrorCode::kFailedPrecondition,
                     "{}, which the {} refers to, was removed meanwhile", NameBackup(source.label),
                     BackupTypeName(job->summary.type))
        .WithHint("Take the backup again.");
  }
  return Ok();
}

namespace {

// An incr has many sources, and looking at them takes many requests. If the lock lapsed meanwhile
// and was taken back, another node may have removed one of those that were seen.
Status RequireSourcesUnderLock(BackupJob* job) {
  RETURN_IF_ERROR(job->lock->RequireHeld());
  for (;;) {
    const std::uint64_t epoch = job->lock->epoch();
    RETURN_IF_ERROR(RequireSourcesStillThere(job));
    RETURN_IF_ERROR(job->lock->RequireHeld());
    if (job->lock->epoch() == epoch) {
      return Ok();
    }
  }
}

// Hours may have passed since the copy was taken over.
Status RequireCopyStillWhole(BackupJob* job) {
  Status whole = RequireWholeCopy(*job->repository, job->summary);
  if (whole || LeavesCopyOpen(whole.error())) {
    return whole;
  }
  job->copy_is_useless = true;
  return MakeError(whole.error().code,
                   "the finished copy of backup \"{}\" is no longer complete: {}",
                   job->summary.label, whole.error().message)
      .WithHint("Take the backup again.");
}

}  // namespace

Status Commit(BackupJob* job) {
  job->patience = kOrdinaryPatience;
  if (job->completes_copy) {
    RETURN_IF_ERROR(RequireCopyStillWhole(job));
  }
  const auto guard = [job]() -> Status {
    if (job->summary.type == BackupType::kIncr) {
      RETURN_IF_ERROR(MarkAsNamed(*job->repository, job->summary.sources));
    }
    RETURN_IF_ERROR(RequireSourcesUnderLock(job));
    job->copy = CopyState::kCommitting;  // an answer may be lost
    return Ok();
  };
  if (job->completes_copy) {
    RETURN_IF_ERROR(CommitFinishedCopy(*job->repository, job->summary, *job->own_copy, guard));
  } else {
    RETURN_IF_ERROR(job->writer->Commit(job->summary, guard));
    // finished.json is of no more use. It would be removed together with the backup.
    [[maybe_unused]] const Status removed =
        job->repository->store().Delete(FinishedCopyName(job->summary.label));
  }
  // The backup exists, even if this cannot be recorded.
  if (const Status noted = EndSlot(job, SlotState::kSucceeded, ""); !noted) {
    job->log.Put(fmt::format("could not record the end of backup \"{}\": {}", job->summary.label,
                             noted.error().message));
  }
  return Ok();
}

Status RecordFailure(BackupJob* job, const std::string& error, bool canceled) {
  return EndSlot(job, canceled ? SlotState::kSkipped : SlotState::kFailed, error);
}

Status CleanUp(BackupJob* job, bool canceled) {
  const bool of_use = job->copy == CopyState::kFinished && !canceled && !job->copy_is_useless;
  if (job->copy == CopyState::kNone || job->copy == CopyState::kCommitting || of_use) {
    return Ok();
  }
  if (job->completes_copy) {
    // The process that made it may be stopped and continue later. So the rest needs a tombstone,
    // which retention writes.
    RETURN_IF_ERROR(job->lock->RequireHeld());
    return job->repository->store().Delete(FinishedCopyName(job->summary.label));
  }
  return RemoveCopy(*job->repository, job->summary.label, *job->lock, job->config.s3_connections);
}

Status ExpireOld(BackupJob* job) {
  job->patience = kOrdinaryPatience;
  const RetentionSettings settings = RetentionOf(job->config);
  if (KeepsEverything(settings)) {
    return Ok();
  }
  const Result<std::vector<RetentionDecision>> decisions =
      Expire(*job->repository, job->facts.system_identifier, settings, *job->lock,
             job->config.s3_connections);
  if (!decisions) {
    RETURN_IF_ERROR(job->environment.cancellation->Check());
    job->log.Put("could not remove old backups: " + decisions.error().message);
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

void EndWriter(BackupJob* job) {
  job->environment.cancellation->Cancel();
  job->writer.reset();
  job->environment.cancellation->Reset();
}

void ReleaseLock(BackupJob* job, std::chrono::milliseconds patience) {
  if (job == nullptr || job->lock == nullptr) {
    return;
  }
  EndWriter(job);
  FunctionCall call({}, [job, patience] { return job->lock->ReleaseWithin(patience); });
  if (call.Start()) {
    // It may fail. This process is about to end, which other processes on this machine see. Other
    // machines wait for the end of the lease.
    (void)call.Join();
  }
  // Whatever still runs ends at once, even when the lock could not be released.
  job->environment.cancellation->Cancel();
}

}  // namespace veza::pg
