// Verifies a repository: that it contains everything that its backups need, as it was written.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "core/codec/digest.h"
#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/repository/damage_record.h"
#include "core/repository/repository.h"
#include "core/retention/expire.h"
#include "core/verify/findings.h"

namespace veza {

struct VerifyOptions {
  // The backups to verify, with the fulls that diffs among them refer to and with the WAL that
  // makes them consistent. Empty: all backups, all WAL after them, and everything else in the
  // repository.
  std::vector<std::string> labels;
  // Open every object once and compare its content with its digest.
  bool full = false;
  // There must be no gap in the WAL that these keep at Now() of the store. In the past (--as-of)
  // that is the time of which the repository is read.
  RetentionSettings retention{.full = 0, .archive = 0};
  int jobs = 1;                // threads, each with one request in flight
  std::uint64_t max_rate = 0;  // bytes per second that are read; 0: no limit
};

// The verification writes it; any thread may read it meanwhile.
struct VerifyProgress {
  std::atomic<std::uint64_t> bytes_total{0};  // bytes to read; set before the first byte is read
  std::atomic<std::uint64_t> bytes_read{0};
  std::atomic<std::uint64_t> objects{0};  // objects examined so far
  std::atomic<std::uint64_t> extents{0};  // extents in the manifests; a shared one counts once
};

struct VerifiedBackup {
  std::string label;
  BackupType type = BackupType::kFull;
  bool good = true;
  bool suspect = false;  // its bytes may be good; see suspect_diff.h
  // Of a full verification: what was found damaged of its own packs and manifest, and whether all
  // of these were read and are good.
  DamagedObjects damaged{};
  bool is_whole = false;
  Sha256Digest manifest_sha256{};
};

struct VerifyReport {
  std::vector<VerifiedBackup> backups;  // sorted by label
  std::vector<VerifyProblem> problems;  // sorted by object; at most kMostFindings
  std::uint64_t problem_count = 0;
  std::vector<std::string> orphans;  // objects that nothing refers to; at most kMostFindings
  std::uint64_t orphan_count = 0;
  std::uint64_t objects = 0;
  std::uint64_t extents = 0;
  std::uint64_t bytes_read = 0;
  // False when the verification ended with an error: this is what was found until then.
  bool complete = true;
  // Of a full verification: the records of damage that were there before it read anything.
  Result<std::vector<StoredDamage>> known_damage = std::vector<StoredDamage>();

  // Orphans only take up space, so they are not problems.
  bool passed() const { return problem_count == 0; }
};

// Verifies the repository without writing, at any time. Objects that are made or deleted meanwhile
// are left out. Damage goes into the report. An error is returned when the store cannot be reached,
// when a label does not exist, or after cancellation; `until_error`, unless it is null, then
// receives what was found before. Memory: about 8 bytes for each extent of a
// full backup that has diffs, and about 100 for each of its packs.
Result<VerifyReport> VerifyRepository(const Repository& repository, const VerifyOptions& options,
                                      VerifyProgress& progress,
                                      VerifyReport* until_error = nullptr);

// What RememberDamage() has changed: labels.
struct RememberedDamage {
  std::vector<std::string> stored;   // are now known as damaged, or others of their objects are
  std::vector<std::string> removed;  // were known as damaged, and are good
  Status status = Ok();              // the first thing that could not be read, written or removed
};

// Writes down which backups a full verification has found damaged (damage_record.h), and removes
// the records of those that it has found good, unless a record is newer than the verification. A
// record stays as it is while an object that it names is bad, and also when the report is not
// complete. Takes no lock. Without damage and records this asks the store nothing. What fails for
// one backup keeps no other from its record, but a store that does not answer ends it. The
// verification stands in any case.
RememberedDamage RememberDamage(const Repository& repository, const VerifyReport& report);

}  // namespace veza
