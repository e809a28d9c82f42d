#include "core/backup/copied_contents.h"

#include <gtest/gtest.h>

namespace veza {
namespace {

CopiedContents Copied(std::initializer_list<const char*> paths) {
  CopiedContents contents;
  for (const char* path : paths) {
    contents.Note(path);
  }
  return contents;
}

TEST(CopiedContents, AClusterHasWhatTheServerCannotStartWithout) {
  EXPECT_EQ(Copied({}).MissingOfCluster(), "PG_VERSION");
  EXPECT_EQ(Copied({"PG_VERSION", "base/5/pg_filenode.map"}).MissingOfCluster(),
            "global/pg_filenode.map");
  EXPECT_EQ(Copied({"PG_VERSION", "global/pg_filenode.map", "pg_xactly/0"}).MissingOfCluster(),
            "pg_xact");
  EXPECT_EQ(Copied({"PG_VERSION", "global/pg_filenode.map", "pg_xact/0000"}).MissingOfCluster(),
            "");
}

TEST(CopiedContents, ADatabaseHasAVersionAMapAndRelationsWhereItsRowSays) {
  const ListedDatabase app{16384, "app"};
  EXPECT_EQ(Copied({"base/5/PG_VERSION"}).MissingOf(app), "base/16384");
  EXPECT_EQ(Copied({"base/16384/1259", "base/16384/pg_filenode.map"}).MissingOf(app),
            "PG_VERSION in base/16384");
  EXPECT_EQ(Copied({"base/16384/1259", "base/16384/PG_VERSION"}).MissingOf(app),
            "pg_filenode.map in base/16384");
  EXPECT_EQ(Copied({"base/16384/1259_fsm", "base/16384/PG_VERSION", "base/16384/pg_filenode.map"})
                .MissingOf(app),
            "every relation in base/16384");
  const CopiedContents whole =
      Copied({"base/16384/1259", "base/16384/PG_VERSION", "base/16384/pg_filenode.map"});
  EXPECT_EQ(whole.MissingOf(app), "");
  // In another tablespace a database may have relations only.
  const ListedDatabase moved{16384, "app", 20000};
  EXPECT_EQ(whole.MissingOf(moved), "directory 16384 of tablespace 20000");
  EXPECT_EQ(Copied({"pg_tblspc/20000/PG_15_202209061/16384/1259",
                    "pg_tblspc/20000/PG_15_202209061/16384/PG_VERSION",
                    "pg_tblspc/20000/PG_15_202209061/16384/pg_filenode.map"})
                .MissingOf(moved),
            "");
  EXPECT_EQ(Copied({"pg_tblspc/20000/PG_15_202209061/16384/2619"}).MissingOf(moved),
            "PG_VERSION in directory 16384 of tablespace 20000");
}

TEST(CopiedContents, OnlyADatabaseThatIsStillThereMustBeCopied) {
  const CopiedContents contents =
      Copied({"base/5/1259", "base/5/PG_VERSION", "base/5/pg_filenode.map"});
  const ListedDatabase postgres{5, "postgres"};
  const ListedDatabase app{16384, "app"};
  ListedDatabase half_dropped = app;
  half_dropped.is_invalid = true;
  EXPECT_FALSE(FindUncopied(contents, {postgres}, {postgres}));
  EXPECT_FALSE(FindUncopied(contents, {postgres}, {postgres, app})) << "created meanwhile";
  EXPECT_FALSE(FindUncopied(contents, {postgres, app}, {postgres})) << "dropped meanwhile";
  EXPECT_FALSE(FindUncopied(contents, {postgres, app}, {postgres, half_dropped}));
  EXPECT_FALSE(FindUncopied(contents, {postgres, half_dropped}, {postgres, half_dropped}));
  const auto uncopied = FindUncopied(contents, {postgres, app}, {postgres, app});
  ASSERT_TRUE(uncopied);
  EXPECT_EQ(uncopied->database.name, "app");
  EXPECT_EQ(uncopied->missing, "base/16384");
}

TEST(CopiedContents, TheSummaryNamesNoDatabaseThatIsBeingDropped) {
  const CopiedContents contents =
      Copied({"base/5/1259", "base/5/PG_VERSION", "base/5/pg_filenode.map"});
  const ListedDatabase whole{5, "postgres", kDefaultTablespaceOid, true};
  const ListedDatabase half_dropped{16384, "app", kDefaultTablespaceOid, true};
  const ListedDatabase created{16385, "created"};
  const std::vector<ListedDatabase> now{whole, half_dropped, created};
  EXPECT_TRUE(IsNamedInSummary(contents, 5, now)) << "it can be dropped in the restored cluster";
  EXPECT_FALSE(IsNamedInSummary(contents, 16384, now));
  EXPECT_TRUE(IsNamedInSummary(contents, 16385, now));
  EXPECT_FALSE(IsNamedInSummary(contents, 16386, now)) << "dropped";
}

}  // namespace
}  // namespace veza
