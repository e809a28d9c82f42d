// The settings of a cluster in typed form, complete and consistent. The rest of the core sees
// settings only in this form.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/codec/seal.h"
#include "core/config/repository_url.h"
#include "core/config/retention_keep.h"
#include "core/config/settings.h"
#include "core/error.h"
#include "core/s3/s3_store.h"
#include "core/schedule/schedule.h"
#include "core/secret_string.h"

namespace veza {

struct ArchiveSettings {
  int look_ahead = 8;
  std::uint64_t memory = 256U << 20;  // bytes
  bool adaptive_compression = true;
  bool wal_index = true;
  std::chrono::seconds max_age{300};  // 0: do not warn
  std::chrono::seconds retry_timeout{10};
  std::chrono::seconds shutdown_timeout{30};
  std::uint64_t drop_below = 0;  // bytes of free space; 0: never
  bool backup_after_gap = true;
};

// A command that the server starts on a schedule.
struct ScheduledCommand {
  std::optional<Schedule> schedule;
  std::string command;  // a shell command; not empty when there is a schedule
};

// A secret whose value stands in a setting. (The other way is a file that holds nothing but the
// secret.)
struct InlineSecret {
  std::string setting;  // without "veza_backup."
  std::string file;     // the file with the setting; empty when unknown
  SecretString value;
};

struct Config {
  RepositoryKind kind = RepositoryKind::kDirectory;
  std::string directory;             // kDirectory only; absolute, ends with "/<cluster>"
  S3Options s3;                      // kS3 only; the prefix ends with the cluster
  bool looks_before_writes = false;  // kS3 only; replaces conditional writes
  std::string cluster;
  Cipher cipher = Cipher::kNone;
  // Without a cipher both are empty; otherwise one of them is.
  SecretString passphrase;
  std::string passphrase_command;            // prints it (core/repository/passphrase_command.h)
  std::vector<InlineSecret> inline_secrets;  // for both kinds of repository
  int compression_level = 3;
  int jobs = 1;            // at least 1
  int s3_connections = 8;  // at least 1
  std::chrono::seconds backup_wal_timeout{600};
  std::chrono::seconds backup_retry_timeout{21'600};
  std::chrono::seconds restore_retry_timeout{60};
  int retention_full = 4;  // all three: 0 keeps all
  int retention_diff = 7;
  int retention_incr = 14;
  int retention_archive = 4;
  std::chrono::seconds retention_window{0};
  std::vector<KeepRule> retention_keep;
  std::uint64_t max_rate = 0;  // bytes per second that a backup reads; 0: no limit
  bool changes_by_wal =
      true;  // a diff or an incr reads what WAL names; otherwise it reads everything
  ScheduleSettings schedule;
  ArchiveSettings archive;
  std::string metrics_file;  // empty: no file
  ScheduledCommand drill;
  ScheduledCommand verify;
};

// Returns an environment variable. Nothing when it is not set.
using EnvLookup = std::function<std::optional<std::string>(const char* name)>;
EnvLookup ProcessEnvironment();

// Validates every value, reads secret files and checks that the settings fit together. What S3
// needs and the settings leave out comes from the environment (AWS_ACCESS_KEY_ID,
// AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_CA_BUNDLE). Nothing fails open: a
// passphrase without a cipher, a cipher without a passphrase, and a secret that is given twice are
// refused. No command is run. kFailedPrecondition when no repository is set; otherwise the error
// codes of ValidateSetting().
Result<Config> BuildConfig(const SettingValues& values, const EnvLookup& environment);

// The same configuration for the root that clusters share: the setting `repository` alone.
Config RootOf(Config config);
// The configuration of one of the clusters there. `cluster` is a valid name.
Config ClusterBelow(Config root, const std::string& cluster);

// Reads the file with ParseConfFile() (conf_parser.h) and calls BuildConfig() with the environment
// of the process. Settings that only the server uses keep their defaults. A command for the
// passphrase, a file whose content is sent, and what leads a token of the environment somewhere are
// refused with kPermissionDenied if an account other than root and the one that runs this process
// could have written the setting.
Result<Config> LoadConfig(const std::string& path);

// The configuration of the mirror: that of the repository, except for the place and the settings
// s3_…. These are all of the file that `mirror_config` names, which must set no others; without
// that file they are those of the repository. With that file, the environment's keys, tokens,
// region and certificates are not used: they are of the repository. Then an S3 mirror must have
// keys in that file, or s3_credentials. The cipher is that of the repository. Nothing of the
// repository's place is read, so that its credentials may be missing. `mirror_values` are of that
// file. kFailedPrecondition when no mirror is set; kInvalidArgument when one of the two places is
// the other, or lies in it, and when an S3 mirror would not be encrypted because nothing says that
// the repository should be.
Result<Config> BuildMirrorConfig(const SettingValues& values, const SettingValues& mirror_values,
                                 const EnvLookup& environment);
// Reads both files. The rules of LoadConfig() hold for both; they also hold for the setting
// mirror_config.
Result<Config> LoadMirrorConfig(const std::string& path);

}  // namespace veza
