// Checks that the manifests and packs of backups are in the repository, by a listing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/backup_summary.h"
#include "core/repository/pack.h"
#include "core/repository/repository.h"

namespace veza {

using PackSizes = std::map<std::uint32_t, std::uint64_t>;  // by number

// Checks that each pack of `wanted` exists under `label` and has the given size. kDataCorrupted
// otherwise.
Status RequirePacks(const Repository& repository, const std::string& label, PackSizes wanted);

// The packs that a manifest names, by whose they are.
class NamedPacks {
 public:
  void Add(const PackRecord& pack) { sizes_[pack.source][pack.number] = pack.size; }
  // RequirePacks() for `backup`, whose manifest it is, and for the backups that it names.
  Status RequireAll(const Repository& repository, const BackupSummary& backup);
  // RequirePacks() for each backup. `label_of` gives its label for PackRecord::source.
  Status RequireAll(const Repository& repository,
                    const std::function<std::string(std::uint32_t)>& label_of);

 private:
  std::map<std::uint32_t, PackSizes> sizes_;  // by PackRecord::source
};

// What a backup lacks.
struct LostPart {
  enum class By {
    kListing,  // an object is missing, or has another size
    kRecord,   // a verification has read an object and found it bad (damage_record.h)
    kDoubt,    // there is, or may be, such a record, but nobody can read it or trust it
  };
  std::string name;    // of the object that is missing
  std::string reason;  // in its place: what else is wrong with it, or why nobody can tell
  By by = By::kListing;
};
using LostParts = std::map<std::string, LostPart>;  // by label

// Which of `backups` lack their manifest or a pack, as far as a listing tells. Their summaries say
// how many packs there must be, and how large the manifest is. An empty object counts as missing.
// That a pack is too short is not noticed here: only the manifest has its size. The summaries must
// have been read before: the other objects are stored before backup.json, and deleted after it.
//
// Takes one listing of all backups in the repository, which is a request for 1000 packs (16 GB) on
// S3. If that fails although the store answers, each backup is listed alone, and only one that
// cannot be listed is counted as lacking something. Without a backup nothing is listed.
//
// Also says what ReadKnownDamage() knows of these backups.
Result<LostParts> FindLostParts(const Repository& repository,
                                std::span<const BackupSummary> backups,
                                std::vector<std::string>* damage_records = nullptr);
// What the listing says, by one for each of a few backups; without known damage.
Result<LostParts> FindLostPartsOfFew(const Repository& repository,
                                     std::span<const BackupSummary> backups);

// Why the backup cannot be restored, apart from WAL: a clause that names what is wrong. Either one
// that it needs is not among `backups`, the readable ones of its repository, or has another
// manifest; or it or one that it needs lacks a part (`lost`). Empty when nothing is wrong. The
// manifest is not read, so nobody knows whether the backup names that very pack of the other one.
// What is there by LostPart::By::kDoubt does not count.
std::string WhyNotRestorable(const BackupSummary& backup, std::span<const BackupSummary> backups,
                             const LostParts& lost);
// Why nobody knows whether the backup is damaged, or one that it needs: what is in `lost` by
// LostPart::By::kDoubt, a clause. Empty when there is no such doubt.
std::string WhyUncertain(const BackupSummary& backup, const LostParts& lost);

// FindLostParts() and WhyNotRestorable() for each backup of the catalog: by label, of those that
// cannot be restored. Takes out of the catalog what seems to lack something and has been removed
// since the catalog was read: of a backup that an expiry removes, backup.json goes first.
Result<std::map<std::string, std::string>> FindUnrestorable(const Repository& repository,
                                                            BackupCatalog* catalog);
// Whether backup.json is there, for one whose parts may be missing because it is being removed.
Result<bool> IsStillThere(const Repository& repository, const std::string& label);

}  // namespace veza
