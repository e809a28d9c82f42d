// What became of restore drills: drill/<time>-<label> (FORMAT.md section 10).
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
  std::string label{};  // of the backup; empty while none was chosen
  std::uint64_t system_identifier = 0;
  std::string node{};  // where the drill took place
  std::string target{};
  TimePoint started{};
  TimePoint finished{};
  bool passed = false;
  bool suspect = false;  // the backup is a diff that is not to be trusted (suspect_diff.h)
  // By name: "restore", "recovery", "checks", …; those that were begun.
  std::map<std::string, std::chrono::milliseconds> phases{};
  std::uint64_t restored_bytes = 0;
  std::optional<TimePoint> last_commit{};  // the last that was replayed, by the primary's clock
  std::optional<std::chrono::milliseconds> rto{};  // from nothing to an open database
  std::optional<std::chrono::milliseconds> rpo{};  // age of what was restored, at the start
  std::uint64_t checks_passed = 0;
  std::uint64_t checks_failed = 0;
  std::string error{};  // empty when it passed
};

// Text that is not UTF-8 gets U+FFFD in place of what is wrong. `where` names the source in errors.
Json DrillToJson(const DrillRecord& record);
Result<DrillRecord> DrillFromJson(const Json& document, const std::string& where);

// Stores the record, which has a label. Returns the name of its object.
Result<std::string> StoreDrill(const Repository& repository, const DrillRecord& record);

struct StoredDrill {
  std::string name;  // of the object
  std::string label;
  Result<DrillRecord> record;  // an error when it is damaged or forged
};

// Oldest first: all of them, as far as limits::kDrillRecords go, but none of a time that is still
// to come (FirstDrillAhead). So do the others.
// Those that are older than `budget` bytes of newer ones are not read, which is an error of theirs.
Result<std::vector<StoredDrill>> ReadDrills(const Repository& repository,
                                            std::uint64_t budget = limits::kDrillRecordsStored);
// The newest of each label that can be read, by label, within `budget`. One request each, and one
// for each newer one that cannot be read.
Result<std::map<std::string, DrillRecord>> ReadLatestDrills(
    const Repository& repository, std::uint64_t budget = limits::kDrillRecordsStored);
// The newest of a system that can be read. Reads no others but those behind it.
Result<std::optional<DrillRecord>> ReadNewestDrill(const Repository& repository,
                                                   std::uint64_t system_identifier);
// When the newest of the drills that passed began.
std::optional<TimePoint> LastPassed(const std::vector<StoredDrill>& drills);

}  // namespace veza
