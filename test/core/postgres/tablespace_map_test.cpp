#include "core/postgres/tablespace_map.h"

#include <gtest/gtest.h>

#include "core/codec/codec_fixtures.h"

namespace veza {
namespace {

TEST(TablespaceMap, ReadsWhatTheServerWrites) {
  const auto map = ParseTablespaceMap(
      "16384 /srv/fast disk\n"
      "16385 /srv/with\\\\backslash\n"
      "4294967295 /srv/line\\\nfeed\\\rreturn\n");
  ASSERT_OK(map);
  ASSERT_EQ(map->size(), 3U);
  EXPECT_EQ((*map)[0].oid, 16384U);
  EXPECT_EQ((*map)[0].path, "/srv/fast disk");
  EXPECT_EQ((*map)[1].path, "/srv/with\\backslash");
  EXPECT_EQ((*map)[2].oid, 4294967295U);
  EXPECT_EQ((*map)[2].path, "/srv/line\nfeed\rreturn");
  EXPECT_TRUE(ParseTablespaceMap("").value().empty());
}

TEST(TablespaceMap, ComesBackAsItWas) {
  const std::vector<Tablespace> tablespaces = {
      {1, "/a", 0}, {16385, "/\\\n\r \xff\\", 0}, {16386, "/trailing \\", 0}};
  const auto back = ParseTablespaceMap(FormatTablespaceMap(tablespaces));
  ASSERT_OK(back);
  ASSERT_EQ(back->size(), tablespaces.size());
  for (std::size_t i = 0; i < tablespaces.size(); ++i) {
    EXPECT_EQ((*back)[i].oid, tablespaces[i].oid);
    EXPECT_EQ((*back)[i].path, tablespaces[i].path);
  }
}

TEST(TablespaceMap, RefusesDamage) {
  for (const char* text : {"16384 /srv", "16384\n", "16384 \n", " /srv\n", "/srv\n", "x /srv\n",
                           "-1 /srv\n", "4294967296 /srv\n", "16384\t/srv\n", "\n",
                           "16384 /a\n16385 /b", "16384 /a\\\n", "16384 /a\\"}) {
    EXPECT_ERROR(ParseTablespaceMap(text), ErrorCode::kDataCorrupted);
  }
}

}  // namespace
}  // namespace veza
