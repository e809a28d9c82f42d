#include "core/restore/database_choice.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <utility>

#include "core/postgres/data_directory.h"
#include "core/postgres/empty_databases.h"

namespace veza {

namespace {

std::vector<DatabaseSummary> ByName(std::vector<DatabaseSummary> databases) {
  std::ranges::sort(databases, {}, &DatabaseSummary::name);
  return databases;
}

std::string ListNames(const std::vector<DatabaseSummary>& databases) {
  std::string names;
  for (const DatabaseSummary& database : ByName(databases)) {
    names += fmt::format("{}\"{}\"", names.empty() ? "" : ", ", database.name);
  }
  return names;
}

// The only database with this name or, if none has the name, with this oid. Null when there is
// none.
Result<const DatabaseSummary*> Find(const BackupSummary& backup, const std::string& name) {
  const DatabaseSummary* found = nullptr;
  for (const DatabaseSummary& database : backup.databases) {
    if (database.name != name) {
      continue;
    }
    if (found != nullptr) {
      return MakeError(ErrorCode::kInvalidArgument, "backup \"{}\" has two databases \"{}\"",
                       backup.label, name)
          .WithHint(fmt::format("Their names are not UTF-8. Use an oid instead: {} or {}.",
                                found->oid, database.oid));
    }
    found = &database;
  }
  for (const DatabaseSummary& database : backup.databases) {
    if (found == nullptr && std::to_string(database.oid) == name) {
      found = &database;
    }
  }
  return found;
}

std::vector<std::string> SplitAtCommas(const std::string& text) {
  std::vector<std::string> parts;
  std::size_t from = 0;
  for (std::size_t comma = 0; comma != std::string::npos; from = comma + 1) {
    comma = text.find(',', from);
    parts.push_back(text.substr(from, comma == std::string::npos ? comma : comma - from));
  }
  return parts;
}

// A name may contain commas, so the whole text is looked for first.
Status Add(const BackupSummary& backup, const std::string& text, std::set<std::uint32_t>& oids) {
  ASSIGN_OR_RETURN(const DatabaseSummary* const whole, Find(backup, text));
  if (whole != nullptr) {
    oids.insert(whole->oid);
    return Ok();
  }
  for (const std::string& name : SplitAtCommas(text)) {
    ASSIGN_OR_RETURN(const DatabaseSummary* const database, Find(backup, name));
    if (database == nullptr) {
      return MakeError(ErrorCode::kInvalidArgument, "backup \"{}\" has no database \"{}\"",
                       backup.label, name)
          .WithHint(fmt::format("Its databases are {}.", ListNames(backup.databases)));
    }
    oids.insert(database->oid);
  }
  return Ok();
}

}  // namespace

bool DatabaseChoice::LeavesEmpty(std::string_view path) const {
  const std::uint32_t oid = DatabaseOf(path);
  return oid >= kFirstNormalOid &&
         std::ranges::any_of(
             empty, [oid](const DatabaseSummary& database) { return database.oid == oid; });
}

Result<DatabaseChoice> ChooseDatabases(const BackupSummary& backup,
                                       const std::vector<std::string>& names) {
  if (backup.databases.empty()) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "backup \"{}\" does not say which databases it has", backup.label)
        .WithHint("Restore the whole backup, or choose another one.");
  }
  const auto full_page_writes = backup.settings.find("full_page_writes");
  if (full_page_writes != backup.settings.end() && full_page_writes->second == "off") {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "backup \"{}\" was taken from a server with full_page_writes = off",
                     backup.label)
        .WithHint(
            "Its WAL cannot be replayed over databases that come back empty. Restore the whole "
            "backup.");
  }
  std::set<std::uint32_t> oids;
  for (const std::string& name : names) {
    RETURN_IF_ERROR(Add(backup, name, oids));
  }
  DatabaseChoice choice;
  for (DatabaseSummary& database : ByName(backup.databases)) {
    const bool wanted = database.oid < kFirstNormalOid || oids.contains(database.oid);
    (wanted ? choice.restored : choice.empty).push_back(std::move(database));
  }
  return choice;
}

}  // namespace veza
