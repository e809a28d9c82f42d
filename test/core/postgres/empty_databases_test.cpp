#include "core/postgres/empty_databases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/codec/codec_fixtures.h"

namespace veza {
namespace {

TEST(EmptyDatabases, AreReadAsTheyWereWritten) {
  const EmptyDatabases written{
      7711348379840072545U,
      "20261122-020000F",
      {{16384, "app"}, {4294967295U, "odd \"name\",\n\\ \xc3\xa9"}, {16386, ""}}};
  const auto read = ParseEmptyDatabases(FormatEmptyDatabases(written));
  ASSERT_OK(read);
  EXPECT_EQ(read->system_identifier, written.system_identifier);
  EXPECT_EQ(read->backup, written.backup);
  ASSERT_EQ(read->databases.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(read->databases[i].oid, written.databases[i].oid);
    EXPECT_EQ(read->databases[i].name, written.databases[i].name);
  }
}

TEST(EmptyDatabases, ANameThatIsNotUtf8IsAccepted) {
  EXPECT_OK(ParseEmptyDatabases(FormatEmptyDatabases({1, "x", {{16384, "caf\xe9"}}})));
}

// The extension drops databases that this file names. So it accepts only what a restore has
// written.
TEST(EmptyDatabases, NothingElseIsAccepted) {
  const std::string good = FormatEmptyDatabases({1, "20261122-020000F", {{16384, "app"}}});
  ASSERT_OK(ParseEmptyDatabases(good));
  const auto changed = [&](const std::string& what, const std::string& with) {
    std::string text = good;
    const std::size_t at = text.find(what);
    EXPECT_NE(at, std::string::npos) << what;
    return text.replace(at, what.size(), with);
  };
  for (const std::string& bad :
       {std::string(), std::string("[]"), std::string("{}"), good.substr(0, good.size() / 2),
        changed("vezactl restore --databases", "somebody"), changed("\"1\"", "1"),
        changed("16384", "16383"), changed("16384", "4294967296"), changed("16384", "\"16384\""),
        changed("\"app\"", "null"), changed("\"name\"", "\"nome\""),
        changed("\"databases\"", "\"data\""), changed("\"backup\"", "\"label\"")}) {
    SCOPED_TRACE(bad);
    EXPECT_ERROR(ParseEmptyDatabases(bad), ErrorCode::kDataCorrupted);
  }
}

}  // namespace
}  // namespace veza
