// Rows of pg_class, pg_namespace and pg_database, read from the pages of their files without a
// server.
//
// Sources: storage/bufpage.h and storage/itemid.h (line pointers from byte 24 on, each of 15 bits
// offset, 2 bits state, 15 bits length), access/htup_details.h (t_xmax at 4, t_infomask at 20,
// t_hoff at 22), catalog/pg_class.h (oid 0, relname 4, relnamespace 68, relfilenode 88,
// reltablespace 92), catalog/pg_namespace.h (oid 0, nspname 4),
// catalog/pg_database.h (oid 0, datname 4, encoding 72), utils/cache/relmapper.c (magic,
// number of mappings, pairs of oid and file number). All of this is the same in 15 to 18, on
// little-endian machines.
//
// Pages of a backup were copied while the server ran, and nobody asks here which transactions had
// committed. So a row may be one that was replaced, or that was never committed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "core/bytes.h"
#include "core/error.h"
#include "core/postgres/encoding.h"

namespace veza {

inline constexpr std::uint32_t kClassOid = 1259;      // pg_class
inline constexpr std::uint32_t kNamespaceOid = 2615;  // pg_namespace
inline constexpr std::uint32_t kDatabaseOid = 1262;   // pg_database

struct ClassRow {
  std::uint32_t oid = 0;
  std::string name;  // in the encoding of the database, below 64 bytes
  std::uint32_t schema = 0;
  std::uint32_t file = 0;        // 0: the map of the database says it
  std::uint32_t tablespace = 0;  // 0: that of the database
  bool is_current = false;       // no transaction has replaced or deleted it, as far as it tells
};
struct NamespaceRow {
  std::uint32_t oid = 0;
  std::string name;
  bool is_current = false;
};
struct DatabaseRow {
  std::uint32_t oid = 0;
  PgEncoding encoding = kSqlAscii;
  bool is_current = false;
};

// Visit the rows of a page of pg_class, pg_namespace or pg_database. What is no such row is passed
// over, as is a page that is none.
void VisitClassRows(ByteView page, const std::function<void(const ClassRow&)>& visit);
void VisitNamespaceRows(ByteView page, const std::function<void(const NamespaceRow&)>& visit);
void VisitDatabaseRows(ByteView page, const std::function<void(const DatabaseRow&)>& visit);

// Reads a file pg_filenode.map: oids of catalogs, with the numbers of their files. kDataCorrupted
// if it is none. Its checksum is not looked at.
Result<std::map<std::uint32_t, std::uint32_t>> ParseFilenodeMap(ByteView content);

}  // namespace veza
