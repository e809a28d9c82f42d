// Collects what a verification has found.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/repository/damage_record.h"

namespace veza {

struct VerifyProblem {
  std::string object;
  std::string backup{};  // label of the backup that needs the object; may be empty
  std::string message{};
  bool operator==(const VerifyProblem&) const = default;
};

// At most this many problems, and this many orphans, are kept. Others are only counted, so that
// memory is bounded even when a repository has lost everything.
inline constexpr std::size_t kMostFindings = 1000;

// Thread-safe.
class Findings {
 public:
  // Adds a problem. The same problem is added only once.
  void AddProblem(VerifyProblem problem);
  void AddOrphan(std::string object);

  // Drops the problems of a backup that was deleted while it was verified.
  void Forget(const std::string& label);
  bool HasProblems(const std::string& label) const;

  // Notes an object of the backup, a pack or the manifest, that was read to its end and is bad.
  void AddDamaged(const std::string& label, const std::string& object);
  DamagedObjects Damaged(const std::string& label) const;
  // Whether there is a problem with the backup's own packs or its manifest, whoever needs them.
  bool HasProblemsInside(const std::string& label) const;

  std::vector<VerifyProblem> problems() const;
  std::uint64_t problem_count() const;
  std::vector<std::string> orphans() const;
  std::uint64_t orphan_count() const;

 private:
  mutable std::mutex mutex_;
  std::vector<VerifyProblem> problems_;
  std::map<std::string, std::uint64_t> counts_;    // number of problems by backup
  std::set<std::string> inside_;                   // labels for HasProblemsInside()
  std::map<std::string, DamagedObjects> damaged_;  // by label
  std::vector<std::string> orphans_;
  std::uint64_t orphan_count_ = 0;
};

}  // namespace veza
