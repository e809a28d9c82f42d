// The record of the tests that the thread sanitizer is given (thread_record.cpp), and that it finds
// a race in one of them.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <string>
#include <thread>

#include "config/temporary_directory.h"
#include "sanitizers.h"

namespace veza {
namespace {

// The compiler is to leave each access where it is.
volatile int written_by_both;

void RaceAndExit() {
  std::thread other([] { written_by_both = 1; });
  written_by_both = 2;
  other.join();
  std::_Exit(0);
}

// Of the four that have something to find, one does it before its tests, and one in a process of
// its own.
class ThreadRecordExampleSuite : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    std::thread([] {}).join();
  }
};

TEST_F(ThreadRecordExampleSuite, StartsAThreadBefore) {}

TEST(ThreadRecordExample, StartsAThread) {
  std::thread([] {}).join();
}

TEST(ThreadRecordExample, StartsNone) {
  std::mutex first;
  std::mutex second;
  { const std::lock_guard lock(first); }
  { const std::lock_guard lock(second); }
}

TEST(ThreadRecordExample, LocksTwoMutexes) {
  std::mutex first;
  std::mutex second;
  const std::lock_guard lock_first(first);
  const std::lock_guard lock_second(second);
}

// What is recorded runs under the thread sanitizer, and a race in it ends the process.
TEST(ThreadRecordExample, HasARace) {
#ifdef VEZA_THREAD_SANITIZER
  EXPECT_DEATH(RaceAndExit(), "data race");
#else
  EXPECT_EXIT(RaceAndExit(), testing::ExitedWithCode(0), "");
#endif
}

TEST(ThreadRecord, HasTheTestsThatTheThreadSanitizerCanFindSomethingIn) {
#if defined(VEZA_THREAD_SANITIZER)
  GTEST_SKIP() << "the sanitizer has its own pthread_create";
#else
  const TemporaryDirectory directory;
  const std::string record = directory.path() + "/record";
  const std::string run = "VEZA_TEST_THREAD_RECORD='" + record +
                          "' GTEST_TOTAL_SHARDS=1 GTEST_SHARD_INDEX=0 '" +
                          std::filesystem::read_symlink("/proc/self/exe").string() +
                          "' --gtest_filter='ThreadRecordExample*' >/dev/null 2>&1";
  ASSERT_EQ(std::system(run.c_str()), 0) << run;

  std::set<std::string> lines;
  std::ifstream file(record);
  for (std::string line; std::getline(file, line);) {
    lines.insert(line);
  }
  EXPECT_EQ(lines, (std::set<std::string>{
                       "ThreadRecordExampleSuite.*", "ThreadRecordExample.StartsAThread",
                       "ThreadRecordExample.LocksTwoMutexes", "ThreadRecordExample.HasARace"}));
#endif
}

}  // namespace
}  // namespace veza
