// Checks that the packs of a backup are in the repository, by a listing.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "core/error.h"
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

}  // namespace veza
