// The settings as PostgreSQL parameters: registered from the core's table, read back as a Config.
#pragma once

#include <cstdint>

#include "core/config/config.h"
#include "core/error.h"

namespace veza::pg {

// In _PG_init.
void DefineSettings();

// What the parameters say now; main thread only. Never raises. An error, too, while one is not in
// force because its value was wrong when the server was started.
Result<Config> CurrentConfig();

// Where the secrets are set that are set by themselves.
constexpr int kMostSecrets = 8;
struct SecretSource {
  char setting[64];  // without "veza_backup."
  char file[1024];   // empty: none, as on the command line
};
struct SecretSources {
  int count;
  SecretSource of[kMostSecrets];
};
// Main thread only; may raise.
void ReadSecretSources(SecretSources* sources);

// Changes whenever a parameter was assigned: a cheap way to notice a reload.
std::uint64_t SettingsGeneration();

// Whether `veza_backup.repository` is set at all, be it wrongly.
bool RepositoryIsSet();

}  // namespace veza::pg
