#include "core/restore/target.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "core/restore/target_time.h"

namespace veza {
namespace {

constexpr std::size_t kMaxRestorePointName = 63;  // MAXFNAMELEN - 1
constexpr std::uint32_t kFirstNormalXid = 3;      // FirstNormalTransactionId

// Decimal digits only.
template <typename T>
std::optional<T> ParseDecimal(std::string_view text) {
  T number = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number, 10);
  if (text.empty() || text[0] == '-' || error != std::errc() || stopped != end) {
    return std::nullopt;
  }
  return number;
}

}  // namespace

Result<std::uint64_t> ParseTargetXid(std::string_view text) {
  const auto xid = ParseDecimal<std::uint64_t>(text);
  // The upper half is the epoch, which recovery ignores.
  if (!xid || static_cast<std::uint32_t>(*xid) < kFirstNormalXid) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not a transaction ID", text)
        .WithHint("Give the decimal number that pg_current_xact_id() or the log shows.");
  }
  return *xid;
}

Result<std::string> ParseTargetName(std::string_view text) {
  if (text.empty() || text.size() > kMaxRestorePointName ||
      std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 32; })) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "the name of a restore point has 1 to {} bytes and no control characters",
                     kMaxRestorePointName)
        .WithHint("Give the name that pg_create_restore_point() was called with.");
  }
  return std::string(text);
}

Result<TargetTimeline> ParseTargetTimeline(std::string_view text) {
  TargetTimeline timeline;
  if (text == "latest") {
    return timeline;
  }
  if (text == "current") {
    timeline.kind = TargetTimeline::Kind::kCurrent;
    return timeline;
  }
  const auto number = ParseDecimal<TimelineId>(text);
  if (!number || *number == 0) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not a timeline", text)
        .WithHint(
            "Give \"latest\", \"current\" or a decimal number; file names show it in "
            "hexadecimal.");
  }
  timeline.kind = TargetTimeline::Kind::kNumber;
  timeline.number = *number;
  return timeline;
}

Result<TargetAction> ParseTargetAction(std::string_view text) {
  for (const TargetAction action :
       {TargetAction::kPause, TargetAction::kPromote, TargetAction::kShutdown}) {
    if (text == TargetActionName(action)) {
      return action;
    }
  }
  return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not a target action", text)
      .WithHint("Give \"pause\", \"promote\" or \"shutdown\".");
}

const char* TargetActionName(TargetAction action) {
  switch (action) {
    case TargetAction::kPause:
      return "pause";
    case TargetAction::kPromote:
      return "promote";
    case TargetAction::kShutdown:
      return "shutdown";
  }
  return "pause";
}

std::string FormatTargetTimeline(const TargetTimeline& timeline) {
  switch (timeline.kind) {
    case TargetTimeline::Kind::kLatest:
      return "latest";
    case TargetTimeline::Kind::kCurrent:
      return "current";
    case TargetTimeline::Kind::kNumber:
      return std::to_string(timeline.number);
  }
  return "latest";
}

std::string DescribeTarget(const RecoveryTarget& target) {
  switch (target.kind) {
    case TargetKind::kEndOfWal:
      return "the end of WAL";
    case TargetKind::kImmediate:
      return "the end of the backup";
    case TargetKind::kTime:
      return fmt::format("time \"{}\"", FormatTargetTime(target.time));
    case TargetKind::kLsn:
      return fmt::format("LSN {}", FormatLsn(target.lsn));
    case TargetKind::kXid:
      return fmt::format("transaction {}", target.xid);
    case TargetKind::kName:
      return fmt::format("restore point \"{}\"", target.name);
  }
  return "the end of WAL";
}

}  // namespace veza
