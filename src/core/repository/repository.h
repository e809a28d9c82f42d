// A cluster's repository: its store, its key, and who it belongs to. The entry to everything below:
// wal_archive.h, backup_writer.h, backup_catalog.h and core/restore take a Repository.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/codec/seal.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/repository/identity.h"
#include "core/secret_string.h"
#include "core/storage/store.h"

namespace veza {

struct RepositoryOptions {
  Cipher cipher = Cipher::kAes256Gcm;
  SecretString passphrase;  // empty exactly when cipher is kNone
  // The key wrap that was opened last time: tried first. A name that does not fit does no harm.
  std::string first_wrap{};
  int compression_level = 3;
  std::string node;             // who we are, for the objects we write
  std::string spill_directory;  // for what does not fit in memory
};

// Thread-safe after Open(): everything is constant.
class Repository {
 public:
  // Reads identities and key. An empty store is kFailedPrecondition ("is not initialized") with a
  // hint; Initialise() is for that. kDataCorrupted where something lies in it, but identity or key
  // do not (entrance.h). kWrongKey for a passphrase that does not fit;
  // kFailedPrecondition when the repository is encrypted and the options are not, or the other way
  // round. kPermissionDenied where an identity names no key and there are keys, whatever the
  // options say: it may be forged.
  static Result<std::unique_ptr<Repository>> Open(std::shared_ptr<Store> store,
                                                  RepositoryOptions options,
                                                  Environment environment);

  // Creates key and identity, or finds that they are there (idempotent), then opens. Only a primary
  // may call it. A repository that belongs to other system identifiers is kConflict unless
  // `accept_new_system`. One that has lost its identity is kDataCorrupted: a new key would make
  // everything in it unreadable. Without a key none is made where there are keys
  // (kPermissionDenied).
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
  // As they lie in the store: identity/…, and the wrap that the passphrase has opened (none with
  // cipher none). With these alone the repository can be opened again.
  const std::vector<NamedText>& identity_objects() const { return identity_objects_; }
  const std::vector<NamedText>& key_wraps() const { return key_wraps_; }

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
  std::vector<NamedText> identity_objects_;
  std::vector<NamedText> key_wraps_;
};

}  // namespace veza
