// docs/settings.md against the table of settings in core/config/settings.cpp.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include "core/config/settings.h"
#include "source_root.h"

namespace veza {
namespace {

std::string Document() {
  std::ifstream file(VEZA_SOURCE_ROOT "/docs/settings.md");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// As SHOW prints a number with a unit: with the largest unit that leaves no fraction.
std::string WithUnit(SettingUnit unit, int number) {
  using Factors = std::initializer_list<std::pair<int, const char*>>;
  const Factors of_time = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
  const Factors of_memory = {{1 << 30, "TB"}, {1 << 20, "GB"}, {1 << 10, "MB"}, {1, "kB"}};
  if (unit == SettingUnit::kNone || number == 0) {
    return fmt::format("{}", number);
  }
  for (const auto& [factor, name] : unit == SettingUnit::kSeconds ? of_time : of_memory) {
    if (number % factor == 0) {
      return fmt::format("{}{}", number / factor, name);
    }
  }
  return "";
}

std::string TypeOf(const SettingSpec& spec) {
  std::string text;
  switch (spec.type) {
    case SettingType::kString:
      return spec.secret ? "string, secret" : "string";
    case SettingType::kBool:
      return "on, off";
    case SettingType::kInteger:
      return fmt::format("{} to {}", WithUnit(spec.unit, spec.min), WithUnit(spec.unit, spec.max));
    case SettingType::kEnum:
      for (const char* const choice : spec.choices) {
        text += fmt::format("{}{}", text.empty() ? "" : ", ", *choice == '\0' ? "empty" : choice);
      }
      return text;
  }
  return text;
}

std::string RowOf(const SettingSpec& spec) {
  std::string initial = spec.default_value;
  if (spec.type == SettingType::kInteger) {
    initial = WithUnit(spec.unit, std::stoi(initial));
  }
  return fmt::format("| `{}` | {} | {} | {} |\n", spec.name,
                     initial.empty() ? "empty" : fmt::format("`{}`", initial), TypeOf(spec),
                     spec.server_only ? "server" : "server, vezactl");
}

TEST(SettingsDocumentTest, HoldsTheTableOfSettings) {
  std::string table = "| setting | default | values | read by |\n|---|---|---|---|\n";
  for (const SettingSpec& spec : AllSettings()) {
    table += RowOf(spec);
  }
  const std::string document = Document();
  const std::size_t begin = document.find("| setting | default | values | read by |\n");
  ASSERT_NE(begin, std::string::npos);
  EXPECT_EQ(document.substr(begin), table) << "docs/settings.md has to end with this table:\n"
                                           << table;
}

TEST(SettingsDocumentTest, ExplainsEverySettingOnce) {
  const std::string document = Document();
  for (const SettingSpec& spec : AllSettings()) {
    const std::string mark = fmt::format("**`{}`**", spec.name);
    const std::size_t first = document.find(mark);
    ASSERT_NE(first, std::string::npos) << mark << " is not explained in docs/settings.md";
    EXPECT_EQ(document.find(mark, first + 1), std::string::npos) << mark << " is there twice";
  }
}

}  // namespace
}  // namespace veza
