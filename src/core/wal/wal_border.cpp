#include "core/wal/wal_border.h"

#include <algorithm>

namespace veza {
namespace {

constexpr std::size_t kCrcAt = 20;  // in XLogRecord; the CRC covers what is behind and before it

void Append(Bytes& to, ByteView bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace

bool PartialRecord::GoOn(const WalHead& head, std::size_t largest_kept) {
  Begin(head.begin, head.length, head.crc.has_value(), largest_kept);
  if (head.length < kWalRecordHeader || head.length > kLargestWalRecord ||
      head.taken >= head.length || head.kept.size() > head.taken ||
      head.kept.size() < sizeof head.length ||
      LoadLittleEndian<std::uint32_t>(head.kept.data()) != head.length) {
    return false;
  }
  taken_ = head.taken;
  crc_ = head.crc;
  kept_ = head.kept;
  has_headers_ = kept_.size() >= kWalRecordHeader &&
                 headers_.Parse(kept_) == WalRecordHeaders::Outcome::kWhole;
  // Less of the main data may have been kept than was taken.
  has_gap_ = has_headers_ && taken_ > headers_.main_data_begin() &&
             kept_.size() - headers_.data_begin() < taken_ - headers_.main_data_begin();
  return has_headers_ || (kept_.size() == taken_ && taken_ < kMostHeaderBytes);
}

void PartialRecord::Begin(Lsn begin, std::uint32_t length, bool check_crc,
                          std::size_t largest_kept) {
  begin_ = begin;
  length_ = length;
  taken_ = 0;
  largest_kept_ = largest_kept;
  crc_ = check_crc ? std::optional(Crc32c()) : std::nullopt;
  kept_.clear();
  has_headers_ = false;
  has_gap_ = false;
}

bool PartialRecord::Take(ByteView part) {
  const std::uint64_t at = taken_;
  taken_ += part.size();
  if (crc_) {
    crc_->Add(part.subspan(
        at < kWalRecordHeader ? std::min<std::size_t>(kWalRecordHeader - at, part.size()) : 0));
  }
  if (has_headers_) {
    TakeData(part, at);
    return true;
  }
  return TakeHeaders(part);
}

// Until the headers are whole, nothing has been left out of what is kept. That is less than
// kMostHeaderBytes, because Parse() refuses longer headers.
bool PartialRecord::TakeHeaders(ByteView part) {
  const std::size_t before = kept_.size();
  const ByteView wanted = part.first(std::min(part.size(), kMostHeaderBytes - before));
  if (before > 0 || wanted.size() < kWalRecordHeader) {
    Append(kept_, wanted);
    if (kept_.size() < kWalRecordHeader) {
      return true;
    }
  }
  switch (headers_.Parse(kept_.empty() ? wanted : ByteView(kept_))) {
    case WalRecordHeaders::Outcome::kDamaged:
      return false;
    case WalRecordHeaders::Outcome::kIncomplete:
      if (kept_.empty()) {
        Append(kept_, wanted);
      }
      return true;
    case WalRecordHeaders::Outcome::kWhole:
      break;
  }
  has_headers_ = true;
  const std::size_t headers_end = headers_.data_begin();
  if (kept_.empty()) {
    Append(kept_, part.first(headers_end));
  }
  kept_.resize(headers_end);
  TakeData(part.subspan(headers_end - before), headers_end);
  return true;
}

// `at` is where `part` lies in the record.
void PartialRecord::TakeData(ByteView part, std::uint64_t at) {
  const std::size_t data = headers_.main_data_begin();
  if (has_gap_ || at + part.size() <= data || kept_.size() >= largest_kept_) {
    return;
  }
  part = part.subspan(at < data ? data - at : 0);
  Append(kept_, part.first(std::min(part.size(), largest_kept_ - kept_.size())));
}

bool PartialRecord::Skip(std::uint64_t bytes) {
  if (!has_headers_) {
    return false;
  }
  taken_ += bytes;
  crc_.reset();
  has_gap_ = has_gap_ || taken_ > headers_.main_data_begin();
  return true;
}

WalRecord* PartialRecord::record() {
  if (!has_headers_) {
    return nullptr;
  }
  WalRecord& record = headers_.record();
  record.begin = begin_;
  record.main_data = ByteView(kept_).subspan(headers_.data_begin());
  return &record;
}

bool PartialRecord::HasRightCrc() const {
  if (!crc_) {
    return true;
  }
  Crc32c crc = *crc_;
  crc.Add(ByteView(kept_).first(kCrcAt));
  return crc.value() == LoadLittleEndian<std::uint32_t>(kept_.data() + kCrcAt);
}

WalHead PartialRecord::Head() const {
  return {.begin = begin_, .length = length_, .taken = taken_, .kept = kept_, .crc = crc_};
}

namespace {

Error BorderError(const WalHead& head, std::string_view what) {
  return MakeError(ErrorCode::kDataCorrupted,
                   "WAL record at {} does not go on in the next segment: {}", FormatLsn(head.begin),
                   what);
}

}  // namespace

Result<BorderOutcome> JoinBorder(const WalHead& head, std::span<const WalTail> tails,
                                 const BorderOptions& options,
                                 const std::function<Status(const WalRecord&)>& visit) {
  PartialRecord partial;
  if (!partial.GoOn(head, options.largest_kept)) {
    return BorderError(head, "its head contradicts itself");
  }
  for (const WalTail& tail : tails) {
    if (tail.overwritten) {
      return BorderOutcome::kOverwritten;
    }
    if (tail.length != partial.left() || tail.taken > tail.length ||
        tail.kept.size() > tail.taken) {
      return BorderError(head, "the bytes that are left are not as many as it says");
    }
    if (tail.record_begin && *tail.record_begin != head.begin) {
      return BorderError(head, "the record behind it names another one");
    }
    if (!partial.Take(tail.kept)) {
      return BorderError(head, partial.damage());
    }
    const std::uint64_t unknown = tail.taken - tail.kept.size();
    if (unknown > 0 && !partial.Skip(unknown)) {
      return BorderError(head, "too little of it was kept");
    }
    if (partial.left() > 0) {
      continue;
    }
    if (!partial.HasRightCrc() || partial.record() == nullptr) {
      return BorderError(head, "its CRC is wrong");
    }
    WalRecord record = *partial.record();
    record.end = tail.end;
    RETURN_IF_ERROR(visit(record));
    return BorderOutcome::kRecord;
  }
  return BorderOutcome::kIncomplete;
}

}  // namespace veza
