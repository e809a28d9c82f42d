#include "core/restore/running_servers.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "core/codec/codec_fixtures.h"
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
    std::filesystem::copy("/bin/sleep", In("postgres"));
    process_ = fork();
    if (process_ == 0) {
      if (chdir(In("data").c_str()) == 0) {
        execl(In("postgres").c_str(), "postgres", "600", nullptr);
      }
      _exit(1);
    }
    const std::string comm = fmt::format("/proc/{}/comm", process_);
    std::string name;
    for (int i = 0; i < 1000 && name != "postgres"; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      std::ifstream file(comm);
      std::getline(file, name);
    }
    EXPECT_EQ(name, "postgres");
  }
  ~RunningServersTest() override { Stop(); }

  std::string In(const std::string& name) const { return work_.path() + "/" + name; }
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
  const auto server = RequireUnused(In("data"), {});
  EXPECT_ERROR(server, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(server.error().message, HasSubstr("a server with process id"));
  for (const char* used : {"wal", "space", "to-wal", "data"}) {
    const auto refused = RequireUnused(In("target"), {In("other"), In(used)});
    EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
    EXPECT_THAT(refused.error().message, HasSubstr(In(used) + "\" is in use by the server"));
  }
  EXPECT_OK(RequireUnused(In("target"), {In("other"), In("absent")}));
  Stop();
  EXPECT_OK(RequireUnused(In("data"), {In("wal"), In("space")}));
}

}  // namespace
}  // namespace veza
