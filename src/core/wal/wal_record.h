// One record of WAL: its header, the blocks that it names, and its main data.
//
// Source: access/xlogrecord.h and DecodeXLogRecord() in xlogreader.c. The layout is the same in
// PostgreSQL 15 to 18. Integers are in the byte order of the machine that wrote the record;
// little-endian is required, as everywhere in the core.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "core/bytes.h"
#include "core/postgres/lsn.h"

namespace veza {

// RelFileNode (15), RelFileLocator (16 and later): the same bytes.
struct RelationFile {
  std::uint32_t tablespace = 0;
  std::uint32_t database = 0;  // 0: shared by all databases
  std::uint32_t relation = 0;  // the number in the name of the file
  // NOLINTNEXTLINE(modernize-use-nullptr): a false alarm of clang-tidy 14
  auto operator<=>(const RelationFile&) const = default;
};

// ForkNumber (common/relpath.h).
inline constexpr std::uint8_t kMainFork = 0;
inline constexpr std::uint8_t kFreeSpaceMapFork = 1;
inline constexpr std::uint8_t kVisibilityMapFork = 2;
inline constexpr std::uint8_t kInitFork = 3;

struct BlockReference {
  RelationFile file;
  std::uint32_t block = 0;
  std::uint8_t id = 0;    // 0 to 32, rising within a record
  std::uint8_t fork = 0;  // as the record says: not necessarily one that exists
  bool has_image = false;
  bool applies_image = false;      // replay puts the image in place of the page
  bool will_init = false;          // replay makes the page anew
  std::uint16_t image_length = 0;  // as stored: compressed perhaps, and without the page's hole
  std::uint16_t data_length = 0;   // without the image
};

// `blocks` and `main_data` are views. Those of a record that a visitor gets are valid during its
// call only.
struct WalRecord {
  Lsn begin;     // where its header begins
  Lsn end;       // behind its last byte, aligned: the next record begins here, or behind the header
                 // of a page that begins here. Of XLOG_SWITCH the end of the segment
  Lsn previous;  // xl_prev
  std::uint32_t length = 0;  // xl_tot_len
  std::uint32_t xid = 0;
  std::uint32_t crc = 0;     // as stored
  std::uint8_t manager = 0;  // xl_rmid
  std::uint8_t info = 0;     // xl_info
  std::span<const BlockReference> blocks;
  std::optional<std::uint32_t> top_xid;
  std::optional<std::uint16_t> origin;
  ByteView main_data;  // shorter than main_data_length if the record is longer than what is kept
  std::uint32_t main_data_length = 0;
};

inline constexpr std::size_t kWalInfoAt = 16;                    // xl_info, in the header
inline constexpr std::size_t kWalManagerAt = 17;                 // xl_rmid
inline constexpr std::size_t kWalRecordHeader = 24;              // XLogRecord
inline constexpr std::size_t kMostBlocks = 33;                   // XLR_MAX_BLOCK_ID + 1
inline constexpr std::uint32_t kLargestWalRecord = 1020U << 20;  // XLogRecordMaxSize (16 and later)
// The header of a record with the headers of its blocks and of its data is not longer. The server
// writes at most 928 bytes: 33 blocks of 27 bytes each, the two transaction ids and the length.
inline constexpr std::size_t kMostHeaderBytes = 1024;

inline constexpr std::uint8_t kXlogManager = 0;         // RM_XLOG_ID
inline constexpr std::uint8_t kTransactionManager = 1;  // RM_XACT_ID
inline constexpr std::uint8_t kXlogSwitch = 0x40;       // XLOG_SWITCH, of kXlogManager
// The bits of xl_info that the resource manager gives a meaning (XLR_RMGR_INFO_MASK).
inline constexpr std::uint8_t kManagerInfo = 0xF0;

// Takes the headers of one record apart. `record` is what is there of it from its beginning, at
// least kWalRecordHeader bytes; `length` in its header must be kWalRecordHeader to
// kLargestWalRecord.
class WalRecordHeaders {
 public:
  enum class Outcome {
    kWhole,       // all headers are there
    kIncomplete,  // they go on behind `record`
    kDamaged,     // see damage()
  };
  Outcome Parse(ByteView record);

  // After kWhole: without begin, end and main data, which the caller fills in. `blocks` is valid
  // until the next Parse().
  WalRecord& record() { return record_; }
  // After kWhole: where the data of the blocks begin, and the main data behind them.
  std::size_t data_begin() const { return data_begin_; }
  std::size_t main_data_begin() const { return data_begin_ + block_data_; }
  // After kDamaged: what is wrong, for a message.
  std::string_view damage() const { return damage_; }

 private:
  class Reader;
  Outcome ParseBlock(Reader& reader, std::uint8_t id);
  Outcome ParseImage(Reader& reader, BlockReference& block);
  Outcome Incomplete(ByteView record);
  Outcome Damaged(std::string_view damage);

  WalRecord record_;
  std::array<BlockReference, kMostBlocks> blocks_;
  std::size_t block_count_ = 0;
  std::size_t data_begin_ = 0;
  std::size_t block_data_ = 0;
  std::string_view damage_;
};

}  // namespace veza
