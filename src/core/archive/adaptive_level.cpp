#include "core/archive/adaptive_level.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>

namespace veza {
namespace {

struct Step {
  std::size_t backlog;  // the least that justifies it
  int level;
};
// Speed and ratio of zstd on WAL of pgbench and bulk loads, one core, as bench/README.md shows:
// levels in between bring little.
constexpr std::array kSteps = {Step{4, 1}, Step{6, -1}, Step{8, -10}, Step{12, -20}, Step{24, -50}};

constexpr double kWeight = 0.2;  // of the newest file
// Larger files cost time elsewhere, too: to encrypt and send them, and the store.
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
