// WAL that a test makes up, byte by byte as the server writes it (access/xlog_internal.h,
// access/xlogrecord.h), in pages of 8 KiB, without CRCs.
#pragma once

#include <cstring>
#include <optional>

#include "core/repository/test_repository.h"

namespace veza {

class MadeUpWal {
 public:
  explicit MadeUpWal(SegmentNumber segment, TimelineId timeline = 1)
      : begin_{segment * kTestSegmentSize}, timeline_(timeline) {}

  // Adds a record of a resource manager with this main data. Returns its position.
  Lsn Add(std::uint8_t manager, std::uint8_t info, const Bytes& data) {
    Bytes record(24);
    if (data.size() < 256) {
      record.push_back(255);
      record.push_back(static_cast<std::uint8_t>(data.size()));
    } else {
      record.push_back(254);
      Put(record, static_cast<std::uint32_t>(data.size()));
    }
    record.insert(record.end(), data.begin(), data.end());
    const auto length = static_cast<std::uint32_t>(record.size());
    std::memcpy(record.data(), &length, sizeof length);
    record[16] = info;
    record[17] = manager;
    while (content_.size() % 8 != 0) {
      content_.push_back(0);
    }
    BeginPageIfDue(0);
    const Lsn lsn{begin_.value + content_.size()};
    std::memcpy(record.data() + 8, &previous_.value, sizeof previous_.value);
    previous_ = lsn;
    std::size_t written = 0;
    while (written < record.size()) {
      BeginPageIfDue(static_cast<std::uint32_t>(record.size() - written));
      const std::size_t room = kPage - content_.size() % kPage;
      const std::size_t part = std::min(room, record.size() - written);
      content_.insert(content_.end(), record.begin() + static_cast<std::ptrdiff_t>(written),
                      record.begin() + static_cast<std::ptrdiff_t>(written + part));
      written += part;
    }
    return lsn;
  }
  Lsn Commit(TimePoint time) {
    Bytes data;
    Put(data, static_cast<std::int64_t>(time.time_since_epoch().count() - 946'684'800'000'000));
    return Add(1, 0x80, data);  // more data follow the time
  }
  Lsn Level(std::int32_t level) {
    Bytes data(28);
    std::memcpy(data.data() + 20, &level, sizeof level);
    return Add(0, 0x60, data);
  }
  Lsn Switch() { return Add(0, 0x40, {}); }
  Lsn Fill(std::size_t bytes) { return Add(10, 0, Bytes(bytes, 0x60)); }

  // The WAL so far, filled up with zeros.
  Bytes Segment() const {
    Bytes segment = content_;
    segment.resize(kTestSegmentSize);
    return segment;
  }
  std::size_t size() const { return content_.size(); }

 private:
  static constexpr std::size_t kPage = 8192;

  template <typename T>
  static void Put(Bytes& bytes, T value) {
    const auto* const begin = reinterpret_cast<const std::uint8_t*>(&value);
    bytes.insert(bytes.end(), begin, begin + sizeof value);
  }
  void BeginPageIfDue(std::uint32_t remaining) {
    if (content_.size() % kPage != 0) {
      return;
    }
    const bool is_long = content_.empty();
    const std::uint64_t address = begin_.value + content_.size();
    Put(content_, std::uint16_t{0xD110});
    Put(content_, static_cast<std::uint16_t>((is_long ? 2 : 0) | (remaining > 0 ? 1 : 0)));
    Put(content_, timeline_);
    Put(content_, address);
    Put(content_, remaining);
    Put(content_, std::uint32_t{0});
    if (is_long) {
      Put(content_, kTestSystem);
      Put(content_, static_cast<std::uint32_t>(kTestSegmentSize));
      Put(content_, static_cast<std::uint32_t>(kPage));
    }
  }

  Lsn begin_;
  Lsn previous_;
  TimelineId timeline_;
  Bytes content_;
};

}  // namespace veza
