#include "core/process_identity.h"

#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <string>
#include <thread>

namespace veza {
namespace {

// A child process that reports its own identity. It ends when `go` is closed.
struct Child {
  Child() {
    int name[2];
    int wait[2];
    EXPECT_EQ(pipe(name), 0);
    EXPECT_EQ(pipe(wait), 0);
    pid = fork();
    if (pid == 0) {
      close(wait[1]);
      const std::string identity = IdentifyThisProcess();
      char byte = 0;
      const bool told = write(name[1], identity.data(), identity.size()) > 0;
      _exit(told && read(wait[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(name[1]);
    close(wait[0]);
    char text[512];
    const ssize_t length = read(name[0], text, sizeof text);
    EXPECT_GT(length, 0);
    identity.assign(text, static_cast<std::size_t>(length));
    close(name[0]);
    go = wait[1];
  }
  void End() const {
    close(go);
    int status = 0;
    EXPECT_EQ(waitpid(pid, &status, 0), pid);
    EXPECT_EQ(status, 0);
  }

  pid_t pid = 0;
  int go = -1;
  std::string identity;
};

TEST(ProcessIdentityTest, WeHaveNotEnded) {
  EXPECT_FALSE(IdentifyThisProcess().empty());
  EXPECT_EQ(IdentifyThisProcess(), IdentifyThisProcess());
  EXPECT_FALSE(HasEnded(IdentifyThisProcess()));
}

TEST(ProcessIdentityTest, AChildEnds) {
  const Child child;
  EXPECT_NE(child.identity, IdentifyThisProcess());
  EXPECT_FALSE(HasEnded(child.identity));
  child.End();
  EXPECT_TRUE(HasEnded(child.identity));
}

// Its parent is PID 1 of a container that waits for nobody, for example.
TEST(ProcessIdentityTest, AZombieHasEnded) {
  const Child child;
  EXPECT_EQ(kill(child.pid, SIGKILL), 0);
  siginfo_t info{};
  EXPECT_EQ(waitid(P_PID, static_cast<id_t>(child.pid), &info, WEXITED | WNOWAIT), 0);
  EXPECT_EQ(IdentifyProcess(child.pid), child.identity);
  EXPECT_TRUE(HasEnded(child.identity));
  close(child.go);
  EXPECT_EQ(waitpid(child.pid, nullptr, 0), child.pid);
}

// The first thread ends, and another one works on.
TEST(ProcessIdentityTest, AZombieThreadIsNoZombieProcess) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t pid = fork();
  if (pid == 0) {
    std::thread([writer = ready[1]] {
      // Until the first thread is a zombie.
      for (std::string stat; stat.find(") Z ") == std::string::npos; usleep(1000)) {
        std::ifstream file("/proc/self/stat");
        std::getline(file, stat);
      }
      const std::string identity = IdentifyThisProcess();
      [[maybe_unused]] const ssize_t told = write(writer, identity.data(), identity.size());
      pause();
    }).detach();
    syscall(SYS_exit, 0);  // ends this thread only, and unwinds no stack
  }
  close(ready[1]);
  char text[512];
  const ssize_t length = read(ready[0], text, sizeof text);
  ASSERT_GT(length, 0);
  const std::string identity(text, static_cast<std::size_t>(length));
  EXPECT_FALSE(HasEnded(identity));
  EXPECT_EQ(kill(pid, SIGKILL), 0);
  EXPECT_EQ(waitpid(pid, nullptr, 0), pid);
  EXPECT_TRUE(HasEnded(identity));
  close(ready[0]);
}

TEST(ProcessIdentityTest, AParentIdentifiesItsChild) {
  const Child child;
  EXPECT_EQ(IdentifyProcess(child.pid), child.identity);
  EXPECT_TRUE(child.identity.starts_with(IdentifyPlace() + ' '));
  EXPECT_EQ(ParentOf(child.pid), getpid());
  child.End();
  EXPECT_EQ(IdentifyProcess(child.pid), "");
  EXPECT_EQ(ParentOf(child.pid), std::nullopt);
}

TEST(ProcessIdentityTest, AnIdMayBeGivenAgain) {
  std::string earlier = IdentifyThisProcess();
  earlier.back() = earlier.back() == '1' ? '2' : '1';
  EXPECT_TRUE(HasEnded(earlier));
}

TEST(ProcessIdentityTest, OfOthersNothingIsKnown) {
  const std::string ours = IdentifyThisProcess();
  std::string other_machine = ours;
  other_machine[0] = other_machine[0] == '0' ? '1' : '0';
  EXPECT_FALSE(HasEnded(other_machine));
  for (const std::string& text :
       {std::string(), std::string("x"), ours.substr(0, ours.rfind(' ')),
        ours.substr(0, ours.find(' ')), ours.substr(0, ours.find(']') + 2) + "-1 5"}) {
    EXPECT_FALSE(HasEnded(text)) << text;
  }
}

}  // namespace
}  // namespace veza
