#include "core/repository/names.h"

#include <algorithm>
#include <charconv>
#include <ctime>

#include "core/clock_tolerance.h"
#include "core/postgres/lsn.h"

namespace veza {

namespace {

constexpr std::string_view kNamedSuffix = ".named";

std::string LabelTime(TimePoint time) {
  const std::time_t seconds =
      std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y%m%d-%H%M%S", &parts)};
}

// "20261122-020000".
bool IsLabelTime(std::string_view text) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  return text.size() == 15 && text[8] == '-' &&
         std::all_of(text.begin(), text.begin() + 8, is_digit) &&
         std::all_of(text.begin() + 9, text.end(), is_digit);
}

bool IsLabelPart(std::string_view text, char letter) {
  return text.size() == 16 && text[15] == letter && IsLabelTime(text.substr(0, 15));
}

}  // namespace

const char* BackupTypeName(BackupType type) {
  switch (type) {
    case BackupType::kFull:
      return "full";
    case BackupType::kDiff:
      return "diff";
    case BackupType::kIncr:
      return "incr";
  }
  return "unknown";
}

std::string IdentityName(std::uint64_t system_identifier) {
  return fmt::format("{}{}", kIdentityPrefix, system_identifier);
}

std::string KeyWrapName(std::string_view key_id_hex, std::string_view wrap_id_hex) {
  return fmt::format("{}{}.{}", kKeyPrefix, key_id_hex, wrap_id_hex);
}

Result<std::string> WalObjectName(std::uint64_t system_identifier, std::string_view file) {
  const auto parsed = ParseWalFileName(file);
  if (!parsed) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not the name of a WAL file", file);
  }
  if (parsed->kind == WalFileKind::kTimelineHistory) {
    return WalTimelinePrefix(system_identifier, parsed->timeline) + std::string(file);
  }
  return fmt::format("{}{}/{}", WalTimelinePrefix(system_identifier, parsed->timeline),
                     parsed->segment_name.substr(8, 8), file);
}

std::string WalSystemPrefix(std::uint64_t system_identifier) {
  return fmt::format("{}{}/", kWalPrefix, system_identifier);
}

std::string WalTimelinePrefix(std::uint64_t system_identifier, std::uint32_t timeline) {
  return fmt::format("{}{}/{:08X}/", kWalPrefix, system_identifier, timeline);
}

std::string FullLabel(TimePoint start) {
  return LabelTime(start) + "F";
}

std::string DiffLabel(std::string_view full_label, TimePoint start) {
  return fmt::format("{}_{}D", full_label, LabelTime(start));
}

std::string IncrLabel(std::string_view full_label, TimePoint start) {
  return fmt::format("{}_{}I", full_label, LabelTime(start));
}

std::optional<LabelParts> ParseLabel(std::string_view label) {
  if (IsLabelPart(label, 'F')) {
    return LabelParts{BackupType::kFull, std::string(label)};
  }
  if (label.size() != 33 || label[16] != '_' || !IsLabelPart(label.substr(0, 16), 'F')) {
    return std::nullopt;
  }
  const std::string_view own = label.substr(17);
  if (IsLabelPart(own, 'D')) {
    return LabelParts{BackupType::kDiff, std::string(label.substr(0, 16))};
  }
  if (IsLabelPart(own, 'I')) {
    return LabelParts{BackupType::kIncr, std::string(label.substr(0, 16))};
  }
  return std::nullopt;
}

std::string NameBackup(std::string_view label) {
  const auto parts = ParseLabel(label);
  if (!parts || parts->type == BackupType::kFull) {
    return fmt::format("full backup \"{}\"", label);
  }
  return fmt::format("{} \"{}\"", BackupTypeName(parts->type), label);
}

std::string_view LabelTimeText(std::string_view label) {
  return ParseLabel(label) ? label.substr(label.size() - 16, 15) : std::string_view();
}

std::optional<TimePoint> ParseLabelTime(std::string_view label) {
  const std::string_view text = LabelTimeText(label);
  if (text.empty()) {
    return std::nullopt;
  }
  const auto part = [&](std::size_t from, std::size_t size) { return text.substr(from, size); };
  const Result<TimePoint> time =
      ParseUtc(fmt::format("{}-{}-{}T{}:{}:{}Z", part(0, 4), part(4, 2), part(6, 2), part(9, 2),
                           part(11, 2), part(13, 2)));
  return time ? std::optional(*time) : std::nullopt;
}

std::string BackupDirectory(std::string_view label) {
  return fmt::format("{}{}/", kBackupPrefix, label);
}

std::string PackName(std::string_view label, std::uint32_t number) {
  return fmt::format("{}{}/pack/{:08}", kBackupPrefix, label, number);
}

std::optional<std::uint32_t> ParsePackName(std::string_view label, std::string_view name) {
  const std::string_view digits = name.substr(name.rfind('/') + 1);
  std::uint32_t number = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (number == 0 || PackName(label, number) != name) {
    return std::nullopt;
  }
  return number;
}

std::string ManifestName(std::string_view label) {
  return BackupDirectory(label) + "manifest";
}

std::string BackupDocumentName(std::string_view label) {
  return BackupDirectory(label) + "backup.json";
}

std::string FinishedCopyName(std::string_view label) {
  return BackupDirectory(label) + "finished.json";
}

std::string GapPrefix(std::uint64_t system_identifier) {
  return fmt::format("{}{}/", kGapPrefix, system_identifier);
}

std::string GapName(std::uint64_t system_identifier, std::string_view first,
                    std::string_view last) {
  return fmt::format("{}{}-{}", GapPrefix(system_identifier), first, last);
}

std::string IndexSystemPrefix(std::uint64_t system_identifier) {
  return fmt::format("{}{}/", kIndexPrefix, system_identifier);
}

std::string IndexTimelinePrefix(std::uint64_t system_identifier, std::uint32_t timeline) {
  return fmt::format("{}{:08X}/", IndexSystemPrefix(system_identifier), timeline);
}

std::string IndexObjectName(std::uint64_t system_identifier, std::string_view first,
                            std::string_view last, std::uint32_t reader_version,
                            std::string_view id) {
  return fmt::format("{}{}/{}-{}-{}-{}", IndexSystemPrefix(system_identifier), first.substr(0, 8),
                     first, last, reader_version, id);
}

std::string PinName(std::string_view label) {
  return fmt::format("{}{}", kPinPrefix, label);
}

std::string NamedMarkName(std::string_view label) {
  return fmt::format("{}{}{}", kPinPrefix, label, kNamedSuffix);
}

std::optional<std::string> ParseNamedMark(std::string_view name) {
  if (!name.starts_with(kPinPrefix) || !name.ends_with(kNamedSuffix)) {
    return std::nullopt;
  }
  name.remove_prefix(kPinPrefix.size());
  const std::string_view label = name.substr(0, name.size() - kNamedSuffix.size());
  return ParseLabel(label) ? std::optional(std::string(label)) : std::nullopt;
}

std::string LeaseName(std::string_view label, std::string_view id) {
  return fmt::format("{}{}.{}", kLeasePrefix, label, id);
}

std::optional<std::string> ParseLeaseName(std::string_view name) {
  constexpr std::size_t kIdSize = 16;
  if (!name.starts_with(kLeasePrefix)) {
    return std::nullopt;
  }
  name.remove_prefix(kLeasePrefix.size());
  const std::size_t dot = name.find('.');
  if (dot == std::string_view::npos || !ParseLabel(name.substr(0, dot))) {
    return std::nullopt;
  }
  const std::string_view id = name.substr(dot + 1);
  const bool valid = id.size() == kIdSize && std::all_of(id.begin(), id.end(), [](char c) {
                       return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
                     });
  return valid ? std::optional(std::string(name.substr(0, dot))) : std::nullopt;
}

std::string DrillName(TimePoint started, std::string_view label) {
  return fmt::format("{}{}-{}", kDrillPrefix, LabelTime(started), label);
}

std::string FirstDrillAhead(TimePoint now) {
  return DrillName(now + kClockTolerance, "");
}

std::optional<std::string> ParseDrillName(std::string_view name) {
  constexpr std::size_t kTimeSize = 15;
  if (!name.starts_with(kDrillPrefix)) {
    return std::nullopt;
  }
  name.remove_prefix(kDrillPrefix.size());
  if (name.size() <= kTimeSize || !IsLabelTime(name.substr(0, kTimeSize)) ||
      name[kTimeSize] != '-' || !ParseLabel(name.substr(kTimeSize + 1))) {
    return std::nullopt;
  }
  return std::string(name.substr(kTimeSize + 1));
}

std::string DamageName(std::string_view label) {
  return fmt::format("{}{}", kDamagePrefix, label);
}

std::optional<std::string> ParseDamageName(std::string_view name) {
  if (!name.starts_with(kDamagePrefix)) {
    return std::nullopt;
  }
  name.remove_prefix(kDamagePrefix.size());
  return ParseLabel(name) ? std::optional(std::string(name)) : std::nullopt;
}

std::string LockName(std::uint64_t epoch) {
  return fmt::format("{}{:010}", kLockPrefix, epoch);
}

std::optional<std::uint64_t> ParseLockName(std::string_view name) {
  if (!name.starts_with(kLockPrefix)) {
    return std::nullopt;
  }
  const std::string_view digits = name.substr(kLockPrefix.size());
  std::uint64_t epoch = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), epoch);
  if (digits.size() != 10 || error != std::errc() || end != digits.data() + digits.size() ||
      epoch == 0) {
    return std::nullopt;
  }
  return epoch;
}

}  // namespace veza
