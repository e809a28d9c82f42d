// Verifies one backup: its manifest, and the packs that the manifest names.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/repository/manifest.h"
#include "core/verify/session.h"

namespace veza {

struct FullContents;

class ManifestVerifier {
 public:
  // `full`: for a full backup, receives what is found out about it. For a diff, it must hold what
  // was found out about its full. `keep_index`: also store the full's extents there.
  ManifestVerifier(VerifySession& session, const BackupSummary& backup,
                   std::shared_ptr<FullContents> full, bool keep_index);

  // Returns when the manifest was read. Other threads may still be opening packs.
  Status Run();

  // For a diff: the packs of the full that it refers to.
  const std::set<std::uint32_t>& packs_of_full() const { return packs_of_full_; }

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
  void CheckPackOfFull(std::uint32_t number);
  Status OpenWhenComplete(std::uint32_t number);
  // True when the store has the pack with the right size. Otherwise adds a problem.
  bool IsStored(const std::map<std::uint32_t, std::uint64_t>& stored, const std::string& name,
                const PackRecord& record);
  void AddProblem(const std::string& object, std::string message);

  VerifySession& session_;
  const BackupSummary& backup_;
  const bool is_full_;
  const std::shared_ptr<FullContents> full_;
  const bool keep_index_;
  const std::string manifest_name_;

  std::map<std::uint32_t, std::uint64_t> stored_;  // packs in the store, and their sizes
  std::optional<std::uint64_t> stored_manifest_;
  std::set<std::uint32_t> unnamed_;  // packs in the store that the manifest has not named
  std::map<std::uint32_t, OpenPack> packs_;
  std::map<std::uint32_t, PackRecord> records_of_full_;
  std::set<std::uint32_t> packs_of_full_;
  std::uint64_t strange_references_ = 0;  // references to extents that the full does not have
};

}  // namespace veza
