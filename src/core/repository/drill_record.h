// The results of restore drills: drill/<time>-<label> (FORMAT.md section 10).
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/codec/json.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/limits.h"
#include "core/repository/repository.h"

namespace veza {

struct DrillRecord {
  std::string label{};  // of the backup; empty when none was chosen
  std::uint64_t system_identifier = 0;
  std::string node{};  // where the drill ran
  std::string target{};
  TimePoint started{};
  TimePoint finished{};
  bool passed = false;
  bool suspect = false;  // the backup is a diff that may lack changes (suspect_diff.h)
  // The duration of each phase that was begun, by name: "restore", "recovery", "checks", …
  std::map<std::string, std::chrono::milliseconds> phases{};
  std::uint64_t restored_bytes = 0;
  // The time of the last replayed commit, by the primary's clock.
  std::optional<TimePoint> last_commit{};
  std::optional<std::chrono::milliseconds> rto{};  // from an empty directory to an open database
  // How old the restored data were when the drill began.
  std::optional<std::chrono::milliseconds> rpo{};
  std::uint64_t checks_passed = 0;
  std::uint64_t checks_failed = 0;
  std::string error{};  // empty when it passed
};

// In DrillToJson, text that is not UTF-8 gets U+FFFD in place of the invalid bytes. `where` names
// the source in errors.
Json DrillToJson(const DrillRecord& record);
Result<DrillRecord> DrillFromJson(const Json& document, const std::string& where);

// Stores the record, whose label must be set. Returns the name of the object.
Result<std::string> StoreDrill(const Repository& repository, const DrillRecord& record);

struct StoredDrill {
  std::string name;  // of the object
  std::string label;
  Result<DrillRecord> record;  // an error when the object is damaged, forged or was not read
};

// All drill records, oldest first; at most the newest limits::kDrillRecords. Records whose time is
// in the future are ignored (FirstDrillAhead), here and in the functions below. The newest records
// are read first. When they exceed `budget` bytes, the older ones are not read, and their `record`
// is an error.
Result<std::vector<StoredDrill>> ReadDrills(const Repository& repository,
                                            std::uint64_t budget = limits::kDrillRecordsStored);
// The newest readable record of each backup, by label, within `budget`. Makes one request for each
// label, and one for each newer record that cannot be read.
Result<std::map<std::string, DrillRecord>> ReadLatestDrills(
    const Repository& repository, std::uint64_t budget = limits::kDrillRecordsStored);
// The newest readable record of a system. Reads only that one and those that are newer.
Result<std::optional<DrillRecord>> ReadNewestDrill(const Repository& repository,
                                                   std::uint64_t system_identifier);
// When the newest drill that passed began. nullopt when none has passed.
std::optional<TimePoint> LastPassed(const std::vector<StoredDrill>& drills);

}  // namespace veza
