// Names for relations that WAL names by numbers, out of backups: pg_class and pg_namespace of their
// databases are read from the files of a backup, so no server is needed
// (core/postgres/catalog_pages.h).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "core/archive/archive_map.h"
#include "core/codec/json.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/repository.h"
#include "core/timeline/timeline.h"
#include "core/wal/wal_record.h"

namespace veza {

// In UTF-8, whatever the encoding of the database (core/postgres/encoding.h). Empty: not known.
struct NameOfRelation {
  std::string database;  // empty for what all databases share
  std::string schema;
  std::string name;
};

// A file as WAL of the timeline names it, or a database, which has no number of a relation.
// Timelines that parted give the same numbers to relations of their own.
struct RelationOfTimeline {
  TimelineId timeline = 0;
  RelationFile file;
  bool operator<(const RelationOfTimeline& other) const {
    return std::tie(timeline, file) < std::tie(other.timeline, other.file);
  }
};
using NamesOfRelations = std::map<RelationOfTimeline, NameOfRelation>;
// With where the record of the end of the first transaction begins that touched it.
using RelationsWanted = std::map<RelationOfTimeline, Lsn>;

// Finds names for what is `wanted`. For each timeline, the newest backup of the system that had
// ended before its first transaction tells what its relations were called when it was made. What it
// does not know, the oldest later backup tells, and then the oldest one behind the last transaction
// of the rest. What was made and dropped, or rewritten twice, between two of these stays unknown.
//
// A backup is asked only if it lies on the way that `archive` knows to the timeline, or if the way
// to the backup goes through the transaction. After a recovery to an earlier point, backups of the
// one branch say nothing of what only the other one made.
//
// Reads the manifests of at most three backups for each timeline, and pg_class of the databases
// that are wanted, page by page. For databases alone it reads no manifest. Memory: a few times what
// is wanted. Errors are those of the store and of damaged backups: the names are then not known.
Result<NamesOfRelations> FindNamesOfRelations(const Repository& repository,
                                              const BackupCatalog& catalog,
                                              const ArchiveMap& archive,
                                              std::uint64_t system_identifier,
                                              const RelationsWanted& wanted);

// What the transactions touched, or what the events name, for FindNamesOfRelations().
RelationsWanted RelationsIn(const std::vector<TransactionStory>& stories);
RelationsWanted RelationsIn(const std::vector<TimelineEvent>& events);
// Writes the texts with names where they are known.
void NameEvents(const NamesOfRelations& names, std::vector<TimelineEvent>& events);
// For people: "shop.public.orders", "shop", or NumbersOf() where the name is not known.
std::string DescribeRelation(const RelationOfTimeline& relation, const NamesOfRelations& names);
// What the transaction touched, as vezactl and the server return it: the numbers, the count of
// blocks, and "database_name" (not for what all databases share), "schema" and "name" where they
// are known.
Json RelationsToJson(const TransactionStory& story, const NamesOfRelations& names);

}  // namespace veza
