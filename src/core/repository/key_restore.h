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
  // Which key, where backups of several lie in the repository.
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
};

// Looks for wraps in `wrap`, below key/ and in every backup.json, and takes those that the
// passphrase opens. Of each source only so many are tried (limits::kKeyWrapsTried); an error says
// when there were more. Of their keys the one is chosen that the identities name, or else the only
// one that fits a backup.json, or the WAL of `server`. Then writes what is missing, the wrap first,
// each "only if absent": nothing that is good is overwritten, and it decides. What is damaged, or
// is the wrap of another key, counts as missing: a wrap is put beside it, an identity in its place.
//
// Errors: kNotFound (no copy that the passphrase opens, no backup that tells to whom it belongs),
// kConflict (what is there contradicts the wish, or several keys come into question).
Result<KeyRestoreReport> RestoreKey(const std::shared_ptr<Store>& store,
                                    const RepositoryOptions& options,
                                    const Environment& environment,
                                    const KeyRestoreRequest& request);

}  // namespace veza
