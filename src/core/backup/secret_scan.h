// Secrets of ours in what a backup without encryption would show to everybody who can read the
// store: the S3 secret key in postgresql.auto.conf lets its reader delete the backups.
//
// Such a backup is refused. To leave the values out would give back other files than there were,
// and a server that does not start with them; and nothing would tell its owner where they lie.
//
// Nobody from outside may be able to cause that refusal. A log holds what anybody who reaches the
// port writes into it, such as a user name "veza_backup.s3_secret_key=x". So logs are not searched.
// The names of our settings count in configuration alone (set_secret.h): what the server's
// configuration includes now and what lies in the directories of it, names such as "*.conf*",
// "*.yml" and those of Patroni, directories such as "conf.d" and "etc", and the top of the data
// directory. A value in force counts in all other files, too, and as other languages spell it
// (spelled_value.h): nobody can put it there who does not know it.
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
  // `values`: the secrets in force, wherever they were set. `log_directory`: the server's setting,
  // relative to the data directory; "." is the data directory itself, and one that begins with ".."
  // is outside. `conf_files`: what the server's configuration is read from, without links.
  explicit SecretScan(std::vector<SecretString> values, std::string log_directory = "log",
                      const std::vector<std::string>& conf_files = {});

  // Whether the file is searched: the configuration includes it, or it is neither in one of
  // PostgreSQL's own directories nor a log. `path` is relative to the data directory, `source_path`
  // is where the file is, without links.
  bool Concerns(std::string_view path, std::string_view source_path = {}) const;

  // What `piece` of the file shows, for a message: in configuration a setting that holds a secret,
  // also in a comment or an old copy; in any file that is searched a value in force. Empty values
  // and those that are left over from a template are none. Thread-safe.
  std::optional<std::string> Find(std::string_view path, ByteView piece,
                                  std::string_view source_path = {}) const;

  // Reads all of the file, which lies at `source_path`. One that cannot be read is left to whoever
  // copies it. kCancelled between its pieces.
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

// For the backups of this server; null when they are encrypted. `log_directory`: the server's
// setting, absolute or relative to the data directory. `config_file`: the server's, absolute; what
// it includes is looked for. Empty: unknown.
std::shared_ptr<const SecretScan> MakeSecretScan(const Config& config,
                                                 const std::string& data_directory,
                                                 const std::string& log_directory,
                                                 const std::string& config_file);

// kFailedPrecondition with a hint. `found` is what Find() has returned.
Error SecretInClear(std::string_view path, std::string_view found);

}  // namespace veza
