#include "core/import/pgbackrest.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "core/ascii.h"
#include "core/config/repository_url.h"
#include "core/config/settings.h"

namespace veza {
namespace {

class Translation;

// What becomes of an option.
struct OldOption {
  const char* name;  // without the number of a repository or a server
  enum class Fate {
    kTranslated,   // by `translate`
    kNothingToDo,  // `remark` says why nothing takes its place
    kToDo,         // `remark` says what to do in its place
    kCommandLine,  // belongs to a command, and pgBackRest itself passes over it in a file
  } fate = Fate::kNothingToDo;
  const char* remark = "";
  Status (Translation::*translate)(const std::string& value, ImportedLine& line) = nullptr;
  // The command for which it counts here: [global:backup] comes before [global]. What pgBackRest
  // removes after a backup it removes by the retention of "backup", not of "expire".
  const char* command = "backup";
  bool secret = false;  // or it may hold one, as a command or primary_conninfo does
  bool repeats = false;
};

// A setting with its option. One of pgBackRest's servers and repositories has a number.
struct OldEntry {
  const OldSetting* setting = nullptr;
  const OldOption* option = nullptr;  // null: pgBackRest does not know it
  int number = 0;                     // 0: none
  int rank = 0;                       // where it stands: the lowest is in force; 0: nowhere
};

// The ranks of places.
constexpr int kNowhere = 0;
constexpr int kEnvironment = 1;
constexpr int kStanzaCommand = 2;
constexpr int kStanza = 3;
constexpr int kGlobalCommand = 4;
constexpr int kGlobal = 5;

class Translation {
 public:
  Translation(const OldSettings& old, const ImportOptions& options)
      : old_(old), options_(options) {}

  Result<ImportedConf> Run();

  // The handlers of the table.
  Status Repository(const std::string& value, ImportedLine& line);
  Status Endpoint(const std::string& value, ImportedLine& line);
  Status Region(const std::string& value, ImportedLine& line);
  Status UriStyle(const std::string& value, ImportedLine& line);
  Status VerifyTls(const std::string& value, ImportedLine& line);
  Status CaFile(const std::string& value, ImportedLine& line);
  Status KeyType(const std::string& value, ImportedLine& line);
  Status Key(const std::string& value, ImportedLine& line);
  Status KeySecret(const std::string& value, ImportedLine& line);
  Status Token(const std::string& value, ImportedLine& line);
  Status StsHost(const std::string& value, ImportedLine& line);
  Status Service(const std::string& value, ImportedLine& line);
  Status RequesterPays(const std::string& value, ImportedLine& line);
  Status KmsKey(const std::string& value, ImportedLine& line);
  Status CustomerKey(const std::string& value, ImportedLine& line);
  Status Tag(const std::string& value, ImportedLine& line);
  Status CipherType(const std::string& value, ImportedLine& line);
  Status CipherPass(const std::string& value, ImportedLine& line);
  Status CompressType(const std::string& value, ImportedLine& line);
  Status CompressLevel(const std::string& value, ImportedLine& line);
  Status ProcessMax(const std::string& value, ImportedLine& line);
  Status RetentionFullType(const std::string& value, ImportedLine& line);
  Status RetentionFull(const std::string& value, ImportedLine& line);
  Status RetentionDiff(const std::string& value, ImportedLine& line);
  Status RetentionArchiveType(const std::string& value, ImportedLine& line);
  Status RetentionArchive(const std::string& value, ImportedLine& line);
  Status ExpireAuto(const std::string& value, ImportedLine& line);
  Status ArchiveTimeout(const std::string& value, ImportedLine& line);
  Status BackupStandby(const std::string& value, ImportedLine& line);
  Status Compress(const std::string& value, ImportedLine& line);

 private:
  Status ReadEntries();
  Status ChooseStanza();
  int RankOf(const OldSetting& setting, const OldOption* option) const;
  Status RefuseTwice() const;
  Status ChooseRepository();

  // The value in force, for the chosen repository if it is an option of repositories.
  const OldEntry* Find(std::string_view name) const;
  std::optional<std::string> Value(std::string_view name) const;
  bool IsS3() const { return Value("repo-type").value_or("posix") == "s3"; }
  // Whether the repository is on another host. What is in force for it stands in that host's file.
  bool IsElsewhere() const { return Find("repo-host") != nullptr; }

  Status Translate(const OldEntry& entry);
  Status TranslateInForce(const OldEntry& entry, ImportedLine& line);
  // Whether it needs no translation, because it does not count.
  bool IsPassedOver(const OldEntry& entry, ImportedLine& line);
  bool IsOfAnotherRepository(const OldEntry& entry, ImportedLine& line);
  // A number of retention; 0, with the reason, when pgBackRest removes nothing by itself.
  void SetRetention(const char* setting, int count, ImportedLine& line);
  bool ExpiresByItself() const { return Value("expire-auto").value_or("y") != "n"; }
  void AddWhatExpireSays(const OldEntry& entry, ImportedLine& line) const;
  Status AddDefaults();
  Status AddDefaultsOfRepository();
  void AddDefault(std::string origin, std::string setting, std::string value, std::string remark);
  // Notes that `setting` was set. False, with a remark, when it has been already.
  bool TakesPart(std::string_view setting, ImportedLine& line);
  bool RequireS3(ImportedLine& line) const;
  bool RequireFixedKeys(ImportedLine& line) const;
  // Of several kinds of encryption by the store the first is taken.
  bool IsFirstEncryption(ImportedLine& line);

  const OldSettings& old_;
  const ImportOptions& options_;
  std::string stanza_;
  int repository_ = 0;
  std::vector<OldEntry> entries_;
  std::map<std::pair<const OldOption*, int>, const OldEntry*> in_force_;
  std::set<std::string, std::less<>> done_;  // settings and whole subjects
  std::set<int> repositories_said_;
  ImportedConf conf_;
};

using Fate = OldOption::Fate;
using imported::kAlways;
using imported::kLog;
using imported::kNotS3;
using imported::kServerKnows;

constexpr const char* kByServer = "The server runs backups by itself.";
constexpr const char* kNoProcesses =
    "There are no other processes and hosts to talk to: the server writes to the store itself.";
constexpr const char* kSocket = "The time limits and the keep-alive of connections are fixed.";
constexpr const char* kOtherHost =
    "The server writes to the store itself, with no other host in between. Install veza_backup on "
    "every database node; the repository has to be on S3, or in a directory that all of them have "
    "mounted.";
constexpr const char* kOfRepoHost = "Goes with the host of the repository, which is not needed.";
constexpr const char* kOfOtherFile =
    "Of the repository on another host, whose own file counts: see repo-host.";
constexpr const char* kOfPgHost = "Goes with a database on another host. veza_backup runs on it.";
constexpr const char* kPacks =
    "Small files are always stored together, and large ones in blocks, of which a diff stores "
    "those that have changed.";
constexpr const char* kOfOtherStore = "Goes with a type of repository that has no counterpart.";
constexpr const char* kRestore = "An option of \"vezactl restore\", and no setting.";

// Names are those of pgBackRest 2.60. Older names are in kOldNames.
constexpr OldOption kOptions[] = {
    {"archive-expire-before", Fate::kCommandLine},
    {"config", Fate::kCommandLine},
    {"config-include-path", Fate::kCommandLine},
    {"config-path", Fate::kCommandLine},
    {"detail-level", Fate::kCommandLine},
    {"dry-run", Fate::kCommandLine},
    {"force", Fate::kCommandLine},
    {"help", Fate::kCommandLine},
    {"oldest", Fate::kCommandLine},
    {"online", Fate::kCommandLine},
    {"output", Fate::kCommandLine},
    {"reference", Fate::kCommandLine},
    {"set", Fate::kCommandLine},
    {"report", Fate::kCommandLine},
    {"stanza", Fate::kCommandLine},
    {"target", Fate::kCommandLine},
    {"target-action", Fate::kCommandLine},
    {"target-exclusive", Fate::kCommandLine},
    {"target-timeline", Fate::kCommandLine},
    {"type", Fate::kCommandLine},
    {"verbose", Fate::kCommandLine},
    {"version", Fate::kCommandLine},
    {"exec-id", Fate::kCommandLine},
    {"process", Fate::kCommandLine},
    {"lock", Fate::kCommandLine},
    {"remote-type", Fate::kCommandLine},
    {"filter", Fate::kCommandLine},
    {"ignore-missing", Fate::kCommandLine},
    {"raw", Fate::kCommandLine},
    {"recurse", Fate::kCommandLine},
    {"sort", Fate::kCommandLine},
    {"pg", Fate::kCommandLine},
    {"repo", Fate::kCommandLine},

    {"allow-root", Fate::kNothingToDo, "vezactl works for root as well; see docs/restore.md."},
    {"archive-timeout", Fate::kTranslated, "", &Translation::ArchiveTimeout},
    {"beta", Fate::kNothingToDo, "There are no such features to turn on."},
    {"buffer-size", Fate::kNothingToDo, "The size of buffers is fixed."},
    {"cmd", Fate::kNothingToDo, kNoProcesses, nullptr, "backup", true},
    {"cmd-ssh", Fate::kNothingToDo, kNoProcesses, nullptr, "backup", true},
    {"compress", Fate::kTranslated, "", &Translation::Compress},
    {"compress-level", Fate::kTranslated, "", &Translation::CompressLevel},
    {"compress-level-network", Fate::kNothingToDo, kNoProcesses},
    {"compress-type", Fate::kTranslated, "", &Translation::CompressType},
    {"delta", Fate::kNothingToDo,
     "For a restore: vezactl restore --delta. A backup always compares contents."},
    {"io-timeout", Fate::kNothingToDo,
     "A request that does not move ends after 30 seconds; veza_backup.s3_request_timeout limits "
     "it as a whole."},
    {"job-retry", Fate::kNothingToDo,
     "What fails for a time is tried again, as long as veza_backup.backup_retry_timeout says."},
    {"job-retry-interval", Fate::kNothingToDo, "The pauses between attempts are fixed."},
    {"lock-path", Fate::kNothingToDo, "The lock is in the repository, for all nodes."},
    {"neutral-umask", Fate::kNothingToDo, "The modes of files are fixed."},
    {"priority", Fate::kNothingToDo,
     "Threads of a backup run with the priority of the server; veza_backup.jobs and "
     "veza_backup.max_rate hold them back."},
    {"process-max", Fate::kTranslated, "", &Translation::ProcessMax},
    {"protocol-timeout", Fate::kNothingToDo, kNoProcesses},
    {"spool-path", Fate::kNothingToDo, "Nothing is spooled: archiving is always parallel."},
    {"sck-block", Fate::kNothingToDo, kSocket},
    {"sck-keep-alive", Fate::kNothingToDo, kSocket},
    {"tcp-keep-alive-count", Fate::kNothingToDo, kSocket},
    {"tcp-keep-alive-idle", Fate::kNothingToDo, kSocket},
    {"tcp-keep-alive-interval", Fate::kNothingToDo, kSocket},
    {"tls-cipher-12", Fate::kToDo,
     "The ciphers of TLS are those of the system's OpenSSL: set them there, if you must."},
    {"tls-cipher-13", Fate::kToDo,
     "The ciphers of TLS are those of the system's OpenSSL: set them there, if you must."},
    {"log-level-console", Fate::kNothingToDo, kLog},
    {"log-level-file", Fate::kNothingToDo, kLog},
    {"log-level-stderr", Fate::kNothingToDo, kLog},
    {"log-path", Fate::kNothingToDo, kLog},
    {"log-subprocess", Fate::kNothingToDo, kLog},
    {"log-timestamp", Fate::kNothingToDo, kLog},
    {"archive-async", Fate::kNothingToDo, "Archiving is always parallel, without a spool."},
    {"archive-get-queue-max", Fate::kNothingToDo,
     "An option of the restore_command: vezactl wal-get --prefetch N, in segments."},
    {"archive-header-check", Fate::kNothingToDo, kAlways},
    {"archive-missing-retry", Fate::kNothingToDo, kAlways},
    {"archive-push-batch-size", Fate::kNothingToDo,
     "veza_backup.archive_look_ahead says how many files are stored ahead."},
    {"archive-push-queue-max", Fate::kToDo,
     "pgBackRest drops WAL when so much of it waits. Here none is dropped unless you set "
     "veza_backup.archive_drop_below: when the disk of pg_wal has less free space than that."},
    {"annotation", Fate::kNothingToDo, "Backups have no annotations.", nullptr, "backup", false,
     true},
    {"archive-check", Fate::kNothingToDo,
     "A backup always waits until its WAL is in the repository."},
    {"archive-copy", Fate::kNothingToDo, "WAL is stored once, beside the backups."},
    {"archive-mode-check", Fate::kNothingToDo, "archive_mode = always is allowed here."},
    {"backup-standby", Fate::kTranslated, "", &Translation::BackupStandby},
    {"checksum-page", Fate::kNothingToDo, "Always, if the cluster has data checksums."},
    {"page-header-check", Fate::kNothingToDo, "Page headers are always looked at."},
    {"exclude", Fate::kToDo,
     "Nothing can be left out of a backup. Move these files out of the data directory, if they "
     "do not belong to the database.",
     nullptr, "backup", false, true},
    {"expire-auto", Fate::kTranslated, "", &Translation::ExpireAuto},
    {"manifest-save-threshold", Fate::kNothingToDo,
     "A backup that was interrupted uses what it has stored."},
    {"resume", Fate::kNothingToDo, "A backup that was interrupted uses what it has stored."},
    {"start-fast", Fate::kNothingToDo,
     "Scheduled backups spread the checkpoint; veza_backup_now() asks for a fast one."},
    {"stop-auto", Fate::kNothingToDo, "Backups that were left behind do not stand in the way."},
    {"archive-mode", Fate::kNothingToDo, kRestore, nullptr, "restore"},
    {"db-exclude", Fate::kNothingToDo,
     "For a restore: vezactl restore --databases, with those "
     "that are wanted.",
     nullptr, "restore", false, true},
    {"db-include", Fate::kNothingToDo, "For a restore: vezactl restore --databases.", nullptr,
     "restore", false, true},
    {"link-all", Fate::kNothingToDo,
     "What is behind a link comes back as a directory; see docs/backups.md.", nullptr, "restore"},
    {"link-map", Fate::kNothingToDo,
     "What is behind a link comes back as a directory; see docs/backups.md.", nullptr, "restore",
     false, true},
    {"tablespace-map", Fate::kNothingToDo,
     "For a restore: vezactl restore --tablespace-map OLD=NEW, with paths.", nullptr, "restore",
     false, true},
    {"tablespace-map-all", Fate::kNothingToDo,
     "For a restore: vezactl restore --tablespace-map OLD=NEW, with paths.", nullptr, "restore"},
    {"recovery-option", Fate::kToDo,
     "vezactl restore writes restore_command and the target by itself. Put other settings into "
     "postgresql.conf after a restore.",
     nullptr, "restore", true, true},
    {"tls-server-ca-file", Fate::kNothingToDo, kNoProcesses},
    {"tls-server-cert-file", Fate::kNothingToDo, kNoProcesses},
    {"tls-server-key-file", Fate::kNothingToDo, kNoProcesses},
    {"tls-server-auth", Fate::kNothingToDo, kNoProcesses, nullptr, "server", false, true},
    {"tls-server-address", Fate::kNothingToDo, kNoProcesses},
    {"tls-server-port", Fate::kNothingToDo, kNoProcesses},

    {"pg-path", Fate::kNothingToDo, kServerKnows},
    {"pg-local", Fate::kNothingToDo, kServerKnows},
    {"pg-host", Fate::kToDo, kOtherHost},
    {"pg-host-type", Fate::kNothingToDo, kOfPgHost},
    {"pg-host-cert-file", Fate::kNothingToDo, kOfPgHost},
    {"pg-host-key-file", Fate::kNothingToDo, kOfPgHost},
    {"pg-host-ca-file", Fate::kNothingToDo, kOfPgHost},
    {"pg-host-ca-path", Fate::kNothingToDo, kOfPgHost},
    {"pg-host-cmd", Fate::kNothingToDo, kOfPgHost, nullptr, "backup", true},
    {"pg-host-config", Fate::kNothingToDo, kOfPgHost},
    {"pg-host-config-include-path", Fate::kNothingToDo, kOfPgHost},
    {"pg-host-config-path", Fate::kNothingToDo, kOfPgHost},
    {"pg-host-port", Fate::kNothingToDo, kOfPgHost},
    {"pg-host-user", Fate::kNothingToDo, kOfPgHost},
    {"pg-database", Fate::kNothingToDo, kServerKnows},
    {"db-timeout", Fate::kNothingToDo, kByServer},
    {"pg-port", Fate::kNothingToDo, kServerKnows},
    {"pg-socket-path", Fate::kNothingToDo, kServerKnows},
    {"pg-user", Fate::kNothingToDo, kServerKnows},
    {"pg-version-force", Fate::kNothingToDo, kServerKnows},

    {"repo-type", Fate::kTranslated, "", &Translation::Repository},
    {"repo-path", Fate::kTranslated, "", &Translation::Repository},
    {"repo-cipher-type", Fate::kTranslated, "", &Translation::CipherType},
    {"repo-cipher-pass", Fate::kTranslated, "", &Translation::CipherPass, "backup", true},
    {"repo-hardlink", Fate::kNothingToDo, "A backup is not a directory with files, but objects."},
    {"repo-symlink", Fate::kNothingToDo, "There are no links in the repository."},
    {"repo-target-time", Fate::kNothingToDo,
     "For a restore: vezactl --as-of TIME, if the bucket keeps versions."},
    {"repo-retention-full-type", Fate::kTranslated, "", &Translation::RetentionFullType},
    {"repo-retention-full", Fate::kTranslated, "", &Translation::RetentionFull},
    {"repo-retention-diff", Fate::kTranslated, "", &Translation::RetentionDiff},
    {"repo-retention-archive-type", Fate::kTranslated, "", &Translation::RetentionArchiveType},
    {"repo-retention-archive", Fate::kTranslated, "", &Translation::RetentionArchive},
    {"repo-retention-history", Fate::kNothingToDo, "What is left of a removed backup is nothing."},
    {"repo-bundle", Fate::kNothingToDo, kPacks},
    {"repo-bundle-size", Fate::kNothingToDo, kPacks},
    {"repo-bundle-limit", Fate::kNothingToDo, kPacks},
    {"repo-block", Fate::kNothingToDo, kPacks},
    {"repo-block-size-map", Fate::kNothingToDo, kPacks, nullptr, "backup", false, true},
    {"repo-block-age-map", Fate::kNothingToDo, kPacks, nullptr, "backup", false, true},
    {"repo-block-checksum-size-map", Fate::kNothingToDo, kPacks, nullptr, "backup", false, true},
    {"repo-block-size-super", Fate::kNothingToDo, kPacks},
    {"repo-block-size-super-full", Fate::kNothingToDo, kPacks},
    {"repo-local", Fate::kNothingToDo, kNoProcesses},
    {"repo-host", Fate::kTranslated, "", &Translation::Repository},
    {"repo-host-type", Fate::kNothingToDo, kOfRepoHost},
    {"repo-host-cert-file", Fate::kNothingToDo, kOfRepoHost},
    {"repo-host-key-file", Fate::kNothingToDo, kOfRepoHost},
    {"repo-host-ca-file", Fate::kNothingToDo, kOfRepoHost},
    {"repo-host-ca-path", Fate::kNothingToDo, kOfRepoHost},
    {"repo-host-cmd", Fate::kNothingToDo, kOfRepoHost, nullptr, "backup", true},
    {"repo-host-config", Fate::kNothingToDo, kOfRepoHost},
    {"repo-host-config-include-path", Fate::kNothingToDo, kOfRepoHost},
    {"repo-host-config-path", Fate::kNothingToDo, kOfRepoHost},
    {"repo-host-port", Fate::kNothingToDo, kOfRepoHost},
    {"repo-host-user", Fate::kNothingToDo, kOfRepoHost},
    {"repo-storage-verify-tls", Fate::kTranslated, "", &Translation::VerifyTls},
    {"repo-storage-ca-file", Fate::kTranslated, "", &Translation::CaFile},
    {"repo-storage-ca-path", Fate::kToDo,
     "A directory of certificates has no counterpart. Put those that are needed into one file, and "
     "set veza_backup.s3_ca_file."},
    {"repo-storage-host", Fate::kTranslated, "", &Translation::Endpoint},
    {"repo-storage-port", Fate::kTranslated, "", &Translation::Endpoint},
    {"repo-storage-tag", Fate::kTranslated, "", &Translation::Tag, "backup", false, true},
    {"repo-storage-prefetch", Fate::kNothingToDo, "A restore reads ahead by itself."},
    {"repo-storage-read-over", Fate::kNothingToDo, "A restore joins reads by itself."},
    {"repo-storage-upload-chunk-size", Fate::kNothingToDo,
     "Objects have at most 32 MiB and go up in one piece."},
    {"repo-azure-account", Fate::kNothingToDo, kOfOtherStore, nullptr, "backup", true},
    {"repo-azure-container", Fate::kNothingToDo, kOfOtherStore},
    {"repo-azure-endpoint", Fate::kNothingToDo, kOfOtherStore},
    {"repo-azure-key", Fate::kNothingToDo, kOfOtherStore, nullptr, "backup", true},
    {"repo-azure-key-type", Fate::kNothingToDo, kOfOtherStore},
    {"repo-azure-uri-style", Fate::kNothingToDo, kOfOtherStore},
    {"repo-gcs-bucket", Fate::kNothingToDo, kOfOtherStore},
    {"repo-gcs-endpoint", Fate::kNothingToDo, kOfOtherStore},
    {"repo-gcs-key-type", Fate::kNothingToDo, kOfOtherStore},
    {"repo-gcs-key", Fate::kNothingToDo, kOfOtherStore, nullptr, "backup", true},
    {"repo-gcs-user-project", Fate::kNothingToDo, kOfOtherStore},
    {"repo-s3-bucket", Fate::kTranslated, "", &Translation::Repository},
    {"repo-s3-endpoint", Fate::kTranslated, "", &Translation::Endpoint},
    {"repo-s3-key-type", Fate::kTranslated, "", &Translation::KeyType},
    {"repo-s3-key", Fate::kTranslated, "", &Translation::Key},
    {"repo-s3-key-secret", Fate::kTranslated, "", &Translation::KeySecret, "backup", true},
    {"repo-s3-kms-key-id", Fate::kTranslated, "", &Translation::KmsKey},
    {"repo-s3-sse-customer-key", Fate::kTranslated, "", &Translation::CustomerKey, "backup", true},
    {"repo-s3-region", Fate::kTranslated, "", &Translation::Region},
    {"repo-s3-role", Fate::kNothingToDo,
     "The instance, the container or the environment names the role: see "
     "veza_backup.s3_credentials."},
    {"repo-s3-process-cmd", Fate::kNothingToDo, "See repo-s3-key-type.", nullptr, "backup", true,
     true},
    {"repo-s3-token", Fate::kTranslated, "", &Translation::Token, "backup", true},
    {"repo-s3-requester-pays", Fate::kTranslated, "", &Translation::RequesterPays},
    {"repo-s3-service", Fate::kTranslated, "", &Translation::Service},
    {"repo-s3-sts-host", Fate::kTranslated, "", &Translation::StsHost},
    {"repo-s3-uri-style", Fate::kTranslated, "", &Translation::UriStyle},
    {"repo-sftp-host", Fate::kNothingToDo, kOfOtherStore},
    {"repo-sftp-host-fingerprint", Fate::kNothingToDo, kOfOtherStore},
    {"repo-sftp-host-key-check-type", Fate::kNothingToDo, kOfOtherStore},
    {"repo-sftp-host-key-hash-type", Fate::kNothingToDo, kOfOtherStore},
    {"repo-sftp-host-port", Fate::kNothingToDo, kOfOtherStore},
    {"repo-sftp-host-user", Fate::kNothingToDo, kOfOtherStore},
    {"repo-sftp-known-host", Fate::kNothingToDo, kOfOtherStore, nullptr, "backup", false, true},
    {"repo-sftp-private-key-file", Fate::kNothingToDo, kOfOtherStore},
    {"repo-sftp-private-key-passphrase", Fate::kNothingToDo, kOfOtherStore, nullptr, "backup",
     true},
    {"repo-sftp-public-key-file", Fate::kNothingToDo, kOfOtherStore},
};

struct OldName {
  std::string_view old;
  std::string_view name;
};
constexpr OldName kOldNames[] = {
    {"archive-queue-max", "archive-push-queue-max"},
    {"backup-cmd", "repo-host-cmd"},
    {"backup-config", "repo-host-config"},
    {"backup-host", "repo-host"},
    {"backup-ssh-port", "repo-host-port"},
    {"backup-user", "repo-host-user"},
    {"db-cmd", "pg-host-cmd"},
    {"db-config", "pg-host-config"},
    {"db-host", "pg-host"},
    {"db-path", "pg-path"},
    {"db-port", "pg-port"},
    {"db-socket-path", "pg-socket-path"},
    {"db-ssh-port", "pg-host-port"},
    {"db-user", "pg-host-user"},
    {"hardlink", "repo-hardlink"},
    {"repo-azure-ca-file", "repo-storage-ca-file"},
    {"repo-azure-ca-path", "repo-storage-ca-path"},
    {"repo-azure-host", "repo-storage-host"},
    {"repo-azure-port", "repo-storage-port"},
    {"repo-azure-verify-tls", "repo-storage-verify-tls"},
    {"repo-s3-ca-file", "repo-storage-ca-file"},
    {"repo-s3-ca-path", "repo-storage-ca-path"},
    {"repo-s3-host", "repo-storage-host"},
    {"repo-s3-port", "repo-storage-port"},
    {"repo-s3-verify-ssl", "repo-storage-verify-tls"},
    {"repo-s3-verify-tls", "repo-storage-verify-tls"},
    {"retention-archive", "repo-retention-archive"},
    {"retention-archive-type", "repo-retention-archive-type"},
    {"retention-diff", "repo-retention-diff"},
    {"retention-full", "repo-retention-full"},
};

bool IsOfRepository(const OldOption& option) {
  return std::string_view(option.name).starts_with("repo-");
}
bool HasNumber(const OldOption& option) {
  return IsOfRepository(option) || std::string_view(option.name).starts_with("pg-");
}

const OldOption* FindOption(std::string_view name) {
  const auto* const renamed = std::ranges::find(kOldNames, name, &OldName::old);
  const std::string_view current = renamed == std::end(kOldNames) ? name : renamed->name;
  const auto* const found = std::ranges::find_if(
      kOptions, [&](const OldOption& option) { return option.name == current; });
  return found == std::end(kOptions) ? nullptr : found;
}

// "repo2-path" is "repo-path" of number 2.
std::pair<std::string, int> SplitNumber(const std::string& key) {
  const std::size_t dash = key.find('-');
  if (dash == std::string::npos) {
    return {key, 0};
  }
  std::size_t digits = dash;
  while (digits > 0 && key[digits - 1] >= '0' && key[digits - 1] <= '9') {
    --digits;
  }
  const std::optional<std::int64_t> number =
      ParseCount(std::string_view(key).substr(digits, dash - digits));
  return number && *number <= 256
             ? std::pair(key.substr(0, digits) + key.substr(dash), static_cast<int>(*number))
             : std::pair(key, 0);
}

Error BadValue(const OldSetting& setting, std::string_view expected) {
  return MakeError(ErrorCode::kInvalidArgument, "{}: the value of {} is not {}", setting.source,
                   setting.key, expected)
      .WithHint("pgBackRest refuses this line, too. Correct it.");
}

// With pgBackRest's units; without one it is seconds.
std::optional<std::int64_t> ParseSeconds(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::int64_t milliseconds;
  };
  constexpr Unit kUnits[] = {{"ms", 1},        {"s", 1000},       {"m", 60'000},
                             {"h", 3'600'000}, {"d", 86'400'000}, {"w", 604'800'000}};
  const std::string lower = LowerCase(text);
  std::string_view number = lower;
  std::int64_t factor = 1000;
  for (const Unit& unit : kUnits) {
    if (number.ends_with(unit.name)) {
      number.remove_suffix(unit.name.size());
      factor = unit.milliseconds;
      break;
    }
  }
  const std::optional<std::int64_t> count = ParseCount(number);
  return count && *count < (std::int64_t{1} << 31) ? std::optional(*count * factor / 1000)
                                                   : std::nullopt;
}

void Set(ImportedLine& line, std::string setting, std::string value) {
  line.settings.push_back({std::move(setting), std::move(value)});
}

// --- Which settings count ------------------------------------------------------------------------

std::string Join(const std::set<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    text += (text.empty() ? "" : ", ") + name;
  }
  return Shorten(std::move(text), 500);
}

// "[global:backup]" is the part of [global] that only the command backup reads.
struct Section {
  explicit Section(std::string_view text)
      : name(text.substr(0, text.find(':'))),
        command(name.size() == text.size() ? "" : text.substr(name.size() + 1)) {}

  std::string_view name;
  std::string_view command;
};

Status Translation::ChooseStanza() {
  stanza_ = options_.stanza;
  std::set<std::string> stanzas;
  for (const OldSetting& setting : old_.all()) {
    if (setting.section.empty() && setting.key == "stanza" && stanza_.empty()) {
      stanza_ = setting.value;
    }
    const Section section(setting.section);
    if (!section.name.empty() && section.name != "global") {
      stanzas.emplace(section.name);
    }
  }
  if (stanza_.empty() && stanzas.size() > 1) {
    return MakeError(ErrorCode::kInvalidArgument, "the configuration has several stanzas: {}",
                     Join(stanzas))
        .WithHint("Choose one with --stanza. Each becomes a configuration of its own.");
  }
  if (!stanza_.empty() && !stanzas.empty() && !stanzas.contains(stanza_)) {
    return MakeError(ErrorCode::kInvalidArgument, "there is no stanza \"{}\"", stanza_)
        .WithHint(fmt::format("The configuration has: {}.", Join(stanzas)));
  }
  if (stanza_.empty() && !stanzas.empty()) {
    stanza_ = *stanzas.begin();
  }
  return Ok();
}

int Translation::RankOf(const OldSetting& setting, const OldOption* option) const {
  if (setting.section.empty()) {
    return kEnvironment;
  }
  const Section section(setting.section);
  // What has no counterpart has none for any command.
  const bool is_for_all = option == nullptr || option->fate != Fate::kTranslated;
  if (!section.command.empty() && !is_for_all && section.command != option->command) {
    return kNowhere;
  }
  if (section.name == stanza_) {
    return section.command.empty() ? kStanza : kStanzaCommand;
  }
  return section.name != "global" ? kNowhere : section.command.empty() ? kGlobal : kGlobalCommand;
}

Status Translation::ReadEntries() {
  for (const OldSetting& setting : old_.all()) {
    OldEntry entry{&setting};
    const auto [name, number] = SplitNumber(setting.key);
    entry.option = FindOption(name);
    if (entry.option != nullptr) {
      entry.number = HasNumber(*entry.option) ? std::max(number, 1) : 0;
      entry.option = HasNumber(*entry.option) || number == 0 ? entry.option : nullptr;
    }
    entry.rank = RankOf(setting, entry.option);
    entries_.push_back(entry);
  }
  for (const OldEntry& entry : entries_) {
    if (entry.option == nullptr || entry.rank == kNowhere ||
        entry.option->fate == Fate::kCommandLine) {
      continue;
    }
    const OldEntry*& best = in_force_[{entry.option, entry.number}];
    if (best == nullptr || entry.rank < best->rank) {
      best = &entry;
    }
  }
  return RefuseTwice();
}

Status Translation::RefuseTwice() const {
  std::map<std::tuple<std::string_view, const OldOption*, int>, const OldEntry*> seen;
  for (const OldEntry& entry : entries_) {
    if (entry.option == nullptr || entry.option->repeats ||
        entry.option->fate == Fate::kCommandLine) {
      continue;
    }
    const auto [first, is_new] =
        seen.insert({{entry.setting->section, entry.option, entry.number}, &entry});
    if (!is_new) {
      return MakeError(ErrorCode::kInvalidArgument, "{} is set twice: {} and {}",
                       entry.setting->key, first->second->setting->source, entry.setting->source)
          .WithHint("pgBackRest refuses that, too. Remove one of the lines.");
    }
  }
  return Ok();
}

Status Translation::ChooseRepository() {
  std::set<int> numbers;
  for (const auto& [key, entry] : in_force_) {
    if (IsOfRepository(*key.first)) {
      numbers.insert(key.second);
    }
  }
  repository_ = options_.repository;
  if (repository_ == 0) {
    repository_ = numbers.empty() ? 1 : *numbers.begin();
  } else if (!numbers.contains(repository_)) {
    return MakeError(ErrorCode::kInvalidArgument, "the configuration has no repo{}", repository_)
        .WithHint("Give the number of a repository that is there, or leave out --repo.");
  }
  return Ok();
}

const OldEntry* Translation::Find(std::string_view name) const {
  const OldOption* const option = FindOption(name);
  const auto found = in_force_.find({option, HasNumber(*option) ? repository_ : 0});
  return found == in_force_.end() ? nullptr : found->second;
}

std::optional<std::string> Translation::Value(std::string_view name) const {
  const OldEntry* const entry = Find(name);
  return entry == nullptr ? std::nullopt : std::optional(entry->setting->value);
}

// --- The handlers --------------------------------------------------------------------------------

bool Translation::TakesPart(std::string_view setting, ImportedLine& line) {
  if (!done_.insert(std::string(setting)).second) {
    AddRemark(fmt::format("Part of {}{} above.", kSettingPrefix, setting), line);
    return false;
  }
  return true;
}

bool Translation::RequireS3(ImportedLine& line) const {
  if (!IsS3()) {
    AddRemark("Without effect, because repo-type is not s3.", line);
    return false;
  }
  return true;
}

bool Translation::RequireFixedKeys(ImportedLine& line) const {
  if (!RequireS3(line)) {
    return false;
  }
  if (Value("repo-s3-key-type").value_or("shared") != "shared") {
    AddRemark("Without effect, because repo-s3-key-type is not shared.", line);
    return false;
  }
  return true;
}

bool Translation::IsFirstEncryption(ImportedLine& line) {
  if (!RequireS3(line)) {
    return false;
  }
  if (!done_.insert("s3_sse").second) {
    AddToDo("Another line above has set veza_backup.s3_sse, which can have one value. Choose.",
            line);
    return false;
  }
  return true;
}

Status Translation::Repository(const std::string&, ImportedLine& line) {
  if (!TakesPart("repository", line)) {
    return Ok();
  }
  if (IsElsewhere()) {
    AddToDo(kOtherHost, line);
    AddToDo(
        "What is in force for this repository, such as cipher and retention, stands in the file "
        "of that host: copy it here, and import it with \"vezactl import-config FILE\".",
        line);
    return Ok();
  }
  const std::string type = Value("repo-type").value_or("posix");
  const std::string path = Value("repo-path").value_or("/var/lib/pgbackrest");
  if (!path.starts_with('/')) {
    return BadValue(*Find("repo-path")->setting, "an absolute path");
  }
  if (type == "posix" || type == "cifs") {
    if (AddRepositoryBeside("pgBackRest", "", path, line)) {
      AddToDo(
          fmt::format("A directory beside pgBackRest's \"{}\", never the same. Make sure that it "
                      "is on the right disk: pgBackRest's may be a file system of its own.",
                      path),
          line);
    }
    return Ok();
  }
  if (type != "s3") {
    AddToDo(fmt::format("repo-type is {}. {}", type, kNotS3), line);
    return Ok();
  }
  const std::optional<std::string> bucket = Value("repo-s3-bucket");
  if (!bucket) {
    AddToDo("repo-s3-bucket is not set, and pgBackRest requires it.", line);
    return Ok();
  }
  if (AddRepositoryBeside("pgBackRest", fmt::format("s3://{}", *bucket), path, line)) {
    AddRemark(fmt::format("A prefix beside pgBackRest's \"{}\" in the same bucket, never the same: "
                          "pgBackRest's repository stays as it is. The keys must be allowed to use "
                          "it.",
                          path),
              line);
  }
  return Ok();
}

struct Address {
  std::string scheme = "https";
  std::string host;
  std::string port;
};

Address ParseAddress(std::string_view text) {
  Address address;
  for (const char* const scheme : {"http", "https"}) {
    const std::string begin = fmt::format("{}://", scheme);
    if (text.starts_with(begin)) {
      address.scheme = scheme;
      text.remove_prefix(begin.size());
    }
  }
  text = text.substr(0, text.find('/'));
  const std::size_t colon = text.rfind(':');
  const bool has_port =
      colon != std::string_view::npos && text.find(']', colon) == std::string_view::npos;
  address.host = text.substr(0, has_port ? colon : text.size());
  address.port = has_port ? text.substr(colon + 1) : "";
  return address;
}

Status Translation::Endpoint(const std::string&, ImportedLine& line) {
  if (!RequireS3(line) || !TakesPart("s3_endpoint", line)) {
    return Ok();
  }
  const std::optional<std::string> host = Value("repo-storage-host");
  const std::optional<std::string> endpoint = Value("repo-s3-endpoint");
  if (MayHoldASecret(host.value_or("")) || MayHoldASecret(endpoint.value_or(""))) {
    AddToDo(imported::kLoginInEndpoint, line);
    return Ok();
  }
  Address address = ParseAddress(host ? *host : endpoint.value_or(""));
  address.port = Value("repo-storage-port").value_or(address.port);
  if (address.host.empty()) {
    AddToDo("repo-s3-endpoint is not set, and pgBackRest requires it.", line);
    return Ok();
  }
  const bool is_default_port =
      address.port.empty() || (address.scheme == "https" && address.port == "443");
  Set(line, "s3_endpoint",
      fmt::format("{}://{}{}", address.scheme, address.host,
                  is_default_port ? "" : fmt::format(":{}", address.port)));
  if (address.scheme == "http") {
    AddRemark("Without TLS, as before.", line);
  }
  if (host && endpoint && ParseAddress(*endpoint).host != address.host) {
    AddToDo(fmt::format("pgBackRest connects to this host and asks it for \"{}\". Here both are "
                        "the same name: make sure that the store answers to it.",
                        ParseAddress(*endpoint).host),
            line);
  }
  return Ok();
}

Status Translation::Region(const std::string& value, ImportedLine& line) {
  if (RequireS3(line)) {
    Set(line, "s3_region", value);
  }
  return Ok();
}

Status Translation::UriStyle(const std::string& value, ImportedLine& line) {
  if (value != "host" && value != "path") {
    return BadValue(*Find("repo-s3-uri-style")->setting, "host or path");
  }
  if (RequireS3(line)) {
    Set(line, "s3_uri_style", value == "path" ? "path" : "virtual-host");
  }
  return Ok();
}

Result<bool> YesOrNo(const OldSetting& setting) {
  if (setting.value != "y" && setting.value != "n") {
    return BadValue(setting, "y or n");
  }
  return setting.value == "y";
}

Status Translation::VerifyTls(const std::string&, ImportedLine& line) {
  ASSIGN_OR_RETURN(const bool yes, YesOrNo(*Find("repo-storage-verify-tls")->setting));
  if (RequireS3(line)) {
    Set(line, "s3_verify_tls", yes ? "on" : "off");
  }
  return Ok();
}

Status Translation::CaFile(const std::string& value, ImportedLine& line) {
  if (RequireS3(line)) {
    Set(line, "s3_ca_file", value);
  }
  return Ok();
}

Status Translation::KeyType(const std::string& value, ImportedLine& line) {
  if (!RequireS3(line)) {
    return Ok();
  }
  if (value == "shared") {
    Set(line, "s3_credentials", "static");
  } else if (value == "auto") {
    Set(line, "s3_credentials", "instance");
    AddRemark("Asks the instance, as pgBackRest does.", line);
  } else if (value == "web-id") {
    Set(line, "s3_credentials", "web-identity");
    AddRemark(
        "The role and the token come from the same variables of the environment, which the "
        "server's service and vezactl both need.",
        line);
  } else if (value == "pod-id") {
    Set(line, "s3_credentials", "container");
    AddRemark(
        "The address and the token come from the same variables of the environment, which "
        "the server's service and vezactl both need.",
        line);
  } else if (value == "process") {
    AddToDo(
        "A command for credentials has no counterpart. Let a timer write what it prints as a "
        "profile into a file, and set veza_backup.s3_credentials = 'profile' and "
        "veza_backup.s3_credentials_file.",
        line);
  } else {
    return BadValue(*Find("repo-s3-key-type")->setting, "shared, auto, web-id, pod-id or process");
  }
  return Ok();
}

Status Translation::Key(const std::string& value, ImportedLine& line) {
  if (!RequireFixedKeys(line)) {
    return Ok();
  }
  // What changes together has to be in files together.
  if (Find("repo-s3-token") != nullptr) {
    conf_.AddSecret("s3_access_key", value, options_, line);
  } else {
    Set(line, "s3_access_key", value);
  }
  return Ok();
}

Status Translation::KeySecret(const std::string& value, ImportedLine& line) {
  if (RequireFixedKeys(line)) {
    conf_.AddSecret("s3_secret_key", value, options_, line);
  }
  return Ok();
}

Status Translation::Token(const std::string& value, ImportedLine& line) {
  if (RequireFixedKeys(line)) {
    conf_.AddSecret("s3_session_token", value, options_, line);
    AddToDo(imported::kTokenEnds, line);
  }
  return Ok();
}

Status Translation::StsHost(const std::string& value, ImportedLine& line) {
  if (!RequireS3(line)) {
    return Ok();
  }
  if (Value("repo-s3-key-type").value_or("shared") == "web-id") {
    Set(line, "s3_sts_endpoint", value.starts_with("https://") ? value : "https://" + value);
  } else {
    AddRemark("Without effect, because repo-s3-key-type is not web-id.", line);
  }
  return Ok();
}

Status Translation::Service(const std::string& value, ImportedLine& line) {
  if (value == "s3") {
    AddRemark(kAlways, line);
  } else {
    AddToDo("Requests are always signed for the service \"s3\". Use an endpoint that takes that.",
            line);
  }
  return Ok();
}

Status Translation::RequesterPays(const std::string&, ImportedLine& line) {
  ASSIGN_OR_RETURN(const bool yes, YesOrNo(*Find("repo-s3-requester-pays")->setting));
  if (yes) {
    AddToDo("Requests never say that the requester pays. Use a bucket of your own account.", line);
  } else {
    AddRemark(kAlways, line);
  }
  return Ok();
}

Status Translation::KmsKey(const std::string& value, ImportedLine& line) {
  if (IsFirstEncryption(line)) {
    Set(line, "s3_sse", "aws:kms");
    Set(line, "s3_sse_kms_key_id", value);
  }
  return Ok();
}

Status Translation::CustomerKey(const std::string& value, ImportedLine& line) {
  if (IsFirstEncryption(line)) {
    Set(line, "s3_sse", "customer-key");
    conf_.AddSecret("s3_sse_customer_key", value, options_, line);
  }
  return Ok();
}

Status Translation::Tag(const std::string&, ImportedLine& line) {
  if (!RequireS3(line) || !TakesPart("s3_tags", line)) {
    return Ok();
  }
  const OldEntry* const first = Find("repo-storage-tag");
  std::string tags;
  for (const OldEntry& entry : entries_) {
    if (entry.option != first->option || entry.number != first->number ||
        entry.setting->section != first->setting->section) {
      continue;
    }
    std::string value = entry.setting->value;
    if (entry.rank == kEnvironment) {
      std::ranges::replace(value, ':', ',');  // pgBackRest's way to give several
    }
    tags += (tags.empty() ? "" : ", ") + value;
  }
  Set(line, "s3_tags", tags);
  AddRemark("The keys need the permission s3:PutObjectTagging.", line);
  return Ok();
}

Status Translation::CipherType(const std::string& value, ImportedLine& line) {
  if (value == "none") {
    Set(line, "cipher", "none");
    AddRemark(imported::kNotEncrypted, line);
  } else if (value == "aes-256-cbc") {
    Set(line, "cipher", "aes-256-cbc");
    AddRemark(
        "Here with an HMAC, which finds what was changed. The default, aes-256-gcm, does, "
        "too, and takes less time.",
        line);
  } else {
    return BadValue(*Find("repo-cipher-type")->setting, "none or aes-256-cbc");
  }
  return Ok();
}

Status Translation::CipherPass(const std::string& value, ImportedLine& line) {
  if (Value("repo-cipher-type").value_or("none") == "none") {
    AddRemark("Without effect, because repo-cipher-type is none.", line);
    return Ok();
  }
  AddRemark(
      "It protects the key of a new repository. It does not open pgBackRest's here: keep "
      "pgBackRest for that.",
      line);
  conf_.AddSecret("cipher_passphrase", value, options_, line);
  return Ok();
}

Status Translation::CompressType(const std::string& value, ImportedLine& line) {
  if (value == "none") {
    AddRemark("Everything is compressed with zstd; this is the least.", line);
    if (TakesPart("compression_level", line)) {
      Set(line, "compression_level", fmt::format("{}", FindSetting("compression_level")->min));
    }
  } else if (value == "zst" || value == "gz" || value == "lz4" || value == "bz2") {
    AddRemark("The compression is always zstd.", line);
  } else {
    return BadValue(*Find("compress-type")->setting, "none, bz2, gz, lz4 or zst");
  }
  return Ok();
}

Status Translation::Compress(const std::string&, ImportedLine& line) {
  ASSIGN_OR_RETURN(const bool yes, YesOrNo(*Find("compress")->setting));
  return Value("compress-type") || yes ? CompressType("zst", line) : CompressType("none", line);
}

Status Translation::CompressLevel(const std::string& value, ImportedLine& line) {
  const bool is_negative = value.starts_with('-');
  const std::optional<std::int64_t> level =
      ParseCount(std::string_view(value).substr(is_negative ? 1 : 0));
  if (!level) {
    return BadValue(*Find("compress-level")->setting, "a number");
  }
  if (Value("compress-type").value_or("gz") != "zst") {
    AddRemark(
        "The compression is always zstd, whose levels are others: 3 by default, 1 for less "
        "CPU time, 9 for less space.",
        line);
    return Ok();
  }
  const std::int64_t wanted = is_negative ? -*level : *level;
  const int taken = ClampToSetting("compression_level", wanted);
  if (TakesPart("compression_level", line)) {
    Set(line, "compression_level", fmt::format("{}", taken));
    if (taken != wanted) {
      AddRemark("The nearest level that there is.", line);
    }
  }
  return Ok();
}

Status Translation::ProcessMax(const std::string& value, ImportedLine& line) {
  const std::optional<std::int64_t> number = ParseCount(value);
  if (!number || *number == 0) {
    return BadValue(*Find("process-max")->setting, "a number of processes");
  }
  Set(line, "jobs", fmt::format("{}", ClampToSetting("jobs", *number)));
  AddRemark(
      "Threads that read, compress and encrypt for a backup; 0 is one for each processor. "
      "Requests to S3 are counted by veza_backup.s3_connections.",
      line);
  return Ok();
}

// --- Retention -----------------------------------------------------------------------------------

Result<int> CountOf(const OldSetting& setting, std::string_view name) {
  const std::optional<std::int64_t> count = ParseCount(setting.value);
  if (!count || *count == 0) {
    return BadValue(setting, "a number from 1 on");
  }
  return *count > FindSetting(name)->max ? 0 : static_cast<int>(*count);  // 0 keeps all
}

void Translation::SetRetention(const char* setting, int count, ImportedLine& line) {
  const bool expires = ExpiresByItself();
  Set(line, setting, fmt::format("{}", expires ? count : 0));
  if (!expires) {
    AddRemark("0 keeps all: expire-auto is n, so pgBackRest removes nothing after a backup.", line);
  }
}

Status Translation::RetentionFullType(const std::string& value, ImportedLine& line) {
  if (value != "count" && value != "time") {
    return BadValue(*Find("repo-retention-full-type")->setting, "count or time");
  }
  AddRemark(value == "count" ? kAlways : "See repo-retention-full.", line);
  return Ok();
}

bool FitsWindow(std::int64_t days) {
  return days <=
         FindSetting("retention_window")->max / std::chrono::seconds(std::chrono::days(1)).count();
}

Status Translation::RetentionFull(const std::string&, ImportedLine& line) {
  ASSIGN_OR_RETURN(const int count,
                   CountOf(*Find("repo-retention-full")->setting, "retention_full"));
  if (Value("repo-retention-full-type").value_or("count") == "count") {
    SetRetention("retention_full", count, line);
    return Ok();
  }
  const std::int64_t days = *ParseCount(Value("repo-retention-full").value_or(""));
  SetRetention("retention_full", FitsWindow(days) ? 1 : 0, line);
  if (!FitsWindow(days)) {
    AddRemark("All full backups are kept: no window is as long.", line);
  } else {
    Set(line, "retention_window", fmt::format("{}d", days));
    AddRemark("The window keeps all full backups that it needs, and one is left in any case.",
              line);
  }
  return Ok();
}

Status Translation::RetentionDiff(const std::string&, ImportedLine& line) {
  ASSIGN_OR_RETURN(const int count,
                   CountOf(*Find("repo-retention-diff")->setting, "retention_diff"));
  SetRetention("retention_diff", count, line);
  AddRemark("Only diffs count here; pgBackRest counts full backups as well.", line);
  return Ok();
}

Status Translation::RetentionArchiveType(const std::string& value, ImportedLine& line) {
  if (value != "full" && value != "diff" && value != "incr") {
    return BadValue(*Find("repo-retention-archive-type")->setting, "full, diff or incr");
  }
  AddRemark(value == "full" ? "WAL is always counted by full backups."
                            : "WAL is counted by full backups, so more of it is kept.",
            line);
  return Ok();
}

Status Translation::RetentionArchive(const std::string&, ImportedLine& line) {
  ASSIGN_OR_RETURN(const int count,
                   CountOf(*Find("repo-retention-archive")->setting, "retention_archive"));
  SetRetention("retention_archive", count, line);
  return Ok();
}

Status Translation::ExpireAuto(const std::string&, ImportedLine& line) {
  ASSIGN_OR_RETURN(const bool yes, YesOrNo(*Find("expire-auto")->setting));
  if (IsElsewhere()) {
    AddRemark(kOfOtherFile, line);
  } else if (yes) {
    AddRemark(kAlways, line);
  } else {
    AddToDo(
        "pgBackRest removes nothing by itself, so all numbers of retention are 0 below, which "
        "keeps all. Run \"vezactl expire\" with numbers where \"pgbackrest expire\" runs now.",
        line);
  }
  return Ok();
}

Status Translation::ArchiveTimeout(const std::string& value, ImportedLine& line) {
  const std::optional<std::int64_t> seconds = ParseSeconds(value);
  if (!seconds) {
    return BadValue(*Find("archive-timeout")->setting, "a time");
  }
  Set(line, "backup_wal_timeout",
      fmt::format("{}s",
                  ClampToSetting("backup_wal_timeout", std::max<std::int64_t>(*seconds, 600))));
  AddRemark(
      "Only time in which no WAL arrives counts here, so it is not set below the default "
      "of ten minutes.",
      line);
  return Ok();
}

Status Translation::BackupStandby(const std::string& value, ImportedLine& line) {
  const OldSetting& setting = *Find("backup-standby")->setting;
  if (value != "n" && value != "y" && value != "prefer") {
    return BadValue(setting, "n, y or prefer");
  }
  Set(line, "backup_from", value == "n" ? "primary" : value == "y" ? "standby" : "prefer-standby");
  if (value != "n") {
    AddRemark("The standby does all of it; pgBackRest reads some files from the primary.", line);
  }
  return Ok();
}

// --- Line by line --------------------------------------------------------------------------------

std::string OriginOf(const OldEntry& entry) {
  const bool is_known = entry.option != nullptr;
  return ForPeople(*entry.setting, is_known, is_known && entry.option->secret);
}

bool Translation::IsOfAnotherRepository(const OldEntry& entry, ImportedLine& line) {
  if (!IsOfRepository(*entry.option) || entry.number == repository_) {
    return false;
  }
  if (repositories_said_.insert(entry.number).second) {
    AddToDo(fmt::format("A configuration has one repository: repo{} was taken (choose with "
                        "--repo). For a second copy let the store replicate the bucket.",
                        repository_),
            line);
  } else {
    AddRemark(fmt::format("See repo{} above.", entry.number), line);
  }
  return true;
}

// pgBackRest passes over it in a file, and takes it from the environment.
void AddOptionOfCommand(const OldEntry& entry, ImportedLine& line) {
  const std::string_view name = entry.option->name;
  if (entry.rank != kEnvironment) {
    AddRemark("An option of a command, and no setting.", line);
  } else if (name.starts_with("config")) {
    AddRemark(
        "It says which files pgBackRest reads. Those that were read here stand at the top; if FILE "
        "was given, this was passed over.",
        line);
  } else if (name == "stanza") {
    AddRemark("The name of the cluster, unless --stanza gives another.", line);
  } else {
    AddToDo(fmt::format("pgBackRest's commands take it from the environment. There is no such "
                        "setting here{}. Look whether something depends on it.",
                        name == "repo" ? ": choose with --repo" : ""),
            line);
  }
}

void Translation::AddWhatExpireSays(const OldEntry& entry, ImportedLine& line) const {
  const bool is_retention = std::string_view(entry.option->name).starts_with("repo-retention-");
  if (!is_retention || entry.number != repository_ || IsElsewhere() ||
      Section(entry.setting->section).command != "expire" ||
      Value(entry.option->name) == entry.setting->value) {
    return;
  }
  AddToDo(
      "After a backup pgBackRest goes by what is set for the command backup, which was taken. "
      "\"pgbackrest expire\" goes by this. Here one number counts for both: decide.",
      line);
}

bool Translation::IsPassedOver(const OldEntry& entry, ImportedLine& line) {
  if (entry.option == nullptr) {
    AddToDo("Not an option of pgBackRest 2.60, which passes over it. Is it a slip?", line);
    return true;
  }
  if (entry.option->fate == Fate::kCommandLine) {
    AddOptionOfCommand(entry, line);
    return true;
  }
  if (entry.rank == kNowhere) {
    const std::string_view name = Section(entry.setting->section).name;
    const bool counts = name == "global" || name == stanza_;
    AddRemark(counts ? "Of another command. Here a setting has one value for all of them."
                     : "Of another stanza.",
              line);
    if (counts) {
      AddWhatExpireSays(entry, line);
    }
    return true;
  }
  if (entry.option->fate != Fate::kTranslated) {
    return IsOfAnotherRepository(entry, line);
  }
  const OldEntry* const winner = in_force_.at({entry.option, entry.number});
  if (winner->setting->section != entry.setting->section) {
    AddRemark(fmt::format("Not in force: see {}.", winner->setting->source), line);
    return true;
  }
  return IsOfAnotherRepository(entry, line);
}

Status Translation::TranslateInForce(const OldEntry& entry, ImportedLine& line) {
  const OldOption& option = *entry.option;
  if (IsElsewhere() && IsOfRepository(option) && option.name != std::string_view("repo-host")) {
    AddRemark(kOfOtherFile, line);
    return Ok();
  }
  if (option.fate == Fate::kTranslated) {
    return (this->*option.translate)(entry.setting->value, line);
  }
  if (option.fate == Fate::kToDo && done_.insert(option.name).second) {
    AddToDo(option.remark, line);
  } else {
    AddRemark(option.remark, line);
  }
  return Ok();
}

Status Translation::Translate(const OldEntry& entry) {
  ImportedLine line{.origin = OriginOf(entry)};
  if (!IsPassedOver(entry, line)) {
    RETURN_IF_ERROR(TranslateInForce(entry, line));
  }
  conf_.Add(std::move(line));
  return Ok();
}

// --- What pgBackRest does where nothing is set ---------------------------------------------------

void Translation::AddDefault(std::string origin, std::string setting, std::string value,
                             std::string remark) {
  ImportedLine line{.origin = std::move(origin), .remark = std::move(remark)};
  Set(line, std::move(setting), std::move(value));
  conf_.Add(std::move(line));
}

std::string NotSet(const char* option) {
  return fmt::format("not set: {}", option);
}

Status Translation::AddDefaultsOfRepository() {
  if (!done_.contains("repository")) {
    ImportedLine line{.origin = NotSet("repo-path, /var/lib/pgbackrest by default")};
    RETURN_IF_ERROR(Repository("", line));
    conf_.Add(std::move(line));
  }
  if (IsS3() && !done_.contains("s3_endpoint")) {
    ImportedLine line{.origin = NotSet("repo-s3-endpoint")};
    RETURN_IF_ERROR(Endpoint("", line));
    conf_.Add(std::move(line));
  }
  const bool has_keys = Value("repo-s3-key-type").value_or("shared") == "shared";
  for (const char* const option : {"repo-s3-region", "repo-s3-key", "repo-s3-key-secret"}) {
    const bool is_needed = has_keys || option == std::string_view("repo-s3-region");
    if (IsS3() && is_needed && Find(option) == nullptr) {
      conf_.Add({.origin = NotSet(option),
                 .to_do = fmt::format("{} is not set, and pgBackRest requires it. Look into the "
                                      "environment of its commands.",
                                      option)});
    }
  }
  if (IsS3() && !Value("repo-s3-uri-style")) {
    AddDefault(NotSet("repo-s3-uri-style, host by default"), "s3_uri_style", "virtual-host", "");
  }
  if (!Value("repo-cipher-type")) {
    ImportedLine line{.origin = NotSet("repo-cipher-type, none by default")};
    RETURN_IF_ERROR(CipherType("none", line));
    conf_.Add(std::move(line));
  }
  const OldEntry* const full = Find("repo-retention-full");
  if (full == nullptr) {
    AddDefault(NotSet("repo-retention-full, by which pgBackRest keeps all"), "retention_full", "0",
               "All full backups are kept.");
  }
  if (!Value("repo-retention-diff")) {
    AddDefault(NotSet("repo-retention-diff"), "retention_diff", "0",
               "Diffs are kept as long as their full backup.");
  }
  AddDefault("pgBackRest has no setting for incrs", "retention_incr", "0",
             "They are kept as long as the backup that they build on.");
  if (!Value("repo-retention-archive")) {
    int count = 0;  // all
    if (full != nullptr && Value("repo-retention-full-type").value_or("count") == "count") {
      ASSIGN_OR_RETURN(count, CountOf(*full->setting, "retention_archive"));
    } else if (full != nullptr && FitsWindow(ParseCount(full->setting->value).value_or(0))) {
      count = 1;  // the window keeps what it needs
    }
    ImportedLine line{.origin =
                          NotSet("repo-retention-archive, by default that of the full backups")};
    SetRetention("retention_archive", count, line);
    conf_.Add(std::move(line));
  }
  return Ok();
}

Status Translation::AddDefaults() {
  if (!IsElsewhere()) {
    RETURN_IF_ERROR(AddDefaultsOfRepository());
    if (!Value("process-max")) {
      AddDefault(NotSet("process-max, 1 by default"), "jobs", "1", imported::kOneJob);
    }
  }
  AddSchedules("pgBackRest", conf_);
  return Ok();
}

Result<ImportedConf> Translation::Run() {
  RETURN_IF_ERROR(ChooseStanza());
  RETURN_IF_ERROR(ReadEntries());
  RETURN_IF_ERROR(ChooseRepository());
  ImportedLine cluster{.origin = fmt::format("stanza {}", stanza_)};
  if (stanza_.empty()) {
    cluster.origin = "no stanza";
    AddToDo("Give the cluster a name of its own: --stanza NAME.", cluster);
  } else {
    Set(cluster, "cluster", stanza_);
  }
  conf_.Add(std::move(cluster));
  for (const OldEntry& entry : entries_) {
    RETURN_IF_ERROR(Translate(entry));
  }
  RETURN_IF_ERROR(AddDefaults());
  return std::move(conf_);
}

}  // namespace

Result<ImportedConf> ImportPgBackRest(const OldSettings& old, const ImportOptions& options) {
  return Translation(old, options).Run();
}

std::vector<std::string_view> PgBackRestOptionNames() {
  std::vector<std::string_view> names;
  for (const OldOption& option : kOptions) {
    names.emplace_back(option.name);
  }
  return names;
}

}  // namespace veza
