// vezactl index: makes the index of archived WAL that is missing or damaged.
#include "core/archive/index_builder.h"

#include <algorithm>
#include <limits>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/progress.h"

namespace veza::cli {
namespace {

struct IndexArguments {
  std::string from;
  std::string to;
  int timeline = 0;
  bool all = false;
  int jobs = 0;
  std::string system_id;
};

// The segment that an option names, by its own name or by an LSN in it.
struct Place {
  SegmentNumber segment = 0;
  std::optional<TimelineId> timeline{};  // the name of a segment says it
};

Result<Place> ParsePlace(const char* option, const std::string& text, std::uint64_t segment_size) {
  const auto name = ParseWalFileName(text);
  if (name && name->kind == WalFileKind::kSegment) {
    return Place{SegmentNumberOf(text, segment_size), name->timeline};
  }
  const Result<Lsn> lsn = ParseLsn(text);
  if (!lsn) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "{}: \"{}\" is neither the name of a WAL segment nor an LSN", option, text)
        .WithHint("Examples are \"000000010000000000000007\" and \"0/7000028\".");
  }
  return Place{SegmentOf(*lsn, segment_size), std::nullopt};
}

Status Narrow(const Place& place, IndexBuildOptions& build) {
  if (place.timeline && build.timeline && *place.timeline != *build.timeline) {
    return MakeError(ErrorCode::kInvalidArgument,
                     "--from, --to and --timeline name different timelines: {} and {}",
                     *build.timeline, *place.timeline)
        .WithHint("Give LSNs and --timeline, or run the command once for each timeline.");
  }
  if (place.timeline) {
    build.timeline = place.timeline;
  }
  return Ok();
}

Result<IndexBuildOptions> ToOptions(const IndexArguments& arguments, const Config& config,
                                    const Repository& repository) {
  ASSIGN_OR_RETURN(const std::optional<std::uint64_t> system, ParseSystemId(arguments.system_id));
  ASSIGN_OR_RETURN(const Identity identity, repository.IdentityOf(system));
  IndexBuildOptions build{.system_identifier = identity.system_identifier,
                          .segment_size = identity.wal_segment_size,
                          .all = arguments.all,
                          .open_objects = true,
                          .jobs = arguments.jobs};
  if (build.jobs == 0) {
    build.jobs = DefaultJobs(config);
  }
  if (arguments.timeline > 0) {
    build.timeline = static_cast<TimelineId>(arguments.timeline);
  }
  if (!arguments.from.empty()) {
    ASSIGN_OR_RETURN(const Place place, ParsePlace("--from", arguments.from, build.segment_size));
    RETURN_IF_ERROR(Narrow(place, build));
    build.first = place.segment;
  }
  if (!arguments.to.empty()) {
    ASSIGN_OR_RETURN(const Place place, ParsePlace("--to", arguments.to, build.segment_size));
    RETURN_IF_ERROR(Narrow(place, build));
    build.last = place.segment;
  }
  if (build.first && build.last && *build.last < *build.first) {
    return MakeError(ErrorCode::kInvalidArgument, "--from is behind --to")
        .WithHint("Name the first segment, or an LSN in it, with --from.");
  }
  return build;
}

Json ToJson(const IndexReport& report, std::uint64_t bytes, std::chrono::milliseconds elapsed) {
  Json failures = Json::Array();
  for (const IndexFailure& failure : report.failures) {
    failures.push_back({{"object", failure.object}, {"message", failure.error.message}});
  }
  return {{"segments", report.archived},       {"segments_without_index", report.missing},
          {"segments_indexed", report.made},   {"segments_left", report.left},
          {"segments_failed", report.failed},  {"objects_written", report.objects},
          {"objects_removed", report.removed}, {"objects_undeletable", report.undeletable},
          {"failures", std::move(failures)},   {"bytes_read", bytes},
          {"milliseconds", elapsed.count()}};
}

std::string ToText(const IndexReport& report, std::uint64_t bytes,
                   std::chrono::milliseconds elapsed) {
  std::string text;
  for (const IndexFailure& failure : report.failures) {
    text += fmt::format("  {}\n", failure.error.message);
  }
  if (report.failed > report.failures.size()) {
    text += fmt::format("  and {} more\n", report.failed - report.failures.size());
  }
  if (!text.empty()) {
    text = "segments that cannot be read\n" + text + "\n";
  }
  text += fmt::format("{} of {} segments without an index: {} indexed in {} objects",
                      report.missing, report.archived, report.made, report.objects);
  if (report.removed > 0) {
    text += fmt::format(", {} objects replaced", report.removed);
  }
  if (report.undeletable > 0) {
    text += fmt::format(
        ", {} objects that are replaced stay, because these credentials may not delete them",
        report.undeletable);
  }
  if (report.left > 0) {
    text += fmt::format(", {} left for another run", report.left);
  }
  return text + fmt::format(" ({} read in {})\n", FormatSize(bytes), FormatDuration(elapsed));
}

Result<int> RunIndex(const GlobalOptions& options, const IndexArguments& arguments) {
  ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenRepository(options, config));
  ASSIGN_OR_RETURN(const IndexBuildOptions build, ToOptions(arguments, config, *repository));

  const Clock& clock = *options.environment.clock;
  const SteadyTime begin = clock.Steady();
  IndexBuildProgress progress;
  ProgressReporter reporter(clock, options.quiet, [&] {
    return ProgressState{progress.segments * build.segment_size,
                         progress.segments_total * build.segment_size, "indexing"};
  });
  const Result<IndexReport> report = BuildIndex(*repository, build, progress);
  reporter.Stop();
  if (!report) {
    return report.error();
  }
  const auto elapsed =
      std::chrono::duration_cast<std::chrono::milliseconds>(clock.Steady() - begin);
  const bool is_good = report->failed == 0;
  if (options.json) {
    PrintJson(ToJson(*report, progress.bytes_read, elapsed));
  } else if (!options.quiet || !is_good) {
    PrintText(ToText(*report, progress.bytes_read, elapsed));
  }
  return is_good ? kDone : kBadAnswer;
}

}  // namespace

Subcommand AddIndex(Command parent) {
  auto arguments = std::make_shared<IndexArguments>();
  Command command = parent.AddCommand(
      "index", "Make the index of archived WAL where it is missing, damaged or outdated");
  command
      .Add("--from", arguments->from,
           "Begin with this WAL segment, given by its name or by an LSN in it; default: the oldest")
      .TypeName("SEGMENT|LSN");
  command.Add("--to", arguments->to, "End with this WAL segment, likewise; default: the newest")
      .TypeName("SEGMENT|LSN");
  command
      .Add("--timeline", arguments->timeline,
           "Only WAL of this timeline; default: of all timelines")
      .Range(1, std::numeric_limits<int>::max())
      .TypeName("N");
  command.AddFlag("--all", arguments->all, "Also make anew what has a good index");
  AddJobsOption(command, arguments->jobs);
  AddSystemIdOption(command, arguments->system_id);
  return {command,
          [arguments](const GlobalOptions& options) { return RunIndex(options, *arguments); },
          DefaultExitCode};
}

}  // namespace veza::cli
