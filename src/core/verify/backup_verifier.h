// Verifies a full backup and the diffs and incrs that build on it.
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
#include "core/verify/manifest_verifier.h"
#include "core/verify/session.h"

namespace veza {

// What is known about the packs of a backup when others are verified that name them. Shared with
// the threads that open the packs.
struct PackContents {
  std::map<std::uint32_t, std::uint64_t> stored;  // packs in the store, and their sizes
  std::map<std::uint32_t, PackRecord> packs;      // as its manifest says
  ExtentIndex extents;
  bool manifest_read = false;  // if not, `packs` and `extents` are incomplete

  std::mutex mutex;
  std::map<std::uint32_t, std::string> damaged;  // packs that could not be opened, and why
};

// Call Verify() for each backup, in the order of their labels: so each comes after those that it
// names. Then call Finish(). Backups that do not exist are left out. Not thread-safe.
class BackupVerifier {
 public:
  // `named`: the labels whose packs other backups name that are verified.
  BackupVerifier(VerifySession& session, std::set<std::string> named)
      : session_(session), named_(std::move(named)) {}

  Status Verify(const BackupSummary& backup);

  // Waits until all packs were opened. Then reports damaged packs as problems of the backups that
  // name them.
  Status Finish();

 private:
  struct Verified {
    Sha256Digest manifest_sha256{};
    // Shared with the jobs, which may outlive this object after an error.
    std::shared_ptr<PackContents> contents = std::make_shared<PackContents>();
    bool is_usable = false;  // there is such a backup
  };
  struct Reference {
    std::string label;  // of the backup that names the packs
    std::vector<SourceBackup> sources;
    std::set<ManifestVerifier::OtherPack> packs;
  };

  Result<std::shared_ptr<PackContents>> Source(const BackupSummary& backup,
                                               const SourceBackup& source);
  Status ListUnusable(const std::string& label, PackContents& contents);
  void ReportDamage(const Reference& reference);

  VerifySession& session_;
  const std::set<std::string> named_;
  std::map<std::string, Verified> verified_;  // by label
  std::vector<Reference> references_;
};

}  // namespace veza
