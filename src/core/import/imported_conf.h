// A veza_backup.conf that was made from another tool's settings: for each old line what it means
// here, or why it means nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/secret_string.h"

namespace veza {

struct ImportedSetting {
  std::string name;  // without "veza_backup."
  std::string value;
  bool in_force = true;  // false: printed as a comment, because the server would refuse it
};

struct ImportedLine {
  std::string origin;                       // the old line, without secrets
  std::vector<ImportedSetting> settings{};  // what it has become
  std::string remark{};                     // whole sentences; empty when there is nothing to say
  std::string to_do{};                      // the same: what somebody has to decide or to do
};

// A secret of the old configuration. It goes into a file of its own.
struct ImportedSecret {
  std::string file;  // absolute
  SecretString content;
};

// What the command has been told.
struct ImportOptions {
  // The directory for the files with secrets. The caller writes them if `writes_secrets`.
  std::string secrets_directory = "/etc/veza_backup";
  bool writes_secrets = false;
  std::string stanza{};  // empty: the only one
  int repository = 0;    // the number of pgBackRest's repository; 0: the first
};

class ImportedConf {
 public:
  // Checks what is set as the server will, besides files of this machine that need not be there
  // yet. What the server would refuse becomes a comment with the reason, and something to do. Its
  // value is left out if MayHoldASecret, or if it should be the path of a file.
  void Add(ImportedLine line);
  // Adds the file that holds the secret to `line`, as the setting "<name>_file". The secret is not
  // carried over when the server would refuse it. `name` is a setting, or has no check of its own.
  void AddSecret(std::string_view name, std::string_view secret, const ImportOptions& options,
                 ImportedLine& line);

  const std::vector<ImportedLine>& lines() const { return lines_; }
  const std::vector<ImportedSecret>& secrets() const { return secrets_; }
  std::size_t CountToDo() const;
  // The file. `heading` is put before it as a comment.
  std::string Format(std::string_view heading) const;

 private:
  std::vector<ImportedLine> lines_;
  std::vector<ImportedSecret> secrets_;
};

// What is said of the settings of more than one tool.
namespace imported {
inline constexpr const char* kAlways = "Always so here.";
inline constexpr const char* kServerKnows = "Nothing to set: the server knows itself.";
inline constexpr const char* kLog = "The log is PostgreSQL's, or what vezactl prints.";
inline constexpr const char* kNotS3 =
    "Only S3 and directories are repositories here. Set veza_backup.repository to "
    "\"s3://bucket/prefix\" of a store that speaks S3.";
inline constexpr const char* kLoginInEndpoint =
    "It seems to hold a user name or a password. Set veza_backup.s3_endpoint to the address "
    "without them. For a proxy there are s3_proxy and s3_proxy_login_file.";
inline constexpr const char* kNotEncrypted =
    "Nothing is encrypted, as before. To encrypt, set veza_backup.cipher_passphrase_file in place "
    "of this before the first backup.";
inline constexpr const char* kTokenEnds =
    "A session token ends, and its key with it. Let a program write new ones into all three files "
    "(s3_access_key_file, s3_secret_key_file, s3_session_token_file), or set another "
    "veza_backup.s3_credentials.";
inline constexpr const char* kOneJob = "0 is one for each processor, and the default here.";
}  // namespace imported

// Add a sentence to what is said about the line.
void AddRemark(std::string_view sentence, ImportedLine& line);
void AddToDo(std::string_view sentence, ImportedLine& line);

// Adds that no backup is scheduled, because the times are in the cron lines or timers of `tool`.
void AddSchedules(std::string_view tool, ImportedConf& conf);

// Adds veza_backup.repository: the directory, or the prefix in `store` ("s3://bucket"), beside the
// repository of `tool` at `path`, which begins with '/'. False, with something to do, when what is
// beside it cannot be told. `store` is empty for a directory.
bool AddRepositoryBeside(std::string_view tool, std::string_view store, std::string_view path,
                         ImportedLine& line);
// The last part of a path; empty when there is none.
std::string LastPartOf(std::string_view path);

// A number from 0 on. Nothing for other text.
std::optional<std::int64_t> ParseCount(std::string_view text);
// The value in the limits of an integer setting.
int ClampToSetting(std::string_view setting, std::int64_t value);

}  // namespace veza
