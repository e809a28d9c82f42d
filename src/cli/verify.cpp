// vezactl verify: tests whether the repository holds what was written to it.
#include "core/verify/verify.h"

#include <algorithm>

#include "cli/command.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "core/repository/names.h"

namespace veza::cli {
namespace {

struct VerifyArguments {
  std::vector<std::string> backups;
  bool full = false;
  bool mirror = false;
  int jobs = 0;
  std::uint64_t max_rate = 0;
};

// Makes later backups and restores pass over what was found damaged. The verification stands when
// that fails.
RememberedDamage Remember(const Repository& repository, const VerifyReport& report) {
  RememberedDamage remembered = RememberDamage(repository, report);
  if (remembered.status) {
    return remembered;
  }
  const bool is_damaged = std::ranges::any_of(
      report.backups, [](const VerifiedBackup& backup) { return backup.damaged.count > 0; });
  PrintWarning(fmt::format("what was verified could not be written down below \"{}\": {}",
                           kDamagePrefix, remembered.status.error().message),
               is_damaged
                   ? "Later backups do not know that they must not build on the damaged ones, and "
                     "restores do not pass over them. Take a full backup, or verify again with "
                     "credentials that may write and delete there."
                   : "A backup that was known as damaged remains so. Verify again with credentials "
                     "that may write and delete there.");
  return remembered;
}

Json ToJson(const VerifyReport& report, const RememberedDamage& remembered, bool full,
            std::chrono::milliseconds elapsed) {
  Json backups = Json::Array();
  for (const VerifiedBackup& backup : report.backups) {
    backups.push_back({{"label", backup.label},
                       {"type", BackupTypeName(backup.type)},
                       {"passed", backup.good},
                       {"suspect", backup.suspect}});
  }
  Json problems = Json::Array();
  for (const VerifyProblem& problem : report.problems) {
    Json row = {{"object", problem.object}, {"message", problem.message}};
    if (!problem.backup.empty()) {
      row["backup"] = problem.backup;
    }
    problems.push_back(std::move(row));
  }
  return {{"passed", report.passed()},
          {"full", full},
          {"backups", std::move(backups)},
          {"problems", std::move(problems)},
          {"problem_count", report.problem_count},
          {"orphans", report.orphans},
          {"orphan_count", report.orphan_count},
          {"remembered", remembered.stored},
          {"forgotten", remembered.removed},
          {"objects", report.objects},
          {"extents", report.extents},
          {"bytes_read", report.bytes_read},
          {"milliseconds", elapsed.count()}};
}

std::string MoreThan(std::uint64_t count, std::size_t shown) {
  return count > shown ? fmt::format("  and {} more\n", count - shown) : "";
}

std::string ResultOf(const VerifiedBackup& backup) {
  return backup.good ? "good" : backup.suspect ? "not to be trusted" : "damaged";
}

std::string PlaceOf(const VerifyProblem& problem) {
  if (!problem.backup.empty()) {
    return problem.backup;
  }
  return problem.object.starts_with(kIndexPrefix) ? "index of WAL"
         : problem.object.starts_with(kKeyPrefix) ? "passphrases"
                                                  : "WAL archive";
}

std::string ToText(const VerifyReport& report, const RememberedDamage& remembered, bool full,
                   std::chrono::milliseconds elapsed) {
  std::string text;
  if (!report.backups.empty()) {
    Table table({{"backup"}, {"type"}, {"result"}});
    for (const VerifiedBackup& backup : report.backups) {
      table.AddRow({backup.label, BackupTypeName(backup.type), ResultOf(backup)});
    }
    text += table.Format() + "\n";
  }
  if (report.problem_count > 0) {
    text += "problems\n";
    for (const VerifyProblem& problem : report.problems) {
      text += fmt::format("  {}: {}\n", PlaceOf(problem), problem.message);
    }
    text += MoreThan(report.problem_count, report.problems.size()) + "\n";
  }
  if (report.orphan_count > 0) {
    text += "objects that nothing refers to\n";
    for (const std::string& orphan : report.orphans) {
      text += fmt::format("  {}\n", orphan);
    }
    text += MoreThan(report.orphan_count, report.orphans.size()) + "\n";
  }
  for (const std::string& label : remembered.stored) {
    text += fmt::format(
        "{} is known as damaged from now on: backups do not build on it, and a restore without "
        "--backup passes over it\n",
        label);
  }
  for (const std::string& label : remembered.removed) {
    text += fmt::format("{} was known as damaged, and is good\n", label);
  }
  return text + fmt::format("{} {} backups, {} objects, {} extents: {} ({} read in {})\n",
                            full ? "verified every byte of" : "verified", report.backups.size(),
                            report.objects, report.extents,
                            report.passed() ? "nothing is wrong"
                                            : fmt::format("{} problems", report.problem_count),
                            FormatSize(report.bytes_read), FormatDuration(elapsed));
}

Result<int> RunVerify(GlobalOptions options, const VerifyArguments& arguments) {
  options.mirror = options.mirror || arguments.mirror;
  ASSIGN_OR_RETURN(const Config config, LoadSettings(options));
  WarnOfSuspendedVersions(options, config);
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                   OpenRepository(options, config, RestoreRetries(config)));
  VerifyOptions verify;
  verify.labels = arguments.backups;
  verify.full = arguments.full;
  verify.max_rate = arguments.max_rate;
  verify.retention = RetentionOf(config);
  verify.jobs = arguments.jobs;
  if (verify.jobs == 0) {
    verify.jobs = DefaultJobs(config);
  }

  const Clock& clock = *options.environment.clock;
  const SteadyTime begin = clock.Steady();
  VerifyProgress progress;
  ProgressReporter reporter(clock, options.quiet, [&] {
    return ProgressState{progress.bytes_read, progress.bytes_total, "verifying"};
  });
  VerifyReport until_error;
  const auto report = VerifyRepository(*repository, verify, progress, &until_error);
  reporter.Stop();
  // The past and the mirror are only looked at.
  const bool remembers = verify.full && !options.as_of && !options.mirror;
  if (!report.has_value()) {
    if (remembers && report.error().code != ErrorCode::kCancelled) {
      for (const std::string& label : Remember(*repository, until_error).stored) {
        PrintWarning(
            fmt::format("{} was found damaged before the verification failed, and is "
                        "known as damaged from now on",
                        label));
      }
    }
    return report.error();
  }
  const auto elapsed =
      std::chrono::duration_cast<std::chrono::milliseconds>(clock.Steady() - begin);
  const RememberedDamage remembered =
      remembers ? Remember(*repository, *report) : RememberedDamage();
  if (options.json) {
    PrintJson(ToJson(*report, remembered, verify.full, elapsed));
  } else if (!options.quiet || !report->passed()) {
    PrintText(ToText(*report, remembered, verify.full, elapsed));
  }
  return report->passed() ? kDone : kBadAnswer;
}

}  // namespace

Subcommand AddVerify(Command parent) {
  auto arguments = std::make_shared<VerifyArguments>();
  Command command = parent.AddCommand(
      "verify", "Test whether the repository holds everything that its backups need");
  command
      .Add("--backup", arguments->backups,
           "Verify only this backup, and the full that a diff refers to; may be repeated")
      .TypeName("LABEL");
  command.AddFlag("--full", arguments->full,
                  "Also read and decrypt every object and compare its digests; default: only "
                  "check that the objects exist");
  command.AddFlag("--mirror", arguments->mirror, "Verify the mirror, as with --repository mirror");
  AddJobsOption(command, arguments->jobs);
  command
      .AddSize("--max-rate", arguments->max_rate,
               "Read at most this many bytes per second, for example 20MB; default: no limit")
      .TypeName("BYTES");
  return {command,
          [arguments](const GlobalOptions& options) { return RunVerify(options, *arguments); },
          DefaultExitCode, true};
}

}  // namespace veza::cli
