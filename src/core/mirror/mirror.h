// One pass of the mirror: what a repository has and its mirror lacks is copied, as it is.
//
// The mirror is a repository at any moment (FORMAT.md section 16): what a backup needs is there
// before its backup.json. So a pass may end at any object, and the next one goes on. Nothing on the
// mirror is ever replaced, and a pass deletes nothing there. Neither repository is locked: passes
// beside each other, beside backups and beside an expiry do no harm.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
#include "core/repository/repository.h"
#include "core/storage/store.h"

namespace veza {

struct MirrorOptions {
  int jobs = 1;             // objects that are copied at the same time, each with 32 MiB of memory
  std::uint64_t rate = 0;   // bytes a second, of all together; 0: no limit
  bool dry_run = false;     // only look what is missing
  bool reads_back = false;  // CopyOptions (copy_object.h)
};

// For display while the pass runs. `bytes_behind` grows while the repository is listed.
struct MirrorProgress {
  std::atomic<std::uint64_t> bytes_behind{0};
  std::atomic<std::uint64_t> bytes_done{0};
};

// Something that was not copied, and why, a clause.
struct NotMirrored {
  std::string name;  // of an object; of a backup its label
  std::string reason;
};

struct MirrorReport {
  // What the pass found missing on the mirror. Of a backup that is being made, nothing counts.
  std::uint64_t objects_behind = 0;
  std::uint64_t bytes_behind = 0;
  // When the repository received the oldest of these, and the present, both by its own clock.
  std::optional<TimePoint> oldest_behind;
  TimePoint now{};

  std::uint64_t objects_copied = 0;
  std::uint64_t bytes_copied = 0;
  std::uint64_t objects_there = 0;          // on both sides, with the same size
  std::uint64_t objects_foreign = 0;        // with names that are none of a repository; not copied
  std::uint64_t objects_gone = 0;           // the repository removed them under way
  std::uint64_t objects_only_there = 0;     // the repository has removed them
  std::vector<std::string> backups_copied;  // labels, in this order

  // The first kMostShown of each, and how many there are.
  static constexpr std::size_t kMostShown = 100;
  std::vector<NotMirrored> conflicts;  // the mirror has something else under the name
  std::uint64_t conflict_count = 0;
  std::vector<NotMirrored> unreadable;  // damaged, not given out, or not taken
  std::uint64_t unreadable_count = 0;
  // Backups that have their backup.json, and whose other parts the mirror does not have. Not those
  // that were removed under way.
  std::vector<NotMirrored> incomplete;

  // The repository has no backup, and the mirror has, or the repository had when the pass began.
  bool has_lost_backups = false;

  // For how long the repository had had the oldest object that was missing. 0 when none was.
  std::chrono::seconds lag() const {
    return oldest_behind && *oldest_behind < now
               ? std::chrono::duration_cast<std::chrono::seconds>(now - *oldest_behind)
               : std::chrono::seconds(0);
  }
  // Everything that the repository had at the beginning, and still has, is on the mirror.
  bool is_whole() const {
    return conflict_count == 0 && unreadable_count == 0 && incomplete.empty() && !has_lost_backups;
  }
};

// `mirror` is rooted at the cluster's directory, as the store of `repository`, and another place.
// Only a `mirror` that is empty, or belongs to the same repository, is written to: kConflict
// otherwise, and also when it turns out to be the repository itself (by probe/mirror, which stays
// there; a dry run does not look). The mirror is opened with the passphrase of `repository`.
// kFailedPrecondition if the repository is gone when the pass ends, by its identities. Other errors
// are those of the stores, after retries; what was copied until then is of use.
Result<MirrorReport> RunMirror(const Repository& repository, const std::shared_ptr<Store>& mirror,
                               const MirrorOptions& options, MirrorProgress& progress);

}  // namespace veza
