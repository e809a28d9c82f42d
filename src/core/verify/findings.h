// What a verification has found to be wrong.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "core/error.h"

namespace veza {

struct VerifyProblem {
  std::string object;
  std::string backup{};  // the label of the one that needs the object; may be empty
  std::string message{};
  bool operator==(const VerifyProblem&) const = default;
};

// More than these are only counted: a repository that lost everything must not cost all memory.
inline constexpr std::size_t kMostFindings = 1000;

// Thread-safe.
class Findings {
 public:
  // Once, however often it is found.
  void AddProblem(VerifyProblem problem);
  void AddOrphan(std::string object);

  // The backup was deleted while it was verified, and its objects with it.
  void Forget(const std::string& label);
  bool HasProblems(const std::string& label) const;

  std::vector<VerifyProblem> problems() const;
  std::uint64_t problem_count() const;
  std::vector<std::string> orphans() const;
  std::uint64_t orphan_count() const;

 private:
  mutable std::mutex mutex_;
  std::vector<VerifyProblem> problems_;
  std::map<std::string, std::uint64_t> counts_;  // of problems, by backup
  std::vector<std::string> orphans_;
  std::uint64_t orphan_count_ = 0;
};

}  // namespace veza
