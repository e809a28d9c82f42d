#include "core/repository/passphrase_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "core/config/temporary_directory.h"
#include "core/storage/file_io.h"

namespace veza {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kPassphrase = "correct horse battery staple";

Result<SecretString> Tell(const std::string& command, milliseconds time = milliseconds(20'000)) {
  return RunPassphraseCommand(command, time, Cancellation());
}

// How often the command of RepositoryOptions was run, and what it prints next.
class Vault {
 public:
  Vault() { Holds(kPassphrase); }
  void Holds(const std::string& passphrase) { directory_.Write("passphrase", passphrase + "\n"); }
  RepositoryOptions Options() const {
    RepositoryOptions options;
    options.passphrase_command =
        fmt::format("cd '{}' && echo run >>runs && cat passphrase", directory_.path());
    return options;
  }
  std::size_t runs() const {
    const std::string text = ReadTextFile(directory_.path() + "/runs").value_or("");
    return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
  }

 private:
  TemporaryDirectory directory_;
};

// A clock that only the test moves.
class TestClock : public Clock {
 public:
  TimePoint Now() const override { return SystemClock().Now(); }
  SteadyTime Steady() const override { return now; }
  bool Sleep(milliseconds, const Cancellation*) const override { return true; }

  SteadyTime now = std::chrono::steady_clock::now();
};

TEST(PassphraseCommand, PrintsOneLine) {
  EXPECT_EQ(Tell("echo 'correct horse battery staple'").value().text(), kPassphrase);
  EXPECT_EQ(Tell("printf '%s' 'correct horse battery staple'; echo noise >&2").value().text(),
            kPassphrase)
      << "standard error is no part of it";
  EXPECT_THAT(Tell("true").error().message, HasSubstr("is empty"));
  EXPECT_THAT(Tell("echo 'correct horse battery'; echo staple").error().message,
              HasSubstr("more than one line"));
  EXPECT_THAT(Tell("printf 'correct horse\\0battery staple'").error().message,
              HasSubstr("a byte of value zero"));
  const Error is_short = Tell("echo hunter2").error();
  EXPECT_EQ(is_short.code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(is_short.message, HasSubstr("fewer than 16 characters"));
  EXPECT_THAT(is_short.message, Not(HasSubstr("hunter2")));
}

TEST(PassphraseCommand, AFailureIsQuotedWithoutWhatWasPrinted) {
  const Error error =
      Tell("echo 'correct horse battery staple'; printf 'the vault\\n\\033 is sealed' >&2; exit 7")
          .error();
  EXPECT_EQ(error.code, ErrorCode::kUnavailable);
  EXPECT_THAT(error.message, HasSubstr("failed with exit code 7: the vault   is sealed"));
  EXPECT_THAT(error.message, Not(HasSubstr("horse")));
  EXPECT_THAT(Tell("kill -9 $$").error().message, HasSubstr("terminated by signal 9"));
  EXPECT_THAT(Tell("no-such-program-of-mine").error().message,
              HasSubstr("failed with exit code 127: sh: "));
  EXPECT_LT(Tell("yes 'a long complaint' | head -c 10000000 >&2; exit 1").error().message.size(),
            1200U);
}

TEST(PassphraseCommand, EndsAtItsDeadlineWithAllThatItHasStarted) {
  const TemporaryDirectory directory;
  const auto begin = std::chrono::steady_clock::now();
  const Error error = Tell(fmt::format("echo waiting >&2; (sleep 1; touch '{0}/late') & sleep 60",
                                       directory.path()),
                           milliseconds(300))
                          .error();
  EXPECT_EQ(error.code, ErrorCode::kDeadlineExceeded);
  EXPECT_THAT(error.message, HasSubstr("did not end within 1 s: waiting"));
  std::this_thread::sleep_for(milliseconds(1500));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  EXPECT_FALSE(std::filesystem::exists(directory.path() + "/late"));
}

TEST(PassphraseCommand, DoesNotWaitForWhatItLeavesRunning) {
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(Tell("sleep 20 & echo 'correct horse battery staple'").value().text(), kPassphrase);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST(PassphraseCommand, StopsWhenItPrintsWithoutEnd) {
  EXPECT_THAT(Tell("yes").error().message, HasSubstr("is larger than 4096 bytes"));
}

TEST(PassphraseCommand, CanBeCancelled) {
  Cancellation cancellation;
  std::thread canceller([&] {
    std::this_thread::sleep_for(milliseconds(200));
    cancellation.Cancel();
  });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(RunPassphraseCommand("sleep 60", milliseconds(50'000), cancellation).error().code,
            ErrorCode::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  canceller.join();
}

// A connection to the store, or to a client, must not leak into a program.
TEST(PassphraseCommand, InheritsNoDescriptorAndNoTerminal) {
  const int open_file = open("/dev/null", O_RDONLY);  // NOLINT: without O_CLOEXEC on purpose
  ASSERT_GT(open_file, 2);
  const Error error = Tell("ls -l /proc/$$/fd >&2; readlink /proc/$$/fd/0 >&2; exit 1").error();
  close(open_file);
  EXPECT_THAT(error.message, HasSubstr(" 2 -> "));
  EXPECT_THAT(error.message, Not(HasSubstr(fmt::format(" {} -> ", open_file))));
  EXPECT_THAT(error.message, testing::EndsWith("/dev/null"));
}

TEST(PassphraseCommand, IsRunOnceForAProcess) {
  const Vault vault;
  RepositoryOptions options = vault.Options();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(TellPassphrase(options, Environment()));
  }
  EXPECT_EQ(options.passphrase.text(), kPassphrase);
  EXPECT_EQ(vault.runs(), 1U);

  const Vault other;
  RepositoryOptions options_of_other = other.Options();
  ASSERT_TRUE(TellPassphrase(options_of_other, Environment()));
  EXPECT_EQ(other.runs(), 1U) << "another command is another passphrase";
}

TEST(PassphraseCommand, IsRunAgainForAWrongPassphraseButNotAtOnce) {
  Vault vault;
  TestClock clock;
  const Environment environment{.clock = &clock};
  RepositoryOptions options = vault.Options();
  ASSERT_TRUE(TellPassphrase(options, environment));
  vault.Holds("another horse battery staple");
  EXPECT_FALSE(TellOtherPassphrase(options, environment).value());
  EXPECT_EQ(vault.runs(), 1U) << "it was run a moment ago";
  clock.now += kPassphraseCommandPause;
  EXPECT_TRUE(TellOtherPassphrase(options, environment).value());
  EXPECT_EQ(options.passphrase.text(), "another horse battery staple");
  EXPECT_EQ(vault.runs(), 2U);
}

// A passphrase that somebody else knows was given up. What the process remembers must not wrap a
// new key.
TEST(PassphraseCommand, IsAlwaysRunForANewKey) {
  Vault vault;
  RepositoryOptions options = vault.Options();
  ASSERT_TRUE(TellPassphrase(options, Environment()));
  vault.Holds("another horse battery staple");
  ASSERT_TRUE(TellPassphraseOfNow(options, Environment()));
  EXPECT_EQ(options.passphrase.text(), "another horse battery staple");
  ASSERT_TRUE(TellPassphrase(options, Environment()));
  EXPECT_EQ(options.passphrase.text(), "another horse battery staple") << "it is remembered";
}

TEST(PassphraseCommand, AFailureIsNotRepeatedAtOnce) {
  const TemporaryDirectory directory;
  TestClock clock;
  const Environment environment{.clock = &clock};
  RepositoryOptions options;
  options.passphrase_command = fmt::format("cat '{}/passphrase'", directory.path());
  EXPECT_EQ(TellPassphrase(options, environment).error().code, ErrorCode::kUnavailable);
  directory.Write("passphrase", kPassphrase);
  EXPECT_EQ(TellPassphrase(options, environment).error().code, ErrorCode::kUnavailable);
  clock.now += kPassphraseCommandPause;
  EXPECT_TRUE(TellPassphrase(options, environment));
}

}  // namespace
}  // namespace veza
