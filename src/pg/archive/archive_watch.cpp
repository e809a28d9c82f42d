#include "pg/archive/archive_watch.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/archive/archive_pace.h"
#include "core/archive/archive_survey.h"
#include "core/archive/wal_archive.h"
#include "core/postgres/ready_files.h"
#include "pg/archive/wal_disk.h"
//
#include "core/archive/stored_histories.h"
#include "pg/archive/archiving.h"
#include "pg/archive/streamed_wal.h"
#include "pg/boundary.h"
#include "pg/compat.h"
#include "pg/shared/shared_archive.h"
#include "pg/shared/shared_archive_watch.h"

extern "C" {
#include <access/xlogarchive.h>
}

namespace veza::pg {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr RetryPolicy kSurveyRetries{.budget = seconds(20), .max_attempts = 5};
constexpr seconds kBetweenObservations{10};
// What a standby has streamed since its last nap may be gone with its first checkpoint as a
// primary.
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

// In a thread: compares the archive with what a server on this timeline needs.
class SurveyCall final : public BackgroundCall {
 public:
  SurveyCall(Config config, ServerFacts facts, TimelineId timeline, Lsn end)
      : config_(std::move(config)), facts_(std::move(facts)), timeline_(timeline), end_(end) {}
  ~SurveyCall() override { StopAndJoin(); }

  bool has_backup() const { return !survey_.backup.empty(); }
  const std::vector<std::string>& to_offer() const { return to_offer_; }
  const std::vector<WalGap>& gaps() const { return gaps_; }
  // Behind the newest backup there is WAL that no recovery passes.
  bool has_minimal() const { return has_minimal_; }
  std::size_t lost() const { return lost_; }
  // There may be more missing than it says.
  bool is_cut_off() const { return survey_.missing.size() >= kMostMissing; }
  // Of the gaps, what could not be recorded: why.
  const Status& recorded() const { return recorded_; }

 private:
  Status Work() override {
    // Before the archive is listed: what waits for the archiver now may be there by then.
    ASSIGN_OR_RETURN(const std::set<std::string> ready, NamesOfReadyFiles());
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                     OpenExistingRepository(config_, facts_, environment_, kSurveyRetries));
    const WalArchive archive(*repository, facts_.system_identifier);
    ASSIGN_OR_RETURN(const TimelineHistory history, ReadServerHistory(archive, XLOGDIR, timeline_));
    ASSIGN_OR_RETURN(
        survey_, SurveyArchive(*repository, facts_.system_identifier, history, end_, kMostMissing));
    ASSIGN_OR_RETURN(to_offer_, FindUnstoredHistories(archive, XLOGDIR, history));
    std::erase_if(to_offer_, [&](const std::string& file) { return ready.contains(file); });
    std::vector<std::string> lost;
    for (const std::string& segment : survey_.missing) {
      // An empty object in its place would hold up the archiver, and all behind it.
      ASSIGN_OR_RETURN(const bool taken, archive.IsTaken(segment));
      if (!taken && IsInPgWal(segment)) {
        if (!ready.contains(segment)) {
          to_offer_.push_back(segment);
        }
        continue;
      }
      // It may have been archived, and removed, since the archive was listed.
      ASSIGN_OR_RETURN(const bool there, taken ? archive.Contains(segment) : Result<bool>(false));
      if (!there) {
        lost.push_back(segment);
      }
    }
    lost_ = lost.size();
    gaps_ = JoinGaps(lost, MakeIdentity(facts_).wal_segment_size);
    recorded_ = RecordGaps(*repository);
    ASSIGN_OR_RETURN(const std::vector<MinimalWal> minimal,
                     ReadMinimalWal(*repository, facts_.system_identifier));
    has_minimal_ = std::ranges::any_of(minimal, [&](const MinimalWal& one) {
      return survey_.backup_start <= one.lsn && history.Contains(one.timeline, one.lsn);
    });
    return Ok();
  }

  static Result<std::set<std::string>> NamesOfReadyFiles() {
    constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();
    ASSIGN_OR_RETURN(ReadyFiles ready, ListReadyFiles(XLOGDIR, kAll, ReadyAges::kIgnore));
    return std::set<std::string>(std::make_move_iterator(ready.first.begin()),
                                 std::make_move_iterator(ready.first.end()));
  }

  Status RecordGaps(const Repository& repository) const {
    for (const WalGap& gap : gaps_) {
      RETURN_IF_ERROR(RecordGap(repository, facts_.system_identifier, gap));
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
  bool has_minimal_ = false;
  Status recorded_;
};

struct SurveyFailure {
  const char* what = nullptr;  // a literal
  int sqlstate = 0;
  bool operator==(const SurveyFailure&) const = default;
};

// Of the process. Nothing of it is on a stack over which an ERROR jumps.
struct Watch {
  bool was_primary = false;
  ArchivePace pace;
  SteadyTime next_observation{};
  SteadyTime next_survey{};
  std::unique_ptr<SurveyCall> survey;
  bool survey_is_stale = false;  // what it finds is of no interest any more
  SurveyFailure known_failure;   // as it was logged last
  std::uint64_t dropped = 0;     // as last seen

  seconds warned_age{0};      // 0: no warning stands
  bool lacks_backup = false;  // at the last survey
  std::string known_gap;      // the first one that was logged
  bool known_minimal = false;
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
  const SegmentNumber waits = first.value_or(SegmentOf(Lsn{position.written}, size));
  const TimePoint now = SystemClock().Now();
  watch->pace.Observe({.at = now,
                       .steady = SystemClock().Steady(),
                       .written = Lsn{position.written},
                       .important = Lsn{position.important},
                       .archived = Lsn{waits * size}});
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

void LogGap(bool backup_follows) {
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
           errhint("%s If another server of the formation still has the segments in its pg_wal, "
                   "copy them there and archive them.",
                   backup_follows
                       ? "A new backup starts by itself."
                       : "Take a backup: veza_backup.backup_after_gap keeps the server from it.")));
}

bool StartSurvey(const Config& config, const ServerFacts& facts, TimelineId timeline, Lsn end,
                 ErrorReport* report) {
  return !Failed(CatchExceptions([&]() -> Status {
                   watch->survey = std::make_unique<SurveyCall>(config, facts, timeline, end);
                   return watch->survey->Start();
                 }),
                 report);
}

// The archiver and the schedules say it when the store is away or nobody has made the repository.
bool IsSaidElsewhere(int sqlstate) {
  return sqlstate == ERRCODE_CONNECTION_FAILURE || sqlstate == ERRCODE_QUERY_CANCELED ||
         sqlstate == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
}

// Once for each kind of failure; a survey that finds all well forgets it.
void LogFailure(const char* what, const ErrorReport& report) {
  const SurveyFailure failure{what, report.sqlstate};
  const bool is_known = watch->known_failure == failure;
  watch->known_failure = failure;
  ereport(is_known || IsSaidElsewhere(report.sqlstate) ? DEBUG1 : WARNING,
          (errcode(report.sqlstate), errmsg("could not %s: %s", what, report.message),
           report.hint[0] != '\0' ? errhint("%s", report.hint) : 0));
}

struct SurveyEnd {
  seconds pause;  // until the next one
  bool wants_backup;
  bool wants_full = false;
};

// Said once: until the full backup is there, each survey finds it.
SurveyEnd EndWithMinimal(bool may_back_up) {
  if (!std::exchange(watch->known_minimal, true)) {
    ereport(WARNING,
            (errmsg("WAL behind the newest backup was written with wal_level = minimal"),
             errdetail("No recovery passes it. Older backups cannot be restored to a time after "
                       "it."),
             errhint(may_back_up ? "A new full backup starts by itself." : "Take a full backup.")));
  }
  const seconds pause = watch->gap_pause;
  watch->gap_pause = std::min(2 * pause, kBetweenSurveys);
  return {.pause = pause, .wants_backup = may_back_up, .wants_full = true};
}

SurveyEnd EndWithGaps(bool may_back_up) {
  ErrorReport report;
  if (Failed(watch->survey->recorded(), &report)) {
    LogFailure("record a gap in the archive", report);
  }
  LogGap(may_back_up);
  const seconds pause = watch->gap_pause;
  watch->gap_pause = std::min(2 * pause, kBetweenSurveys);
  return {.pause = pause, .wants_backup = may_back_up && watch->survey->has_backup()};
}

// Once, until there is one.
void LogMissingBackup() {
  const bool lacks_backup = !watch->survey->has_backup();
  if (lacks_backup && !watch->lacks_backup) {
    ereport(LOG, (errmsg("the repository holds no backup of this cluster yet"),
                  errdetail("Archived WAL cannot be restored without one."),
                  errhint("Run SELECT veza_backup_now('full'), or check veza_backup.repository and "
                          "veza_backup.cluster.")));
  }
  watch->lacks_backup = lacks_backup;
}

SurveyEnd EndSurvey(bool may_back_up) {
  ErrorReport report;
  if (Failed(watch->survey->Join(), &report)) {
    LogFailure("survey the archive", report);
    return {.pause = kAfterFailure, .wants_backup = false};
  }
  // What is offered while nothing can be stored is given up again, and until then no checkpoint
  // removes it.
  const bool offers = !watch->survey->to_offer().empty() && !ReadSharedArchive().giving_up;
  if (offers) {
    OfferMissing();
  }
  LogMissingBackup();
  const std::vector<WalGap>& gaps = watch->survey->gaps();
  ReportSurvey(MicrosecondsOf(SystemClock().Now()), static_cast<std::uint32_t>(gaps.size()),
               static_cast<std::uint32_t>(watch->survey->lost()),
               gaps.empty() ? "" : gaps.front().first.c_str());
  if (watch->survey->has_backup() && watch->survey->has_minimal()) {
    return EndWithMinimal(may_back_up);
  }
  watch->known_minimal = false;
  if (!gaps.empty()) {
    return EndWithGaps(may_back_up);
  }
  watch->known_failure = {};
  watch->known_gap.clear();
  watch->gap_pause = kAfterGap;
  if (offers) {
    return {.pause = kAfterOffering, .wants_backup = false};
  }
  return {.pause = watch->survey->is_cut_off() ? kAfterFailure : kBetweenSurveys,
          .wants_backup = false};
}

// Sees once that WAL was given up, when the repository takes WAL again.
bool DropsAreOver() {
  const SharedArchive archive = ReadSharedArchive();
  return !archive.giving_up &&
         std::exchange(watch->dropped, archive.dropped.count) != archive.dropped.count;
}

void BeginSurvey(const Config& config, const ServerFacts& facts, TimelineId timeline, Lsn end) {
  ErrorReport report;
  watch->survey_is_stale = false;
  if (!StartSurvey(config, facts, timeline, end, &report)) {
    Raise(WARNING, &report);
    watch->survey.reset();
    watch->next_survey = SystemClock().Steady() + kAfterFailure;
  }
}

// Begins a survey, up to `end`, or ends one, when it is time, and says so if a backup is wanted.
void Survey(const Config& config, const ServerFacts& facts, TimelineId timeline, Lsn end,
            WatchOutcome* outcome) {
  if (watch->survey && !watch->survey->done()) {
    return;
  }
  if (watch->survey && !watch->survey_is_stale) {
    const SurveyEnd end = EndSurvey(config.archive.backup_after_gap);
    watch->survey.reset();
    watch->next_survey = SystemClock().Steady() + end.pause;
    outcome->wants_backup = end.wants_backup;
    outcome->wants_full = end.wants_full;
    return;
  }
  watch->survey.reset();
  const bool drops_are_over = DropsAreOver();
  if (drops_are_over || SystemClock().Steady() >= watch->next_survey) {
    BeginSurvey(config, facts, timeline, end);
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
  if (watch == nullptr) {
    return;
  }
  watch->next_survey = SystemClock().Steady();
  if (watch->survey) {
    watch->survey->Cancel();
    watch->survey_is_stale = true;
  }
}

WatchOutcome WatchArchive(const Config* config, const ServerFacts& facts) {
  WatchOutcome outcome{
      .nap_ms = milliseconds(kBetweenSurveys).count(), .wants_backup = false, .wants_full = false};
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
    WatchStreamedWal();
    outcome.nap_ms = kNapInRecovery.count();
    return outcome;
  }
  const bool promoted = !std::exchange(watch->was_primary, true);
  WatchStreamedWal();
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
  Survey(*config, facts, GetWALInsertionTimeLine(), Lsn{GetXLogWriteRecPtr()}, &outcome);
  outcome.nap_ms =
      watch->survey ? kNapWhileSurveying.count()
                    : std::min(Until(watch->next_observation), Until(watch->next_survey)).count();
  return outcome;
}

}  // namespace veza::pg
