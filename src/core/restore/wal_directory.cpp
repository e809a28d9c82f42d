#include "core/restore/wal_directory.h"

#include <filesystem>
#include <system_error>

#include "core/restore/existing_directory.h"
#include "core/restore/overlap.h"
#include "core/storage/file_io.h"

namespace veza {

namespace {

namespace fs = std::filesystem;

constexpr const char* kSayWhere =
    "Choose the directory for WAL with --waldir. Nothing was written.";

// Where the target's link pg_wal leads. Empty when pg_wal is not a link.
Result<std::string> LinkedDirectory(const std::string& link) {
  std::error_code error;
  if (!fs::is_symlink(fs::symlink_status(link, error))) {
    return "";
  }
  const fs::path directory = fs::canonical(link, error);
  if (error || !fs::is_directory(directory, error)) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "symbolic link \"{}\" leads to \"{}\", which is not a directory", link,
                     TextOfLink(link))
        .WithHint(kSayWhere);
  }
  return directory.string();
}

Status RequireApart(const std::string& directory, const std::string& target,
                    const std::vector<Tablespace>& tablespaces) {
  const auto overlaps = [&](const std::string& other) -> Status {
    if (!Overlap(directory, other)) {
      return Ok();
    }
    return MakeError(
               ErrorCode::kInvalidArgument,
               "WAL directory \"{}\" and \"{}\" are the same directory, or one contains the other",
               directory, other)
        .WithHint(kSayWhere);
  };
  RETURN_IF_ERROR(overlaps(target));
  for (const Tablespace& tablespace : tablespaces) {
    RETURN_IF_ERROR(overlaps(tablespace.path));
  }
  return Ok();
}

}  // namespace

Result<WalDirectory> PlaceWal(const std::string& target, const std::string& wanted,
                              const std::vector<Tablespace>& tablespaces, bool delta) {
  const std::string link = target + "/pg_wal";
  Result<std::string> linked = LinkedDirectory(link);
  if (!linked && (wanted.empty() || !delta)) {
    return std::move(linked.error());
  }
  WalDirectory wal;
  wal.path = wanted.empty() ? *linked : wanted;
  if (wal.path.empty()) {
    return wal;
  }
  std::error_code error;
  wal.is_linked = linked && !linked->empty() && fs::equivalent(*linked, wal.path, error);
  if (!wal.is_linked && linked && !linked->empty() && !delta) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "symbolic link \"{}\" leads to \"{}\", not to \"{}\"", link, *linked, wal.path)
        .WithHint("Remove the link, or leave out --waldir. Nothing was written.");
  }
  RETURN_IF_ERROR(RequireApart(wal.path, target, tablespaces));
  ASSIGN_OR_RETURN(const bool empty, IsEmptyDirectory(wal.path));
  // An interrupted restore may have left a claim, but not yet a link.
  const bool may_be_own = wal.is_linked || IsClaimedBy(target, wal.path);
  if (!empty && !(delta && may_be_own)) {
    return MakeError(ErrorCode::kFailedPrecondition, "directory \"{}\" is not empty", wal.path)
        .WithHint("WAL needs a directory of its own. Nothing was written.");
  }
  return wal;
}

}  // namespace veza
