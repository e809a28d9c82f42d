#include "core/timeline/names_of_relations.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>
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

// Of rows that speak of the same relation, the one that is current counts.
template <typename Key>
class Best {
 public:
  void Offer(const Key& key, const std::string& name, std::uint32_t schema, bool is_current) {
    const auto [entry, is_new] = entries_.try_emplace(key, Entry{name, schema, is_current});
    if (!is_new && is_current && !entry->second.is_current) {
      entry->second = {name, schema, is_current};
    }
  }
  struct Entry {
    std::string name;
    std::uint32_t schema = 0;
    bool is_current = false;
  };
  const std::map<Key, Entry>& entries() const { return entries_; }

 private:
  std::map<Key, Entry> entries_;
};

class NamesInBackup {
 public:
  NamesInBackup(const Repository& repository, const BackupSummary& backup)
      : repository_(repository), backup_(backup) {}

  Status Find(const std::set<RelationFile>& wanted, NamesOfRelations* names) {
    Want(wanted);
    RETURN_IF_ERROR(ReadMaps());
    RETURN_IF_ERROR(ReadClasses());
    RETURN_IF_ERROR(ReadNamespaces());
    for (const auto& [file, entry] : classes_.entries()) {
      const std::uint32_t read_in = file.database == 0 ? kTemplateDatabase : file.database;
      const auto schema = namespaces_.entries().find({read_in, entry.schema});
      if (schema != namespaces_.entries().end()) {
        names->try_emplace(
            file, NameOfRelation{DatabaseName(file.database), schema->second.name, entry.name});
      }
    }
    return Ok();
  }

 private:
  using ByDatabase = std::map<std::uint32_t, std::multimap<std::uint32_t, RelationFile>>;

  void Want(const std::set<RelationFile>& wanted) {
    for (const RelationFile& file : wanted) {
      const std::uint32_t database = file.database == 0 ? kTemplateDatabase : file.database;
      by_number_[database].emplace(file.relation, file);
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
      RETURN_IF_ERROR(found_->Visit(file, [&](std::uint64_t, ByteView piece) {
        for (std::size_t at = 0; at + backup_.block_size <= piece.size();
             at += backup_.block_size) {
          visit(relation.database, piece.subspan(at, backup_.block_size));
        }
        return Ok();
      }));
    }
    return Ok();
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

  const Repository& repository_;
  const BackupSummary& backup_;
  ByDatabase by_number_;  // what is wanted, by the number of the file
  ByDatabase by_oid_;     // of it, what the maps of the databases name, by the oid of the relation
  std::map<std::uint32_t, std::uint32_t> class_files_;  // by database
  std::map<std::uint32_t, std::uint32_t> namespace_files_;
  std::optional<BackupFiles> found_;
  Best<RelationFile> classes_;
  std::set<std::pair<std::uint32_t, std::uint32_t>> schemas_;  // database and oid
  Best<std::pair<std::uint32_t, std::uint32_t>> namespaces_;
};

// The newest backup that had ended by then, and the oldest one that had not.
std::vector<std::string> LabelsAround(const BackupCatalog& catalog, std::uint64_t system_identifier,
                                      TimePoint moment) {
  const BackupSummary* before = nullptr;
  const BackupSummary* after = nullptr;
  for (const BackupSummary& backup : catalog.backups) {
    if (backup.system_identifier != system_identifier) {
      continue;
    }
    if (backup.stop_time <= moment) {
      before = before == nullptr || before->stop_time < backup.stop_time ? &backup : before;
    } else {
      after = after == nullptr || backup.stop_time < after->stop_time ? &backup : after;
    }
  }
  std::vector<std::string> labels;
  for (const BackupSummary* const backup : {before, after}) {
    if (backup != nullptr) {
      labels.push_back(backup->label);
    }
  }
  return labels;
}

}  // namespace

Result<NamesOfRelations> FindNamesOfRelations(const Repository& repository,
                                              const BackupCatalog& catalog,
                                              std::uint64_t system_identifier, TimePoint moment,
                                              const std::set<RelationFile>& wanted) {
  NamesOfRelations names;
  std::set<RelationFile> left = wanted;
  for (const std::string& label : LabelsAround(catalog, system_identifier, moment)) {
    if (left.empty()) {
      break;
    }
    ASSIGN_OR_RETURN(const BackupSummary backup, ReadBackup(repository, label));
    RETURN_IF_ERROR(NamesInBackup(repository, backup).Find(left, &names));
    std::erase_if(left, [&](const RelationFile& file) { return names.contains(file); });
  }
  return names;
}

std::set<RelationFile> RelationsIn(const std::vector<TransactionStory>& stories) {
  std::set<RelationFile> relations;
  for (const TransactionStory& story : stories) {
    for (const TransactionStory::Touched& touched : story.touched) {
      relations.insert(touched.file);
    }
  }
  return relations;
}

std::string DescribeRelation(const RelationFile& file, const NamesOfRelations& names) {
  const auto found = names.find(file);
  if (found == names.end()) {
    return FormatRelation(file);
  }
  const NameOfRelation& name = found->second;
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
    if (const auto name = names.find(touched.file); name != names.end()) {
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
