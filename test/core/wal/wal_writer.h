// Writes WAL as the server does (access/xlog_internal.h, access/xlogrecord.h): pages of any size,
// records with blocks and CRCs, over the borders of pages and segments.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/codec/crc32c.h"
#include "core/wal/wal_record.h"

namespace veza {

struct WrittenBlock {
  std::uint8_t id = 0;
  std::uint8_t flags = 0;  // fork and flags, but for the two that follow from data and image
  RelationFile file{};     // not written with 0x80 (as in the block before)
  std::uint32_t block = 0;
  Bytes data{};
  std::optional<Bytes> image{};
  std::uint8_t image_info = 0;
  std::uint16_t hole_offset = 0;
  std::uint16_t hole_length = 0;  // written if compressed and with a hole
};

struct WrittenRecord {
  std::uint8_t manager = 10;
  std::uint8_t info = 0;
  std::uint32_t xid = 0;
  std::vector<WrittenBlock> blocks{};
  std::optional<std::uint16_t> origin{};
  std::optional<std::uint32_t> top_xid{};
  Bytes main_data{};
};

template <typename T>
void PutNumber(Bytes& bytes, T value) {
  const std::size_t at = bytes.size();
  bytes.resize(at + sizeof value);
  StoreLittleEndian(bytes.data() + at, value);
}

inline void PutBytes(Bytes& to, const Bytes& bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

inline void PutBlockHeader(Bytes& to, const WrittenBlock& block) {
  const int flags = block.flags | (block.image ? 0x10 : 0) | (block.data.empty() ? 0 : 0x20);
  PutNumber(to, block.id);
  PutNumber(to, static_cast<std::uint8_t>(flags));
  PutNumber(to, static_cast<std::uint16_t>(block.data.size()));
  if (block.image) {
    PutNumber(to, static_cast<std::uint16_t>(block.image->size()));
    PutNumber(to, block.hole_offset);
    PutNumber(to, block.image_info);
    if ((block.image_info & 0x01) != 0 && (block.image_info & 0x1C) != 0) {
      PutNumber(to, block.hole_length);
    }
  }
  if ((flags & 0x80) == 0) {
    PutNumber(to, block.file.tablespace);
    PutNumber(to, block.file.database);
    PutNumber(to, block.file.relation);
  }
  PutNumber(to, block.block);
}

// The bytes of the record, without xl_prev and the CRC.
inline Bytes EncodeRecord(const WrittenRecord& record) {
  Bytes bytes(kWalRecordHeader);
  for (const WrittenBlock& block : record.blocks) {
    PutBlockHeader(bytes, block);
  }
  if (record.origin) {
    PutNumber(bytes, std::uint8_t{253});
    PutNumber(bytes, *record.origin);
  }
  if (record.top_xid) {
    PutNumber(bytes, std::uint8_t{252});
    PutNumber(bytes, *record.top_xid);
  }
  if (record.main_data.size() > 255) {
    PutNumber(bytes, std::uint8_t{254});
    PutNumber(bytes, static_cast<std::uint32_t>(record.main_data.size()));
  } else if (!record.main_data.empty()) {
    PutNumber(bytes, std::uint8_t{255});
    PutNumber(bytes, static_cast<std::uint8_t>(record.main_data.size()));
  }
  for (const WrittenBlock& block : record.blocks) {
    PutBytes(bytes, block.image.value_or(Bytes()));
    PutBytes(bytes, block.data);
  }
  PutBytes(bytes, record.main_data);
  StoreLittleEndian(bytes.data(), static_cast<std::uint32_t>(bytes.size()));
  StoreLittleEndian(bytes.data() + 4, record.xid);
  bytes[16] = record.info;
  bytes[17] = record.manager;
  return bytes;
}

inline void SetCrc(Bytes& record) {
  Crc32c crc;
  crc.Add(ByteView(record).subspan(kWalRecordHeader));
  crc.Add(ByteView(record).first(20));
  StoreLittleEndian(record.data() + 20, crc.value());
}

class WalWriter {
 public:
  struct Options {
    Lsn begin{std::uint64_t{7} << 20};
    std::uint64_t segment_size = std::uint64_t{1} << 20;
    std::size_t page_size = 8192;
    std::uint16_t magic = 0xD110;
    std::uint64_t system_identifier = 7711348379840072545U;
    TimelineId timeline = 1;
    Lsn previous{};
  };

  explicit WalWriter(const Options& options) : options_(options), previous_(options.previous) {}

  Lsn Add(const WrittenRecord& record) { return AddBytes(EncodeRecord(record)); }
  // A record that is encoded already. xl_prev and the CRC are set.
  Lsn AddBytes(Bytes record) {
    const Lsn begin = Begin();
    StoreLittleEndian(record.data() + 8, previous_.value);
    SetCrc(record);
    Append(record, 0);
    previous_ = begin;
    return begin;
  }
  // XLOG_SWITCH, and zeros up to the end of the segment.
  Lsn Switch() {
    const Lsn begin = Add({.manager = kXlogManager, .info = kXlogSwitch});
    bytes_.resize((bytes_.size() + options_.segment_size - 1) / options_.segment_size *
                  options_.segment_size);
    return begin;
  }
  // A record of which a crash leaves `pages` pages, and the record in its place, which is returned.
  // The record must be longer.
  Lsn GiveUp(const WrittenRecord& record, std::size_t pages) {
    Bytes bytes = EncodeRecord(record);
    const Lsn begin = Begin();
    StoreLittleEndian(bytes.data() + 8, previous_.value);
    SetCrc(bytes);
    const std::size_t page = bytes_.size() / options_.page_size;
    Append(bytes, 0);
    bytes_.resize((page + pages) * options_.page_size);
    gives_up_ = true;
    Bytes data;
    PutNumber(data, begin.value);
    PutNumber(data, std::uint64_t{1});
    return Add({.manager = kXlogManager, .info = 0xD0, .main_data = data});
  }
  // Adds a record, so that `left` bytes of the page are left for the next one.
  Lsn FillTo(std::size_t left) {
    Begin();
    const std::size_t room = options_.page_size - bytes_.size() % options_.page_size;
    const std::size_t data = room - left - kWalRecordHeader;
    WrittenRecord record;
    if (data <= 257) {
      record.main_data.resize(data - 2);
    } else if (data <= 260) {
      record.origin = 1;
      record.main_data.resize(data - 5);
    } else {
      record.main_data.resize(data - 5);
    }
    return Add(record);
  }

  const Options& options() const { return options_; }
  Lsn position() const { return Lsn{options_.begin.value + bytes_.size()}; }
  Lsn previous() const { return previous_; }
  Bytes& bytes() { return bytes_; }
  // All of it, filled up with zeros to whole segments.
  Bytes Whole() const {
    Bytes whole = bytes_;
    whole.resize((bytes_.size() + options_.segment_size - 1) / options_.segment_size *
                 options_.segment_size);
    return whole;
  }

 private:
  // Where the next record begins.
  Lsn Begin() {
    bytes_.resize((bytes_.size() + 7) & ~std::size_t{7});
    BeginPageIfDue(0);
    return position();
  }
  void Append(const Bytes& bytes, std::size_t from) {
    while (from < bytes.size()) {
      BeginPageIfDue(static_cast<std::uint32_t>(bytes.size() - from));
      const std::size_t room = options_.page_size - bytes_.size() % options_.page_size;
      const std::size_t part = std::min(room, bytes.size() - from);
      bytes_.insert(bytes_.end(), bytes.begin() + static_cast<std::ptrdiff_t>(from),
                    bytes.begin() + static_cast<std::ptrdiff_t>(from + part));
      from += part;
    }
  }
  void BeginPageIfDue(std::uint32_t remaining) {
    if (bytes_.size() % options_.page_size != 0) {
      return;
    }
    const bool is_long = bytes_.size() % options_.segment_size == 0;
    const std::uint64_t address = position().value;
    const int overwrites = options_.magic >= 0xD120 ? 4 : 8;
    const int info = (is_long ? 2 : 0) | (remaining > 0 ? 1 : 0) | (gives_up_ ? overwrites : 0);
    gives_up_ = false;
    PutNumber(bytes_, options_.magic);
    PutNumber(bytes_, static_cast<std::uint16_t>(info));
    PutNumber(bytes_, options_.timeline);
    PutNumber(bytes_, address);
    PutNumber(bytes_, remaining);
    PutNumber(bytes_, std::uint32_t{0});
    if (is_long) {
      PutNumber(bytes_, options_.system_identifier);
      PutNumber(bytes_, static_cast<std::uint32_t>(options_.segment_size));
      PutNumber(bytes_, static_cast<std::uint32_t>(options_.page_size));
    }
  }

  const Options options_;
  Lsn previous_;
  Bytes bytes_;
  bool gives_up_ = false;
};

// All that a record says, as text. `main_data` is said by its length and CRC.
inline std::string DescribeBlock(const RelationFile& file, int id, int fork, std::uint32_t block,
                                 std::size_t data, std::size_t image, bool init, bool applies) {
  return fmt::format(" [{} {}/{}/{} {} {} data {} image {}{}{}]", id, file.tablespace,
                     file.database, file.relation, fork, block, data, image, init ? " init" : "",
                     applies ? " apply" : "");
}

inline std::string DescribeRecord(const WalRecord& record) {
  Crc32c crc;
  crc.Add(record.main_data);
  std::string text = fmt::format(
      "{} prev {} xid {} manager {} info {} origin {} top {} main {} {:08X}",
      FormatLsn(record.begin), FormatLsn(record.previous), record.xid, record.manager, record.info,
      record.origin.value_or(0), record.top_xid.value_or(0), record.main_data_length, crc.value());
  for (const BlockReference& block : record.blocks) {
    text += DescribeBlock(block.file, block.id, block.fork, block.block, block.data_length,
                          block.image_length, block.will_init, block.applies_image);
  }
  return text;
}

inline std::string DescribeWritten(const WrittenRecord& record, Lsn begin, Lsn previous) {
  Crc32c crc;
  crc.Add(record.main_data);
  std::string text = fmt::format(
      "{} prev {} xid {} manager {} info {} origin {} top {} main {} {:08X}", FormatLsn(begin),
      FormatLsn(previous), record.xid, record.manager, record.info, record.origin.value_or(0),
      record.top_xid.value_or(0), record.main_data.size(), crc.value());
  RelationFile file;
  for (const WrittenBlock& block : record.blocks) {
    file = (block.flags & 0x80) != 0 ? file : block.file;
    text += DescribeBlock(file, block.id, block.flags & 0x0F, block.block, block.data.size(),
                          block.image ? block.image->size() : 0, (block.flags & 0x40) != 0,
                          (block.image_info & 0x02) != 0);
  }
  return text;
}

}  // namespace veza
