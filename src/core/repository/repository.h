// The repository of a cluster: its store, its key, and the cluster that it belongs to. Archiving,
// backup, restore and everything else that reads or writes a repository takes one of these.
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
  // Without a cipher both are empty. Opening a repository runs the command and fills in the
  // passphrase (passphrase_command.h).
  SecretString passphrase;
  std::string passphrase_command{};
  // The key wrap that was opened last time; it is tried first. Empty or outdated does no harm.
  std::string first_wrap{};
  int compression_level = 3;
  std::string node;             // the name of this node, written into each object
  std::string spill_directory;  // for data that do not fit into memory
  // Look which version of the format writers may use (format_mark.h). Writers of WAL and backups
  // need it, and it costs a request. Without it digest_method() is that of version 1.
  bool for_writing = false;
};

struct OpenedKey;  // entrance.h

// Thread-safe after Open(): nothing changes any more.
class Repository {
 public:
  // Reads the identities and the key. Errors:
  // - kFailedPrecondition ("is not initialized") when the store is empty; Initialise() creates a
  //   repository. Also when the repository is encrypted and the options are not, or the other way
  //   round.
  // - kDataCorrupted when the store holds something, but no identity or no key (entrance.h).
  // - kWrongKey when the passphrase does not fit; those of passphrase_command.h when a command was
  //   to tell it.
  // - kPermissionDenied when an identity names no key although there are keys, whatever the options
  //   say. The identity may be forged.
  static Result<std::unique_ptr<Repository>> Open(std::shared_ptr<Store> store,
                                                  RepositoryOptions options,
                                                  Environment environment);

  // Creates key and identity unless they exist (the call is idempotent), and opens the repository.
  // Only a primary may call it. kConflict if the repository belongs to other system identifiers,
  // unless `accept_new_system`. kDataCorrupted if it has lost its identity: a new key would make
  // everything in it unreadable. With cipher none, kPermissionDenied if the store holds keys.
  static Result<std::unique_ptr<Repository>> Initialise(std::shared_ptr<Store> store,
                                                        RepositoryOptions options,
                                                        Environment environment,
                                                        const Identity& identity,
                                                        bool accept_new_system);

  Store& store() const { return *store_; }
  const SealPolicy& seal_policy() const { return seal_policy_; }
  // By which method a writer digests contents (FORMAT.md section 6). Readers go by what they read.
  DigestMethod digest_method() const { return digest_method_; }
  const RepositoryOptions& options() const { return options_; }
  const Environment& environment() const { return environment_; }
  const std::vector<Identity>& identities() const { return identities_; }
  // The objects as stored: identity/…, and the wrap that the passphrase has opened (none with
  // cipher none). These alone suffice to open the repository again.
  const std::vector<NamedText>& identity_objects() const { return identity_objects_; }
  const std::vector<NamedText>& key_wraps() const { return key_wraps_; }

  // kConflict, with a hint, when the repository does not belong to this system.
  Status RequireSystem(std::uint64_t system_identifier) const;
  // The identity of the given system, or of the only one. kInvalidArgument, with a hint that lists
  // the systems, when there are several and none is given.
  Result<Identity> IdentityOf(std::optional<std::uint64_t> system_identifier) const;

 private:
  Repository(std::shared_ptr<Store> store, RepositoryOptions options, Environment environment);
  Status OpenKey();
  Result<OpenedKey> FindOwnKey();

  std::shared_ptr<Store> store_;
  RepositoryOptions options_;
  Environment environment_;
  SealPolicy seal_policy_;
  DigestMethod digest_method_ = DigestMethod::kSha256;
  std::vector<Identity> identities_;
  std::vector<NamedText> identity_objects_;
  std::vector<NamedText> key_wraps_;
};

}  // namespace veza
