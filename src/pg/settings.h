// The settings as PostgreSQL parameters. They are defined from core's table and read back as a
// Config.
#pragma once

#include <cstdint>

#include "core/config/config.h"
#include "core/error.h"

namespace veza::pg {

// Called in _PG_init().
void DefineSettings();

// The current values of the parameters. Main thread only. Never raises. Also an error while a
// setting is not in force because its value was invalid when the server was started.
Result<Config> CurrentConfig();

// The secrets that are set by value (not through a file of their own), and the configuration file
// that sets each.
constexpr int kMostSecrets = 8;
struct SecretSource {
  char setting[64];  // without "veza_backup."
  char file[1024];   // empty when set on the command line
};
struct SecretSources {
  int count;
  SecretSource of[kMostSecrets];
};
// Main thread only. May raise ERROR.
void ReadSecretSources(SecretSources* sources);

// A number that changes whenever a parameter is assigned: a cheap way to notice a reload.
std::uint64_t SettingsGeneration();

// Whether `veza_backup.repository` is set, even to an invalid value.
bool RepositoryIsSet();

}  // namespace veza::pg
