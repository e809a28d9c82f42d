// What the scheduler knows and decides, without waiting: between the planner (core/schedule) and
// the process (scheduler.cpp). Nothing here calls PostgreSQL but to copy memory; nothing throws.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/config/config.h"
#include "core/repository/cluster_lock.h"
#include "core/schedule/schedule_keeper.h"
#include "pg/server_repository.h"
//
#include "pg/backup/backup_slot.h"

namespace veza::pg {

// What the main thread asks the server before a decision. Plain memory, as is a decision.
struct Situation {
  bool is_primary;
  bool has_standbys;
  bool backup_runs;  // on this server, whoever asked for it
  bool backup_is_full;
  bool fresh;  // the records have just been read
};

enum class Step {
  kNap,
  kLook,   // read the records, after recording baselines
  kStart,  // a backup
};
struct Decision {
  Step step = Step::kNap;
  long nap_ms = 0;
  BackupOrder order{};
  char skipped[512] = "";  // a sentence for the log
};

struct SchedulerState {
  ScheduleKeeper keeper;
  std::optional<Config> config;  // nothing: there is no repository, or the settings are not usable
  ServerFacts facts;
  LockUse lock = LockUse::kFree;  // as last read
  std::string holder;
  bool stale = true;  // the records have changed, or have never been read
  TimePoint look_not_before{};
  int failed_looks = 0;
  std::vector<ScheduleKind> baselines;  // to be recorded by the next look
  std::optional<SlotClaim> running;     // our backup worker is at it

  // Everything that was known may be wrong: another repository, another role, a backup has ended.
  void Forget();
  void Learn(const LockState& lock_state);
  // What is due has failed with the look; without anything due, the next look waits.
  void NoteFailedLook(const Situation& situation, const char* message);
  void NoteStart(const BackupOrder& order);
  // The backup that was started, or could not be.
  void NoteFailedBackup(const char* message);
};

Decision Decide(SchedulerState& state, const Situation& situation);

}  // namespace veza::pg
