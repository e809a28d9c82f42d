#include "core/repository/manifest_rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/repository/test_backup.h"

namespace veza {
namespace {

using testing::HasSubstr;

TEST(CanBeInBackup, AcceptsWhatTheWalkVisits) {
  for (const char* file :
       {"PG_VERSION", "backup_label", "tablespace_map", "postgresql.auto.conf", "recovery.signal",
        "global/pg_control", "base/5/1259", "base/5/1259.1", "base/5/pg_filenode.map",
        "notes/pg_wal", "veza-recovery-settings", "veza-directory", "veza-repository",
        "notes/veza-restoring", "lost+found", "backup_label.old",
        "pg_tblspc/16384/PG_15_202209061/5/16385"}) {
    EXPECT_TRUE(CanBeInBackup(file, false)) << file;
  }
  for (const char* directory :
       {"", "base", "pg_wal", "pg_wal/archive_status", "pg_wal/summaries", "pg_tblspc",
        "pg_tblspc/16384", "pg_replslot", "notes/pg_notify", "log", "notes/recovery.signal"}) {
    EXPECT_TRUE(CanBeInBackup(directory, true)) << directory;
  }
  EXPECT_TRUE(CanBeInBackup(std::string(255, 'n'), false));
}

TEST(CanBeInBackup, RefusesWhatNoWalkVisits) {
  for (const char* path :
       {"postmaster.pid", "postmaster.opts", "notes/postmaster.pid", "backup_manifest",
        "postgresql.auto.conf.tmp", "current_logfiles.tmp", "notes/backup_label", "base/pgsql_tmp",
        "base/5/pg_internal.init.77", "veza-empty-databases", "veza-restoring",
        "global/pg_control.veza-restoring", "pg_replslot/slot", "notes/pg_notify/0000",
        "pg_wal/veza_key_wrap", "pg_wal/archive_status/x", "pg_wal/notes"}) {
    EXPECT_FALSE(CanBeInBackup(path, false)) << path;
    EXPECT_FALSE(CanBeInBackup(path, true)) << path;
  }
  for (const char* file : {"", "pg_wal", "pg_tblspc", "pg_wal/archive_status"}) {
    EXPECT_FALSE(CanBeInBackup(file, false)) << file;
  }
  for (const char* directory :
       {"global/pg_control", "backup_label", "tablespace_map", "postgresql.auto.conf",
        "recovery.signal", "standby.signal", "veza-recovery-settings", "veza-directory"}) {
    EXPECT_FALSE(CanBeInBackup(directory, true)) << directory;
  }
  EXPECT_FALSE(CanBeInBackup(std::string(256, 'n'), false));
  std::string deep = "n";
  while (deep.size() < 4096) {
    deep += "/n";
  }
  EXPECT_FALSE(CanBeInBackup(deep, false));
}

class ManifestRulesTest : public testing::Test {
 protected:
  ManifestRulesTest() {
    backup_.label = "20260101T000000Z-full";
    backup_.size = 100;
    backup_.files = 2;
    backup_.tablespaces = {{16384, "/srv/tablespace", 0}};
  }
  static FileRecord File(std::string path, std::uint64_t size = 0) {
    return FileRecord{std::move(path), 0600, size, 0, {}, {}};
  }
  void Directories(ManifestRules& rules) const {
    for (const char* path : {"", "global", "pg_tblspc", "pg_tblspc/16384"}) {
      EXPECT_OK(rules.Take(DirectoryRecord{path, 0700}));
    }
  }

  BackupSummary backup_;
};

TEST_F(ManifestRulesTest, AcceptsAManifestThatObeysThem) {
  ManifestRules rules(backup_);
  Directories(rules);
  EXPECT_OK(rules.Take(Tablespace{16384, "/srv/tablespace", 0}));
  EXPECT_OK(rules.Take(File("pg_tblspc/16384/notes", 60)));
  EXPECT_OK(rules.Take(File("global/pg_control", 40)));
  EXPECT_OK(rules.Finish());
}

TEST_F(ManifestRulesTest, EveryPathOccursOnce) {
  ManifestRules rules(backup_);
  Directories(rules);
  EXPECT_OK(rules.Take(File("notes")));
  for (const ManifestRecord& record :
       {ManifestRecord(File("notes")), ManifestRecord(DirectoryRecord{"notes", 0700}),
        ManifestRecord(File("global")), ManifestRecord(DirectoryRecord{"global", 0700}),
        ManifestRecord(DirectoryRecord{"", 0700}), ManifestRecord(File("pg_tblspc/16384"))}) {
    EXPECT_ERROR(rules.Take(record), ErrorCode::kDataCorrupted);
  }
  EXPECT_ERROR(ManifestRules(backup_).Take(File("pg_tblspc/16384")), ErrorCode::kDataCorrupted);
}

TEST_F(ManifestRulesTest, ADirectoryPrecedesItsContent) {
  ManifestRules rules(backup_);
  EXPECT_OK(rules.Take(File("notes")));
  for (const char* path : {"absent/file", "notes/file", "pg_tblspc/16385/file", "global/1"}) {
    const Status taken = rules.Take(File(path));
    EXPECT_ERROR(taken, ErrorCode::kDataCorrupted);
    EXPECT_THAT(taken.error().message, HasSubstr(path));
  }
}

TEST_F(ManifestRulesTest, NoFileHasTheNameOfAClaim) {
  ManifestRules rules(backup_);
  Directories(rules);
  EXPECT_ERROR(rules.Take(File("pg_tblspc/16384/veza_restoring")), ErrorCode::kDataCorrupted);
  EXPECT_OK(rules.Take(File("veza_restoring")));
}

TEST_F(ManifestRulesTest, LongNamesAreShortenedInMessages) {
  const Status taken = ManifestRules(backup_).Take(File(std::string(5U << 20, 'n')));
  EXPECT_ERROR(taken, ErrorCode::kDataCorrupted);
  EXPECT_LT(taken.error().message.size(), 500U);
}

TEST_F(ManifestRulesTest, FilesAddUpToWhatBackupJsonSays) {
  ManifestRules rules(backup_);
  Directories(rules);
  EXPECT_OK(rules.Take(File("global/pg_control", 60)));
  EXPECT_ERROR(rules.Finish(), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(rules.Take(File("more", 41)), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(rules.Take(File("most", ~std::uint64_t{0})), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(rules.Finish(), ErrorCode::kDataCorrupted);
}

TEST_F(ManifestRulesTest, RequiresAControlFile) {
  ManifestRules rules(backup_);
  Directories(rules);
  EXPECT_OK(rules.Take(File("one", 60)));
  EXPECT_OK(rules.Take(File("two", 40)));
  const Status finished = rules.Finish();
  EXPECT_ERROR(finished, ErrorCode::kDataCorrupted);
  EXPECT_THAT(finished.error().message, HasSubstr("global/pg_control"));
}

TEST_F(ManifestRulesTest, RequiresTheDirectoryOfTablespaceLinks) {
  ManifestRules rules(backup_);
  EXPECT_OK(rules.Take(DirectoryRecord{"global", 0700}));
  EXPECT_OK(rules.Take(File("global/pg_control", 60)));
  EXPECT_OK(rules.Take(File("notes", 40)));
  EXPECT_ERROR(rules.Finish(), ErrorCode::kDataCorrupted);
}

}  // namespace
}  // namespace veza
