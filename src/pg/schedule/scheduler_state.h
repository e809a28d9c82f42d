// What the scheduler knows and decides, without waiting. It lies between the planner
// (core/schedule) and the process (scheduler.cpp). Calls nothing of PostgreSQL but functions that
// copy memory. Does not throw.
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

// What the main thread asks the server before a decision. Situation and Decision are plain memory.
struct Situation {
  bool is_primary;
  bool has_standbys;
  bool backup_runs;  // on this server, started by anybody
  BackupType backup_type;
  bool fresh;  // the records have just been read
};

enum class Step {
  kNap,
  kLook,   // record baselines, then read the records
  kStart,  // start a backup
};
struct Decision {
  Step step = Step::kNap;
  long nap_ms = 0;
  BackupOrder order{};
  char skipped[1024] = "";  // a message for the log; empty when there is none
};

struct SchedulerState {
  ScheduleKeeper keeper;
  std::optional<Config> config;  // absent: there is no repository, or the settings are not usable
  ServerFacts facts;
  LockUse lock = LockUse::kFree;  // as last read
  std::string holder;
  bool stale = true;  // the records have changed, or have never been read
  TimePoint look_not_before{};
  int failed_looks = 0;
  std::vector<ScheduleKind> baselines;  // to be recorded by the next look
  std::optional<SlotClaim> running;     // what our backup worker does
  // What to add to this node's clock: 0, unless it differs much from the store's.
  std::chrono::microseconds correction{0};
  // The clock against the one that nobody sets, when it was last looked at.
  std::optional<TimePoint> boot;

  // By this node's clock. By the store's, if they differ much: all nodes must agree on slots.
  TimePoint Now() const;
  // If the clock was set back, what was planned by it is forgotten.
  void WatchClock();

  // Called when everything known may be wrong: another repository, another role, or a backup has
  // ended.
  void Forget();
  void Learn(const LockState& lock_state);
  // Called when a look failed. What is due counts as failed. When nothing is due, the next look
  // waits.
  void NoteFailedLook(const Situation& situation, const char* message);
  void NoteStart(const BackupOrder& order);
  // Called when the backup that was started has failed, or could not be started.
  void NoteFailedBackup(const char* message);
};

// Decides what the scheduler does next. In trouble it decides to nap.
Decision Decide(SchedulerState& state, const Situation& situation);

}  // namespace veza::pg
