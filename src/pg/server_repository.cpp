#include "pg/server_repository.h"

#include <fmt/format.h>

#include <utility>

#include "core/repository/connect.h"
//
#include "pg/compat.h"

extern "C" {
#include <common/relpath.h>
#include <postmaster/postmaster.h>
#include <postmaster/syslogger.h>
#include <utils/guc.h>
}

namespace veza::pg {

ServerFacts GetServerFacts() {
  ServerFacts facts;
  facts.system_identifier = GetSystemIdentifier();
  facts.is_primary = !RecoveryInProgress();
  facts.node = fmt::format("{}:{}", HostName(), PostPortNumber);
  facts.data_directory = DataDir;
  facts.log_directory = Log_directory;
  facts.config_file = ConfigFileName;
  return facts;
}

WalkOptions MakeWalkOptions(const Config& config, const ServerFacts& facts) {
  WalkOptions options;
  options.data_directory = facts.data_directory;
  options.tablespace_version_directory = TABLESPACE_VERSION_DIRECTORY;
  options.postgres_major = PG_VERSION_NUM / 10000;
  if (config.kind != RepositoryKind::kS3) {
    options.repository_directory = config.directory;
  }
  return options;
}

MarkerPlace MakeMarkerPlace(const Config& config, const ServerFacts& facts) {
  return {facts.data_directory, ServiceOf(config)};
}

Identity MakeIdentity(const ServerFacts& facts) {
  Identity identity;
  identity.system_identifier = facts.system_identifier;
  identity.postgres_version_num = PG_VERSION_NUM;
  identity.wal_segment_size = static_cast<std::uint64_t>(wal_segment_size);
  identity.block_size = BLCKSZ;
  return identity;
}

namespace {

RepositoryOptions OptionsForWriting(const Config& config, const ServerFacts& facts) {
  RepositoryOptions options = MakeRepositoryOptions(config, facts.node, facts.data_directory);
  options.for_writing = true;
  return options;
}

}  // namespace

Result<std::unique_ptr<Repository>> OpenExistingRepository(const Config& config,
                                                           const ServerFacts& facts,
                                                           const Environment& environment,
                                                           const RetryPolicy& policy,
                                                           RetryObserver observer) {
  ASSIGN_OR_RETURN(std::shared_ptr<Store> store,
                   ConnectStore(config, environment, policy, std::move(observer)));
  ASSIGN_OR_RETURN(
      std::unique_ptr<Repository> repository,
      Repository::Open(std::move(store), OptionsForWriting(config, facts), environment));
  RETURN_IF_ERROR(repository->RequireSystem(facts.system_identifier));
  if (facts.is_primary) {
    RETURN_IF_ERROR(
        CompareMarker(facts.data_directory, {repository->store().location(), ServiceOf(config),
                                             repository->identities().front().key_id}));
  }
  return repository;
}

Result<std::unique_ptr<Repository>> OpenServerRepository(const Config& config,
                                                         const ServerFacts& facts,
                                                         const Environment& environment,
                                                         const RetryPolicy& policy,
                                                         RetryObserver observer) {
  if (!facts.is_primary) {
    return OpenExistingRepository(config, facts, environment, policy, std::move(observer));
  }
  ASSIGN_OR_RETURN(std::shared_ptr<Store> store,
                   ConnectStore(config, environment, policy, std::move(observer)));
  return InitialiseMarked(store, OptionsForWriting(config, facts), environment, MakeIdentity(facts),
                          MakeMarkerPlace(config, facts));
}

}  // namespace veza::pg
