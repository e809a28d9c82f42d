#include "core/process_identity.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

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
