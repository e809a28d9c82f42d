// Verifies one backup: its manifest, and the packs that the manifest names.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/repository/manifest.h"
#include "core/verify/session.h"

namespace veza {

struct PackContents;

class ManifestVerifier {
 public:
  // As Extent::source and Extent::pack. Never of the backup itself.
  using OtherPack = std::pair<std::uint32_t, std::uint32_t>;

  // `own`: receives what is found out about the backup. `keep_index`: also its extents. `sources`:
  // what was found out about BackupSummary::sources, in their order.
  ManifestVerifier(VerifySession& session, const BackupSummary& backup,
                   std::shared_ptr<PackContents> own, bool keep_index,
                   std::vector<std::shared_ptr<PackContents>> sources);

  // Returns when the manifest was read. Other threads may still be opening packs.
  Status Run();

  // The packs of other backups that it refers to.
  const std::set<OtherPack>& other_packs() const { return other_packs_; }

 private:
  // A pack that the manifest has mentioned so far.
  struct OpenPack {
    PackRecord record;
    std::vector<Extent> extents;
    bool announced = false;  // the pack's own record was read
    bool complete() const { return announced && extents.size() == record.frames; }
  };

  Status ListObjects();
  Status Take(ManifestRecord&& record);
  Status TakeExtent(const Extent& extent);
  Status TakePack(const PackRecord& record);
  void TakeReference(const Extent& extent);
  void CheckOtherPack(const OtherPack& pack);
  Status OpenWhenComplete(std::uint32_t number);
  // True when the store has the pack with the right size. Otherwise adds a problem.
  bool IsStored(const std::map<std::uint32_t, std::uint64_t>& stored, const std::string& name,
                const PackRecord& record);
  void AddProblem(const std::string& object, std::string message);

  VerifySession& session_;
  const BackupSummary& backup_;
  const std::shared_ptr<PackContents> own_;
  const bool keep_index_;
  const std::vector<std::shared_ptr<PackContents>> sources_;
  const std::string manifest_name_;

  std::map<std::uint32_t, std::uint64_t> stored_;  // packs in the store, and their sizes
  std::optional<std::uint64_t> stored_manifest_;
  std::set<std::uint32_t> unnamed_;  // packs in the store that the manifest has not named
  std::map<std::uint32_t, OpenPack> packs_;
  std::map<OtherPack, PackRecord> records_of_others_;
  std::set<OtherPack> other_packs_;
  // Numbers of references to extents that the source does not have, by source.
  std::map<std::uint32_t, std::uint64_t> strange_references_;
};

}  // namespace veza
