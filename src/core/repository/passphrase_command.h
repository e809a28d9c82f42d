// The passphrase that a command prints (the setting `cipher_passphrase_command`).
//
// The command runs when a process first opens a repository, and not for each request: the process
// remembers what it has printed. It runs again when that passphrase opens no wrap of the key,
// because the passphrase may have been changed meanwhile.
#pragma once

#include <chrono>
#include <string>

#include "core/environment.h"
#include "core/error.h"
#include "core/repository/repository.h"
#include "core/secret_string.h"

namespace veza {

// How long the command may run.
inline constexpr std::chrono::seconds kPassphraseCommandTime{30};
// For so long a failure is remembered, and a wrong passphrase is not asked for again.
inline constexpr std::chrono::seconds kPassphraseCommandPause{10};

// Runs `command` with /bin/sh, and returns the only line that it prints. The command inherits the
// environment and the working directory, and no descriptor: its standard input is /dev/null. It has
// a session of its own. After `time`, or when `cancellation` comes first, its process group is
// killed. Any thread may call this, also in a process of the server.
//
// Errors: kUnavailable when the command fails (the message quotes its standard error and never its
// standard output), kDeadlineExceeded, kCancelled, kInvalidArgument when it prints anything but one
// line that is long enough for a passphrase.
Result<SecretString> RunPassphraseCommand(const std::string& command,
                                          std::chrono::milliseconds time,
                                          const Cancellation& cancellation);

// If a command tells the passphrase, sets options.passphrase to what it has printed last, or runs
// it. Errors are those of RunPassphraseCommand(). Thread-safe: one thread runs the command, and the
// others wait for it.
Status TellPassphrase(RepositoryOptions& options, const Environment& environment);

// The same, but always runs it. For a new key: what the process remembers may be a passphrase that
// was given up because somebody else knows it.
Status TellPassphraseOfNow(RepositoryOptions& options, const Environment& environment);

// For a passphrase that opens no wrap: runs the command again, unless it has just been run. Returns
// whether options.passphrase is another one now.
Result<bool> TellOtherPassphrase(RepositoryOptions& options, const Environment& environment);

}  // namespace veza
