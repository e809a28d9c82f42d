#include "core/archive/adaptive_level.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>

namespace veza {
namespace {

struct Step {
  std::size_t backlog;  // the smallest that justifies the level
  int level;
};
// Chosen by speed and ratio of zstd on the WAL of pgbench and of bulk loads, on one core
// (bench/README.md). Levels in between bring little.
constexpr std::array kSteps = {Step{4, 1}, Step{6, -1}, Step{8, -10}, Step{12, -20}, Step{24, -50}};

constexpr double kWeight = 0.2;  // of the newest file
// How much longer than storing compressing must take before the level falls. Larger files also take
// longer to encrypt, to send and in the store.
constexpr double kClearly = 2;

void Average(std::chrono::duration<double>& average, std::chrono::duration<double> value) {
  average = average.count() == 0 ? value : average + kWeight * (value - average);
}

}  // namespace

void AdaptiveLevel::Note(std::chrono::duration<double> sealing,
                         std::chrono::duration<double> storing) {
  Average(sealing_, sealing);
  Average(storing_, storing);
}

double AdaptiveLevel::CompressingByStoring() const {
  if (storing_.count() == 0) {
    return std::numeric_limits<double>::infinity();  // nothing is known
  }
  return (sealing_ / static_cast<double>(sealers_)) / (storing_ / static_cast<double>(streams_));
}

int AdaptiveLevel::Next(std::size_t backlog) {
  const auto justified = static_cast<std::size_t>(
      std::ranges::count_if(kSteps, [&](const Step& step) { return backlog >= step.backlog; }));
  const double ratio = CompressingByStoring();
  if (step_ > 0 && ratio < 1) {
    --step_;
  } else if (ratio > kClearly) {
    ++step_;
  }
  step_ = std::min(step_, justified);
  return step_ == 0 ? configured_ : std::min(configured_, kSteps[step_ - 1].level);
}

}  // namespace veza
