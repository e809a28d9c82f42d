#include "pg/schedule/scheduler_state.h"

#include <algorithm>
#include <utility>

#include "core/repository/slot_claim.h"

namespace veza::pg {

namespace {

// A promotion does not set the latch, so it is noticed only after a nap of at most this length.
constexpr std::chrono::seconds kLongestNap{60};
constexpr std::chrono::seconds kNapWhileBackup{1};

TimePoint Now() {
  return SystemClock().Now();
}

long NapUntil(TimePoint time) {
  const auto nap = std::chrono::ceil<std::chrono::milliseconds>(time - Now());
  return std::clamp<long>(nap.count(), 10, std::chrono::milliseconds(kLongestNap).count());
}

Decision Nap(std::optional<TimePoint> until) {
  Decision decision;
  decision.nap_ms = NapUntil(until.value_or(TimePoint::max()));
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
  state.now = Now();
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
    Decision decision = Nap(plan.look_again);
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
  return node.now < scheduler.look_not_before ? Nap(scheduler.look_not_before) : Look();
}

}  // namespace

void SchedulerState::Forget() {
  stale = true;
  look_not_before = {};
}

void SchedulerState::Learn(const LockState& lock_state) {
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
  Decision decision = Nap(std::nullopt);
  const Status status = CatchExceptions([&] {
    if (!state.config || !state.keeper.HasSchedules()) {
      return Ok();
    }
    if (state.stale && !situation.backup_runs) {
      decision = Now() < state.look_not_before ? Nap(state.look_not_before) : Look();
    } else if (state.keeper.knows_records()) {
      decision = DecideOnRecords(state, situation);
    }
    return Ok();
  });
  return status ? decision : Nap(std::nullopt);
}

}  // namespace veza::pg
