#include "core/repository/connect.h"

#include <unistd.h>

#include <climits>
#include <utility>

#include "core/repository/names.h"
#include "core/s3/s3_bucket.h"
#include "core/s3/s3_past_store.h"
#include "core/s3/s3_store.h"
#include "core/storage/conditional_writes.h"
#include "core/storage/local_store.h"

namespace veza {

namespace {

// Each process tests the store itself. That is one request, and the proof is never older than the
// process.
std::shared_ptr<ConditionalWriteProofs> ProofsOfThisProcess() {
  static const auto proofs = std::make_shared<ConditionalWriteProofs>();
  return proofs;
}

}  // namespace

Result<std::shared_ptr<Store>> ConnectStore(const Config& config, const Environment& environment,
                                            const RetryPolicy& policy, RetryObserver observer) {
  std::unique_ptr<Store> store;
  if (config.kind == RepositoryKind::kS3) {
    S3Options options = config.s3;
    // Locks, leases, probes and records are replaced and deleted often, which costs extra in the
    // cheaper storage classes.
    options.objects.storage_class_prefixes = {std::string(kBackupPrefix), std::string(kWalPrefix),
                                              std::string(kIndexPrefix)};
    options.objects.short_lived_prefixes = {std::string(kLockPrefix), std::string(kLeasePrefix),
                                            std::string(kProbePrefix)};
    ASSIGN_OR_RETURN(store, MakeS3Store(std::move(options), environment));
  } else {
    ASSIGN_OR_RETURN(store, MakeLocalStore(config.directory, environment));
  }
  if (config.looks_before_writes) {
    store = MakeLookingStore(std::move(store));
  }
  store = MakeRetryingStore(std::move(store), environment, policy, std::move(observer));
  if (config.kind == RepositoryKind::kS3 && !config.looks_before_writes) {
    std::string place =
        fmt::format("{} {} {}", ServiceOf(config), config.s3.access_key, store->location());
    store = MakeProvenStore(std::move(store), environment, std::string(kConditionalWriteProbe),
                            std::move(place), ProofsOfThisProcess());
  }
  return std::shared_ptr<Store>(std::move(store));
}

Result<bool> HasEverHeld(const Config& config, const Environment& environment,
                         std::string_view prefix) {
  S3Options options = config.s3;
  options.as_of = TimePoint();  // the versions of all times are looked at
  return HasEverHeld(std::move(options), environment, prefix);
}

bool IsVersioningSuspended(const Config& config, const Environment& environment) {
  const Result<Versioning> versioning = ReadVersioning(config.s3, environment);
  return versioning && *versioning == Versioning::kSuspended;
}

std::string ServiceOf(const Config& config) {
  return config.kind == RepositoryKind::kS3
             ? fmt::format("{} ({})", config.s3.endpoint, config.s3.region)
             : "";
}

RepositoryOptions MakeRepositoryOptions(const Config& config, std::string node,
                                        std::string spill_directory) {
  RepositoryOptions options;
  options.cipher = config.cipher;
  options.passphrase = config.passphrase;
  options.passphrase_command = config.passphrase_command;
  options.compression_level = config.compression_level;
  options.node = std::move(node);
  options.spill_directory = std::move(spill_directory);
  return options;
}

std::string HostName() {
  char name[HOST_NAME_MAX + 1] = {};
  return gethostname(name, HOST_NAME_MAX) == 0 ? name : "unknown";
}

}  // namespace veza
