// The entrance to a repository: its identities and the wrap of its key. Without them nothing in it
// can be read, and they are the oldest objects of all, so that a rule that deletes old objects
// deletes them first.
//
// So they have copies. A server that has opened its repository keeps them in memory, looks for them
// every few minutes and puts them back. Each backup.json holds a copy of the wrap; `vezactl key
// restore` puts the entrance back from that (key_restore.h). And where they are missing although
// something else is there, nobody makes a new key.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/codec/key.h"
#include "core/repository/identity.h"
#include "core/repository/repository.h"

namespace veza {

// identity/…, or nothing where a new repository may be made: where nothing lies but key wraps (a
// process has ended between its wrap and its identity) and probes. kDataCorrupted, with what can be
// done, where something else lies: then the identity was lost, and perhaps the key (`encrypted`).
Result<std::vector<NamedText>> ReadIdentities(Store& store, bool encrypted);

// The objects below identity/ for one who mends them: of what is too large to be one the text is
// empty.
Result<std::vector<NamedText>> ReadDamagedIdentities(Store& store);

// Whether an error of reading a signed document, not of the store, means that other content lies
// there than was written: it does not parse, its signature is wrong, or it has none.
bool IsDamagedDocument(const Error& error);

// Whether an error of reading an object below key/ is of that object alone, and the next one may be
// a wrap all the same: it was removed since it was listed, or it is too large.
bool IsNoWrap(const Error& error);

struct OpenedKey {
  DataKey key;
  NamedText wrap;
};

// Unwraps the data key `key_id` with the first wrap that the passphrase opens. What lies under the
// name of its wraps and is the wrap of another key does not count. Errors: kDataCorrupted (there is
// no wrap of that key, or a damaged one), kWrongKey (only wraps for another passphrase).
Result<OpenedKey> FindKey(Store& store, const std::string& key_id, const RepositoryOptions& options,
                          const Cancellation& cancellation);

// Whether FindKey() would come to a wrap of the key that is put there now: it is the youngest, and
// only so many older ones are tried.
Result<bool> HasRoomForWrap(Store& store, const std::string& key_id,
                            const RepositoryOptions& options, const Cancellation& cancellation);

// Nothing is in the repository of a server that has archived to it: it was deleted, or this is
// another place (a file system that is not mounted). Nothing may be written there by itself.
Error EmptiedRepository(const Store& store);

// Writes a wrap of the key, under its name, or under a new one where that name holds something
// else. Returns the name.
Result<std::string> PutKeyWrap(Store& store, const std::string& key_id, const NamedText& wrap,
                               Random& random);

// The entrance, as it was when the repository was opened.
struct EntranceCopy {
  std::string location;
  std::string service;  // ServiceOf() (connect.h)
  std::vector<NamedText> identities;
  std::vector<NamedText> key_wraps;  // that the passphrase opens; none with cipher none
  std::string key_id;                // empty with cipher none
  // They were there at this time or later, by the store's clock.
  TimePoint seen{};
};
EntranceCopy CopyEntrance(const Repository& repository, const std::string& service,
                          TimePoint seen = {});

struct EntranceLook {
  EntranceCopy copy;                  // as it is now
  std::vector<std::string> put_back;  // names of objects
};

// Opens the repository of the system. Where that fails because something of what is `held` is
// missing, puts it back and opens it again. What was held of another location or service counts for
// nothing.
// - Where all identities are gone, it must be proven that this is the old place: by a backup that
//   the held key has signed, or by a backup or WAL of the system that is older than `held.seen`.
//   What was stored since then proves nothing, because a server that has not noticed yet stores WAL
//   in whatever place it finds. Without a proof nothing is put back: kFailedPrecondition.
// - Where identities are gone and a wrap of another key is there, nothing is put back (kConflict).
// - An identity is put back only where that of the system is missing: that of another one may have
//   been removed on purpose. One that is damaged is replaced.
// - A wrap is put back only where no wrap of the key is left, or other content is under its name.
//   Who changes the passphrase removes the old wrap on purpose and writes a new one under a new
//   name; then it is kWrongKey, as for any passphrase that does not fit.
// - kConflict where an identity names another key than the one that is held. Nothing is written.
Result<EntranceLook> KeepEntrance(const std::shared_ptr<Store>& store, const std::string& service,
                                  const RepositoryOptions& options, const Environment& environment,
                                  std::uint64_t system_identifier,
                                  const std::optional<EntranceCopy>& held);

// Puts a good text in the place of a damaged identity, which has the text that was read
// (ReadDamagedIdentities()); nothing where another one is there by now. The only object beside
// locks and leases that is ever overwritten: it can have no other name, and what stands there is of
// use to nobody.
Status ReplaceDamagedIdentity(Store& store, const NamedText& damaged, std::string_view text);

// At most kKeyWraps of them, the oldest first by the store's time, whatever their names: ours is as
// old as the repository, and what somebody puts beside it, to cost time or to keep it away, is
// younger, unless ours was put back or exchanged.
Result<FirstObjects> ListOldestWraps(Store& store, const std::string& prefix);

// For one who has written and is about to acknowledge it: what was stored can be read only with
// identity and key, so it counts only where they are still there. Errors, beside the store's:
// - kFailedPrecondition: there is no identity of the system. Something has deleted it, or this is
//   another place by now. The hint promises that it is put back only where KeepEntrance() would.
// - kDataCorrupted: it is damaged. kPermissionDenied: it lacks the signature.
// - kWrongKey: it names another key than the repository was opened with, so that nobody can open
//   what was sealed with that.
Status RequireIdentityInPlace(const Repository& repository, std::uint64_t system_identifier);
// For one who reads, and has found that something is not there: that means something only where the
// repository is. A directory that is not mounted any more, was moved, or a bucket that was deleted
// has no objects, either. kFailedPrecondition where there is no identity; other errors as above.
Status RequireRepositoryInPlace(const Repository& repository, std::uint64_t system_identifier);
// That a wrap of its key is there which the passphrase opens. One request as long as the wrap is
// the one that the repository was opened with. Errors as of FindKey().
Status RequireWrapInPlace(const Repository& repository);
// Both.
Status RequireKeyInPlace(const Repository& repository, std::uint64_t system_identifier);

// For one who has found no identity behind what it has stored: whether there is no backup, and no
// more WAL of the system than the `own` files that it may have stored itself. Nobody puts an
// identity back there, so nobody acknowledges what lies there, and it may be removed.
Result<bool> HoldsOnlyNewWal(Store& store, std::uint64_t system_identifier, std::size_t own);

}  // namespace veza
