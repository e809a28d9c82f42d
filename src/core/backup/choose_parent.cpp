#include "core/backup/choose_parent.h"

#include <algorithm>
#include <vector>

#include "core/backup/suspect_diff.h"
#include "core/limits.h"
#include "core/repository/backup_order.h"
#include "core/repository/backup_sources.h"

namespace veza {

namespace {

// Why no backup may build on this one. Empty when one may.
std::string WhyNot(const BackupSummary& parent, const ServerFit& server) {
  if (parent.postgres_version_num / 10000 != server.postgres_major) {
    return fmt::format("is of PostgreSQL {}", parent.postgres_version_num / 10000);
  }
  if (parent.block_size != server.block_size) {
    return fmt::format("has blocks of {} bytes", parent.block_size);
  }
  if (parent.data_checksum_version != server.data_checksum_version) {
    return parent.data_checksum_version == 0 ? "was made before data checksums were enabled"
                                             : "was made before data checksums were disabled";
  }
  if (!server.history.Contains(parent.timeline, parent.stop_lsn)) {
    return fmt::format("ended at {} on timeline {}, which timeline {} does not continue",
                       FormatLsn(parent.stop_lsn), parent.timeline, server.history.timeline);
  }
  if (server.position && parent.stop_lsn > *server.position) {
    return fmt::format(
        "ended at {}, but this server's WAL ends at {}: the server was reset to an earlier state",
        FormatLsn(parent.stop_lsn), FormatLsn(*server.position));
  }
  const auto minimal = std::ranges::find_if(server.minimal, [&](const MinimalWal& one) {
    const bool is_before = one.doubt ? parent.start_lsn < one.end : parent.start_lsn <= one.lsn;
    return is_before && server.history.Contains(one.timeline, one.lsn);
  });
  if (minimal != server.minimal.end()) {
    return fmt::format("was made before wal_level = minimal, at {}", FormatLsn(minimal->lsn));
  }
  if (parent.checksum_failures > 0) {
    return "has pages with wrong checksums";
  }
  return "";
}

// Why what the backup names cannot be built on. Empty when it can.
std::string WhyNotItsSources(const BackupSummary& parent, const BackupCatalog& catalog) {
  if (parent.sources.size() >= limits::kSources) {
    return fmt::format("names packs of {} other backups", parent.sources.size());
  }
  if (!SuspectDiff(parent).empty()) {
    return "was made by version 0.1 of a cluster without data checksums";
  }
  for (const SourceBackup& source : parent.sources) {
    const BackupSummary* const there = FindSource(source, catalog.backups);
    if (there == nullptr) {
      return fmt::format("needs {}, {}", NameBackup(source.label),
                         WhySourceIsWrong(source, catalog.backups));
    }
    if (there->checksum_failures > 0) {
      return fmt::format("needs {}, which has pages with wrong checksums",
                         NameBackup(source.label));
    }
  }
  return "";
}

// Why what is known, or may be, of damage speaks against building on the backup. Empty when nothing
// does.
std::string WhyNotForDamage(const BackupSummary& parent, const BackupCatalog& catalog,
                            const LostParts& damage) {
  const std::string known = WhyNotRestorable(parent, catalog.backups, damage);
  if (!known.empty()) {
    return "is not built on: " + known;
  }
  const std::string doubt = WhyUncertain(parent, damage);
  return doubt.empty() ? "" : "is not built on: " + doubt;
}

// As ParentChoice::doubt.
std::string Doubt(const BackupSummary& parent, const ServerFit& server) {
  if (!server.hint_bits_logged) {
    return "neither data checksums nor wal_log_hints are on";
  }
  if (!IsOwn(parent, server.own_full, server.own_newest)) {
    return fmt::format("{} was not made by this server since it was started",
                       NameBackup(parent.label));
  }
  return "";
}

}  // namespace

bool IsOwn(const BackupSummary& backup, const std::optional<Sha256Digest>& own_full,
           const std::optional<Sha256Digest>& own_newest) {
  return own_full == backup.manifest_sha256 || own_newest == backup.manifest_sha256;
}

ParentChoice ChooseParent(const BackupCatalog& catalog, const ServerFit& server, BackupType type,
                          const LostParts& damage) {
  std::vector<const BackupSummary*> candidates;
  for (const BackupSummary& backup : catalog.backups) {
    const bool fits = type == BackupType::kIncr || backup.type == BackupType::kFull;
    if (fits && backup.system_identifier == server.system_identifier) {
      candidates.push_back(&backup);
    }
  }
  std::ranges::sort(candidates, [](const auto* a, const auto* b) { return IsBefore(*b, *a); });
  ParentChoice choice;
  for (const BackupSummary* const backup : candidates) {
    std::string why_not = WhyNot(*backup, server);
    if (why_not.empty()) {
      why_not = WhyNotItsSources(*backup, catalog);
    }
    if (why_not.empty()) {
      why_not = WhyNotForDamage(*backup, catalog, damage);
    }
    if (why_not.empty()) {
      choice.parent = *backup;
      choice.doubt = Doubt(*backup, server);
      return choice;
    }
    if (choice.reason.empty()) {
      choice.reason = fmt::format("{} {}", NameBackup(backup->label), why_not);
    }
  }
  if (choice.reason.empty()) {
    choice.reason = "there is no full backup";
  }
  return choice;
}

}  // namespace veza
