// Verifies a full backup and the diffs that refer to it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/verify/extent_index.h"
#include "core/verify/session.h"

namespace veza {

// What is known about a full backup when its diffs are verified. Shared with the threads that open
// its packs.
struct FullContents {
  std::map<std::uint32_t, std::uint64_t> stored;  // packs in the store, and their sizes
  std::map<std::uint32_t, PackRecord> packs;      // as its manifest says
  ExtentIndex extents;
  bool manifest_read = false;  // if not, `packs` and `extents` are incomplete

  std::mutex mutex;
  std::map<std::uint32_t, std::string> damaged;  // packs that could not be opened, and why
};

// Call VerifyFull() first, then VerifyDiff() for each diff, then Finish(). When the full itself
// does not exist, call only the last two. Not thread-safe.
class BackupVerifier {
 public:
  // Set `keep_index` when diffs will follow.
  BackupVerifier(VerifySession& session, bool keep_index)
      : session_(session), keep_index_(keep_index) {}

  Status VerifyFull(const BackupSummary& full);
  Status VerifyDiff(const BackupSummary& diff);

  // Waits until all packs were opened. Then reports damaged packs of the full as problems of
  // the diffs that refer to them.
  Status Finish();

 private:
  Status ListUnusableFull(const std::string& label);

  struct ReferringDiff {
    std::string label;
    std::string full_label;
    std::set<std::uint32_t> packs;  // of the full
  };

  VerifySession& session_;
  const bool keep_index_;
  // Shared with the jobs, which may outlive this object after an error.
  const std::shared_ptr<FullContents> full_ = std::make_shared<FullContents>();
  std::optional<BackupSummary> full_summary_;
  std::vector<ReferringDiff> diffs_;
};

}  // namespace veza
