// vezactl info: shows what the repository holds.
#include <algorithm>
#include <map>
#include <optional>

#include "cli/command.h"
#include "cli/output.h"
#include "core/archive/recovery_window.h"
#include "core/backup/suspect_diff.h"
#include "core/repository/drill_record.h"
#include "core/repository/entrance.h"
#include "core/repository/restore_lease.h"
#include "core/retention/expire.h"
#include "core/timeline/window_end.h"

namespace veza::cli {
namespace {

struct SystemInfo {
  Identity identity;
  std::vector<ArchivePiece> wal;
  RecoveryWindow window;
  std::optional<Error> window_error;  // set when a timeline history file is damaged
  std::vector<std::string> missing_histories;
};

struct RepositoryInfo {
  std::string location;
  std::optional<TimePoint> as_of;  // GlobalOptions::as_of
  std::vector<SystemInfo> systems;
  BackupCatalog catalog;
  std::map<std::string, DrillRecord> drills;  // the latest drill of each backup, by label
  Fragments young_fragments;
  Fragments old_fragments;
  std::vector<LeaseState> leases;
  std::optional<Error> leases_error;  // set when there are too many leases to read
};

std::uint64_t CountSegments(const ArchivePiece& piece) {
  return piece.last - piece.first + 1;
}

Result<SystemInfo> CollectSystem(const Repository& repository, const Identity& identity,
                                 const BackupCatalog& catalog, const LostParts& lost) {
  SystemInfo system;
  system.identity = identity;
  const WalArchive wal(repository, identity.system_identifier);
  ASSIGN_OR_RETURN(const std::vector<WalRange> ranges, wal.Ranges(identity.wal_segment_size));
  ASSIGN_OR_RETURN(system.missing_histories,
                   MissingHistories(wal, identity.system_identifier, catalog.backups));
  const Result<ArchiveMap> archive = ReadArchiveMap(repository, identity, ranges);
  if (!archive && archive.error().code == ErrorCode::kDataCorrupted) {
    system.wal = ArchiveMap(identity.wal_segment_size, ranges, {}).Pieces();
    system.window_error = archive.error();
    return system;
  }
  RETURN_IF_ERROR(archive);
  system.wal = archive->Pieces();
  ASSIGN_OR_RETURN(system.window, ReadRecoveryWindow(repository, identity.system_identifier,
                                                     catalog, *archive, lost));
  RETURN_IF_ERROR(
      FindWindowEnds(repository, identity.system_identifier, catalog, *archive, &system.window));
  return system;
}

// Reads what is shown. `lists` also reads the long lists of each backup, for example its settings.
Result<RepositoryInfo> Collect(const Repository& repository, bool lists) {
  RepositoryInfo info;
  info.location = repository.store().location();
  ASSIGN_OR_RETURN(info.catalog,
                   lists ? ReadBackupCatalog(repository, SummaryParts::kAll, kBudgetWithLists)
                         : ReadBackupCatalog(repository, SummaryParts::kNotes));
  ASSIGN_OR_RETURN(const LostParts lost, FindLostParts(repository, info.catalog.backups));
  for (const Identity& identity : repository.identities()) {
    ASSIGN_OR_RETURN(SystemInfo system, CollectSystem(repository, identity, info.catalog, lost));
    info.systems.push_back(std::move(system));
  }
  ASSIGN_OR_RETURN(info.drills, ReadLatestDrills(repository));
  ASSIGN_OR_RETURN(const TimePoint now, repository.store().Now());
  RETURN_IF_ERROR(
      ReadFragments(repository.store(), now, &info.young_fragments, &info.old_fragments));
  Result<std::vector<LeaseState>> leases = ReadLeases(repository);
  if (!leases && leases.error().code == ErrorCode::kDataCorrupted) {
    // There are so many leases that expiry refuses to work. What can be restored is shown all the
    // same.
    info.leases_error = std::move(leases.error());
    return info;
  }
  ASSIGN_OR_RETURN(info.leases, std::move(leases));
  return info;
}

bool HasBadNews(const RepositoryInfo& info) {
  return !info.catalog.broken.empty() || info.leases_error.has_value() ||
         std::ranges::any_of(info.catalog.backups,
                             [](const BackupSummary& backup) {
                               return !SuspectDiff(backup).empty() ||
                                      !DatabasesWithoutFiles(backup).empty();
                             }) ||
         std::ranges::any_of(info.systems, [](const SystemInfo& system) {
           return system.window_error || !system.window.unrestorable.empty() ||
                  !system.window.uncertain.empty() || !system.missing_histories.empty();
         });
}

std::string FormatVersion(int version_num) {
  return fmt::format("{}.{}", version_num / 10000, version_num % 10000);
}

// The backup that a diff or an incr builds on.
const std::string& ParentLabel(const BackupSummary& backup) {
  return backup.type == BackupType::kIncr ? backup.parent : backup.sources.front().label;
}

Json ToJson(const BackupSummary& backup) {
  Json tablespaces = Json::Array();
  for (const Tablespace& tablespace : backup.tablespaces) {
    tablespaces.push_back(
        {{"oid", tablespace.oid}, {"path", tablespace.path}, {"size", tablespace.size}});
  }
  Json databases = Json::Array();
  for (const DatabaseSummary& database : backup.databases) {
    databases.push_back({{"oid", database.oid}, {"name", database.name}, {"size", database.size}});
  }
  Json extensions = Json::Array();
  for (const ExtensionSummary& extension : backup.extensions) {
    extensions.push_back({{"database", extension.database},
                          {"name", extension.name},
                          {"version", extension.version}});
  }
  Json failures = Json::Array();
  for (const ChecksumFailure& failure : backup.checksum_failure_pages) {
    failures.push_back({{"path", failure.path}, {"block", failure.block}});
  }
  Json document = {
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
  if (backup.duration) {
    document["duration"] = *backup.duration;
  }
  if (!backup.sources.empty()) {
    document["parent"] = ParentLabel(backup);
    Json needs = Json::Array();
    for (const SourceBackup& source : backup.sources) {
      needs.push_back(source.label);
    }
    document["needs"] = std::move(needs);
  }
  if (!backup.changes_by.empty()) {
    document["changes_by"] = backup.changes_by;
  }
  if (!backup.changes_doubt.empty()) {
    document["changes_doubt"] = backup.changes_doubt;
  }
  AddNotes(backup.notes, document);
  if (backup.is_cut) {
    for (const char* name : {"databases", "extensions", "settings", "skipped", "skipped_count",
                             "links", "links_count"}) {
      document.erase(name);
    }
    document["cut"] = true;
  }
  return document;
}

Json ToJson(const std::optional<CommitPlace>& commit) {
  if (!commit) {
    return {};
  }
  return {{"time", FormatUtc(commit->time)}, {"lsn", FormatLsn(commit->lsn)}, {"xid", commit->xid}};
}

Json ToJson(const RecoveryStretch& stretch) {
  return {
      {"start_time", FormatUtc(stretch.start_time)},
      {"end_time", stretch.end_time ? Json(FormatUtc(*stretch.end_time)) : Json()},
      {"end_is_exact", stretch.end_is_exact},
      {"last_commit", ToJson(stretch.last_commit)},
      {"start_lsn", FormatLsn(stretch.start_lsn)},
      {"end_lsn", FormatLsn(stretch.end_lsn)},
      {"first_timeline", stretch.first_timeline},
      {"last_timeline", stretch.last_timeline},
      {"oldest_backup", stretch.oldest_backup},
      {"newest_backup", stretch.newest_backup},
      {"backups", stretch.backups},
      {"ended_by", stretch.EndedBy()},
  };
}

Json ToJson(const SystemInfo& system) {
  const Identity& identity = system.identity;
  Json wal = Json::Array();
  Json gaps = Json::Array();
  for (const ArchivePiece& piece : system.wal) {
    (piece.is_gap ? gaps : wal)
        .push_back({{"timeline", piece.timeline},
                    {"first", SegmentName(piece.timeline, piece.first, identity.wal_segment_size)},
                    {"last", SegmentName(piece.timeline, piece.last, identity.wal_segment_size)},
                    {"segments", CountSegments(piece)}});
  }
  Json window = Json::Array();
  for (const RecoveryStretch& stretch : system.window.stretches) {
    window.push_back(ToJson(stretch));
  }
  Json unrestorable = Json::Array();
  for (const UnrestorableBackup& backup : system.window.unrestorable) {
    unrestorable.push_back({{"label", backup.label}, {"reason", backup.reason}});
  }
  Json uncertain = Json::Array();
  for (const UnrestorableBackup& backup : system.window.uncertain) {
    uncertain.push_back({{"label", backup.label}, {"reason", backup.reason}});
  }
  Json document = {
      {"system_identifier", std::to_string(identity.system_identifier)},
      {"postgres_version_num", identity.postgres_version_num},
      {"wal_segment_size", identity.wal_segment_size},
      {"block_size", identity.block_size},
      {"cipher", identity.cipher},
      {"key_id", identity.key_id},
      {"node", identity.node},
      {"created", FormatUtc(identity.created)},
      {"wal", std::move(wal)},
      {"gaps", std::move(gaps)},
      {"missing_histories", system.missing_histories},
      {"recovery_window", std::move(window)},
      {"unrestorable", std::move(unrestorable)},
      {"uncertain", std::move(uncertain)},
  };
  if (system.window_error) {
    document["recovery_window_error"] = ErrorToJson(*system.window_error);
  }
  return document;
}

Json ToJson(const LeaseState& lease) {
  Json document = {{"name", lease.name},
                   {"label", lease.label},
                   {"renewed", FormatUtc(lease.renewed)},
                   {"expires", FormatUtc(lease.expires)},
                   {"alive", lease.alive}};
  if (lease.document) {
    document["purpose"] = lease.document->purpose;
    document["node"] = lease.document->node;
    document["process"] = lease.document->process;
    document["start_wal"] = lease.document->start_wal;
    document["created"] = FormatUtc(lease.document->created);
  }
  return document;
}

Json ToJson(const RepositoryInfo& info) {
  Json document = {{"repository", info.location}};
  if (info.as_of) {
    document["as_of"] = FormatUtc(*info.as_of);
  }
  for (const char* name : {"systems", "backups", "unfinished", "broken", "leases"}) {
    document[name] = Json::Array();
  }
  for (const SystemInfo& system : info.systems) {
    document["systems"].push_back(ToJson(system));
  }
  for (const BackupSummary& backup : info.catalog.backups) {
    Json& entry = document["backups"].push_back(ToJson(backup));
    if (const std::string suspect = SuspectDiff(backup); !suspect.empty()) {
      entry["suspect"] = suspect;
    }
    const auto drill = info.drills.find(backup.label);
    if (drill != info.drills.end()) {
      entry["last_drill"] = DrillToJson(drill->second);
      entry["last_drill"].erase("format");
    }
  }
  for (const UnfinishedBackup& backup : info.catalog.unfinished) {
    document["unfinished"].push_back(backup.label);
  }
  document["fragments"] = {
      {"count", info.old_fragments.count},
      {"bytes", info.old_fragments.bytes},
      {"young_count", info.young_fragments.count},
      {"young_bytes", info.young_fragments.bytes},
  };
  for (const BrokenBackup& backup : info.catalog.broken) {
    document["broken"].push_back({{"label", backup.label}, {"error", ErrorToJson(backup.error)}});
  }
  for (const LeaseState& lease : info.leases) {
    document["leases"].push_back(ToJson(lease));
  }
  if (info.leases_error) {
    document["leases_error"] = ErrorToJson(*info.leases_error);
  }
  return document;
}

std::string FormatDrill(const std::map<std::string, DrillRecord>& drills,
                        const std::string& label) {
  const auto drill = drills.find(label);
  if (drill == drills.end()) {
    return "none";
  }
  return fmt::format("{} {}", drill->second.passed ? "passed" : "FAILED",
                     FormatUtc(std::chrono::floor<std::chrono::seconds>(drill->second.started)));
}

std::string FormatBackups(const std::vector<const BackupSummary*>& backups,
                          const std::map<std::string, DrillRecord>& drills) {
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
               {"bad pages", true},
               {"last drill (UTC)"}});
  for (const BackupSummary* backup : backups) {
    // People need no fractions of seconds. The end is rounded up, because a target time must not be
    // before it.
    table.AddRow({backup->label, BackupTypeName(backup->type),
                  FormatUtc(std::chrono::floor<std::chrono::seconds>(backup->start_time)),
                  FormatUtc(std::chrono::ceil<std::chrono::seconds>(backup->stop_time)),
                  std::to_string(backup->timeline), FormatLsn(backup->start_lsn),
                  FormatLsn(backup->stop_lsn), FormatSize(backup->size),
                  FormatSize(backup->stored_size),
                  backup->data_checksum_version == 0 ? "not checked"
                                                     : std::to_string(backup->checksum_failures),
                  FormatDrill(drills, backup->label)});
  }
  return table.Format();
}

// Empty when all backups can be trusted.
std::string FormatSuspects(const std::vector<const BackupSummary*>& backups) {
  std::string text;
  for (const BackupSummary* backup : backups) {
    if (const std::string suspect = SuspectDiff(*backup); !suspect.empty()) {
      text += fmt::format("  {}\n", suspect);
    }
  }
  return text.empty() ? "" : fmt::format("\nnot to be trusted\n{}  {}\n", text, kSuspectDiffHint);
}

// Collects remarks that may apply to several backups, and prints each once: with its label when it
// applies to one backup, otherwise with the number of backups and the newest label.
class Remarks {
 public:
  void Add(const std::string& remark, const std::string& label) {
    Entry& entry = entries_[remark];
    ++entry.backups;
    entry.newest = std::max(entry.newest, label);
  }
  // Begins each line with `what`.
  std::string Format(const char* what) const {
    std::string text;
    for (const auto& [remark, entry] : entries_) {
      text += entry.backups == 1 ? fmt::format("  {} {}: {}\n", what, remark, entry.newest)
                                 : fmt::format("  {} {}: {} backups, the newest {}\n", what, remark,
                                               entry.backups, entry.newest);
    }
    return text;
  }

 private:
  struct Entry {
    int backups = 0;
    std::string newest;
  };
  std::map<std::string, Entry> entries_;
};

// Describes what is not in the backups as it was in the data directory.
std::string FormatContents(const std::vector<const BackupSummary*>& backups) {
  Remarks without;
  Remarks skipped;
  Remarks followed;
  Remarks read;
  for (const BackupSummary* backup : backups) {
    for (const DatabaseSummary& database : DatabasesWithoutFiles(*backup)) {
      without.Add(QuoteIdentifier(database.name), backup->label);
    }
    if (!backup->changes_doubt.empty()) {
      read.Add(backup->changes_doubt, backup->label);
    }
    const WalkNotes& notes = backup->notes;
    for (const SkippedItem& item : notes.skipped) {
      skipped.Add(fmt::format("\"{}\" ({})", item.path, item.reason), backup->label);
    }
    if (backup->is_cut) {
      skipped.Add("and more, which did not fit into memory", backup->label);
    }
    if (notes.skipped_count > notes.skipped.size()) {
      skipped.Add(fmt::format("{} more", notes.skipped_count - notes.skipped.size()),
                  backup->label);
    }
    for (const FollowedLink& link : notes.links) {
      followed.Add(fmt::format("\"{}\" to \"{}\"", link.path, link.target), backup->label);
    }
    if (notes.links_count > notes.links.size()) {
      followed.Add(fmt::format("{} more", notes.links_count - notes.links.size()), backup->label);
    }
  }
  return without.Format("NO FILES of database") + skipped.Format("not copied:") +
         followed.Format("symbolic link followed:") + read.Format("everything was read, because");
}

std::string FormatWindow(const SystemInfo& system) {
  if (system.window_error) {
    return fmt::format("recovery window: not known\n  {}\n", system.window_error->message);
  }
  std::string text;
  if (system.window.stretches.empty()) {
    text = "recovery window: nothing can be restored\n";
  } else {
    Table table({{"recovery window from (UTC)"},
                 {"to (UTC)"},
                 {"timelines", true},
                 {"from LSN", true},
                 {"to LSN", true},
                 {"backups", true},
                 {"ended by"}});
    for (const RecoveryStretch& stretch : system.window.stretches) {
      const auto ceil = [](TimePoint time) {
        return FormatUtc(std::chrono::ceil<std::chrono::seconds>(time));
      };
      // The time of a commit is not rounded: recovery to a later one fails.
      std::string end = stretch.end_time ? FormatUtc(*stretch.end_time) : "";
      if (stretch.end_time && !stretch.end_is_exact) {
        end = "at most " + ceil(*stretch.end_time);
      }
      // Rounded up, the start may be behind the last commit. A time between them is a target, too.
      const bool ends_within = stretch.end_is_exact && std::chrono::ceil<std::chrono::seconds>(
                                                           stretch.start_time) > *stretch.end_time;
      table.AddRow({ends_within ? FormatUtc(stretch.start_time) : ceil(stretch.start_time), end,
                    stretch.first_timeline == stretch.last_timeline
                        ? std::to_string(stretch.first_timeline)
                        : fmt::format("{} to {}", stretch.first_timeline, stretch.last_timeline),
                    FormatLsn(stretch.start_lsn), FormatLsn(stretch.end_lsn),
                    std::to_string(stretch.backups), stretch.EndedBy()});
    }
    text = table.Format();
  }
  for (const UnrestorableBackup& backup : system.window.unrestorable) {
    text += fmt::format("  {} cannot be restored: {}\n", backup.label, backup.reason);
  }
  for (const UnrestorableBackup& backup : system.window.uncertain) {
    text += fmt::format("  {}: {}\n", backup.label, backup.reason);
  }
  return text;
}

// Only leases that are alive. Lapsed ones concern nobody but expiry.
std::string FormatLeases(const RepositoryInfo& info) {
  if (info.leases_error) {
    return fmt::format("\nin use: not known\n  {}\n  {}\n", info.leases_error->message,
                       info.leases_error->hint);
  }
  std::string text;
  for (const LeaseState& lease : info.leases) {
    if (lease.alive) {
      text += fmt::format("{}  {}: {}\n", text.empty() ? "\nin use, so retention keeps them\n" : "",
                          lease.label, lease.Holder());
    }
  }
  return text;
}

std::string ToText(const RepositoryInfo& info) {
  std::string text = fmt::format("repository {}\n", info.location);
  if (info.as_of) {
    text += fmt::format("as it was at {}\n", FormatUtc(*info.as_of));
  }
  for (const SystemInfo& system : info.systems) {
    const Identity& identity = system.identity;
    text += fmt::format("\nsystem {}: PostgreSQL {}, cipher {}, WAL segments of {}\n",
                        identity.system_identifier, FormatVersion(identity.postgres_version_num),
                        identity.cipher, FormatSize(identity.wal_segment_size));
    if (system.wal.empty()) {
      text += "  no WAL\n";
    }
    for (const ArchivePiece& piece : system.wal) {
      text += fmt::format(
          "  {} timeline {}: {} to {}, {} segments\n", piece.is_gap ? "GAP in WAL of" : "WAL of",
          piece.timeline, SegmentName(piece.timeline, piece.first, identity.wal_segment_size),
          SegmentName(piece.timeline, piece.last, identity.wal_segment_size), CountSegments(piece));
    }
    for (const std::string& file : system.missing_histories) {
      text +=
          fmt::format("  MISSING history file {}: \"latest\" cannot be followed beyond it\n", file);
    }
    std::vector<const BackupSummary*> backups;
    for (const BackupSummary& backup : info.catalog.backups) {
      if (backup.system_identifier == identity.system_identifier) {
        backups.push_back(&backup);
      }
    }
    text += "\n" + FormatBackups(backups, info.drills) + FormatContents(backups) +
            FormatSuspects(backups);
    if (!backups.empty()) {
      text += "\n" + FormatWindow(system);
    }
  }
  if (!info.catalog.unfinished.empty()) {
    text +=
        "\nunfinished: still running, or left by a backup that failed or a deletion that was "
        "interrupted\n";
    for (const UnfinishedBackup& backup : info.catalog.unfinished) {
      text += fmt::format("  {}\n", backup.label);
    }
  }
  if (info.old_fragments.count + info.young_fragments.count > 0) {
    text += "\ntemporary files of unfinished writes\n";
  }
  if (info.old_fragments.count > 0) {
    text += fmt::format("  {} left over, {}: veza_backup_expire() removes them\n",
                        info.old_fragments.count, FormatSize(info.old_fragments.bytes));
  }
  if (info.young_fragments.count > 0) {
    text += fmt::format("  {} less than an hour old, perhaps still being written, {}\n",
                        info.young_fragments.count, FormatSize(info.young_fragments.bytes));
  }
  if (!info.catalog.broken.empty()) {
    text += "\nunusable\n";
    for (const BrokenBackup& backup : info.catalog.broken) {
      text += fmt::format("  {}: {}\n", backup.label, backup.error.message);
    }
  }
  return text + FormatLeases(info);
}

struct InfoArguments {
  bool all = false;
  bool verify = false;
};

Result<int> RunInfo(const GlobalOptions& options, const InfoArguments& arguments) {
  if (arguments.all) {
    return RunInfoOfAll(options, arguments.verify);
  }
  if (arguments.verify) {
    return MakeError(ErrorCode::kInvalidArgument, "--verify needs --all")
        .WithHint("Without --all, everything that \"vezactl info\" shows is verified.");
  }
  ASSIGN_OR_RETURN(const Config config, LoadSettings(options));
  WarnOfSuspendedVersions(options, config);
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenRepository(options, config));
  ASSIGN_OR_RETURN(RepositoryInfo info, Collect(*repository, options.json));
  info.as_of = options.as_of;
  // If the repository has disappeared since it was opened, it seems to have no backups.
  RETURN_IF_ERROR(
      RequireRepositoryInPlace(*repository, repository->identities().front().system_identifier));
  if (options.json) {
    PrintJson(ToJson(info));
  } else {
    PrintText(ToText(info));
  }
  return HasBadNews(info) ? kBadAnswer : kDone;
}

}  // namespace

Subcommand AddInfo(Command parent) {
  auto arguments = std::make_shared<InfoArguments>();
  Command command = parent.AddCommand("info", "Show the backups and the WAL of the repository");
  command.AddFlag("--all", arguments->all,
                  "List every cluster below veza_backup.repository, with its newest backup, window "
                  "and last drill. Reads without the key, and says so");
  command.AddFlag("--verify", arguments->verify,
                  "With --all: open each cluster with the key, and check what is shown");
  return {command,
          [arguments](const GlobalOptions& options) { return RunInfo(options, *arguments); },
          DefaultExitCode, true};
}

}  // namespace veza::cli
