#include "core/wal/wal_facts.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <ctime>
#include <limits>
#include <regex>
#include <set>

namespace veza {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

struct ServersRecord {
  int version;
  std::string_view text;  // as pg_waldump prints it
  std::string_view bytes;
};
constexpr ServersRecord kServersRecords[] = {
#include "core/wal/fact_records.inc"
};

// A record with its bytes. `bytes` is as long as the main data, so that a sanitizer sees a step too
// far.
struct OwnedRecord {
  WalRecordHeaders headers;
  Bytes main_data;
  WalRecord record;
};
std::unique_ptr<OwnedRecord> Parse(const ServersRecord& servers) {
  auto owned = std::make_unique<OwnedRecord>();
  const Bytes bytes = FromHex(servers.bytes).value();
  EXPECT_EQ(owned->headers.Parse(bytes), WalRecordHeaders::Outcome::kWhole) << servers.text;
  const ByteView data = ByteView(bytes).subspan(owned->headers.main_data_begin());
  owned->main_data.assign(data.begin(), data.end());
  owned->record = owned->headers.record();
  EXPECT_EQ(owned->record.main_data_length, data.size()) << servers.text;
  owned->record.main_data = owned->main_data;
  return owned;
}

// The first record whose text begins so.
const ServersRecord& Find(std::string_view text, int version = 15) {
  for (const ServersRecord& servers : kServersRecords) {
    if (servers.version == version && servers.text.substr(0, text.size()) == text) {
      return servers;
    }
  }
  ADD_FAILURE() << text;
  return kServersRecords[0];
}

// What pg_waldump would print of a fact -------------------------------------------------------

std::string Time(TimePoint time) {
  const std::int64_t microseconds = time.time_since_epoch().count();
  const std::time_t seconds = microseconds / 1'000'000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:06} UTC", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     microseconds % 1'000'000);
}

std::string Path(const RelationFile& file, int fork = kMainFork) {
  constexpr std::string_view kForks[] = {"", "_fsm", "_vm", "_init"};
  EXPECT_EQ(file.tablespace, 1663);  // the others have the catalog's version in their path
  return fmt::format("base/{}/{}{}", file.database, file.relation, kForks[fork]);
}

std::string Level(WalLevel level) {
  return level == WalLevel::kMinimal   ? "minimal"
         : level == WalLevel::kReplica ? "replica"
                                       : "logical";
}

struct Printer {
  std::string operator()(const NothingMore& /*unused*/) const { return "nothing"; }
  std::string operator()(const UnknownFact& unknown) const {
    return fmt::format("unknown: {}", unknown.reason);
  }
  std::string operator()(const TransactionEnd& end) const {
    std::string text = end.committed ? "COMMIT" : "ABORT";
    text += end.prepared ? fmt::format("_PREPARED {}: ", end.xid) : " ";
    text += Time(end.time);
    for (const RelationFile& file : end.dropped) {
      text += (&file == end.dropped.data() ? "; rels: " : " ") + Path(file);
    }
    for (const std::uint32_t& xid : end.subtransactions) {
      text += fmt::format("{} {}", &xid == end.subtransactions.data() ? "; subxacts:" : "", xid);
    }
    return "Transaction " + text;
  }
  std::string operator()(const TransactionPrepared& prepared) const {
    return fmt::format("Transaction PREPARE gid {}: {}", prepared.gid, Time(prepared.time));
  }
  std::string operator()(const RelationCreated& created) const {
    return "Storage CREATE " + Path(created.file, created.fork);
  }
  std::string operator()(const RelationTruncated& cut) const {
    return fmt::format(
        "Storage TRUNCATE {} to {} blocks flags {}", Path(cut.file), cut.blocks,
        (cut.main ? 1 : 0) + (cut.visibility_map ? 2 : 0) + (cut.free_space_map ? 4 : 0));
  }
  std::string operator()(const DatabaseCopied& copied) const {
    return fmt::format("Database CREATE_FILE_COPY copy dir {}/{} to {}/{}",
                       copied.source_tablespace, copied.source_database, copied.tablespace,
                       copied.database);
  }
  std::string operator()(const DatabaseCreated& created) const {
    return fmt::format("Database CREATE_WAL_LOG create dir {}/{}", created.tablespace,
                       created.database);
  }
  std::string operator()(const DatabaseDropped& dropped) const {
    std::string text = "Database DROP dir";
    for (const std::uint32_t tablespace : dropped.tablespaces) {
      text += fmt::format(" {}/{}", tablespace, dropped.database);
    }
    return text;
  }
  std::string operator()(const TablespaceCreated& created) const {
    return fmt::format("Tablespace CREATE {} \"{}\"", created.tablespace, created.location);
  }
  std::string operator()(const TablespaceDropped& dropped) const {
    return fmt::format("Tablespace DROP {}", dropped.tablespace);
  }
  std::string operator()(const RestorePointMade& point) const {
    return "XLOG RESTORE_POINT " + point.name;
  }
  std::string operator()(const CheckpointMade& checkpoint) const {
    return fmt::format("XLOG CHECKPOINT_{} redo {}; tli {}; prev tli {}; fpw {};{}",
                       checkpoint.shutdown ? "SHUTDOWN" : "ONLINE", FormatLsn(checkpoint.redo),
                       checkpoint.timeline, checkpoint.previous_timeline,
                       checkpoint.full_page_writes,
                       checkpoint.wal_level ? " wal_level " + Level(*checkpoint.wal_level) : "");
  }
  std::string operator()(const CheckpointBegun& begun) const {
    return "XLOG CHECKPOINT_REDO wal_level " + Level(begun.wal_level);
  }
  std::string operator()(const ParametersChanged& parameters) const {
    return fmt::format(
        "XLOG PARAMETER_CHANGE max_connections={} max_worker_processes={} max_wal_senders={} "
        "max_prepared_xacts={} max_locks_per_xact={} wal_level={} wal_log_hints={} "
        "track_commit_timestamp={}",
        parameters.max_connections, parameters.max_worker_processes, parameters.max_wal_senders,
        parameters.max_prepared_transactions, parameters.max_locks_per_transaction,
        Level(parameters.wal_level), parameters.wal_log_hints ? "on" : "off",
        parameters.track_commit_timestamp ? "on" : "off");
  }
  std::string operator()(const FullPageWritesChanged& changed) const {
    return fmt::format("XLOG FPW_CHANGE {}", changed.on);
  }
  std::string operator()(const ChecksumsChanged& changed) const {
    return fmt::format("XLOG2 CHECKSUMS {}", changed.state);
  }
  std::string operator()(const RecoveryEnded& ended) const {
    return fmt::format("XLOG END_OF_RECOVERY tli {}; prev tli {}; time {}{}", ended.timeline,
                       ended.previous_timeline, Time(ended.time),
                       ended.wal_level ? "; wal_level " + Level(*ended.wal_level) : "");
  }
  std::string operator()(const SegmentSwitched& /*unused*/) const { return "XLOG SWITCH"; }
  std::string operator()(const RecordOverwritten& overwritten) const {
    return fmt::format("XLOG OVERWRITE_CONTRECORD lsn {}; time {}",
                       FormatLsn(overwritten.overwritten), Time(overwritten.time));
  }
};
std::string Print(const WalFact& fact) {
  return std::visit(Printer{}, fact);
}

// What a fact does not hold goes out of the text, and "nothing" comes in its place where a record
// says nothing that is asked for.
std::string Wanted(const ServersRecord& servers) {
  static const std::regex nothing(
      "(Standby|Heap2?|Btree|MultiXact|CLOG|CommitTs|ReplicationOrigin|LogicalMessage|RelMap) .*|"
      "XLOG (NEXTOID|BACKUP_END|FPI|FPI_FOR_HINT|NOOP) .*|"
      "Transaction (INVALIDATION|ASSIGNMENT) .*");
  static const std::regex not_held(
      "; (dropped stats|inval msgs|relcache init file|origin:)[^;]*|; sync$");
  static const std::regex not_held_of_prepare("(Transaction PREPARE [^;]*).*");
  static const std::regex not_held_of_checkpoint(
      "(.*CHECKPOINT.*; fpw [^;]*;( wal_level \\w*)?).*");
  std::string text(servers.text);
  if (std::regex_match(text, nothing)) {
    return "nothing";
  }
  text = std::regex_replace(text, not_held, "");
  text = std::regex_replace(text, not_held_of_prepare, "$1");
  return std::regex_replace(text, not_held_of_checkpoint, "$1");
}

bool IsUnknown(const WalFact& fact) {
  return std::holds_alternative<UnknownFact>(fact);
}

TEST(WalFacts, AreWhatPgWaldumpSays) {
  for (const ServersRecord& servers : kServersRecords) {
    const auto owned = Parse(servers);
    EXPECT_EQ(Print(ReadWalFact(owned->record, servers.version)), Wanted(servers));
  }
}

// What pg_waldump does not print of them.
TEST(WalFacts, HoldXidsDatabasesAndTimes) {
  const auto commit = Parse(Find("Transaction COMMIT"));
  const auto end = std::get<TransactionEnd>(ReadWalFact(commit->record, 15));
  EXPECT_EQ(end.xid, commit->record.xid);
  EXPECT_NE(end.xid, 0);
  EXPECT_EQ(end.database, 5);
  const auto prepare = Parse(Find("Transaction PREPARE"));
  const auto prepared = std::get<TransactionPrepared>(ReadWalFact(prepare->record, 15));
  EXPECT_EQ(prepared.xid, prepare->record.xid);
  EXPECT_EQ(prepared.database, 5);
  const auto record = Parse(Find("Transaction COMMIT_PREPARED"));
  const auto kept = std::get<TransactionEnd>(ReadWalFact(record->record, 15));
  EXPECT_EQ(kept.xid, prepared.xid);
  EXPECT_EQ(kept.gid, "to be committed");
  const auto point =
      std::get<RestorePointMade>(ReadWalFact(Parse(Find("XLOG RESTORE_POINT"))->record, 15));
  EXPECT_GT(point.time, end.time);
  EXPECT_LT(point.time, end.time + std::chrono::seconds(10));
  const auto checkpoint =
      std::get<CheckpointMade>(ReadWalFact(Parse(Find("XLOG CHECKPOINT_ONLINE"))->record, 15));
  EXPECT_GT(checkpoint.time, end.time - std::chrono::seconds(1));
  EXPECT_LT(checkpoint.time, end.time + std::chrono::seconds(10));
}

// `fact` says less than `whole`: nothing, or all that matters. A record whose data are not looked
// at is the same however long it is.
void ExpectDoubt(const WalFact& fact, const WalFact& whole, const std::string& what) {
  if (!IsUnknown(fact)) {
    EXPECT_EQ(Print(fact), Print(whole)) << what;
  }
}

TEST(WalFacts, OfARecordThatIsCutOffAreUnknown) {
  for (const ServersRecord& servers : kServersRecords) {
    const auto owned = Parse(servers);
    const WalFact whole = ReadWalFact(owned->record, servers.version);
    const bool has_data = !std::holds_alternative<NothingMore>(whole) && !owned->main_data.empty();
    for (std::size_t size = 0; size < owned->main_data.size(); ++size) {
      const Bytes beginning(owned->main_data.begin(),
                            owned->main_data.begin() + static_cast<std::ptrdiff_t>(size));
      WalRecord record = owned->record;
      record.main_data = beginning;
      const WalFact kept = ReadWalFact(record, servers.version);
      const std::string what = fmt::format("{} of {}", size, servers.text);
      ExpectDoubt(kept, whole, what);
      record.main_data_length = static_cast<std::uint32_t>(size);
      const WalFact written = ReadWalFact(record, servers.version);
      if (!has_data) {
        continue;
      }
      // Only of these the end is not wanted.
      const auto* end = std::get_if<TransactionEnd>(&whole);
      const bool may_end = std::holds_alternative<TransactionPrepared>(whole);
      EXPECT_TRUE(IsUnknown(kept) || may_end || (end != nullptr && !end->prepared)) << what;
      EXPECT_TRUE(IsUnknown(written) || may_end) << what;
      ExpectDoubt(written, whole, what);
    }
  }
}

TEST(WalFacts, OfARecordThatIsTooLongAreUnknown) {
  for (const ServersRecord& servers : kServersRecords) {
    const auto owned = Parse(servers);
    const WalFact whole = ReadWalFact(owned->record, servers.version);
    if (std::holds_alternative<NothingMore>(whole) ||
        std::holds_alternative<SegmentSwitched>(whole) ||
        std::holds_alternative<TransactionPrepared>(whole)) {
      continue;
    }
    owned->main_data.push_back(0);
    owned->record.main_data = owned->main_data;
    owned->record.main_data_length += 1;
    EXPECT_TRUE(IsUnknown(ReadWalFact(owned->record, servers.version))) << servers.text;
  }
}

// A commit of which the invalidations are beyond what was kept is the commonest record of that
// size.
TEST(WalFacts, OfACommitThatIsCutOffAreKnownIfTheEndIsOnlyInvalidations) {
  const ServersRecord& servers = Find("Transaction COMMIT ");
  for (const ServersRecord& row : kServersRecords) {
    const std::string_view text = row.text;
    if (row.version != 15 || text.find("COMMIT ") == text.npos || text.find("rels:") == text.npos) {
      continue;
    }
    const auto owned = Parse(row);
    owned->record.main_data = ByteView(owned->main_data).first(owned->main_data.size() - 20);
    const WalFact fact = ReadWalFact(owned->record, 15);
    ASSERT_TRUE(std::holds_alternative<TransactionEnd>(fact)) << text;
    EXPECT_THAT(std::get<TransactionEnd>(fact).dropped, SizeIs(1));
  }
  const auto owned = Parse(servers);
  owned->record.main_data = ByteView(owned->main_data).first(12);
  const auto unknown = std::get<UnknownFact>(ReadWalFact(owned->record, 15));
  ASSERT_TRUE(unknown.end.has_value());
  EXPECT_EQ(unknown.end->xid, owned->record.xid);
  EXPECT_TRUE(unknown.end->committed);
  EXPECT_EQ("Transaction COMMIT " + Time(unknown.end->time), servers.text.substr(0, 49));
  owned->record.main_data = ByteView(owned->main_data).first(7);
  EXPECT_FALSE(std::get<UnknownFact>(ReadWalFact(owned->record, 15)).end.has_value());
}

TEST(WalFacts, HostileBytesAreHarmless) {
  for (const ServersRecord& servers : kServersRecords) {
    const auto owned = Parse(servers);
    for (std::uint8_t& byte : owned->main_data) {
      const std::uint8_t before = byte;
      for (const int value : {0x00, 0x7F, 0x80, 0xFF}) {
        byte = static_cast<std::uint8_t>(value);
        for (int version = 15; version <= 19; ++version) {
          ReadWalFact(owned->record, version);
        }
      }
      byte = before;
    }
  }
}

// Records made by hand ------------------------------------------------------------------------

template <typename... Fields>
Bytes Data(Fields... fields) {
  Bytes bytes((sizeof fields + ...));
  std::uint8_t* at = bytes.data();
  const auto add = [&](auto field) {
    std::memcpy(at, &field, sizeof field);
    at += sizeof field;
  };
  (add(fields), ...);
  return bytes;
}

WalFact FactOf(std::uint8_t manager, std::uint8_t info, const Bytes& data, int version,
               std::span<const BlockReference> blocks = {}) {
  WalRecord record;
  record.manager = manager;
  record.info = info;
  record.xid = 700;
  record.main_data = data;
  record.main_data_length = static_cast<std::uint32_t>(data.size());
  record.blocks = blocks;
  return ReadWalFact(record, version);
}

using U32 = std::uint32_t;
using I64 = std::int64_t;

TEST(WalFacts, ATransactionsEndHasTheFormOfItsVersion) {
  constexpr U32 kStatistics = 1U << 8;
  constexpr U32 kDropped = 1U << 2;
  const Bytes head =
      Data(I64{1}, kStatistics | kDropped, U32{1}, U32{1663}, U32{5}, U32{77}, U32{1});
  Bytes of_15 = head;
  of_15.resize(head.size() + 12);
  Bytes of_18 = head;
  of_18.resize(head.size() + 16);
  for (const int version : {15, 16, 17}) {
    EXPECT_FALSE(IsUnknown(FactOf(1, 0x80, of_15, version)));
    EXPECT_TRUE(IsUnknown(FactOf(1, 0x80, of_18, version)));
  }
  for (const int version : {18, 19}) {
    EXPECT_TRUE(IsUnknown(FactOf(1, 0x80, of_15, version)));
    EXPECT_FALSE(IsUnknown(FactOf(1, 0x80, of_18, version)));
  }
}

TEST(WalFacts, AnEndThatContradictsItselfIsUnknown) {
  const Bytes plain = Data(I64{1});
  EXPECT_FALSE(IsUnknown(FactOf(1, 0x00, plain, 15)));
  EXPECT_FALSE(IsUnknown(FactOf(1, 0x20, plain, 15)));
  EXPECT_TRUE(IsUnknown(FactOf(1, 0x30, plain, 15))) << "prepared, but no xid";
  EXPECT_TRUE(IsUnknown(FactOf(1, 0x40, plain, 15)));
  EXPECT_TRUE(IsUnknown(FactOf(1, 0x70, plain, 15))) << "no such kind";
  EXPECT_TRUE(IsUnknown(FactOf(1, 0x80, Data(I64{1}, U32{1U << 4}, U32{9}), 15)))
      << "an xid, but not prepared";
  EXPECT_FALSE(IsUnknown(FactOf(1, 0xB0, Data(I64{1}, U32{1U << 4}, U32{9}), 15)));
  EXPECT_TRUE(IsUnknown(FactOf(1, 0xA0, Data(I64{1}, U32{1U << 3}, U32{0}), 15)))
      << "an abort has no invalidations";
  for (int bit = 0; bit < 32; ++bit) {
    // These say that nothing follows.
    const bool known = bit == 6 || bit >= 29;
    EXPECT_EQ(IsUnknown(FactOf(1, 0x80, Data(I64{1}, U32{1U << bit}), 15)), !known && bit != 7)
        << bit;
  }
  for (const U32 count :
       {U32{1}, U32{0x15555556}, U32{0x40000001}, U32{0x7FFFFFFF}, U32{0xFFFFFFFF}}) {
    for (const int bit : {1, 2, 3, 8}) {
      EXPECT_TRUE(IsUnknown(FactOf(1, 0x80, Data(I64{1}, U32{1U << bit}, count), 15))) << count;
    }
  }
}

TEST(WalFacts, AGidEndsWithinItsRoom) {
  const Bytes head = Data(I64{1}, U32{(1U << 4) | (1U << 7)}, U32{9});
  for (const std::size_t size : {std::size_t{0}, std::size_t{199}, std::size_t{200}}) {
    Bytes data = head;
    data.resize(head.size() + size, 'g');
    EXPECT_TRUE(IsUnknown(FactOf(1, 0xB0, data, 15)));
    data.push_back(0);
    EXPECT_EQ(IsUnknown(FactOf(1, 0xB0, data, 15)), size == 200);
  }
}

TEST(WalFacts, APreparedTransactionOfAnotherFormatIsUnknown) {
  const auto owned = Parse(Find("Transaction PREPARE"));
  owned->main_data[0] ^= 1;  // TWOPHASE_MAGIC
  EXPECT_TRUE(IsUnknown(ReadWalFact(owned->record, 15)));
}

TEST(WalFacts, TimesBeyondAllTimesAreTheLast) {
  const auto end =
      std::get<TransactionEnd>(FactOf(1, 0x00, Data(std::numeric_limits<I64>::max()), 15));
  EXPECT_EQ(end.time, TimePoint::max());
  FactOf(1, 0x00, Data(std::numeric_limits<I64>::min()), 15);
  Bytes checkpoint(88);
  std::memset(checkpoint.data() + 64, 0xFF, 8);
  checkpoint[71] = 0x7F;
  EXPECT_GT(std::get<CheckpointMade>(FactOf(0, 0x00, checkpoint, 15)).time,
            TimePoint(std::chrono::seconds(9'000'000'000'000)));
}

TEST(WalFacts, ForksFlagsAndLevelsBeyondTheKnownAreUnknown) {
  for (U32 fork = 0; fork < 6; ++fork) {
    EXPECT_EQ(IsUnknown(FactOf(2, 0x11, Data(U32{1663}, U32{5}, U32{7}, fork), 15)), fork > 3);
  }
  EXPECT_TRUE(IsUnknown(FactOf(2, 0x11, Data(U32{1663}, U32{5}, U32{7}, U32{0x100}), 15)));
  for (U32 flags = 0; flags < 16; ++flags) {
    const WalFact fact = FactOf(2, 0x21, Data(U32{6}, U32{1663}, U32{5}, U32{7}, flags), 15);
    EXPECT_EQ(IsUnknown(fact), flags > 7);
  }
  const auto map = std::get<RelationTruncated>(
      FactOf(2, 0x21, Data(U32{6}, U32{1663}, U32{5}, U32{7}, U32{2}), 15));
  EXPECT_FALSE(map.main);
  EXPECT_TRUE(map.visibility_map);
  EXPECT_FALSE(map.free_space_map);
  for (const int level : {-1, 0, 1, 2, 3}) {
    Bytes data(28);
    std::memcpy(data.data() + 20, &level, sizeof level);
    EXPECT_EQ(IsUnknown(FactOf(0, 0x60, data, 15)), level < 0 || level > 2);
  }
  EXPECT_TRUE(IsUnknown(FactOf(0, 0x70, Bytes(72, 'n'), 15))) << "a name without an end";
}

TEST(WalFacts, HaveTheFormOfTheirVersion) {
  const Bytes ended_15 = Data(I64{0}, U32{3}, U32{2});
  const Bytes ended_17 = Data(I64{0}, U32{3}, U32{2}, U32{1}, U32{0});
  for (const int version : {15, 16}) {
    EXPECT_EQ(Print(FactOf(0, 0x90, ended_15, version)),
              "XLOG END_OF_RECOVERY tli 3; prev tli 2; time 2000-01-01 00:00:00.000000 UTC");
    EXPECT_TRUE(IsUnknown(FactOf(0, 0x90, ended_17, version)));
    EXPECT_TRUE(IsUnknown(FactOf(0, 0xE0, Data(U32{1}), version))) << "no such kind";
  }
  for (const int version : {17, 18, 19}) {
    EXPECT_EQ(std::get<RecoveryEnded>(FactOf(0, 0x90, ended_17, version)).wal_level,
              WalLevel::kReplica);
    EXPECT_TRUE(IsUnknown(FactOf(0, 0x90, ended_15, version)));
    EXPECT_EQ(IsUnknown(FactOf(0, 0xE0, Data(U32{1}), version)), version == 19);
    EXPECT_EQ(IsUnknown(FactOf(0, 0xE0, Data(U32{1}, U32{0}), version)), version != 19);
    Bytes checkpoint = Data(I64{0x1000}, U32{3}, U32{2}, U32{1}, U32{2});
    checkpoint.resize(version == 19 ? 96 : 88);
    const I64 seconds = 1'000'000'000;
    std::memcpy(checkpoint.data() + (version == 19 ? 72 : 64), &seconds, sizeof seconds);
    const WalFact fact = FactOf(0, 0x00, checkpoint, version);
    EXPECT_EQ(
        Print(fact),
        "XLOG CHECKPOINT_SHUTDOWN redo 0/1000; tli 3; prev tli 2; fpw true; wal_level logical");
    EXPECT_EQ(std::get<CheckpointMade>(fact).time, TimePoint(std::chrono::seconds(seconds)));
  }
  EXPECT_EQ(Print(FactOf(22, 0x00, Data(U32{1}), 19)), "XLOG2 CHECKSUMS 1");
  EXPECT_TRUE(IsUnknown(FactOf(22, 0x00, Data(U32{1}), 18)));
  EXPECT_TRUE(IsUnknown(FactOf(22, 0x10, Data(U32{1}), 19)));
}

// Every manager and kind that says nothing although it names no block, and no other.
TEST(WalFacts, WithoutBlocksOnlyKnownKindsSayNothing) {
  const std::set<std::pair<int, int>> harmless = {
      {0, 0x20},  {0, 0x30},  {0, 0x50},                           // NOOP, NEXTOID, BACKUP_END
      {1, 0x50},  {1, 0x60},  {1, 0xD0},  {1, 0xE0},               // ASSIGNMENT, INVALIDATIONS
      {3, 0x00},  {3, 0x10},                                       // CLOG
      {6, 0x00},  {6, 0x10},  {6, 0x20},  {6, 0x30},               // MultiXact
      {7, 0x00},                                                   // RelMap
      {8, 0x00},  {8, 0x10},  {8, 0x20},                           // Standby
      {9, 0x00},  {9, 0x70},                                       // REWRITE, NEW_CID
      {10, 0x30},                                                  // TRUNCATE
      {11, 0xD0},                                                  // REUSE_PAGE
      {14, 0x20},                                                  // PAGE_REUSE
      {18, 0x00}, {18, 0x10}, {19, 0x00}, {19, 0x10}, {21, 0x00},  // CommitTs, origins, messages
  };
  for (int version = 15; version <= 19; ++version) {
    std::set<std::pair<int, int>> expected = harmless;
    if (version < 19) {
      expected.insert({14, 0x70});  // ASSIGN_LSN
    } else {
      expected.insert({{0, 0xC0}, {0, 0xF0}});  // ASSIGN_LSN, LOGICAL_DECODING_STATUS_CHANGE
    }
    std::set<std::pair<int, int>> found;
    for (int manager = 0; manager < 256; ++manager) {
      for (int info = 0; info < 256; info += 16) {
        const WalFact fact = FactOf(static_cast<std::uint8_t>(manager),
                                    static_cast<std::uint8_t>(info), Data(I64{0}), version);
        if (std::holds_alternative<NothingMore>(fact)) {
          found.insert({manager, info});
        }
      }
    }
    EXPECT_EQ(found, expected) << version;
  }
}

TEST(WalFacts, BlocksSayAllOfManagersThatChangePages) {
  const BlockReference blocks[1];
  for (int manager = 0; manager < 256; ++manager) {
    const auto id = static_cast<std::uint8_t>(manager);
    const bool changes_pages = (manager >= 9 && manager <= 17) || manager == 20 || manager >= 128;
    const WalFact fact = FactOf(id, 0xF0, {}, 15, blocks);
    EXPECT_EQ(IsUnknown(fact), !changes_pages) << manager;
  }
  for (const int info : {0xA0, 0xB0}) {
    EXPECT_FALSE(IsUnknown(FactOf(0, static_cast<std::uint8_t>(info), {}, 15, blocks)));
    EXPECT_TRUE(IsUnknown(FactOf(0, static_cast<std::uint8_t>(info), {}, 15)));
  }
}

// XLR_SPECIAL_REL_UPDATE: the record changes files of relations beside the blocks that it names.
TEST(WalFacts, ASpecialUpdateOfAnotherManagerIsUnknown) {
  const BlockReference blocks[1];
  for (int manager = 0; manager < 256; ++manager) {
    const auto id = static_cast<std::uint8_t>(manager);
    const bool known = manager == 1 || manager == 2 || manager == 4;
    const auto fact = FactOf(id, 0x01, {}, 15, blocks);
    ASSERT_TRUE(IsUnknown(fact)) << manager;
    EXPECT_EQ(std::get<UnknownFact>(fact).reason.find("changes files") != std::string_view::npos,
              !known)
        << manager;
  }
  EXPECT_TRUE(IsUnknown(FactOf(10, 0x04, {}, 15, blocks))) << "a bit that nobody uses";
  EXPECT_FALSE(IsUnknown(FactOf(10, 0x02, {}, 15, blocks))) << "wal_consistency_checking";
}

TEST(WalFacts, OfOtherVersionsAreUnknown) {
  const BlockReference blocks[1];
  for (const int version : {0, 14, 20}) {
    EXPECT_TRUE(IsUnknown(FactOf(10, 0x00, {}, version, blocks))) << version;
  }
}

}  // namespace
}  // namespace veza
