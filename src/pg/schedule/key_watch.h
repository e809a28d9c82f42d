// The scheduler's eye on the entrance of the repository (core/repository/entrance.h): it keeps
// identity and key wrap in memory, looks for them every few minutes, and puts them back when
// something has deleted them. What it has to say is in the log, and in veza_backup_check().
//
// Archiving waits where they are missing (RequireKeyInPlace): the archiver asks for a look at once
// (AskForLookAtKey), and goes on when they are back.
#pragma once

#include "core/config/config.h"
#include "pg/server_repository.h"
//
#include "pg/postgres.h"

namespace veza::pg {

// Called in the scheduler's loop; does not wait for the store. `config` null: there is no
// repository. Returns how long until the next call, at the latest, in milliseconds.
long WatchKey(const Config* config, const ServerFacts& facts);

// At the next call: the settings have changed, or somebody could not open the repository.
void LookAtKeySoon();

}  // namespace veza::pg
