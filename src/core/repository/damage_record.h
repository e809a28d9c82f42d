// What a full verification has found damaged, for those that come later: damage/<label> (FORMAT.md
// section 17).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/codec/digest.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/repository/pack_list.h"
#include "core/repository/repository.h"

namespace veza {

// Objects of one backup that were read to their end and found bad.
struct DamagedObjects {
  static constexpr std::size_t kMostNamed = 100;

  std::vector<std::string> names{};  // sorted; the kMostNamed smallest, whatever the order of Add()
  std::uint64_t count = 0;

  void Add(const std::string& name);
};

struct DamageRecord {
  Sha256Digest manifest_sha256{};  // of the backup
  std::string node{};              // where it was verified
  TimePoint created{};
  DamagedObjects objects{};
};

struct StoredDamage {
  std::string label;
  Result<DamageRecord> record;  // an error when it cannot be read, is not ours, or was not read
  ObjectInfo object{};
  std::optional<Sha256Digest> content{};  // unless it was not read

  bool IsSameAs(const StoredDamage& other) const;
};

// The records of `backups`, by one listing and a request for each record that is there, at most
// limits::kDamageRecords. Records of other labels are not read; `labels`, unless it is null,
// receives the labels of all. An error when nobody can tell which records there are, also when
// there are too many names.
Result<std::vector<StoredDamage>> ReadDamageRecords(const Repository& repository,
                                                    std::span<const BackupSummary> backups,
                                                    std::vector<std::string>* labels = nullptr);

// The same as parts that are lost, by LostPart::By::kRecord and kDoubt, with reasons for people. If
// nobody can tell which records there are, that is a doubt about every backup. Fails only when the
// store does not answer. With neither a backup nor `labels`, nothing is listed.
Result<LostParts> ReadKnownDamage(const Repository& repository,
                                  std::span<const BackupSummary> backups,
                                  std::vector<std::string>* labels = nullptr);

// Stores the record, unless the backup is gone: then the result is false. A record that is there
// stays: none is ever overwritten.
Result<bool> StoreDamage(const Repository& repository, const std::string& label,
                         const DamageRecord& record);

}  // namespace veza
