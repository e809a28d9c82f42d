// vezactl timeline: what the cluster did, and when, for somebody who has to choose a moment.
#include "core/timeline/timeline.h"

#include <algorithm>
#include <charconv>

#include "cli/command.h"
#include "cli/output.h"
#include "core/archive/archive_map.h"
#include "core/restore/target_time.h"
#include "core/timeline/names_of_relations.h"

namespace veza::cli {
namespace {

constexpr std::chrono::minutes kAround{1};

struct TimelineArguments {
  std::string from;
  std::string to;
  std::string around;
  std::string bucket = "1min";
  bool transactions = false;
  std::string system_id;
};

Result<std::chrono::minutes> ParseBucket(const std::string& text) {
  int number = 0;
  const char* const end = text.data() + text.size();
  const auto [stopped, error] = std::from_chars(text.data(), end, number);
  const std::string_view unit(stopped, static_cast<std::size_t>(end - stopped));
  const int minutes = unit == "min" ? 1 : unit == "h" ? 60 : unit == "d" ? 24 * 60 : 0;
  constexpr int kMost = 1000;
  if (minutes != 0 && (error == std::errc::result_out_of_range || number > kMost)) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is too long a time to sum up", text)
        .WithHint(fmt::format("Give at most {0}min, {0}h or {0}d.", kMost));
  }
  if (error != std::errc() || minutes == 0 || number < 1) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not a length of time", text)
        .WithHint("Give whole minutes, hours or days, for example 1min, 2h or 1d.");
  }
  return std::chrono::minutes(number * minutes);
}

Result<TimelineRange> ParseRange(const TimelineArguments& arguments) {
  TimelineRange range;
  if (!arguments.around.empty()) {
    ASSIGN_OR_RETURN(const TimePoint around, ParseTargetTime(arguments.around));
    range = {around - kAround, around + kAround};
  }
  if (!arguments.from.empty()) {
    ASSIGN_OR_RETURN(range.from, ParseTargetTime(arguments.from));
  }
  if (!arguments.to.empty()) {
    ASSIGN_OR_RETURN(range.to, ParseTargetTime(arguments.to));
  }
  if (range.from > range.to) {
    return MakeError(ErrorCode::kInvalidArgument, "--from is later than --to")
        .WithHint("Name the earlier time with --from.");
  }
  return range;
}

void PrintTransactions(const GlobalOptions& options, const ClusterTransactions& transactions,
                       const NamesOfRelations& names) {
  Json list = Json::Array();
  Table table({{"time (UTC)"}, {"timeline", true}, {"LSN"}, {"xid", true}, {"end"}, {"blocks"}});
  for (const TransactionStory& story : transactions.stories) {
    const char* const how = story.end.committed ? "commit" : "abort";
    std::string text;
    for (const TransactionStory::Touched& touched : story.touched) {
      text += fmt::format("{}{} in {}", text.empty() ? "" : ", ", touched.blocks,
                          Printable(DescribeRelation({story.timeline, touched.file}, names)));
    }
    if (options.json) {
      list.push_back({{"time", FormatUtc(story.end.time)},
                      {"timeline", story.timeline},
                      {"lsn", FormatLsn(story.end.begin)},
                      {"xid", story.end.xid},
                      {"committed", story.end.committed},
                      {"prepared", story.end.prepared},
                      {"database", story.end.database},
                      {"relations", RelationsToJson(story, names)}});
    } else {
      table.AddRow({FormatUtc(story.end.time), std::to_string(story.timeline),
                    FormatLsn(story.end.begin), std::to_string(story.end.xid), how, text});
    }
  }
  if (options.json) {
    PrintJson({{"transactions", std::move(list)},
               {"unread", transactions.unread},
               {"damaged", transactions.damaged}});
  } else {
    PrintText(table.Format());
  }
}

// Names are a help only: without them there are the numbers.
NamesOfRelations NamesFor(const Repository& repository, const BackupCatalog& catalog,
                          const ArchiveMap& archive, std::uint64_t system_identifier,
                          const RelationsWanted& wanted) {
  Result<NamesOfRelations> names =
      FindNamesOfRelations(repository, catalog, archive, system_identifier, wanted);
  if (!names) {
    PrintWarning(fmt::format("the names of relations are not known: {}", names.error().message));
    return {};
  }
  return std::move(*names);
}

Json ToJson(const ClusterTimeline& timeline) {
  Json load = Json::Array();
  for (const LoadBucket& bucket : timeline.load) {
    load.push_back({{"timeline", bucket.timeline},
                    {"time", FormatUtc(bucket.begin)},
                    {"commits", bucket.commits},
                    {"aborts", bucket.aborts},
                    {"bytes", bucket.bytes},
                    {"images", bucket.images},
                    {"image_bytes", bucket.image_bytes}});
  }
  Json events = Json::Array();
  for (const TimelineEvent& event : timeline.events) {
    events.push_back(EventToJson(event));
  }
  return {{"load", std::move(load)},
          {"events", std::move(events)},
          {"segments", timeline.segments},
          {"unread", timeline.unread},
          {"damaged", timeline.damaged}};
}

void PrintTimeline(const GlobalOptions& options, const ClusterTimeline& timeline) {
  if (options.json) {
    PrintJson(ToJson(timeline));
    return;
  }
  Table load({{"time (UTC)"},
              {"timeline", true},
              {"commits", true},
              {"aborts", true},
              {"WAL", true},
              {"images", true}});
  for (const LoadBucket& bucket : timeline.load) {
    load.AddRow({FormatUtc(bucket.begin), std::to_string(bucket.timeline),
                 std::to_string(bucket.commits), std::to_string(bucket.aborts),
                 FormatSize(bucket.bytes), std::to_string(bucket.images)});
  }
  Table events({{"time (UTC)"}, {"timeline", true}, {"LSN"}, {"event"}, {""}});
  for (const TimelineEvent& event : timeline.events) {
    events.AddRow({DescribeTime(event), std::to_string(event.timeline), FormatLsn(event.lsn),
                   event.kind, Printable(event.text)});
  }
  PrintText(load.Format() + "\n" + events.Format());
}

// Returns the exit code.
int WarnOfUnread(std::uint64_t unread, const std::vector<std::string>& damaged) {
  if (unread > 0) {
    PrintWarning(fmt::format("{} WAL segments have no index, and are left out", unread),
                 "\"vezactl index\" makes what is missing.");
  }
  for (const std::string& message : damaged) {
    PrintWarning(message);
  }
  return damaged.empty() ? kDone : kBadAnswer;
}

Result<int> RunTimeline(const GlobalOptions& options, const TimelineArguments& arguments) {
  ASSIGN_OR_RETURN(const TimelineRange range, ParseRange(arguments));
  ASSIGN_OR_RETURN(const std::chrono::minutes bucket, ParseBucket(arguments.bucket));
  ASSIGN_OR_RETURN(const std::optional<std::uint64_t> system, ParseSystemId(arguments.system_id));
  ASSIGN_OR_RETURN(const Config config, LoadSettings(options));
  WarnOfSuspendedVersions(options, config);
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenRepository(options, config));
  ASSIGN_OR_RETURN(const Identity identity, repository->IdentityOf(system));
  ASSIGN_OR_RETURN(const BackupCatalog catalog, ReadBackupCatalog(*repository));
  ASSIGN_OR_RETURN(const ArchiveMap archive, ReadArchiveMap(*repository, identity));
  if (arguments.transactions) {
    ASSIGN_OR_RETURN(const ClusterTransactions transactions,
                     ReadTransactions(*repository, identity, archive, {.range = range}));
    PrintTransactions(options, transactions,
                      NamesFor(*repository, catalog, archive, identity.system_identifier,
                               RelationsIn(transactions.stories)));
    return WarnOfUnread(transactions.unread, transactions.damaged);
  }
  ASSIGN_OR_RETURN(ClusterTimeline timeline, ReadTimeline(*repository, identity, catalog, archive,
                                                          {.range = range, .bucket = bucket}));
  NameEvents(NamesFor(*repository, catalog, archive, identity.system_identifier,
                      RelationsIn(timeline.events)),
             timeline.events);
  PrintTimeline(options, timeline);
  return WarnOfUnread(timeline.unread, timeline.damaged);
}

}  // namespace

Subcommand AddTimeline(Command parent) {
  auto arguments = std::make_shared<TimelineArguments>();
  Command command = parent.AddCommand(
      "timeline", "Show what the cluster did and when, so that a moment can be chosen");
  Option from = command.Add("--from", arguments->from, "From this time on");
  from.TypeName("TIME");
  Option to = command.Add("--to", arguments->to, "Up to this time");
  to.TypeName("TIME");
  command.Add("--around", arguments->around, "From a minute before this time to a minute behind it")
      .TypeName("TIME")
      .Excludes(from)
      .Excludes(to);
  command.Add("--bucket", arguments->bucket, "Sum up the load of so many minutes, hours or days")
      .TypeName("LENGTH")
      .ShowsDefault();
  command.AddFlag("--transactions", arguments->transactions,
                  "Show each transaction that ended, with the relations that it changed. LSN and "
                  "xid can be given to restore as --target-lsn and --target-xid");
  AddSystemIdOption(command, arguments->system_id);
  return {command,
          [arguments](const GlobalOptions& options) { return RunTimeline(options, *arguments); },
          DefaultExitCode, true};
}

}  // namespace veza::cli
