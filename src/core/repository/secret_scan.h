// Secrets of ours in what a backup without encryption would show to everybody who can read the
// store: the S3 secret key in postgresql.auto.conf lets its reader delete the backups.
//
// Such a backup is refused. To leave the values out would give back other files than there were,
// and a server that does not start with them; and nothing would tell its owner where they lie.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/bytes.h"
#include "core/config/config.h"
#include "core/error.h"
#include "core/secret_string.h"

namespace veza {

class SecretScan {
 public:
  // `values`: the secrets in force, wherever they were set.
  explicit SecretScan(std::vector<SecretString> values);

  // Whether the file is one of those that people write: everything outside PostgreSQL's own
  // directories. `path` is relative to the data directory.
  static bool Concerns(std::string_view path);

  // What `piece` of a file shows, for a message: a setting that holds a secret, also in a comment,
  // an old copy or the server's log, or a value in force, also in a file that holds nothing else.
  // Empty values and those that are left over from a template are none. Thread-safe.
  std::optional<std::string> Find(ByteView piece) const;

  // Reads all of a file. One that cannot be read is left to whoever copies it.
  std::optional<std::string> FindInFile(const std::string& path) const;

 private:
  std::vector<SecretString> values_;
};

// For the backups of this server; null when they are encrypted.
std::shared_ptr<const SecretScan> MakeSecretScan(const Config& config);

// kFailedPrecondition with a hint. `found` is what Find() has returned.
Error SecretInClear(std::string_view path, std::string_view found);

}  // namespace veza
