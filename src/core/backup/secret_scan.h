// Finds secrets of veza_backup in the files that a backup copies. A backup without encryption would
// show them to everybody who can read the store. For example, the S3 secret key in
// postgresql.auto.conf lets its reader delete the backups.
//
// Such a backup is refused. A backup without the values would restore other files than there were,
// and a server that does not start with them. And nothing would tell the owner where the secrets
// are.
//
// Nobody from outside may be able to cause this refusal. A log holds what anybody who reaches the
// port writes into it, such as the user name "veza_backup.s3_secret_key=x". So logs are not
// searched. The names of our settings count only in configuration (set_secret.h). Configuration is:
// the files that the server's configuration includes now, and those in the same directories; files
// with names such as "*.conf*" and "*.yml", and those of Patroni; directories such as "conf.d" and
// "etc"; and the top of the data directory. A value in force counts in all other files, too, also
// as other languages spell it (spelled_value.h): only somebody who knows the value can put it
// there.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/config/config.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/secret_string.h"

namespace veza {

class SecretScan {
 public:
  // `values` are the secrets in force, wherever they were set. `log_directory` is the server's
  // setting, relative to the data directory: "." is the data directory itself, and a path that
  // begins with ".." is outside of it. `conf_files` are the files that the server's configuration
  // is read from, with all links resolved.
  explicit SecretScan(std::vector<SecretString> values, std::string log_directory = "log",
                      const std::vector<std::string>& conf_files = {});

  // Whether the file is searched: the server's configuration includes it, or it is neither in one
  // of PostgreSQL's own directories nor a log. `path` is relative to the data directory.
  // `source_path` is where the file is, with all links resolved.
  bool Concerns(std::string_view path, std::string_view source_path = {}) const;

  // The secret that `piece` of the file shows, for a message. In configuration that is a setting
  // with a secret, also in a comment or an old copy. In every file that is searched it is a value
  // in force. Empty values and placeholders from a template do not count. Thread-safe.
  std::optional<std::string> Find(std::string_view path, ByteView piece,
                                  std::string_view source_path = {}) const;

  // Reads the whole file at `source_path`. Finds nothing in a file that cannot be read: the copy
  // will report it. kCancelled when it is cancelled between two pieces.
  Result<std::optional<std::string>> FindInFile(std::string_view path,
                                                const std::string& source_path,
                                                const Cancellation& cancellation) const;

 private:
  bool IsLog(std::string_view path) const;
  bool IsConfiguration(std::string_view path, std::string_view source_path) const;

  std::vector<SecretString> values_;
  std::string log_directory_;
  std::set<std::string, std::less<>> conf_files_;
  std::set<std::string, std::less<>> conf_directories_;
};

// The scan for the backups of this server. Null when they are encrypted. `log_directory` is the
// server's setting, absolute or relative to the data directory. `config_file` is the server's
// configuration file, absolute; the files that it includes are found. Empty when it is unknown.
std::shared_ptr<const SecretScan> MakeSecretScan(const Config& config,
                                                 const std::string& data_directory,
                                                 const std::string& log_directory,
                                                 const std::string& config_file);

// kFailedPrecondition with a hint. `found` is what Find() has returned.
Error SecretInClear(std::string_view path, std::string_view found);

}  // namespace veza
