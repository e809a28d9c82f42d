#include "core/postgres/catalog_pages.h"

#include <algorithm>
#include <cstring>

namespace veza {

namespace {

constexpr std::size_t kPageHeader = 24;  // SizeOfPageHeaderData
constexpr std::size_t kLowerAt = 12;     // pd_lower
constexpr std::size_t kLinePointer = 4;
constexpr std::uint32_t kNormal = 1;  // LP_NORMAL
constexpr std::uint32_t kFifteenBits = 0x7FFF;

constexpr std::size_t kTupleHeader = 23;  // SizeofHeapTupleHeader
constexpr std::size_t kXmaxAt = 4;
constexpr std::size_t kInfomaskAt = 20;
constexpr std::size_t kDataOffsetAt = 22;
constexpr std::uint16_t kOnlyLocked = 0x0080;   // HEAP_XMAX_LOCK_ONLY
constexpr std::uint16_t kXminInvalid = 0x0200;  // HEAP_XMIN_INVALID
constexpr std::uint16_t kXminFrozen = 0x0300;   // HEAP_XMIN_FROZEN
constexpr std::uint16_t kXmaxInvalid = 0x0800;  // HEAP_XMAX_INVALID

constexpr std::size_t kNameSize = 64;  // NAMEDATALEN
constexpr std::size_t kNameAt = 4;
constexpr std::size_t kSchemaAt = 68;
constexpr std::size_t kFileAt = 88;
constexpr std::size_t kTablespaceAt = 92;
constexpr std::size_t kClassFixed = 96;
constexpr std::size_t kNamespaceFixed = 68;
constexpr std::size_t kEncodingAt = 72;
constexpr std::size_t kDatabaseFixed = 76;

constexpr std::uint32_t kMapMagic = 0x592717;  // RELMAPPER_FILEMAGIC
constexpr std::size_t kMapHeader = 8;
constexpr std::size_t kMapping = 8;
constexpr std::uint32_t kMostMappings = 64;  // 62 until 15

std::uint32_t Number(ByteView bytes, std::size_t at) {
  return LoadLittleEndian<std::uint32_t>(bytes.data() + at);
}

// Whether nobody has replaced or deleted the row, and its own transaction was not rolled back.
bool IsCurrent(ByteView tuple) {
  const auto infomask = LoadLittleEndian<std::uint16_t>(tuple.data() + kInfomaskAt);
  const bool rolled_back = (infomask & kXminFrozen) == kXminInvalid;
  return !rolled_back &&
         ((infomask & (kXmaxInvalid | kOnlyLocked)) != 0 || Number(tuple, kXmaxAt) == 0);
}

// Visits the rows that have at least `fixed` bytes.
template <typename Visitor>
void VisitRows(ByteView page, std::size_t fixed, Visitor visit) {
  if (page.size() < kPageHeader) {
    return;
  }
  const std::size_t end =
      std::min<std::size_t>(LoadLittleEndian<std::uint16_t>(page.data() + kLowerAt), page.size());
  for (std::size_t at = kPageHeader; at + kLinePointer <= end; at += kLinePointer) {
    const std::uint32_t pointer = Number(page, at);
    const std::size_t offset = pointer & kFifteenBits;
    const std::size_t length = pointer >> 17;
    if ((pointer >> 15 & 3) != kNormal || length < kTupleHeader || offset + length > page.size()) {
      continue;
    }
    const ByteView tuple = page.subspan(offset, length);
    const std::size_t data = tuple[kDataOffsetAt];
    if (data >= kTupleHeader && data + fixed <= length) {
      visit(tuple.subspan(data), IsCurrent(tuple));
    }
  }
}

// Empty if there is no name.
std::string Name(ByteView row) {
  const auto* const begin = reinterpret_cast<const char*>(row.data() + kNameAt);
  return {begin, strnlen(begin, kNameSize)};
}

}  // namespace

void VisitClassRows(ByteView page, const std::function<void(const ClassRow&)>& visit) {
  VisitRows(page, kClassFixed, [&](ByteView row, bool is_current) {
    visit({.oid = Number(row, 0),
           .name = Name(row),
           .schema = Number(row, kSchemaAt),
           .file = Number(row, kFileAt),
           .tablespace = Number(row, kTablespaceAt),
           .is_current = is_current});
  });
}

void VisitNamespaceRows(ByteView page, const std::function<void(const NamespaceRow&)>& visit) {
  VisitRows(page, kNamespaceFixed, [&](ByteView row, bool is_current) {
    visit({.oid = Number(row, 0), .name = Name(row), .is_current = is_current});
  });
}

void VisitDatabaseRows(ByteView page, const std::function<void(const DatabaseRow&)>& visit) {
  VisitRows(page, kDatabaseFixed, [&](ByteView row, bool is_current) {
    visit({.oid = Number(row, 0),
           .encoding = static_cast<PgEncoding>(Number(row, kEncodingAt)),
           .is_current = is_current});
  });
}

Result<std::map<std::uint32_t, std::uint32_t>> ParseFilenodeMap(ByteView content) {
  const Error error = MakeError(ErrorCode::kDataCorrupted, "this is no map of file numbers");
  if (content.size() < kMapHeader || Number(content, 0) != kMapMagic) {
    return error;
  }
  const std::uint32_t count = Number(content, 4);
  if (count > kMostMappings || kMapHeader + count * kMapping > content.size()) {
    return error;
  }
  std::map<std::uint32_t, std::uint32_t> files;
  for (std::size_t at = kMapHeader; at < kMapHeader + count * kMapping; at += kMapping) {
    files[Number(content, at)] = Number(content, at + 4);
  }
  return files;
}

}  // namespace veza
