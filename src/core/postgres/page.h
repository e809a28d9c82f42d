// The facts about PostgreSQL's pages that a backup needs.
//
// Sources: storage/bufpage.h (PageHeaderData: pd_lsn at 0 as two u32, high then low; pd_checksum
// u16 at 8; pd_flags u16 at 10; pd_lower u16 at 12; pd_upper u16 at 14; pd_upper is 0 in a new
// page) and storage/checksum_impl.h (FNV-1a in 32 parallel lanes, two rounds of zeroes, XOR with
// the block number, modulo 65535 plus 1). Unchanged in 15 to 18. Both layouts are those of
// little-endian machines. The tests compare the results with pages that a real server wrote.
#pragma once

#include <cstdint>

#include "core/bytes.h"
#include "core/postgres/lsn.h"

namespace veza {

Lsn PageLsn(const std::uint8_t* page);
bool PageIsNew(const std::uint8_t* page);
std::uint16_t StoredPageChecksum(const std::uint8_t* page);
// PD_ALL_VISIBLE.
bool PageIsMarkedAllVisible(const std::uint8_t* page);

// `page_size` is a multiple of 128. `block` is the block's number within the relation fork. The
// page is not changed.
std::uint16_t ComputePageChecksum(const std::uint8_t* page, std::size_t page_size,
                                  std::uint32_t block);

bool IsAllZero(ByteView bytes);

}  // namespace veza
