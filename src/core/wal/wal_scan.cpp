#include "core/wal/wal_scan.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>
#include <utility>

namespace veza {
namespace {

// XLogLongPageHeaderData.
constexpr std::size_t kLongHeader = 40;
constexpr std::size_t kInfoAt = 2;
constexpr std::size_t kAddressAt = 8;
constexpr std::size_t kSystemAt = 24;
constexpr std::size_t kSegmentSizeAt = 32;
constexpr std::uint16_t kIsLong = 0x0002;

constexpr std::uint8_t kTransactionOperation = 0x70;
// Where wal_level stands in xl_parameter_change.
constexpr std::size_t kWalLevelAt = 20;
// All that is looked at lies at the beginning of the data.
constexpr std::size_t kWanted = 1024;
constexpr std::int64_t kPostgresEpoch = 946'684'800'000'000;  // microseconds since 1970

template <typename T>
T Read(ByteView bytes, std::size_t at) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// COMMIT and ABORT, also of a prepared transaction.
bool EndsTransaction(std::uint8_t info) {
  const int operation = info & kTransactionOperation;
  return operation == 0x00 || operation == 0x20 || operation == 0x30 || operation == 0x40;
}

}  // namespace

FirstPage JudgeFirstPage(ByteView beginning, Lsn begin, std::uint64_t system_identifier,
                         std::uint64_t segment_size) {
  if (beginning.size() < kLongHeader || Read<std::uint16_t>(beginning, 0) == 0 ||
      (Read<std::uint16_t>(beginning, kInfoAt) & kIsLong) == 0 ||
      Read<std::uint64_t>(beginning, kSystemAt) != system_identifier ||
      Read<std::uint32_t>(beginning, kSegmentSizeAt) != segment_size) {
    return FirstPage::kUnknown;
  }
  const auto address = Read<std::uint64_t>(beginning, kAddressAt);
  if (address == begin.value) {
    return FirstPage::kOfSegment;
  }
  return address % segment_size == 0 ? FirstPage::kRecycled : FirstPage::kUnknown;
}

bool TurnsMinimal(ByteView parameter_change, bool whole) {
  const bool known = parameter_change.size() >= kWalLevelAt + sizeof(std::int32_t);
  return known ? Read<std::int32_t>(parameter_change, kWalLevelAt) == 0 : !whole;
}

WalScanner::WalScanner(Lsn begin, Visitor visit)
    : visit_(std::move(visit)),
      reader_({.begin = begin,
               .check_crc = false,
               .managers = 1U << kXlogManager | 1U << kTransactionManager,
               .largest_kept = kWanted},
              [this](const WalRecord& record) {
                Look(record, true);
                return Ok();
              }) {}

void WalScanner::Feed(ByteView bytes) {
  // WAL of an unknown version is one that cannot be followed.
  [[maybe_unused]] const Status fed = reader_.Feed(bytes);
}

void WalScanner::Finish() {
  reader_.Finish();
  if (const WalRecord* const unfinished = reader_.unfinished()) {
    Look(*unfinished, false);
    return;
  }
  const std::optional<WalHead> head = reader_.head();
  if (head && head->kept.size() >= kWalRecordHeader) {
    WalRecord record;
    record.begin = head->begin;
    record.manager = head->kept[kWalManagerAt];
    record.info = head->kept[kWalInfoAt];
    Look(record, false);
  }
}

void WalScanner::Look(const WalRecord& record, bool whole) {
  const ByteView data = record.main_data;
  if (record.manager == kXlogManager && (record.info & kManagerInfo) == kParameterChange) {
    if (TurnsMinimal(data, whole)) {
      visit_({WalEvent::Kind::kMinimal, record.begin, {}});
    }
  } else if (record.manager == kTransactionManager && EndsTransaction(record.info) &&
             data.size() >= sizeof(std::int64_t)) {
    // A damaged record may have any time.
    constexpr std::int64_t kLatest = std::numeric_limits<std::int64_t>::max() - kPostgresEpoch;
    const std::int64_t time = std::min(Read<std::int64_t>(data, 0), kLatest) + kPostgresEpoch;
    visit_({WalEvent::Kind::kTransactionEnd, record.begin,
            TimePoint(std::chrono::microseconds(time))});
  }
}

}  // namespace veza
