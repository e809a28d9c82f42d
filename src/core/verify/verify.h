// Whether a repository holds what it should: everything that its backups need, as it was written.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/repository/repository.h"
#include "core/verify/findings.h"

namespace veza {

struct VerifyOptions {
  // These backups, each diff with the full that it refers to, and the WAL that makes them
  // consistent. Empty: every backup, the WAL behind them, and what else is in the repository.
  std::vector<std::string> labels;
  // Open everything that was found, once, and compare it with its digest.
  bool full = false;
  // The settings by which older WAL is removed (retention.h); 0: all. From where they keep it on,
  // there must be no gap.
  int retention_full = 0;
  int retention_archive = 0;
  int jobs = 1;                // threads, each with a request in flight
  std::uint64_t max_rate = 0;  // bytes a second that are read; 0: no limit
};

// Written by the verification, read by whoever shows it.
struct VerifyProgress {
  std::atomic<std::uint64_t> bytes_total{0};  // to be read; set before the first byte
  std::atomic<std::uint64_t> bytes_read{0};
  std::atomic<std::uint64_t> objects{0};  // that were looked at
  std::atomic<std::uint64_t> extents{0};  // that the manifests name, one that several share once
};

struct VerifiedBackup {
  std::string label;
  BackupType type = BackupType::kFull;
  bool good = true;
  bool suspect = false;  // its bytes may be good, but see suspect_diff.h
};

struct VerifyReport {
  std::vector<VerifiedBackup> backups;  // by label
  std::vector<VerifyProblem> problems;  // by object; the first kMostFindings
  std::uint64_t problem_count = 0;
  std::vector<std::string> orphans;  // objects that nothing refers to; likewise
  std::uint64_t orphan_count = 0;
  std::uint64_t objects = 0;
  std::uint64_t extents = 0;
  std::uint64_t bytes_read = 0;

  // Orphans take up space and do no harm.
  bool passed() const { return problem_count == 0; }
};

// Reads only, and may run at any time: what is made meanwhile is left out, and so is what is
// deleted. Damage goes into the report; an error is returned when the store could not be asked, for
// a label that is not there, or when the environment was cancelled. Memory: some 8 bytes for each
// extent of a full backup that has diffs, and some 100 for each of its packs.
Result<VerifyReport> VerifyRepository(const Repository& repository, const VerifyOptions& options,
                                      VerifyProgress& progress);

}  // namespace veza
