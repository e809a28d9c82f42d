// Implements veza_backup_timeline() and its companions: the same as `vezactl timeline`, for the
// system of this server.

#include "core/timeline/timeline.h"

#include <fmt/format.h>

#include <chrono>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/postgres/encoding.h"
#include "core/repository/backup_catalog.h"
#include "core/timeline/names_of_relations.h"
#include "pg/sql/archive_call.h"
//
#include "pg/schedule/node_metrics.h"
#include "pg/sql/sql_function.h"

extern "C" {
#include <mb/pg_wchar.h>
}

namespace veza::pg {

namespace {

// A row takes about 500 bytes until it is returned.
constexpr std::size_t kMostRows = 100'000;

// NULL for a time that nothing tells.
std::optional<std::string> TimeOrNull(TimePoint time) {
  return time == TimePoint{} ? std::nullopt : std::optional(FormatUtc(time));
}

std::optional<std::string> XidOrNull(std::uint32_t xid) {
  return xid == 0 ? std::nullopt : std::optional(std::to_string(xid));
}

// WAL that may be unreadable in part.
class WalCall : public ArchiveCall {
 public:
  // Warns of what could not be read. Main thread only, after the call.
  void Warn() const {
    if (unread_ > 0) {
      ereport(WARNING, (errmsg("%llu WAL segments have no index, and are left out",
                               static_cast<unsigned long long>(unread_)),
                        errhint("\"vezactl index\" makes what is missing.")));
    }
    for (const std::string& message : damaged_) {
      ereport(WARNING, (errmsg("%s", message.c_str())));
    }
    if (!unnamed_.empty()) {
      ereport(WARNING, (errmsg("the names of relations are not known: %s", unnamed_.c_str())));
    }
  }

 protected:
  // Names are a help only: without them there are the numbers.
  NamesOfRelations NamesFor(const Repository& repository, const Result<BackupCatalog>& catalog,
                            const ArchiveMap& archive, const RelationsWanted& wanted) {
    if (wanted.empty()) {
      return {};
    }
    Result<NamesOfRelations> names =
        catalog
            ? FindNamesOfRelations(repository, *catalog, archive, facts_.system_identifier, wanted)
            : catalog.error();
    if (!names) {
      unnamed_ = names.error().message;
      return {};
    }
    return std::move(*names);
  }
  // What is in UTF-8, for a row.
  std::string InOwnEncoding(const std::string& text) const { return FromUtf8(text, encoding_); }
  void SetUnread(std::uint64_t unread, std::vector<std::string> damaged) {
    unread_ = unread;
    damaged_ = std::move(damaged);
  }

 private:
  const PgEncoding encoding_ = GetDatabaseEncoding();  // made on the main thread
  std::uint64_t unread_ = 0;
  std::vector<std::string> damaged_;
  std::string unnamed_;  // why no relation has a name; empty without an error
};

// Reads the load or the events.
class TimelineCall : public WalCall {
 public:
  explicit TimelineCall(const TimelineOptions& options) : options_(options) {}

 protected:
  Result<ClusterTimeline> Read() {
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenOwn());
    ASSIGN_OR_RETURN(const Identity identity, OwnIdentity(*repository));
    const Result<BackupCatalog> catalog = ReadBackupCatalog(*repository);
    RETURN_IF_ERROR(catalog);
    ASSIGN_OR_RETURN(const ArchiveMap archive, ReadArchive(*repository));
    ASSIGN_OR_RETURN(ClusterTimeline timeline,
                     ReadTimeline(*repository, identity, *catalog, archive, options_));
    SetUnread(timeline.unread, std::move(timeline.damaged));
    NameEvents(NamesFor(*repository, catalog, archive, RelationsIn(timeline.events)),
               timeline.events);
    return timeline;
  }

 private:
  const TimelineOptions options_;
};

class LoadCall final : public TimelineCall {
 public:
  using TimelineCall::TimelineCall;
  ~LoadCall() override { StopAndJoin(); }

 private:
  Status Work() override {
    ASSIGN_OR_RETURN(const ClusterTimeline timeline, Read());
    for (const LoadBucket& bucket : timeline.load) {
      rows_.push_back({FormatUtc(bucket.begin), std::to_string(bucket.timeline),
                       std::to_string(bucket.commits), std::to_string(bucket.aborts),
                       std::to_string(bucket.bytes), std::to_string(bucket.images),
                       std::to_string(bucket.image_bytes)});
    }
    return Ok();
  }
};

class EventsCall final : public TimelineCall {
 public:
  using TimelineCall::TimelineCall;
  ~EventsCall() override { StopAndJoin(); }

 private:
  Status Work() override {
    ASSIGN_OR_RETURN(const ClusterTimeline timeline, Read());
    for (const TimelineEvent& event : timeline.events) {
      rows_.push_back({TimeOrNull(event.time), event.time_is_exact ? "true" : "false",
                       std::to_string(event.timeline), FormatLsn(event.lsn), XidOrNull(event.xid),
                       event.kind, event.parts.empty() ? event.text : InOwnEncoding(event.text)});
    }
    return Ok();
  }
};

class TransactionsCall final : public WalCall {
 public:
  explicit TransactionsCall(const TimelineRange& range) : range_(range) {}
  ~TransactionsCall() override { StopAndJoin(); }

 private:
  Status Work() override {
    ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository, OpenOwn());
    ASSIGN_OR_RETURN(const Identity identity, OwnIdentity(*repository));
    const Result<BackupCatalog> catalog = ReadBackupCatalog(*repository);
    ASSIGN_OR_RETURN(const ArchiveMap archive, ReadArchive(*repository));
    ASSIGN_OR_RETURN(
        ClusterTransactions transactions,
        ReadTransactions(*repository, identity, archive, {.range = range_, .most = kMostRows}));
    SetUnread(transactions.unread, std::move(transactions.damaged));
    const NamesOfRelations names =
        NamesFor(*repository, catalog, archive, RelationsIn(transactions.stories));
    for (const TransactionStory& story : transactions.stories) {
      rows_.push_back({FormatUtc(story.end.time), std::to_string(story.timeline),
                       FormatLsn(story.end.begin), XidOrNull(story.end.xid),
                       story.end.committed ? "true" : "false",
                       story.end.prepared ? "true" : "false",
                       story.end.database == 0 ? std::nullopt
                                               : std::optional(std::to_string(story.end.database)),
                       InOwnEncoding(RelationsToJson(story, names).Print())});
    }
    return Ok();
  }

  const TimelineRange range_;
};

// The years from 294247 on, which only a timestamp can hold, are the latest time.
TimePoint TimePointOf(TimestampTz time) {
  if (TIMESTAMP_IS_NOBEGIN(time)) {
    return TimePoint::min();
  }
  const int64 latest = std::numeric_limits<int64>::max() - UnixMicroseconds(0);
  return time > latest ? TimePoint::max()
                       : TimePoint(std::chrono::microseconds(UnixMicroseconds(time)));
}

// The time `width` before the moment, or behind it. The latest time at most.
TimePoint Before(TimePoint moment, std::chrono::microseconds width) {
  return moment < TimePoint::min() + width ? TimePoint::min() : moment - width;
}
TimePoint Behind(TimePoint moment, std::chrono::microseconds width) {
  return moment > TimePoint::max() - width ? TimePoint::max() : moment + width;
}

// The first two arguments. NULL: no limit.
TimelineRange RangeOf(FunctionCallInfo fcinfo) {
  TimelineRange range;
  if (!PG_ARGISNULL(0)) {
    range.from = TimePointOf(PG_GETARG_TIMESTAMPTZ(0));
  }
  if (!PG_ARGISNULL(1)) {
    range.to = TimePointOf(PG_GETARG_TIMESTAMPTZ(1));
  }
  if (range.from > range.to) {
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("from_time is later than to_time"),
             errhint("Name the earlier time with from_time.")));
  }
  return range;
}

constexpr int32 kMostDays = 100'000;

// Microseconds of an interval without months, whose length is not fixed. -1 if it has some, is
// negative, or is longer than about kMostDays.
int64 MicrosecondsOf(const Interval* interval) {
  if (interval->month != 0 || interval->day < -kMostDays || interval->day > kMostDays ||
      interval->time < -kMostDays * USECS_PER_DAY || interval->time > kMostDays * USECS_PER_DAY) {
    return -1;
  }
  return std::max<int64>(-1, interval->day * USECS_PER_DAY + interval->time);
}

// An infinite interval, which 17 and later know, has the largest numbers.
void RefuseTooLong(const Interval* interval, const char* name) {
  if (interval->day > kMostDays || interval->time > kMostDays * USECS_PER_DAY) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s is too long", name),
                    errhint("Give at most %d days.", kMostDays)));
  }
}

std::chrono::minutes BucketOf(FunctionCallInfo fcinfo) {
  if (PG_ARGISNULL(2)) {
    return std::chrono::minutes(1);
  }
  const Interval* const interval = PG_GETARG_INTERVAL_P(2);
  RefuseTooLong(interval, "bucket");
  const int64 length = MicrosecondsOf(interval);
  if (length < USECS_PER_MINUTE || length % USECS_PER_MINUTE != 0) {
    ereport(
        ERROR,
        (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
         errmsg("bucket must be a number of whole minutes"),
         errhint("Give minutes, hours or days, for example '1 min', '2 hours' or '1 day'. Months "
                 "have no fixed length.")));
  }
  return std::chrono::minutes(length / USECS_PER_MINUTE);
}

std::chrono::microseconds WidthOf(const Interval* within) {
  RefuseTooLong(within, "within");
  const int64 length = MicrosecondsOf(within);
  if (length <= 0) {
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
             errmsg("within must be a length of time above zero, without months"),
             errhint("Give seconds, minutes, hours or days, for example '10 minutes': so much "
                     "before the moment and so much behind it is shown. Months have no fixed "
                     "length.")));
  }
  return std::chrono::microseconds(length);
}

// From `within` before the moment to `within` behind it.
TimelineRange RangeAround(FunctionCallInfo fcinfo) {
  if (PG_ARGISNULL(0) || PG_ARGISNULL(1)) {
    ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                    errmsg("the arguments of veza_backup_timeline_transactions() must not be "
                           "null")));
  }
  const TimestampTz around = PG_GETARG_TIMESTAMPTZ(0);
  if (TIMESTAMP_NOT_FINITE(around)) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("around must not be infinite"),
                    errhint("Give the moment in question, for example '2026-11-22 14:05+01'.")));
  }
  const TimePoint moment = TimePointOf(around);
  const std::chrono::microseconds width = WidthOf(PG_GETARG_INTERVAL_P(1));
  return {Before(moment, width), Behind(moment, width)};
}

Datum ReturnTimeline(FunctionCallInfo fcinfo, TimelineCall* call) {
  PrepareOrRaise(call);
  RunCall(call, FunctionWaitEvent());
  call->Warn();
  return EmitRows(fcinfo, call);
}

}  // namespace
}  // namespace veza::pg

VEZA_SQL_FUNCTION(veza_backup_timeline) {
  using namespace veza::pg;
  const veza::TimelineOptions options{
      .range = RangeOf(fcinfo), .bucket = BucketOf(fcinfo), .events = false, .most = kMostRows};
  return ReturnTimeline(fcinfo, NewInContext<LoadCall>(options));
}

VEZA_SQL_FUNCTION(veza_backup_timeline_events) {
  using namespace veza::pg;
  const veza::TimelineOptions options{.range = RangeOf(fcinfo), .load = false, .most = kMostRows};
  return ReturnTimeline(fcinfo, NewInContext<EventsCall>(options));
}

VEZA_SQL_FUNCTION(veza_backup_timeline_transactions) {
  using namespace veza::pg;
  auto* const call = NewInContext<TransactionsCall>(RangeAround(fcinfo));
  PrepareOrRaise(call);
  RunCall(call, FunctionWaitEvent());
  call->Warn();
  return EmitRows(fcinfo, call);
}
