// vezactl info: what the repository holds.
#include <algorithm>

#include "cli/command.h"
#include "cli/output.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/wal_archive.h"

namespace veza::cli {
namespace {

struct SystemInfo {
  Identity identity;
  std::vector<WalRange> wal;
};

struct RepositoryInfo {
  std::string location;
  std::vector<SystemInfo> systems;
  BackupCatalog catalog;
};

std::uint64_t CountSegments(const WalRange& range, std::uint64_t segment_size) {
  return SegmentNumberOf(range.last, segment_size) - SegmentNumberOf(range.first, segment_size) + 1;
}

Result<RepositoryInfo> Collect(const Repository& repository) {
  RepositoryInfo info;
  info.location = repository.store().location();
  for (const Identity& identity : repository.identities()) {
    SystemInfo system{identity, {}};
    const WalArchive archive(repository, identity.system_identifier);
    ASSIGN_OR_RETURN(system.wal, archive.Ranges(identity.wal_segment_size));
    info.systems.push_back(std::move(system));
  }
  ASSIGN_OR_RETURN(info.catalog, ReadBackupCatalog(repository));
  return info;
}

std::string FormatVersion(int version_num) {
  return fmt::format("{}.{}", version_num / 10000, version_num % 10000);
}

nlohmann::json ToJson(const BackupSummary& backup) {
  nlohmann::json tablespaces = nlohmann::json::array();
  for (const Tablespace& tablespace : backup.tablespaces) {
    tablespaces.push_back(
        {{"oid", tablespace.oid}, {"path", tablespace.path}, {"size", tablespace.size}});
  }
  nlohmann::json databases = nlohmann::json::array();
  for (const DatabaseSummary& database : backup.databases) {
    databases.push_back({{"oid", database.oid}, {"name", database.name}, {"size", database.size}});
  }
  nlohmann::json extensions = nlohmann::json::array();
  for (const ExtensionSummary& extension : backup.extensions) {
    extensions.push_back({{"database", extension.database},
                          {"name", extension.name},
                          {"version", extension.version}});
  }
  nlohmann::json failures = nlohmann::json::array();
  for (const ChecksumFailure& failure : backup.checksum_failure_pages) {
    failures.push_back({{"path", failure.path}, {"block", failure.block}});
  }
  return {
      {"label", backup.label},
      {"type", BackupTypeName(backup.type)},
      {"system_identifier", std::to_string(backup.system_identifier)},
      {"postgres_version", backup.postgres_version},
      {"postgres_version_num", backup.postgres_version_num},
      {"start_time", FormatUtc(backup.start_time)},
      {"stop_time", FormatUtc(backup.stop_time)},
      {"timeline", backup.timeline},
      {"start_lsn", FormatLsn(backup.start_lsn)},
      {"stop_lsn", FormatLsn(backup.stop_lsn)},
      {"start_wal", backup.start_wal},
      {"stop_wal", backup.stop_wal},
      {"from_standby", backup.from_standby},
      {"node", backup.node},
      {"size", backup.size},
      {"stored_size", backup.stored_size},
      {"files", backup.files},
      {"packs", backup.packs},
      {"cipher", backup.cipher},
      {"data_checksums", backup.data_checksum_version != 0},
      {"checksum_failures", backup.checksum_failures},
      {"checksum_failure_pages", std::move(failures)},
      {"tablespaces", std::move(tablespaces)},
      {"databases", std::move(databases)},
      {"extensions", std::move(extensions)},
      {"settings", backup.settings},
  };
}

nlohmann::json ToJson(const SystemInfo& system) {
  const Identity& identity = system.identity;
  nlohmann::json wal = nlohmann::json::array();
  for (const WalRange& range : system.wal) {
    wal.push_back({{"timeline", range.timeline},
                   {"first", range.first},
                   {"last", range.last},
                   {"segments", CountSegments(range, identity.wal_segment_size)}});
  }
  return {
      {"system_identifier", std::to_string(identity.system_identifier)},
      {"postgres_version_num", identity.postgres_version_num},
      {"wal_segment_size", identity.wal_segment_size},
      {"block_size", identity.block_size},
      {"cipher", identity.cipher},
      {"key_id", identity.key_id},
      {"node", identity.node},
      {"created", FormatUtc(identity.created)},
      {"wal", std::move(wal)},
  };
}

nlohmann::json ToJson(const RepositoryInfo& info) {
  nlohmann::json document = {{"repository", info.location}};
  for (const char* name : {"systems", "backups", "unfinished", "broken"}) {
    document[name] = nlohmann::json::array();
  }
  for (const SystemInfo& system : info.systems) {
    document["systems"].push_back(ToJson(system));
  }
  for (const BackupSummary& backup : info.catalog.backups) {
    document["backups"].push_back(ToJson(backup));
  }
  for (const UnfinishedBackup& backup : info.catalog.unfinished) {
    document["unfinished"].push_back(backup.label);
  }
  for (const BrokenBackup& backup : info.catalog.broken) {
    document["broken"].push_back({{"label", backup.label}, {"error", ErrorToJson(backup.error)}});
  }
  return document;
}

std::string FormatBackups(const std::vector<const BackupSummary*>& backups) {
  if (backups.empty()) {
    return "no backups\n";
  }
  Table table({{"backup"},
               {"type"},
               {"started (UTC)"},
               {"ended (UTC)"},
               {"timeline", true},
               {"start LSN", true},
               {"stop LSN", true},
               {"size", true},
               {"stored", true},
               {"bad pages", true}});
  for (const BackupSummary* backup : backups) {
    // Seconds are enough for people, and a target must not be before the end: round it up.
    table.AddRow({backup->label, BackupTypeName(backup->type),
                  FormatUtc(std::chrono::floor<std::chrono::seconds>(backup->start_time)),
                  FormatUtc(std::chrono::ceil<std::chrono::seconds>(backup->stop_time)),
                  std::to_string(backup->timeline), FormatLsn(backup->start_lsn),
                  FormatLsn(backup->stop_lsn), FormatSize(backup->size),
                  FormatSize(backup->stored_size),
                  backup->data_checksum_version == 0 ? "not checked"
                                                     : std::to_string(backup->checksum_failures)});
  }
  return table.Format();
}

std::string ToText(const RepositoryInfo& info) {
  std::string text = fmt::format("repository {}\n", info.location);
  for (const SystemInfo& system : info.systems) {
    const Identity& identity = system.identity;
    text += fmt::format("\nsystem {}: PostgreSQL {}, cipher {}, WAL segments of {}\n",
                        identity.system_identifier, FormatVersion(identity.postgres_version_num),
                        identity.cipher, FormatSize(identity.wal_segment_size));
    if (system.wal.empty()) {
      text += "  no WAL\n";
    }
    for (const WalRange& range : system.wal) {
      text += fmt::format("  WAL of timeline {}: {} to {}, {} segments\n", range.timeline,
                          range.first, range.last, CountSegments(range, identity.wal_segment_size));
    }
    std::vector<const BackupSummary*> backups;
    for (const BackupSummary& backup : info.catalog.backups) {
      if (backup.system_identifier == identity.system_identifier) {
        backups.push_back(&backup);
      }
    }
    text += "\n" + FormatBackups(backups);
  }
  if (!info.catalog.unfinished.empty()) {
    text += "\nnot finished: being made, or left over from a backup that failed\n";
    for (const UnfinishedBackup& backup : info.catalog.unfinished) {
      text += fmt::format("  {}\n", backup.label);
    }
  }
  if (!info.catalog.broken.empty()) {
    text += "\nunusable\n";
    for (const BrokenBackup& backup : info.catalog.broken) {
      text += fmt::format("  {}: {}\n", backup.label, backup.error.message);
    }
  }
  return text;
}

Result<int> RunInfo(const GlobalOptions& options) {
  ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenRepository(options, config));
  ASSIGN_OR_RETURN(const RepositoryInfo info, Collect(*repository));
  if (options.json) {
    PrintJson(ToJson(info));
  } else {
    PrintText(ToText(info));
  }
  return info.catalog.broken.empty() ? kDone : kBadAnswer;
}

}  // namespace

Subcommand AddInfo(CLI::App& parent) {
  CLI::App* app = parent.add_subcommand("info", "Show the backups and the WAL of the repository");
  return {app, RunInfo, DefaultExitCode};
}

}  // namespace veza::cli
