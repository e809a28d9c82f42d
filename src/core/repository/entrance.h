// The entrance of a repository: its identities and the wrap of its key. Without them nothing in the
// repository can be read. They are also its oldest objects, so a rule that deletes old objects
// deletes them first.
//
// Therefore there are copies. A server that has opened its repository keeps the entrance in memory,
// checks it every few minutes and puts it back when it is missing. Each backup.json holds a copy of
// the wrap, from which `vezactl key restore` puts the entrance back (key_restore.h). And where the
// entrance is missing although the repository holds something else, no new key is made.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/codec/key.h"
#include "core/repository/identity.h"
#include "core/repository/repository.h"

namespace veza {

// Reads all identities (identity_list.h). Returns none when a new repository may be made there:
// when the store holds nothing but probes, key wraps (a process may have ended between storing its
// wrap and its identity) and foreign objects below identity/. kDataCorrupted, with a hint, when it
// holds anything else: then the identity was lost, and perhaps the key (`encrypted`).
Result<std::vector<NamedText>> ReadIdentities(Store& store, bool encrypted);

// Reads the identities in order to repair them. The text of an object that is too large to
// be an identity is empty.
Result<std::vector<NamedText>> ReadDamagedIdentities(Store& store);

// Whether an error of reading a signed document means that its content is not what was written: it
// does not parse, its signature is wrong, or it has none. False for errors of the store.
bool IsDamagedDocument(const Error& error);

// The content of an object below key/. An object that cannot be read (it is gone, too large, in an
// archive storage class, encrypted by a key that this account may not use) says nothing of the
// others: the next may be a good wrap. So its error is the inner one. The outer one is that of a
// store that does not answer, or of a cancellation: then nothing is known.
Result<Result<Bytes>> GetWrap(Store& store, const ObjectInfo& listed);
Result<Result<Bytes>> GetWrap(Store& store, std::string_view name);

struct OpenedKey {
  DataKey key;
  NamedText wrap;
};

// Unwraps the data key `key_id` with the first wrap that the passphrase opens. An object under the
// name of such a wrap that holds the wrap of another key is ignored. Errors:
// - kWrongKey: there are wraps, and all belong to other passphrases. If beside them is an object
//   that could not be tried, the message names it.
// - kDataCorrupted: there is no wrap of that key, or only damaged ones. If one that cannot be read
//   or is of an unknown version is the last of them, the error is that of this one.
Result<OpenedKey> FindKey(Store& store, const std::string& key_id, const RepositoryOptions& options,
                          const Cancellation& cancellation);

// Whether FindKey() would find a wrap that is written now. FindKey() tries only a limited number of
// wraps, the oldest first, and the new one would be the youngest.
Result<bool> HasRoomForWrap(Store& store, const std::string& key_id,
                            const RepositoryOptions& options, const Cancellation& cancellation);

// The error for a repository that is empty although this server has archived to it. Either it was
// deleted, or this is another place (for example a file system that is not mounted). Nothing may be
// written there automatically.
Error EmptiedRepository(const Store& store);

// Stores a wrap of the key under the wrap's own name. If other content has that name, under a new
// one. Returns the name.
Result<std::string> PutKeyWrap(Store& store, const std::string& key_id, const NamedText& wrap,
                               Random& random);

// A copy of the entrance, as it was when the repository was opened.
struct EntranceCopy {
  std::string location;
  std::string service;  // ServiceOf() (connect.h)
  std::vector<NamedText> identities;
  // The wrap that the passphrase has opened, and, in a copy of KeepEntrance(), those of the other
  // passphrases (WrapsToCopy() in key_wraps.h). None with cipher none.
  std::vector<NamedText> key_wraps;
  std::string key_id;  // empty with cipher none
  // The entrance was in the store at this time or later, by the store's clock.
  TimePoint seen{};
};
EntranceCopy CopyEntrance(const Repository& repository, const std::string& service,
                          TimePoint seen = {});

struct EntranceLook {
  EntranceCopy copy;                  // the entrance as it is now
  std::vector<std::string> put_back;  // names of the objects that were put back
};

// Opens the repository of the system. If that fails because something that is `held` is missing,
// puts it back and opens the repository again. `held` is ignored if it belongs to another location
// or service.
// - If all identities are missing, there must be a proof that this is the same repository: a backup
//   that the held key has signed, or a backup or WAL of this system that is older than `held.seen`.
//   Newer objects prove nothing, because a server that has not noticed the loss stores WAL in
//   whatever place it finds. Without a proof nothing is put back: kFailedPrecondition.
// - If no intact identity is left and there is a wrap of another key, nothing is put back:
//   kConflict.
// - An identity is put back only if that of this system is missing. The identity of another system
//   may have been removed on purpose. A damaged identity is replaced.
// - A wrap is put back only if there is no wrap of the key, or if the object under the wrap's name
//   is damaged (IsUnusableWrap() in key_wraps.h), whichever passphrase it is of. The latter also if
//   the repository can be opened. If the damaged object has gone right after that, the wrap is
//   taken back: RemovePassphrase() may not have seen it.
//   One that cannot be put back now stays in the copy. A change of the passphrase removes the old
//   wrap and writes a new one under a new name; then the error is kWrongKey, as for any wrong
//   passphrase.
// - kConflict, and nothing is written, if an identity names another key than the held one.
Result<EntranceLook> KeepEntrance(const std::shared_ptr<Store>& store, const std::string& service,
                                  const RepositoryOptions& options, const Environment& environment,
                                  std::uint64_t system_identifier,
                                  const std::optional<EntranceCopy>& held);

// Replaces a damaged identity, whose text is `damaged` (as ReadDamagedIdentities() has read it).
// Does nothing if the object has another text by now. Except for locks and leases, this is the only
// object that is ever overwritten: it cannot have another name, and its damaged content is of no
// use.
Status ReplaceDamagedIdentity(Store& store, const NamedText& damaged, std::string_view text);

// At most limits::kKeyWraps objects below `prefix`, oldest first by the store's time. The true wrap
// is as old as the repository. Objects that somebody adds, to waste time or to hide the true wrap,
// are younger. (A wrap that was put back or exchanged is younger, too.)
Result<FirstObjects> ListOldestWraps(Store& store, const std::string& prefix);

// Checks that the identity of the system is still in place. A writer calls it after storing and
// before acknowledging, because what it has stored can be read only with identity and key. Errors,
// besides those of the store:
// - kFailedPrecondition: there is no identity of the system. It was deleted, or this is another
//   place by now. The hint promises that it will be put back only if KeepEntrance() would do so.
// - kDataCorrupted: it is damaged. kPermissionDenied: it is not signed.
// - kWrongKey: it names another key than the repository was opened with. Then nobody could open
//   what was sealed with the old key.
Status RequireIdentityInPlace(const Repository& repository, std::uint64_t system_identifier);
// Checks that the repository itself is still there. A reader calls it after it has found that an
// object does not exist: in a directory that is no longer mounted or was moved, or in a bucket that
// was deleted, no object exists. kFailedPrecondition when there is no identity. Other errors are as
// above.
Status RequireRepositoryInPlace(const Repository& repository, std::uint64_t system_identifier);
// Checks that there is a wrap of the key that the passphrase opens. Takes one request while the
// wrap is the one by which the repository was opened. Errors are those of FindKey().
Status RequireWrapInPlace(const Repository& repository);
// Both RequireIdentityInPlace() and RequireWrapInPlace().
Status RequireKeyInPlace(const Repository& repository, std::uint64_t system_identifier);

// For a writer that has found no identity after storing `own` WAL files: whether the place holds no
// backup, and no more WAL files of the system than these. If so, they may be removed: no identity
// will ever be put back there, so nobody will acknowledge them.
Result<bool> HoldsOnlyNewWal(Store& store, std::uint64_t system_identifier, std::size_t own);

}  // namespace veza
