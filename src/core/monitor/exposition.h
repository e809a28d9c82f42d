// The text format in which Prometheus and node_exporter's textfile collector read metrics
// (exposition format 0.0.4).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/environment.h"

namespace veza {

// A moment as a sample has it.
inline double UnixSeconds(TimePoint time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

// Writes samples in families. A family's HELP and TYPE lines come first, and its samples follow
// immediately. So Family() is called once for each family, before its samples. A family without
// samples is not written.
class Exposition {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  // The labels in `common` are added to every sample.
  explicit Exposition(Labels common = {}) : common_(std::move(common)) {}

  // By convention, a family whose name ends with "_total" is a counter, and otherwise a gauge.
  void Family(std::string_view name, std::string_view help);
  void Sample(double value, const Labels& labels = {});
  // Writes the family and its only sample. Without a value, nothing.
  void Gauge(std::string_view name, std::string_view help, std::optional<double> value,
             const Labels& labels = {});

  const std::string& text() const { return text_; }

 private:
  Labels common_;
  std::string name_;
  std::string head_;  // of a family that has no sample yet
  std::string text_;
};

// The value of the first sample with that name, with any labels, in a text that Exposition has
// written. nullopt when there is none.
std::optional<double> FindSample(std::string_view text, std::string_view name);

}  // namespace veza
