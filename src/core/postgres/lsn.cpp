#include "core/postgres/lsn.h"

#include <algorithm>
#include <bit>
#include <charconv>

#include "core/codec/json_fields.h"

namespace veza {

namespace {

constexpr std::size_t kSegmentNameLength = 24;

bool IsUpperHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); });
}

std::optional<std::uint32_t> ParseHex32(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (text.empty() || text.size() > 8 || error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

}  // namespace

std::string FormatLsn(Lsn lsn) {
  return fmt::format("{:X}/{:X}", lsn.value >> 32, lsn.value & 0xffffffffU);
}

Result<Lsn> ParseLsn(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash != std::string_view::npos) {
    const auto high = ParseHex32(text.substr(0, slash));
    const auto low = ParseHex32(text.substr(slash + 1));
    if (high && low) {
      return Lsn{std::uint64_t{*high} << 32 | *low};
    }
  }
  return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not an LSN", text)
      .WithHint("An LSN is two hexadecimal numbers with a slash between them, as in 16/B374D848.");
}

void ReadLsn(JsonFields& fields, const char* name, Lsn& lsn) {
  std::string text;
  fields.Read(name, text);
  if (const Result<Lsn> parsed = ParseLsn(text)) {
    lsn = *parsed;
  } else {
    fields.FailOf(name, "is not an LSN");
  }
}

std::optional<WalFileName> ParseWalFileName(std::string_view name) {
  if (name.size() == 16 && name.ends_with(".history") && IsUpperHex(name.substr(0, 8))) {
    return WalFileName{WalFileKind::kTimelineHistory, *ParseHex32(name.substr(0, 8)), ""};
  }
  if (name.size() < kSegmentNameLength || !IsUpperHex(name.substr(0, kSegmentNameLength))) {
    return std::nullopt;
  }
  WalFileName parsed{WalFileKind::kSegment, *ParseHex32(name.substr(0, 8)),
                     std::string(name.substr(0, kSegmentNameLength))};
  const std::string_view rest = name.substr(kSegmentNameLength);
  if (rest.empty()) {
    return parsed;
  }
  if (rest == ".partial") {
    parsed.kind = WalFileKind::kPartial;
    return parsed;
  }
  // ".00000028.backup"
  if (rest.size() == 16 && rest.front() == '.' && rest.ends_with(".backup") &&
      IsUpperHex(rest.substr(1, 8))) {
    parsed.kind = WalFileKind::kBackupHistory;
    return parsed;
  }
  return std::nullopt;
}

bool IsWalSegmentSize(std::uint64_t size) {
  constexpr std::uint64_t kSmallest = 1U << 20;
  constexpr std::uint64_t kLargest = 1U << 30;
  return std::has_single_bit(size) && size >= kSmallest && size <= kLargest;
}

std::string SegmentName(TimelineId timeline, SegmentNumber segment, std::uint64_t segment_size) {
  const std::uint64_t per_log = (std::uint64_t{1} << 32) / segment_size;
  return fmt::format("{:08X}{:08X}{:08X}", timeline, segment / per_log, segment % per_log);
}

SegmentNumber SegmentNumberOf(std::string_view name, std::uint64_t segment_size) {
  const std::uint64_t per_log = (std::uint64_t{1} << 32) / segment_size;
  return ParseHex32(name.substr(8, 8)).value_or(0) * per_log +
         ParseHex32(name.substr(16, 8)).value_or(0);
}

std::string TimelineHistoryName(TimelineId timeline) {
  return fmt::format("{:08X}.history", timeline);
}

}  // namespace veza
