#include "pg/archive/archive_survey_watch.h"

#include <unistd.h>

#include <algorithm>
#include <iterator>
#include <limits>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/archive/archive_survey.h"
#include "core/archive/stored_histories.h"
#include "core/archive/wal_archive.h"
#include "core/postgres/ready_files.h"
#include "pg/archive/wal_disk.h"
//
#include "pg/boundary.h"
#include "pg/compat.h"
#include "pg/shared/shared_archive.h"
#include "pg/shared/shared_archive_watch.h"
#include "pg/shared/shared_backup.h"

extern "C" {
#include <access/xlogarchive.h>
}

namespace veza::pg {

namespace {

using std::chrono::seconds;

constexpr RetryPolicy kSurveyRetries{.budget = seconds(20), .max_attempts = 5};
constexpr seconds kFirstSurveyAfter{3};
constexpr seconds kAfterOffering{5};
constexpr seconds kAfterFailure{30};
// After a gap was found; doubled each time, up to kBetweenSurveys.
constexpr seconds kAfterGap{60};
constexpr seconds kBetweenSurveys{3600};
// How many missing segments one survey lists.
constexpr std::size_t kMostMissing = 4096;

// In a thread: finds out whether the archive holds what a server on this timeline needs.
class SurveyCall final : public BackgroundCall {
 public:
  SurveyCall(Config config, ServerFacts facts, TimelineId timeline, Lsn end)
      : config_(std::move(config)), facts_(std::move(facts)), timeline_(timeline), end_(end) {}
  ~SurveyCall() override { StopAndJoin(); }

  bool has_backup() const { return !survey_.backup.empty(); }
  const std::vector<std::string>& to_offer() const { return to_offer_; }
  const std::vector<WalGap>& gaps() const { return gaps_; }
  // Whether there is WAL with wal_level = minimal, which no recovery passes, after the newest
  // backup.
  bool has_minimal() const { return has_minimal_; }
  std::size_t lost() const { return lost_; }
  // Whether more segments may be missing than were listed.
  bool is_cut_off() const { return survey_.missing.size() >= kMostMissing; }
  // Why the gaps could not be recorded, if so.
  const Status& recorded() const { return recorded_; }

 private:
  Status Work() override {
    // First, because what waits for the archiver now may be in the archive when that is listed.
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
      // An empty object in its place would hold up the archiver, and all later files.
      ASSIGN_OR_RETURN(const bool taken, archive.IsTaken(segment));
      if (!taken && IsInPgWal(segment)) {
        if (!ready.contains(segment)) {
          to_offer_.push_back(segment);
        }
        continue;
      }
      // It may have been archived, and removed from pg_wal, since the archive was listed.
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

// One for the process. None of it is on a stack over which an ERROR jumps.
struct SurveyWatch {
  SteadyTime next{};  // when the next survey is due
  std::unique_ptr<SurveyCall> survey;
  bool survey_is_stale = false;  // the result of the running survey is not needed any more
  SurveyFailure known_failure;   // the last one that was logged
  std::uint64_t dropped = 0;     // SharedArchive::dropped.count when it was last looked at

  SharedDigest newest;        // of this server's own backups, when the survey began
  bool lacks_backup = false;  // at the last survey
  std::string known_gap;      // the first segment of the last gap that was logged
  bool known_minimal = false;
  seconds gap_pause = kAfterGap;
};
SurveyWatch* watch = nullptr;

SurveyWatch* GetWatch() {
  if (watch == nullptr) {
    watch = NewForProcess<SurveyWatch>();
    watch->next = SystemClock().Steady() + kFirstSurveyAfter;
  }
  return watch;
}

// Offers the file to the archiver again, whatever its archive status is.
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
  ereport(LOG, (errmsg("archiving %zu WAL files that are missing in the repository, from \"%s\" on",
                       count, watch->survey->to_offer().front().c_str())));
  for (const std::string& file : watch->survey->to_offer()) {
    Offer(file.c_str());
  }
  // The archiver knows the next files from a list, which begins behind these.
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
                   "copy them into the pg_wal of this server and have them archived.",
                   backup_follows ? "A new backup starts by itself."
                                  : "Take a backup. None starts by itself, because "
                                    "veza_backup.backup_after_gap is off.")));
}

bool StartSurvey(const Config& config, const ServerFacts& facts, TimelineId timeline, Lsn end,
                 ErrorReport* report) {
  return !Failed(CatchExceptions([&]() -> Status {
                   watch->survey = std::make_unique<SurveyCall>(config, facts, timeline, end);
                   return watch->survey->Start();
                 }),
                 report);
}

// When the store is away, or the repository has not been made, the archiver and the schedules say
// so.
bool IsSaidElsewhere(int sqlstate) {
  return sqlstate == ERRCODE_CONNECTION_FAILURE || sqlstate == ERRCODE_QUERY_CANCELED ||
         sqlstate == ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
}

// Logs each kind of failure once. A survey without findings resets that.
void LogFailure(const char* what, const ErrorReport& report) {
  const SurveyFailure failure{what, report.sqlstate};
  const bool is_known = watch->known_failure == failure;
  watch->known_failure = failure;
  ereport(is_known || IsSaidElsewhere(report.sqlstate) ? DEBUG1 : WARNING,
          (errcode(report.sqlstate), errmsg("could not %s: %s", what, report.message),
           report.hint[0] != '\0' ? errhint("%s", report.hint) : 0));
}

struct SurveyEnd {
  seconds pause;  // until the next survey
  SurveyOutcome outcome{};
};

// Logs it once: each survey finds it until there is a new full backup.
SurveyEnd EndWithMinimal(bool may_back_up) {
  if (!std::exchange(watch->known_minimal, true)) {
    ereport(
        WARNING,
        (errmsg("WAL after the newest backup was written with wal_level = minimal"),
         errdetail(
             "Recovery cannot continue past such WAL. Older backups cannot be restored to a time "
             "after it."),
         errhint(may_back_up ? "A new full backup starts by itself." : "Take a full backup.")));
  }
  const seconds pause = watch->gap_pause;
  watch->gap_pause = std::min(2 * pause, kBetweenSurveys);
  return {.pause = pause, .outcome = {.wants_backup = may_back_up, .wants_full = true}};
}

SurveyEnd EndWithGaps(bool may_back_up) {
  ErrorReport report;
  if (Failed(watch->survey->recorded(), &report)) {
    LogFailure("record a gap in the archive", report);
  }
  LogGap(may_back_up);
  const seconds pause = watch->gap_pause;
  watch->gap_pause = std::min(2 * pause, kBetweenSurveys);
  return {.pause = pause, .outcome = {.wants_backup = may_back_up && watch->survey->has_backup()}};
}

// Whether the survey may have missed a backup: one that this server makes, or has made meanwhile.
bool MayHaveMissedBackup() {
  if (IsRunning(ReadSharedBackup().phase)) {
    return true;
  }
  const SharedDigest newest = ReadOwnBackups().newest;
  return newest.known != watch->newest.known || newest.sha256 != watch->newest.sha256;
}

// Logs it once, until there is a backup.
void LogMissingBackup() {
  if (!watch->survey->has_backup() && MayHaveMissedBackup()) {
    return;
  }
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
    return {.pause = kAfterFailure};
  }
  // While WAL is being given up nothing is offered: it would be given up again, and until then no
  // checkpoint could remove it.
  const bool offers = !watch->survey->to_offer().empty() && !ReadSharedArchive().giving_up;
  if (offers) {
    OfferMissing();
  }
  LogMissingBackup();
  const std::vector<WalGap>& gaps = watch->survey->gaps();
  ReportSurvey(SystemClock().Now().time_since_epoch().count(),
               static_cast<std::uint32_t>(gaps.size()),
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
    return {.pause = kAfterOffering};
  }
  return {.pause = watch->survey->is_cut_off() ? kAfterFailure : kBetweenSurveys};
}

// True once, when the repository takes WAL again after some was given up.
bool DropsAreOver() {
  const SharedArchive archive = ReadSharedArchive();
  return !archive.giving_up &&
         std::exchange(watch->dropped, archive.dropped.count) != archive.dropped.count;
}

void BeginSurvey(const Config& config, const ServerFacts& facts, TimelineId timeline, Lsn end) {
  ErrorReport report;
  watch->survey_is_stale = false;
  watch->newest = ReadOwnBackups().newest;
  if (!StartSurvey(config, facts, timeline, end, &report)) {
    Raise(WARNING, &report);
    watch->survey.reset();
    watch->next = SystemClock().Steady() + kAfterFailure;
  }
}

}  // namespace

SurveyOutcome WatchSurvey(const Config& config, const ServerFacts& facts, TimelineId timeline,
                          Lsn end) {
  SurveyWatch* const mine = GetWatch();
  if (mine->survey && !mine->survey->done()) {
    return {};
  }
  if (mine->survey && !mine->survey_is_stale) {
    const SurveyEnd ended = EndSurvey(config.archive.backup_after_gap);
    mine->survey.reset();
    mine->next = SystemClock().Steady() + ended.pause;
    return ended.outcome;
  }
  mine->survey.reset();
  const bool drops_are_over = DropsAreOver();
  if (drops_are_over || SystemClock().Steady() >= mine->next) {
    BeginSurvey(config, facts, timeline, end);
  }
  return {};
}

bool IsSurveying() {
  return GetWatch()->survey != nullptr;
}

SteadyTime NextSurvey() {
  return GetWatch()->next;
}

void StopSurvey() {
  GetWatch()->survey.reset();
}

void SurveyArchiveSoon() {
  if (watch == nullptr) {
    return;
  }
  watch->next = SystemClock().Steady();
  if (watch->survey) {
    watch->survey->Cancel();
    watch->survey_is_stale = true;
  }
}

}  // namespace veza::pg
