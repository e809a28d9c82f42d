#include "core/repository/repository_marker.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "core/codec/json.h"
#include "core/codec/json_fields.h"
#include "core/repository/entrance.h"
#include "core/storage/file_io.h"
#include "core/storage/unique_fd.h"

namespace veza {

namespace {

constexpr std::size_t kLargestMarker = 64U << 10;

std::string PathIn(const std::string& data_directory) {
  return fmt::format("{}/{}", data_directory, kRepositoryMarker);
}

constexpr const char* kIfItIsMeant =
    "Check veza_backup.repository, veza_backup.cluster and veza_backup.s3_endpoint. If this "
    "repository is the right one, run SELECT "
    "veza_backup_init() and take a full backup.";
constexpr const char* kIfItWasMoved =
    "No WAL is archived there. Check veza_backup.repository, veza_backup.cluster and "
    "veza_backup.s3_endpoint. If the change is intended, because the repository was moved or its "
    "endpoint was renamed, run SELECT veza_backup_init() and take a full backup.";

// A file that does not name the service matches every service.
bool IsSamePlace(const RepositoryMarker& a, const RepositoryMarker& b) {
  return a.location == b.location &&
         (a.service.empty() || b.service.empty() || a.service == b.service);
}

std::string PlaceName(const RepositoryMarker& place, bool with_service) {
  return with_service ? fmt::format("\"{}\" at {}", place.location, place.service)
                      : fmt::format("\"{}\"", place.location);
}

Error OtherPlace(const RepositoryMarker& marker, const RepositoryMarker& opened) {
  const bool is_other_service = marker.location == opened.location;
  return MakeError(ErrorCode::kFailedPrecondition,
                   "repository {} is not the one that this server archives to, which is {}",
                   PlaceName(opened, is_other_service), PlaceName(marker, is_other_service))
      .WithHint(kIfItWasMoved);
}

Error Elsewhere(const Store& store, const RepositoryMarker& marker, const std::string& service) {
  if (IsSamePlace(marker, {store.location(), service, ""})) {
    return EmptiedRepository(store);
  }
  const bool is_other_service = marker.location == store.location();
  return MakeError(ErrorCode::kFailedPrecondition,
                   "repository {} is not initialized, and this server has archived to {} before",
                   PlaceName({store.location(), service, ""}, is_other_service),
                   PlaceName(marker, is_other_service))
      .WithHint(kIfItIsMeant);
}

constexpr const char* kIfNoKeyIsMeant =
    "Somebody may have forged the identity, or settings were lost. Set veza_backup.cipher and the "
    "passphrase as they were. Only if nothing is to be encrypted from now on, delete the file "
    "\"veza-repository\" in the data directory, run SELECT veza_backup_init() and take a full "
    "backup.";

Error OtherKey(const RepositoryMarker& marker, const RepositoryMarker& opened) {
  return MakeError(ErrorCode::kConflict,
                   "repository \"{}\" has {} now, but this server has archived to it with {}",
                   opened.location, KeyInWords(opened.key_id), KeyInWords(marker.key_id))
      .WithHint(opened.key_id.empty()
                    ? kIfNoKeyIsMeant
                    : "Another server has created a new key there; see \"When identity or key were "
                      "deleted\" in docs/backups.md. To continue with the new key, run SELECT "
                      "veza_backup_init() and take a full backup.");
}

// Anybody who can write to the store can create a repository that needs no key. Therefore no server
// goes from a repository with a key to one without a key automatically, nor by veza_backup_init().
bool WouldEndEncryption(const std::optional<RepositoryMarker>& marker, const std::string& key_id) {
  return marker && !marker->key_id.empty() && key_id.empty();
}

Status WriteMarker(const std::string& data_directory, const RepositoryMarker& marker) {
  Json document{{"location", ValidUtf8(marker.location)}, {"key_id", marker.key_id}};
  if (!marker.service.empty()) {
    document["service"] = ValidUtf8(marker.service);
  }
  return ReplaceTextFile(PathIn(data_directory), document.Print(2) + "\n");
}

RepositoryMarker MarkerOf(const MarkerPlace& place, const Repository& repository) {
  return {repository.store().location(), place.service, repository.identities().front().key_id};
}

Status Compare(const std::optional<RepositoryMarker>& marker, const RepositoryMarker& opened) {
  if (!marker) {
    return Ok();
  }
  if (!IsSamePlace(*marker, opened)) {
    return OtherPlace(*marker, opened);
  }
  return marker->key_id == opened.key_id ? Ok() : OtherKey(*marker, opened);
}

Error Unreadable(const char* operation, const std::string& path, int error_number) {
  return ErrnoError(error_number, fmt::format("could not {} file \"{}\"", operation, path))
      .WithHint(
          "The file says which repository this server archives to. Allow the server's account to "
          "read it. If it is not a regular file, remove it; SELECT veza_backup_init() then writes "
          "it again.");
}

}  // namespace

Result<std::optional<RepositoryMarker>> ReadRepositoryMarker(const std::string& data_directory) {
  const std::string path = PathIn(data_directory);
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    if (errno == ENOENT) {
      return std::optional<RepositoryMarker>();
    }
    return Unreadable("open", path, errno);
  }
  // A small regular file is read completely by one read().
  std::string text(kLargestMarker, '\0');
  const ssize_t bytes = read(file.get(), text.data(), text.size());
  if (bytes < 0) {
    return Unreadable("read", path, errno);
  }
  text.resize(static_cast<std::size_t>(bytes));
  RepositoryMarker marker;
  const Json document = ParseJsonObject(text).value_or(Json());
  JsonFields fields(document, path);
  fields.Read("location", marker.location);
  fields.Read("key_id", marker.key_id);
  if (fields.Has("service")) {
    fields.Read("service", marker.service);
  }
  if (Status status = fields.status(); !status) {
    return std::move(status.error())
        .WithHint(
            "The file says which repository this server archives to. SELECT veza_backup_init() "
            "writes it again.");
  }
  return std::optional(std::move(marker));
}

Status RequireKeptEncryption(const std::string& data_directory, const std::string& location,
                             Cipher cipher) {
  const auto marker = ReadRepositoryMarker(data_directory);
  // A marker that cannot be read is ignored, and written anew.
  if (cipher != Cipher::kNone || !marker || !WouldEndEncryption(*marker, "")) {
    return Ok();
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "repository \"{}\" would not be encrypted, but this server has archived to "
                   "\"{}\" with {}",
                   location, (*marker)->location, KeyInWords((*marker)->key_id))
      .WithHint(kIfNoKeyIsMeant);
}

Status MarkRepository(const MarkerPlace& place, const Repository& repository) {
  RETURN_IF_ERROR(RequireKeptEncryption(place.data_directory, repository.store().location(),
                                        repository.options().cipher));
  const RepositoryMarker marker = MarkerOf(place, repository);
  const auto present = ReadRepositoryMarker(place.data_directory);
  return present && *present == marker ? Ok() : WriteMarker(place.data_directory, marker);
}

Status CompareMarker(const std::string& data_directory, const RepositoryMarker& opened) {
  ASSIGN_OR_RETURN(const std::optional<RepositoryMarker> marker,
                   ReadRepositoryMarker(data_directory));
  return Compare(marker, opened);
}

Status KeepMarker(const std::string& data_directory, const RepositoryMarker& opened,
                  bool is_primary) {
  ASSIGN_OR_RETURN(const std::optional<RepositoryMarker> marker,
                   ReadRepositoryMarker(data_directory));
  if (is_primary) {
    RETURN_IF_ERROR(Compare(marker, opened));
  } else if (!marker || marker->location != opened.location) {
    return Ok();
  } else if (WouldEndEncryption(marker, opened.key_id)) {
    return OtherKey(*marker, opened);
  }
  return marker == opened ? Ok() : WriteMarker(data_directory, opened);
}

Result<bool> MarkerNames(const std::string& data_directory, const RepositoryMarker& opened) {
  ASSIGN_OR_RETURN(const std::optional<RepositoryMarker> marker,
                   ReadRepositoryMarker(data_directory));
  return marker && IsSamePlace(*marker, opened) && !WouldEndEncryption(marker, opened.key_id);
}

Status MoveMarker(const std::string& data_directory, const RepositoryMarker& opened) {
  return WriteMarker(data_directory, opened);
}

Status RequireUnmarkedOrMade(Store& store, bool is_encrypted, const MarkerPlace& place) {
  ASSIGN_OR_RETURN(const std::optional<RepositoryMarker> marker,
                   ReadRepositoryMarker(place.data_directory));
  if (!marker) {
    return Ok();
  }
  ASSIGN_OR_RETURN(const std::vector<NamedText> identities, ReadIdentities(store, is_encrypted));
  return identities.empty() ? Status(Elsewhere(store, *marker, place.service)) : Ok();
}

Result<std::unique_ptr<Repository>> InitialiseMarked(const std::shared_ptr<Store>& store,
                                                     const RepositoryOptions& options,
                                                     const Environment& environment,
                                                     const Identity& identity,
                                                     const MarkerPlace& place) {
  ASSIGN_OR_RETURN(const std::optional<RepositoryMarker> marker,
                   ReadRepositoryMarker(place.data_directory));
  ASSIGN_OR_RETURN(const std::vector<NamedText> identities,
                   ReadIdentities(*store, options.cipher != Cipher::kNone));
  const bool was_made = !identities.empty();
  if (marker && !was_made) {
    return Elsewhere(*store, *marker, place.service);
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Repository> repository,
                   Repository::Initialise(store, options, environment, identity, false));
  RETURN_IF_ERROR(Compare(marker, MarkerOf(place, *repository)));
  const Status marked = MarkRepository(place, *repository);
  if (!was_made) {
    RETURN_IF_ERROR(marked);
  }
  return repository;
}

}  // namespace veza
