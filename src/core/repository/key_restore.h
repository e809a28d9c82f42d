// Puts the entrance of a repository back (entrance.h) from what else there is: `vezactl key
// restore`, and veza_backup_init() where a server knows what no backup tells.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/repository/identity.h"
#include "core/repository/repository.h"

namespace veza {

struct KeyRestoreRequest {
  // The text of a key wrap from elsewhere: a copy that somebody has exported, or an older version
  // of the object.
  std::optional<std::string> wrap{};
  // Which key, where the repository holds what needs several, or an identity names one of which
  // there is no copy.
  std::optional<std::string> key_id{};
  // What a running server says of itself. Written when the repository holds WAL or backups of that
  // system, and none of the backups says it.
  std::optional<Identity> server{};
  bool dry_run = false;
};

struct KeyRestoreReport {
  std::string key_id;                  // empty with cipher none
  std::string source;                  // of the wrap, in words; empty when none had to be written
  std::vector<std::string> written;    // names of objects; with dry_run: that would be written
  std::vector<std::string> backups;    // labels of those that the key fits
  std::vector<std::string> unfitting;  // of the others
  // Objects among the WAL files that were looked at (key_evidence.h) which the key does not open.
  std::vector<std::string> unfitting_wal;
};

// Looks for wraps in `wrap`, below key/ and in every backup.json, and takes those that the
// passphrase opens. Of each source only so many are tried (limits::kKeyWrapsTried); an error says
// when there were more. Each of their keys is held against what is there: a key fits an identity
// and a backup.json that it has signed, and WAL that it has sealed.
// - `key_id` decides, if that key fits anything, and no identity is signed by another one.
// - Otherwise the key is chosen that has signed the identities, or else the only one that fits.
// - An identity that names a key of which there is no copy authenticates nothing. It may be true
// all
//   the same: beside it somebody has to choose.
// Then what is missing is planned, and written: the wrap first, each "only if absent". Nothing that
// is good is overwritten. What is damaged, or is the wrap of another key, counts as missing: a wrap
// is put beside it, an identity in its place. The plan is made without writing, and a dry run ends
// there. Nothing is written where what was planned would not open the repository.
//
// Errors: kNotFound (no copy that the passphrase opens, no backup that tells to whom it belongs),
// kConflict (what is there contradicts the wish, or several keys come into question),
// kFailedPrecondition (the cipher is another one), kDataCorrupted (an identity is damaged of which
// no backup tells), kWrongKey (so many wraps for another passphrase that one more is not found).
Result<KeyRestoreReport> RestoreKey(const std::shared_ptr<Store>& store,
                                    const RepositoryOptions& options,
                                    const Environment& environment,
                                    const KeyRestoreRequest& request);

}  // namespace veza
