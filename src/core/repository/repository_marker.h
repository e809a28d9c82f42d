// The file `veza-repository` in the data directory. It says which repository this server archives
// to.
//
// A primary creates its repository automatically when it first needs one. Once it has one, it does
// not create another: with a mistyped `repository` or `cluster` it would begin a new repository
// without a backup, and the old one would lack the WAL that goes there. Nor does it switch to
// another repository that already exists, because an old copy of its repository belongs to the same
// system and opens with the same key. An operator who has moved the repository says so once, by
// veza_backup_init(). No backup contains the file, so that a restored server may begin anew. A
// standby that pg_basebackup has made has the file, and belongs to the same repository.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/postgres/own_names.h"
#include "core/repository/repository.h"

namespace veza {

struct RepositoryMarker {
  std::string location;  // Store::location()
  std::string service;   // ServiceOf() (connect.h); empty when the file does not name it
  std::string key_id;    // empty with cipher none
  bool operator==(const RepositoryMarker&) const = default;
};

// nullopt when there is no such file. kDataCorrupted, with a hint, when its content is not a
// marker.
Result<std::optional<RepositoryMarker>> ReadRepositoryMarker(const std::string& data_directory);

// The data directory that holds the file, and what the file says that a Repository does not know.
struct MarkerPlace {
  std::string data_directory;
  std::string service;
};

// A server that has archived with a key must not switch to a repository without one: anybody who
// can write to the store can create such a repository, and a setting may be lost. Only a DBA may do
// that, by deleting the file. kFailedPrecondition for a `cipher` that would end the encryption. A
// marker that cannot be read is ignored.
Status RequireKeptEncryption(const std::string& data_directory, const std::string& location,
                             Cipher cipher);

// Writes the marker; it is durable on return. Writes nothing if the file already says the same.
// Errors as of RequireKeptEncryption().
Status MarkRepository(const MarkerPlace& place, const Repository& repository);

// For a server that has `opened` a repository of its system. kFailedPrecondition if the marker
// names another place; kConflict if it names another key at the same place. Success if there is no
// marker.
Status CompareMarker(const std::string& data_directory, const RepositoryMarker& opened);

// For a server that has opened its own repository and verified everything in it, and has created
// nothing.
// - A primary that archives writes the marker that InitialiseMarked() could not write. Errors as of
//   CompareMarker().
// - A standby has the file of the primary that it was copied from. It creates no key, and cannot
//   stop another server that does. So it follows to a new key if the location is the same, but not
//   to a repository without a key (kConflict). It creates no file.
Status KeepMarker(const std::string& data_directory, const RepositoryMarker& opened,
                  bool is_primary);

// Whether there is a marker that names this place, and following it would not end the encryption.
//
// If the marker does not name this place, a standby changes it only with a proof. Its primary may
// have moved to another repository, and a standby that was restored from a backup has no marker
// yet. The settings of the standby prove nothing, because they may be mistyped. A proof is that the
// repository holds the WAL that the standby has just replayed, unless the standby stores WAL itself
// (archive_mode = always).
Result<bool> MarkerNames(const std::string& data_directory, const RepositoryMarker& opened);
// Changes the marker. Only for a standby that has the proof.
Status MoveMarker(const std::string& data_directory, const RepositoryMarker& opened);

// To be called before a repository is created. kFailedPrecondition if the place is not initialized
// and the marker says that this server has archived before, there or elsewhere: the settings may be
// mistyped.
Status RequireUnmarkedOrMade(Store& store, bool is_encrypted, const MarkerPlace& place);

// Repository::Initialise() for a primary that does so automatically. The place that the marker
// names is not exchanged for another one, whether that one exists or not (kFailedPrecondition), nor
// its key for another at the same place (kConflict). If this call has created the repository, the
// marker names it on success; only then may WAL be acknowledged. If the repository existed already,
// failing to write the marker is no error, because archiving must go on to free a full disk.
// KeepMarker() tries again.
Result<std::unique_ptr<Repository>> InitialiseMarked(const std::shared_ptr<Store>& store,
                                                     const RepositoryOptions& options,
                                                     const Environment& environment,
                                                     const Identity& identity,
                                                     const MarkerPlace& place);

}  // namespace veza
