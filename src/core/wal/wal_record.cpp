#include "core/wal/wal_record.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace veza {
namespace {

static_assert(std::endian::native == std::endian::little);

// XLogRecord.
constexpr std::size_t kXidAt = 4;
constexpr std::size_t kPreviousAt = 8;
constexpr std::size_t kCrcAt = 20;

// The id of what follows, where it is no block.
constexpr std::uint8_t kDataShort = 255;
constexpr std::uint8_t kDataLong = 254;
constexpr std::uint8_t kOrigin = 253;
constexpr std::uint8_t kTopXid = 252;

// XLogRecordBlockHeader.
constexpr std::uint8_t kForkMask = 0x0F;
constexpr std::uint8_t kHasImage = 0x10;
constexpr std::uint8_t kHasData = 0x20;
constexpr std::uint8_t kWillInit = 0x40;
constexpr std::uint8_t kSameRelation = 0x80;

// XLogRecordBlockImageHeader, as of 15.
constexpr std::uint8_t kImageHasHole = 0x01;
constexpr std::uint8_t kImageApplies = 0x02;
constexpr std::uint8_t kImageCompressed = 0x04 | 0x08 | 0x10;
constexpr std::uint16_t kLargestPage = 32768;  // BLCKSZ

constexpr std::string_view kTooLong = "its headers are too long";

template <typename T>
T Load(const std::uint8_t* from) {
  T value{};
  std::memcpy(&value, from, sizeof value);
  return value;
}

}  // namespace

// Reads the headers field by field.
class WalRecordHeaders::Reader {
 public:
  Reader(ByteView bytes, std::size_t at)
      : begin_(bytes.data()), at_(begin_ + at), end_(begin_ + bytes.size()) {}

  // The next `size` bytes. Null if there are not so many.
  const std::uint8_t* Take(std::size_t size) {
    if (static_cast<std::size_t>(end_ - at_) < size) {
      return nullptr;
    }
    const std::uint8_t* const taken = at_;
    at_ += size;
    return taken;
  }
  template <typename T>
  bool Take(T* value) {
    const std::uint8_t* const taken = Take(sizeof(T));
    if (taken == nullptr) {
      return false;
    }
    *value = Load<T>(taken);
    return true;
  }
  std::size_t at() const { return static_cast<std::size_t>(at_ - begin_); }

 private:
  const std::uint8_t* begin_;
  const std::uint8_t* at_;
  const std::uint8_t* end_;
};

WalRecordHeaders::Outcome WalRecordHeaders::Damaged(std::string_view damage) {
  damage_ = damage;
  return Outcome::kDamaged;
}

WalRecordHeaders::Outcome WalRecordHeaders::Incomplete(ByteView record) {
  if (record.size() >= record_.length) {
    return Damaged("its length is wrong");
  }
  return record.size() >= kMostHeaderBytes ? Damaged(kTooLong) : Outcome::kIncomplete;
}

WalRecordHeaders::Outcome WalRecordHeaders::Parse(ByteView record) {
  const std::uint8_t* const header = record.data();
  record_.length = Load<std::uint32_t>(header);
  record_.xid = Load<std::uint32_t>(header + kXidAt);
  record_.previous.value = Load<std::uint64_t>(header + kPreviousAt);
  record_.info = header[kWalInfoAt];
  record_.manager = header[kWalManagerAt];
  record_.crc = Load<std::uint32_t>(header + kCrcAt);
  record_.top_xid.reset();
  record_.origin.reset();
  record_.main_data = {};
  record_.main_data_length = 0;
  block_count_ = 0;
  block_data_ = 0;

  const std::uint64_t length = record_.length;
  Reader reader(record.first(std::min<std::uint64_t>(record.size(), length)), kWalRecordHeader);
  bool is_last = false;
  while (!is_last && reader.at() + block_data_ < length) {
    if (reader.at() > kMostHeaderBytes) {
      return Damaged(kTooLong);
    }
    std::uint8_t id = 0;
    std::uint8_t short_length = 0;
    bool taken = reader.Take(&id);
    if (!taken) {
      return Incomplete(record);
    }
    switch (id) {
      case kDataShort:
        taken = reader.Take(&short_length);
        record_.main_data_length = short_length;
        is_last = true;
        break;
      case kDataLong:
        taken = reader.Take(&record_.main_data_length);
        is_last = true;
        break;
      case kOrigin:
        taken = reader.Take(&record_.origin.emplace());
        break;
      case kTopXid:
        taken = reader.Take(&record_.top_xid.emplace());
        break;
      default: {
        const Outcome outcome = ParseBlock(reader, id);
        if (outcome == Outcome::kDamaged) {
          return outcome;
        }
        taken = outcome == Outcome::kWhole;
      }
    }
    if (!taken) {
      return Incomplete(record);
    }
  }
  data_begin_ = reader.at();
  if (data_begin_ + block_data_ + record_.main_data_length != length) {
    return Damaged("its length is wrong");
  }
  record_.blocks = std::span(blocks_).first(block_count_);
  return Outcome::kWhole;
}

WalRecordHeaders::Outcome WalRecordHeaders::ParseBlock(Reader& reader, std::uint8_t id) {
  if (id >= kMostBlocks) {
    return Damaged("it has a part of an unknown kind");
  }
  if (block_count_ > 0 && id <= blocks_[block_count_ - 1].id) {
    return Damaged("its blocks are out of order");
  }
  BlockReference& block = blocks_[block_count_];
  const std::uint8_t* const fixed = reader.Take(3);
  if (fixed == nullptr) {
    return Outcome::kIncomplete;
  }
  const std::uint8_t flags = fixed[0];
  block.data_length = Load<std::uint16_t>(fixed + 1);
  block.id = id;
  block.fork = flags & kForkMask;
  block.has_image = (flags & kHasImage) != 0;
  block.will_init = (flags & kWillInit) != 0;
  block.applies_image = false;
  block.image_length = 0;
  if (((flags & kHasData) != 0) != (block.data_length > 0)) {
    return Damaged("the data of a block contradict its flags");
  }
  if (block.has_image) {
    const Outcome outcome = ParseImage(reader, block);
    if (outcome != Outcome::kWhole) {
      return outcome;
    }
  }
  const bool is_same = (flags & kSameRelation) != 0;
  if (is_same && block_count_ == 0) {
    return Damaged("its first block names no relation");
  }
  const std::size_t size_of_file = is_same ? 0 : sizeof block.file;
  const std::uint8_t* const place = reader.Take(size_of_file + sizeof block.block);
  if (place == nullptr) {
    return Outcome::kIncomplete;
  }
  block.file = is_same ? blocks_[block_count_ - 1].file : Load<RelationFile>(place);
  block.block = Load<std::uint32_t>(place + size_of_file);
  block_data_ += std::size_t{block.data_length} + block.image_length;
  ++block_count_;
  return Outcome::kWhole;
}

// The server also knows the size of a page, and with it the length of an image or of its hole.
WalRecordHeaders::Outcome WalRecordHeaders::ParseImage(Reader& reader, BlockReference& block) {
  std::uint16_t hole_offset = 0;
  std::uint8_t info = 0;
  if (!reader.Take(&block.image_length) || !reader.Take(&hole_offset) || !reader.Take(&info)) {
    return Outcome::kIncomplete;
  }
  const bool has_hole = (info & kImageHasHole) != 0;
  std::uint16_t hole_length = 1;
  if (has_hole && (info & kImageCompressed) != 0 && !reader.Take(&hole_length)) {
    return Outcome::kIncomplete;
  }
  if (block.image_length > kLargestPage || has_hole != (hole_offset > 0) || hole_length == 0) {
    return Damaged("the image of a block has impossible measures");
  }
  block.applies_image = (info & kImageApplies) != 0;
  return Outcome::kWhole;
}

}  // namespace veza
