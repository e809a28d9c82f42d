#include "core/repository/passphrase_command.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <mutex>
#include <optional>
#include <utility>

#include "core/codec/json.h"
#include "core/config/setting_checks.h"
#include "core/secret_file.h"
#include "core/storage/pipe.h"

namespace veza {

namespace {

constexpr const char* kSetting = "cipher_passphrase_command";
constexpr const char* kCommand = "the command of \"veza_backup.cipher_passphrase_command\"";
// The end of the command is noticed within this time.
constexpr std::chrono::milliseconds kTick{10};
// How long a killed command is waited for. A process that waits for a disk may not end.
constexpr std::chrono::seconds kKillPatience{1};
// What is kept of standard error, and what of that is quoted.
constexpr std::size_t kKeptError = 16384;
constexpr std::size_t kQuotedError = 1000;

class SpawnSettings {
 public:
  SpawnSettings() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  posix_spawn_file_actions_t actions{};
  posix_spawnattr_t attributes{};
};

// A running shell. fork() would run code of other libraries, and copy the page tables of a server;
// posix_spawn() does neither, and may be called while there are other threads.
class Shell {
 public:
  static Result<Shell> Start(const std::string& command, int output, int error) {
    SpawnSettings settings;
    sigset_t none;
    sigemptyset(&none);
    sigset_t all;
    sigfillset(&all);
    int failed =
        posix_spawn_file_actions_addopen(&settings.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    for (const auto& [from, to] : {std::pair(output, STDOUT_FILENO), {error, STDERR_FILENO}}) {
      failed = failed != 0 ? failed : posix_spawn_file_actions_adddup2(&settings.actions, from, to);
    }
    // Connections to the store and to clients are none of its business.
    failed = failed != 0
                 ? failed
                 : posix_spawn_file_actions_addclosefrom_np(&settings.actions, STDERR_FILENO + 1);
    posix_spawnattr_setsigmask(&settings.attributes, &none);
    posix_spawnattr_setsigdefault(&settings.attributes, &all);
    posix_spawnattr_setflags(&settings.attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    std::array<std::string, 3> words = {"sh", "-c", command};
    std::array<char*, 4> arguments = {words[0].data(), words[1].data(), words[2].data(), nullptr};
    Shell shell;
    failed = failed != 0 ? failed
                         : posix_spawn(&shell.pid_, "/bin/sh", &settings.actions,
                                       &settings.attributes, arguments.data(), environ);
    if (failed != 0) {
      shell.pid_ = 0;
      return ErrnoError(failed, fmt::format("could not run {}", kCommand));
    }
    return shell;
  }

  Shell(Shell&& other) noexcept : pid_(std::exchange(other.pid_, 0)) {}
  Shell& operator=(Shell&& other) = delete;
  ~Shell() {
    if (pid_ == 0) {
      return;
    }
    kill(-pid_, SIGKILL);
    const SteadyTime until = std::chrono::steady_clock::now() + kKillPatience;
    while (waitpid(pid_, nullptr, WNOHANG) == 0 && std::chrono::steady_clock::now() < until) {
      poll(nullptr, 0, static_cast<int>(kTick.count()));
    }
  }

  // How it has ended, as waitpid() tells it. nullopt while it runs.
  Result<std::optional<int>> Ended() {
    int status = 0;
    const pid_t ended = waitpid(pid_, &status, WNOHANG);
    if (ended == 0 || (ended < 0 && errno == EINTR)) {
      return std::optional<int>();
    }
    if (ended < 0) {
      return ErrnoError(errno, fmt::format("could not wait for {}", kCommand));
    }
    pid_ = 0;
    return std::optional(status);
  }

 private:
  Shell() = default;

  pid_t pid_ = 0;
};

// What the command has printed so far. One byte more than a secret may have is kept, so that a
// longer output is refused.
struct Printed {
  std::array<char, kLongestSecret + 1> output{};
  std::size_t output_size = 0;
  std::string error{};

  Printed() = default;
  Printed(const Printed&) = delete;
  Printed& operator=(const Printed&) = delete;
  ~Printed() { OPENSSL_cleanse(output.data(), output.size()); }

  bool is_too_long() const { return output_size == output.size(); }
};

// A pipe whose other end the command writes to. To read from it does not block.
Result<Pipe> MakePipeToRead() {
  ASSIGN_OR_RETURN(Pipe made, MakePipe());
  if (fcntl(made.reader.get(), F_SETFL, O_NONBLOCK) != 0) {
    return ErrnoError(errno, "could not set the mode of a pipe");
  }
  return made;
}

// Reads what is there. Sets `fd` to -1 at the end of the file.
void ReadOutput(int& fd, Printed& printed) {
  while (fd >= 0 && !printed.is_too_long()) {
    const ssize_t got = read(fd, printed.output.data() + printed.output_size,
                             printed.output.size() - printed.output_size);
    if (got <= 0) {
      fd = got == 0 ? -1 : fd;
      return;
    }
    printed.output_size += static_cast<std::size_t>(got);
  }
}

// Reads some of what is there, so that a command that never stops writing does not keep us here.
void ReadError(int& fd, Printed& printed) {
  std::array<char, kKeptError> piece{};
  const ssize_t got = fd < 0 ? -1 : read(fd, piece.data(), piece.size());
  if (got == 0) {
    fd = -1;
  } else if (got > 0) {
    printed.error.append(piece.data(), static_cast<std::size_t>(got));
    printed.error.resize(std::min(printed.error.size(), kKeptError));
  }
}

// One line for a message.
std::string QuoteError(const std::string& error) {
  std::string line = ValidUtf8(error);
  std::ranges::replace_if(
      line, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }, ' ');
  while (line.ends_with(' ')) {
    line.pop_back();
  }
  return Shorten(std::move(line), kQuotedError);
}

Error Failed(int status, const Printed& printed) {
  const std::string how = WIFSIGNALED(status)
                              ? fmt::format("was terminated by signal {}", WTERMSIG(status))
                              : fmt::format("failed with exit code {}", WEXITSTATUS(status));
  const std::string said = QuoteError(printed.error);
  return MakeError(ErrorCode::kUnavailable, "{} {}{}{}", kCommand, how, said.empty() ? "" : ": ",
                   said)
      .WithHint(
          "Run the command by hand as the account of the server, with the server's environment.");
}

Error TookTooLong(std::chrono::milliseconds time, const Printed& printed) {
  const std::string said = QuoteError(printed.error);
  return MakeError(ErrorCode::kDeadlineExceeded,
                   "the command of \"veza_backup.cipher_passphrase_command\" did not end within {} "
                   "s{}{}",
                   std::chrono::ceil<std::chrono::seconds>(time).count(), said.empty() ? "" : ": ",
                   said)
      .WithHint("It may wait for a terminal, or for a service that does not answer.");
}

enum class Wanted {
  kKnown,  // what the command has printed last
  kOther,  // that was wrong: run it again, unless it has just been run
  kOfNow,  // run it
};

// The outcomes of the commands that this process has run.
class Commands {
 public:
  Result<SecretString> Tell(const std::string& command, Wanted wanted,
                            const Environment& environment) {
    const std::lock_guard lock(mutex_);
    const SteadyTime now = environment.clock->Steady();
    const bool is_known = last_ && command_ == command && wanted != Wanted::kOfNow;
    const bool is_recent = is_known && now - ended_ < kPassphraseCommandPause;
    if (is_recent || (is_known && *last_ && wanted == Wanted::kKnown)) {
      return *last_;
    }
    Result<SecretString> told =
        RunPassphraseCommand(command, kPassphraseCommandTime, *environment.cancellation);
    if (told || told.error().code != ErrorCode::kCancelled) {
      command_ = command;
      last_ = told;
      ended_ = environment.clock->Steady();
    }
    return told;
  }

 private:
  std::mutex mutex_;
  std::string command_;
  std::optional<Result<SecretString>> last_;
  SteadyTime ended_{};
};

// Never destroyed, because other threads may still use it while static objects are destroyed.
Commands& CommandsOfThisProcess() {
  static Commands* const commands = new Commands;
  return *commands;
}

}  // namespace

Result<SecretString> RunPassphraseCommand(const std::string& command,
                                          std::chrono::milliseconds time,
                                          const Cancellation& cancellation) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + time;
  RETURN_IF_ERROR(cancellation.Check());
  ASSIGN_OR_RETURN(Pipe output, MakePipeToRead());
  ASSIGN_OR_RETURN(Pipe error, MakePipeToRead());
  ASSIGN_OR_RETURN(Shell shell, Shell::Start(command, output.writer.get(), error.writer.get()));
  output.writer.Reset();
  error.writer.Reset();
  Printed printed;
  std::array<pollfd, 3> files{{{cancellation.fd(), POLLIN, 0},
                               {output.reader.get(), POLLIN, 0},
                               {error.reader.get(), POLLIN, 0}}};
  std::optional<int> ended;
  // What the command leaves running may hold the pipes open, so its own end counts.
  while (!ended) {
    poll(files.data(), files.size(), static_cast<int>(kTick.count()));
    RETURN_IF_ERROR(cancellation.Check());
    ASSIGN_OR_RETURN(ended, shell.Ended());
    ReadOutput(files[1].fd, printed);
    ReadError(files[2].fd, printed);
    if (printed.is_too_long()) {
      break;
    }
    if (!ended && std::chrono::steady_clock::now() >= deadline) {
      return TookTooLong(time, printed);
    }
  }
  if (ended && *ended != 0) {
    return Failed(*ended, printed);
  }
  ASSIGN_OR_RETURN(SecretString passphrase,
                   ParseSecretLine({printed.output.data(), printed.output_size},
                                   "the output of the command of "
                                   "\"veza_backup.cipher_passphrase_command\""));
  RETURN_IF_ERROR(CheckPassphrase(*FindSetting(kSetting), passphrase.text()));
  return passphrase;
}

namespace {

Status Tell(RepositoryOptions& options, Wanted wanted, const Environment& environment) {
  if (options.passphrase_command.empty()) {
    return Ok();
  }
  ASSIGN_OR_RETURN(options.passphrase,
                   CommandsOfThisProcess().Tell(options.passphrase_command, wanted, environment));
  return Ok();
}

}  // namespace

Status TellPassphrase(RepositoryOptions& options, const Environment& environment) {
  return Tell(options, Wanted::kKnown, environment);
}

Status TellPassphraseOfNow(RepositoryOptions& options, const Environment& environment) {
  return Tell(options, Wanted::kOfNow, environment);
}

Result<bool> TellOtherPassphrase(RepositoryOptions& options, const Environment& environment) {
  if (options.passphrase_command.empty()) {
    return false;
  }
  ASSIGN_OR_RETURN(SecretString told, CommandsOfThisProcess().Tell(options.passphrase_command,
                                                                   Wanted::kOther, environment));
  if (options.passphrase == told.text()) {
    return false;
  }
  options.passphrase = std::move(told);
  return true;
}

}  // namespace veza
