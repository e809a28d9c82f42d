// The settings of a cluster, typed, complete and consistent: what the rest of the core is given.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>

#include "core/codec/seal.h"
#include "core/config/repository_url.h"
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
  std::chrono::seconds max_age{300};  // 0: do not warn
  std::chrono::seconds shutdown_timeout{30};
  std::uint64_t drop_below = 0;  // bytes of free space; 0: never drop
  bool backup_after_gap = true;
};

// A program that the server starts; never without a schedule.
struct ScheduledCommand {
  std::optional<Schedule> schedule;
  std::string command;  // for the shell; not empty when there is a schedule
};

// A secret that was set by itself, and not by a file that holds nothing else.
struct InlineSecret {
  std::string setting;  // without "veza_backup."
  std::string file;     // that sets it; empty when nobody knows
  SecretString value;
};

struct Config {
  RepositoryKind kind = RepositoryKind::kDirectory;
  std::string directory;             // kDirectory only; ends with "/<cluster>"
  S3Options s3;                      // kS3 only; the prefix ends with the cluster
  bool looks_before_writes = false;  // kS3 only; instead of conditional writes
  std::string cluster;
  Cipher cipher = Cipher::kNone;
  SecretString passphrase;                   // empty exactly when cipher is kNone
  std::vector<InlineSecret> inline_secrets;  // of whatever kind of repository
  int compression_level = 3;
  int jobs = 1;            // at least 1
  int s3_connections = 8;  // at least 1
  std::chrono::seconds backup_wal_timeout{600};
  std::chrono::seconds backup_retry_timeout{21'600};
  int retention_full = 4;  // these three: 0 is "all"
  int retention_diff = 7;
  int retention_archive = 4;
  std::uint64_t max_rate = 0;  // bytes a second that a backup reads; 0: no limit
  ScheduleSettings schedule;
  ArchiveSettings archive;
  std::string metrics_file;  // empty: none
  ScheduledCommand drill;
  ScheduledCommand verify;
};

// A variable of the environment; nothing when it is not set.
using EnvLookup = std::function<std::optional<std::string>(const char* name)>;
EnvLookup ProcessEnvironment();

// Validates every value, reads secret files, fills in from the environment (AWS_ACCESS_KEY_ID,
// AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_CA_BUNDLE) what S3 needs and the
// settings leave out, and checks that settings fit together. Nothing fails open: a passphrase
// without cipher, a cipher without passphrase and a secret given twice are refused.
// kFailedPrecondition when there is no repository; otherwise the codes of ValidateSetting.
Result<Config> BuildConfig(const SettingValues& values, const EnvLookup& environment);

// ParseConfFile (conf_parser.h), then BuildConfig with the environment of the process. Settings for
// the server alone keep their defaults.
Result<Config> LoadConfig(const std::string& path);

}  // namespace veza
