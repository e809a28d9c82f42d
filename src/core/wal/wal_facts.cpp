#include "core/wal/wal_facts.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <limits>
#include <utility>

namespace veza {
namespace {

// Reasons of UnknownFact.
constexpr std::string_view kOtherVersion = "the version of PostgreSQL is not known";
constexpr std::string_view kOtherKind = "the kind of the record is not known";
constexpr std::string_view kOtherForm = "the record has another form than is known of its kind";
constexpr std::string_view kCutOff = "only the beginning of the record was kept";
constexpr std::string_view kSpecialUpdate =
    "the record changes files in a way that is not known of its kind";

// Resource managers, in the order of access/rmgrlist.h. The order has been the same since 9.6.
enum Manager : std::uint8_t {
  kXlog,
  kTransaction,
  kStorage,
  kCommitLog,
  kDatabase,
  kTablespace,
  kMultiXact,
  kRelationMap,
  kStandby,
  kHeap2,
  kHeap,
  kBtree,
  kHash,
  kGin,
  kGist,
  kSequence,
  kSpgist,
  kBrin,
  kCommitTimestamp,
  kReplicationOrigin,
  kGeneric,
  kLogicalMessage,
  kXlog2,  // 19
};
constexpr std::uint8_t kFirstCustomManager = 128;  // RM_MIN_CUSTOM_ID

// The bits of xl_info that belong to every record (access/xlogrecord.h).
constexpr std::uint8_t kSpecialRelationUpdate = 0x01;  // XLR_SPECIAL_REL_UPDATE
constexpr std::uint8_t kUnusedInfo = 0x0C;

constexpr int kOldestVersion = 15;
constexpr int kNewestVersion = 19;

// Kinds of records that name no block and change no file of a relation: one bit for each value of
// the upper half of xl_info. Where a kind is not here, a record of it without blocks is unknown.
constexpr std::uint16_t Kinds(std::initializer_list<std::uint8_t> infos) {
  std::uint16_t kinds = 0;
  for (const std::uint8_t info : infos) {
    kinds = static_cast<std::uint16_t>(kinds | (1U << (info >> 4)));
  }
  return kinds;
}
constexpr std::uint16_t HarmlessKinds(std::uint8_t manager, int version) {
  switch (manager) {
    case kCommitLog:
      return Kinds({0x00, 0x10});  // ZEROPAGE, TRUNCATE
    case kMultiXact:
      return Kinds({0x00, 0x10, 0x20, 0x30});  // ZERO_OFF_PAGE, ZERO_MEM_PAGE, CREATE, TRUNCATE
    case kRelationMap:
      return Kinds({0x00});  // UPDATE: pg_filenode.map, which is no relation
    case kStandby:
      return Kinds({0x00, 0x10, 0x20});  // LOCK, RUNNING_XACTS, INVALIDATIONS
    case kHeap2:
      return Kinds({0x00, 0x70});  // REWRITE: a file below pg_logical; NEW_CID
    case kHeap:
      return Kinds({0x30});  // TRUNCATE: for logical decoding; that of the file is kStorage's
    case kBtree:
      return Kinds({0xD0});  // REUSE_PAGE: a conflict of standbys
    case kGist:
      // PAGE_REUSE, likewise; and to 18 ASSIGN_LSN
      return version < 19 ? Kinds({0x20, 0x70}) : Kinds({0x20});
    case kCommitTimestamp:
    case kReplicationOrigin:
      return Kinds({0x00, 0x10});  // ZEROPAGE and TRUNCATE; SET and DROP
    case kLogicalMessage:
      return Kinds({0x00});
    default:
      return 0;
  }
}

// Whether the manager changes pages of relations, and those only that its records name. The
// visibility map and the free space map are the exceptions.
bool ChangesNamedBlocks(std::uint8_t manager) {
  switch (manager) {
    case kHeap2:
    case kHeap:
    case kBtree:
    case kHash:
    case kGin:
    case kGist:
    case kSequence:
    case kSpgist:
    case kBrin:
    case kGeneric:
      return true;
    default:
      return false;
  }
}

// Takes the main data of a record apart, in the byte order of this machine. After something did not
// fit, everything that is taken is 0 or empty.
class Fields {
 public:
  explicit Fields(const WalRecord& record)
      : data_(record.main_data.first(
            std::min<std::size_t>(record.main_data.size(), record.main_data_length))),
        length_(record.main_data_length) {}

  template <typename T>
  T Take() {
    T value{};
    if (const ByteView bytes = TakeBytes(sizeof value); !bytes.empty()) {
      std::memcpy(&value, bytes.data(), sizeof value);
    }
    return value;
  }
  // `count` things of `size` bytes each. Compared in 64 bits: the count may be a lie.
  ByteView TakeBytes(std::uint64_t size, std::uint64_t count = 1) {
    if (failed_ || size * count > data_.size() - position_) {
      failed_ = true;
      return {};
    }
    const ByteView bytes = data_.subspan(position_, size * count);
    position_ += bytes.size();
    return bytes;
  }
  void Skip(std::uint64_t size) { TakeBytes(size); }
  // An int32 and so many things of `size` bytes.
  ByteView TakeList(std::uint64_t size) {
    const auto count = Take<std::uint32_t>();
    return TakeBytes(size, count);
  }
  // Up to a zero byte, which must be within the next `most` bytes.
  std::string TakeString(std::size_t most) {
    const ByteView rest = data_.subspan(position_);
    const ByteView text = rest.first(std::min(rest.size(), most));
    const auto end = std::find(text.begin(), text.end(), std::uint8_t{0});
    if (failed_ || end == text.end()) {
      failed_ = true;
      return {};
    }
    const auto size = static_cast<std::size_t>(end - text.begin());
    position_ += size + 1;
    return std::string(AsText(text.first(size)));
  }
  void Fail() { failed_ = true; }

  bool failed() const { return failed_; }
  bool is_cut_off() const { return data_.size() < length_; }
  // All that the record has was taken.
  bool AtEnd() const { return !failed_ && position_ == length_; }

 private:
  ByteView data_;
  std::uint64_t length_;
  std::size_t position_ = 0;
  bool failed_ = false;
};

WalFact Unknown(const Fields& fields) {
  return UnknownFact{fields.is_cut_off() ? kCutOff : kOtherForm, {}};
}

// `fact` if all that the record has was taken for it.
template <typename Fact>
WalFact IfAtEnd(const Fields& fields, Fact fact) {
  if (!fields.AtEnd()) {
    return Unknown(fields);
  }
  return fact;
}

// A TimestampTz: microseconds since 2000-01-01. A damaged record may have any time.
TimePoint FromTimestamp(std::int64_t timestamp) {
  constexpr std::int64_t kPostgresEpoch = 946'684'800'000'000;  // microseconds since 1970
  constexpr std::int64_t kLatest = std::numeric_limits<std::int64_t>::max() - kPostgresEpoch;
  return TimePoint(std::chrono::microseconds(std::min(timestamp, kLatest) + kPostgresEpoch));
}
TimePoint TakeTime(Fields& fields) {
  return FromTimestamp(fields.Take<std::int64_t>());
}
// A pg_time_t: seconds since 1970.
TimePoint TakeSeconds(Fields& fields) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max() / 1'000'000;
  return TimePoint(std::chrono::seconds(std::clamp(fields.Take<std::int64_t>(), -kMost, kMost)));
}

RelationFile TakeFile(Fields& fields) {
  RelationFile file;
  file.tablespace = fields.Take<std::uint32_t>();
  file.database = fields.Take<std::uint32_t>();
  file.relation = fields.Take<std::uint32_t>();
  return file;
}

WalLevel TakeWalLevel(Fields& fields) {
  const auto level = fields.Take<std::int32_t>();
  if (level < 0 || level > 2) {
    fields.Fail();
  }
  return static_cast<WalLevel>(level);
}

std::vector<std::uint32_t> TakeNumbers(Fields& fields) {
  const ByteView list = fields.TakeList(sizeof(std::uint32_t));
  std::vector<std::uint32_t> numbers(list.size() / sizeof(std::uint32_t));
  if (!list.empty()) {
    std::memcpy(numbers.data(), list.data(), list.size());
  }
  return numbers;
}

std::vector<RelationFile> TakeFiles(Fields& fields) {
  static_assert(sizeof(RelationFile) == 12 && std::is_trivially_copyable_v<RelationFile>);
  const ByteView list = fields.TakeList(sizeof(RelationFile));
  std::vector<RelationFile> files(list.size() / sizeof(RelationFile));
  if (!list.empty()) {
    std::memcpy(files.data(), list.data(), list.size());
  }
  return files;
}

// Transactions -------------------------------------------------------------------------------

constexpr std::uint8_t kTransactionKind = 0x70;  // XLOG_XACT_OPMASK
constexpr std::uint8_t kHasInfo = 0x80;          // XLOG_XACT_HAS_INFO
constexpr std::uint8_t kCommit = 0x00;
constexpr std::uint8_t kPrepare = 0x10;
constexpr std::uint8_t kAbort = 0x20;
constexpr std::uint8_t kCommitPrepared = 0x30;
constexpr std::uint8_t kAbortPrepared = 0x40;
constexpr std::uint8_t kAssignment = 0x50;
constexpr std::uint8_t kInvalidations = 0x60;

// XACT_XINFO_HAS_… The other bits ask for things to be done at replay, and nothing follows for
// them.
constexpr std::uint32_t kHasDatabase = 1U << 0;
constexpr std::uint32_t kHasSubtransactions = 1U << 1;
constexpr std::uint32_t kHasDropped = 1U << 2;
constexpr std::uint32_t kHasInvalidations = 1U << 3;
constexpr std::uint32_t kHasTwoPhase = 1U << 4;
constexpr std::uint32_t kHasOrigin = 1U << 5;
constexpr std::uint32_t kHasGid = 1U << 7;
constexpr std::uint32_t kHasDroppedStatistics = 1U << 8;
constexpr std::uint32_t kKnownInfo = 0x1FF | (7U << 29);

constexpr std::size_t kGidSize = 200;
constexpr std::size_t kInvalidationSize = 16;  // SharedInvalidationMessage

// xl_xact_stats_item.
std::size_t StatisticsItemSize(int version) {
  return version < 18 ? 12 : 16;
}

// Behind what every end of a transaction says: what is not wanted, and the xid of a prepared one.
// Returns whether that was read.
bool TakeRestOfEnd(Fields& fields, std::uint32_t info, int version, TransactionEnd& end) {
  if ((info & kHasDroppedStatistics) != 0) {
    fields.TakeList(StatisticsItemSize(version));
  }
  if ((info & kHasInvalidations) != 0) {
    fields.TakeList(kInvalidationSize);
  }
  if ((info & kHasTwoPhase) != 0) {
    const auto xid = fields.Take<std::uint32_t>();
    if (end.prepared) {
      end.xid = xid;
    }
    if ((info & kHasGid) != 0) {
      end.gid = fields.TakeString(kGidSize);
    }
  }
  if ((info & kHasOrigin) != 0) {
    fields.Skip(16);  // where and when it ended there
  }
  return fields.AtEnd();
}

// ParseCommitRecord() and ParseAbortRecord() of rmgrdesc/xactdesc.c. They are alike, but that an
// abort has no invalidations.
WalFact ReadTransactionEnd(const WalRecord& record, std::uint8_t kind, int version) {
  Fields fields(record);
  TransactionEnd end;
  end.committed = kind == kCommit || kind == kCommitPrepared;
  end.prepared = kind == kCommitPrepared || kind == kAbortPrepared;
  end.xid = end.prepared ? 0 : record.xid;
  end.time = TakeTime(fields);
  if (fields.failed()) {
    return Unknown(fields);
  }
  const auto info = (record.info & kHasInfo) != 0 ? fields.Take<std::uint32_t>() : 0;
  if ((info & kHasDatabase) != 0) {
    end.database = fields.Take<std::uint32_t>();
    fields.Skip(sizeof(std::uint32_t));  // its tablespace
  }
  if ((info & kHasSubtransactions) != 0) {
    end.subtransactions = TakeNumbers(fields);
  }
  if ((info & kHasDropped) != 0) {
    end.dropped = TakeFiles(fields);
  }
  const bool known = (info & ~kKnownInfo) == 0 && end.prepared == ((info & kHasTwoPhase) != 0) &&
                     (end.committed || (info & kHasInvalidations) == 0);
  const bool has_dropped = !fields.failed();
  // The xid of a prepared transaction comes last. Of others all is known that is asked for, even if
  // the record goes on.
  if (known && (TakeRestOfEnd(fields, info, version, end) ||
                (has_dropped && fields.is_cut_off() && !end.prepared))) {
    return end;
  }
  UnknownFact unknown{fields.is_cut_off() ? kCutOff : kOtherForm, {}};
  unknown.end = std::move(end);
  return unknown;
}

// xl_xact_prepare, which is the header of the file in pg_twophase as well.
WalFact ReadPrepare(const WalRecord& record) {
  constexpr std::uint32_t kMagic = 0x57F94534;  // TWOPHASE_MAGIC
  Fields fields(record);
  TransactionPrepared prepared;
  const bool known = fields.Take<std::uint32_t>() == kMagic;
  fields.Skip(sizeof(std::uint32_t));  // the length
  prepared.xid = fields.Take<std::uint32_t>();
  prepared.database = fields.Take<std::uint32_t>();
  prepared.time = TakeTime(fields);
  fields.Skip(30);  // the owner, counts of what follows the gid, a flag
  const auto gid_length = fields.Take<std::uint16_t>();
  fields.Skip(16);  // of the origin
  prepared.gid = fields.TakeString(gid_length);
  if (!known || fields.failed()) {
    return Unknown(fields);
  }
  return prepared;
}

WalFact ReadTransaction(const WalRecord& record, int version) {
  const std::uint8_t kind = record.info & kTransactionKind;
  switch (kind) {
    case kCommit:
    case kAbort:
    case kCommitPrepared:
    case kAbortPrepared:
      return ReadTransactionEnd(record, kind, version);
    case kPrepare:
      return ReadPrepare(record);
    case kAssignment:
    case kInvalidations:
      return NothingMore{};
    default:
      return UnknownFact{kOtherKind, {}};
  }
}

// Files --------------------------------------------------------------------------------------

WalFact ReadRelationCreated(const WalRecord& record) {
  Fields fields(record);
  RelationCreated created;
  created.file = TakeFile(fields);
  const auto fork = fields.Take<std::uint32_t>();
  if (fork > kInitFork) {
    fields.Fail();
  }
  created.fork = static_cast<std::uint8_t>(fork);
  return IfAtEnd(fields, created);
}

WalFact ReadRelationTruncated(const WalRecord& record) {
  Fields fields(record);
  RelationTruncated truncated;
  truncated.blocks = fields.Take<std::uint32_t>();
  truncated.file = TakeFile(fields);
  const auto forks = fields.Take<std::uint32_t>();  // SMGR_TRUNCATE_HEAP, _VM, _FSM
  truncated.main = (forks & 1) != 0;
  truncated.visibility_map = (forks & 2) != 0;
  truncated.free_space_map = (forks & 4) != 0;
  if (forks > 7) {
    fields.Fail();
  }
  return IfAtEnd(fields, truncated);
}

WalFact ReadStorage(const WalRecord& record) {
  switch (record.info & kManagerInfo) {
    case 0x10:  // XLOG_SMGR_CREATE
      return ReadRelationCreated(record);
    case 0x20:  // XLOG_SMGR_TRUNCATE
      return ReadRelationTruncated(record);
    default:
      return UnknownFact{kOtherKind, {}};
  }
}

WalFact ReadDatabase(const WalRecord& record) {
  Fields fields(record);
  switch (record.info & kManagerInfo) {
    case 0x00: {  // XLOG_DBASE_CREATE_FILE_COPY
      DatabaseCopied copied;
      copied.database = fields.Take<std::uint32_t>();
      copied.tablespace = fields.Take<std::uint32_t>();
      copied.source_database = fields.Take<std::uint32_t>();
      copied.source_tablespace = fields.Take<std::uint32_t>();
      return IfAtEnd(fields, copied);
    }
    case 0x10: {  // XLOG_DBASE_CREATE_WAL_LOG
      DatabaseCreated created;
      created.database = fields.Take<std::uint32_t>();
      created.tablespace = fields.Take<std::uint32_t>();
      return IfAtEnd(fields, created);
    }
    case 0x20: {  // XLOG_DBASE_DROP
      DatabaseDropped dropped;
      dropped.database = fields.Take<std::uint32_t>();
      dropped.tablespaces = TakeNumbers(fields);
      return IfAtEnd(fields, std::move(dropped));
    }
    default:
      return UnknownFact{kOtherKind, {}};
  }
}

WalFact ReadTablespace(const WalRecord& record) {
  Fields fields(record);
  switch (record.info & kManagerInfo) {
    case 0x00: {  // XLOG_TBLSPC_CREATE
      TablespaceCreated created;
      created.tablespace = fields.Take<std::uint32_t>();
      created.location = fields.TakeString(record.main_data_length);
      return IfAtEnd(fields, std::move(created));
    }
    case 0x10: {  // XLOG_TBLSPC_DROP
      const TablespaceDropped dropped{fields.Take<std::uint32_t>()};
      return IfAtEnd(fields, dropped);
    }
    default:
      return UnknownFact{kOtherKind, {}};
  }
}

// The server itself --------------------------------------------------------------------------

// CheckPoint of catalog/pg_control.h. In 15 and 16 nothing is where 17 put wal_level; 19 put a byte
// behind that, made the next offset of multixacts longer, and has the state of checksums at the
// end.
WalFact ReadCheckpoint(const WalRecord& record, bool shutdown, int version) {
  Fields fields(record);
  CheckpointMade checkpoint;
  checkpoint.shutdown = shutdown;
  checkpoint.redo = Lsn{fields.Take<std::uint64_t>()};
  checkpoint.timeline = fields.Take<std::uint32_t>();
  checkpoint.previous_timeline = fields.Take<std::uint32_t>();
  checkpoint.full_page_writes = fields.Take<std::uint8_t>() != 0;
  fields.Skip(3);
  if (version >= 17) {
    checkpoint.wal_level = TakeWalLevel(fields);
  } else {
    fields.Skip(4);
  }
  fields.Skip(version >= 19 ? 48 : 40);  // the next and oldest xid, OID and multixact
  checkpoint.time = TakeSeconds(fields);
  fields.Skip(16);  // the range of commit timestamps, the oldest xid that runs
  return IfAtEnd(fields, checkpoint);
}

WalFact ReadCheckpointBegun(const WalRecord& record, int version) {
  if (version < 17) {
    return UnknownFact{kOtherKind, {}};
  }
  Fields fields(record);
  const CheckpointBegun begun{TakeWalLevel(fields)};
  if (version >= 19) {
    fields.Skip(4);  // the state of checksums
  }
  return IfAtEnd(fields, begun);
}

WalFact ReadParametersChanged(const WalRecord& record) {
  Fields fields(record);
  ParametersChanged parameters;
  parameters.max_connections = fields.Take<std::int32_t>();
  parameters.max_worker_processes = fields.Take<std::int32_t>();
  parameters.max_wal_senders = fields.Take<std::int32_t>();
  parameters.max_prepared_transactions = fields.Take<std::int32_t>();
  parameters.max_locks_per_transaction = fields.Take<std::int32_t>();
  parameters.wal_level = TakeWalLevel(fields);
  parameters.wal_log_hints = fields.Take<std::uint8_t>() != 0;
  parameters.track_commit_timestamp = fields.Take<std::uint8_t>() != 0;
  fields.Skip(2);
  return IfAtEnd(fields, parameters);
}

WalFact ReadRestorePoint(const WalRecord& record) {
  constexpr std::size_t kNameSize = 64;  // MAXFNAMELEN
  Fields fields(record);
  RestorePointMade point;
  point.time = TakeTime(fields);
  point.name = fields.TakeString(kNameSize);
  fields.Skip(kNameSize - 1 - point.name.size());
  return IfAtEnd(fields, std::move(point));
}

WalFact ReadRecoveryEnded(const WalRecord& record, int version) {
  Fields fields(record);
  RecoveryEnded ended;
  ended.time = TakeTime(fields);
  ended.timeline = fields.Take<std::uint32_t>();
  ended.previous_timeline = fields.Take<std::uint32_t>();
  if (version >= 17) {
    ended.wal_level = TakeWalLevel(fields);
    fields.Skip(4);
  }
  return IfAtEnd(fields, ended);
}

WalFact ReadOverwritten(const WalRecord& record) {
  Fields fields(record);
  RecordOverwritten overwritten;
  overwritten.overwritten = Lsn{fields.Take<std::uint64_t>()};
  overwritten.time = TakeTime(fields);
  return IfAtEnd(fields, overwritten);
}

WalFact ReadFullPageWrites(const WalRecord& record) {
  Fields fields(record);
  const FullPageWritesChanged changed{fields.Take<std::uint8_t>() != 0};
  return IfAtEnd(fields, changed);
}

// The kinds of kXlog, from catalog/pg_control.h.
WalFact ReadXlog(const WalRecord& record, int version) {
  switch (record.info & kManagerInfo) {
    case 0x00:  // XLOG_CHECKPOINT_SHUTDOWN
      return ReadCheckpoint(record, true, version);
    case 0x10:  // XLOG_CHECKPOINT_ONLINE
      return ReadCheckpoint(record, false, version);
    case 0x20:  // XLOG_NOOP
    case 0x30:  // XLOG_NEXTOID
    case 0x50:  // XLOG_BACKUP_END
      return NothingMore{};
    case 0x40:  // XLOG_SWITCH
      return SegmentSwitched{};
    case 0x60:  // XLOG_PARAMETER_CHANGE
      return ReadParametersChanged(record);
    case 0x70:  // XLOG_RESTORE_POINT
      return ReadRestorePoint(record);
    case 0x80:  // XLOG_FPW_CHANGE
      return ReadFullPageWrites(record);
    case 0x90:  // XLOG_END_OF_RECOVERY
      return ReadRecoveryEnded(record, version);
    case 0xA0:  // XLOG_FPI_FOR_HINT
    case 0xB0:  // XLOG_FPI
      if (record.blocks.empty()) {
        return UnknownFact{kOtherForm, {}};
      }
      return NothingMore{};
    case 0xD0:  // XLOG_OVERWRITE_CONTRECORD
      return ReadOverwritten(record);
    case 0xE0:  // XLOG_CHECKPOINT_REDO
      return ReadCheckpointBegun(record, version);
    default:  // 19: XLOG_ASSIGN_LSN and XLOG_LOGICAL_DECODING_STATUS_CHANGE
      if (version < 19) {
        return UnknownFact{kOtherKind, {}};
      }
      return NothingMore{};
  }
}

WalFact ReadXlog2(const WalRecord& record, int version) {
  if (version < 19 || (record.info & kManagerInfo) != 0x00) {  // XLOG2_CHECKSUMS
    return UnknownFact{kOtherKind, {}};
  }
  Fields fields(record);
  const ChecksumsChanged changed{fields.Take<std::uint32_t>()};
  return IfAtEnd(fields, changed);
}

WalFact ReadByKind(const WalRecord& record, int version) {
  switch (record.manager) {
    case kXlog:
      return ReadXlog(record, version);
    case kTransaction:
      return ReadTransaction(record, version);
    case kStorage:
      return ReadStorage(record);
    case kDatabase:
      return ReadDatabase(record);
    case kTablespace:
      return ReadTablespace(record);
    case kXlog2:
      return ReadXlog2(record, version);
    default: {
      const unsigned kind = record.info >> 4;
      if (((HarmlessKinds(record.manager, version) >> kind) & 1) == 0) {
        return UnknownFact{kOtherKind, {}};
      }
      return NothingMore{};
    }
  }
}

bool UpdatesFilesInKnownWays(std::uint8_t manager) {
  return manager == kTransaction || manager == kStorage || manager == kDatabase;
}

}  // namespace

const char* WalLevelName(WalLevel level) {
  switch (level) {
    case WalLevel::kMinimal:
      return "minimal";
    case WalLevel::kReplica:
      return "replica";
    case WalLevel::kLogical:
      return "logical";
  }
  return "unknown";
}

WalFact ReadWalFact(const WalRecord& record, int version) {
  if (version < kOldestVersion || version > kNewestVersion) {
    return UnknownFact{kOtherVersion, {}};
  }
  if ((record.info & kUnusedInfo) != 0 ||
      ((record.info & kSpecialRelationUpdate) != 0 && !UpdatesFilesInKnownWays(record.manager))) {
    return UnknownFact{kSpecialUpdate, {}};
  }
  if (!record.blocks.empty() &&
      (ChangesNamedBlocks(record.manager) || record.manager >= kFirstCustomManager)) {
    return NothingMore{};
  }
  if (record.manager >= kFirstCustomManager) {
    return UnknownFact{kNoBlockOfExtension, {}};
  }
  return ReadByKind(record, version);
}

std::optional<TimePoint> TimeOfPlainCommit(const WalRecord& record) {
  std::int64_t timestamp = 0;
  if (record.manager != kTransaction || record.info != kCommit || !record.blocks.empty() ||
      record.main_data_length != sizeof timestamp || record.main_data.size() != sizeof timestamp) {
    return std::nullopt;
  }
  std::memcpy(&timestamp, record.main_data.data(), sizeof timestamp);
  return FromTimestamp(timestamp);
}

}  // namespace veza
