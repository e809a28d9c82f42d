#include "core/repository/repository_marker.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/codec/json.h"
#include "core/exposition.h"
#include "core/repository/entrance.h"
#include "core/repository/json_fields.h"
#include "core/storage/unique_fd.h"

namespace veza {

namespace {

constexpr std::size_t kLargestMarker = 64U << 10;

std::string PathIn(const std::string& data_directory) {
  return fmt::format("{}/{}", data_directory, kRepositoryMarker);
}

constexpr const char* kIfItIsMeant =
    "Check veza_backup.repository and veza_backup.cluster. If it is meant, run SELECT "
    "veza_backup_init() and take a full backup.";

Error Elsewhere(const Store& store, const RepositoryMarker& marker) {
  if (marker.location == store.location()) {
    return MakeError(ErrorCode::kFailedPrecondition,
                     "repository \"{}\" is empty, but this server has archived to it before",
                     store.location())
        .WithHint(
            "Something has deleted all of it, or the credentials are those of another place. If it "
            "is meant, run SELECT veza_backup_init() and take a full backup.");
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "repository \"{}\" is not initialized, and this server has archived to \"{}\" "
                   "before",
                   store.location(), marker.location)
      .WithHint(kIfItIsMeant);
}

Error OtherKey(const Store& store, const RepositoryMarker& marker, const std::string& key_id) {
  return MakeError(ErrorCode::kConflict,
                   "repository \"{}\" has key \"{}\" now, but this server has archived to it with "
                   "key \"{}\"",
                   store.location(), key_id, marker.key_id)
      .WithHint(
          "Another server has made a new key there: see the chapter on a lost key in README.md. To "
          "go "
          "on with the new one, run SELECT veza_backup_init() and take a full backup.");
}

RepositoryMarker MarkerOf(const Repository& repository) {
  return {repository.store().location(), repository.identities().front().key_id};
}

}  // namespace

Result<std::optional<RepositoryMarker>> ReadRepositoryMarker(const std::string& data_directory) {
  const std::string path = PathIn(data_directory);
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    if (errno == ENOENT) {
      return std::optional<RepositoryMarker>();
    }
    return ErrnoError(errno, fmt::format("could not open file \"{}\"", path));
  }
  // Of a small regular file, one read gives all.
  std::string text(kLargestMarker, '\0');
  const ssize_t bytes = read(file.get(), text.data(), text.size());
  if (bytes < 0) {
    return ErrnoError(errno, fmt::format("could not read file \"{}\"", path));
  }
  text.resize(static_cast<std::size_t>(bytes));
  RepositoryMarker marker;
  const nlohmann::json document = ParseJsonObject(text).value_or(nlohmann::json());
  JsonFields fields(document, path);
  fields.Read("location", marker.location);
  fields.Read("key_id", marker.key_id);
  if (Status status = fields.status(); !status) {
    return std::move(status.error())
        .WithHint(
            "The file says to which repository this server archives. SELECT veza_backup_init() "
            "writes "
            "it anew.");
  }
  return std::optional(std::move(marker));
}

Status MarkRepository(const std::string& data_directory, const Repository& repository) {
  const RepositoryMarker marker = MarkerOf(repository);
  const auto present = ReadRepositoryMarker(data_directory);
  if (present && *present == marker) {
    return Ok();
  }
  const nlohmann::json document{{"location", ValidUtf8(marker.location)},
                                {"key_id", marker.key_id}};
  return ReplaceTextFile(PathIn(data_directory), document.dump(2) + "\n");
}

Result<std::unique_ptr<Repository>> InitialiseMarked(const std::shared_ptr<Store>& store,
                                                     const RepositoryOptions& options,
                                                     const Environment& environment,
                                                     const Identity& identity,
                                                     const std::string& data_directory) {
  ASSIGN_OR_RETURN(const std::optional<RepositoryMarker> marker,
                   ReadRepositoryMarker(data_directory));
  if (marker) {
    ASSIGN_OR_RETURN(const std::vector<NamedText> identities,
                     ReadIdentities(*store, options.cipher != Cipher::kNone));
    if (identities.empty()) {
      return Elsewhere(*store, *marker);
    }
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Repository> repository,
                   Repository::Initialise(store, options, environment, identity, false));
  const RepositoryMarker now = MarkerOf(*repository);
  if (marker && marker->location == now.location && marker->key_id != now.key_id) {
    return OtherKey(*store, *marker, now.key_id);
  }
  RETURN_IF_ERROR(MarkRepository(data_directory, *repository));
  return repository;
}

}  // namespace veza
