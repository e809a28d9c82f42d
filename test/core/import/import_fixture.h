// Imports another tool's settings, and reads what was printed as the server would.
#pragma once

#include <gtest/gtest.h>

#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/config/conf_parser.h"
#include "core/config/config.h"
#include "core/config/temporary_directory.h"
#include "core/import/imported_conf.h"

namespace veza {

class ImportFixture : public testing::Test {
 protected:
  virtual Result<ImportedConf> Translate(std::string_view text, const ImportOptions& options) = 0;

  Result<ImportedConf> Import(std::string_view text, ImportOptions options = {}) {
    options.secrets_directory = directory_.path();
    return Translate(text, options);
  }
  // The settings that the printed file has for its own reader. None is there twice.
  SettingValues Read(const ImportedConf& conf) {
    std::set<std::string> names;
    for (const ImportedLine& line : conf.lines()) {
      for (const ImportedSetting& setting : line.settings) {
        EXPECT_TRUE(!setting.in_force || names.insert(setting.name).second) << setting.name;
      }
    }
    auto values = ParseConfFile(directory_.Write("new.conf", conf.Format("# heading\n")));
    EXPECT_TRUE(values.has_value()) << values.error().message << "\n" << conf.Format("");
    return values.has_value() ? std::move(*values) : SettingValues();
  }
  std::string ValueOf(std::string_view text, const char* setting) {
    const auto conf = Import(text);
    if (!conf.has_value()) {
      return "ERROR " + conf.error().message;
    }
    const SettingValues values = Read(*conf);
    const auto found = values.find(setting);
    return found == values.end() ? "(unset)" : found->second.text;
  }
  // What the server makes of the printed file, with the secrets where it says.
  Result<Config> Build(const ImportedConf& conf) {
    for (const ImportedSecret& secret : conf.secrets()) {
      directory_.Write(secret.file.substr(directory_.path().size() + 1), secret.content.text());
    }
    return BuildConfig(Read(conf), [](const char*) { return std::optional<std::string>(); });
  }

  // What is left to do, in one text.
  std::string ToDoOf(std::string_view text) {
    const auto conf = Import(text);
    EXPECT_TRUE(conf.has_value()) << conf.error().message;
    std::string to_do;
    for (const ImportedLine& line : conf->lines()) {
      to_do += line.to_do.empty() ? "" : line.to_do + "\n";
    }
    return to_do;
  }

  TemporaryDirectory directory_;
};

// Each of the names has one row, and there are no others.
template <typename Names>
void ExpectOneRowEach(const std::vector<std::string_view>& rows, const Names& names) {
  const std::set<std::string_view> known(rows.begin(), rows.end());
  EXPECT_EQ(known.size(), rows.size());
  for (const char* const name : names) {
    EXPECT_TRUE(known.contains(name)) << name;
  }
  EXPECT_EQ(known.size(), std::size(names));
}

}  // namespace veza
