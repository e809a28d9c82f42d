// Objects that somebody puts into the bucket to harm its readers (core/limits.h). Each of them is
// an error, and costs neither much memory nor much time.
#include "core/limits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/archive/gap_record.h"
#include "core/archive/stored_histories.h"
#include "core/backup/finished_copy.h"
#include "core/codec/document.h"
#include "core/codec/stream_builder.h"
#include "core/memory_gauge.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/cluster_lock.h"
#include "core/repository/drill_record.h"
#include "core/repository/entrance.h"
#include "core/repository/identity_list.h"
#include "core/repository/key_restore.h"
#include "core/repository/restore_lease.h"
#include "core/repository/test_backup.h"
#include "core/repository/test_repository.h"
#include "core/retention/pins.h"
#include "core/storage/forwarding_store.h"

namespace veza {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t kMiB = 1U << 20;

template <typename T>
Status StatusOf(const Result<T>& result) {
  return result ? Ok() : Status(result.error());
}

// A store that claims that every object is small and delivers more than fits into memory. It also
// lists names of objects that do not exist.
class HostileStore final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  // Returns the next name; "" ends the listing.
  std::function<std::string(std::uint64_t number)> made_up;
  std::string endless;  // the prefix of the objects that never end
  std::uint64_t delivered = 0;

  Status Get(std::string_view name, ByteRange range, const Sink& sink) override {
    if (endless.empty() || !name.starts_with(endless)) {
      return inner().Get(name, range, sink);
    }
    const Bytes piece(kMiB, '[');
    for (; delivered < 1024 * kMiB; delivered += piece.size()) {
      RETURN_IF_ERROR(sink(piece));
    }
    return Ok();
  }
  Result<ObjectInfo> Head(std::string_view name) override {
    if (made_up) {
      return ObjectInfo{std::string(name), 10, kTestTime};
    }
    return inner().Head(name);
  }
  Status List(std::string_view prefix, std::string_view start_after,
              const ObjectVisitor& each) override {
    if (!made_up) {
      return inner().List(prefix, start_after, each);
    }
    for (std::uint64_t number = 0;; ++number) {
      const std::string name = made_up(number);
      if (name.empty()) {
        return Ok();
      }
      if (name.starts_with(prefix) && name > start_after) {
        RETURN_IF_ERROR(each({name, 10, kTestTime}));
      }
    }
  }
};

class LimitsTest : public testing::Test {
 protected:
  LimitsTest() : hostile_(std::make_shared<HostileStore>(repository_.MakeStore())) {}

  std::unique_ptr<Repository> OpenHostile() {
    Result<std::unique_ptr<Repository>> opened =
        Repository::Open(hostile_, repository_.options(), repository_.environment());
    EXPECT_OK(opened);
    return std::move(*opened);
  }
  void Put(const std::string& name, std::string_view text) {
    WriteText(repository_.PathOf(name), text);
  }

  TestRepository repository_{Cipher::kAes256Gcm};
  std::shared_ptr<HostileStore> hostile_;
};

// The figures that FORMAT.md (sections 2 and 13) and the other documents promise. The other tests
// use the constants and would pass with any figures.
TEST(LimitsFigures, AreThoseInTheDocuments) {
  EXPECT_EQ(limits::kIdentity, 65'536U);
  EXPECT_EQ(limits::kKeyWrap, 65'536U);
  EXPECT_EQ(limits::kGapRecord, 65'536U);
  EXPECT_EQ(limits::kLease, 16'384U);
  EXPECT_EQ(limits::kLock, 1'048'576U);
  EXPECT_EQ(limits::kDrillRecord, 1'048'576U);
  EXPECT_EQ(limits::kBackupDocument, 16'777'216U);
  EXPECT_EQ(limits::kPack, 33'554'432U);
  EXPECT_EQ(limits::kJsonDepth, 16U);
  EXPECT_EQ(limits::kJsonValues, 2'097'152U);
  EXPECT_EQ(limits::kManifestLine.size, 67'108'864U);
  EXPECT_EQ(limits::kManifestLine.values, 8'388'608U);
  EXPECT_EQ(limits::kAuthenticManifestLine.size, 1'073'741'824U);
  EXPECT_EQ(limits::kAuthenticManifestLine.values, 134'217'728U);
  EXPECT_EQ(limits::kZstdWindowLog, 23);
  EXPECT_EQ(limits::kTimelineHistory, 4'194'304U);
  EXPECT_EQ(limits::kBackupHistory, 65'536U);
  EXPECT_EQ(limits::kScryptMemory, 134'217'728U);
  EXPECT_EQ(limits::kScryptWork, 1'048'576U);
  EXPECT_EQ(limits::kScryptBlock, 32U);
  EXPECT_EQ(limits::kScryptParallelism, 16U);
  EXPECT_EQ(limits::kIdentities, 256U);
  EXPECT_EQ(limits::kForeignIdentities, 10'000U);
  EXPECT_EQ(limits::kKeyWraps, 1000U);
  EXPECT_EQ(limits::kKeyWrapsTried, 32U);
  EXPECT_EQ(limits::kKeyWrapsOfABackup, 8U);
  EXPECT_EQ(limits::kDirectories, 100'000U);
  EXPECT_EQ(limits::kPins, 200'000U);
  EXPECT_EQ(limits::kSources, 250U);
  EXPECT_EQ(limits::kWalRanges, 100'000U);
  EXPECT_EQ(limits::kGapRecords, 10'000U);
  EXPECT_EQ(limits::kLeases, 1000U);
  EXPECT_EQ(limits::kLapsedLeases, 1000U);
  EXPECT_EQ(limits::kDrillRecords, 1000U);
  EXPECT_EQ(limits::kTimelines, 10'000U);
  EXPECT_EQ(limits::kListPage, 8'388'608U);
  EXPECT_EQ(limits::kBucketConfiguration, 1'048'576U);
  EXPECT_EQ(limits::kErrorAnswer, 65'536U);
  EXPECT_EQ(limits::kXmlDepth, 16U);
  EXPECT_EQ(limits::kXmlMarkup, 100'000U);
  EXPECT_EQ(limits::kEmptyPages, 10'000);
}

TEST_F(LimitsTest, SixteenMegabytesOfBracketsUnderIdentity) {
  Put("identity/7000000000000000007", std::string(16 * kMiB, '['));
  int fetched = 0;
  repository_.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    fetched +=
        operation == FaultStore::Operation::kGet && name == "identity/7000000000000000007" ? 1 : 0;
    return Ok();
  });
  const MemoryGauge gauge;
  const auto opened = Repository::Open(std::shared_ptr<Store>(&repository_.store(), [](Store*) {}),
                                       repository_.options(), repository_.environment());
  EXPECT_ERROR(opened, ErrorCode::kDataCorrupted);
  EXPECT_THAT(opened.error().message,
              AllOf(HasSubstr("identity/7000000000000000007"), HasSubstr("larger than")));
  EXPECT_EQ(fetched, 0);  // the listing tells its size
  if (MemoryGauge::meaningful()) {
    EXPECT_LT(gauge.grown_bytes(), 4 * kMiB);
  }
}

// The listing says ten bytes.
TEST_F(LimitsTest, AnObjectLargerThanListedIsCutOff) {
  hostile_->endless = "identity/";
  const MemoryGauge gauge;
  const auto opened = Repository::Open(hostile_, repository_.options(), repository_.environment());
  EXPECT_ERROR(opened, ErrorCode::kDataCorrupted);
  EXPECT_LE(hostile_->delivered, kMiB);
  if (MemoryGauge::meaningful()) {
    EXPECT_LT(gauge.grown_bytes(), 8 * kMiB);
  }
}

// Every reader of a whole object, with an object that never ends.
TEST_F(LimitsTest, EveryReaderStopsAtItsLimit) {
  const std::unique_ptr<Repository> opened = OpenHostile();
  const Repository& repository = *opened;
  const std::string drill = DrillName(kTestTime, kTestLabel);
  const std::string gap =
      fmt::format("{}000000010000000000000001-000000010000000000000002", GapPrefix(kTestSystem));
  const std::string history = WalObjectName(kTestSystem, "00000002.history").value();
  for (const std::string& name :
       {BackupDocumentName(kTestLabel), LockName(1), drill, gap, history}) {
    Put(name, "x");
  }
  const struct {
    std::string name;
    std::size_t limit;
    std::function<Status()> read;
  } cases[] = {
      {BackupDocumentName(kTestLabel), limits::kBackupDocument,
       [&]() -> Status { return StatusOf(ReadBackup(repository, kTestLabel)); }},
      {LockName(1), limits::kLock, [&]() -> Status { return StatusOf(ReadLockState(repository)); }},
      {drill, limits::kDrillRecord,
       [&]() -> Status {
         ASSIGN_OR_RETURN(const auto drills, ReadDrills(repository));
         return StatusOf(drills.at(0).record);
       }},
      {gap, limits::kGapRecord, [&]() -> Status { return StatusOf(ReadGap(repository, gap)); }},
      {history, limits::kTimelineHistory,
       [&]() -> Status {
         return StatusOf(WalArchive(repository, kTestSystem).FetchText("00000002.history"));
       }},
  };
  for (const auto& c : cases) {
    hostile_->endless = c.name;
    hostile_->delivered = 0;
    const MemoryGauge gauge;
    EXPECT_ERROR(c.read(), ErrorCode::kDataCorrupted);
    EXPECT_LE(hostile_->delivered, c.limit + kMiB) << c.name;
    if (MemoryGauge::meaningful()) {
      EXPECT_LT(gauge.grown_bytes(), 4 * c.limit + 4 * kMiB) << c.name;
    }
  }
}

TEST_F(LimitsTest, SkipsWrapsThatAreTooLarge) {
  const std::string key_id = repository_->identities().front().key_id;
  const std::string junk = KeyWrapName(key_id, std::string(16, '0'));
  Put(junk, std::string(16 * kMiB, '['));
  int fetched = 0;
  repository_.store().SetHook([&](FaultStore::Operation operation, std::string_view name) {
    fetched += operation == FaultStore::Operation::kGet && name == junk ? 1 : 0;
    return Ok();
  });
  const std::shared_ptr<Store> store(&repository_.store(), [](Store*) {});
  EXPECT_OK(Repository::Open(store, repository_.options(), repository_.environment()));
  EXPECT_OK(RestoreKey(store, repository_.options(), repository_.environment(), {.dry_run = true}));
  EXPECT_EQ(fetched, 0);
}

TEST_F(LimitsTest, TooManyObjectsOfAKindAreRefused) {
  const std::unique_ptr<Repository> opened = OpenHostile();
  const Repository& repository = *opened;
  const std::string key_id = repository.identities().front().key_id;
  const auto names = [](std::string prefix, std::uint64_t count) {
    return [prefix = std::move(prefix), count](std::uint64_t number) {
      return number < count ? fmt::format("{}{:016}", prefix, number) : "";
    };
  };
  constexpr std::uint64_t kEndless = 1ULL << 60;

  hostile_->made_up = names("identity/7", kEndless);
  const auto identities = ReadIdentityObjects(*hostile_);
  EXPECT_ERROR(identities, ErrorCode::kDataCorrupted);
  EXPECT_THAT(identities.error().message, HasSubstr("more than 256 names \"identity/*\""));
  hostile_->made_up = names("identity/", kEndless);
  const auto foreign = ReadIdentityObjects(*hostile_);
  EXPECT_ERROR(foreign, ErrorCode::kDataCorrupted);
  EXPECT_THAT(foreign.error().message, HasSubstr("more than 10000 names \"identity/*\""));

  hostile_->made_up = names("pin/", kEndless);
  EXPECT_ERROR(ReadPins(repository), ErrorCode::kDataCorrupted);
  hostile_->made_up = names("pin/", 1000);
  EXPECT_THAT(ReadPins(repository).value(), SizeIs(1000));

  hostile_->made_up = names(fmt::format("lease/{}.", kTestLabel), kEndless);
  const auto leases = ReadLeases(repository);
  EXPECT_ERROR(leases, ErrorCode::kDataCorrupted);
  EXPECT_THAT(leases.error().message, HasSubstr("more than 1000 leases below \"lease/\""));
  EXPECT_THAT(leases.error().hint, HasSubstr("remove those that belong to no restore or drill"));

  hostile_->made_up = names(GapPrefix(kTestSystem), kEndless);
  EXPECT_ERROR(ReadMinimalWal(repository, kTestSystem), ErrorCode::kDataCorrupted);

  // A range for every second segment.
  hostile_->made_up = [](std::uint64_t number) {
    return WalObjectName(kTestSystem, SegmentName(1, 2 * number, kTestSegmentSize)).value();
  };
  EXPECT_ERROR(WalArchive(repository, kTestSystem).Ranges(kTestSegmentSize, ""),
               ErrorCode::kDataCorrupted);

  // Every timeline exists.
  EXPECT_ERROR(FindNewestTimeline(WalArchive(repository, kTestSystem), 1),
               ErrorCode::kDataCorrupted);
}

// The leases of a thousand killed restores have lapsed after a day, and are no obstacle.
TEST_F(LimitsTest, LapsedLeasesDoNotCount) {
  const std::unique_ptr<Repository> opened = OpenHostile();
  hostile_->made_up = [](std::uint64_t number) {
    return number < 5 * limits::kLapsedLeases ? LeaseName(kTestLabel, fmt::format("{:016}", number))
                                              : "";
  };
  repository_.clock().Sleep(std::chrono::hours(25), nullptr);
  const auto leases = ReadLeases(*opened);
  ASSERT_OK(leases);
  EXPECT_THAT(*leases, SizeIs(limits::kLapsedLeases));
  EXPECT_EQ(FindLease(*leases, kTestLabel), nullptr);
}

// Nothing depends on drill records. If there are too many, the newest count.
TEST_F(LimitsTest, ReadsTheNewestOfManyDrills) {
  const std::unique_ptr<Repository> opened = OpenHostile();
  repository_.clock().Sleep(std::chrono::hours(1), nullptr);
  hostile_->made_up = [](std::uint64_t number) {
    return number < 3 * limits::kDrillRecords
               ? DrillName(kTestTime + std::chrono::seconds(number), kTestLabel)
               : "";
  };
  const auto drills = ReadDrills(*opened);
  ASSERT_OK(drills);
  EXPECT_THAT(*drills, IsEmpty());  // none of these objects exists
  hostile_->endless = "drill/";
  const auto unreadable = ReadDrills(*opened);
  ASSERT_OK(unreadable);
  EXPECT_THAT(*unreadable, SizeIs(limits::kDrillRecords));
  EXPECT_EQ(unreadable->back().name,
            DrillName(kTestTime + std::chrono::seconds(3 * limits::kDrillRecords - 1), kTestLabel));
}

// A WAL file, and above all a history file, that is small in the bucket and never ends when
// decompressed.
TEST_F(LimitsTest, ContentThatDecompressesWithoutEndIsCutOff) {
  const WalArchive wal = repository_.wal();
  const auto forge = [&](const std::string& file, std::optional<std::uint64_t> size) {
    const std::string name = WalObjectName(kTestSystem, file).value();
    Put(name, AsText(FrameByFrame(repository_->seal_policy(), ObjectKind::kStream, name,
                                  {.node = "x", .created = kTestTime, .plain_size = size},
                                  CutStream(Compressed(Bytes(64 * kMiB, '\n'))))
                         .Object()));
    EXPECT_LT(std::filesystem::file_size(repository_.PathOf(name)), kMiB);
  };
  const std::string segment = "000000010000000000000005";
  for (const auto size : {std::optional<std::uint64_t>(), std::optional(64 * kMiB)}) {
    for (const std::string& file : {std::string("00000002.history"), segment, segment + ".partial",
                                    segment + ".00000028.backup"}) {
      forge(file, size);
      const std::string destination = repository_.Scratch("fetched");
      const MemoryGauge gauge;
      const Status fetched = wal.Fetch(file, destination);
      EXPECT_ERROR(fetched, ErrorCode::kDataCorrupted);
      EXPECT_THAT(fetched.error().message, HasSubstr("more than")) << file;
      EXPECT_FALSE(std::filesystem::exists(destination));
      if (MemoryGauge::meaningful()) {
        EXPECT_LT(gauge.grown_bytes(), 24 * kMiB) << file;
      }
    }
    const MemoryGauge gauge;
    EXPECT_ERROR(wal.FetchText("00000002.history"), ErrorCode::kDataCorrupted);
    EXPECT_ERROR(ReadTimelineHistory(wal, 2), ErrorCode::kDataCorrupted);
    if (MemoryGauge::meaningful()) {
      EXPECT_LT(gauge.grown_bytes(), 32 * kMiB);
    }
  }
}

// An object that grows while its content does not: zstd has blocks without content.
TEST_F(LimitsTest, AnObjectOfEmptyBlocksIsCutOff) {
  Bytes compressed = {0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x58};  // a frame of unknown size
  for (std::uint64_t i = 0; i < 16 * kMiB / 3; ++i) {
    compressed.insert(compressed.end(), {0x00, 0x00, 0x00});  // a raw block of no bytes
  }
  compressed.insert(compressed.end(), {0x01, 0x00, 0x00});
  const std::string file = "00000002.history";
  const std::string name = WalObjectName(kTestSystem, file).value();
  Put(name, AsText(FrameByFrame(repository_->seal_policy(), ObjectKind::kStream, name,
                                {.node = "x", .created = kTestTime}, CutStream(compressed))
                       .Object()));
  EXPECT_ERROR(repository_.wal().FetchText(file), ErrorCode::kDataCorrupted);
  compressed.resize(6);
  compressed.insert(compressed.end(), {0x01, 0x00, 0x00});
  Put(name, AsText(FrameByFrame(repository_->seal_policy(), ObjectKind::kStream, name,
                                {.node = "x", .created = kTestTime}, CutStream(compressed))
                       .Object()));
  EXPECT_EQ(repository_.wal().FetchText(file).value(), "");
}

// A reader accepts whatever a writer signs. For very many databases the list of extensions is left
// out.
TEST_F(LimitsTest, ASummaryOfVeryManyDatabasesCanBeRead) {
  BackupSummary summary = TestSummary(*repository_, kTestLabel);
  const std::size_t name = 1'000;
  // The note of a finished copy holds the same, with more white space.
  for (const std::size_t extensions :
       {limits::kBackupDocument / (name + 95) - 20, limits::kBackupDocument / name + 100}) {
    summary.extensions.assign(extensions, {"postgres", std::string(name, 'x'), "1.0"});
    EXPECT_OK(StoreFinishedCopy(*repository_, summary));
    ASSERT_OK(repository_->store().Delete(FinishedCopyName(summary.label)));
  }
  const auto text = SerializeSummary(summary, repository_->seal_policy());
  ASSERT_OK(text);
  const auto read = ParseSummary(*text, kTestLabel, repository_->seal_policy());
  ASSERT_OK(read);
  EXPECT_THAT(read->databases, SizeIs(1));
  EXPECT_THAT(read->extensions, IsEmpty());
}

}  // namespace
}  // namespace veza
