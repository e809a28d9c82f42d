// What a list of many clusters says of each: its newest backup, its window, its last drill.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/names.h"
#include "core/repository/repository.h"
#include "core/storage/store.h"

namespace veza {

struct ClusterOverview {
  struct Backup {
    std::string label{};
    BackupType type = BackupType::kFull;
    TimePoint stop_time{};  // by its server's clock
    std::uint64_t size = 0;
    std::uint64_t stored_size = 0;
    int postgres_version_num = 0;
  };
  // From the end of the oldest backup to the time when the store received the newest WAL: no later
  // commit can be restored. Without a key, whether WAL is missing between the two is not known.
  struct Window {
    TimePoint start{};
    TimePoint end{};
  };
  struct Drill {
    TimePoint started{};
    bool passed = false;
  };

  std::string cluster{};
  // False when the directory holds nothing of a repository. Then the rest is empty.
  bool is_cluster = true;
  bool is_verified = false;  // signatures were checked
  // The system of the newest backup. Nothing else below concerns another system of the cluster.
  std::optional<std::uint64_t> system_identifier{};
  // Verified: those that can be restored. Otherwise all labels, of any system, also unfinished
  // ones.
  std::size_t backups = 0;
  std::optional<Backup> newest{};
  std::optional<Window> window{};
  std::optional<Drill> last_drill{};
  // What could not be read, or is missing. Messages may quote what others have written; they are
  // short.
  std::vector<Error> problems{};
};

// Reads overviews from several threads. An error of a function concerns the store as a whole, or is
// kCancelled. What concerns one cluster alone is among its problems.
class OverviewReader {
 public:
  // `now` is the present by the store's clock.
  explicit OverviewReader(TimePoint now) : now_(now) {}

  // Reads without a key: nothing that it tells is proved, because anybody who can write to the
  // store may have written it. Takes seven requests for a cluster whose newest and oldest backup
  // are whole. Memory does not depend on what lies in the store: one large document is held at a
  // time.
  Result<ClusterOverview> ReadUnverified(const std::string& cluster, Store& store);

 private:
  const TimePoint now_;
  std::mutex large_;  // held by the thread that holds a large document
};

// Opens the repository, which takes the derivation of its key, and reads every backup.json, within
// `budget`. Thread-safe. Errors as of OverviewReader.
Result<ClusterOverview> ReadVerifiedOverview(const std::string& cluster,
                                             const std::shared_ptr<Store>& store,
                                             const RepositoryOptions& options,
                                             const Environment& environment,
                                             const CatalogBudget& budget);

}  // namespace veza
