#include "core/repository/lock_document.h"

#include <array>
#include <optional>
#include <utility>

#include "core/codec/document.h"
#include "core/codec/json.h"
#include "core/codec/json_fields.h"
#include "core/repository/names.h"

namespace veza {

namespace {

constexpr const char* kHeld = "held";
constexpr const char* kReleased = "released";

struct SlotStateWithName {
  SlotState state;
  const char* name;
};
constexpr std::array<SlotStateWithName, 5> kSlotStates{{{SlotState::kNone, "none"},
                                                        {SlotState::kRunning, "running"},
                                                        {SlotState::kSucceeded, "succeeded"},
                                                        {SlotState::kFailed, "failed"},
                                                        {SlotState::kSkipped, "skipped"}}};

std::optional<SlotState> SlotStateFrom(std::string_view name) {
  for (const SlotStateWithName& known : kSlotStates) {
    if (known.name == name) {
      return known.state;
    }
  }
  return std::nullopt;
}

Json ToJson(const SlotRecord& record) {
  return {{"slot", FormatUtc(record.slot)},      {"state", SlotStateName(record.state)},
          {"attempts", record.attempts},         {"node", ValidUtf8(record.node)},
          {"label", ValidUtf8(record.label)},    {"error", ValidUtf8(record.error)},
          {"updated", FormatUtc(record.updated)}};
}

Result<SlotRecord> SlotFrom(const Json& object, const std::string& where) {
  JsonFields fields(object, where);
  SlotRecord record;
  std::string state;
  fields.Read("slot", record.slot);
  fields.Read("state", state);
  fields.Read("attempts", record.attempts);
  fields.Read("node", record.node);
  fields.Read("label", record.label);
  fields.Read("error", record.error);
  fields.Read("updated", record.updated);
  if (const auto known = SlotStateFrom(state)) {
    record.state = *known;
  } else {
    fields.Fail("member \"state\" of a slot is not known");
  }
  RETURN_IF_ERROR(fields.status());
  return record;
}

}  // namespace

const char* SlotStateName(SlotState state) {
  for (const SlotStateWithName& known : kSlotStates) {
    if (known.state == state) {
      return known.name;
    }
  }
  return "none";
}

Result<std::string> SerializeLock(const LockDocument& lock, std::uint64_t epoch,
                                  const SealPolicy& policy) {
  Json slots = Json::Object();
  for (const auto& [schedule, record] : lock.slots) {
    slots[schedule] = ToJson(record);
  }
  Json document = {{"format", 1},
                   {"state", lock.held ? kHeld : kReleased},
                   {"holder", lock.holder},
                   {"node", ValidUtf8(lock.node)},
                   {"process", lock.process},
                   {"purpose", ValidUtf8(lock.purpose)},
                   {"acquired", FormatUtc(lock.acquired)},
                   {"lease_seconds", lock.lease.count()},
                   {"slots", std::move(slots)}};
  if (!lock.needs_wal.empty()) {
    document["needs_wal"] = lock.needs_wal;
  }
  return SignDocument(std::move(document), policy, LockName(epoch));
}

Result<LockDocument> ParseLock(std::string_view text, std::uint64_t epoch,
                               const SealPolicy& policy) {
  const std::string name = LockName(epoch);
  ASSIGN_OR_RETURN(const Json document, OpenDocument(text, policy, name));
  JsonFields fields(document, name);
  LockDocument lock;
  std::string state;
  fields.Read("state", state);
  fields.Read("holder", lock.holder);
  fields.Read("node", lock.node);
  fields.Read("process", lock.process);
  fields.Read("purpose", lock.purpose);
  fields.Read("acquired", lock.acquired);
  ReadLeaseSeconds(fields, lock.lease);
  if (fields.Has("needs_wal")) {
    fields.Read("needs_wal", lock.needs_wal);
  }
  if (state != kHeld && state != kReleased) {
    fields.Fail("member \"state\" is neither \"held\" nor \"released\"");
  }
  const Json* const slots = document.Find("slots");
  if (slots == nullptr || !slots->is_object()) {
    fields.Fail("member \"slots\" is not an object");
  }
  RETURN_IF_ERROR(fields.status());
  lock.held = state == kHeld;
  for (const auto& [schedule, object] : slots->members()) {
    ASSIGN_OR_RETURN(lock.slots[schedule], SlotFrom(object, name));
  }
  return lock;
}

}  // namespace veza
