// vezactl mirror: copies to the second repository what it lacks.
#include "core/mirror/mirror.h"

#include "cli/command.h"
#include "cli/metrics_file.h"
#include "cli/mirror_metrics.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "core/restore/overlap.h"

namespace veza::cli {
namespace {

struct MirrorArguments {
  bool dry_run = false;
  std::uint64_t rate = 0;
  int jobs = 0;
  std::string metrics_file;
};

Json ToJson(const std::vector<NotMirrored>& list) {
  Json array = Json::Array();
  for (const NotMirrored& one : list) {
    array.push_back({{"name", one.name}, {"reason", one.reason}});
  }
  return array;
}

Json ToJson(const MirrorReport& report, const std::string& location, bool dry_run,
            std::chrono::milliseconds elapsed) {
  Json backups = Json::Array();
  for (const std::string& label : report.backups_copied) {
    backups.push_back(label);
  }
  return {{"mirror", location},
          {"dry_run", dry_run},
          {"behind",
           {{"objects", report.objects_behind},
            {"bytes", report.bytes_behind},
            {"seconds", report.lag().count()}}},
          {"copied",
           {{"objects", report.objects_copied},
            {"bytes", report.bytes_copied},
            {"backups", std::move(backups)}}},
          {"objects_there", report.objects_there},
          {"objects_gone", report.objects_gone},
          {"objects_only_there", report.objects_only_there},
          {"objects_foreign", report.objects_foreign},
          {"has_lost_backups", report.has_lost_backups},
          {"conflicts", ToJson(report.conflicts)},
          {"conflict_count", report.conflict_count},
          {"unreadable", ToJson(report.unreadable)},
          {"unreadable_count", report.unreadable_count},
          {"incomplete", ToJson(report.incomplete)},
          {"milliseconds", elapsed.count()}};
}

std::string ListOf(const char* title, const std::vector<NotMirrored>& list, std::uint64_t count) {
  if (list.empty()) {
    return "";
  }
  std::string text = fmt::format("{}\n", title);
  for (const NotMirrored& one : list) {
    text += fmt::format("  {}: {}\n", Printable(one.name), Printable(one.reason));
  }
  if (count > list.size()) {
    text += fmt::format("  and {} more\n", count - list.size());
  }
  return text + "\n";
}

std::string ToText(const MirrorReport& report, const std::string& location, bool dry_run,
                   std::chrono::milliseconds elapsed) {
  std::string text =
      (report.has_lost_backups
           ? std::string(
                 "WARNING:  the repository has no backup any more. Nothing was removed from "
                 "the mirror.\n\n")
           : std::string()) +
      ListOf("conflicts: the mirror has something else under these names, which stays",
             report.conflicts, report.conflict_count) +
      ListOf("not copied: damaged, not given out by the repository, or not taken by the mirror",
             report.unreadable, report.unreadable_count) +
      ListOf("backups that are not on the mirror yet", report.incomplete, report.incomplete.size());
  text += fmt::format("mirror: {}\n", location);
  text += report.objects_behind == 0
              ? "was behind: by nothing\n"
              : fmt::format("was behind: by {} objects ({}), the oldest of them {} old\n",
                            report.objects_behind, FormatSize(report.bytes_behind),
                            FormatDuration(report.lag()));
  if (!dry_run) {
    text += fmt::format("copied: {} objects ({}), {} backups, in {}\n", report.objects_copied,
                        FormatSize(report.bytes_copied), report.backups_copied.size(),
                        FormatDuration(elapsed));
  }
  if (report.objects_foreign > 0) {
    text +=
        fmt::format("not copied, because their names are not those of a repository: {} objects\n",
                    report.objects_foreign);
  }
  if (report.objects_only_there > 0) {
    text += fmt::format("only on the mirror: {} objects\n", report.objects_only_there);
  }
  return text;
}

// Whether a Put to the mirror does not send the digest along, by which the mirror's store refuses
// bytes that were damaged on the way.
bool NeedsReadingBack(const Config& mirror) {
  return mirror.kind == RepositoryKind::kDirectory;
}

// By whatever links and mounts.
Status RequireApart(const Config& first, const Config& mirror) {
  if (first.kind != RepositoryKind::kDirectory || mirror.kind != RepositoryKind::kDirectory) {
    return Ok();
  }
  const std::string one = RootOf(first).directory;
  const std::string two = RootOf(mirror).directory;
  if (!Overlap(one, two)) {
    return Ok();
  }
  return MakeError(ErrorCode::kConflict,
                   "mirror \"{}\" and repository \"{}\" are one place, or one of them lies in the "
                   "other",
                   two, one)
      .WithHint("A link or a mount leads there. Let veza_backup.mirror name a place of its own.");
}

struct Pass {
  MirrorReport report;
  std::string location;  // of the mirror
  std::chrono::milliseconds elapsed{};
};

Result<Pass> RunPass(const GlobalOptions& options, const Config& config,
                     const MirrorArguments& arguments) {
  ASSIGN_OR_RETURN(const Config mirror_config, LoadMirrorConfig(options.config_file));
  RETURN_IF_ERROR(RequireApart(config, mirror_config));
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenRepository(options, config));
  ASSIGN_OR_RETURN(const std::shared_ptr<Store> mirror, Connect(options, mirror_config, {}));
  const MirrorOptions pass{.jobs = arguments.jobs > 0 ? arguments.jobs : DefaultJobs(mirror_config),
                           .rate = arguments.rate,
                           .dry_run = arguments.dry_run,
                           .reads_back = NeedsReadingBack(mirror_config)};
  const Clock& clock = *options.environment.clock;
  const SteadyTime begin = clock.Steady();
  MirrorProgress progress;
  ProgressReporter reporter(clock, options.quiet, [&] {
    return ProgressState{progress.bytes_done, progress.bytes_behind, "mirroring"};
  });
  Result<MirrorReport> report = RunMirror(*repository, mirror, pass, progress);
  reporter.Stop();
  RETURN_IF_ERROR(report);
  return Pass{std::move(*report), mirror->location(),
              std::chrono::duration_cast<std::chrono::milliseconds>(clock.Steady() - begin)};
}

Result<int> RunMirrorCommand(const GlobalOptions& options, const MirrorArguments& arguments) {
  if (arguments.dry_run && !arguments.metrics_file.empty()) {
    return MakeError(ErrorCode::kInvalidArgument, "--dry-run and --metrics-file exclude each other")
        .WithHint("A dry run copies nothing, so the metrics would tell of another pass.");
  }
  ASSIGN_OR_RETURN(const Config config, LoadConfig(options.config_file));
  const Clock& clock = *options.environment.clock;
  const TimePoint begun = clock.Now();
  const Result<Pass> pass = RunPass(options, config, arguments);
  const bool interrupted = !pass && pass.error().code == ErrorCode::kCancelled;
  Status metrics = Ok();
  if (!arguments.metrics_file.empty() && !interrupted) {
    metrics = ReplaceMetrics(arguments.metrics_file, [&](std::string_view before) {
      return FormatMirrorMetrics(config.cluster, pass ? &pass->report : nullptr, begun, clock.Now(),
                                 before);
    });
  }
  RETURN_IF_ERROR(pass);
  const MirrorReport& report = pass->report;
  if (options.json) {
    PrintJson(ToJson(report, pass->location, arguments.dry_run, pass->elapsed));
  } else if (!options.quiet || !report.is_whole()) {
    PrintText(ToText(report, pass->location, arguments.dry_run, pass->elapsed));
  }
  RETURN_IF_ERROR(metrics);
  return report.is_whole() ? kDone : kBadAnswer;
}

}  // namespace

Subcommand AddMirror(Command parent) {
  auto arguments = std::make_shared<MirrorArguments>();
  Command command = parent.AddCommand(
      "mirror", "Copy to veza_backup.mirror what the repository has and it lacks");
  command.AddFlag("--dry-run", arguments->dry_run, "Only show how far the mirror is behind");
  command
      .AddSize("--rate", arguments->rate,
               "Copy at most this many bytes per second, for example 20MB; default: no limit")
      .TypeName("BYTES");
  AddJobsOption(command, arguments->jobs);
  command
      .Add("--metrics-file", arguments->metrics_file,
           "Write metrics to this file, for node_exporter's textfile collector")
      .TypeName("FILE");
  command.SetFooter(
      "One pass. It may be ended at any time, and the next one goes on. It replaces and deletes\n"
      "nothing on the mirror, and locks nothing. Exit code 1: something was not copied, and the\n"
      "output says what and why.");
  return {
      command,
      [arguments](const GlobalOptions& options) { return RunMirrorCommand(options, *arguments); },
      DefaultExitCode};
}

}  // namespace veza::cli
