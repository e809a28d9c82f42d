// The content of lock/<epoch> (FORMAT.md section 8).
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/codec/seal.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/schedule/slot_record.h"

namespace veza {

const char* SlotStateName(SlotState state);  // "none", "running", …

struct LockDocument {
  bool held = false;
  std::string holder{};  // 32 hexadecimal digits, random for each acquisition
  std::string node{};
  std::string process{};  // IdentifyThisProcess(); may be empty
  std::string purpose{};
  TimePoint acquired{};  // by the store's clock
  std::chrono::seconds lease{0};
  SlotRecords slots{};
  // For a backup on a standby: the WAL object that it waits for. The object exists only after the
  // primary has switched to the next segment (wal_need.h). Empty when the backup needs no help.
  std::string needs_wal{};
};

// SerializeLock signs and prints; text that is not UTF-8, such as error messages, is stored with
// U+FFFD in place of the invalid bytes. ParseLock checks the signature and every member. Errors
// name the object.
Result<std::string> SerializeLock(const LockDocument& lock, std::uint64_t epoch,
                                  const SealPolicy& policy);
Result<LockDocument> ParseLock(std::string_view text, std::uint64_t epoch,
                               const SealPolicy& policy);

}  // namespace veza
