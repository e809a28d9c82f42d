// Builds and parses every object name of the repository (FORMAT.md section 1).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/environment.h"
#include "core/error.h"

namespace veza {

enum class BackupType { kFull, kDiff, kIncr };
const char* BackupTypeName(BackupType type);  // "full", "diff", "incr"

// The document by which writers of a repository may use version 2 (format_mark.h).
inline constexpr std::string_view kFormatMarkName = "format/2";
inline constexpr std::string_view kIdentityPrefix = "identity/";
inline constexpr std::string_view kKeyPrefix = "key/";
inline constexpr std::string_view kBackupPrefix = "backup/";
inline constexpr std::string_view kWalPrefix = "wal/";
inline constexpr std::string_view kLockPrefix = "lock/";
inline constexpr std::string_view kPinPrefix = "pin/";
inline constexpr std::string_view kLeasePrefix = "lease/";
inline constexpr std::string_view kGapPrefix = "gap/";
inline constexpr std::string_view kIndexPrefix = "walindex/";
inline constexpr std::string_view kDrillPrefix = "drill/";
inline constexpr std::string_view kDamagePrefix = "damage/";
inline constexpr std::string_view kProbePrefix = "probe/";
// The object that tests whether a store honours conditional writes
// (core/storage/conditional_writes.h). It is never deleted.
inline constexpr std::string_view kConditionalWriteProbe = "probe/conditional-writes";

std::string IdentityName(std::uint64_t system_identifier);
std::string KeyWrapName(std::string_view key_id_hex, std::string_view wrap_id_hex);

// kInvalidArgument when `file` is not the name of a WAL file.
Result<std::string> WalObjectName(std::uint64_t system_identifier, std::string_view file);
std::string WalSystemPrefix(std::uint64_t system_identifier);
std::string WalTimelinePrefix(std::uint64_t system_identifier, std::uint32_t timeline);

std::string FullLabel(TimePoint start);
std::string DiffLabel(std::string_view full_label, TimePoint start);
// `full_label` is the full that the incr builds on, directly or through others.
std::string IncrLabel(std::string_view full_label, TimePoint start);
// The type of a backup, and the label of its full (its own for a full). nullopt for a text that is
// not a label.
struct LabelParts {
  BackupType type = BackupType::kFull;
  std::string full_label;
};
std::optional<LabelParts> ParseLabel(std::string_view label);
// The backup for messages: `full backup "<label>"`, `diff "<label>"`, `incr "<label>"`.
std::string NameBackup(std::string_view label);
// When the backup was begun, as text: "20261122-020000"; for a diff or an incr, its own time. The
// order of these texts is that of the times. Empty for a text that is not a label.
std::string_view LabelTimeText(std::string_view label);
// The same as a time. nullopt also when the date does not exist.
std::optional<TimePoint> ParseLabelTime(std::string_view label);

std::string BackupDirectory(std::string_view label);  // ends with '/'
std::string PackName(std::string_view label, std::uint32_t number);
// The pack's number. nullopt if `name` is not the name of a pack of this backup.
std::optional<std::uint32_t> ParsePackName(std::string_view label, std::string_view name);
std::string ManifestName(std::string_view label);
std::string BackupDocumentName(std::string_view label);
// The text of the future backup.json, stored while the backup waits for the WAL that it needs.
std::string FinishedCopyName(std::string_view label);

std::string PinName(std::string_view label);
// Says that an incr names packs of this backup. Version 0.1, which cannot read incrs, takes it for
// a pin of the backup, and so does not delete it (FORMAT.md section 9). ParseNamedMark returns the
// label; nullopt for any other name.
std::string NamedMarkName(std::string_view label);
std::optional<std::string> ParseNamedMark(std::string_view name);

// `id` is 16 hexadecimal digits. The name begins with the backup's label, and so for a diff or an
// incr with the label of its full. ParseLeaseName returns the label; nullopt for any other name.
std::string LeaseName(std::string_view label, std::string_view id);
std::optional<std::string> ParseLeaseName(std::string_view name);

// `first` and `last` are names of WAL segments.
std::string GapPrefix(std::uint64_t system_identifier);
std::string GapName(std::uint64_t system_identifier, std::string_view first, std::string_view last);

// Index objects (core/wal_index/index_object.h). `first` and `last` are names of segments, `id` is
// 16 hexadecimal digits. The order of the names of one timeline is that of `first`.
std::string IndexSystemPrefix(std::uint64_t system_identifier);
std::string IndexTimelinePrefix(std::uint64_t system_identifier, std::uint32_t timeline);
std::string IndexObjectName(std::uint64_t system_identifier, std::string_view first,
                            std::string_view last, std::uint32_t reader_version,
                            std::string_view id);

// The order of these names is the order of their times. ParseDrillName returns the label; nullopt
// for any other name.
std::string DrillName(TimePoint started, std::string_view label);
// The first name that lies in the future by more than clocks may differ. Records with this name or
// a later one are ignored. Otherwise they could displace the true ones.
std::string FirstDrillAhead(TimePoint now);
std::optional<std::string> ParseDrillName(std::string_view name);

// Says that a verification has found the backup damaged (damage_record.h). ParseDamageName returns
// the label; nullopt for any other name.
std::string DamageName(std::string_view label);
std::optional<std::string> ParseDamageName(std::string_view name);

// Epochs have ten decimal digits, so that the order of names is the order of epochs. ParseLockName
// returns nullopt for any other name.
std::string LockName(std::uint64_t epoch);
std::optional<std::uint64_t> ParseLockName(std::string_view name);

}  // namespace veza
