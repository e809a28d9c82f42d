// Names for relations that WAL names by numbers, out of backups: pg_class and pg_namespace of their
// databases are read from the files of a backup, so no server is needed
// (core/postgres/catalog_pages.h).
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/codec/json.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/repository.h"
#include "core/timeline/timeline.h"
#include "core/wal/wal_record.h"

namespace veza {

// In the encoding of the database, which may not be UTF-8. Empty: not known.
struct NameOfRelation {
  std::string database;  // empty for what all databases share
  std::string schema;
  std::string name;
};
using NamesOfRelations = std::map<RelationFile, NameOfRelation>;

// Finds names for what is `wanted`. The newest backup of the system that had ended by `moment`
// tells what its relations were called when it was made. What it does not know, the oldest later
// backup tells. What was made and dropped, or rewritten twice, between two backups stays unknown.
//
// Reads the manifests of both, and pg_class of the databases that are wanted, page by page. Memory:
// a few times what is wanted. Errors are those of the store and of damaged backups: the names are
// then not known.
Result<NamesOfRelations> FindNamesOfRelations(const Repository& repository,
                                              const BackupCatalog& catalog,
                                              std::uint64_t system_identifier, TimePoint moment,
                                              const std::set<RelationFile>& wanted);

// What the transactions touched, for FindNamesOfRelations().
std::set<RelationFile> RelationsIn(const std::vector<TransactionStory>& stories);
// For people: "shop.public.orders", or FormatRelation() where the name is not known.
std::string DescribeRelation(const RelationFile& file, const NamesOfRelations& names);
// What the transaction touched, as vezactl and the server return it: the numbers, the count of
// blocks, and "database_name" (not for what all databases share), "schema" and "name" where they
// are known.
Json RelationsToJson(const TransactionStory& story, const NamesOfRelations& names);

}  // namespace veza
