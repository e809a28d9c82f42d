#include "pg/schedule/key_watch.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "core/archive/wal_archive.h"
#include "core/repository/connect.h"
#include "core/repository/entrance.h"
#include "core/repository/repository_marker.h"
#include "pg/settings.h"
//
#include "pg/archive/archiving.h"
#include "pg/boundary.h"
#include "pg/compat.h"
#include "pg/shared/shared_key.h"

extern "C" {
#include <access/xlogrecovery.h>
}

namespace veza::pg {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr RetryPolicy kKeyRetries{.budget = seconds(20), .max_attempts = 5};
constexpr milliseconds kNapWhileLooking{200};
constexpr seconds kFirstLookAfter{2};
// The pause while no identity and key are held yet: the archiver or the first backup makes the
// repository.
constexpr seconds kUntilHeld{10};
constexpr seconds kAfterFailure{60};
constexpr seconds kBetweenLooks{300};
// The shortest pause between two looks that other processes have asked for.
constexpr seconds kBetweenWantedLooks{2};
constexpr milliseconds kLongestNap{3'600'000};

class KeyCall final : public BackgroundCall {
 public:
  KeyCall(Config config, ServerFacts facts, bool keeps_marker, std::string proof,
          std::optional<EntranceCopy> held)
      : config_(std::move(config)),
        facts_(std::move(facts)),
        keeps_marker_(keeps_marker),
        proof_(std::move(proof)),
        held_(std::move(held)) {}
  ~KeyCall() override { StopAndJoin(); }

  // False when the settings have changed since the call was made.
  bool is_of_interest() const { return settings_generation_ == SettingsGeneration(); }
  // Both are valid after a success.
  const EntranceLook& look() const { return look_; }
  const Status& marked() const { return marked_; }

 private:
  Status Work() override {
    ASSIGN_OR_RETURN(const std::shared_ptr<Store> store,
                     ConnectStore(config_, environment_, kKeyRetries));
    Result<EntranceLook> look = Look(store, KeyWasReplaced(*store) ? std::nullopt : held_);
    if (!look && look.error().code == ErrorCode::kConflict && !facts_.is_primary) {
      // The key was replaced. Only a primary objects to that. A standby takes over the new key.
      look = Look(store, std::nullopt);
    }
    ASSIGN_OR_RETURN(look_, std::move(look));
    if (keeps_marker_) {
      marked_ = Mark({look_.copy.location, look_.copy.service, look_.copy.key_id});
    }
    return Ok();
  }

  // Whether veza_backup_init() has replaced the key on purpose: the marker then names another key
  // than the one held here. The old key must not be put back.
  bool KeyWasReplaced(const Store& store) const {
    const auto marker = ReadRepositoryMarker(facts_.data_directory);
    return facts_.is_primary && held_ && marker && *marker &&
           (*marker)->location == store.location() && (*marker)->key_id != held_->key_id;
  }

  Status Mark(const RepositoryMarker& opened) const {
    if (!facts_.is_primary) {
      ASSIGN_OR_RETURN(const bool is_named, MarkerNames(facts_.data_directory, opened));
      if (!is_named) {
        ASSIGN_OR_RETURN(const bool follows, PrimaryArchivesHere());
        return follows ? MoveMarker(facts_.data_directory, opened) : Ok();
      }
    }
    return KeepMarker(facts_.data_directory, opened, facts_.is_primary);
  }

  // A repository of the same cluster may be an old copy, or one that somebody uses for tests. It is
  // the primary's repository when it holds the WAL that this standby received from the primary.
  Result<bool> PrimaryArchivesHere() const {
    if (proof_.empty()) {
      return false;
    }
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                     OpenExistingRepository(config_, facts_, environment_, kKeyRetries));
    const WalArchive archive(*repository, facts_.system_identifier);
    ASSIGN_OR_RETURN(const bool is_there, archive.Contains(proof_));
    if (!is_there) {
      return false;
    }
    // RequireSame() accepts a file that has been removed or recycled meanwhile. Such a file proves
    // nothing. The next look uses another one.
    const std::string path = fmt::format("{}/pg_wal/{}", facts_.data_directory, proof_);
    struct stat before {};
    struct stat after {};
    const bool can_compare = stat(path.c_str(), &before) == 0;
    const Status same = archive.RequireSame(proof_, path);
    if (!same && same.error().code == ErrorCode::kConflict) {
      return false;
    }
    RETURN_IF_ERROR(same);
    return can_compare && stat(path.c_str(), &after) == 0 && before.st_ino == after.st_ino;
  }

  Result<EntranceLook> Look(const std::shared_ptr<Store>& store,
                            const std::optional<EntranceCopy>& held) const {
    return KeepEntrance(store, ServiceOf(config_),
                        MakeRepositoryOptions(config_, facts_.node, facts_.data_directory),
                        environment_, facts_.system_identifier, held);
  }

  const Config config_;
  const ServerFacts facts_;
  const bool keeps_marker_;
  // The last complete segment that a standby has replayed. Empty when it would prove nothing.
  const std::string proof_;
  const std::optional<EntranceCopy> held_;
  const std::uint64_t settings_generation_ = SettingsGeneration();
  EntranceLook look_;
  Status marked_;
};

// The state of the process. Nothing of it may be on a stack over which an ERROR jumps.
struct KeyWatch {
  std::unique_ptr<KeyCall> call;
  std::optional<EntranceCopy> held;
  SteadyTime next{};
  SteadyTime begun{};     // when the last look began
  int known_failure = 0;  // SQLSTATE of the last failure that was logged; 0 when there is none
};
KeyWatch* watch = nullptr;

std::int64_t NowInMicroseconds() {
  return SystemClock().Now().time_since_epoch().count();
}

// The result of a look, in plain memory.
struct LookEnd {
  bool has_looked;  // identity and key exist, and are held in memory
  bool failed;      // the look failed, or the update of the marker
  ErrorReport report;
  char key_id[33];
  char put_back[256];
};

void TakeLook(LookEnd* end) {
  const Status status = CatchExceptions([]() -> Status { return watch->call->Join(); });
  end->failed = Failed(status, &end->report);
  end->has_looked = !end->failed;
  if (end->has_looked) {
    const EntranceLook& look = watch->call->look();
    watch->held = look.copy;
    strlcpy(end->key_id, look.copy.key_id.c_str(), sizeof end->key_id);
    strlcpy(end->put_back, fmt::format("{}", fmt::join(look.put_back, ", ")).c_str(),
            sizeof end->put_back);
    end->failed = Failed(watch->call->marked(), &end->report);
  }
  watch->call.reset();
}

// Logs each kind of failure once. Until something is held, the archiver and the schedules report
// the cause.
void LogFailure(const ErrorReport* report) {
  const bool is_known = std::exchange(watch->known_failure, report->sqlstate) == report->sqlstate;
  const bool is_said_elsewhere = !watch->held || report->sqlstate == ERRCODE_CONNECTION_FAILURE ||
                                 report->sqlstate == ERRCODE_QUERY_CANCELED;
  ereport(is_known || is_said_elsewhere ? DEBUG1 : WARNING,
          (errcode(report->sqlstate),
           errmsg("could not check identity and key of the repository: %s", report->message),
           report->hint[0] != '\0' ? errhint("%s", report->hint) : 0));
}

void EndLook() {
  if (!watch->call->is_of_interest()) {
    watch->call.reset();
    return;
  }
  LookEnd end{};
  TakeLook(&end);
  const std::int64_t now = NowInMicroseconds();
  if (end.has_looked) {
    ReportKeyHeld(now, end.key_id);
  }
  if (end.put_back[0] != '\0') {
    ReportKeyPutBack(now, end.put_back);
    ereport(
        WARNING,
        (errcode(ERRCODE_DATA_CORRUPTED),
         errmsg("objects of the repository were missing and have been put back from memory: %s",
                end.put_back),
         errdetail("Without them nothing in the repository can be read, or a passphrase is lost."),
         errhint("Find out what has deleted or overwritten them. A lifecycle rule that expires "
                 "objects, or a "
                 "clean-up script, will delete backups and WAL as well.")));
  }
  if (end.failed) {
    LogFailure(&end.report);
    ReportKeyFailure(now, &end.report);
    watch->next = SystemClock().Steady() + (watch->held ? kAfterFailure : kUntilHeld);
    return;
  }
  watch->known_failure = 0;
  watch->next = SystemClock().Steady() + kBetweenLooks;
}

// What is held from another repository says nothing about the one that is set now.
Status ForgetOther(const Config& config) {
  ASSIGN_OR_RETURN(const std::shared_ptr<Store> store, ConnectStore(config, {}, kKeyRetries));
  if (watch->held &&
      (watch->held->location != store->location() || watch->held->service != ServiceOf(config))) {
    watch->held.reset();
    ForgetKey();
  }
  return Ok();
}

bool IsStandby() {
  return RecoveryInProgress() && access(STANDBY_SIGNAL_FILE, F_OK) == 0;
}

void BeginLook(const Config& config, const ServerFacts& known) {
  ErrorReport report;
  const bool is_primary = !RecoveryInProgress();
  // A primary that does not archive must not write a marker: it would be false.
  const bool keeps_marker = !is_primary || ArchivesWithVeza();
  TimeLineID timeline = 0;
  const Lsn replayed{GetXLogReplayRecPtr(&timeline)};
  // With archive_mode = always a standby stores the segment itself, wherever its settings point, so
  // the segment proves nothing. A server that recovers from a backup is no standby: it will begin a
  // history of its own.
  const bool has_proof = IsStandby() && !(XLogArchivingAlways() && ArchivesWithVeza());
  const Status status = CatchExceptions([&]() -> Status {
    RETURN_IF_ERROR(ForgetOther(config));
    ServerFacts facts = known;
    facts.is_primary = is_primary;  // the server may have been promoted since `known` was taken
    const auto size = static_cast<std::uint64_t>(wal_segment_size);
    watch->call = std::make_unique<KeyCall>(
        config, std::move(facts), keeps_marker,
        has_proof
            ? SegmentName(timeline, std::max<SegmentNumber>(SegmentOf(replayed, size), 1) - 1, size)
            : "",
        watch->held);
    return watch->call->Start();
  });
  if (Failed(status, &report)) {
    Raise(WARNING, &report);
    watch->call.reset();
    watch->next = SystemClock().Steady() + kAfterFailure;
  }
}

}  // namespace

void LookAtKeySoon() {
  if (watch != nullptr) {
    watch->next = SystemClock().Steady();
  }
}

long WatchKey(const Config* config, const ServerFacts& facts) {
  if (watch == nullptr) {
    watch = NewForProcess<KeyWatch>();
    watch->next = SystemClock().Steady() + kFirstLookAfter;
    ReportKeyWatcher(MyLatch);
  }
  if (config == nullptr) {
    watch->call.reset();
    return kLongestNap.count();
  }
  if (watch->call && watch->call->done()) {
    EndLook();
  }
  if (!watch->call && TakeKeyRequest()) {
    watch->next = std::min(watch->next, watch->begun + kBetweenWantedLooks);
  }
  if (!watch->call && SystemClock().Steady() >= watch->next) {
    watch->begun = SystemClock().Steady();
    BeginLook(*config, facts);
  }
  if (watch->call) {
    return kNapWhileLooking.count();
  }
  return std::max(milliseconds(10),
                  std::chrono::ceil<milliseconds>(watch->next - SystemClock().Steady()))
      .count();
}

}  // namespace veza::pg
