#include "core/verify/findings.h"

#include <algorithm>
#include <string_view>
#include <tuple>
#include <utility>

#include "core/repository/names.h"

namespace veza {

namespace {

// The label of the backup that has the pack or manifest; empty for any other object.
std::string OwnerOf(std::string_view object) {
  if (!object.starts_with(kBackupPrefix)) {
    return "";
  }
  const std::string_view rest = object.substr(kBackupPrefix.size());
  std::string label(rest.substr(0, rest.find('/')));
  return object == BackupDocumentName(label) ? "" : label;
}

}  // namespace

void Findings::AddProblem(VerifyProblem problem) {
  const std::lock_guard lock(mutex_);
  if (std::ranges::find(problems_, problem) != problems_.end()) {
    return;
  }
  ++counts_[problem.backup];
  if (const std::string label = OwnerOf(problem.object); !label.empty()) {
    inside_.insert(label);
  }
  if (problems_.size() < kMostFindings) {
    problems_.push_back(std::move(problem));
  }
}

void Findings::AddOrphan(std::string object) {
  const std::lock_guard lock(mutex_);
  ++orphan_count_;
  if (orphans_.size() < kMostFindings) {
    orphans_.push_back(std::move(object));
  }
}

void Findings::Forget(const std::string& label) {
  const std::lock_guard lock(mutex_);
  counts_.erase(label);
  std::erase_if(problems_, [&](const VerifyProblem& problem) { return problem.backup == label; });
}

bool Findings::HasProblems(const std::string& label) const {
  const std::lock_guard lock(mutex_);
  return counts_.contains(label);
}

void Findings::AddDamaged(const std::string& label, const std::string& object) {
  const std::lock_guard lock(mutex_);
  damaged_[label].Add(object);
}

DamagedObjects Findings::Damaged(const std::string& label) const {
  const std::lock_guard lock(mutex_);
  const auto damaged = damaged_.find(label);
  return damaged == damaged_.end() ? DamagedObjects() : damaged->second;
}

bool Findings::HasProblemsInside(const std::string& label) const {
  const std::lock_guard lock(mutex_);
  return inside_.contains(label);
}

std::vector<VerifyProblem> Findings::problems() const {
  const std::lock_guard lock(mutex_);
  std::vector<VerifyProblem> sorted = problems_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const VerifyProblem& a, const VerifyProblem& b) {
                     return std::tie(a.object, a.backup) < std::tie(b.object, b.backup);
                   });
  return sorted;
}

std::uint64_t Findings::problem_count() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t count = 0;
  for (const auto& [label, of_label] : counts_) {
    count += of_label;
  }
  return count;
}

std::vector<std::string> Findings::orphans() const {
  const std::lock_guard lock(mutex_);
  return orphans_;
}

std::uint64_t Findings::orphan_count() const {
  const std::lock_guard lock(mutex_);
  return orphan_count_;
}

}  // namespace veza
