#include "pg/schedule/metrics_file.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "pg/schedule/node_metrics.h"
//
#include "core/storage/file_io.h"
#include "pg/boundary.h"

namespace veza::pg {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr RetryPolicy kMetricsRetries{.budget = seconds(10), .max_attempts = 3};
constexpr seconds kBetweenFiles{30};
constexpr seconds kBetweenLooks{600};
constexpr milliseconds kNapWhileWriting{200};
constexpr milliseconds kLongestNap{3'600'000};

// Reads the repository if that is due, and writes the file.
class MetricsFileCall final : public BackgroundCall {
 public:
  MetricsFileCall(Config config, ServerFacts server, const NodeSnapshot& snapshot,
                  std::shared_ptr<const RepositoryFacts> known)
      : config_(std::move(config)),
        server_(std::move(server)),
        snapshot_(snapshot),
        facts_(std::move(known)) {}
  ~MetricsFileCall() override { StopAndJoin(); }

  // Null when the repository could not be read.
  const std::shared_ptr<const RepositoryFacts>& facts() const { return facts_; }

 private:
  Status Work() override {
    if (!facts_) {
      if (Result<RepositoryFacts> read = ReadRepository()) {
        facts_ = std::make_shared<const RepositoryFacts>(std::move(*read));
      }
      RETURN_IF_ERROR(environment_.cancellation->Check());
    }
    ASSIGN_OR_RETURN(const std::vector<Metric> metrics,
                     CollectMetrics(config_, server_, snapshot_, facts_.get()));
    return ReplaceTextFile(config_.metrics_file, FormatMetrics(metrics));
  }

  Result<RepositoryFacts> ReadRepository() {
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                     OpenExistingRepository(config_, server_, environment_, kMetricsRetries));
    return ReadRepositoryFacts(*repository, server_.system_identifier);
  }

  const Config config_;
  const ServerFacts server_;
  const NodeSnapshot snapshot_;
  std::shared_ptr<const RepositoryFacts> facts_;
};

// The state of the process.
struct MetricsFile {
  std::unique_ptr<MetricsFileCall> call;
  std::shared_ptr<const RepositoryFacts> facts;
  SteadyTime facts_until{};
  SteadyTime next{};
  bool in_trouble = false;
};
MetricsFile* file = nullptr;

void EndCall() {
  ErrorReport report;
  const bool failed = Failed(file->call->Join(), &report);
  const SteadyTime now = SystemClock().Steady();
  if (file->facts != file->call->facts()) {
    file->facts = file->call->facts();
    file->facts_until = now + kBetweenLooks;
  }
  file->call.reset();
  file->next = now + kBetweenFiles;
  if (failed && !file->in_trouble) {
    Raise(WARNING, &report);
  }
  file->in_trouble = failed;
}

Status BeginCall(const Config& config, const ServerFacts& server, const NodeSnapshot& snapshot) {
  if (SystemClock().Steady() >= file->facts_until) {
    file->facts.reset();
  }
  file->call = std::make_unique<MetricsFileCall>(config, server, snapshot, file->facts);
  return file->call->Start();
}

}  // namespace

void RefreshMetricsSoon() {
  if (file != nullptr) {
    file->facts_until = {};
    file->next = {};
  }
}

long KeepMetricsFile(const Config* config, const ServerFacts& facts) {
  if (file == nullptr) {
    file = NewForProcess<MetricsFile>();
  }
  if (config == nullptr || config->metrics_file.empty()) {
    file->call.reset();
    return kLongestNap.count();
  }
  if (file->call && file->call->done()) {
    EndCall();
  }
  const SteadyTime now = SystemClock().Steady();
  if (!file->call && now >= file->next) {
    const NodeSnapshot snapshot = TakeNodeSnapshot();
    ErrorReport report;
    if (Failed(CatchExceptions([&] { return BeginCall(*config, facts, snapshot); }), &report)) {
      Raise(WARNING, &report);
      file->call.reset();
      file->next = now + kBetweenFiles;
    }
  }
  return file->call ? kNapWhileWriting.count()
                    : std::clamp<long>(std::chrono::ceil<milliseconds>(file->next - now).count(),
                                       10, kLongestNap.count());
}

}  // namespace veza::pg
