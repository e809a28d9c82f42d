#include "pg/archive/index_watch.h"

#include <algorithm>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "core/archive/index_builder.h"
//
#include "pg/boundary.h"
#include "pg/compat.h"
#include "pg/shared/shared_archive_watch.h"
#include "pg/shared/shared_backup.h"

namespace veza::pg {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr RetryPolicy kIndexRetries{.budget = seconds(20), .max_attempts = 5};
constexpr milliseconds kNapWhileIndexing{1000};
constexpr seconds kFirstLookAfter{60};
constexpr seconds kBetweenLooks{600};
constexpr seconds kWhileMoreIsLeft{30};
constexpr std::size_t kSegmentsOfOneLook = 64;

class IndexCall final : public BackgroundCall {
 public:
  IndexCall(Config config, ServerFacts facts, std::set<std::string> unreadable)
      : config_(std::move(config)), facts_(std::move(facts)), unreadable_(std::move(unreadable)) {
    facts_.is_primary = true;  // it may have been promoted since the facts were taken
  }
  ~IndexCall() override { StopAndJoin(); }

  const IndexReport& report() const { return report_; }

 private:
  Status Work() override {
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                     OpenExistingRepository(config_, facts_, environment_, kIndexRetries));
    IndexBuildProgress progress;
    ASSIGN_OR_RETURN(report_, BuildIndex(*repository,
                                         {.system_identifier = facts_.system_identifier,
                                          .segment_size = MakeIdentity(facts_).wal_segment_size,
                                          .grace = kIndexGrace,
                                          .most_segments = kSegmentsOfOneLook,
                                          .unreadable = unreadable_},
                                         progress));
    return Ok();
  }

  const Config config_;
  ServerFacts facts_;
  const std::set<std::string> unreadable_;
  IndexReport report_;
};

// One for the process. None of it is on a stack over which an ERROR jumps.
struct IndexWatch {
  std::unique_ptr<IndexCall> call;
  SteadyTime next{};
  int known_failure = 0;               // SQLSTATE of the last one that was logged
  std::set<std::string> unreadable{};  // WAL objects that were logged
};
IndexWatch* watch = nullptr;

IndexWatch* GetWatch() {
  if (watch == nullptr) {
    watch = NewForProcess<IndexWatch>();
    watch->next = SystemClock().Steady() + kFirstLookAfter;
  }
  return watch;
}

// Logs each kind of failure once. When the store is away, or the repository has not been made, the
// archiver and the schedules say so.
void LogFailure(const ErrorReport* report) {
  const bool is_known = std::exchange(watch->known_failure, report->sqlstate) == report->sqlstate;
  const bool is_said_elsewhere = report->sqlstate == ERRCODE_CONNECTION_FAILURE ||
                                 report->sqlstate == ERRCODE_QUERY_CANCELED ||
                                 report->sqlstate == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
  ereport(is_known || is_said_elsewhere ? DEBUG1 : WARNING,
          (errcode(report->sqlstate),
           errmsg("could not complete the index of WAL: %s", report->message),
           report->hint[0] != '\0' ? errhint("%s", report->hint) : 0));
}

void LogReport(const IndexReport& report) {
  if (report.made > 0) {
    ereport(LOG, (errmsg("completed the index of WAL: " UINT64_FORMAT " segments in " UINT64_FORMAT
                         " objects, " UINT64_FORMAT " segments are left",
                         report.made, report.objects, report.left)));
  }
  if (!report.failures.empty()) {
    ereport(WARNING, (errcode(ERRCODE_DATA_CORRUPTED),
                      errmsg(UINT64_FORMAT " archived WAL segments cannot be read", report.failed),
                      errdetail("The first is \"%s\": %s.", report.failures.front().object.c_str(),
                                report.failures.front().error.message.c_str()),
                      errhint("Run vezactl verify --full, and take a full backup.")));
  }
}

// So that they do not take the places of others in each look.
void RememberUnreadable(const IndexReport& report) {
  const Status noted = CatchExceptions([&] {
    for (const IndexFailure& failure : report.failures) {
      watch->unreadable.insert(failure.object);
    }
    return Ok();
  });
  ErrorReport failed;
  if (Failed(noted, &failed)) {
    Raise(WARNING, &failed);
  }
}

seconds EndLook() {
  ErrorReport report;
  if (Failed(watch->call->Join(), &report)) {
    if (report.sqlstate != ERRCODE_QUERY_CANCELED) {
      LogFailure(&report);
      ReportIndexFailure();
    }
    return kBetweenLooks;
  }
  watch->known_failure = 0;
  const IndexReport& made = watch->call->report();
  ReportIndexLook(SystemClock().Now().time_since_epoch().count(), made.missing - made.made,
                  made.failed);
  LogReport(made);
  RememberUnreadable(made);
  return made.left > 0 && made.made > 0 ? kWhileMoreIsLeft : kBetweenLooks;
}

void BeginLook(const Config& config, const ServerFacts& facts) {
  ErrorReport report;
  const Status status = CatchExceptions([&]() -> Status {
    watch->call = std::make_unique<IndexCall>(config, facts, watch->unreadable);
    return watch->call->Start();
  });
  if (Failed(status, &report)) {
    Raise(WARNING, &report);
    watch->call.reset();
    watch->next = SystemClock().Steady() + kBetweenLooks;
  }
}

}  // namespace

long WatchIndex(const Config& config, const ServerFacts& facts) {
  IndexWatch* const mine = GetWatch();
  const bool may_work = config.archive.wal_index && !IsRunning(ReadSharedBackup().phase);
  if (mine->call && !may_work) {
    mine->call->Cancel();
  }
  if (mine->call && !mine->call->done()) {
    return kNapWhileIndexing.count();
  }
  if (mine->call) {
    mine->next = SystemClock().Steady() + EndLook();
    mine->call.reset();
  }
  if (may_work && SystemClock().Steady() >= mine->next) {
    BeginLook(config, facts);
    return kNapWhileIndexing.count();
  }
  const auto until = std::chrono::ceil<milliseconds>(mine->next - SystemClock().Steady());
  return std::max(until, may_work ? kNapWhileIndexing : milliseconds(kWhileMoreIsLeft)).count();
}

void StopIndexing() {
  GetWatch()->call.reset();
}

void LookAtIndexSoon() {
  if (watch != nullptr) {
    watch->next = SystemClock().Steady();
    watch->unreadable.clear();
  }
}

}  // namespace veza::pg
