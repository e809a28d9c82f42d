#include "core/schedule/schedule_keeper.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace veza {
namespace {

bool Differs(const std::optional<Schedule>& a, const std::optional<Schedule>& b,
             bool another_zone) {
  if (!a || !b) {
    return a.has_value() != b.has_value();
  }
  return another_zone || a->text() != b->text();
}

}  // namespace

void ScheduleKeeper::SetSettings(ScheduleSettings settings, TimePoint now) {
  if (settings_) {
    const bool another_zone = settings_->zone.name() != settings.zone.name();
    for (const ScheduleKind kind : kScheduleKinds) {
      if (Differs(ScheduleOf(*settings_, kind), ScheduleOf(settings, kind), another_zone)) {
        since_[kind] = now;
      }
    }
  }
  settings_ = std::move(settings);
}

TimePoint ScheduleKeeper::since(ScheduleKind kind) const {
  const auto since = since_.find(kind);
  return since == since_.end() ? TimePoint() : since->second;
}

void ScheduleKeeper::SetSince(ScheduleKind kind, TimePoint time) {
  since_[kind] = time;
}

void ScheduleKeeper::Learn(SlotRecords records) {
  records_ = std::move(records);
  std::erase_if(failures_, [this](const auto& entry) {
    const auto& [kind, failure] = entry;
    const auto found = records_->find(kind);
    return found != records_->end() &&
           !MayClaim(&found->second, {ScheduleKind::kFull, failure.slot, failure.attempts});
  });
}

void ScheduleKeeper::ForgetFuture(TimePoint now) {
  for (auto& [kind, since] : since_) {
    since = std::min(since, now);
  }
  RemoveFutureSlots(failures_, now);
}

void ScheduleKeeper::NoteFailure(const SlotClaim& claim, const std::string& node,
                                 const std::string& error, TimePoint now) {
  SlotRecord& failure = failures_[ScheduleKindName(claim.kind)];
  failure = {};
  failure.slot = claim.slot;
  failure.state = SlotState::kFailed;
  failure.attempts = claim.attempt;
  failure.node = node;
  failure.error = error;
  failure.updated = now;
}

SlotRecords ScheduleKeeper::Records() const {
  SlotRecords records = failures_;
  if (records_) {
    records.insert(records_->begin(), records_->end());
  }
  return records;
}

PlannerInput ScheduleKeeper::Input(const NodeState& state) const {
  PlannerInput input;
  input.settings = &*settings_;
  input.node = state.node;
  input.is_primary = state.is_primary;
  input.has_standbys = state.has_standbys;
  input.since = since_;
  input.records = Records();
  input.lock = state.lock;
  input.holder = state.holder;
  input.now = state.now;
  return input;
}

SchedulePlan ScheduleKeeper::Plan(const NodeState& state) const {
  return PlanSchedule(Input(state));
}

std::optional<TimePoint> ScheduleKeeper::Next(const NodeState& state, ScheduleKind kind) const {
  return NextRun(Input(state), kind);
}

std::string ScheduleKeeper::TellOnce(const std::vector<SkippedSlot>& skipped) {
  std::string text;
  for (const SkippedSlot& one : skipped) {
    TimePoint& last = skipped_[one.kind];
    if (std::exchange(last, one.slot) != one.slot) {
      text += fmt::format("{}skipping the {} backup scheduled for {}: {}", text.empty() ? "" : "; ",
                          ScheduleKindName(one.kind), FormatUtc(one.slot), one.reason);
    }
  }
  return text;
}

}  // namespace veza
