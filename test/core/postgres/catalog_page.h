// Pages of pg_class, pg_namespace and pg_database, as the server writes them.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "core/bytes.h"
#include "core/postgres/lsn.h"

namespace veza {

class CatalogPage {
 public:
  explicit CatalogPage(Lsn lsn = {}) : page_(8192) {
    Put(0, static_cast<std::uint32_t>(lsn.value >> 32));
    Put(4, static_cast<std::uint32_t>(lsn.value));
    Put(16, std::uint16_t{8192});      // pd_special
    Put(18, std::uint16_t{8192 | 4});  // pd_pagesize_version
    SetBounds();
  }

  // A row of pg_class. `xmax`: 0, or the transaction that has replaced it.
  CatalogPage& Class(std::uint32_t oid, const std::string& name, std::uint32_t schema,
                     std::uint32_t file, std::uint32_t tablespace = 0, std::uint32_t xmax = 0) {
    Bytes row = Named(oid, name, 144);
    StoreLittleEndian(row.data() + 68, schema);
    StoreLittleEndian(row.data() + 88, file);
    StoreLittleEndian(row.data() + 92, tablespace);
    return Row(row, xmax);
  }
  CatalogPage& Namespace(std::uint32_t oid, const std::string& name, std::uint32_t xmax = 0) {
    return Row(Named(oid, name, 72), xmax);
  }
  CatalogPage& Database(std::uint32_t oid, const std::string& name, std::uint32_t encoding,
                        std::uint32_t xmax = 0) {
    Bytes row = Named(oid, name, 144);
    StoreLittleEndian(row.data() + 72, encoding);
    return Row(row, xmax);
  }
  // A row whose transaction was rolled back.
  CatalogPage& RolledBack() {
    Put(upper_ + 20, std::uint16_t{0x0A00});  // HEAP_XMIN_INVALID, HEAP_XMAX_INVALID
    return *this;
  }
  // The last row, of which only its line pointer is left.
  CatalogPage& Pruned() {
    Put(lower_ - 4U, std::uint32_t{3U << 15});  // LP_DEAD
    return *this;
  }
  const Bytes& bytes() const { return page_; }

 private:
  static Bytes Named(std::uint32_t oid, const std::string& name, std::size_t size) {
    Bytes row(size);
    StoreLittleEndian(row.data(), oid);
    std::ranges::copy(name, row.begin() + 4);
    return row;
  }
  CatalogPage& Row(const Bytes& row, std::uint32_t xmax) {
    constexpr std::uint16_t kHeader = 32;  // with a null bitmap
    const auto length = static_cast<std::uint16_t>(kHeader + row.size());
    upper_ = static_cast<std::uint16_t>((upper_ - length) & ~7U);
    Put(lower_, std::uint32_t{upper_} | 1U << 15 | std::uint32_t{length} << 17);
    lower_ += 4;
    Put(upper_, std::uint32_t{731});
    Put(upper_ + 4U, xmax);
    Put(upper_ + 20U, static_cast<std::uint16_t>(xmax == 0 ? 0x0901 : 0x0101));
    page_[upper_ + 22U] = kHeader;
    std::ranges::copy(row, page_.begin() + upper_ + kHeader);
    SetBounds();
    return *this;
  }
  void SetBounds() {
    Put(12, lower_);
    Put(14, upper_);
  }
  template <typename T>
  void Put(std::size_t at, T value) {
    StoreLittleEndian(page_.data() + at, value);
  }

  Bytes page_;
  std::uint16_t lower_ = 24;
  std::uint16_t upper_ = 8192;
};

// A file pg_filenode.map: pairs of oid and number.
inline Bytes FilenodeMap(const std::vector<std::pair<std::uint32_t, std::uint32_t>>& mappings) {
  Bytes map(512);
  StoreLittleEndian(map.data(), std::uint32_t{0x592717});
  StoreLittleEndian(map.data() + 4, static_cast<std::uint32_t>(mappings.size()));
  std::size_t at = 8;
  for (const auto& [oid, number] : mappings) {
    StoreLittleEndian(map.data() + at, oid);
    StoreLittleEndian(map.data() + at + 4, number);
    at += 8;
  }
  return map;
}

}  // namespace veza
