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

#include "core/repository/identity.h"
#include "core/repository/repository.h"

namespace veza {

// identity/…, or nothing where a new repository may be made: where nothing lies but key wraps (a
// process has ended between its wrap and its identity) and probes. kDataCorrupted, with what can be
// done, where something else lies: then the identity was lost, and perhaps the key (`encrypted`).
Result<std::vector<NamedText>> ReadIdentities(Store& store, bool encrypted);

// Whether an error of reading an object below key/ is of that object alone, and the next one may be
// a wrap all the same: it was removed since it was listed, or it is too large.
bool IsNoWrap(const Error& error);

// The key wraps of one key are gone.
Error LostKey(const Store& store, const std::string& key_id);

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
};
EntranceCopy CopyEntrance(const Repository& repository, const std::string& service);

struct EntranceLook {
  EntranceCopy copy;                  // as it is now
  std::vector<std::string> put_back;  // names of objects
};

// Opens the repository of the system. Where that fails because something of what is `held` is
// missing, puts it back and opens it again. What was held of another location or service counts for
// nothing.
// - Where nothing else lies there, nothing is put back (EmptiedRepository).
// - Where identities are gone and a wrap of another key is there, nothing is put back (kConflict).
// - An identity is put back only where that of the system is missing: that of another one may have
//   been removed on purpose.
// - A wrap is put back only where no wrap of the key is left. Who changes the passphrase removes
//   the old wrap on purpose; then it is kWrongKey, as for any passphrase that does not fit.
// - kConflict where an identity names another key than the one that is held. Nothing is written.
Result<EntranceLook> KeepEntrance(const std::shared_ptr<Store>& store, const std::string& service,
                                  const RepositoryOptions& options, const Environment& environment,
                                  std::uint64_t system_identifier,
                                  const std::optional<EntranceCopy>& held);

// For one who has written: kWrongKey when the identity of the system in the store names another key
// by now than the repository was opened with, so that nobody can open what was sealed with that. An
// identity that is missing is no error: the key is still the one of all that is there.
Status RequireKeyInPlace(const Repository& repository, std::uint64_t system_identifier);

}  // namespace veza
