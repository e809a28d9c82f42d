// Whether what was copied is a whole cluster: held against the list of its databases before a
// backup is committed.
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
  // For every file that is copied.
  void Note(std::string_view path);

  // Something that every cluster has and that was not copied; empty when there is nothing.
  std::string MissingOfCluster() const;
  // What of its directory was not copied, for a message; empty when all was.
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
// The first database of `at_start` of which something is missing, unless it has been dropped, or
// its dropping has begun, by `now`. What was created since is brought by WAL.
std::optional<UncopiedDatabase> FindUncopied(const CopiedContents& contents,
                                             const std::vector<ListedDatabase>& at_start,
                                             const std::vector<ListedDatabase>& now);

}  // namespace veza
