// A cluster's repository: its store, its key, and who it belongs to. The entry to everything below:
// wal_archive.h, backup_writer.h, backup_catalog.h and core/restore take a Repository.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/codec/seal.h"
#include "core/config/secret_string.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/storage/store.h"

namespace veza {

// identity/<system id> (FORMAT.md section 5).
struct Identity {
  std::uint64_t system_identifier = 0;
  int postgres_version_num = 0;
  std::uint64_t wal_segment_size = 0;
  std::uint32_t block_size = 0;
  std::string cipher;
  std::string key_id;  // empty for none
  std::string node;
  TimePoint created{};
};

struct RepositoryOptions {
  Cipher cipher = Cipher::kAes256Gcm;
  SecretString passphrase;  // empty exactly when cipher is kNone
  int compression_level = 3;
  std::string node;             // who we are, for the objects we write
  std::string spill_directory;  // for what does not fit in memory
};

// Thread-safe after Open(): everything is constant.
class Repository {
 public:
  // Reads identities and key. An empty store is kFailedPrecondition ("is not initialized") with a
  // hint; Initialise() is for that. kWrongKey for a passphrase that does not fit;
  // kFailedPrecondition when the repository is encrypted and the options are not, or the other way
  // round.
  static Result<std::unique_ptr<Repository>> Open(std::shared_ptr<Store> store,
                                                  RepositoryOptions options,
                                                  Environment environment);

  // Creates key and identity, or finds that they are there (idempotent), then opens. Only a primary
  // may call it. A repository that belongs to other system identifiers is kConflict unless
  // `accept_new_system`.
  static Result<std::unique_ptr<Repository>> Initialise(std::shared_ptr<Store> store,
                                                        RepositoryOptions options,
                                                        Environment environment,
                                                        const Identity& identity,
                                                        bool accept_new_system);

  Store& store() const { return *store_; }
  const SealPolicy& seal_policy() const { return seal_policy_; }
  const RepositoryOptions& options() const { return options_; }
  const Environment& environment() const { return environment_; }
  const std::vector<Identity>& identities() const { return identities_; }

  // kConflict with a hint when this repository does not belong to the system.
  Status RequireSystem(std::uint64_t system_identifier) const;
  // The identity of that system, or of the only one there is; otherwise an error that asks which.
  Result<Identity> IdentityOf(std::optional<std::uint64_t> system_identifier) const;

 private:
  Repository(std::shared_ptr<Store> store, RepositoryOptions options, Environment environment);
  Status OpenKey();

  std::shared_ptr<Store> store_;
  RepositoryOptions options_;
  Environment environment_;
  SealPolicy seal_policy_;
  std::vector<Identity> identities_;
};

}  // namespace veza
