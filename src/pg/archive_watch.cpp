#include "pg/archive_watch.h"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/repository/archive_pace.h"
#include "core/repository/archive_survey.h"
#include "core/repository/ready_files.h"
#include "core/repository/wal_archive.h"
//
#include "pg/archiving.h"
#include "pg/boundary.h"
#include "pg/compat.h"
#include "pg/shared_archive.h"

extern "C" {
#include <access/xlogarchive.h>
}

namespace veza::pg {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr RetryPolicy kSurveyRetries{.budget = seconds(20), .max_attempts = 5};
constexpr seconds kBetweenObservations{10};
// A standby that is promoted removes WAL of the old timeline at its first checkpoint.
constexpr milliseconds kNapInRecovery{1000};
constexpr milliseconds kNapWhileSurveying{200};
constexpr seconds kFirstSurveyAfter{3};
constexpr seconds kAfterOffering{5};
constexpr seconds kAfterFailure{30};
constexpr seconds kAfterGap{60};  // doubled each time, up to the next
constexpr seconds kBetweenSurveys{3600};
// Of missing segments, in one survey.
constexpr std::size_t kMostMissing = 4096;
// Enough to find the first segment among history files.
constexpr std::size_t kReadyFilesToKnow = 64;

bool IsInPgWal(const std::string& file) {
  return access((std::string(XLOGDIR "/") + file).c_str(), F_OK) == 0;
}

// In a thread: compares the archive with what a server on this timeline needs.
class SurveyCall final : public BackgroundCall {
 public:
  SurveyCall(Config config, ServerFacts facts, TimelineId timeline, Lsn end)
      : config_(std::move(config)), facts_(std::move(facts)), timeline_(timeline), end_(end) {}
  ~SurveyCall() override { StopAndJoin(); }

  bool has_backup() const { return !survey_.backup.empty(); }
  const std::vector<std::string>& to_offer() const { return to_offer_; }
  const std::vector<WalGap>& gaps() const { return gaps_; }
  std::size_t lost() const { return lost_; }

 private:
  Status Work() override {
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                     OpenExistingRepository(config_, facts_, environment_, kSurveyRetries));
    const WalArchive archive(*repository, facts_.system_identifier);
    ASSIGN_OR_RETURN(const TimelineHistory history, ReadServerHistory(archive, XLOGDIR, timeline_));
    ASSIGN_OR_RETURN(
        survey_, SurveyArchive(*repository, facts_.system_identifier, history, end_, kMostMissing));
    const std::string history_file = TimelineHistoryName(timeline_);
    if (survey_.lacks_history && IsInPgWal(history_file)) {
      to_offer_.push_back(history_file);
    }
    std::vector<std::string> lost;
    for (const std::string& segment : survey_.missing) {
      if (IsInPgWal(segment)) {
        to_offer_.push_back(segment);
        continue;
      }
      // It may have been archived, and removed, since the archive was listed.
      ASSIGN_OR_RETURN(const bool there, archive.Contains(segment));
      if (!there) {
        lost.push_back(segment);
      }
    }
    lost_ = lost.size();
    gaps_ = JoinGaps(lost, MakeIdentity(facts_).wal_segment_size);
    for (const WalGap& gap : gaps_) {
      RETURN_IF_ERROR(RecordGap(*repository, facts_.system_identifier, gap));
    }
    return Ok();
  }

  const Config config_;
  const ServerFacts facts_;
  const TimelineId timeline_;
  const Lsn end_;
  ArchiveSurvey survey_;
  std::vector<std::string> to_offer_;
  std::vector<WalGap> gaps_;
  std::size_t lost_ = 0;
};

// Of the process. Nothing of it is on a stack over which an ERROR jumps.
struct Watch {
  bool was_primary = false;
  ArchivePace pace;
  Lsn archived;
  SteadyTime next_observation{};
  SteadyTime next_survey{};
  std::unique_ptr<SurveyCall> survey;
  std::uint64_t dropped = 0;  // as last seen

  seconds warned_age{0};  // 0: no warning stands
  std::string known_gap;  // the first one that was logged
  seconds gap_pause = kAfterGap;
};
Watch* watch = nullptr;

// What the main thread asks the server before C++ takes over.
struct ServerPosition {
  std::uint64_t written;
  std::uint64_t important;
};

std::int64_t MicrosecondsOf(TimePoint time) {
  return time.time_since_epoch().count();
}

// --- Observation ---------------------------------------------------------------------------------

struct Waiting {
  std::size_t files;
  seconds age;
  char oldest[kWalFileLength];
};

// Everything before the first segment that waits is archived. When a segment is complete, its
// .ready is there before the position of the write is beyond it (XLogWrite).
Status Observe(const ServerPosition& position, Waiting* waiting) {
  ASSIGN_OR_RETURN(const ReadyFiles ready,
                   ListReadyFiles(XLOGDIR, kReadyFilesToKnow, ReadyAges::kRead));
  const auto size = static_cast<std::uint64_t>(wal_segment_size);
  std::optional<SegmentNumber> first;
  for (const std::string& file : ready.first) {
    if (ParseWalFileName(file)->kind == WalFileKind::kSegment) {
      const SegmentNumber number = SegmentNumberOf(file, size);
      first = std::min(first.value_or(number), number);
    }
  }
  watch->archived = Lsn{first.value_or(SegmentOf(Lsn{position.written}, size)) * size};
  const TimePoint now = SystemClock().Now();
  watch->pace.Observe({.at = now,
                       .steady = SystemClock().Steady(),
                       .written = Lsn{position.written},
                       .important = Lsn{position.important},
                       .archived = watch->archived});
  const auto exposed = watch->pace.exposed_since();
  ReportObservation(MicrosecondsOf(now), watch->pace.written_rate(), watch->pace.archived_rate(),
                    exposed ? MicrosecondsOf(*exposed) : 0);
  waiting->files = ready.count;
  waiting->age = ready.oldest.empty()
                     ? seconds(0)
                     : std::chrono::duration_cast<seconds>(now - ready.oldest_since);
  strlcpy(waiting->oldest, ready.oldest.c_str(), sizeof waiting->oldest);
  return Ok();
}

// Says it when WAL waits for too long, again each time the age has doubled, and when it is over.
void WarnOfAge(const Waiting& waiting, seconds limit) {
  if (limit == seconds(0) || waiting.age < limit) {
    if (watch->warned_age != seconds(0)) {
      ereport(LOG, (errmsg("WAL is archived in time again")));
    }
    watch->warned_age = seconds(0);
    return;
  }
  if (watch->warned_age != seconds(0) && waiting.age < 2 * watch->warned_age) {
    return;
  }
  watch->warned_age = waiting.age;
  ereport(WARNING,
          (errmsg("WAL file \"%s\" has been waiting to be archived for %lld s", waiting.oldest,
                  static_cast<long long>(waiting.age.count())),
           errdetail("%zu files wait. What they hold would be lost with this server, and pg_wal "
                     "grows.",
                     waiting.files),
           errhint("The view veza_backup_archive shows the last error, the rate and how long the "
                   "disk lasts. The limit is veza_backup.archive_max_age.")));
}

// --- Survey --------------------------------------------------------------------------------------

// The archiver gets the file whatever became of it before.
void Offer(const char* file) {
  char done[MAXPGPATH];
  StatusFilePath(done, file, ".done");
  if (XLogArchiveIsReady(file)) {
    return;
  }
  if (unlink(done) != 0 && errno != ENOENT) {
    ereport(WARNING, (errcode_for_file_access(), errmsg("could not remove file \"%s\": %m", done)));
    return;
  }
  XLogArchiveNotify(file);
}

void OfferMissing() {
  const std::size_t count = watch->survey->to_offer().size();
  if (count == 0) {
    return;
  }
  ereport(LOG, (errmsg("offering %zu WAL files to the archiver that the repository lacks, from "
                       "\"%s\" on",
                       count, watch->survey->to_offer().front().c_str())));
  for (const std::string& file : watch->survey->to_offer()) {
    Offer(file.c_str());
  }
  // It knows the next files from a list that begins behind these.
  PgArchForceDirScan();
  PgArchWakeup();
}

void LogGap() {
  const WalGap& gap = watch->survey->gaps().front();
  if (watch->known_gap == gap.first) {
    return;
  }
  watch->known_gap = gap.first;
  ereport(WARNING,
          (errcode(ERRCODE_DATA_CORRUPTED),
           errmsg("there is a gap in the archive: WAL from \"%s\" to \"%s\" is neither in the "
                  "repository nor in pg_wal",
                  gap.first.c_str(), gap.last.c_str()),
           errdetail("%zu segments are missing, in %zu gaps. Older backups cannot be restored to a "
                     "time after the gap.",
                     watch->survey->lost(), watch->survey->gaps().size()),
           errhint("A new backup starts by itself. If another server of the formation still has "
                   "the segments in its pg_wal, copy them there and archive them.")));
}

bool StartSurvey(const Config& config, const ServerFacts& facts, TimelineId timeline,
                 ErrorReport* report) {
  return !Failed(CatchExceptions([&]() -> Status {
                   watch->survey =
                       std::make_unique<SurveyCall>(config, facts, timeline, watch->archived);
                   return watch->survey->Start();
                 }),
                 report);
}

// Returns when the next survey is due.
seconds EndSurvey(bool* wants_backup) {
  ErrorReport report;
  if (Failed(watch->survey->Join(), &report)) {
    // The archiver and the schedules have said already what is wrong with the store.
    ereport(DEBUG1, (errmsg("could not survey the archive: %s", report.message)));
    return kAfterFailure;
  }
  // What is offered while nothing can be stored is given up again, and until then no checkpoint
  // removes it.
  if (!ReadSharedArchive().giving_up) {
    OfferMissing();
  }
  const bool is_whole = watch->survey->gaps().empty();
  ReportSurvey(MicrosecondsOf(SystemClock().Now()),
               static_cast<std::uint32_t>(watch->survey->gaps().size()),
               static_cast<std::uint32_t>(watch->survey->lost()),
               is_whole ? "" : watch->survey->gaps().front().first.c_str());
  if (!is_whole) {
    LogGap();
    *wants_backup = watch->survey->has_backup();
    return std::exchange(watch->gap_pause, std::min(2 * watch->gap_pause, kBetweenSurveys));
  }
  watch->known_gap.clear();
  watch->gap_pause = kAfterGap;
  return watch->survey->to_offer().empty() ? kBetweenSurveys : kAfterOffering;
}

// Sees once that WAL was given up, when the repository takes WAL again.
bool DropsAreOver() {
  const SharedArchive archive = ReadSharedArchive();
  return !archive.giving_up &&
         std::exchange(watch->dropped, archive.dropped.count) != archive.dropped.count;
}

void Survey(const Config& config, const ServerFacts& facts, TimelineId timeline,
            WatchOutcome* outcome) {
  const SteadyTime now = SystemClock().Steady();
  if (watch->survey && watch->survey->done()) {
    watch->next_survey = now + EndSurvey(&outcome->wants_backup);
    watch->survey.reset();
  } else if (!watch->survey && (now >= watch->next_survey || DropsAreOver())) {
    ErrorReport report;
    if (!StartSurvey(config, facts, timeline, &report)) {
      Raise(WARNING, &report);
      watch->survey.reset();
      watch->next_survey = now + kAfterFailure;
    }
  }
}

// What was seen before says nothing of a server that no longer archives.
void ForgetObservation() {
  if (std::exchange(watch->next_observation, SteadyTime{}) != SteadyTime{}) {
    watch->pace = ArchivePace();
    ReportObservation(0, 0, 0, 0);
  }
}

milliseconds Until(SteadyTime time) {
  return std::max(milliseconds(10), std::chrono::ceil<milliseconds>(time - SystemClock().Steady()));
}

}  // namespace

void SurveyArchiveSoon() {
  if (watch != nullptr) {
    watch->next_survey = SystemClock().Steady();
  }
}

WatchOutcome WatchArchive(const Config* config, const ServerFacts& facts) {
  WatchOutcome outcome{.nap_ms = milliseconds(kBetweenSurveys).count(), .wants_backup = false};
  if (watch == nullptr) {
    MemoryContext const context = MemoryContextSwitchTo(TopMemoryContext);
    watch = NewInContext<Watch>();
    MemoryContextSwitchTo(context);
    watch->next_survey = SystemClock().Steady() + kFirstSurveyAfter;
  }
  if (config == nullptr || !ArchivesWithVeza()) {
    ForgetObservation();
    watch->survey.reset();
    return outcome;
  }
  if (RecoveryInProgress()) {
    ForgetObservation();
    watch->was_primary = false;
    watch->survey.reset();
    watch->next_survey = SystemClock().Steady();
    outcome.nap_ms = kNapInRecovery.count();
    return outcome;
  }
  const bool promoted = !std::exchange(watch->was_primary, true);
  if (promoted || SystemClock().Steady() >= watch->next_observation) {
    watch->next_observation = SystemClock().Steady() + kBetweenObservations;
    ServerPosition position{};
    position.written = GetXLogWriteRecPtr();
    position.important = GetLastImportantRecPtr();
    Waiting waiting{};
    ErrorReport report;
    if (Failed(CatchExceptions([&] { return Observe(position, &waiting); }), &report)) {
      Raise(WARNING, &report);
      return outcome;
    }
    WarnOfAge(waiting, config->archive.max_age);
  }
  Survey(*config, facts, GetWALInsertionTimeLine(), &outcome);
  outcome.nap_ms =
      watch->survey ? kNapWhileSurveying.count()
                    : std::min(Until(watch->next_observation), Until(watch->next_survey)).count();
  return outcome;
}

}  // namespace veza::pg
