// The text format in which Prometheus and node_exporter's textfile collector read metrics
// (exposition format 0.0.4).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace veza {

// All samples of a family stand together behind one HELP and one TYPE line, so a family is begun
// once and its samples follow. A family without samples is not written.
class Exposition {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  // `common` labels go to every sample.
  explicit Exposition(Labels common = {}) : common_(std::move(common)) {}

  // A counter when its name ends with "_total", as the convention is; otherwise a gauge.
  void Family(std::string_view name, std::string_view help);
  void Sample(double value, const Labels& labels = {});
  // Family and its only sample; no value, no family.
  void Gauge(std::string_view name, std::string_view help, std::optional<double> value,
             const Labels& labels = {});

  const std::string& text() const { return text_; }

 private:
  Labels common_;
  std::string name_;
  std::string head_;  // of the family that has no sample yet
  std::string text_;
};

// The value of the sample of that name in a text that Exposition has written, whatever its labels
// are; the first of several.
std::optional<double> FindSample(std::string_view text, std::string_view name);

}  // namespace veza
