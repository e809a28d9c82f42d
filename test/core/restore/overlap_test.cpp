#include "core/restore/overlap.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/restore/bind_mount.h"
#include "core/storage/temporary_directory.h"

namespace veza {
namespace {

TEST(OverlapTest, ComparesPartsOfPaths) {
  EXPECT_TRUE(IsWithin("/srv/data", "/srv/data"));
  EXPECT_TRUE(IsWithin("/srv/data/", "/srv/data"));
  EXPECT_TRUE(IsWithin("/srv/data/base", "/srv/data/"));
  EXPECT_TRUE(IsWithin("/srv/data/../data/x", "/srv/data"));
  EXPECT_TRUE(IsWithin("/srv", "/"));
  EXPECT_FALSE(IsWithin("/srv/data2", "/srv/data"));
  EXPECT_FALSE(IsWithin("/srv", "/srv/data"));
  EXPECT_TRUE(Overlap("/srv", "/srv/data"));
  EXPECT_FALSE(Overlap("/srv/data2", "/srv/data"));
}

TEST(OverlapTest, FollowsLinks) {
  const TemporaryDirectory work;
  std::filesystem::create_directories(work.path() + "/real/deep");
  std::filesystem::create_directory_symlink(work.path() + "/real", work.path() + "/link");
  EXPECT_TRUE(IsWithin(work.path() + "/link/deep", work.path() + "/real"));
  EXPECT_TRUE(IsWithin(work.path() + "/link/absent/too", work.path() + "/real"));
  EXPECT_TRUE(IsWithin(work.path() + "/real/deep", work.path() + "/link"));
}

TEST(OverlapTest, RecognisesBindMounts) {
  const TemporaryDirectory work;
  const std::string data = work.path() + "/my data";
  const std::string volume = work.path() + "/the volume";
  std::filesystem::create_directories(data + "/base/PG_15_1");
  std::filesystem::create_directories(volume + "/PG_15_1");
  EXPECT_FALSE(Overlap(volume, data));
  const auto found = WithBindMount(data + "/base", volume, [&] {
    return IsWithin(volume, data) && IsWithin(volume + "/new", data) &&
           IsWithin(data + "/base/PG_15_1", volume) &&
           IsWithin(volume + "/new/x", data + "/base/new") &&
           IsWithin(data + "/base/new/x", volume + "/new") &&
           WayTo(volume + "/PG_15_1/x", data) == "base/PG_15_1/x" &&
           IsWithinTablespace(volume + "/PG_15_1/x", data + "/base") &&
           IsSamePlace(volume, data + "/base") && IsSamePlace(data + "/base/x", volume + "/x") &&
           !IsSamePlace(volume, data) && !IsWithin(data, volume) &&
           !IsWithin(volume, data + "/base/PG_15_1") && !Overlap(volume + "/new", data + "/bas") &&
           !Overlap(data + "/global", volume);
  });
  if (!found) {
    GTEST_SKIP() << "no mount namespaces here";
  }
  EXPECT_TRUE(*found);
}

TEST(OverlapTest, OnlyVersionDirectoriesOfATablespaceCount) {
  EXPECT_TRUE(IsVersionDirectory("PG_15_202209061"));
  for (const char* name :
       {"PG_15", "PG_15_", "PG__1", "PG_a_1", "pg_15_1", "PG_15_1x", "", "PG_"}) {
    EXPECT_FALSE(IsVersionDirectory(name)) << name;
  }
  EXPECT_TRUE(IsWithinTablespace("/srv/PG_15_202209061/5", "/srv"));
  EXPECT_TRUE(IsWithinTablespace("/srv/PG_15_202209061", "/srv/"));
  EXPECT_FALSE(IsWithinTablespace("/srv/data", "/srv"));
  EXPECT_FALSE(IsWithinTablespace("/srv", "/srv"));
  EXPECT_FALSE(IsWithinTablespace("/PG_15_202209061", "/srv"));
}

}  // namespace
}  // namespace veza
