#include "core/wal/wal_scan.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

namespace veza {
namespace {

// XLogPageHeaderData and XLogLongPageHeaderData.
constexpr std::size_t kShortHeader = 24;
constexpr std::size_t kLongHeader = 40;
constexpr std::size_t kInfoAt = 2;
constexpr std::size_t kAddressAt = 8;
constexpr std::size_t kRemainingAt = 16;
constexpr std::size_t kSystemAt = 24;
constexpr std::size_t kSegmentSizeAt = 32;
constexpr std::size_t kPageSizeAt = 36;
constexpr std::uint16_t kFirstIsContinued = 0x0001;
constexpr std::uint16_t kIsLong = 0x0002;
constexpr std::uint16_t kFirstOverwrites = 0x0008;  // a record that a crash has cut off is given up

// XLogRecord.
constexpr std::size_t kRecordHeader = 24;
constexpr std::size_t kRecordInfoAt = 16;
constexpr std::size_t kRecordManagerAt = 17;
constexpr std::uint8_t kXlogManager = 0;
constexpr std::uint8_t kSwitch = 0x40;
constexpr std::uint8_t kParameterChange = 0x60;
constexpr std::uint8_t kTransactionManager = 1;
constexpr std::uint8_t kTransactionOperation = 0x70;
// Where wal_level stands in xl_parameter_change.
constexpr std::size_t kWalLevelAt = 20;
// So much of a record is kept: all that comes before the data, and the beginning of the data.
constexpr std::size_t kWanted = 96;
constexpr std::int64_t kPostgresEpoch = 946'684'800'000'000;  // microseconds since 1970

template <typename T>
T Read(ByteView bytes, std::size_t at) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::size_t Aligned(std::size_t position) {
  return (position + 7) & ~std::size_t{7};
}

// The main data of a record. Empty when the record has references to blocks, or was cut off.
ByteView MainDataOf(ByteView record) {
  for (std::size_t at = kRecordHeader; at < record.size();) {
    const std::uint8_t id = record[at++];
    switch (id) {
      case 252:  // the top-level transaction
        at += 4;
        break;
      case 253:  // the replication origin
        at += 2;
        break;
      case 254:
        at += 4;
        return record.subspan(std::min(at, record.size()));
      case 255:
        at += 1;
        return record.subspan(std::min(at, record.size()));
      default:
        return {};
    }
  }
  return {};
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

void WalScanner::Feed(ByteView bytes) {
  while (!ended_ && !bytes.empty()) {
    if (page_size_ == 0) {
      const std::size_t taken = std::min(bytes.size(), kLongHeader - rest_.size());
      rest_.insert(rest_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
      bytes = bytes.subspan(taken);
      if (rest_.size() == kLongHeader) {
        page_size_ = Read<std::uint32_t>(rest_, kPageSizeAt);
        ended_ = !std::has_single_bit(page_size_) || page_size_ < 1024 || page_size_ > 65536;
      }
      continue;
    }
    if (rest_.empty() && bytes.size() >= page_size_) {
      TakePage(bytes.first(page_size_));
      bytes = bytes.subspan(page_size_);
      continue;
    }
    const std::size_t taken = std::min(bytes.size(), page_size_ - rest_.size());
    rest_.insert(rest_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
    bytes = bytes.subspan(taken);
    if (rest_.size() == page_size_) {
      TakePage(rest_);
      rest_.clear();
    }
  }
}

void WalScanner::Finish() {
  if (!ended_ && left_ > 0) {
    EndRecord(false);
  }
  ended_ = true;
}

void WalScanner::TakePage(ByteView page) {
  std::size_t position = 0;
  if (!BeginPage(page, &position)) {
    ended_ = true;
    return;
  }
  next_page_.value += page_size_;
  TakeRecords(page, position);
}

// Returns false when the page does not continue the one before. `position` is behind the header.
bool WalScanner::BeginPage(ByteView page, std::size_t* position) {
  const auto magic = Read<std::uint16_t>(page, 0);
  const auto info = Read<std::uint16_t>(page, kInfoAt);
  const auto remaining = Read<std::uint32_t>(page, kRemainingAt);
  const bool is_first = magic_ == 0;
  if (magic == 0 || (!is_first && magic != magic_) ||
      Read<std::uint64_t>(page, kAddressAt) != next_page_.value) {
    return false;
  }
  magic_ = magic;
  *position = (info & kIsLong) != 0 ? kLongHeader : kShortHeader;
  if ((info & kFirstOverwrites) != 0) {
    left_ = 0;
    skip_ = 0;
    return true;
  }
  const std::uint64_t expected = (info & kFirstIsContinued) != 0 ? remaining : 0;
  if (is_first) {
    skip_ = expected;
    return true;
  }
  return expected == left_ + skip_;
}

void WalScanner::TakeRecords(ByteView page, std::size_t position) {
  while (position < page.size()) {
    if (skip_ > 0 || left_ > 0) {
      std::uint64_t& wanted = skip_ > 0 ? skip_ : left_;
      const std::size_t taken = std::min<std::uint64_t>(wanted, page.size() - position);
      if (skip_ == 0 && record_.size() < kWanted) {
        const ByteView part = page.subspan(position, std::min(taken, kWanted - record_.size()));
        record_.insert(record_.end(), part.begin(), part.end());
      }
      const bool is_record = skip_ == 0;
      wanted -= taken;
      position = Aligned(position + taken);
      if (is_record && left_ == 0) {
        EndRecord(true);
        if (ended_) {
          return;
        }
      }
      continue;
    }
    left_ = Read<std::uint32_t>(page, position);
    record_.clear();
    record_begin_ = Lsn{next_page_.value - page_size_ + position};
    if (left_ < kRecordHeader) {
      ended_ = true;  // nothing was written here
      return;
    }
  }
}

void WalScanner::EndRecord(bool whole) {
  if (record_.size() < kRecordHeader) {
    return;
  }
  const std::uint8_t manager = record_[kRecordManagerAt];
  const std::uint8_t info = record_[kRecordInfoAt];
  const ByteView data = MainDataOf(record_);
  if (manager == kXlogManager && (info & 0xF0) == kParameterChange) {
    const bool known = data.size() >= kWalLevelAt + sizeof(std::int32_t);
    if ((!known && !whole) || (known && Read<std::int32_t>(data, kWalLevelAt) == 0)) {
      visit_({WalEvent::Kind::kMinimal, record_begin_, {}});
    }
  } else if (manager == kXlogManager && (info & 0xF0) == kSwitch) {
    ended_ = true;
  } else if (manager == kTransactionManager && EndsTransaction(info) &&
             data.size() >= sizeof(std::int64_t)) {
    // A damaged record may have any time.
    constexpr std::int64_t kLatest = std::numeric_limits<std::int64_t>::max() - kPostgresEpoch;
    const std::int64_t time = std::min(Read<std::int64_t>(data, 0), kLatest) + kPostgresEpoch;
    visit_({WalEvent::Kind::kTransactionEnd, record_begin_,
            TimePoint(std::chrono::microseconds(time))});
  }
}

}  // namespace veza
