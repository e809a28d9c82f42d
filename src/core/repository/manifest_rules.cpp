#include "core/repository/manifest_rules.h"

#include <fmt/format.h>
#include <linux/limits.h>

#include <algorithm>
#include <string>
#include <utility>
#include <variant>

#include "core/postgres/data_directory.h"
#include "core/postgres/own_names.h"

namespace veza {

namespace {

constexpr std::string_view kControlFile = "global/pg_control";
constexpr std::string_view kTablespaces = "pg_tblspc";
constexpr std::string_view kWal = "pg_wal";

// The files that a restore writes, whether or not the backup contains them.
constexpr std::array<std::string_view, 8> kFilesOfRestore = {
    kControlFile,      "backup_label",   "tablespace_map",      "postgresql.auto.conf",
    "recovery.signal", "standby.signal", kRecoverySettingsFile, kDirectoryNote};

constexpr const char* kHint =
    "The backup is damaged, or somebody has changed it. Restore another backup.";

std::string_view ParentOf(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? "" : path.substr(0, slash);
}

std::string_view LastPart(std::string_view path) {
  return path.substr(path.rfind('/') + 1);
}

std::string PathOf(const Tablespace& tablespace) {
  return fmt::format("{}/{}", kTablespaces, tablespace.oid);
}

// The path as it is quoted in messages: shortened to the longest file name.
std::string_view Shown(std::string_view path) {
  return path.substr(0, std::size_t{NAME_MAX});
}

}  // namespace

bool CanBeInBackup(std::string_view path, bool is_directory) {
  if (path.empty()) {
    return is_directory;  // the data directory itself
  }
  const std::string_view name = LastPart(path);
  const std::string_view parent = ParentOf(path);
  if (path.size() >= PATH_MAX || name.size() > NAME_MAX) {
    return false;
  }
  if (IsEmptiedDirectory(LastPart(parent)) || path == kUnfinishedMarker ||
      path == kUnfinishedControlFile) {
    return false;
  }
  if (is_directory ? std::ranges::find(kFilesOfRestore, path) != kFilesOfRestore.end()
                   : path == kWal || path == kTablespaces) {
    return false;
  }
  if (path.starts_with("pg_wal/")) {
    return is_directory && (path == "pg_wal/archive_status" || path == "pg_wal/summaries");
  }
  return path == "backup_label" || path == "tablespace_map" || !IsExcludedName(name);
}

ManifestRules::ManifestRules(const BackupSummary& backup) : backup_(backup) {
  directories_.insert(KeyOf(""));
  for (const Tablespace& tablespace : backup.tablespaces) {
    directories_.insert(KeyOf(PathOf(tablespace)));
  }
}

ManifestRules::Key ManifestRules::KeyOf(std::string_view path) const {
  sha256_.Update(AsBytes(path));
  const Sha256Digest digest = sha256_.Finish();
  Key key{};
  std::copy_n(digest.begin(), key.size(), key.begin());
  return key;
}

Error ManifestRules::Misplaced(std::string_view path) const {
  return MakeError(ErrorCode::kDataCorrupted,
                   "the manifest of backup \"{}\" contains \"{}\", which no backup can contain",
                   backup_.label, Shown(path))
      .WithHint(kHint);
}

// Whether a restore creates this file itself: its claim on the location of a tablespace.
bool ManifestRules::IsClaim(std::string_view path) const {
  return LastPart(path) == kClaim &&
         std::ranges::any_of(backup_.tablespaces, [&](const Tablespace& tablespace) {
           return ParentOf(path) == PathOf(tablespace);
         });
}

Status ManifestRules::TakePath(std::string_view path, bool is_directory) {
  if (!CanBeInBackup(path, is_directory) || IsClaim(path) ||
      !directories_.contains(KeyOf(ParentOf(path)))) {
    return Misplaced(path);
  }
  const Key key = KeyOf(path);
  const bool is_place = directories_.contains(key);
  if (!named_.insert(key).second || (is_place && !is_directory)) {
    return MakeError(ErrorCode::kDataCorrupted, "the manifest of backup \"{}\" has \"{}\" twice",
                     backup_.label, Shown(path))
        .WithHint(kHint);
  }
  if (is_directory) {
    directories_.insert(key);
  }
  return Ok();
}

Status ManifestRules::Take(const ManifestRecord& record) {
  if (const auto* directory = std::get_if<DirectoryRecord>(&record)) {
    return TakePath(directory->path, true);
  }
  const auto* file = std::get_if<FileRecord>(&record);
  if (file == nullptr) {
    return Ok();
  }
  RETURN_IF_ERROR(TakePath(file->path, false));
  ++files_;
  // A hole takes no space in the repository. Without this check, a few bytes could create files of
  // any size.
  if (file->size > backup_.size - size_) {
    return MakeError(
               ErrorCode::kDataCorrupted,
               "the files in the manifest of backup \"{}\", up to \"{}\", have more than the {} "
               "bytes that backup.json says",
               backup_.label, Shown(file->path), backup_.size)
        .WithHint(kHint);
  }
  size_ += file->size;
  return Ok();
}

Status ManifestRules::Finish() const {
  if (size_ != backup_.size || files_ != backup_.files) {
    return MakeError(ErrorCode::kDataCorrupted,
                     "the manifest of backup \"{}\" has {} files of {} bytes, but backup.json says "
                     "{} files of {} bytes",
                     backup_.label, files_, size_, backup_.files, backup_.size)
        .WithHint(kHint);
  }
  const auto lacks = [this](std::string_view path) {
    return MakeError(ErrorCode::kDataCorrupted,
                     "the manifest of backup \"{}\" does not contain \"{}\"", backup_.label, path)
        .WithHint(kHint);
  };
  if (!named_.contains(KeyOf(kControlFile))) {
    return lacks(kControlFile);
  }
  if (!backup_.tablespaces.empty() && !directories_.contains(KeyOf(kTablespaces))) {
    return lacks(kTablespaces);
  }
  return Ok();
}

Status ReadWithRules(const Repository& repository, const BackupSummary& backup,
                     const ManifestVisitor& visit) {
  ManifestRules rules(backup);
  RETURN_IF_ERROR(ReadManifest(repository, backup, [&](ManifestRecord&& record) -> Status {
    RETURN_IF_ERROR(rules.Take(record));
    return visit(std::move(record));
  }));
  return rules.Finish();
}

}  // namespace veza
