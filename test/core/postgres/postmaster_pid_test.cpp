#include "core/postgres/postmaster_pid.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "core/codec/codec_fixtures.h"
#include "core/process_identity.h"
#include "core/storage/temporary_directory.h"
#include "core/test_files.h"

namespace veza {
namespace {

// As PostgreSQL 15 writes it.
const std::string kWhole =
    "4711\n/srv/data\n1795942123\n5432\n/run/postgresql\nlocalhost\n  1234567    32768\nready   \n";

TEST(PostmasterPidTest, SaysWhoRunsAndInWhatState) {
  const PostmasterPid file = ParsePostmasterPid(kWhole);
  EXPECT_EQ(file.pid, 4711);
  EXPECT_FALSE(file.is_single_user);
  EXPECT_EQ(file.state, "ready");
}

TEST(PostmasterPidTest, AServerThatStartsHasNoStateYet) {
  const PostmasterPid file = ParsePostmasterPid("4711\n/srv/data\n1795942123\n5432\n/run\n");
  EXPECT_EQ(file.pid, 4711);
  EXPECT_EQ(file.state, "");
}

TEST(PostmasterPidTest, ASingleUserServerIsKnown) {
  const PostmasterPid file = ParsePostmasterPid("-4711\n/srv/data\n1795942123\n0\n\n");
  EXPECT_EQ(file.pid, 4711);
  EXPECT_TRUE(file.is_single_user);
  EXPECT_EQ(file.state, "");
}

// While the server writes it, a reader may see any part of it.
TEST(PostmasterPidTest, NoPartOfTheFileNamesAnotherProcessOrState) {
  for (std::size_t size = 0; size <= kWhole.size(); ++size) {
    const PostmasterPid file = ParsePostmasterPid(kWhole.substr(0, size));
    EXPECT_EQ(file.pid, size < 5 ? 0 : 4711) << size;
    EXPECT_EQ(file.state, size < kWhole.size() ? "" : "ready") << size;
  }
}

TEST(PostmasterPidTest, WhatIsNotAProcessIdIsNone) {
  using namespace std::string_literals;
  const std::vector<std::string> lines = {"",
                                          "0",
                                          "-0",
                                          "x",
                                          "4711x",
                                          " 4711",
                                          "4711 ",
                                          "+4711",
                                          "47 11",
                                          "4711\r",
                                          "4711\0"s,
                                          "\0004711"s,
                                          "--4711",
                                          "0x10",
                                          "2147483648",
                                          "-2147483648",
                                          "-2147483649",
                                          "99999999999999999999",
                                          "18446744073709551617",
                                          "4711.0",
                                          "1e3",
                                          "\xd9\xa1"};
  for (const std::string& line : lines) {
    const PostmasterPid file = ParsePostmasterPid(line + "\n/srv/data\n");
    EXPECT_EQ(file.pid, 0) << line;
    EXPECT_FALSE(file.is_single_user) << line;
  }
  EXPECT_EQ(ParsePostmasterPid("2147483647\n").pid, 2147483647);
  EXPECT_EQ(ParsePostmasterPid("-2147483647\n").pid, 2147483647);
}

TEST(PostmasterPidTest, TheStateIsTheWholeEighthLine) {
  const auto state = [](const std::string& rest) {
    return ParsePostmasterPid("4711\n2\n3\n4\n5\n6\n" + rest).state;
  };
  EXPECT_EQ(state("7\nstopping\n"), "stopping");
  EXPECT_EQ(state("7\nready   \nready\n"), "ready");
  EXPECT_EQ(state("ready   \n"), "");
  EXPECT_EQ(state("7\n8\nready   \n"), "8");
  EXPECT_EQ(state("7\nready to go\n"), "ready to go");
  EXPECT_EQ(state("7\n        \n"), "");
  EXPECT_EQ(state("7\n\n"), "");
}

class PostmasterPidFileTest : public testing::Test {
 protected:
  std::string File() const { return directory_.path() + "/postmaster.pid"; }
  auto Read() const { return ReadPostmasterPid(directory_.path()); }

  const TemporaryDirectory directory_;
};

TEST_F(PostmasterPidFileTest, AbsentIsNoError) {
  const auto none = Read();
  ASSERT_OK(none);
  EXPECT_FALSE(none->has_value());
  EXPECT_FALSE(ReadPostmasterPid(directory_.path() + "/absent").value().has_value());
}

TEST_F(PostmasterPidFileTest, IsRead) {
  WriteText(File(), kWhole);
  const auto file = Read();
  ASSERT_OK(file);
  EXPECT_EQ((*file)->pid, 4711);
  EXPECT_EQ((*file)->state, "ready");
}

TEST_F(PostmasterPidFileTest, WhatIsNotAFileIsRefusedAndNotWaitedFor) {
  ASSERT_EQ(mkfifo(File().c_str(), 0600), 0);
  EXPECT_ERROR(Read(), ErrorCode::kFailedPrecondition);
  std::filesystem::remove(File());
  std::filesystem::create_directory(File());
  EXPECT_ERROR(Read(), ErrorCode::kFailedPrecondition);
  std::filesystem::remove(File());
  std::filesystem::create_symlink("/dev/zero", File());
  EXPECT_ERROR(Read(), ErrorCode::kFailedPrecondition);
}

TEST_F(PostmasterPidFileTest, OnlyTheBeginningOfALongFileIsRead) {
  WriteText(File(), std::string(100'000, '1'));
  EXPECT_EQ(Read().value()->pid, 0);
  WriteText(File(), "4711\n" + std::string(100'000, '\n') + "ready   \n");
  EXPECT_EQ(Read().value()->pid, 4711);
  EXPECT_EQ(Read().value()->state, "");
}

// What IdentifyRecoveringProcess() says in a process whose parent is a child of this one, as
// restore_command is of the startup process. Also the identity of that parent.
struct Answer {
  std::string said;
  std::string parent;
};
Answer AskGrandchild(const std::string& directory) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    const std::string own = IdentifyThisProcess();
    const pid_t grandchild = fork();
    if (grandchild == 0) {
      const bool changed = chdir(directory.c_str()) == 0;
      const std::string text = IdentifyRecoveringProcess() + "|" + own;
      _exit(changed && write(ends[1], text.data(), text.size()) > 0 ? 0 : 1);
    }
    int status = 1;
    waitpid(grandchild, &status, 0);
    _exit(status == 0 ? 0 : 1);
  }
  close(ends[1]);
  char text[1024];
  const ssize_t length = read(ends[0], text, sizeof text);
  EXPECT_GT(length, 0);
  close(ends[0]);
  int status = 1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  const std::string answer(text, static_cast<std::size_t>(std::max<ssize_t>(length, 0)));
  const std::size_t bar = answer.find('|');
  return {answer.substr(0, bar), answer.substr(bar + 1)};
}

TEST_F(PostmasterPidFileTest, TheRecoveringProcessIsTheChildOfThePostmaster) {
  WriteText(File(), std::to_string(getpid()) + "\n");
  const Answer answer = AskGrandchild(directory_.path());
  EXPECT_FALSE(answer.parent.empty());
  EXPECT_EQ(answer.said, answer.parent);
}

TEST_F(PostmasterPidFileTest, WithoutAPostmasterNobodyRecovers) {
  EXPECT_EQ(AskGrandchild(directory_.path()).said, "");
  for (const std::string& text :
       {std::string("-") + std::to_string(getpid()) + "\n", std::to_string(getpid()),
        std::string("0\n"), std::string("x\n"), std::string("2147483647\n")}) {
    WriteText(File(), text);
    EXPECT_EQ(AskGrandchild(directory_.path()).said, "") << text;
  }
}

}  // namespace
}  // namespace veza
