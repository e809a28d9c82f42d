#include "core/monitor/exposition.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "core/codec/json.h"

namespace veza {

namespace {

// In HELP text a quote cannot be escaped.
std::string Escape(std::string_view text, bool quotes) {
  std::string escaped;
  for (const char c : text) {
    if (c == '\\') {
      escaped += "\\\\";
    } else if (c == '\n') {
      escaped += "\\n";
    } else if (c == '"' && quotes) {
      escaped += "\\\"";
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::string FormatValue(double value) {
  if (std::isnan(value)) {
    return "NaN";
  }
  if (std::isinf(value)) {
    return value > 0 ? "+Inf" : "-Inf";
  }
  return fmt::format("{}", value);
}

}  // namespace

void Exposition::Family(std::string_view name, std::string_view help) {
  name_ = name;
  head_ = fmt::format("# HELP {0} {1}\n# TYPE {0} {2}\n", name, Escape(help, false),
                      name.ends_with("_total") ? "counter" : "gauge");
}

void Exposition::Sample(double value, const Labels& labels) {
  text_ += head_;
  head_.clear();
  std::string list;
  for (const Labels* part : std::initializer_list<const Labels*>{&common_, &labels}) {
    for (const auto& [name, label] : *part) {
      list +=
          fmt::format("{}{}=\"{}\"", list.empty() ? "" : ",", name, Escape(ValidUtf8(label), true));
    }
  }
  text_ += list.empty() ? fmt::format("{} {}\n", name_, FormatValue(value))
                        : fmt::format("{}{{{}}} {}\n", name_, list, FormatValue(value));
}

void Exposition::Gauge(std::string_view name, std::string_view help, std::optional<double> value,
                       const Labels& labels) {
  if (value) {
    Family(name, help);
    Sample(*value, labels);
  }
}

std::optional<double> FindSample(std::string_view text, std::string_view name) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const std::size_t space = line.rfind(' ');
    if (!line.starts_with(name) || space == std::string_view::npos ||
        (line[name.size()] != ' ' && line[name.size()] != '{')) {
      continue;
    }
    const std::string value(line.substr(space + 1));
    char* end = nullptr;
    const double number = std::strtod(value.c_str(), &end);
    if (!value.empty() && *end == '\0') {
      return number;
    }
  }
  return std::nullopt;
}

}  // namespace veza
