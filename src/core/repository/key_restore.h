// Puts the entrance of a repository (entrance.h) back from whatever is left. `vezactl key restore`
// uses it, and veza_backup_init(), because a running server knows what no backup tells.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/repository/identity.h"
#include "core/repository/repository.h"

namespace veza {

struct KeyRestoreRequest {
  // The text of a key wrap from outside the repository: an exported copy, or an older version of
  // the object.
  std::optional<std::string> wrap{};
  // The key to restore. Needed if the repository holds data of several keys, or if an identity
  // names a key of which there is no copy.
  std::optional<std::string> key_id{};
  // The identity that a running server gives itself. It is written if the repository holds WAL or
  // backups of that system and no backup tells its identity.
  std::optional<Identity> server{};
  // Put the wrap of this passphrase back although the key has signed wraps of others that are in
  // place. Somebody may have removed the passphrase on purpose.
  bool even_if_removed = false;
  bool dry_run = false;
};

struct KeyRestoreReport {
  std::string key_id;  // empty with cipher none
  std::string source;  // where the wrap comes from, in words; empty when none had to be written
  // Names of the objects; with dry_run, of those that would be written.
  std::vector<std::string> written;
  // Whether the wrap that was given holds this key, and the passphrase opens it. nullopt: none was.
  std::optional<bool> given_fits;
  std::vector<std::string> backups;    // labels of the backups that the key fits
  std::vector<std::string> unfitting;  // labels of the other backups
  // The WAL objects that were tested (key_evidence.h) and that the key does not open.
  std::vector<std::string> unfitting_wal;
};

// Looks for wraps in `wrap`, below key/ and in every backup.json, and keeps those that the
// passphrase opens. At most limits::kKeyWrapsTried of each source are tried; if there were more, an
// error says so. Each key that is found is compared with the repository: it fits the identities and
// backup.json that it has signed, and the WAL that it has sealed. The key is then chosen:
// - `key_id`, if that key fits anything and no other key has signed an identity.
// - Otherwise the key that has signed the identities, or else the only one that fits anything.
// - An identity that names a key without a copy cannot be verified, but may still be true. Then the
//   caller has to choose by `key_id`.
//
// Then a plan of what is missing is made, without writing anything. A dry run ends here. The wrap
// is written first, and each object only if it does not exist. No intact object is overwritten. An
// object that is damaged, or holds the wrap of another key, counts as missing: a wrap is written
// beside it, and an identity replaces it. Nothing is written if the plan would not make the
// repository open.
//
// Errors: kNotFound (the passphrase opens no copy, or no backup tells which cluster the repository
// belongs to), kConflict (the repository contradicts `key_id`, several keys are possible, or the
// passphrase may have been removed on purpose),
// kFailedPrecondition (the cipher does not match), kDataCorrupted (an identity is damaged and no
// backup tells its content), kWrongKey (there are too many wraps of other passphrases for another
// one to be found).
Result<KeyRestoreReport> RestoreKey(const std::shared_ptr<Store>& store,
                                    const RepositoryOptions& options,
                                    const Environment& environment,
                                    const KeyRestoreRequest& request);

}  // namespace veza
