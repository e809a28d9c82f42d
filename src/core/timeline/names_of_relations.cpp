#include "core/timeline/names_of_relations.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "core/postgres/catalog_pages.h"
#include "core/postgres/relation_names.h"
#include "core/repository/backup_files.h"

namespace veza {

namespace {

constexpr std::string_view kMapFile = "/pg_filenode.map";
constexpr std::size_t kLargestMap = 4096;
// A relation of 32 TB has so many files, and a cluster has fewer databases.
constexpr std::size_t kMostFiles = 100'000;
// Its pg_class tells the names of what all databases share.
constexpr std::uint32_t kTemplateDatabase = 1;
constexpr std::uint32_t kGlobalTablespace = 1664;

// A file in the directory of a database, whatever its tablespace.
struct FileOfDatabase {
  std::uint32_t database = 0;
  std::uint32_t number = 0;
  auto operator<=>(const FileOfDatabase&) const = default;
};

// What a relation is called while it is rewritten (make_new_heap in commands/cluster.c).
bool IsTransientName(std::string_view name) {
  constexpr std::string_view kPrefix = "pg_temp_";
  return name.starts_with(kPrefix) && IsDigits(name.substr(kPrefix.size()));
}

// Of rows that speak of the same relation, the one that is current counts. A dead row may be that
// of a rewrite: another dead one says more.
template <typename Key>
class Best {
 public:
  void Offer(const Key& key, const std::string& name, std::uint32_t schema, bool is_current) {
    const int rank = is_current ? 2 : IsTransientName(name) ? 0 : 1;
    const auto [entry, is_new] = entries_.try_emplace(key, Entry{name, schema, rank});
    if (!is_new && rank > entry->second.rank) {
      entry->second = {name, schema, rank};
    }
  }
  struct Entry {
    std::string name;
    std::uint32_t schema = 0;
    int rank = 0;
  };
  const std::map<Key, Entry>& entries() const { return entries_; }

 private:
  std::map<Key, Entry> entries_;
};

class NamesInBackup {
 public:
  NamesInBackup(const Repository& repository, const BackupSummary& backup)
      : repository_(repository), backup_(backup) {}

  Result<std::map<RelationFile, NameOfRelation>> Find(const std::set<RelationFile>& wanted) {
    std::map<RelationFile, NameOfRelation> names;
    for (const RelationFile& file : wanted) {
      if (std::string name = DatabaseName(file.database); file.relation == 0 && !name.empty()) {
        names.try_emplace(file, NameOfRelation{std::move(name), "", ""});
      }
    }
    Want(wanted);
    if (by_number_.empty()) {
      return names;
    }
    RETURN_IF_ERROR(ReadMaps());
    RETURN_IF_ERROR(ReadClasses());
    RETURN_IF_ERROR(ReadNamespaces());
    RETURN_IF_ERROR(ReadEncodings());
    for (const auto& [file, entry] : classes_.entries()) {
      const std::uint32_t read_in = file.database == 0 ? kTemplateDatabase : file.database;
      const auto schema = namespaces_.entries().find({read_in, entry.schema});
      if (schema != namespaces_.entries().end()) {
        names.try_emplace(
            file, NameOfRelation{DatabaseName(file.database), InUtf8(read_in, schema->second.name),
                                 InUtf8(read_in, entry.name)});
      }
    }
    return names;
  }

 private:
  using ByDatabase = std::map<std::uint32_t, std::multimap<std::uint32_t, RelationFile>>;

  void Want(const std::set<RelationFile>& wanted) {
    for (const RelationFile& file : wanted) {
      if (file.relation != 0) {
        const std::uint32_t database = file.database == 0 ? kTemplateDatabase : file.database;
        by_number_[database].emplace(file.relation, file);
      }
    }
  }

  std::string DatabaseName(std::uint32_t oid) const {
    const auto database = std::ranges::find(backup_.databases, oid, &DatabaseSummary::oid);
    return database == backup_.databases.end() ? "" : database->name;
  }

  // Where the catalogs usually are is looked for at once: a manifest may be long.
  Status ReadMaps() {
    ASSIGN_OR_RETURN(found_, FindFiles([&](const RelationPath& relation) {
                       return relation.number == kClassOid || relation.number == kNamespaceOid;
                     }));
    for (const FileRecord& file : found_->files()) {
      if (!file.path.ends_with(kMapFile)) {
        continue;
      }
      ASSIGN_OR_RETURN(const Bytes content, found_->ReadSmall(file, kLargestMap));
      ASSIGN_OR_RETURN(const auto map, ParseFilenodeMap(content));
      TakeMap(file.path.starts_with("global/") ? 0 : DatabaseOf(file.path), map);
    }
    return Ok();
  }

  void TakeMap(std::uint32_t database, const std::map<std::uint32_t, std::uint32_t>& map) {
    const std::uint32_t read_in = database == 0 ? kTemplateDatabase : database;
    for (const auto& [oid, number] : map) {
      if (database != 0 && oid == kClassOid) {
        class_files_[database] = number;
      }
      if (database == 0 && oid == kDatabaseOid) {
        database_file_ = number;
      }
      const auto [begin, end] = by_number_[read_in].equal_range(number);
      for (auto wanted = begin; wanted != end; ++wanted) {
        if (wanted->second.database == database) {
          by_oid_[read_in].emplace(oid, wanted->second);
        }
      }
    }
  }

  Result<BackupFiles> FindFiles(const std::function<bool(const RelationPath&)>& is_wanted) {
    return BackupFiles::Find(
        repository_, backup_,
        [&](const std::string& path) {
          if (path.ends_with(kMapFile)) {
            return path.starts_with("global/") || by_number_.contains(DatabaseOf(path));
          }
          const RelationPath relation = ClassifyFile(path);
          return relation.is_main_fork && by_number_.contains(relation.database) &&
                 is_wanted(relation);
        },
        kMostFiles);
  }

  // Visits the pages of the files, each of a database. Those that were rewritten (VACUUM FULL) are
  // looked for by their new numbers.
  Status VisitPages(const std::map<std::uint32_t, std::uint32_t>& files,
                    const std::function<void(std::uint32_t database, ByteView page)>& visit) {
    const auto is_one = [&](const RelationPath& relation) {
      const auto file = files.find(relation.database);
      return file != files.end() && file->second == relation.number;
    };
    std::set<std::uint32_t> missing;
    for (const auto& [database, number] : files) {
      missing.insert(database);
    }
    for (const FileRecord& file : found_->files()) {
      if (const RelationPath relation = ClassifyFile(file.path); is_one(relation)) {
        missing.erase(relation.database);
      }
    }
    if (!missing.empty()) {
      ASSIGN_OR_RETURN(found_, FindFiles(is_one));
    }
    for (const FileRecord& file : found_->files()) {
      const RelationPath relation = ClassifyFile(file.path);
      if (!is_one(relation)) {
        continue;
      }
      RETURN_IF_ERROR(
          VisitPagesOf(*found_, file, [&](ByteView page) { visit(relation.database, page); }));
    }
    return Ok();
  }

  Status VisitPagesOf(const BackupFiles& found, const FileRecord& file,
                      const std::function<void(ByteView page)>& visit) const {
    return found.Visit(file, [&](std::uint64_t, ByteView piece) {
      for (std::size_t at = 0; at + backup_.block_size <= piece.size(); at += backup_.block_size) {
        visit(piece.subspan(at, backup_.block_size));
      }
      return Ok();
    });
  }

  Status ReadClasses() {
    for (const auto& [database, wanted] : by_number_) {
      class_files_.try_emplace(database, kClassOid);
      namespace_files_.try_emplace(database, kNamespaceOid);
    }
    return VisitPages(class_files_, [this](std::uint32_t database, ByteView page) {
      VisitClassRows(page, [&](const ClassRow& row) { TakeClass(database, row); });
    });
  }

  void TakeClass(std::uint32_t database, const ClassRow& row) {
    if (row.oid == kNamespaceOid && row.is_current && row.file != 0) {
      namespace_files_[database] = row.file;
    }
    const auto& wanted = row.file == 0 ? by_oid_[database] : by_number_[database];
    const auto [begin, end] = wanted.equal_range(row.file == 0 ? row.oid : row.file);
    for (auto file = begin; file != end; ++file) {
      const bool is_there = row.tablespace == 0 || row.tablespace == file->second.tablespace;
      const bool is_shared = row.tablespace == kGlobalTablespace;
      if (is_there && is_shared == (file->second.database == 0) && !row.name.empty()) {
        classes_.Offer(file->second, row.name, row.schema, row.is_current);
      }
    }
  }

  Status ReadNamespaces() {
    for (const auto& [file, entry] : classes_.entries()) {
      schemas_.insert({file.database == 0 ? kTemplateDatabase : file.database, entry.schema});
    }
    return VisitPages(namespace_files_, [this](std::uint32_t database, ByteView page) {
      VisitNamespaceRows(page, [&](const NamespaceRow& row) {
        if (schemas_.contains({database, row.oid}) && !row.name.empty()) {
          namespaces_.Offer({database, row.oid}, row.name, 0, row.is_current);
        }
      });
    });
  }

  // Only if a name needs it. That takes another look at the manifest.
  Status ReadEncodings() {
    const auto is_plain = [](const auto& entry) { return IsAscii(entry.second.name); };
    if (std::ranges::all_of(classes_.entries(), is_plain) &&
        std::ranges::all_of(namespaces_.entries(), is_plain)) {
      return Ok();
    }
    ASSIGN_OR_RETURN(const BackupFiles found,
                     BackupFiles::Find(
                         repository_, backup_,
                         [wanted = fmt::format("global/{}", database_file_)](
                             const std::string& path) { return path == wanted; },
                         1));
    for (const FileRecord& file : found.files()) {
      RETURN_IF_ERROR(VisitPagesOf(found, file, [this](ByteView page) {
        VisitDatabaseRows(page, [this](const DatabaseRow& row) {
          const bool is_new = encodings_.try_emplace(row.oid, row.encoding).second;
          if (!is_new && row.is_current) {
            encodings_[row.oid] = row.encoding;
          }
        });
      }));
    }
    return Ok();
  }

  // What is not known is said in the way of a database without an encoding.
  std::string InUtf8(std::uint32_t database, const std::string& name) const {
    const auto encoding = encodings_.find(database);
    return ToUtf8(name, encoding != encodings_.end() ? encoding->second : kSqlAscii);
  }

  const Repository& repository_;
  const BackupSummary& backup_;
  std::uint32_t database_file_ = kDatabaseOid;
  std::map<std::uint32_t, PgEncoding> encodings_;  // by the oid of the database
  ByDatabase by_number_;                           // what is wanted, by the number of the file
  ByDatabase by_oid_;  // of it, what the maps of the databases name, by the oid of the relation
  std::map<std::uint32_t, std::uint32_t> class_files_;  // by database
  std::map<std::uint32_t, std::uint32_t> namespace_files_;
  std::optional<BackupFiles> found_;
  Best<RelationFile> classes_;
  std::set<std::pair<std::uint32_t, std::uint32_t>> schemas_;  // database and oid
  Best<std::pair<std::uint32_t, std::uint32_t>> namespaces_;
};

// Which backups can tell what the relations of which timeline are called.
class Witnesses {
 public:
  Witnesses(const BackupCatalog& catalog, const ArchiveMap& archive,
            std::uint64_t system_identifier)
      : archive_(archive) {
    for (const BackupSummary& backup : catalog.backups) {
      if (backup.system_identifier == system_identifier) {
        backups_.push_back(&backup);
      }
    }
  }

  // Whether what a transaction on `timeline` touched that ended at `lsn` is the same relation in
  // the backup. It is if no server left the way between the two: after that, each of the timelines
  // gives the same numbers to relations of its own.
  bool Knows(const BackupSummary& backup, TimelineId timeline, Lsn lsn) {
    const auto [parting, is_new] = partings_.try_emplace({timeline, backup.timeline});
    if (is_new) {
      parting->second = archive_.PartingOf(timeline, backup.timeline);
    }
    return backup.stop_lsn <= parting->second || lsn < parting->second;
  }

  // Where a backup is looked for, in this order.
  enum class Place { kBeforeAll, kBehindFirst, kBehindLast };

  // By label, the timelines whose relations the backup is asked for.
  std::map<std::string, std::set<TimelineId>> Choose(const RelationsWanted& wanted, Place place) {
    std::map<std::string, std::set<TimelineId>> chosen;
    for (const auto& [timeline, ends] : EndsOf(wanted)) {
      const auto& [first, last] = ends;
      const BackupSummary* const backup =
          place == Place::kBeforeAll
              ? Before(timeline, first)
              : After(timeline, place == Place::kBehindFirst ? first : last, last);
      if (backup != nullptr) {
        chosen[backup->label].insert(timeline);
      }
    }
    return chosen;
  }

 private:
  // Of each timeline, the first and the last LSN.
  static std::map<TimelineId, std::pair<Lsn, Lsn>> EndsOf(const RelationsWanted& wanted) {
    std::map<TimelineId, std::pair<Lsn, Lsn>> ends;
    for (const auto& [relation, lsn] : wanted) {
      const auto [entry, is_new] = ends.try_emplace(relation.timeline, lsn, lsn);
      entry->second = {std::min(entry->second.first, lsn), std::max(entry->second.second, lsn)};
    }
    return ends;
  }

  // The newest one that had ended by then.
  const BackupSummary* Before(TimelineId timeline, Lsn first) {
    const BackupSummary* best = nullptr;
    for (const BackupSummary* const backup : backups_) {
      if (backup->stop_lsn <= first && Knows(*backup, timeline, first) &&
          (best == nullptr || best->stop_lsn < backup->stop_lsn)) {
        best = backup;
      }
    }
    return best;
  }

  // The oldest one that had not. Better one that knows the last of the transactions, too.
  const BackupSummary* After(TimelineId timeline, Lsn first, Lsn last) {
    const BackupSummary* best = nullptr;
    const auto rank = [&](const BackupSummary& backup) {
      return std::pair(!Knows(backup, timeline, last), backup.stop_time);
    };
    for (const BackupSummary* const backup : backups_) {
      if (backup->stop_lsn > first && Knows(*backup, timeline, first) &&
          (best == nullptr || rank(*backup) < rank(*best))) {
        best = backup;
      }
    }
    return best;
  }

  const ArchiveMap& archive_;
  std::vector<const BackupSummary*> backups_;
  std::map<std::pair<TimelineId, TimelineId>, Lsn> partings_;
};

}  // namespace

Result<NamesOfRelations> FindNamesOfRelations(const Repository& repository,
                                              const BackupCatalog& catalog,
                                              const ArchiveMap& archive,
                                              std::uint64_t system_identifier,
                                              const RelationsWanted& wanted) {
  Witnesses witnesses(catalog, archive, system_identifier);
  NamesOfRelations names;
  RelationsWanted left = wanted;
  using Place = Witnesses::Place;
  for (const Place place : {Place::kBeforeAll, Place::kBehindFirst, Place::kBehindLast}) {
    for (const auto& chosen : witnesses.Choose(left, place)) {
      const std::set<TimelineId>& timelines = chosen.second;
      ASSIGN_OR_RETURN(const BackupSummary backup, ReadBackup(repository, chosen.first));
      const auto is_asked = [&](const RelationsWanted::value_type& relation) {
        return timelines.contains(relation.first.timeline) &&
               witnesses.Knows(backup, relation.first.timeline, relation.second);
      };
      std::set<RelationFile> files;
      for (const auto& relation : left) {
        if (is_asked(relation)) {
          files.insert(relation.first.file);
        }
      }
      ASSIGN_OR_RETURN(const auto found, NamesInBackup(repository, backup).Find(files));
      std::erase_if(left, [&](const RelationsWanted::value_type& relation) {
        const auto name = found.find(relation.first.file);
        if (name == found.end() || !is_asked(relation)) {
          return false;
        }
        names.emplace(relation.first, name->second);
        return true;
      });
    }
  }
  return names;
}

RelationsWanted RelationsIn(const std::vector<TransactionStory>& stories) {
  RelationsWanted relations;
  for (const TransactionStory& story : stories) {
    for (const TransactionStory::Touched& touched : story.touched) {
      const auto [relation, is_new] =
          relations.try_emplace({story.timeline, touched.file}, story.end.begin);
      relation->second = std::min(relation->second, story.end.begin);
    }
  }
  return relations;
}

RelationsWanted RelationsIn(const std::vector<TimelineEvent>& events) {
  RelationsWanted relations;
  for (const TimelineEvent& event : events) {
    for (const EventPart& part : event.parts) {
      if (!part.file) {
        continue;
      }
      const auto [relation, is_new] =
          relations.try_emplace({event.timeline, *part.file}, event.lsn);
      relation->second = std::min(relation->second, event.lsn);
    }
  }
  return relations;
}

void NameEvents(const NamesOfRelations& names, std::vector<TimelineEvent>& events) {
  for (TimelineEvent& event : events) {
    if (!event.parts.empty()) {
      event.text = JoinParts(event.parts, [&](const RelationFile& file) {
        return DescribeRelation({event.timeline, file}, names);
      });
    }
  }
}

std::string DescribeRelation(const RelationOfTimeline& relation, const NamesOfRelations& names) {
  const auto found = names.find(relation);
  if (found == names.end()) {
    return NumbersOf(relation.file);
  }
  const NameOfRelation& name = found->second;
  if (relation.file.relation == 0) {
    return name.database;
  }
  return fmt::format("{}{}{}.{}", name.database, name.database.empty() ? "" : ".", name.schema,
                     name.name);
}

Json RelationsToJson(const TransactionStory& story, const NamesOfRelations& names) {
  Json relations = Json::Array();
  for (const TransactionStory::Touched& touched : story.touched) {
    Json relation{{"tablespace", touched.file.tablespace},
                  {"database", touched.file.database},
                  {"relation", touched.file.relation},
                  {"blocks", touched.blocks}};
    if (const auto name = names.find({story.timeline, touched.file}); name != names.end()) {
      if (!name->second.database.empty()) {
        relation["database_name"] = name->second.database;
      }
      relation["schema"] = name->second.schema;
      relation["name"] = name->second.name;
    }
    relations.push_back(std::move(relation));
  }
  return relations;
}

}  // namespace veza
