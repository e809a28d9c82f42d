// Writes down which tests the thread sanitizer can find something in: a race needs a second thread,
// and an inversion of two mutexes needs the second one locked while the first one is held.
// test/run.sh gives the sanitizer exactly these tests. Part of the test program of every build but
// that with the thread sanitizer.
//
// VEZA_TEST_THREAD_RECORD names the file. It gets a line for each such test, as a filter of gtest:
// Suite.Name; Suite.* if it was the set-up of a suite; and * if it was outside of every suite.
// Processes append to one file. A process that a test has forked writes for that test.
#include <dlfcn.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <iterator>
#include <string>

namespace veza {
namespace {

class ThreadRecord : public testing::EmptyTestEventListener {
 public:
  // Set as long as the process records.
  static std::atomic<ThreadRecord*> active;

  explicit ThreadRecord(const char* path)
      : file_(open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) {
    SetRunning("*");
  }

  // From any thread.
  void Note() {
    if (noted_.exchange(true)) {
      return;
    }
    const std::string& line = *running_.load();
    if (write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
      abort();  // a record that lacks a test must not be used
    }
  }

  void OnTestSuiteStart(const testing::TestSuite& suite) override {
    SetRunning(std::string(suite.name()) + ".*");
  }
  void OnTestStart(const testing::TestInfo& test) override {
    SetRunning(std::string(test.test_suite_name()) + "." + test.name());
  }
  void OnTestEnd(const testing::TestInfo& test) override {
    SetRunning(std::string(test.test_suite_name()) + ".*");
  }
  void OnTestSuiteEnd(const testing::TestSuite& /*suite*/) override { SetRunning("*"); }

 private:
  void SetRunning(const std::string& filter) {
    running_ = &filters_.emplace_back(filter + "\n");
    noted_ = false;
    // A thread that an earlier test has left.
    if (std::distance(std::filesystem::directory_iterator("/proc/self/task"),
                      std::filesystem::directory_iterator()) > 1) {
      Note();
    }
  }

  const int file_;
  std::deque<std::string> filters_;  // all that there were: another thread may still read one
  std::atomic<const std::string*> running_;
  std::atomic<bool> noted_;
};

std::atomic<ThreadRecord*> ThreadRecord::active;

void Note() {
  if (ThreadRecord* record = ThreadRecord::active) {
    record->Note();
  }
}

// gtest owns the listener. Before main(), so that nothing is overlooked that main() does.
[[maybe_unused]] const bool kRecording = [] {
  if (const char* path = std::getenv("VEZA_TEST_THREAD_RECORD")) {
    auto* record = new ThreadRecord(path);  // NOLINT(cppcoreguidelines-owning-memory)
    testing::UnitTest::GetInstance()->listeners().Append(record);
    ThreadRecord::active = record;
  }
  return true;
}();

// `linked` is the address sanitizer's, which comes before the C library's. It must learn of each
// thread. clang links it into the program, where dlsym() does not look for it.
template <typename Function>
Function* Next(const char* name, Function* linked) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast)
  return linked != nullptr ? linked : reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}

thread_local int held;  // mutexes, by this thread

}  // namespace
}  // namespace veza

// In front of the C library's: the program's symbols come before those of its libraries.
extern "C" {

// Null without the sanitizer. There is none for pthread_mutex_trylock.
[[gnu::weak]] decltype(pthread_create) __interceptor_pthread_create;
[[gnu::weak]] decltype(pthread_mutex_lock) __interceptor_pthread_mutex_lock;
[[gnu::weak]] decltype(pthread_mutex_unlock) __interceptor_pthread_mutex_unlock;

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                   void* argument) noexcept {
  static auto* const next = veza::Next("pthread_create", __interceptor_pthread_create);
  veza::Note();
  return next(thread, attributes, start, argument);
}

int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  static auto* const next = veza::Next("pthread_mutex_lock", __interceptor_pthread_mutex_lock);
  const int status = next(mutex);
  if (status == 0 && ++veza::held > 1) {
    veza::Note();
  }
  return status;
}

int pthread_mutex_trylock(pthread_mutex_t* mutex) noexcept {
  static auto* const next =
      veza::Next<decltype(pthread_mutex_trylock)>("pthread_mutex_trylock", nullptr);
  const int status = next(mutex);
  if (status == 0 && ++veza::held > 1) {
    veza::Note();
  }
  return status;
}

int pthread_mutex_unlock(pthread_mutex_t* mutex) noexcept {
  static auto* const next = veza::Next("pthread_mutex_unlock", __interceptor_pthread_mutex_unlock);
  --veza::held;
  return next(mutex);
}
}
