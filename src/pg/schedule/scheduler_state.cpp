#include "pg/schedule/scheduler_state.h"

#include <algorithm>
#include <utility>

#include "core/repository/slot_claim.h"

namespace veza::pg {

namespace {

// A promotion does not set the latch, so it is noticed only after a nap of at most this length.
constexpr std::chrono::seconds kLongestNap{60};
constexpr std::chrono::seconds kNapWhileBackup{1};

// Smaller steps are made by every daemon that keeps the time.
constexpr std::chrono::minutes kStepBack{1};

Decision LongNap() {
  Decision decision;
  decision.nap_ms = std::chrono::milliseconds(kLongestNap).count();
  return decision;
}

Decision Nap(const SchedulerState& scheduler, std::optional<TimePoint> until) {
  Decision decision = LongNap();
  if (until) {
    const auto nap = std::chrono::ceil<std::chrono::milliseconds>(*until - scheduler.Now());
    decision.nap_ms = std::clamp<long>(nap.count(), 10, decision.nap_ms);
  }
  return decision;
}

Decision Look() {
  Decision decision;
  decision.step = Step::kLook;
  return decision;
}

NodeState StateOf(const SchedulerState& scheduler, const Situation& situation) {
  NodeState state;
  state.node = scheduler.facts.node;
  state.is_primary = situation.is_primary;
  state.has_standbys = situation.has_standbys;
  state.now = scheduler.Now();
  if (situation.backup_runs) {
    state.lock = LockUseOf(situation.backup_type);
    state.holder = state.node;
  } else if (situation.fresh) {
    state.lock = scheduler.lock;
    state.holder = scheduler.holder;
  }
  return state;
}

Decision DecideOnRecords(SchedulerState& scheduler, const Situation& situation) {
  const NodeState node = StateOf(scheduler, situation);
  SchedulePlan plan = scheduler.keeper.Plan(node);
  const bool something_is_due = plan.start.has_value() || !plan.baselines.empty();
  if (situation.backup_runs || situation.fresh || !something_is_due) {
    Decision decision = Nap(scheduler, plan.look_again);
    strlcpy(decision.skipped, scheduler.keeper.TellOnce(plan.skipped).c_str(),
            sizeof decision.skipped);
    if (situation.backup_runs) {
      decision.nap_ms = std::chrono::milliseconds(kNapWhileBackup).count();
    } else if (!plan.baselines.empty()) {
      scheduler.baselines = std::move(plan.baselines);
      decision.step = Step::kLook;
    } else if (plan.start) {
      decision.step = Step::kStart;
      decision.order.type = TypeOf(plan.start->kind);
      decision.order.slot_us = plan.start->slot.time_since_epoch().count();
      decision.order.attempt = plan.start->attempt;
    } else if (situation.fresh) {
      // Decisions on old records assume that the lock is free, and may say that something is due.
      // Do not look again before this time.
      scheduler.look_not_before = plan.look_again.value_or(node.now);
    }
    return decision;
  }
  return node.now < scheduler.look_not_before ? Nap(scheduler, scheduler.look_not_before) : Look();
}

}  // namespace

void SchedulerState::Forget() {
  stale = true;
  look_not_before = {};
}

TimePoint SchedulerState::Now() const {
  return SystemClock().Now() + correction;
}

void SchedulerState::WatchClock() {
  const Clock& clock = SystemClock();
  const TimePoint now_boot = clock.Now() - std::chrono::duration_cast<std::chrono::microseconds>(
                                               clock.Steady().time_since_epoch());
  if (boot && now_boot < *boot - kStepBack) {
    Forget();
    correction = {};  // the next look tells
    keeper.ForgetFuture(Now());
  }
  boot = now_boot;
}

void SchedulerState::Learn(const LockState& lock_state) {
  const TimePoint own = SystemClock().Now();
  correction = PlanningTime(own, lock_state.now) - own;
  keeper.ForgetFuture(Now());
  keeper.Learn(lock_state.slots);
  lock = LockUseOf(lock_state);
  holder = lock_state.node;
  stale = false;
  failed_looks = 0;
}

void SchedulerState::NoteFailedLook(const Situation& situation, const char* message) {
  (void)CatchExceptions([&] {
    if (keeper.knows_records()) {
      stale = false;
      const NodeState node = StateOf(*this, situation);
      if (const auto start = keeper.Plan(node).start) {
        keeper.NoteFailure(*start, node.node, message, node.now);
        return Ok();
      }
    }
    look_not_before = Now() + RetryPause(++failed_looks);
    return Ok();
  });
}

void SchedulerState::NoteStart(const BackupOrder& order) {
  running = SlotClaim{KindOf(order.type), TimePoint(std::chrono::microseconds(order.slot_us)),
                      order.attempt};
}

void SchedulerState::NoteFailedBackup(const char* message) {
  (void)CatchExceptions([&] {
    keeper.NoteFailure(*running, facts.node, message, Now());
    return Ok();
  });
}

Decision Decide(SchedulerState& state, const Situation& situation) {
  Decision decision = LongNap();
  const Status status = CatchExceptions([&] {
    state.WatchClock();
    if (!state.config || !state.keeper.HasSchedules()) {
      return Ok();
    }
    if (state.stale && !situation.backup_runs) {
      decision = state.Now() < state.look_not_before ? Nap(state, state.look_not_before) : Look();
    } else if (state.keeper.knows_records()) {
      decision = DecideOnRecords(state, situation);
    }
    return Ok();
  });
  return status ? decision : LongNap();
}

}  // namespace veza::pg
