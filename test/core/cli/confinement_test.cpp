#include "cli/confinement.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <mqueue.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <string>

#include "test_files.h"

namespace veza::cli {
namespace {

constexpr int kOfDebian12 = 2;
constexpr int kWithTruncate = 3;
constexpr const char* kContent = "content";

// Runs system calls in a child process, under the filter for a kernel with a given version of
// Landlock.
class ConfinementTest : public testing::Test {
 protected:
  ConfinementTest() { WriteText(path_, kContent); }
  ~ConfinementTest() override { unlink(path_.c_str()); }

  // The errno of `call`; 0 when it succeeded.
  static int Try(int landlock, const std::function<int()>& call) {
    const Result<CallFilter> filter = MakeCallFilter(landlock);
    EXPECT_TRUE(filter) << (filter ? "" : filter.error().message);
    const pid_t child = filter ? fork() : -1;
    if (child == 0) {
      if (!EnterCallFilter(*filter)) {
        _exit(255);
      }
      _exit(call() < 0 ? errno : 0);
    }
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status)) << status;
    return WEXITSTATUS(status);
  }

  mode_t Mode() const {
    struct stat info {};
    EXPECT_EQ(stat(path_.c_str(), &info), 0);
    return info.st_mode & 07777;
  }

  const std::string path_ = testing::TempDir() + "veza-confinement-" + std::to_string(getpid());
};

TEST_F(ConfinementTest, TruncatesNothingWhereLandlockDoesNotGovernIt) {
  for (const int landlock : {-1, 1, kOfDebian12}) {
    EXPECT_EQ(Try(landlock, [this] { return truncate(path_.c_str(), 0); }), 0);
    EXPECT_EQ(ReadText(path_), kContent) << landlock;
  }
  EXPECT_EQ(Try(kWithTruncate, [this] { return truncate(path_.c_str(), 0); }), 0);
  EXPECT_EQ(ReadText(path_), "");
}

TEST_F(ConfinementTest, OpensNothingThatLandlockDoesNotAskFor) {
  for (const int flags : {O_RDONLY | O_TRUNC, O_ACCMODE, O_ACCMODE | O_TRUNC}) {
    EXPECT_EQ(Try(kOfDebian12, [this, flags] { return open(path_.c_str(), flags); }), EACCES);
    EXPECT_EQ(ReadText(path_), kContent);
  }
  for (const int flags : {O_RDONLY, O_RDWR, O_WRONLY | O_APPEND, O_RDWR | O_TRUNC}) {
    EXPECT_EQ(Try(kOfDebian12, [this, flags] { return open(path_.c_str(), flags); }), 0) << flags;
  }
}

TEST_F(ConfinementTest, ChangesNoPermissions) {
  ASSERT_EQ(chmod(path_.c_str(), 0600), 0);
  EXPECT_EQ(Try(kWithTruncate, [this] { return chmod(path_.c_str(), 0777); }), 0);
  EXPECT_EQ(Try(kWithTruncate, [this] { return fchmodat(AT_FDCWD, path_.c_str(), 0777, 0); }), 0);
  EXPECT_EQ(Try(kWithTruncate, [this] { return fchmod(open(path_.c_str(), O_RDONLY), 0777); }), 0);
  EXPECT_EQ(Mode(), 0600);
}

TEST_F(ConfinementTest, LeavesOtherProcessesAlone) {
  const pid_t parent = getpid();
  rlimit limit{};
  ASSERT_EQ(getrlimit(RLIMIT_CORE, &limit), 0);
  EXPECT_EQ(Try(kOfDebian12, [&] { return prlimit(parent, RLIMIT_CORE, &limit, nullptr); }), EPERM);
  EXPECT_EQ(Try(kOfDebian12, [&] { return prlimit(0, RLIMIT_CORE, &limit, nullptr); }), 0);
  EXPECT_EQ(Try(kOfDebian12, [&] { return setpriority(PRIO_PROCESS, parent, 19); }), EPERM);
  EXPECT_EQ(Try(kOfDebian12, [] { return setpriority(PRIO_USER, 0, 19); }), EPERM);
  EXPECT_EQ(Try(kOfDebian12, [] { return setpriority(PRIO_PROCESS, 0, 19); }), 0);
  // Signal 0 harms nobody if the rule is missing.
  EXPECT_EQ(Try(kOfDebian12, [] { return kill(-1, 0); }), EPERM);
  EXPECT_EQ(Try(kOfDebian12, [] { return kill(getpid(), 0); }), 0);
}

// The calls need only the id of a queue or semaphore set, which is a small number that can be
// guessed.
TEST_F(ConfinementTest, UsesNoQueueOrSemaphoreOfOthers) {
  struct Message {
    long type = 1;
    char text[8] = "message";
  } message;
  const int queue = msgget(IPC_PRIVATE, 0600);
  const int semaphores = semget(IPC_PRIVATE, 1, 0600);
  ASSERT_GE(queue, 0);
  ASSERT_GE(semaphores, 0);
  const auto refused = [](const std::function<int()>& call) {
    return Try(kOfDebian12, call) == EPERM;
  };
  EXPECT_TRUE(refused([&] { return msgsnd(queue, &message, sizeof message.text, IPC_NOWAIT); }));
  ASSERT_EQ(msgsnd(queue, &message, sizeof message.text, IPC_NOWAIT), 0);
  EXPECT_TRUE(refused([&] {
    return static_cast<int>(msgrcv(queue, &message, sizeof message.text, 0, IPC_NOWAIT));
  }));
  EXPECT_TRUE(refused([&] { return msgctl(queue, IPC_RMID, nullptr); }));
  EXPECT_TRUE(refused([] { return msgget(IPC_PRIVATE, 0600); }));
  sembuf up{0, 1, IPC_NOWAIT};
  const timespec soon{0, 1};
  EXPECT_TRUE(refused([&] { return semop(semaphores, &up, 1); }));
  EXPECT_TRUE(refused([&] { return semtimedop(semaphores, &up, 1, &soon); }));
  EXPECT_TRUE(refused([&] { return semctl(semaphores, 0, IPC_RMID); }));
  EXPECT_TRUE(refused([] { return semget(IPC_PRIVATE, 1, 0600); }));
  EXPECT_EQ(msgctl(queue, IPC_RMID, nullptr), 0) << "it is still there";
  EXPECT_EQ(semctl(semaphores, 0, IPC_RMID), 0) << "they are still there";
  // The filter refuses the call before the kernel looks at the descriptor.
  EXPECT_TRUE(refused([] { return mq_send(-1, "x", 1, 0); }));
  EXPECT_TRUE(refused([] {
    char text[8];
    return static_cast<int>(mq_receive(-1, text, sizeof text, nullptr));
  }));
}

// The calls that PostgreSQL makes for its interlock are allowed, and no others.
TEST_F(ConfinementTest, HasSharedMemoryThatIsNew) {
  constexpr int kSize = 4096;
  const key_t key = static_cast<key_t>(getpid());
  const int segment = shmget(key, kSize, IPC_CREAT | IPC_EXCL | 0600);
  ASSERT_GE(segment, 0);
  for (const int flags : {0, IPC_CREAT | 0600, IPC_EXCL}) {
    EXPECT_EQ(Try(kOfDebian12, [&] { return shmget(key, kSize, flags); }), EACCES) << flags;
  }
  shmid_ds of_segment{};
  ASSERT_EQ(shmctl(segment, IPC_STAT, &of_segment), 0);
  constexpr int kShmStatAny = 15;      // of linux/shm.h
  constexpr long kPassedOver = 0x100;  // IPC_64
  for (const int command :
       {IPC_SET, IPC_INFO, SHM_INFO, SHM_STAT, kShmStatAny, SHM_LOCK, SHM_UNLOCK}) {
    for (const long form : {0L, kPassedOver}) {
      const auto call = [&] {
        return static_cast<int>(syscall(SYS_shmctl, segment, command | form, &of_segment));
      };
      EXPECT_EQ(Try(kOfDebian12, call), EACCES) << command << " " << form;
    }
  }
  EXPECT_EQ(shmctl(segment, IPC_RMID, nullptr), 0);
  EXPECT_EQ(Try(kOfDebian12,
                [&] {
                  const int made = shmget(key, kSize, IPC_CREAT | IPC_EXCL | 0600);
                  void* const memory = made < 0 ? nullptr : shmat(made, nullptr, 0);
                  return memory != nullptr && shmctl(made, IPC_STAT, &of_segment) == 0 &&
                                 shmdt(memory) == 0 && shmctl(made, IPC_RMID, nullptr) == 0
                             ? 0
                             : -1;
                }),
            0);
}

}  // namespace
}  // namespace veza::cli
