#include "core/wal/wal_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace veza {
namespace {

// XLogPageHeaderData and XLogLongPageHeaderData.
constexpr std::size_t kShortHeader = 24;
constexpr std::size_t kLongHeader = 40;
constexpr std::size_t kInfoAt = 2;
constexpr std::size_t kTimelineAt = 4;
constexpr std::size_t kAddressAt = 8;
constexpr std::size_t kRemainingAt = 16;
constexpr std::size_t kSystemAt = 24;
constexpr std::size_t kSegmentSizeAt = 32;
constexpr std::size_t kPageSizeAt = 36;
constexpr std::size_t kSmallestPage = 1024;
constexpr std::size_t kLargestPage = 65536;

// xlp_info.
constexpr std::uint16_t kFirstIsContinued = 0x0001;
constexpr std::uint16_t kIsLong = 0x0002;

// XLogRecord.
constexpr std::size_t kPreviousAt = 8;
constexpr std::size_t kCrcAt = 20;

constexpr std::uint8_t kOverwriteContrecord = 0xD0;
constexpr std::uint8_t kFirstCustomManager = 128;  // RM_MIN_CUSTOM_ID

constexpr std::string_view kWrongCrc = "wrong CRC of a record";

template <typename T>
T Read(ByteView bytes, std::size_t at) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::uint64_t Aligned(std::uint64_t position) {
  return (position + 7) & ~std::uint64_t{7};
}

// XLP_FIRST_IS_OVERWRITE_CONTRECORD. 19 gave it the place of XLP_BKP_REMOVABLE, which it removed.
std::uint16_t OverwriteFlag(int version) {
  return version >= 19 ? 0x0004 : 0x0008;
}
// XLP_ALL_FLAGS.
std::uint16_t AllFlags(int version) {
  return version >= 19 ? 0x0007 : 0x000F;
}
// RM_MAX_BUILTIN_ID: RM_LOGICALMSG_ID. 19 has RM_XLOG2_ID behind it.
std::uint8_t LastManager(int version) {
  return version >= 19 ? 22 : 21;
}

// The CRC covers all but itself, and the header comes last.
bool HasRightCrc(ByteView record) {
  Crc32c crc;
  crc.Add(record.subspan(kWalRecordHeader));
  crc.Add(record.first(kCrcAt));
  return crc.value() == Read<std::uint32_t>(record, kCrcAt);
}

}  // namespace

struct WalReader::PageHeader {
  explicit PageHeader(ByteView page)
      : magic(Read<std::uint16_t>(page, 0)),
        info(Read<std::uint16_t>(page, kInfoAt)),
        timeline(Read<std::uint32_t>(page, kTimelineAt)),
        address(Read<std::uint64_t>(page, kAddressAt)),
        remaining(Read<std::uint32_t>(page, kRemainingAt)) {}

  bool is_long() const { return (info & kIsLong) != 0; }
  bool continues() const { return (info & kFirstIsContinued) != 0; }
  std::size_t size() const { return is_long() ? kLongHeader : kShortHeader; }

  std::uint16_t magic;
  std::uint16_t info;
  TimelineId timeline;
  std::uint64_t address;
  std::uint32_t remaining;
};

int VersionOfWalMagic(std::uint16_t magic) {
  switch (magic) {
    case 0xD110:
      return 15;
    case 0xD113:
      return 16;
    case 0xD116:
      return 17;
    case 0xD118:
      return 18;
    case 0xD120:
    case 0xD121:
    case 0xD122:
      return 19;
    default:
      return 0;
  }
}

WalReader::WalReader(const Options& options, Visitor visit)
    : options_(options), visit_(std::move(visit)), next_page_(options.begin), end_(options.begin) {}

bool WalReader::End(WalEnd kind, Lsn where, std::string_view why) {
  ended_ = true;
  why_ended_ = kind;
  why_ = fmt::format("{} at {}", why, FormatLsn(where));
  return false;
}

Status WalReader::Feed(ByteView bytes) {
  while (!ended_ && !bytes.empty()) {
    const std::size_t unit = page_size_ == 0 ? kLongHeader : page_size_;
    if (!rest_.empty() || bytes.size() < unit) {
      const std::size_t taken = std::min(bytes.size(), unit - rest_.size());
      rest_.insert(rest_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(taken));
      bytes = bytes.subspan(taken);
      if (rest_.size() < unit) {
        return Ok();
      }
    }
    const ByteView next = rest_.empty() ? bytes : ByteView(rest_);
    if (page_size_ == 0) {
      RETURN_IF_ERROR(BeginReading(next));
      continue;
    }
    TakePage(next.first(unit));
    if (error_) {
      return *std::exchange(error_, std::nullopt);
    }
    if (rest_.empty()) {
      bytes = bytes.subspan(unit);
    }
    rest_.clear();
  }
  return Ok();
}

WalEnd WalReader::Finish() {
  ended_ = true;
  return why_ended_;
}

// Looks at the long header of the first page, which tells how long pages are.
Status WalReader::BeginReading(ByteView beginning) {
  const PageHeader header(beginning);
  if (header.magic == 0) {
    End(WalEnd::kUnwritten, next_page_, "no WAL was written");
    return Ok();
  }
  version_ = VersionOfWalMagic(header.magic);
  if (version_ == 0 && header.magic >> 8 >= 0xD0 && header.magic >> 8 <= 0xD2) {
    ended_ = true;
    return MakeError(
               ErrorCode::kUnsupported,
               "WAL at {} is of a version of PostgreSQL that is not known (page magic {:04X})",
               FormatLsn(next_page_), header.magic)
        .WithHint("Update veza_backup to a version that knows this version of PostgreSQL.");
  }
  const auto page_size = Read<std::uint32_t>(beginning, kPageSizeAt);
  segment_size_ = Read<std::uint32_t>(beginning, kSegmentSizeAt);
  system_identifier_ = Read<std::uint64_t>(beginning, kSystemAt);
  if (version_ == 0 || !header.is_long() || !IsWalSegmentSize(segment_size_) ||
      !std::has_single_bit(page_size) || page_size < kSmallestPage || page_size > kLargestPage) {
    End(WalEnd::kDamaged, next_page_, "invalid header of a segment");
    return Ok();
  }
  if (system_identifier_ != options_.system_identifier.value_or(system_identifier_) ||
      segment_size_ != options_.segment_size.value_or(segment_size_)) {
    ended_ = true;
    return MakeError(ErrorCode::kDataCorrupted,
                     "WAL at {} is of another cluster (system identifier {}, segments of {} bytes)",
                     FormatLsn(next_page_), system_identifier_, segment_size_);
  }
  magic_ = header.magic;
  page_size_ = page_size;
  return Ok();
}

void WalReader::TakePage(ByteView page) {
  if (next_page_ < filler_end_) {
    next_page_.value += page_size_;
    return;
  }
  why_ended_ = WalEnd::kMore;
  const PageHeader header(page);
  if (!CheckPage(header, page) || !ContinueRecord(header)) {
    return;
  }
  timeline_ = header.timeline;
  next_page_.value += page_size_;
  TakeRecords(page, header.size());
}

// XLogReaderValidatePageHeader().
bool WalReader::CheckPage(const PageHeader& header, ByteView page) {
  if (header.magic == 0) {
    return End(WalEnd::kUnwritten, next_page_, "no WAL was written");
  }
  if (header.magic != magic_) {
    return End(WalEnd::kDamaged, next_page_, "invalid magic number of a page");
  }
  if (header.address != next_page_.value) {
    return End(WalEnd::kUnwritten, next_page_, "a page of the file's earlier use");
  }
  if ((header.info & ~AllFlags(version_)) != 0) {
    return End(WalEnd::kDamaged, next_page_, "invalid flags of a page");
  }
  const bool begins_segment = next_page_.value % segment_size_ == 0;
  if (begins_segment && !header.is_long()) {
    return End(WalEnd::kDamaged, next_page_, "no long header of the segment's first page");
  }
  if (header.is_long() && (Read<std::uint64_t>(page, kSystemAt) != system_identifier_ ||
                           Read<std::uint32_t>(page, kSegmentSizeAt) != segment_size_ ||
                           Read<std::uint32_t>(page, kPageSizeAt) != page_size_)) {
    return End(WalEnd::kDamaged, next_page_, "the header of another cluster's segment");
  }
  if (header.timeline < timeline_) {
    return End(WalEnd::kDamaged, next_page_, "an earlier timeline");
  }
  return true;
}

// Whether the page goes on with the record that the one before has begun, and only then.
bool WalReader::ContinueRecord(const PageHeader& header) {
  const bool is_first = next_page_ == options_.begin;
  const std::uint64_t left = in_record_ ? partial_.left() : tail_left();
  if ((header.info & OverwriteFlag(version_)) != 0 && (is_first || left > 0)) {
    GiveUpRecord();
    return true;
  }
  if (is_first && header.continues()) {
    tail_.emplace().length = header.remaining;
    return (header.remaining > 0 && header.remaining <= kLargestWalRecord) ||
           End(WalEnd::kDamaged, next_page_, "impossible length of a continued record");
  }
  if (header.continues() != (left > 0)) {
    return End(WalEnd::kDamaged, next_page_,
               left > 0 ? "no continuation of a record" : "a continuation without a record");
  }
  if (left > 0 && header.remaining != left) {
    return End(WalEnd::kDamaged, next_page_, "another length of a continued record");
  }
  return true;
}

// A crash has cut the record off, and the server has written something else in place of its rest.
void WalReader::GiveUpRecord() {
  if (in_record_) {
    overwritten_ = partial_.begin();
    expects_overwrite_ = true;
    in_record_ = false;
    return;
  }
  if (!tail_) {
    tail_.emplace();
  }
  tail_->overwritten = true;
}

void WalReader::TakeRecords(ByteView page, std::size_t position) {
  const Lsn page_begin{next_page_.value - page_size_};
  while (position < page.size() && !ended_) {
    const ByteView rest = page.subspan(position);
    const Lsn at{page_begin.value + position};
    std::size_t taken = 0;
    if (tail_left() > 0) {
      taken = TakeTail(rest, at);
    } else if (in_record_) {
      taken = std::min<std::uint64_t>(partial_.left(), rest.size());
      TakePart(rest.first(taken), at);
    } else {
      const auto length = Read<std::uint32_t>(rest, 0);
      if (!CheckLength(length, at) || (rest.size() >= kWalRecordHeader && !CheckHeader(rest, at))) {
        return;
      }
      taken = std::min<std::size_t>(length, rest.size());
      if (taken == length) {
        TakeWhole(rest.first(taken), at);
      } else {
        in_record_ = true;
        partial_.Begin(at, length, options_.check_crc, options_.largest_kept);
        TakePart(rest.first(taken), at);
      }
    }
    position = Aligned(position + taken);
    if (page_begin.value + position < filler_end_.value) {
      return;
    }
  }
}

// Returns how many bytes of `rest` belong to the record from before the first segment.
std::size_t WalReader::TakeTail(ByteView rest, Lsn at) {
  WalTail& tail = *tail_;
  const std::size_t taken = std::min<std::uint64_t>(tail_left(), rest.size());
  const std::size_t room =
      options_.largest_kept - std::min(options_.largest_kept, tail.kept.size());
  const ByteView kept = rest.first(std::min(taken, room));
  tail.kept.insert(tail.kept.end(), kept.begin(), kept.end());
  tail.taken += taken;
  if (tail_left() == 0) {
    tail.end = Lsn{Aligned(at.value + taken)};
    end_ = tail.end;
  }
  return taken;
}

// The next bytes of the record that lies in more than one page.
void WalReader::TakePart(ByteView part, Lsn at) {
  if (!partial_.Take(part)) {
    End(WalEnd::kDamaged, partial_.begin(), partial_.damage());
    return;
  }
  if (partial_.left() > 0) {
    return;
  }
  in_record_ = false;
  if (!CheckHeader(partial_.kept(), partial_.begin())) {
    return;
  }
  if (!partial_.HasRightCrc()) {
    End(WalEnd::kDamaged, partial_.begin(), kWrongCrc);
    return;
  }
  EndRecord(*partial_.record(), Lsn{Aligned(at.value + part.size())});
}

// A record that lies in one page.
void WalReader::TakeWhole(ByteView bytes, Lsn begin) {
  if (options_.check_crc && !HasRightCrc(bytes)) {
    End(WalEnd::kDamaged, begin, kWrongCrc);
    return;
  }
  const Lsn end{Aligned(begin.value + bytes.size())};
  const std::uint8_t manager = bytes[kWalManagerAt];
  if (!Wants(manager) && manager != kXlogManager && !expects_overwrite_) {
    PassRecord(begin, Lsn{Read<std::uint64_t>(bytes, kPreviousAt)}, end);
    return;
  }
  if (headers_.Parse(bytes) != WalRecordHeaders::Outcome::kWhole) {
    End(WalEnd::kDamaged, begin, headers_.damage());
    return;
  }
  WalRecord& record = headers_.record();
  record.begin = begin;
  record.main_data = bytes.subspan(headers_.main_data_begin());
  EndRecord(record, end);
}

bool WalReader::CheckLength(std::uint32_t length, Lsn begin) {
  if (length == 0) {
    return End(WalEnd::kUnwritten, begin, "no WAL was written");
  }
  return (length >= kWalRecordHeader && length <= kLargestWalRecord) ||
         End(WalEnd::kDamaged, begin, "impossible length of a record");
}

// ValidXLogRecordHeader().
bool WalReader::CheckHeader(ByteView header, Lsn begin) {
  const std::uint8_t manager = header[kWalManagerAt];
  if (manager < kFirstCustomManager && manager > LastManager(version_)) {
    return End(WalEnd::kDamaged, begin, "unknown resource manager of a record");
  }
  const Lsn previous{Read<std::uint64_t>(header, kPreviousAt)};
  return (previous_ ? previous == *previous_ : previous < begin) ||
         End(WalEnd::kUnwritten, begin, "a record that does not follow the one before");
}

void WalReader::EndRecord(WalRecord& record, Lsn end) {
  if (expects_overwrite_ && !CheckOverwrite(record)) {
    return;
  }
  const bool is_switch =
      record.manager == kXlogManager && (record.info & kManagerInfo) == kXlogSwitch;
  if (is_switch) {
    end.value = (end.value + segment_size_ - 1) & ~(segment_size_ - 1);
    filler_end_ = end;
    why_ended_ = WalEnd::kSwitch;
  }
  record.end = end;
  PassRecord(record.begin, record.previous, end);
  if (!Wants(record.manager)) {
    return;
  }
  if (Status visited = visit_(record); !visited) {
    error_ = std::move(visited.error());
    ended_ = true;
  }
}

void WalReader::PassRecord(Lsn begin, Lsn previous, Lsn end) {
  if (!previous_ && tail_) {
    tail_->record_begin = previous;
  }
  previous_ = begin;
  end_ = end;
}

bool WalReader::Wants(std::uint8_t manager) const {
  return !options_.managers || (manager < 32 && (*options_.managers >> manager & 1) != 0);
}

// VerifyOverwriteContrecord(): the record in place of the one that was given up says which that is.
bool WalReader::CheckOverwrite(const WalRecord& record) {
  expects_overwrite_ = false;
  return (record.manager == kXlogManager && (record.info & kManagerInfo) == kOverwriteContrecord &&
          record.main_data.size() >= sizeof(std::uint64_t) &&
          Read<std::uint64_t>(record.main_data, 0) == overwritten_->value) ||
         End(WalEnd::kDamaged, record.begin, "no record in place of the one that was given up");
}

std::optional<WalHead> WalReader::head() const {
  if (!in_record_ || why_ended_ != WalEnd::kMore) {
    return std::nullopt;
  }
  return partial_.Head();
}

const WalRecord* WalReader::unfinished() {
  return in_record_ && why_ended_ == WalEnd::kMore ? partial_.record() : nullptr;
}

}  // namespace veza
