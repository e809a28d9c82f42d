// The file `veza-repository` in the data directory: which repository this server archives to.
//
// A primary makes its repository by itself, on first use. Once it has one, it does not make
// another: a mistyped `repository` or `cluster` would begin a new one, without a backup, and take
// WAL there that the old one then lacks. Nor does it go on in one that is there already: an old
// copy of the repository belongs to the same system and opens with the same key. The operator who
// has moved it says so once, by veza_backup_init(). No backup holds the file, so that a restored
// server may begin anew; a standby made by pg_basebackup has it, and belongs to the same
// repository.
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
  std::string service;   // ServiceOf() (connect.h); empty where a file does not say it
  std::string key_id;    // empty with cipher none
  bool operator==(const RepositoryMarker&) const = default;
};

// Nothing: there is none. kDataCorrupted, with what can be done, for what is none.
Result<std::optional<RepositoryMarker>> ReadRepositoryMarker(const std::string& data_directory);

// Where the file lies, and what it says that no Repository knows.
struct MarkerPlace {
  std::string data_directory;
  std::string service;
};

// A server that has archived with a key goes to a repository without one only by a DBA who has
// deleted the file: who can write to the store can make such a repository, and a setting may be
// lost. kFailedPrecondition for a `cipher` that would. What cannot be read says nothing.
Status RequireKeptEncryption(const std::string& data_directory, const std::string& location,
                             Cipher cipher);

// Durable when it returns; writes nothing where the file says so already. Errors as of
// RequireKeptEncryption().
Status MarkRepository(const MarkerPlace& place, const Repository& repository);

// For one who has `opened` a repository of this system: kFailedPrecondition where the file names
// another place, kConflict where it names another key at the same one. Without a file all is well.
Status CompareMarker(const std::string& data_directory, const RepositoryMarker& opened);

// For one who has opened the server's own repository, with everything in it verified, and has made
// nothing.
// - A primary that archives writes what InitialiseMarked() could not write. kConflict as above.
// - A standby has the file of the primary that it was copied from. It makes no key and stops no
//   other that does: it follows, where the location is the same, but not out of encryption
//   (kConflict). It writes no file anew.
// Errors as of CompareMarker().
Status KeepMarker(const std::string& data_directory, const RepositoryMarker& opened,
                  bool is_primary);

// Whether there is a marker and it names this place, and no key where there is none.
//
// Where it does not, a standby writes it only with a proof: its primary may have been moved to
// another repository, and a standby that was restored from a backup has no marker yet. That the
// settings of the standby name the repository proves nothing: they may be mistyped. That the WAL
// which the standby has just replayed is in there is a proof, unless the standby stores WAL itself
// (archive_mode = always).
Result<bool> MarkerNames(const std::string& data_directory, const RepositoryMarker& opened);
// For a standby that has the proof.
Status MoveMarker(const std::string& data_directory, const RepositoryMarker& opened);

// For whoever would write into a place that nobody has initialised: kFailedPrecondition where the
// file says that this server has archived before, there or elsewhere. The settings may be mistyped.
Status RequireUnmarkedOrMade(Store& store, bool is_encrypted, const MarkerPlace& place);

// As Repository::Initialise(), for a primary on its own account: what the marker says is not left
// for another repository (kFailedPrecondition), made or not, or, at the same place, for another
// key (kConflict). After a success with a repository that it has made the marker names it; only
// then may WAL be acknowledged. Where the repository was there already, a marker that cannot be
// written is no error: archiving is what frees a full disk. KeepMarker() tries again.
Result<std::unique_ptr<Repository>> InitialiseMarked(const std::shared_ptr<Store>& store,
                                                     const RepositoryOptions& options,
                                                     const Environment& environment,
                                                     const Identity& identity,
                                                     const MarkerPlace& place);

}  // namespace veza
