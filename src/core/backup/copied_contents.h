// Checks whether the copy is a whole cluster. Before a backup is committed, it is compared with the
// list of the databases.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace veza {

inline constexpr std::uint32_t kDefaultTablespaceOid = 1663;  // pg_default: "base"

// A row of pg_database.
struct ListedDatabase {
  std::uint32_t oid = 0;
  std::string name;
  std::uint32_t tablespace = kDefaultTablespaceOid;  // where its directory is
  bool is_invalid = false;  // its DROP DATABASE was interrupted; nobody can connect to it
};

class CopiedContents {
 public:
  // Call it for every file that is copied.
  void Note(std::string_view path);

  // The first file or directory that every cluster has and that was not copied. Empty when all of
  // them were.
  std::string MissingOfCluster() const;
  // What is missing in the copy of the database's directory, for a message. Empty when nothing is.
  std::string MissingOf(const ListedDatabase& database) const;

 private:
  struct Directory {
    bool has_version = false;
    bool has_map = false;
    bool has_relation = false;
  };

  bool has_version_ = false;
  bool has_global_map_ = false;
  bool has_commit_log_ = false;
  std::map<std::pair<std::uint32_t, std::uint32_t>, Directory>
      directories_;  // tablespace, database
};

struct UncopiedDatabase {
  ListedDatabase database;
  std::string missing;
};
// The first database of `at_start` that is not whole in the copy. Skips a database that was dropped
// by `now`, or is being dropped. A database that was created since `at_start` comes with the WAL.
std::optional<UncopiedDatabase> FindUncopied(const CopiedContents& contents,
                                             const std::vector<ListedDatabase>& at_start,
                                             const std::vector<ListedDatabase>& now);
// Whether the summary of the backup names the database. It does not if the database was dropped by
// `now`, or is being dropped and has lost files that the copy would need.
bool IsNamedInSummary(const CopiedContents& contents, std::uint32_t oid,
                      const std::vector<ListedDatabase>& now);

}  // namespace veza
