#include "core/repository/drill_record.h"

#include <algorithm>
#include <utility>

#include "core/codec/document.h"
#include "core/codec/json.h"
#include "core/codec/json_fields.h"
#include "core/limits.h"
#include "core/repository/names.h"

namespace veza {

namespace {

using std::chrono::milliseconds;

// How many names to try when drills on several machines begin in the same second.
constexpr int kNameAttempts = 30;

void PutOptional(Json& document, const char* name, const std::optional<milliseconds>& duration) {
  if (duration) {
    document[name] = duration->count();
  }
}

void ReadOptional(JsonFields& fields, const char* name, std::optional<milliseconds>& duration) {
  if (fields.Has(name)) {
    std::int64_t count = 0;
    fields.Read(name, count);
    duration = milliseconds(count);
  }
}

// The bytes that a failed read has fetched: an object that is too large was fetched up to the
// limit.
std::uint64_t SizeOfFailed(const Error& error) {
  return error.code == ErrorCode::kDataCorrupted ? limits::kDrillRecord : 0;
}

// Subtracts the bytes that it has fetched from `left`. The last record that is read may exceed it.
Result<DrillRecord> ReadDrill(const Repository& repository, const std::string& name,
                              std::uint64_t* left = nullptr) {
  if (left != nullptr && *left == 0) {
    return MakeError(ErrorCode::kDataCorrupted,
                     "object \"{}\" was not read: the newer drill records are too large", name)
        .WithHint("Find out who wrote them, and delete those that are not drill records.");
  }
  const Result<Bytes> fetched = GetSmall(repository.store(), name, limits::kDrillRecord);
  if (left != nullptr) {
    *left -=
        std::min<std::uint64_t>(*left, fetched ? fetched->size() : SizeOfFailed(fetched.error()));
  }
  ASSIGN_OR_RETURN(const Bytes text, fetched);
  ASSIGN_OR_RETURN(const Json document, OpenDocument(AsText(text), repository.seal_policy(), name));
  return DrillFromJson(document, name);
}

// Maps names to labels. The order of names is that of time. Keeps the newest.
Result<std::map<std::string, std::string>> ListDrills(const Repository& repository) {
  std::map<std::string, std::string> drills;
  ASSIGN_OR_RETURN(const TimePoint now, repository.store().Now());
  const std::string ahead = FirstDrillAhead(now);
  RETURN_IF_ERROR(repository.store().List(kDrillPrefix, "", [&](const ObjectInfo& object) {
    const auto label = ParseDrillName(object.name);
    if (label && object.name < ahead) {
      drills[object.name] = *label;
    }
    if (drills.size() > limits::kDrillRecords) {
      drills.erase(drills.begin());
    }
    return Ok();
  }));
  return drills;
}

}  // namespace

Json DrillToJson(const DrillRecord& record) {
  Json phases = Json::Object();
  for (const auto& [name, duration] : record.phases) {
    phases[name] = duration.count();
  }
  Json document = {
      {"format", 1},
      {"label", record.label},
      {"system_identifier", std::to_string(record.system_identifier)},
      {"node", ValidUtf8(record.node)},
      {"target", ValidUtf8(record.target)},
      {"started", FormatUtc(record.started)},
      {"finished", FormatUtc(record.finished)},
      {"passed", record.passed},
      {"phases_ms", std::move(phases)},
      {"restored_bytes", record.restored_bytes},
      {"checks_passed", record.checks_passed},
      {"checks_failed", record.checks_failed},
      {"error", ValidUtf8(record.error)},
  };
  if (record.suspect) {
    document["suspect"] = true;
  }
  if (record.last_commit) {
    document["last_commit"] = FormatUtc(*record.last_commit);
  }
  PutOptional(document, "rto_ms", record.rto);
  PutOptional(document, "rpo_ms", record.rpo);
  return document;
}

Result<DrillRecord> DrillFromJson(const Json& document, const std::string& where) {
  JsonFields fields(document, where);
  DrillRecord record;
  fields.Read("label", record.label);
  ReadSystemIdentifier(fields, record.system_identifier);
  fields.Read("node", record.node);
  fields.Read("target", record.target);
  fields.Read("started", record.started);
  fields.Read("finished", record.finished);
  fields.Read("passed", record.passed);
  fields.Read("restored_bytes", record.restored_bytes);
  fields.Read("checks_passed", record.checks_passed);
  fields.Read("checks_failed", record.checks_failed);
  fields.Read("error", record.error);
  if (fields.Has("suspect")) {
    fields.Read("suspect", record.suspect);
  }
  if (fields.Has("last_commit")) {
    fields.Read("last_commit", record.last_commit.emplace());
  }
  ReadOptional(fields, "rto_ms", record.rto);
  ReadOptional(fields, "rpo_ms", record.rpo);
  const Json* const phases = document.Find("phases_ms");
  if (phases == nullptr || !phases->is_object()) {
    fields.Fail("member \"phases_ms\" is not an object");
  }
  if (phases != nullptr && phases->size() > limits::kDrillPhases) {
    fields.Fail("member \"phases_ms\" has too many phases");
  }
  RETURN_IF_ERROR(fields.status());
  JsonFields phase_fields(*phases, where);
  for (const auto& [name, value] : phases->members()) {
    std::int64_t count = 0;
    phase_fields.Read(name.c_str(), count);
    record.phases[name] = milliseconds(count);
  }
  RETURN_IF_ERROR(phase_fields.status());
  return record;
}

Result<std::string> StoreDrill(const Repository& repository, const DrillRecord& record) {
  TimePoint time = record.started;
  for (int attempt = 1;; ++attempt, time += std::chrono::seconds(1)) {
    const std::string name = DrillName(time, record.label);
    ASSIGN_OR_RETURN(const std::string text,
                     SignDocument(DrillToJson(record), repository.seal_policy(), name));
    const Status put = PutSmall(repository.store(), name, AsBytes(text), PutMode::kCreate);
    if (put) {
      return name;
    }
    if (put.error().code != ErrorCode::kAlreadyExists || attempt == kNameAttempts) {
      return put.error();
    }
    // This record may have been stored already by a request whose response was lost.
    const Result<Bytes> there = GetSmall(repository.store(), name, limits::kDrillRecord);
    if (there && AsText(*there) == text) {
      return name;
    }
  }
}

Result<std::vector<StoredDrill>> ReadDrills(const Repository& repository, std::uint64_t budget) {
  ASSIGN_OR_RETURN(const auto names, ListDrills(repository));
  std::vector<StoredDrill> drills;
  for (auto drill = names.rbegin(); drill != names.rend(); ++drill) {
    const auto& [name, label] = *drill;
    Result<DrillRecord> record = ReadDrill(repository, name, &budget);
    if (!record && record.error().code == ErrorCode::kNotFound) {
      continue;  // expired since it was listed
    }
    if (!record && !IsUnreadable(record.error())) {
      return record.error();
    }
    drills.push_back({name, label, std::move(record)});
  }
  std::ranges::reverse(drills);
  return drills;
}

Result<std::map<std::string, DrillRecord>> ReadLatestDrills(const Repository& repository,
                                                            std::uint64_t budget) {
  ASSIGN_OR_RETURN(const auto names, ListDrills(repository));
  std::map<std::string, DrillRecord> drills;
  // An unreadable record does not hide an older one.
  for (auto drill = names.rbegin(); drill != names.rend(); ++drill) {
    const auto& [name, label] = *drill;
    if (drills.contains(label)) {
      continue;
    }
    Result<DrillRecord> record = ReadDrill(repository, name, &budget);
    if (record) {
      drills.emplace(label, std::move(*record));
    } else if (record.error().code != ErrorCode::kNotFound && !IsUnreadable(record.error())) {
      return record.error();
    }
  }
  return drills;
}

Result<std::optional<DrillRecord>> ReadNewestDrill(const Repository& repository,
                                                   std::uint64_t system_identifier) {
  ASSIGN_OR_RETURN(const auto names, ListDrills(repository));
  for (auto drill = names.rbegin(); drill != names.rend(); ++drill) {
    Result<DrillRecord> record = ReadDrill(repository, drill->first);
    if (record && record->system_identifier == system_identifier) {
      return std::optional(std::move(*record));
    }
    if (!record && record.error().code != ErrorCode::kNotFound && !IsUnreadable(record.error())) {
      return record.error();
    }
  }
  return std::optional<DrillRecord>();
}

std::optional<TimePoint> LastPassed(const std::vector<StoredDrill>& drills) {
  std::optional<TimePoint> last;
  for (const StoredDrill& drill : drills) {
    if (drill.record && drill.record->passed) {
      last = std::max(last.value_or(TimePoint::min()), drill.record->started);
    }
  }
  return last;
}

}  // namespace veza
