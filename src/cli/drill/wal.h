// How the server of a drill gets its WAL. It may neither reach the network nor read the secrets. So
// its restore_command only asks, through two FIFOs in the drill's directory, and the drill runs
// `vezactl wal-get` for it, outside the server's confinement.
//
// This is served during recovery only. No code of the restored databases runs before the server is
// open, and after that nobody answers.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
#include "core/storage/unique_fd.h"

namespace veza::cli {

// Whether such an error comes from the machine, the network or the operator, and so says nothing
// about the backup. Permissions and unreadable files are not counted in, because what is stored may
// be their cause.
bool IsOfEnvironment(ErrorCode code);

struct DrillWalOptions {
  std::string directory;             // the throw-away directory
  std::string data;                  // the data directory
  std::string log;                   // wal-get's messages are appended to this file
  std::vector<std::string> wal_get;  // the program and its arguments, without file and destination
  int confinement = -1;              // for wal-get
};

class DrillWal {
 public:
  // The restore_command of the server, and the variable that it needs in the server's environment.
  static std::string RestoreCommand();
  std::string Variable() const;

  // Everything but the options is kept by reference, and must outlive the object.
  DrillWal(DrillWalOptions options, const Environment& environment)
      : options_(std::move(options)), environment_(environment) {}

  // Makes the FIFOs. Call it before the server is started.
  Status Open();
  // Waits for a request for at most `meanwhile`, and answers it.
  Status Serve(std::chrono::milliseconds meanwhile);
  // Requests are not answered from now on.
  void Close();
  // Whether recovery was last told to stop because of an error of IsOfEnvironment().
  bool environment_failed() const { return environment_failed_; }

 private:
  std::string In(const char* name) const { return options_.directory + "/wal/" + name; }
  Result<int> Answer(const std::string& file, const std::string& destination);

  const DrillWalOptions options_;
  const Environment& environment_;
  UniqueFd ask_;
  UniqueFd answer_;
  bool environment_failed_ = false;
};

}  // namespace veza::cli
