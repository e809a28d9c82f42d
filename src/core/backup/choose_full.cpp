#include "core/backup/choose_full.h"

#include <algorithm>
#include <vector>

#include "core/repository/backup_order.h"

namespace veza {

namespace {

// Why a diff may not refer to this full backup. Empty when it may.
std::string WhyNot(const BackupSummary& full, const DiffCandidate& server) {
  if (full.postgres_version_num / 10000 != server.postgres_major) {
    return fmt::format("is of PostgreSQL {}", full.postgres_version_num / 10000);
  }
  if (full.block_size != server.block_size) {
    return fmt::format("has blocks of {} bytes", full.block_size);
  }
  if (full.data_checksum_version != server.data_checksum_version) {
    return full.data_checksum_version == 0 ? "was made before data checksums were enabled"
                                           : "was made before data checksums were disabled";
  }
  if (!server.history.Contains(full.timeline, full.stop_lsn)) {
    return fmt::format("ended at {} on timeline {}, which timeline {} does not continue",
                       FormatLsn(full.stop_lsn), full.timeline, server.history.timeline);
  }
  if (server.position && full.stop_lsn > *server.position) {
    return fmt::format(
        "ended at {}, but this server's WAL ends at {}: the server was reset to an earlier state",
        FormatLsn(full.stop_lsn), FormatLsn(*server.position));
  }
  const auto minimal = std::ranges::find_if(server.minimal, [&](const MinimalWal& one) {
    const bool is_before = one.doubt ? full.start_lsn < one.end : full.start_lsn <= one.lsn;
    return is_before && server.history.Contains(one.timeline, one.lsn);
  });
  if (minimal != server.minimal.end()) {
    return fmt::format("was made before wal_level = minimal, at {}", FormatLsn(minimal->lsn));
  }
  if (full.checksum_failures > 0) {
    return "has pages with wrong checksums";
  }
  return "";
}

// As FullChoice::doubt.
std::string Doubt(const BackupSummary& full, const DiffCandidate& server) {
  if (!server.hint_bits_logged) {
    return "neither data checksums nor wal_log_hints are on";
  }
  if (server.own_full != full.manifest_sha256) {
    return fmt::format("full backup \"{}\" was not made by this server since it was started",
                       full.label);
  }
  return "";
}

}  // namespace

FullChoice ChooseFull(const BackupCatalog& catalog, const DiffCandidate& server) {
  std::vector<const BackupSummary*> fulls;
  for (const BackupSummary& backup : catalog.backups) {
    if (backup.type == BackupType::kFull && backup.system_identifier == server.system_identifier) {
      fulls.push_back(&backup);
    }
  }
  std::ranges::sort(fulls, [](const auto* a, const auto* b) { return IsBefore(*b, *a); });
  FullChoice choice;
  for (const BackupSummary* const backup : fulls) {
    const std::string why_not = WhyNot(*backup, server);
    if (why_not.empty()) {
      choice.full = *backup;
      choice.doubt = Doubt(*backup, server);
      choice.reason.clear();
      return choice;
    }
    if (choice.reason.empty()) {
      choice.reason = fmt::format("full backup \"{}\" {}", backup->label, why_not);
    }
  }
  if (choice.reason.empty()) {
    choice.reason = "there is no full backup";
  }
  return choice;
}

}  // namespace veza
