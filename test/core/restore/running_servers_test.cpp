#include "core/restore/running_servers.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "core/codec/codec_fixtures.h"
#include "core/restore/bind_mount.h"
#include "core/storage/temporary_directory.h"
#include "core/test_files.h"

namespace veza {
namespace {

using testing::HasSubstr;

// A process with the name and the working directory of a server.
class RunningServersTest : public testing::Test {
 protected:
  RunningServersTest() {
    for (const char* name : {"data/pg_tblspc", "wal", "space", "other"}) {
      std::filesystem::create_directories(In(name));
    }
    WriteText(In("data/PG_VERSION"), "15\n");
    std::filesystem::create_symlink(In("wal"), In("data/pg_wal"));
    std::filesystem::create_symlink(In("space"), In("data/pg_tblspc/16384"));
    std::filesystem::create_symlink(In("wal"), In("to-wal"));
  }
  ~RunningServersTest() override { Stop(); }

  std::string In(const std::string& name) const { return work_.path() + "/" + name; }
  // `prepare` is called in that process.
  void Start(
      const std::function<bool()>& prepare = [] { return true; },
      const std::string& program = "postgres") {
    std::filesystem::copy("/bin/sleep", In(program));
    process_ = fork();
    if (process_ == 0) {
      if (chdir(In("data").c_str()) == 0 && prepare()) {
        execl(In(program).c_str(), "sleep", "600", nullptr);
      }
      _exit(1);
    }
    const std::string comm = fmt::format("/proc/{}/comm", process_);
    std::string name;
    for (int i = 0; i < 1000 && name != program; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      std::ifstream file(comm);
      std::getline(file, name);
    }
    EXPECT_EQ(name, program);
  }
  void Stop() {
    if (process_ > 0) {
      kill(process_, SIGKILL);
      waitpid(process_, nullptr, 0);
      process_ = 0;
    }
  }

  TemporaryDirectory work_;
  pid_t process_ = 0;
};

TEST_F(RunningServersTest, WhatAServerUsesIsRefused) {
  Start();
  const auto server = RequireUnused(In("data"), {});
  EXPECT_ERROR(server, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(server.error().message, HasSubstr("a server with process id"));
  for (const char* used : {"wal", "space", "to-wal", "data"}) {
    const auto refused = RequireUnused(In("target"), {In("other"), In(used)});
    EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
    EXPECT_THAT(refused.error().message, HasSubstr(In(used) + "\" is in use by the server"));
    EXPECT_THAT(refused.error().hint, HasSubstr("--tablespace-map OLD=NEW"));
  }
  EXPECT_OK(RequireUnused(In("target"), {In("other"), In("absent")}));
  Stop();
  EXPECT_OK(RequireUnused(In("data"), {In("wal"), In("space")}));
}

// In version 15 the packages for Red Hat start the server through this link.
TEST_F(RunningServersTest, AServerMayBeNamedPostmaster) {
  Start([] { return true; }, "postmaster");
  EXPECT_ERROR(RequireUnused(In("data"), {}), ErrorCode::kFailedPrecondition);
}

TEST_F(RunningServersTest, DirectoriesInsideAUsedOneAreRefused) {
  std::filesystem::create_directories(In("space/PG_15_202209061/5"));
  std::filesystem::create_directories(In("elsewhere"));
  std::filesystem::create_symlink("../elsewhere", In("data/pg_xact"));
  Start();
  for (const char* used : {"data/base/below", "wal/below", "to-wal/below", "elsewhere/below",
                           "space/PG_15_202209061/below"}) {
    for (const auto& refused :
         {RequireUnused(In("target"), {In(used)}), RequireUnused(In(used), {})}) {
      SCOPED_TRACE(used);
      EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
      EXPECT_THAT(refused.error().message, HasSubstr("is inside one that is used by the server"));
    }
  }
  // In a tablespace's location, a server uses only the directory of its version.
  EXPECT_OK(RequireUnused(In("space/target"), {In("space/PG_other"), In("data2")}));
  const auto elsewhere = RequireUnused(In("target"), {In("elsewhere")});
  EXPECT_ERROR(elsewhere, ErrorCode::kFailedPrecondition);
}

// A server in a container may have its tablespace under a path that leads elsewhere outside of the
// container.
TEST_F(RunningServersTest, LinksAreFollowedAsTheServerDoes) {
  for (const char* name : {"inside", "volume/space"}) {
    std::filesystem::create_directories(In(name));
  }
  std::filesystem::create_directories(In("inside/space"));
  std::filesystem::create_symlink(In("inside/space"), In("data/pg_tblspc/16385"));
  const auto mount_volume = [&] { return MountAlsoAt(In("volume"), In("inside")); };
  if (!WithBindMount(In("volume"), In("inside"), [] { return true; })) {
    GTEST_SKIP() << "no mount namespaces here";
  }
  Start(mount_volume);
  const auto used = RequireUnused(In("target"), {In("volume/space")});
  EXPECT_ERROR(used, ErrorCode::kFailedPrecondition);
  EXPECT_OK(RequireUnused(In("target"), {In("inside/space")}));
}

TEST_F(RunningServersTest, ABindMountOfAUsedDirectoryIsRefused) {
  std::filesystem::create_directories(In("data/base"));
  std::filesystem::create_directories(In("volume"));
  Start();
  EXPECT_OK(RequireUnused(In("target"), {In("volume/new")}));
  const auto refused = WithBindMount(In("data/base"), In("volume"), [&] {
    const Status used = RequireUnused(In("target"), {In("volume/new")});
    return !used && used.error().code == ErrorCode::kFailedPrecondition;
  });
  if (!refused) {
    GTEST_SKIP() << "no mount namespaces here";
  }
  EXPECT_TRUE(*refused);
}

TEST(ResolveInTest, StaysInTheRoot) {
  const TemporaryDirectory root;
  std::filesystem::create_directories(root.path() + "/srv/real/deep");
  std::filesystem::create_symlink("/srv/real", root.path() + "/srv/absolute");
  std::filesystem::create_symlink("real/../../srv/absolute", root.path() + "/srv/relative");
  std::filesystem::create_symlink("../../../../../../../..", root.path() + "/srv/up");
  std::filesystem::create_symlink("/srv/circle", root.path() + "/srv/circle");
  const std::string deep = root.path() + "/srv/real/deep";
  for (const char* path : {"/srv/real/deep", "/srv/absolute/deep", "/srv/relative/./deep/",
                           "/srv/up/srv/relative/deep", "/../srv/real/deep"}) {
    EXPECT_EQ(ResolveIn(root.path(), path), deep) << path;
  }
  EXPECT_EQ(ResolveIn(root.path(), "/srv/absent/x"), root.path() + "/srv/absent/x");
  EXPECT_EQ(ResolveIn(root.path(), "/srv/circle/x"), std::nullopt);
}

}  // namespace
}  // namespace veza
