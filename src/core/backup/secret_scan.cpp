#include "core/backup/secret_scan.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "core/backup/set_secret.h"
#include "core/backup/spelled_value.h"
#include "core/config/conf_parser.h"
#include "core/storage/unique_fd.h"

namespace veza {

namespace {

constexpr std::size_t kPieceSize = 1U << 20;
// Each piece begins so many bytes before the end of the last one. So a value of up to 4 KiB that
// crosses the end of a piece is found in the next one.
constexpr std::size_t kOverlap = kLongestSpelling * (4U << 10);
// Shorter values may be in any file by chance.
constexpr std::size_t kShortestValue = 8;

// The directories of PostgreSQL 15 to 18. Others whose names begin with "pg_" may be the user's:
// include_dir 'pg_conf.d'.
constexpr std::array<std::string_view, 17> kServerDirectories = {
    "base",        "global",      "pg_commit_ts", "pg_dynshmem",  "pg_logical", "pg_multixact",
    "pg_notify",   "pg_replslot", "pg_serial",    "pg_snapshots", "pg_stat",    "pg_stat_tmp",
    "pg_subtrans", "pg_tblspc",   "pg_twophase",  "pg_wal",       "pg_xact"};

// No log has one of these in its name.
constexpr std::array<std::string_view, 7> kConfigurationEndings = {".conf", ".cfg",  ".cnf", ".ini",
                                                                   ".toml", ".yaml", ".yml"};

std::string_view TopOf(std::string_view path) {
  return path.substr(0, path.find('/'));
}

bool IsAtTop(std::string_view path) {
  return path.find('/') == std::string_view::npos;
}

std::string_view NameOf(std::string_view path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

// Whether the predicate holds for the name of any directory in the path.
template <typename Predicate>
bool AnyDirectory(std::string_view path, Predicate predicate) {
  for (std::size_t slash = path.find('/'); slash != std::string_view::npos;
       slash = path.find('/')) {
    if (predicate(path.substr(0, slash))) {
      return true;
    }
    path.remove_prefix(slash + 1);
  }
  return false;
}

// "a.log", and "a.log.1" or "a.log-20261128" of logrotate.
bool HasNameOfLog(std::string_view name) {
  return name.ends_with(".log") || name.find(".log.") != std::string_view::npos ||
         name.find(".log-") != std::string_view::npos;
}

// In a directory that also has configuration, more names may be those of logs: "logfile" or
// "serverlog" of pg_ctl -l.
bool MayBeLog(std::string_view name) {
  return name.find("log") != std::string_view::npos || name.ends_with(".csv") ||
         name.ends_with(".json") || name.ends_with(".out") || name.ends_with(".err");
}

// Also old copies, such as "postgresql.conf.old".
bool HasNameOfConfiguration(std::string_view name) {
  return std::ranges::any_of(kConfigurationEndings,
                             [&](std::string_view ending) {
                               return name.find(ending) != std::string_view::npos;
                             }) ||
         // Patroni keeps the configuration of the cluster in patroni.dynamic.json.
         (name.starts_with("patroni") && name.find(".json") != std::string_view::npos);
}

bool IsNameOfConfigurationDirectory(std::string_view name) {
  return name.ends_with("conf.d") || name == "etc" || name == "conf" || name == "config";
}

std::string_view DirectoryOf(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

// The file of a customer's key may have either form.
SecretString InHexadecimal(const SecretString& base64) {
  Bytes bytes = FromBase64(base64.text()).value_or(Bytes());
  std::string text = ToHex(bytes);
  const WipeAtEnd wipe(text);
  Wipe(bytes);
  return SecretString(text);
}

}  // namespace

SecretScan::SecretScan(std::vector<SecretString> values, std::string log_directory,
                       const std::vector<std::string>& conf_files)
    : values_(std::move(values)),
      log_directory_(std::move(log_directory)),
      conf_files_(conf_files.begin(), conf_files.end()) {
  for (const std::string& file : conf_files) {
    conf_directories_.emplace(DirectoryOf(file));
  }
  std::erase_if(values_,
                [](const SecretString& value) { return value.text().size() < kShortestValue; });
}

bool SecretScan::IsLog(std::string_view path) const {
  return HasNameOfLog(NameOf(path)) ||
         AnyDirectory(path,
                      [](std::string_view name) { return name == "log" || name == "pg_log"; }) ||
         (path.size() > log_directory_.size() && path.starts_with(log_directory_) &&
          path[log_directory_.size()] == '/');
}

bool SecretScan::IsConfiguration(std::string_view path, std::string_view source_path) const {
  const std::string_view name = NameOf(path);
  if (conf_files_.contains(source_path) || HasNameOfConfiguration(name) ||
      AnyDirectory(path, IsNameOfConfigurationDirectory)) {
    return true;
  }
  const bool lies_with_it =
      IsAtTop(path) ? log_directory_ != "." : conf_directories_.contains(DirectoryOf(source_path));
  return lies_with_it && !MayBeLog(name);
}

bool SecretScan::Concerns(std::string_view path, std::string_view source_path) const {
  if (conf_files_.contains(source_path)) {
    return true;
  }
  const bool is_of_server = !IsAtTop(path) && std::ranges::find(kServerDirectories, TopOf(path)) !=
                                                  kServerDirectories.end();
  return !is_of_server && !IsLog(path);
}

std::optional<std::string> SecretScan::Find(std::string_view path, ByteView piece,
                                            std::string_view source_path) const {
  if (!Concerns(path, source_path)) {
    return std::nullopt;
  }
  const std::string_view text = AsText(piece);
  if (IsConfiguration(path, source_path)) {
    if (const std::optional<std::string> setting = FindSetSecret(text)) {
      return fmt::format("a value of \"{}\"", *setting);
    }
  }
  for (const SecretString& value : values_) {
    if (ContainsSpelled(text, value.text())) {
      return "a secret that veza_backup uses";
    }
  }
  return std::nullopt;
}

Result<std::optional<std::string>> SecretScan::FindInFile(std::string_view path,
                                                          const std::string& source_path,
                                                          const Cancellation& cancellation) const {
  const UniqueFd file(open(source_path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) {
    return std::optional<std::string>();
  }
  Bytes piece(kOverlap + kPieceSize);
  std::size_t kept = 0;
  for (;;) {
    // The file was chosen because it was short, but it may have grown since.
    RETURN_IF_ERROR(cancellation.Check());
    const ssize_t got = read(file.get(), piece.data() + kept, kPieceSize);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return std::optional<std::string>();
    }
    const std::size_t filled = kept + static_cast<std::size_t>(got);
    if (std::optional<std::string> found = Find(path, ByteView(piece).first(filled), source_path)) {
      return found;
    }
    kept = std::min(kOverlap, filled);
    std::copy_n(piece.begin() + static_cast<std::ptrdiff_t>(filled - kept), kept, piece.begin());
  }
}

std::shared_ptr<const SecretScan> MakeSecretScan(const Config& config,
                                                 const std::string& data_directory,
                                                 const std::string& log_directory,
                                                 const std::string& config_file) {
  if (config.cipher != Cipher::kNone) {
    return nullptr;
  }
  const SecretString& customer_key = config.s3.objects.customer_key.key;
  std::vector<SecretString> values = {config.s3.secret_key, config.s3.session_token,
                                      config.s3.proxy_login, customer_key,
                                      InHexadecimal(customer_key)};
  for (const InlineSecret& secret : config.inline_secrets) {
    values.push_back(secret.value);
  }
  const std::filesystem::path top = std::filesystem::path(data_directory).lexically_normal();
  std::string logs = (top / log_directory).lexically_normal().lexically_relative(top).string();
  while (logs.ends_with('/')) {
    logs.pop_back();
  }
  std::vector<std::string> conf_files =
      config_file.empty() ? std::vector<std::string>() : ListConfFiles(config_file);
  for (std::string& file : conf_files) {
    std::error_code error;
    if (const auto real = std::filesystem::canonical(file, error); !error) {
      file = real.string();
    }
  }
  return std::make_shared<const SecretScan>(std::move(values), std::move(logs), conf_files);
}

Error SecretInClear(std::string_view path, std::string_view found) {
  return MakeError(ErrorCode::kFailedPrecondition,
                   "file \"{}\" holds {}, and the backup would not be encrypted", path, found)
      .WithHint(
          "Anybody who can read the repository could use it. Keep secrets in files outside the "
          "data directory (veza_backup.s3_secret_key_file), and remove this one: run ALTER SYSTEM "
          "RESET, or delete the line, even if it is a comment, or the old file. Or set "
          "veza_backup.cipher. If an earlier backup holds the secret as well, change it.");
}

}  // namespace veza
