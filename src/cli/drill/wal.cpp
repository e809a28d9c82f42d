#include "cli/drill/wal.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <sstream>

#include "cli/child_process.h"
#include "core/archive/wal_archive.h"
#include "core/codec/json.h"
#include "core/storage/file_io.h"

namespace veza::cli {
namespace {

constexpr const char* kVariable = "VEZA_DRILL_WAL";
constexpr const char* kAsk = "ask";
constexpr const char* kAnswer = "answer";
// An exit code of wal-get and of restore_command that stops recovery.
constexpr int kStopRecovery = 126;

// Makes a FIFO and opens it for reading and writing, so that neither side waits for the other to
// open it.
Result<UniqueFd> MakeFifo(const std::string& path) {
  UniqueFd fd(mkfifo(path.c_str(), 0600) == 0
                  ? open(path.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
                  : -1);
  if (!fd.valid()) {
    return ErrnoError(errno, fmt::format("could not create FIFO \"{}\"", path));
  }
  return fd;
}

// The paths to which the server restores files (access/transam/xlogarchive.c).
bool IsPlaceOfRecovery(const std::string& path) {
  return path == "pg_wal/RECOVERYXLOG" || path == "pg_wal/RECOVERYHISTORY";
}

constexpr ErrorCode kOfEnvironment[] = {ErrorCode::kInvalidArgument, ErrorCode::kCredentials,
                                        ErrorCode::kUnavailable, ErrorCode::kDeadlineExceeded,
                                        ErrorCode::kNoSpace};

// Whether the error that wal-get has printed as JSON is one of the environment.
bool SaysItIsTheEnvironment(const std::string& output) {
  const auto document = ParseJsonObject(output);
  const Json* const error = document ? document->Find("error") : nullptr;
  const auto code = error != nullptr ? StringMember(*error, "code") : std::nullopt;
  return std::ranges::any_of(kOfEnvironment,
                             [&](ErrorCode known) { return code == ErrorCodeName(known); });
}

}  // namespace

bool IsOfEnvironment(ErrorCode code) {
  return std::ranges::find(kOfEnvironment, code) != std::end(kOfEnvironment);
}

// The answer names the file, so that the answer to a command that was killed is not taken for this
// one's. Every failure is exit code 126.
std::string DrillWal::RestoreCommand() {
  return fmt::format(
      "echo \"%f\" \"%p\" >\"${0}/{1}\" && read -r name code <\"${0}/{2}\" && "
      "[ \"$name\" = \"%f\" ] && exit \"$code\"; exit {3}",
      kVariable, kAsk, kAnswer, kStopRecovery);
}

std::string DrillWal::Variable() const {
  return fmt::format("{}={}/wal", kVariable, options_.directory);
}

Status DrillWal::Open() {
  const std::string directory = options_.directory + "/wal";
  if (mkdir(directory.c_str(), 0700) != 0) {
    return ErrnoError(errno, fmt::format("could not create directory \"{}\"", directory));
  }
  ASSIGN_OR_RETURN(ask_, MakeFifo(In(kAsk)));
  ASSIGN_OR_RETURN(answer_, MakeFifo(In(kAnswer)));
  return Ok();
}

Result<int> DrillWal::Answer(const std::string& file, const std::string& destination) {
  if (!ParseWalFileName(file) || !IsPlaceOfRecovery(destination)) {
    return kStopRecovery;
  }
  std::vector<std::string> arguments = options_.wal_get;
  arguments.insert(arguments.end(), {"--output", "json", file, destination});
  // wal-get's messages go to the log at once, so that a drill that is stopped can tell what it
  // waited for (DrillServer::WhatItWaitsFor()). When the disk is full, only the log suffers.
  const UniqueFd log(
      open(options_.log.c_str(), O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  ASSIGN_OR_RETURN(const ChildOutput output, RunToEnd({.arguments = std::move(arguments),
                                                       .environment = OwnEnvironment(),
                                                       .directory = options_.data,
                                                       .confinement = options_.confinement},
                                                      *environment_.cancellation, log.get()));
  environment_failed_ = output.exit_code >= kStopRecovery && SaysItIsTheEnvironment(output.output);
  return output.exit_code;
}

Status DrillWal::Serve(std::chrono::milliseconds meanwhile) {
  pollfd file{ask_.get(), POLLIN, 0};
  const int ready = poll(&file, 1, static_cast<int>(meanwhile.count()));
  RETURN_IF_ERROR(environment_.cancellation->Check());
  if (ready <= 0) {
    return Ok();
  }
  // A line this short arrives in one piece.
  std::array<char, 512> buffer{};
  const ssize_t got = read(ask_.get(), buffer.data(), buffer.size());
  std::istringstream words(got > 0 ? std::string(buffer.data(), static_cast<std::size_t>(got))
                                   : "");
  std::string file_name;
  std::string destination;
  if (!(words >> file_name >> destination)) {
    return Ok();
  }
  ASSIGN_OR_RETURN(const int code, Answer(file_name, destination));
  const std::string line = fmt::format("{} {}\n", file_name, code);
  if (write(answer_.get(), line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    return ErrnoError(errno, "could not answer the restored server");
  }
  return Ok();
}

void DrillWal::Close() {
  ask_.Reset();
  answer_.Reset();
}

}  // namespace veza::cli
