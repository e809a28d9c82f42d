// vezactl report: the cluster's time from the oldest to the newest moment, as a page with a picture
// or as JSON.
#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <utility>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/report_page.h"
#include "core/archive/archive_map.h"
#include "core/archive/recovery_window.h"
#include "core/backup/suspect_diff.h"
#include "core/repository/drill_record.h"
#include "core/storage/file_io.h"
#include "core/timeline/names_of_relations.h"
#include "core/timeline/timeline.h"
#include "core/timeline/window_end.h"

namespace veza::cli {
namespace {

// The load is shown in at most so many buckets.
constexpr std::int64_t kMostBuckets = 1500;
// Events take a request for each segment that has some, so only those of the last days are read,
// and the newest of them shown. A busy cluster truncates and drops relations all the time: these
// are left to vezactl timeline.
constexpr std::chrono::days kEventsOf{7};
constexpr std::size_t kMostEvents = 2000;
constexpr std::array kEventKinds = {"restore_point", "timeline",   "parameters",
                                    "database",      "tablespace", "gap"};

struct ReportArguments {
  std::string html;
  std::string system_id;
};

struct TimelineParent {
  TimelineId timeline = 0;
  Lsn switch_lsn;
};

// What the report is made of.
struct Material {
  std::string location;
  Identity identity;
  BackupCatalog catalog;            // of this system
  std::vector<StoredDrill> drills;  // likewise
  RecoveryWindow window;
  ClusterTimeline timeline;
  std::map<TimelineId, TimelineParent> parents;  // of the timelines that parted from another one
  TimePoint now{};
  TimePoint from{};
  std::chrono::minutes bucket{1};
};

// Times are milliseconds since 1970, which is what the page computes with.
std::int64_t Milliseconds(TimePoint time) {
  return std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
}

Json OrNull(const std::optional<std::chrono::milliseconds>& length) {
  return length ? Json(static_cast<std::int64_t>(length->count())) : Json(nullptr);
}

TimePoint Begin(const Material& material) {
  TimePoint begin = material.now;
  for (const BackupSummary& backup : material.catalog.backups) {
    begin = std::min(begin, backup.start_time);
  }
  for (const StoredDrill& drill : material.drills) {
    if (drill.record) {
      begin = std::min(begin, drill.record->started);
    }
  }
  return begin;
}

void KeepSystem(std::uint64_t system_identifier, Material& material) {
  std::erase_if(material.catalog.backups, [&](const BackupSummary& backup) {
    return backup.system_identifier != system_identifier;
  });
  std::erase_if(material.drills, [&](const StoredDrill& drill) {
    return drill.record && drill.record->system_identifier != system_identifier;
  });
}

std::map<TimelineId, TimelineParent> ParentsOf(const ArchiveMap& archive) {
  std::map<TimelineId, TimelineParent> parents;
  for (const ArchivePiece& piece : archive.Pieces()) {
    const std::vector<PathPart> path = archive.PathTo(piece.timeline);
    if (path.size() > 1) {
      const PathPart& parent = path[path.size() - 2];
      parents[piece.timeline] = {parent.timeline, parent.end};
    }
  }
  return parents;
}

Result<Material> Collect(const Repository& repository, const Identity& identity) {
  Material material;
  material.location = repository.store().location();
  material.identity = identity;
  // Backups before the archive: WAL is stored before the backup that needs it.
  ASSIGN_OR_RETURN(material.catalog, ReadBackupCatalog(repository, SummaryParts::kFacts));
  ASSIGN_OR_RETURN(material.drills, ReadDrills(repository));
  KeepSystem(identity.system_identifier, material);
  ASSIGN_OR_RETURN(material.now, repository.store().Now());
  ASSIGN_OR_RETURN(const ArchiveMap archive, ReadArchiveMap(repository, identity));
  ASSIGN_OR_RETURN(const LostParts lost, FindLostParts(repository, material.catalog.backups));
  ASSIGN_OR_RETURN(material.window, ReadRecoveryWindow(repository, identity.system_identifier,
                                                       material.catalog, archive, lost));
  RETURN_IF_ERROR(FindWindowEnds(repository, identity.system_identifier, material.catalog, archive,
                                 &material.window));
  material.from = Begin(material);
  const auto length = std::chrono::ceil<std::chrono::minutes>(material.now - material.from).count();
  material.bucket = std::chrono::minutes(std::max<std::int64_t>(1, length / kMostBuckets + 1));
  ASSIGN_OR_RETURN(material.timeline,
                   ReadTimeline(repository, identity, material.catalog, archive,
                                {.bucket = material.bucket,
                                 .events_from = material.now - kEventsOf,
                                 .kinds = {kEventKinds.begin(), kEventKinds.end()}}));
  // Names are a help only.
  if (const auto names =
          FindNamesOfRelations(repository, material.catalog, archive, identity.system_identifier,
                               RelationsIn(material.timeline.events))) {
    NameEvents(*names, material.timeline.events);
  }
  material.parents = ParentsOf(archive);
  return material;
}

Json WindowToJson(const RecoveryWindow& window) {
  Json list = Json::Array();
  for (const RecoveryStretch& stretch : window.stretches) {
    list.push_back({{"from", Milliseconds(stretch.start_time)},
                    {"to", Milliseconds(stretch.end_time.value_or(stretch.start_time))},
                    {"to_is_exact", stretch.end_is_exact},
                    {"from_lsn", FormatLsn(stretch.start_lsn)},
                    {"to_lsn", FormatLsn(stretch.end_lsn)},
                    {"first_timeline", stretch.first_timeline},
                    {"last_timeline", stretch.last_timeline},
                    {"backups", stretch.backups},
                    {"ended_by", stretch.EndedBy()}});
  }
  return list;
}

std::vector<std::string> Doubts(const BackupSummary& backup, const Material& material) {
  std::vector<std::string> doubts;
  if (std::string why = WhyDoubtful(backup, material.catalog.backups); !why.empty()) {
    doubts.push_back(std::move(why));
  }
  for (const DatabaseSummary& database : DatabasesWithoutFiles(backup)) {
    doubts.push_back("no files of database " + QuoteIdentifier(database.name));
  }
  for (const UnrestorableBackup& lost : material.window.unrestorable) {
    if (lost.label == backup.label) {
      doubts.push_back("cannot be restored: " + lost.reason);
    }
  }
  return doubts;
}

Json BackupsToJson(const Material& material) {
  Json list = Json::Array();
  for (const BackupSummary& backup : material.catalog.backups) {
    list.push_back({{"label", backup.label},
                    {"type", BackupTypeName(backup.type)},
                    {"start", Milliseconds(backup.start_time)},
                    {"stop", Milliseconds(backup.stop_time)},
                    {"timeline", backup.timeline},
                    {"start_lsn", FormatLsn(backup.start_lsn)},
                    {"stop_lsn", FormatLsn(backup.stop_lsn)},
                    {"size", backup.size},
                    {"stored", backup.stored_size},
                    {"node", backup.node},
                    {"from_standby", backup.from_standby},
                    {"doubts", Doubts(backup, material)}});
  }
  return list;
}

Json DrillsToJson(const std::vector<StoredDrill>& drills) {
  Json list = Json::Array();
  for (const StoredDrill& drill : drills) {
    if (!drill.record) {
      continue;
    }
    list.push_back({{"label", drill.record->label},
                    {"node", drill.record->node},
                    {"started", Milliseconds(drill.record->started)},
                    {"finished", Milliseconds(drill.record->finished)},
                    {"passed", drill.record->passed},
                    {"rto", OrNull(drill.record->rto)},
                    {"rpo", OrNull(drill.record->rpo)},
                    {"error", drill.record->error}});
  }
  return list;
}

// The time of a timeline is that of its transactions and backups.
Json TimelinesToJson(const Material& material) {
  std::map<TimelineId, std::pair<TimePoint, TimePoint>> spans;
  const auto add = [&](TimelineId timeline, TimePoint begin, TimePoint end) {
    const auto [found, is_new] = spans.try_emplace(timeline, begin, end);
    found->second = {std::min(found->second.first, begin), std::max(found->second.second, end)};
  };
  for (const LoadBucket& bucket : material.timeline.load) {
    add(bucket.timeline, bucket.begin, bucket.begin + material.bucket);
  }
  for (const BackupSummary& backup : material.catalog.backups) {
    add(backup.timeline, backup.start_time, backup.stop_time);
  }
  Json list = Json::Array();
  for (const auto& [timeline, span] : spans) {
    Json row = {{"id", timeline},
                {"begin", Milliseconds(span.first)},
                {"end", Milliseconds(span.second)},
                {"parent", nullptr},
                {"switch_lsn", nullptr}};
    if (const auto parent = material.parents.find(timeline); parent != material.parents.end()) {
      row["parent"] = parent->second.timeline;
      row["switch_lsn"] = FormatLsn(parent->second.switch_lsn);
    }
    list.push_back(std::move(row));
  }
  return list;
}

// Rows of [time, commits, aborts, bytes]. Those of all timelines together.
Json LoadToJson(const ClusterTimeline& timeline) {
  std::map<TimePoint, LoadBucket> sums;
  for (const LoadBucket& bucket : timeline.load) {
    LoadBucket& sum = sums[bucket.begin];
    sum.commits += bucket.commits;
    sum.aborts += bucket.aborts;
    sum.bytes += bucket.bytes;
  }
  Json list = Json::Array();
  for (const auto& [time, sum] : sums) {
    Json row = Json::Array();
    row.push_back(Milliseconds(time));
    row.push_back(sum.commits);
    row.push_back(sum.aborts);
    row.push_back(sum.bytes);
    list.push_back(std::move(row));
  }
  return list;
}

// An event before the first transaction of its timeline has no time.
Json TimeOf(const TimelineEvent& event) {
  return event.time == TimePoint{} ? Json(nullptr) : Json(Milliseconds(event.time));
}

bool IsGap(const TimelineEvent& event) {
  return event.kind == "gap";
}

// The newest kMostEvents. `older` is how many are left out.
Json EventsToJson(const ClusterTimeline& timeline, bool gaps, std::size_t& older) {
  const auto all = static_cast<std::size_t>(std::ranges::count_if(
      timeline.events, [&](const TimelineEvent& event) { return IsGap(event) == gaps; }));
  older = all - std::min(all, kMostEvents);
  std::size_t passed = 0;
  Json list = Json::Array();
  for (const TimelineEvent& event : timeline.events) {
    if (IsGap(event) != gaps || passed++ < older) {
      continue;
    }
    list.push_back({{"time", TimeOf(event)},
                    {"exact", event.time_is_exact},
                    {"timeline", event.timeline},
                    {"lsn", FormatLsn(event.lsn)},
                    {"kind", event.kind},
                    {"text", event.text}});
  }
  return list;
}

std::vector<std::string> Warnings(const Material& material) {
  std::vector<std::string> warnings;
  if (material.window.stretches.empty()) {
    warnings.emplace_back("Nothing can be restored.");
  }
  for (const BrokenBackup& broken : material.catalog.broken) {
    warnings.push_back(fmt::format("Backup {}: {}.", broken.label, broken.error.message));
  }
  for (const UnrestorableBackup& lost : material.window.unrestorable) {
    warnings.push_back(fmt::format("Backup {} cannot be restored: {}.", lost.label, lost.reason));
  }
  if (material.timeline.unread > 0) {
    warnings.push_back(
        fmt::format("{} WAL segments have no index, and their load is left out. \"vezactl index\" "
                    "makes what is missing.",
                    material.timeline.unread));
  }
  for (const std::string& message : material.timeline.damaged) {
    warnings.push_back(message + ".");
  }
  return warnings;
}

Json ToJson(const Material& material, const std::vector<std::string>& warnings) {
  const std::vector<BackupSummary>& backups = material.catalog.backups;
  std::size_t older_gaps = 0;
  std::size_t older_events = 0;
  Json gaps = EventsToJson(material.timeline, true, older_gaps);
  Json events = EventsToJson(material.timeline, false, older_events);
  return {{"version", VEZA_VERSION},
          {"generated", Milliseconds(material.now)},
          {"repository", material.location},
          {"system_identifier", std::to_string(material.identity.system_identifier)},
          {"postgres_version", backups.empty() ? "" : backups.back().postgres_version},
          {"from", Milliseconds(material.from)},
          {"to", Milliseconds(material.now)},
          {"warnings", warnings},
          {"window", WindowToJson(material.window)},
          {"backups", BackupsToJson(material)},
          {"drills", DrillsToJson(material.drills)},
          {"timelines", TimelinesToJson(material)},
          {"gaps", std::move(gaps)},
          {"gaps_left_out", older_gaps},
          {"events", std::move(events)},
          {"events_left_out", older_events},
          {"events_from", Milliseconds(material.now - kEventsOf)},
          {"bucket", std::chrono::seconds(material.bucket).count()},
          {"load", LoadToJson(material.timeline)}};
}

Result<int> RunReport(const GlobalOptions& options, const ReportArguments& arguments) {
  if (arguments.html.empty() && !options.json) {
    return MakeError(ErrorCode::kInvalidArgument, "nothing says where the report should go")
        .WithHint("Name a file with --html, or print the facts with --output json.");
  }
  const bool to_stdout = arguments.html == "-";
  if (to_stdout && options.json) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "page and JSON cannot both be written to standard output")
        .WithHint("Name a file with --html.");
  }
  if (!arguments.html.empty() && !to_stdout) {
    RETURN_IF_ERROR(RequireReplaceableFile(arguments.html));
  }
  ASSIGN_OR_RETURN(const std::optional<std::uint64_t> system, ParseSystemId(arguments.system_id));
  ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenRepository(options, config));
  ASSIGN_OR_RETURN(const Identity identity, repository->IdentityOf(system));
  ASSIGN_OR_RETURN(const Material material, Collect(*repository, identity));
  const std::vector<std::string> warnings = Warnings(material);
  const Json report = ToJson(material, warnings);
  if (options.json) {
    PrintJson(report);
  }
  if (to_stdout) {
    PrintText(ReportPage(report));
  } else if (!arguments.html.empty()) {
    RETURN_IF_ERROR(ReplaceTextFile(arguments.html, ReportPage(report)));
  }
  for (const std::string& warning : warnings) {
    PrintWarning(warning.substr(0, warning.size() - 1));
  }
  return warnings.empty() ? kDone : kBadAnswer;
}

}  // namespace

Subcommand AddReport(Command parent) {
  auto arguments = std::make_shared<ReportArguments>();
  Command command = parent.AddCommand(
      "report", "Draw the cluster's time: what can be restored, backups, drills, gaps, load");
  command
      .Add("--html", arguments->html,
           "Write a page to this file (-: to standard output). It needs no network, and replaces a "
           "file that is there")
      .TypeName("FILE");
  AddSystemIdOption(command, arguments->system_id);
  return {command,
          [arguments](const GlobalOptions& options) { return RunReport(options, *arguments); },
          DefaultExitCode};
}

}  // namespace veza::cli
