// What a cluster did, and when: its load in buckets of time, and the events that matter to somebody
// who has to choose a moment.
//
// The load comes from the summaries of index objects alone. Its times are those at which
// transactions ended, by the clock of the server.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "core/archive/archive_map.h"
#include "core/codec/json.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/identity.h"
#include "core/repository/repository.h"
#include "core/wal_index/segment_index.h"

namespace veza {

struct TimelineRange {
  TimePoint from = TimePoint::min();  // both included
  TimePoint to = TimePoint::max();
};

struct LoadBucket {
  TimelineId timeline = 0;
  TimePoint begin{};
  std::uint64_t commits = 0;
  std::uint64_t aborts = 0;  // also of subtransactions by themselves: WAL does not tell which
  std::uint64_t bytes = 0;
  std::uint64_t images = 0;
  std::uint64_t image_bytes = 0;
};

// A part of a text: words, and behind them a relation or a database. A database has no number of a
// relation.
struct EventPart {
  std::string words;
  std::optional<RelationFile> file{};
};

struct TimelineEvent {
  TimelineId timeline = 0;
  // An event that does not tell its time has that of the event or the transaction before it. The
  // epoch if there is none: it is not known then.
  TimePoint time{};
  bool time_is_exact = false;
  Lsn lsn;  // where its record begins; of a backup, where it ended; of a gap, where it begins
  std::uint32_t xid = 0;  // 0: none
  // "restore_point", "checkpoint", "dropped", "truncated", "database", "tablespace", "parameters",
  // "timeline", "backup", "gap", "unknown".
  std::string kind;
  std::string text;
  // Of which the text is made, if it has to do with relations or databases. Empty otherwise.
  std::vector<EventPart> parts{};
};

struct ClusterTimeline {
  std::vector<LoadBucket> load;       // ordered by timeline and time, without those of no load
  std::vector<TimelineEvent> events;  // ordered by time
  std::uint64_t segments = 0;         // that were looked at
  std::uint64_t unread = 0;           // that no index covers, and that were too many to read
  // Of WAL that cannot be read, at most 100 messages.
  std::vector<std::string> damaged;
};

struct TimelineOptions {
  TimelineRange range{};
  std::chrono::seconds bucket = std::chrono::minutes(1);  // whole minutes
  bool load = true;
  bool events = true;  // of WAL. They take a request for each segment that has some
  TimePoint events_from = TimePoint::min();  // no events of WAL from before
  std::set<std::string> kinds{};             // of TimelineEvent; empty: all
  // Bytes of segments without an index that are read, and of the first segments of timelines.
  std::uint64_t most_read = std::uint64_t{1} << 30;
  // Of events, and of buckets. More is kInvalidArgument.
  std::size_t most = 1'000'000;
};

// `archive` and `catalog` are those of the system. A segment that cannot be read is told, and
// passed over. The summaries of all WAL are looked at, whatever the range: no backup tells for sure
// where WAL of some time is not, because standbys lag behind and clocks are wrong.
Result<ClusterTimeline> ReadTimeline(const Repository& repository, const Identity& identity,
                                     const BackupCatalog& catalog, const ArchiveMap& archive,
                                     const TimelineOptions& options);

// A transaction that ended.
struct TransactionStory {
  TimelineId timeline = 0;
  IndexedEnd end;
  struct Touched {
    RelationFile file;
    std::uint64_t blocks = 0;  // a block counts once for each record
  };
  // What it and its subtransactions changed, in the segments that were looked at: those in the
  // range, and kSegmentsBefore before them.
  std::vector<Touched> touched;
};
inline constexpr std::size_t kSegmentsBefore = 16;

struct TransactionOptions {
  TimelineRange range{};
  // Of transactions, and of relations that they touched. More is kInvalidArgument.
  std::size_t most = 100'000;
  std::size_t most_touched = 1'000'000;
  // Bytes of segments without an index that are read: so many to find the range, and again so many
  // in the range.
  std::uint64_t most_read = std::uint64_t{4} << 30;
};

struct ClusterTransactions {
  std::vector<TransactionStory> stories;  // of each timeline in the order of WAL
  std::uint64_t unread = 0;               // segments that no index covers, and too many to read
  std::vector<std::string> damaged;       // of WAL that cannot be read, at most 100 messages
};

// The transactions that ended in the range. A segment that cannot be read is told, and passed over.
// It is an error if it lies between segments in which transactions ended in the range, or if it is
// one of those.
// Missing segments in which one may have ended, or may have changed something, are told as damaged.
Result<ClusterTransactions> ReadTransactions(const Repository& repository, const Identity& identity,
                                             const ArchiveMap& archive,
                                             const TransactionOptions& options);

// "1663/5/16384": tablespace, database and relation. Or "5", for a database.
std::string NumbersOf(const RelationFile& file);

// For people: "about" before a time that is not exact. Empty if it is not known.
std::string DescribeTime(const TimelineEvent& event);
// As vezactl returns it. The time is null if it is not known.
Json EventToJson(const TimelineEvent& event);

// For people: "restore point "before the migration"". nullopt for facts that are no event.
struct EventText {
  std::string kind;
  std::vector<EventPart> parts;
  std::optional<TimePoint> time{};
};
std::optional<EventText> DescribeFact(const WalFact& fact);
// The parts, with what `name` says of each relation and database.
std::string JoinParts(const std::vector<EventPart>& parts,
                      const std::function<std::string(const RelationFile&)>& name = NumbersOf);

}  // namespace veza
