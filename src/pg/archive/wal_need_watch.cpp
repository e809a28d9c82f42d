#include "pg/archive/wal_need_watch.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/archive/wal_need.h"
#include "core/repository/cluster_lock.h"
#include "core/repository/connect.h"
#include "core/repository/names.h"
#include "pg/settings.h"
//
#include "pg/archive/archiving.h"
#include "pg/boundary.h"
#include "pg/compat.h"

extern "C" {
#include <access/xlog_internal.h>
}

namespace veza::pg {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr RetryPolicy kNeedRetries{.budget = seconds(20), .max_attempts = 5};
constexpr milliseconds kNapWhileLooking{200};
constexpr seconds kBetweenGlances{5};  // at the server itself
constexpr seconds kBetweenLooks{60};   // at the repository
constexpr seconds kBetweenLooksAtBackup{10};
// A segment that takes less time is finished without help.
constexpr seconds kSlowSegment{5};
// After so long without a renewal, the backup is dead or has given up the lock.
constexpr seconds kLockIsStale{150};
constexpr milliseconds kLongestNap{3'600'000};

// The newest lock as a listing shows it. The name is empty when there is none.
struct SeenLock {
  std::string name;
  TimePoint modified{};
  std::uint64_t size = 0;
  bool operator==(const SeenLock&) const = default;
};

// In a thread: reads the lock, if it has changed since the last time.
class NeedCall final : public BackgroundCall {
 public:
  NeedCall(Config config, ServerFacts facts, SeenLock known)
      : config_(std::move(config)), facts_(std::move(facts)), known_(std::move(known)) {}
  ~NeedCall() override { StopAndJoin(); }

  // False when the settings have changed since.
  bool is_of_interest() const { return settings_generation_ == SettingsGeneration(); }
  // Both are valid after a success. `state` is empty when the lock has not changed.
  const SeenLock& seen() const { return seen_; }
  const std::optional<LockState>& state() const { return state_; }

 private:
  Status Work() override {
    ASSIGN_OR_RETURN(const std::shared_ptr<Store> store,
                     ConnectStore(config_, environment_, kNeedRetries));
    RETURN_IF_ERROR(store->List(kLockPrefix, "", [&](const ObjectInfo& object) {
      if (ParseLockName(object.name)) {
        seen_ = {object.name, object.modified, object.size};
      }
      return Ok();
    }));
    if (seen_ == known_) {
      return Ok();
    }
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                     OpenExistingRepository(config_, facts_, environment_, kNeedRetries));
    ASSIGN_OR_RETURN(state_, ReadLockState(*repository));
    return Ok();
  }

  const Config config_;
  const ServerFacts facts_;
  const SeenLock known_;
  const std::uint64_t settings_generation_ = SettingsGeneration();
  SeenLock seen_;
  std::optional<LockState> state_;
};

// One for the process. None of it is on a stack over which an ERROR jumps.
struct NeedWatch {
  std::unique_ptr<NeedCall> call;
  SeenLock known;
  std::string needs_wal;      // as last read
  bool backup_runs = false;   // likewise: the lock is held
  SteadyTime last_read{};     // when that was
  SegmentNumber segment = 0;  // the current one, and since when it has been that
  SteadyTime segment_since{};
  SteadyTime next_look{};
  std::optional<SteadyTime> last_switch;
  int known_failure = 0;  // SQLSTATE of the last one that was logged; 0 after a success
  bool told_strange = false;
};
NeedWatch* watch = nullptr;

// Logs each kind of failure once. When the store is away, or the repository has not been made, the
// archiver and the schedules say so.
void LogFailure(const ErrorReport* report) {
  const bool is_known = std::exchange(watch->known_failure, report->sqlstate) == report->sqlstate;
  const bool is_said_elsewhere = report->sqlstate == ERRCODE_CONNECTION_FAILURE ||
                                 report->sqlstate == ERRCODE_QUERY_CANCELED ||
                                 report->sqlstate == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
  ereport(is_known || is_said_elsewhere ? DEBUG1 : WARNING,
          (errcode(report->sqlstate),
           errmsg("could not find out whether a backup on a standby waits for this server: %s",
                  report->message),
           report->hint[0] != '\0' ? errhint("%s", report->hint) : 0));
}

Status TakeLook() {
  RETURN_IF_ERROR(watch->call->Join());
  watch->known = watch->call->seen();
  if (const auto& state = watch->call->state()) {
    watch->needs_wal = state->needs_wal;
    watch->backup_runs = state->alive;
    watch->last_read = SystemClock().Steady();
  }
  return Ok();
}

void EndLook() {
  const bool is_of_interest = watch->call->is_of_interest();
  ErrorReport report;
  const bool failed = Failed(CatchExceptions(TakeLook), &report);
  watch->call.reset();
  if (!is_of_interest || failed) {
    watch->known = {};
  }
  if (!is_of_interest || failed || SystemClock().Steady() - watch->last_read >= kLockIsStale) {
    watch->needs_wal.clear();
    watch->backup_runs = false;
  }
  if (!is_of_interest) {
    watch->next_look = {};
    return;
  }
  watch->next_look =
      SystemClock().Steady() + (watch->backup_runs ? kBetweenLooksAtBackup : kBetweenLooks);
  if (failed) {
    LogFailure(&report);
  } else {
    watch->known_failure = 0;
  }
}

void BeginLook(const Config& config, const ServerFacts& known) {
  ErrorReport report;
  const Status status = CatchExceptions([&]() -> Status {
    ServerFacts facts = known;
    facts.is_primary = true;  // it may have been promoted since the facts were taken
    watch->call = std::make_unique<NeedCall>(config, std::move(facts), watch->known);
    return watch->call->Start();
  });
  if (Failed(status, &report)) {
    Raise(WARNING, &report);
    watch->call.reset();
    watch->next_look = SystemClock().Steady() + kBetweenLooks;
  }
}

void TellStrange() {
  if (std::exchange(watch->told_strange, true)) {
    return;
  }
  ereport(
      WARNING,
      (errmsg("the lock of the repository requests a WAL segment that this server has not begun to "
              "write"),
       errdetail(
           "No backup requests such a segment. The request is ignored, and not reported again."),
       errhint("Find out who can write to the repository.")));
}

void Answer(const ServerFacts& facts, TimelineId timeline) {
  auto answer = WalNeedAnswer::kNothing;
  (void)CatchExceptions([&]() -> Status {
    answer = AnswerWalNeed(watch->needs_wal,
                           {.system_identifier = facts.system_identifier,
                            .timeline = timeline,
                            .segment = watch->segment,
                            .segment_size = static_cast<std::uint64_t>(wal_segment_size),
                            .last_switch = watch->last_switch,
                            .now = SystemClock().Steady()});
    return Ok();
  });
  if (answer == WalNeedAnswer::kStrange) {
    TellStrange();
  } else if (answer == WalNeedAnswer::kSwitch) {
    watch->last_switch = SystemClock().Steady();
    char segment[MAXFNAMELEN];
    XLogFileName(segment, timeline, watch->segment, wal_segment_size);
    ereport(LOG, (errmsg("switching to a new WAL segment, because a backup on a standby waits for "
                         "\"%s\"",
                         segment)));
    // As archive_timeout does it: a server that is idle stays so.
    RequestXLogSwitch(true);
  }
}

// Notes the position of the server. Returns whether the current segment holds something and has
// been the current one for a while.
bool SegmentIsSlow() {
  const XLogRecPtr end = GetXLogInsertRecPtr();
  const SteadyTime now = SystemClock().Steady();
  const SegmentNumber segment = end / static_cast<std::uint64_t>(wal_segment_size);
  if (std::exchange(watch->segment, segment) != segment) {
    watch->segment_since = now;
  }
  return XLogSegmentOffset(end, wal_segment_size) > SizeOfXLogLongPHD &&
         now - watch->segment_since >= kSlowSegment;
}

}  // namespace

void LookForWalNeedSoon() {
  if (watch != nullptr) {
    watch->next_look = {};
  }
}

long WatchWalNeed(const Config* config, const ServerFacts& facts, bool has_standbys) {
  if (watch == nullptr) {
    watch = NewForProcess<NeedWatch>();
  }
  if (config == nullptr || RecoveryInProgress() || !ArchivesWithVeza()) {
    watch->call.reset();
    return kLongestNap.count();
  }
  // Measured also without standbys, because one may connect later.
  const bool is_slow = SegmentIsSlow();
  if (watch->call && watch->call->done()) {
    EndLook();
    if (is_slow) {
      Answer(facts, GetWALInsertionTimeLine());
    }
  }
  if (!watch->call && has_standbys && is_slow && SystemClock().Steady() >= watch->next_look) {
    BeginLook(*config, facts);
  }
  if (watch->call) {
    return kNapWhileLooking.count();
  }
  return has_standbys ? milliseconds(kBetweenGlances).count() : kLongestNap.count();
}

}  // namespace veza::pg
