// How a drill's server gets its WAL. It may neither reach the network nor read the secrets, so its
// restore_command only asks, through two FIFOs in the drill's directory, and the drill runs
// `vezactl wal-get` for it, outside of the server's confinement.
//
// That is served in recovery only. No code of the restored databases runs before the server is
// open; afterwards nobody is there to be asked.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
#include "core/storage/unique_fd.h"

namespace veza::cli {

// Whether such an error is the machine's, the network's or the operator's, and says nothing about
// the backup. Rights and files that cannot be read are not among them: what is stored may be the
// cause as well.
bool IsOfEnvironment(ErrorCode code);

struct DrillWalOptions {
  std::string directory;  // the throw-away one
  std::string data;       // the data directory
  std::string log;        // to which what wal-get says is appended
  std::vector<std::string>
      wal_get;           // the program and its arguments, but for the file and its place
  int confinement = -1;  // of wal-get
};

class DrillWal {
 public:
  // What the server has to have as its restore_command, and in its environment.
  static std::string RestoreCommand();
  std::string Variable() const;

  // Everything but the options is kept by reference.
  DrillWal(DrillWalOptions options, const Environment& environment)
      : options_(std::move(options)), environment_(environment) {}

  // Before the server is started.
  Status Open();
  // Answers, if something is asked meanwhile.
  Status Serve(std::chrono::milliseconds meanwhile);
  // From now on nobody is answered.
  void Close();
  // Whether recovery was last told to stop because of something of IsOfEnvironment().
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
