#include "core/postgres/relation_names.h"

#include <gtest/gtest.h>

namespace veza {
namespace {

struct ClassifyCase {
  const char* path;
  bool is_relation;
  bool is_main_fork;
  std::uint32_t segment;
};

TEST(ClassifyFile, RecognisesRelationsByTheirNames) {
  const ClassifyCase cases[] = {
      {"base/5/1259", true, true, 0},
      {"base/5/1259.1", true, true, 1},
      {"base/5/1259.131071", true, true, 131071},
      {"base/5/1259_fsm", true, false, 0},
      {"base/5/1259_vm", true, false, 0},
      {"base/5/1259_vm.2", true, false, 2},
      {"base/5/1259_init", true, false, 0},
      {"global/1262", true, true, 0},
      {"global/1262_fsm", true, false, 0},
      {"pg_tblspc/16384/PG_15_202209061/5/16400", true, true, 0},
      {"pg_tblspc/16384/PG_15_202209061/5/16400.3", true, true, 3},
      {"1259", false, false, 0},
      {"base/1259", false, false, 0},
      {"base/5/PG_VERSION", false, false, 0},
      {"base/5/pg_filenode.map", false, false, 0},
      {"global/pg_control", false, false, 0},
      {"base/5/1259_xyz", false, false, 0},
      {"base/5/1259.", false, false, 0},
      {"base/5/1259.x", false, false, 0},
      {"base/5/1259.1.2", false, false, 0},
      {"base/5/1259.9999999999", false, false, 0},
      {"base/5/_fsm", false, false, 0},
      {"base/5/t3_1259", false, false, 0},
      {"base/5/sub/1259", false, false, 0},
      {"base/x/1259", false, false, 0},
      {"pg_xact/0000", false, false, 0},
      {"pg_multixact/members/0000", false, false, 0},
      {"pg_tblspc/16384/PG_15_202209061/16400", false, false, 0},
      {"pg_tblspc/16384/other/5/16400", false, false, 0},
      {"pg_tblspc/x/PG_15_202209061/5/16400", false, false, 0},
      {"", false, false, 0},
  };
  for (const ClassifyCase& expected : cases) {
    const RelationPath file = ClassifyFile(expected.path);
    EXPECT_EQ(file.is_relation, expected.is_relation) << expected.path;
    EXPECT_EQ(file.is_main_fork, expected.is_main_fork) << expected.path;
    EXPECT_EQ(file.segment, expected.segment) << expected.path;
  }
}

TEST(ClassifyFile, NamesARelationAsWalDoes) {
  struct Case {
    const char* path;
    std::uint32_t tablespace;
    std::uint32_t database;
    std::uint32_t number;
  };
  const Case cases[] = {
      {"base/5/1259", 1663, 5, 1259},
      {"base/5/1259.1", 1663, 5, 1259},
      {"base/5/1259_vm", 1663, 5, 1259},
      {"global/1262", 1664, 0, 1262},
      {"pg_tblspc/16384/PG_15_202209061/5/16400.3", 16384, 5, 16400},
      {"base/4294967295/4294967295", 1663, 4294967295, 4294967295},
      // The server does not write these, so they are no files of the relation.
      {"base/5/01259", 1663, 5, 0},
      {"base/05/1259", 1663, 5, 0},
      {"base/5/1259.0", 1663, 5, 0},
      {"base/5/1259.01", 1663, 5, 0},
      {"base/5/4294967296", 1663, 5, 0},
      {"base/5/PG_VERSION", 0, 0, 0},
  };
  for (const Case& expected : cases) {
    const RelationPath file = ClassifyFile(expected.path);
    EXPECT_EQ(file.tablespace, expected.tablespace) << expected.path;
    EXPECT_EQ(file.database, expected.database) << expected.path;
    EXPECT_EQ(file.number, expected.number) << expected.path;
  }
}

}  // namespace
}  // namespace veza
