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

// What is known of a full backup when its diffs come. Shared with the threads that open its packs.
struct FullContents {
  std::map<std::uint32_t, std::uint64_t> stored;  // packs in the store, and their sizes
  std::map<std::uint32_t, PackRecord> packs;      // as its manifest says
  ExtentIndex extents;
  bool manifest_read = false;  // otherwise the last two are not whole

  std::mutex mutex;
  std::map<std::uint32_t, std::string> damaged;  // packs that could not be opened, and why
};

// First the full, then its diffs, then Finish(). When the full itself is not there, only diffs.
class BackupVerifier {
 public:
  // `keep_index`: diffs will follow.
  BackupVerifier(VerifySession& session, bool keep_index)
      : session_(session), keep_index_(keep_index) {}

  Status VerifyFull(const BackupSummary& full);
  Status VerifyDiff(const BackupSummary& diff);

  // Waits for what is being opened, and names the diffs that damaged packs of the full belong to.
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
  // Shared with jobs, which may outlive this after an error.
  const std::shared_ptr<FullContents> full_ = std::make_shared<FullContents>();
  std::optional<BackupSummary> full_summary_;
  std::vector<ReferringDiff> diffs_;
};

}  // namespace veza
