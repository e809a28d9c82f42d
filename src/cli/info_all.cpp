// vezactl info --all: a line for each cluster below the setting `repository`.
#include <algorithm>
#include <span>

#include "cli/command.h"
#include "cli/output.h"
#include "core/monitor/cluster_overview.h"
#include "core/work_queue.h"

namespace veza::cli {
namespace {

// So many clusters are read before their lines are printed. Nothing else is held of them.
constexpr std::size_t kBatch = 128;
constexpr std::size_t kMostOthersNamed = 10;

// What the lines of all clusters add up to.
struct Tally {
  std::size_t clusters = 0;
  std::size_t with_problems = 0;
  std::size_t others = 0;                 // directories that hold no cluster
  std::vector<std::string> first_others;  // their names
  // Directories that no setting `cluster` can name. Nobody has looked into them.
  std::size_t misnamed = 0;
  std::vector<std::string> first_misnamed{};
};

void Count(const ClusterOverview& overview, Tally& tally) {
  if (overview.is_cluster) {
    ++tally.clusters;
    tally.with_problems += overview.problems.empty() ? 0 : 1;
    return;
  }
  ++tally.others;
  if (tally.first_others.size() < kMostOthersNamed) {
    tally.first_others.push_back(overview.cluster);
  }
}

Json ToJson(const ClusterOverview& overview) {
  Json document = {{"cluster", overview.cluster}, {"verified", overview.is_verified},
                   {"backups", overview.backups}, {"system_identifier", Json()},
                   {"newest_backup", Json()},     {"window", Json()},
                   {"last_drill", Json()},        {"problems", Json::Array()}};
  if (overview.system_identifier) {
    document["system_identifier"] = std::to_string(*overview.system_identifier);
  }
  if (const auto& newest = overview.newest) {
    document["newest_backup"] = {{"label", newest->label},
                                 {"type", BackupTypeName(newest->type)},
                                 {"stop_time", FormatUtc(newest->stop_time)},
                                 {"size", newest->size},
                                 {"stored_size", newest->stored_size},
                                 {"postgres_version_num", newest->postgres_version_num}};
  }
  if (const auto& window = overview.window) {
    document["window"] = {{"start_time", FormatUtc(window->start)},
                          {"end_time", FormatUtc(window->end)}};
  }
  if (const auto& drill = overview.last_drill) {
    document["last_drill"] = {{"started", FormatUtc(drill->started)}, {"passed", drill->passed}};
  }
  for (const Error& problem : overview.problems) {
    document["problems"].push_back(ErrorToJson(problem));
  }
  return document;
}

// Prints the list piece by piece.
class Printer {
 public:
  virtual ~Printer() = default;
  virtual void Begin(const std::string& location, bool verified) = 0;
  virtual void Add(const ClusterOverview& overview) = 0;
  // Not `complete`: an error has ended the list, and is reported elsewhere.
  virtual void End(const Tally& tally, bool complete) = 0;
};

// A directory may have a very long name, which a store shows and no cluster can have.
std::string ShortName(const std::string& name) {
  constexpr std::size_t kLongest = 100;
  return Shorten(name, kLongest);
}

std::string NamesOf(const std::vector<std::string>& names) {
  Json list = Json::Array();
  for (const std::string& name : names) {
    list.push_back(ShortName(name));
  }
  return list.Print();
}

class JsonPrinter final : public Printer {
 public:
  void Begin(const std::string& location, bool verified) override {
    PrintText(fmt::format("{{\n\"repository\": {},\n\"verified\": {},\n\"clusters\": [",
                          Json(location).Print(), verified));
  }
  void Add(const ClusterOverview& overview) override {
    PrintText((is_first_ ? "\n" : ",\n") + ToJson(overview).Print(2));
    is_first_ = false;
  }
  void End(const Tally& tally, bool complete) override {
    PrintText(
        fmt::format("\n],\n\"other_directories\": {},\n\"first_other_directories\": {},\n"
                    "\"misnamed_directories\": {},\n\"first_misnamed_directories\": {},\n"
                    "\"complete\": {}\n}}\n",
                    tally.others, NamesOf(tally.first_others), tally.misnamed,
                    NamesOf(tally.first_misnamed), complete));
  }

 private:
  bool is_first_ = true;
};

class TextPrinter final : public Printer {
 public:
  // `longest_name` of the clusters.
  explicit TextPrinter(std::size_t longest_name)
      : table_({{"cluster", false, longest_name},
                {"backups", true},
                {"newest backup", false, kLongestLabel},
                {"ended (UTC)", false, kTime},
                {"size", true, kSize},
                {"window from (UTC)", false, kTime},
                {"to at most (UTC)", false, kTime},
                {"last drill (UTC)"}}) {}

  void Begin(const std::string& location, bool verified) override {
    PrintText(fmt::format("repository {}\n", location));
    if (!verified) {
      PrintText(
          "not verified: read without the key, and WAL was not searched for gaps; --verify does "
          "both\n");
    }
    PrintText("\n" + table_.Heading());
  }

  void Add(const ClusterOverview& overview) override {
    const auto floor = [](TimePoint time) {
      return FormatUtc(std::chrono::floor<std::chrono::seconds>(time));
    };
    const auto ceil = [](TimePoint time) {
      return FormatUtc(std::chrono::ceil<std::chrono::seconds>(time));
    };
    const auto& newest = overview.newest;
    const auto& window = overview.window;
    const auto& drill = overview.last_drill;
    table_.Clear();
    table_.AddRow(
        {overview.cluster, std::to_string(overview.backups), newest ? newest->label : "none",
         newest ? ceil(newest->stop_time) : "", newest ? FormatSize(newest->size) : "",
         window ? ceil(window->start) : "", window ? ceil(window->end) : "",
         drill ? fmt::format("{} {}", drill->passed ? "passed" : "FAILED", floor(drill->started))
               : "none"});
    std::string text = table_.Rows();
    for (const Error& problem : overview.problems) {
      text += fmt::format("  PROBLEM: {}\n", Printable(problem.message));
    }
    PrintText(text);
  }

  void End(const Tally& tally, bool complete) override {
    std::string text = fmt::format("\n{} clusters, {} of them with problems\n", tally.clusters,
                                   tally.with_problems);
    for (const std::string& name : tally.first_others) {
      text += fmt::format("no cluster: {}\n", name);
    }
    if (tally.others > tally.first_others.size()) {
      text += fmt::format("no cluster: {} more\n", tally.others - tally.first_others.size());
    }
    for (const std::string& name : tally.first_misnamed) {
      text += fmt::format("not looked at, because no cluster can have this name: \"{}\"\n",
                          Printable(ShortName(name)));
    }
    if (tally.misnamed > tally.first_misnamed.size()) {
      text += fmt::format("not looked at: {} more\n", tally.misnamed - tally.first_misnamed.size());
    }
    PrintText(complete ? text : "");
  }

 private:
  static constexpr std::size_t kLongestLabel = 33;
  static constexpr std::size_t kTime = 20;
  static constexpr std::size_t kSize = 7;

  Table table_;
};

struct Job {
  const std::string* cluster = nullptr;
  ClusterOverview* overview = nullptr;
};

// Reads one cluster after the other, and prints it.
class Lister {
 public:
  Lister(const GlobalOptions& options, const Config& config, const ClusterRoot& root, bool verify,
         TimePoint now)
      : options_(options), config_(config), root_(root), verify_(verify), reader_(now) {}

  Status List(std::span<const std::string> names, Printer& printer, Tally& tally) {
    const int jobs = DefaultJobs(config_);
    // Each thread may hold the backups of a cluster.
    budget_.memory /= static_cast<std::size_t>(jobs);
    WorkQueue<Job> queue(kBatch);
    RETURN_IF_ERROR(queue.Start(jobs, [this] {
      return [this](Job& job) -> Status {
        ASSIGN_OR_RETURN(*job.overview, Read(*job.cluster));
        return Ok();
      };
    }));
    while (!names.empty()) {
      const auto batch = names.first(std::min(names.size(), kBatch));
      std::vector<ClusterOverview> overviews(batch.size());
      Status done;
      for (std::size_t i = 0; i < batch.size() && done; ++i) {
        done = queue.Push({&batch[i], &overviews[i]});
      }
      done = done ? queue.WaitUntilIdle() : done;
      if (!done) {
        // Threads still write into this batch.
        RETURN_IF_ERROR(queue.Finish());
      }
      for (const ClusterOverview& overview : overviews) {
        Count(overview, tally);
        if (overview.is_cluster) {
          printer.Add(overview);
        }
      }
      names = names.subspan(batch.size());
    }
    return queue.Finish();
  }

 private:
  Result<ClusterOverview> Read(const std::string& cluster) {
    ASSIGN_OR_RETURN(const std::shared_ptr<Store> store, root_.StoreOf(cluster));
    return verify_ ? ReadVerifiedOverview(cluster, store, OptionsOf(config_), options_.environment,
                                          budget_)
                   : reader_.ReadUnverified(cluster, *store);
  }

  const GlobalOptions& options_;
  const Config& config_;
  const ClusterRoot& root_;
  const bool verify_;
  OverviewReader reader_;
  CatalogBudget budget_;
};

Error NoCluster(const std::string& location) {
  return MakeError(ErrorCode::kFailedPrecondition, "there is no cluster below \"{}\"", location)
      .WithHint("Check veza_backup.repository. It is the place that clusters share.");
}

std::size_t LongestOf(const std::vector<std::string>& names) {
  std::size_t longest = 0;
  for (const std::string& name : names) {
    longest = std::max(longest, name.size());
  }
  return longest;
}

}  // namespace

Result<int> RunInfoOfAll(const GlobalOptions& options, bool verify) {
  ASSIGN_OR_RETURN(const Config config, LoadSettings(options));
  WarnOfSuspendedVersions(options, config);
  ASSIGN_OR_RETURN(const ClusterRoot root, ConnectRoot(options, config, {}));
  ASSIGN_OR_RETURN(const ClusterRoot::Directories directories, root.List());
  const std::vector<std::string>& names = directories.names;
  ASSIGN_OR_RETURN(const TimePoint now, root.Now());
  std::unique_ptr<Printer> printer;
  if (options.json) {
    printer = std::make_unique<JsonPrinter>();
  } else {
    printer = std::make_unique<TextPrinter>(LongestOf(names));
  }
  printer->Begin(root.location(), verify);
  Tally tally;
  tally.misnamed = directories.others.size();
  const auto shown = std::min(directories.others.size(), kMostOthersNamed);
  tally.first_misnamed.assign(directories.others.begin(),
                              directories.others.begin() + static_cast<std::ptrdiff_t>(shown));
  const Status listed = Lister(options, config, root, verify, now).List(names, *printer, tally);
  printer->End(tally, listed.has_value());
  RETURN_IF_ERROR(listed);
  if (tally.clusters == 0) {
    return NoCluster(root.location());
  }
  return tally.with_problems > 0 ? kBadAnswer : kDone;
}

}  // namespace veza::cli
