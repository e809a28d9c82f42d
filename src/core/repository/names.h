// Every object name of the repository is built and taken apart here (FORMAT.md section 1).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/environment.h"
#include "core/error.h"

namespace veza {

enum class BackupType { kFull, kDiff };
const char* BackupTypeName(BackupType type);  // "full", "diff"

inline constexpr std::string_view kIdentityPrefix = "identity/";
inline constexpr std::string_view kKeyPrefix = "key/";
inline constexpr std::string_view kBackupPrefix = "backup/";
inline constexpr std::string_view kLockPrefix = "lock/";
inline constexpr std::string_view kPinPrefix = "pin/";
inline constexpr std::string_view kLeasePrefix = "lease/";
inline constexpr std::string_view kGapPrefix = "gap/";
inline constexpr std::string_view kDrillPrefix = "drill/";
inline constexpr std::string_view kProbePrefix = "probe/";
// With which a store is tried before it is written to (core/storage/conditional_writes.h). It
// stays.
inline constexpr std::string_view kConditionalWriteProbe = "probe/conditional-writes";

std::string IdentityName(std::uint64_t system_identifier);
std::string KeyWrapName(std::string_view key_id_hex, std::string_view wrap_id_hex);

// kInvalidArgument when `file` is not the name of a WAL file.
Result<std::string> WalObjectName(std::uint64_t system_identifier, std::string_view file);
std::string WalSystemPrefix(std::uint64_t system_identifier);
std::string WalTimelinePrefix(std::uint64_t system_identifier, std::uint32_t timeline);

std::string FullLabel(TimePoint start);
std::string DiffLabel(std::string_view full_label, TimePoint start);
// Nothing for what is not a label; otherwise its type, and for a diff the label of its full.
struct LabelParts {
  BackupType type = BackupType::kFull;
  std::string full_label;
};
std::optional<LabelParts> ParseLabel(std::string_view label);
// When the backup was begun: "20261122-020000", for a diff its own time. Compares as the times do.
// Empty for what is not a label.
std::string_view LabelTimeText(std::string_view label);
// The same as a time; nothing also when there is no such date.
std::optional<TimePoint> ParseLabelTime(std::string_view label);

std::string BackupDirectory(std::string_view label);  // ends with '/'
std::string PackName(std::string_view label, std::uint32_t number);
// The number, when this is the name of a pack of the backup.
std::optional<std::uint32_t> ParsePackName(std::string_view label, std::string_view name);
std::string ManifestName(std::string_view label);
std::string BackupDocumentName(std::string_view label);
// What backup.json will be, while the WAL of the copy is waited for.
std::string FinishedCopyName(std::string_view label);

std::string PinName(std::string_view label);

// `id`: 16 hexadecimal digits. The name begins with the label and, as that of a diff does, with
// that of its full. Nothing for another name; otherwise the label.
std::string LeaseName(std::string_view label, std::string_view id);
std::optional<std::string> ParseLeaseName(std::string_view name);

// `first` and `last` are names of segments.
std::string GapPrefix(std::uint64_t system_identifier);
std::string GapName(std::uint64_t system_identifier, std::string_view first, std::string_view last);
// The order of names is that of the times. Nothing for another name; otherwise the label.
std::string DrillName(TimePoint started, std::string_view label);
// Names of records from here on are of a time that is still to come, by more than clocks differ:
// they do not count, or they would push out the true ones.
std::string FirstDrillAhead(TimePoint now);
std::optional<std::string> ParseDrillName(std::string_view name);

// Epochs have ten decimal digits, so that the order of names is theirs. Nothing for another name.
std::string LockName(std::uint64_t epoch);
std::optional<std::uint64_t> ParseLockName(std::string_view name);

}  // namespace veza
