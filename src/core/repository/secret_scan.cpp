#include "core/repository/secret_scan.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <memory>
#include <utility>

#include "core/config/conf_lexer.h"
#include "core/config/placeholder.h"
#include "core/config/settings.h"
#include "core/storage/unique_fd.h"

namespace veza {

namespace {

constexpr std::size_t kPieceSize = 1U << 20;
// A value that crosses the end of a piece is found in the next one, which begins earlier by this.
constexpr std::size_t kOverlap = 4U << 10;
// Shorter ones may be anywhere by chance.
constexpr std::size_t kShortestValue = 8;

std::string_view SkipBlanks(std::string_view text) {
  return text.substr(std::min(text.find_first_not_of(" \t"), text.size()));
}

bool StartsWithIgnoringCase(std::string_view text, std::string_view lower) {
  return text.size() >= lower.size() &&
         std::equal(lower.begin(), lower.end(), text.begin(), [](char wanted, char c) {
           return wanted == std::tolower(static_cast<unsigned char>(c));
         });
}

// The value in " = value", " TO value", " 'value'" or, alone on its line, " value". A quoted one
// may be cut off by the end of what was read.
std::string ValueBehind(std::string_view rest, bool begins_line) {
  rest = SkipBlanks(rest.substr(0, rest.find('\n')));
  const bool has_sign = rest.starts_with('=') || StartsWithIgnoringCase(rest, "to ");
  if (has_sign) {
    rest = SkipBlanks(rest.substr(rest.starts_with('=') ? 1 : 3));
  }
  if (rest.starts_with('\'')) {
    ConfLexer lexer(rest);
    return lexer.Next() == ConfToken::kString ? UnquoteConfString(lexer.token_text())
                                              : std::string(rest.substr(1));
  }
  const std::size_t end = std::min(rest.find_first_of(" \t\r#;\"'"), rest.size());
  const std::size_t next = rest.find_first_not_of(" \t\r", end);
  const bool is_alone = next == std::string_view::npos || rest[next] == '#';
  // Otherwise it is a sentence or a table that names the setting.
  return has_sign || (begins_line && is_alone) ? std::string(rest.substr(0, end)) : "";
}

bool IsSecret(std::string_view value) {
  return !value.empty() && !IsPlaceholder(value) &&
         value.find_first_not_of('*') != std::string_view::npos;
}

// Behind blanks and comment signs.
bool BeginsLine(std::string_view text, std::size_t at) {
  const std::size_t before = text.substr(0, at).find_last_not_of("# \t");
  return before == std::string_view::npos || text[before] == '\n';
}

// A character that would make another word of the name before it.
bool ContinuesName(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '"';
}

// The first setting that is given a secret. Names in any case, as the server takes them.
std::optional<std::string> FindSetSecret(std::string_view text) {
  for (std::size_t at = 0; at + kSettingPrefix.size() < text.size(); ++at) {
    at = text.find_first_of("vV", at);
    if (at == std::string_view::npos) {
      return std::nullopt;
    }
    if (!StartsWithIgnoringCase(text.substr(at), kSettingPrefix)) {
      continue;
    }
    const std::string_view name = text.substr(at + kSettingPrefix.size());
    for (const SettingSpec& spec : AllSettings()) {
      const std::string_view rest =
          name.substr(std::min(name.size(), std::string_view(spec.name).size()));
      if (spec.secret && StartsWithIgnoringCase(name, spec.name) &&
          (rest.empty() || !ContinuesName(rest.front())) &&
          IsSecret(ValueBehind(rest, BeginsLine(text, at)))) {
        return fmt::format("a value of \"{}{}\"", kSettingPrefix, spec.name);
      }
    }
  }
  return std::nullopt;
}

// Of PostgreSQL 15 to 18. Others that begin with "pg_" may be people's: include_dir 'pg_conf.d'.
constexpr std::array<std::string_view, 17> kServerDirectories = {
    "base",        "global",      "pg_commit_ts", "pg_dynshmem",  "pg_logical", "pg_multixact",
    "pg_notify",   "pg_replslot", "pg_serial",    "pg_snapshots", "pg_stat",    "pg_stat_tmp",
    "pg_subtrans", "pg_tblspc",   "pg_twophase",  "pg_wal",       "pg_xact"};

std::string_view TopOf(std::string_view path) {
  return path.substr(0, path.find('/'));
}

bool IsAtTop(std::string_view path) {
  return path.find('/') == std::string_view::npos;
}

std::string_view NameOf(std::string_view path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

// Of a directory above the file.
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

// Where configuration lies as well, more may be a log: "logfile", "serverlog" of pg_ctl -l.
bool MayBeLog(std::string_view name) {
  return name.find("log") != std::string_view::npos || name.ends_with(".csv") ||
         name.ends_with(".json") || name.ends_with(".out") || name.ends_with(".err");
}

}  // namespace

SecretScan::SecretScan(std::vector<SecretString> values, std::string log_directory)
    : values_(std::move(values)), log_directory_(std::move(log_directory)) {
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

bool SecretScan::IsConfiguration(std::string_view path) const {
  const std::string_view name = NameOf(path);
  // Old copies as well: postgresql.conf.old.
  if (name.find(".conf") != std::string_view::npos ||
      AnyDirectory(path,
                   [](std::string_view directory) { return directory.ends_with("conf.d"); })) {
    return true;
  }
  return IsAtTop(path) && log_directory_ != "." && !MayBeLog(name);
}

bool SecretScan::Concerns(std::string_view path) const {
  const bool is_of_server = !IsAtTop(path) && std::ranges::find(kServerDirectories, TopOf(path)) !=
                                                  kServerDirectories.end();
  return !is_of_server && !IsLog(path);
}

std::optional<std::string> SecretScan::Find(std::string_view path, ByteView piece) const {
  if (!Concerns(path)) {
    return std::nullopt;
  }
  const std::string_view text = AsText(piece);
  if (IsConfiguration(path)) {
    if (std::optional<std::string> setting = FindSetSecret(text)) {
      return setting;
    }
  }
  for (const SecretString& value : values_) {
    if (text.find(value.text()) != std::string_view::npos) {
      return "a secret that veza_backup uses";
    }
  }
  return std::nullopt;
}

std::optional<std::string> SecretScan::FindInFile(std::string_view path,
                                                  const std::string& source_path) const {
  const UniqueFd file(open(source_path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) {
    return std::nullopt;
  }
  Bytes piece(kOverlap + kPieceSize);
  std::size_t kept = 0;
  for (;;) {
    const ssize_t got = read(file.get(), piece.data() + kept, kPieceSize);
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return std::nullopt;
    }
    const std::size_t filled = kept + static_cast<std::size_t>(got);
    if (std::optional<std::string> found = Find(path, ByteView(piece).first(filled))) {
      return found;
    }
    kept = std::min(kOverlap, filled);
    std::copy_n(piece.begin() + static_cast<std::ptrdiff_t>(filled - kept), kept, piece.begin());
  }
}

std::shared_ptr<const SecretScan> MakeSecretScan(const Config& config,
                                                 const std::string& data_directory,
                                                 const std::string& log_directory) {
  if (config.cipher != Cipher::kNone) {
    return nullptr;
  }
  std::vector<SecretString> values = {config.s3.secret_key, config.s3.session_token};
  for (const InlineSecret& secret : config.inline_secrets) {
    values.push_back(secret.value);
  }
  const std::filesystem::path top = std::filesystem::path(data_directory).lexically_normal();
  std::string logs = (top / log_directory).lexically_normal().lexically_relative(top).string();
  while (logs.ends_with('/')) {
    logs.pop_back();
  }
  return std::make_shared<const SecretScan>(std::move(values), std::move(logs));
}

Error SecretInClear(std::string_view path, std::string_view found) {
  return MakeError(ErrorCode::kFailedPrecondition,
                   "file \"{}\" holds {}, and the backup would not be encrypted", path, found)
      .WithHint(
          "Whoever can read the repository could use it. Keep secrets in files outside the data "
          "directory (veza_backup.s3_secret_key_file). Remove them here: ALTER SYSTEM RESET, or "
          "delete the line, also a comment, or the old file. Or set veza_backup.cipher. If an "
          "earlier backup holds it as well, change the secret.");
}

}  // namespace veza
