// The scheduler's watch over identity and key wrap, without which the repository cannot be opened
// (core/repository/entrance.h). It keeps copies of both in memory, checks every few minutes that
// they are in the store, and puts them back when they have been deleted. What it finds is reported
// in the log and in veza_backup_check().
//
// While they are missing, archiving waits (RequireKeyInPlace). The archiver asks for a look at once
// (AskForLookAtKey), and continues when they are back.
#pragma once

#include "core/config/config.h"
#include "pg/server_repository.h"
//
#include "pg/postgres.h"

namespace veza::pg {

// Called in the scheduler's loop. Does not wait for the store. `config` is null when there is no
// repository. Returns after how many milliseconds it has to be called again at the latest.
long WatchKey(const Config* config, const ServerFacts& facts);

// Makes the next WatchKey() look. Called when the settings have changed, or when somebody could not
// open the repository.
void LookAtKeySoon();

}  // namespace veza::pg
