#include "core/postgres/data_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/codec/codec_fixtures.h"
#include "core/config/temporary_directory.h"
#include "core/memory_gauge.h"

namespace veza {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kVersionDirectory = "PG_15_202209061";

// A data directory, and what a walk over it finds. Directories are shown with a trailing slash.
class DataDirectoryTest : public testing::Test {
 protected:
  DataDirectoryTest() {
    options_.data_directory = tree_.path() + "/data";
    options_.tablespace_version_directory = kVersionDirectory;
    mkdir(options_.data_directory.c_str(), 0700);
  }

  std::string In(const std::string& path) const { return options_.data_directory + "/" + path; }
  void File(const std::string& path, std::string_view content = "x", mode_t mode = 0600) {
    tree_.Write("data/" + path, content, mode);
  }
  void Directory(const std::string& path, mode_t mode = 0700) {
    std::filesystem::create_directories(In(path));
    chmod(In(path).c_str(), mode);
  }
  void Socket(const std::string& path) {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    In(path).copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0) << path;
    close(fd);
  }
  void Link(const std::string& path, const std::string& target) {
    EXPECT_EQ(symlink(target.c_str(), In(path).c_str()), 0) << path;
  }
  void Tablespace(std::uint32_t oid, const std::string& location) {
    std::filesystem::create_directories(location);
    Directory("pg_tblspc");
    ASSERT_EQ(symlink(location.c_str(), In("pg_tblspc/" + std::to_string(oid)).c_str()), 0);
    options_.tablespaces.push_back({oid, location, 0});
  }

  Status Walk() {
    entries_.clear();
    warnings_.clear();
    notes_ = {};
    return WalkDataDirectory(options_, {[this](const DirectoryEntry& entry) {
                                          entries_.push_back(entry);
                                          return on_visit_ ? on_visit_(entry) : Ok();
                                        },
                                        [this](const SkippedItem& item, bool unexpected) {
                                          notes_.Skip(item);
                                          if (unexpected) {
                                            warnings_.push_back(item.path);
                                          }
                                        },
                                        [this](const FollowedLink& link) { notes_.Follow(link); }});
  }
  std::vector<std::string> Paths() {
    EXPECT_OK(Walk());
    std::vector<std::string> paths;
    for (const DirectoryEntry& entry : entries_) {
      const bool is_directory = entry.kind == DirectoryEntry::Kind::kDirectory;
      paths.push_back(entry.path + (is_directory ? "/" : ""));
    }
    return paths;
  }
  const DirectoryEntry& Entry(const std::string& path) const {
    for (const DirectoryEntry& entry : entries_) {
      if (entry.path == path) {
        return entry;
      }
    }
    ADD_FAILURE() << path;
    return entries_.front();
  }

  TemporaryDirectory tree_;
  WalkOptions options_;
  std::vector<DirectoryEntry> entries_;
  std::vector<std::string> warnings_;  // for what was skipped unexpectedly
  WalkNotes notes_;
  std::function<Status(const DirectoryEntry&)> on_visit_;
};

TEST_F(DataDirectoryTest, VisitsEverythingInOrderWithModesAndSizes) {
  File("PG_VERSION", "15\n", 0640);
  File("base/5/1259", std::string(8192, 'x'));
  File("base/5/PG_VERSION", "15\n");
  File("base/1/1259", "");
  Directory("base", 0750);
  Directory("pg_xact", 02770);
  EXPECT_THAT(Paths(), ElementsAre("/", "PG_VERSION", "base/", "base/1/", "base/1/1259", "base/5/",
                                   "base/5/1259", "base/5/PG_VERSION", "pg_xact/"));
  EXPECT_THAT(warnings_, IsEmpty());
  EXPECT_EQ(Entry("PG_VERSION").mode, 0640U);
  EXPECT_EQ(Entry("PG_VERSION").size, 3U);
  EXPECT_EQ(Entry("PG_VERSION").source_path, In("PG_VERSION"));
  EXPECT_EQ(Entry("base").mode, 0750U);
  EXPECT_EQ(Entry("pg_xact").mode, 02770U);
  EXPECT_EQ(Entry("").mode, 0700U);
  EXPECT_EQ(Entry("base/5/1259").size, 8192U);
  EXPECT_TRUE(Entry("base/5/1259").relation.is_main_fork);
  EXPECT_FALSE(Entry("base/5/PG_VERSION").relation.is_relation);
}

// Otherwise each backup would contain all earlier backups.
TEST_F(DataDirectoryTest, RefusesARepositoryInTheDataDirectory) {
  const TemporaryDirectory outside;
  std::filesystem::create_directories(outside.path() + "/backups/main/wal");
  outside.Write("backups/main/x", "");
  File("base/1/1259");
  options_.repository_directory = outside.path() + "/backups/main";
  EXPECT_OK(Walk());
  options_.repository_directory = outside.path() + "/nowhere";
  EXPECT_OK(Walk());
  options_.repository_directory = outside.path() + "/backups/main";
  for (const char* const target :
       {"", "/backups", "/backups/main", "/backups/main/wal", "/backups/main/x"}) {
    Link("link", outside.path() + target);
    const Status refused = Walk();
    EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
    EXPECT_THAT(refused.error().message, HasSubstr("belongs to the repository")) << target;
    EXPECT_THAT(refused.error().hint, HasSubstr("Move the repository"));
    std::filesystem::remove(In("link"));
  }
  EXPECT_OK(Walk());
  // The repository is found although the setting names it by another path.
  Directory("mine");
  std::filesystem::create_symlink(In("mine"), outside.path() + "/alias");
  options_.repository_directory = outside.path() + "/alias";
  EXPECT_ERROR(Walk(), ErrorCode::kFailedPrecondition);
  // A repository one level above the data directory does no harm.
  options_.repository_directory = std::filesystem::path(In("x")).parent_path().parent_path();
  EXPECT_OK(Walk());
}

// The tablespace's location is in the repository.
TEST_F(DataDirectoryTest, RefusesATablespaceInTheRepository) {
  const TemporaryDirectory outside;
  const std::string location = outside.path() + "/main/space";
  Tablespace(16384, location);
  std::filesystem::create_directories(location + "/" + kVersionDirectory);
  EXPECT_OK(Walk());
  options_.repository_directory = outside.path() + "/main";
  EXPECT_ERROR(Walk(), ErrorCode::kFailedPrecondition);
}

// basebackup.c, excludeFiles: anywhere in the tree.
TEST_F(DataDirectoryTest, LeavesOutWhatTheServerLeavesOut) {
  for (const char* name :
       {"postgresql.auto.conf.tmp", "current_logfiles.tmp", "backup_label", "tablespace_map",
        "backup_manifest", "postmaster.pid", "postmaster.opts", "pg_internal.init",
        "pg_internal.init.4711", "pgsql_tmp4711.0", "veza-empty-databases", "veza-repository"}) {
    File(name);
    File(std::string("base/5/") + name);
  }
  File("base/pgsql_tmp/pgsql_tmp4711.0");
  File("global/pg_control");
  File("base/5/pg_control");  // the same name in another directory
  File("backup_label.old");
  File("tablespace_map.old");
  File("postgresql.auto.conf");
  File("current_logfiles");
  File("pg_internal");
  EXPECT_THAT(Paths(), ElementsAre("/", "backup_label.old", "base/", "base/5/", "base/5/pg_control",
                                   "current_logfiles", "global/", "pg_internal",
                                   "postgresql.auto.conf", "tablespace_map.old"));
}

// A restore would refuse a backup with these files (manifest_rules.h). In other directories, files
// of this name are copied.
TEST_F(DataDirectoryTest, LeavesOutTheFilesOfAnUnfinishedRestore) {
  File("veza-restoring");
  File("veza-directory");
  File("global/pg_control.veza-restoring");
  File("base/veza-restoring");
  EXPECT_THAT(Paths(), ElementsAre("/", "base/", "base/veza-restoring", "global/"));
}

// basebackup.c, excludeDirContents.
TEST_F(DataDirectoryTest, KeepsSomeDirectoriesWithoutTheirContents) {
  const std::vector<std::string> emptied = {"pg_dynshmem/", "pg_notify/",    "pg_replslot/",
                                            "pg_serial/",   "pg_snapshots/", "pg_stat_tmp/",
                                            "pg_subtrans/"};
  std::vector<std::string> expected = {"/"};
  for (const std::string& directory : emptied) {
    File(directory + "inner/0000");
    File(directory + "0000");
    expected.push_back(directory);
  }
  File("pg_stat/pgstat.stat");
  expected.insert(expected.end() - 2, {"pg_stat/", "pg_stat/pgstat.stat"});
  EXPECT_THAT(Paths(), testing::ElementsAreArray(expected));
}

TEST_F(DataDirectoryTest, AnEmptiedDirectoryMayBeALink) {
  const std::string elsewhere = tree_.path() + "/ram";
  tree_.Write("ram/0000", "x");
  chmod(elsewhere.c_str(), 0750);
  ASSERT_EQ(symlink(elsewhere.c_str(), In("pg_stat_tmp").c_str()), 0);
  ASSERT_EQ(symlink("/nowhere", In("pg_notify").c_str()), 0);
  EXPECT_THAT(Paths(), ElementsAre("/", "pg_notify/", "pg_stat_tmp/"));
  EXPECT_EQ(Entry("pg_notify").mode, 0700U);
  EXPECT_EQ(Entry("pg_stat_tmp").mode, 0750U);
  EXPECT_THAT(notes_.links, ElementsAre(FollowedLink{"pg_notify", "/nowhere"},
                                        FollowedLink{"pg_stat_tmp", elsewhere}));
}

TEST_F(DataDirectoryTest, AFileWithTheNameOfAnEmptiedDirectoryIsAFile) {
  File("mine/pg_notify", "text");
  EXPECT_THAT(Paths(), ElementsAre("/", "mine/", "mine/pg_notify"));
}

TEST_F(DataDirectoryTest, KeepsOnlyTheDirectoriesOfPgWal) {
  File("pg_wal/000000010000000000000001");
  File("pg_wal/archive_status/000000010000000000000001.ready");
  File("pg_wal/summaries/0000000100000000010000280000000001000100.summary");
  File("pg_wal/own/file");
  Directory("pg_wal/archive_status", 0750);
  options_.postgres_major = 16;
  EXPECT_THAT(Paths(), ElementsAre("/", "pg_wal/", "pg_wal/archive_status/"));
  EXPECT_EQ(Entry("pg_wal/archive_status").mode, 0750U);
  options_.postgres_major = 17;
  EXPECT_THAT(Paths(), ElementsAre("/", "pg_wal/", "pg_wal/archive_status/", "pg_wal/summaries/"));
}

TEST_F(DataDirectoryTest, PgWalMayBeALinkAndLackDirectories) {
  const std::string elsewhere = tree_.path() + "/wal";
  tree_.Write("wal/000000010000000000000001", "x");
  ASSERT_EQ(symlink(elsewhere.c_str(), In("pg_wal").c_str()), 0);
  options_.postgres_major = 17;
  EXPECT_THAT(Paths(), ElementsAre("/", "pg_wal/"));
  EXPECT_THAT(warnings_, IsEmpty());
  EXPECT_THAT(notes_.links, ElementsAre(FollowedLink{"pg_wal", elsewhere}));
}

TEST_F(DataDirectoryTest, LeavesOutTemporaryRelations) {
  for (const char* name : {"t3_16384", "t3_16384.1", "t3_16384_fsm", "t12_16384_vm.2"}) {
    File(std::string("base/5/") + name);
  }
  // These are not such names, or are not in a directory of relations.
  for (const char* path :
       {"base/5/t_16384", "base/5/t3_", "base/5/t3_x", "base/5/tmp", "base/5/t3_16384_xyz",
        "base/5/x3_16384", "mine/t3_16384", "global/t3_16384", "t3_16384"}) {
    File(path);
  }
  EXPECT_THAT(Paths(),
              ElementsAre("/", "base/", "base/5/", "base/5/t3_", "base/5/t3_16384_xyz",
                          "base/5/t3_x", "base/5/t_16384", "base/5/tmp", "base/5/x3_16384",
                          "global/", "global/t3_16384", "mine/", "mine/t3_16384", "t3_16384"));
}

TEST_F(DataDirectoryTest, KeepsOnlyTheInitForkOfUnloggedRelations) {
  for (const char* name : {"100", "100.1", "100_fsm", "100_fsm.1", "100_vm", "100_init"}) {
    File(std::string("base/5/") + name);
    File(std::string("base/6/") + name);
    File(std::string("mine/") + name);
  }
  std::filesystem::remove(In("base/6/100_init"));  // in that database the relation is logged
  File("base/5/1000");                             // another relation's number
  File("base/5/1001_init");                        // its main fork is gone
  EXPECT_THAT(Paths(), ElementsAre("/", "base/", "base/5/", "base/5/1000", "base/5/1001_init",
                                   "base/5/100_init", "base/6/", "base/6/100", "base/6/100.1",
                                   "base/6/100_fsm", "base/6/100_fsm.1", "base/6/100_vm", "mine/",
                                   "mine/100", "mine/100.1", "mine/100_fsm", "mine/100_fsm.1",
                                   "mine/100_init", "mine/100_vm"));
}

// Its init fork came after the directory was listed.
TEST_F(DataDirectoryTest, AnUnloggedRelationThatIsMadeMeanwhileIsLeftOut) {
  for (const char* name : {"100", "200", "200.1", "200_fsm", "2000"}) {
    File(std::string("base/5/") + name);
  }
  on_visit_ = [&](const DirectoryEntry& entry) -> Status {
    if (entry.path == "base/5/100") {
      File("base/5/200_init");
    }
    return Ok();
  };
  EXPECT_THAT(Paths(), ElementsAre("/", "base/", "base/5/", "base/5/100", "base/5/2000"));
  std::filesystem::remove(In("base/5/200_init"));
  options_.looks_again_for_init_forks = false;
  EXPECT_THAT(Paths(), Contains("base/5/200_fsm")) << "it is not looked for";
}

TEST_F(DataDirectoryTest, WalksTablespacesSeparately) {
  Tablespace(16384, tree_.path() + "/fast");
  Tablespace(16385, tree_.path() + "/slow");
  std::filesystem::create_directory(tree_.path() + "/slow/" + kVersionDirectory);
  const std::string inner = std::string("fast/") + kVersionDirectory;
  tree_.Write(inner + "/5/100", "main");
  tree_.Write(inner + "/5/200", "x");
  tree_.Write(inner + "/5/200_init", "x");
  tree_.Write(inner + "/5/t3_300", "x");
  tree_.Write(inner + "/pgsql_tmp/pgsql_tmp1.0", "x");
  tree_.Write("fast/PG_14_202107181/5/100", "of another server");
  tree_.Write("fast/stray", "x");
  chmod((tree_.path() + "/fast").c_str(), 0710);
  const std::string version = std::string("pg_tblspc/16384/") + kVersionDirectory;
  EXPECT_THAT(Paths(),
              ElementsAre("/", "pg_tblspc/", "pg_tblspc/16384/", version + "/", version + "/5/",
                          version + "/5/100", version + "/5/200_init", "pg_tblspc/16385/",
                          std::string("pg_tblspc/16385/") + kVersionDirectory + "/"));
  EXPECT_THAT(warnings_, IsEmpty());
  EXPECT_EQ(Entry("pg_tblspc/16384").mode, 0710U);
  EXPECT_EQ(Entry(version + "/5/100").source_path, tree_.path() + "/" + inner + "/5/100");
  EXPECT_TRUE(Entry(version + "/5/100").relation.is_main_fork);
}

TEST_F(DataDirectoryTest, ATablespaceMayBeGone) {
  Directory("pg_tblspc");
  options_.tablespaces.push_back({16384, tree_.path() + "/gone", 0});
  EXPECT_THAT(Paths(), ElementsAre("/", "pg_tblspc/"));
}

// A tablespace that was created after the backup began. Recovery creates it from WAL.
TEST_F(DataDirectoryTest, SkipsTablespacesThatAreNotListed) {
  Tablespace(16384, tree_.path() + "/new");
  options_.tablespaces.clear();
  EXPECT_THAT(Paths(), ElementsAre("/", "pg_tblspc/"));
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(DataDirectoryTest, ATablespaceInsideTheDataDirectoryIsCopiedOnce) {
  Tablespace(16384, In("mine/space"));
  File(std::string("mine/space/") + kVersionDirectory + "/5/100");
  File("mine/other");
  const std::string version = std::string("pg_tblspc/16384/") + kVersionDirectory;
  EXPECT_THAT(Paths(), ElementsAre("/", "mine/", "mine/other", "pg_tblspc/", "pg_tblspc/16384/",
                                   version + "/", version + "/5/", version + "/5/100"));
}

// allow_in_place_tablespaces: there is a directory instead of a link.
TEST_F(DataDirectoryTest, InPlaceTablespacesArePlainDirectories) {
  const std::string version = std::string("pg_tblspc/16384/") + kVersionDirectory;
  File(version + "/5/100");
  File(version + "/5/200");
  File(version + "/5/200_init");
  File(version + "/5/t1_300");
  EXPECT_THAT(Paths(), ElementsAre("/", "pg_tblspc/", "pg_tblspc/16384/", version + "/",
                                   version + "/5/", version + "/5/100", version + "/5/200_init"));
  EXPECT_TRUE(Entry(version + "/5/100").relation.is_main_fork);
}

// If the link exists, the location must exist, too. Otherwise its file system is not mounted.
TEST_F(DataDirectoryTest, ATablespaceWithALinkMustExist) {
  Tablespace(16384, tree_.path() + "/space");
  const Status empty = Walk();
  EXPECT_ERROR(empty, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(empty.error().message, HasSubstr("tablespace 16384"));
  EXPECT_THAT(empty.error().hint, HasSubstr("mounted"));
  std::filesystem::remove(tree_.path() + "/space");
  EXPECT_ERROR(Walk(), ErrorCode::kFailedPrecondition);
  std::filesystem::remove(In("pg_tblspc/16384"));
  EXPECT_OK(Walk());
}

TEST_F(DataDirectoryTest, SkipsWhatIsNeitherFileNorDirectory) {
  Socket("s.PGSQL");
  ASSERT_EQ(mkfifo(In("base").c_str(), 0600), 0);
  ASSERT_EQ(mkfifo(In("pg_notify").c_str(), 0600), 0);
  Link("null", "/dev/null");
  Link("dangling", "../nowhere");
  File("zzz");
  EXPECT_THAT(Paths(), ElementsAre("/", "zzz"));
  EXPECT_THAT(notes_.skipped,
              ElementsAre(SkippedItem{"base", "a FIFO"},
                          SkippedItem{"dangling",
                                      "a symbolic link to \"../nowhere\", which does not exist"},
                          SkippedItem{"null", "a symbolic link to a device"},
                          SkippedItem{"pg_notify", "a FIFO"}, SkippedItem{"s.PGSQL", "a socket"}));
  EXPECT_THAT(warnings_, SizeIs(5));
  EXPECT_THAT(notes_.links, IsEmpty());
}

// mkfs.ext4 creates lost+found at the root of a file system. Only root may enter it.
TEST_F(DataDirectoryTest, LeavesLostAndFoundToTheFileSystem) {
  Directory("lost+found", 0);
  File("base/5/100");
  tree_.Write("log/lost+found/inner", "x");
  Link("log", tree_.path() + "/log");
  File("mine/lost+found");  // not a directory
  EXPECT_THAT(Paths(), ElementsAre("/", "base/", "base/5/", "base/5/100", "log/", "mine/",
                                   "mine/lost+found"));
  EXPECT_THAT(notes_.skipped,
              ElementsAre(SkippedItem{"log/lost+found", "belongs to the file system"},
                          SkippedItem{"lost+found", "belongs to the file system"}));
  EXPECT_THAT(warnings_, IsEmpty());
}

// --- Symbolic links

TEST_F(DataDirectoryTest, FollowsLinksToDirectoriesAndFiles) {
  File("base/1/1259");
  tree_.Write("ssd/16384/1259", "relation");
  tree_.Write("ssd/16384/300", "unlogged");
  tree_.Write("ssd/16384/300_init", "x");
  tree_.Write("ssd/16384/t3_300", "temporary");
  tree_.Write("ssd/segment", "part of a relation");
  tree_.Write("ssd/xact/0000", "clog");
  tree_.Write("etc/postgresql.conf", "port = 5432", 0644);
  chmod((tree_.path() + "/ssd/16384").c_str(), 0750);
  Link("base/16384", tree_.path() + "/ssd/16384");
  Link("base/1/1259.1", "../../../ssd/segment");
  Link("pg_xact", "../ssd/xact");
  Link("postgresql.conf", tree_.path() + "/etc/postgresql.conf");
  EXPECT_THAT(Paths(), ElementsAre("/", "base/", "base/1/", "base/1/1259", "base/1/1259.1",
                                   "base/16384/", "base/16384/1259", "base/16384/300_init",
                                   "pg_xact/", "pg_xact/0000", "postgresql.conf"));
  EXPECT_EQ(Entry("base/16384").mode, 0750U);
  EXPECT_EQ(Entry("base/16384/1259").source_path, tree_.path() + "/ssd/16384/1259");
  EXPECT_EQ(Entry("base/16384/1259").relation.database, 16384U);
  EXPECT_EQ(Entry("base/1/1259.1").size, 18U);
  EXPECT_EQ(Entry("base/1/1259.1").relation.segment, 1U);
  EXPECT_EQ(Entry("base/1/1259.1").link_path, In("base/1/1259.1"));
  EXPECT_EQ(Entry("postgresql.conf").mode, 0644U);
  EXPECT_THAT(warnings_, IsEmpty());
  EXPECT_THAT(notes_.links,
              ElementsAre(FollowedLink{"base/1/1259.1", "../../../ssd/segment"},
                          FollowedLink{"base/16384", tree_.path() + "/ssd/16384"},
                          FollowedLink{"pg_xact", "../ssd/xact"},
                          FollowedLink{"postgresql.conf", tree_.path() + "/etc/postgresql.conf"}));
}

TEST_F(DataDirectoryTest, ALinkMayLeadToALink) {
  tree_.Write("ssd/global/1262", "x");
  ASSERT_EQ(symlink("ssd", (tree_.path() + "/disk").c_str()), 0);
  Link("global", tree_.path() + "/disk/global");
  EXPECT_THAT(Paths(), ElementsAre("/", "global/", "global/1262"));
  EXPECT_EQ(Entry("global/1262").source_path, tree_.path() + "/ssd/global/1262");
}

TEST_F(DataDirectoryTest, TwoLinksToOnePlaceGiveTwoCopies) {
  tree_.Write("log/today", "x");
  Link("log", tree_.path() + "/log");
  Link("pg_log", tree_.path() + "/log");
  Link("current", "log/today");
  EXPECT_THAT(Paths(), ElementsAre("/", "current", "log/", "log/today", "pg_log/", "pg_log/today"));
}

TEST_F(DataDirectoryTest, LinksBelowATablespaceAreFollowed) {
  Tablespace(16384, tree_.path() + "/space");
  tree_.Write(std::string("space/") + kVersionDirectory + "/5/100", "x");
  tree_.Write("other/6/100", "x");
  ASSERT_EQ(symlink("../../other/6", (tree_.path() + "/space/" + kVersionDirectory + "/6").c_str()),
            0);
  const std::string version = std::string("pg_tblspc/16384/") + kVersionDirectory;
  EXPECT_THAT(Paths(),
              ElementsAre("/", "pg_tblspc/", "pg_tblspc/16384/", version + "/", version + "/5/",
                          version + "/5/100", version + "/6/", version + "/6/100"));
  EXPECT_EQ(Entry(version + "/6/100").relation.database, 6U);
  // A link in the place of that directory is followed, too.
  std::filesystem::rename(tree_.path() + "/space/" + kVersionDirectory, tree_.path() + "/moved");
  std::filesystem::remove(tree_.path() + "/moved/6");
  ASSERT_EQ(symlink("../moved", (tree_.path() + "/space/" + kVersionDirectory).c_str()), 0);
  EXPECT_THAT(Paths(), ElementsAre("/", "pg_tblspc/", "pg_tblspc/16384/", version + "/",
                                   version + "/5/", version + "/5/100"));
  EXPECT_THAT(notes_.links, ElementsAre(FollowedLink{version, "../moved"}));
}

TEST_F(DataDirectoryTest, ALinkToATablespaceIsSkipped) {
  Tablespace(16384, tree_.path() + "/space");
  tree_.Write(std::string("space/") + kVersionDirectory + "/5/100", "x");
  Link("space", "../space");
  const std::string version = std::string("pg_tblspc/16384/") + kVersionDirectory;
  EXPECT_THAT(Paths(), ElementsAre("/", "pg_tblspc/", "pg_tblspc/16384/", version + "/",
                                   version + "/5/", version + "/5/100"));
  ASSERT_THAT(notes_.skipped, SizeIs(1));
  EXPECT_THAT(notes_.skipped[0].reason, HasSubstr("tablespace 16384"));
}

// Only links whose names are numbers are tablespaces.
TEST_F(DataDirectoryTest, FollowsOtherLinksInPgTblspc) {
  tree_.Write("mine/file", "x");
  Directory("pg_tblspc");
  Link("pg_tblspc/mine", "../../mine");
  EXPECT_THAT(Paths(), ElementsAre("/", "pg_tblspc/", "pg_tblspc/mine/", "pg_tblspc/mine/file"));
}

TEST_F(DataDirectoryTest, FollowsNoLinkThatIsNotCopied) {
  tree_.Write("elsewhere/file", "x");
  Directory("pg_wal");
  Directory("pg_replslot");
  Link("pg_wal/000000010000000000000001", "../../elsewhere/file");
  Link("pg_wal/other", "/nowhere");
  Link("pg_replslot/slot", "/nowhere");
  Link("postmaster.pid", "/nowhere");
  Link("pgsql_tmp", "/nowhere");
  EXPECT_THAT(Paths(), ElementsAre("/", "pg_replslot/", "pg_wal/"));
  EXPECT_THAT(notes_.links, IsEmpty());
  EXPECT_THAT(notes_.skipped, IsEmpty());
}

TEST_F(DataDirectoryTest, ALinkThatCannotBeFollowedIsAnError) {
  struct {
    const char* path;
    std::string target;
    const char* message;
  } const cases[] = {
      {"base/16384", "/nowhere", "which does not exist"},
      {"base/5/100", "/nowhere", "which does not exist"},
      {"base/5/mine", "/nowhere", "which does not exist"},
      {"pg_xact", "/nowhere", "which does not exist"},
      {"pg_wal", "/nowhere", "which does not exist"},
      {"postgresql.conf", "/nowhere", "which does not exist"},
      {"base/16384", "16384", "could not follow"},
      {"mine", "mine", "could not follow"},
      {"mine", ".", "which contains the link"},
      {"mine", tree_.path(), "which contains the link"},
      {"mine", "/", "which contains the link"},
      {"base/5/up", "..", "contains itself"},
  };
  File("base/5/PG_VERSION");
  for (const auto& one : cases) {
    Link(one.path, one.target);
    const Status walked = Walk();
    ASSERT_FALSE(walked) << one.path;
    EXPECT_THAT(walked.error().message, HasSubstr(one.message)) << one.path;
    EXPECT_THAT(walked.error().message, HasSubstr(In("")));
    std::filesystem::remove(In(one.path));
  }
  // From one directory outside into another, and back.
  tree_.Write("a/file", "x");
  tree_.Write("b/file", "x");
  ASSERT_EQ(symlink("../b", (tree_.path() + "/a/to-b").c_str()), 0);
  ASSERT_EQ(symlink("../a", (tree_.path() + "/b/to-a").c_str()), 0);
  Link("mine", "../a");
  EXPECT_ERROR(Walk(), ErrorCode::kFailedPrecondition);
}

TEST_F(DataDirectoryTest, ALinkIntoTheDataDirectoryFromATablespaceIsAnError) {
  Tablespace(16384, tree_.path() + "/space");
  std::filesystem::create_directories(tree_.path() + "/space/" + kVersionDirectory);
  ASSERT_EQ(symlink(options_.data_directory.c_str(),
                    (tree_.path() + "/space/" + kVersionDirectory + "/5").c_str()),
            0);
  EXPECT_ERROR(Walk(), ErrorCode::kFailedPrecondition);
}

TEST_F(DataDirectoryTest, ADirectoryThatBecomesALinkIsAnError) {
  File("base/5/100");
  on_visit_ = [this](const DirectoryEntry& entry) {
    if (entry.path == "base/5") {
      std::filesystem::rename(In("base/5"), tree_.path() + "/5");
      Link("base/5", tree_.path() + "/5");
    }
    return Ok();
  };
  const Status walked = Walk();
  ASSERT_FALSE(walked);
  EXPECT_THAT(walked.error().hint, HasSubstr("again"));
}

TEST_F(DataDirectoryTest, OpensWhatWasVisited) {
  tree_.Write("ssd/100", "x");
  File("base/5/200");
  Link("base/5/100", tree_.path() + "/ssd/100");
  ASSERT_OK(Walk());
  const auto open = [this](const std::string& path) { return OpenForBackup(Entry(path)); };
  ASSERT_OK(open("base/5/100"));
  EXPECT_TRUE(open("base/5/100")->has_value());
  // When a relation is dropped, its link is removed.
  std::filesystem::rename(tree_.path() + "/ssd/100", tree_.path() + "/ssd/away");
  EXPECT_ERROR(open("base/5/100"), ErrorCode::kNotFound);
  std::filesystem::remove(In("base/5/100"));
  ASSERT_OK(open("base/5/100"));
  EXPECT_FALSE(open("base/5/100")->has_value());
  // Something else takes the file's place.
  std::filesystem::rename(In("base/5/200"), In("base/5/300"));
  EXPECT_FALSE(open("base/5/200")->has_value());
  Link("base/5/200", "300");
  EXPECT_ERROR(open("base/5/200"), ErrorCode::kFailedPrecondition);
  std::filesystem::remove(In("base/5/200"));
  ASSERT_EQ(mkfifo(In("base/5/200").c_str(), 0600), 0);
  EXPECT_ERROR(open("base/5/200"), ErrorCode::kFailedPrecondition);
}

TEST_F(DataDirectoryTest, ReadsTheLinksOfTablespaces) {
  EXPECT_ERROR(ReadTablespaceLinks(options_.data_directory), ErrorCode::kNotFound);
  Tablespace(16385, tree_.path() + "/slow");
  Tablespace(16384, tree_.path() + "/fast");
  Directory("pg_tblspc/16386");
  Link("pg_tblspc/mine", "/nowhere");
  const auto tablespaces = ReadTablespaceLinks(options_.data_directory);
  ASSERT_OK(tablespaces);
  ASSERT_THAT(*tablespaces, SizeIs(2));
  EXPECT_EQ((*tablespaces)[0].oid, 16384U);
  EXPECT_EQ((*tablespaces)[1].path, tree_.path() + "/slow");
}

// --- Names, and changes during the walk ----------------------------------------------------------

TEST_F(DataDirectoryTest, NamesAreBytes) {
  const std::string odd[] = {"\x01", " ", "a\nb", "quote\"", "\xc3\x28", "\xff", "\xff\xff"};
  std::vector<std::string> expected = {"/"};
  for (const std::string& name : odd) {
    File(name);
    expected.push_back(name);
  }
  std::sort(expected.begin() + 1, expected.end());
  EXPECT_THAT(Paths(), testing::ElementsAreArray(expected));
}

TEST_F(DataDirectoryTest, SkipsWhatVanishes) {
  File("base/1/1");
  File("base/2/1");
  File("base/2/2");
  File("base/3/1");
  File("zzz");
  on_visit_ = [this](const DirectoryEntry& entry) {
    if (entry.path == "base/1/1") {  // before it is visited: a directory with everything in it
      std::filesystem::remove_all(In("base/2"));
    } else if (entry.path == "base/3") {  // after it was visited and before it is listed
      std::filesystem::remove_all(In("base/3"));
    } else if (entry.path == "base/1") {
      File("base/1/2");
    } else if (entry.path == "") {
      std::filesystem::remove(In("zzz"));
    }
    return Ok();
  };
  EXPECT_THAT(Paths(), ElementsAre("/", "base/", "base/1/", "base/1/1", "base/1/2", "base/3/"));
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(DataDirectoryTest, AMissingDataDirectoryIsAnError) {
  options_.data_directory += "/absent";
  const Status walked = Walk();
  EXPECT_ERROR(walked, ErrorCode::kNotFound);
  EXPECT_THAT(walked.error().message, HasSubstr("absent"));
  EXPECT_THAT(entries_, IsEmpty());
}

TEST_F(DataDirectoryTest, AnErrorOfTheVisitorEndsTheWalk) {
  File("base/1/1");
  File("base/1/2");
  on_visit_ = [](const DirectoryEntry& entry) -> Status {
    if (entry.path == "base/1/1") {
      return MakeError(ErrorCode::kNoSpace, "enough");
    }
    return Ok();
  };
  EXPECT_ERROR(Walk(), ErrorCode::kNoSpace);
  EXPECT_THAT(entries_, SizeIs(4));
}

TEST_F(DataDirectoryTest, AnUnreadableDirectoryIsAnError) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can become somebody else";
  }
  File("base/1/1");
  Directory("base/1", 0);
  ASSERT_EQ(chmod(options_.data_directory.c_str(), 0755), 0);
  ASSERT_EQ(chmod(In("base").c_str(), 0755), 0);
  ASSERT_EQ(seteuid(65534), 0);
  const Status walked = Walk();
  ASSERT_EQ(seteuid(0), 0);
  EXPECT_ERROR(walked, ErrorCode::kPermissionDenied);
  EXPECT_THAT(walked.error().message, HasSubstr("base/1"));
}

// A database may have a million relations.
TEST_F(DataDirectoryTest, TakesLittleMemoryForManyFilesOfOneDirectory) {
  constexpr int kFiles = 60'000;
  Directory("base/5");
  File("base/5/1000000000_fsm");
  EXPECT_OK(Walk());                  // its code is in memory then
  for (int i = 1; i < kFiles; ++i) {  // a file may have 65,000 names
    const std::string other = In(fmt::format("base/5/1000000000_fsm.{}", i));
    ASSERT_EQ(link(In("base/5/1000000000_fsm").c_str(), other.c_str()), 0);
  }
  int files = 0;
  const MemoryGauge gauge;
  EXPECT_OK(
      WalkDataDirectory(options_, {[&](const DirectoryEntry& entry) {
                                     files += entry.kind == DirectoryEntry::Kind::kFile ? 1 : 0;
                                     return Ok();
                                   },
                                   [](const SkippedItem&, bool) {}, [](const FollowedLink&) {}}));
  EXPECT_EQ(files, kFiles);
  if (MemoryGauge::meaningful()) {
    // Text that grows, old and new, all of it touched: meson has malloc() fill what it gives. A
    // std::string for each name would take 80 bytes and more.
    EXPECT_LT(gauge.grown_bytes(), kFiles * 70U);
  }
}

}  // namespace
}  // namespace veza
