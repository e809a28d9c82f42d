#include "core/archive/wal_shipper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>

#include <atomic>
#include <set>
#include <thread>

#include "core/repository/format_mark.h"
#include "core/repository/test_repository.h"
#include "core/wal_index/index_catalog.h"
#include "core/wal_index/index_object.h"
#include "core/wal_index/indexed_wal.h"
#include "core/wal_index/test_index.h"

namespace veza {
namespace {

using testing::HasSubstr;

std::string Segment(SegmentNumber number) {
  return SegmentName(1, number, kTestSegmentSize);
}

class ShiftedClock final : public Clock {
 public:
  TimePoint Now() const override { return SystemClock().Now(); }
  SteadyTime Steady() const override { return SystemClock().Steady() + ahead.load(); }
  bool Sleep(std::chrono::milliseconds duration, const Cancellation* cancellation) const override {
    return SystemClock().Sleep(duration, cancellation);
  }

  std::atomic<std::chrono::seconds> ahead{};
};

// A pg_wal with ready files, and a shipper. Threads and time are real.
class WalShipperTest : public testing::Test {
 protected:
  explicit WalShipperTest(Cipher cipher = Cipher::kNone) : repository_(cipher) {
    options_.index_limits.age = std::chrono::hours(10'000);  // the clock is put forward
  }

  void SetUp() override {
    std::filesystem::create_directories(repository_.Scratch("pg_wal/archive_status"));
    options_.wal_directory = repository_.Scratch("pg_wal");
    options_.system_identifier = kTestSystem;
    options_.look_ahead = 3;
    options_.sealers = 2;
    Start();
  }

  void Start() {
    shipper_.reset();
    environment_ = {};
    environment_.clock = &clock_;
    shipper_.emplace(
        options_,
        [this](const RetryObserver& observer) -> Result<std::unique_ptr<Repository>> {
          if (opener_fails_) {
            return MakeError(opener_error_, "nobody is there");
          }
          observer_ = observer;
          store_ = repository_.MakeStore();
          store_->SetHook([this](FaultStore::Operation operation, std::string_view name) {
            return hook_ ? hook_(operation, name) : Ok();
          });
          RepositoryOptions repository_options = repository_.options();
          if (!may_spill_) {
            repository_options.spill_directory = repository_.Scratch("nowhere");
          }
          return Repository::Open(store_, repository_options, environment_);
        },
        environment_);
  }

  void MakeReady(const std::string& file, std::uint64_t seed = 1) {
    WriteBytes(WalPath(file), NoiseBytes(kTestSegmentSize, seed));
    WriteText(WalPath("archive_status/" + file + ".ready"), "");
  }
  void MakeReady(SegmentNumber first, SegmentNumber last) {
    for (SegmentNumber number = first; number <= last; ++number) {
      MakeReady(Segment(number), number);
    }
  }
  void MakeDone(const std::string& file) {
    std::filesystem::remove(WalPath("archive_status/" + file + ".ready"));
  }
  std::string WalPath(const std::string& file) const {
    return repository_.Scratch("pg_wal/" + file);
  }
  bool IsStored(const std::string& file) const {
    return repository_.Exists(WalObjectName(kTestSystem, file).value());
  }

  // Ships a file as the archiver does.
  Result<ShippedFile> Archive(const std::string& file) {
    EXPECT_OK(shipper_->Ask(file));
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < deadline) {
      if (auto answer = shipper_->TakeAnswer()) {
        if (*answer) {
          MakeDone(file);
        }
        return *answer;
      }
      pollfd watched{shipper_->event_fd(), POLLIN, 0};
      poll(&watched, 1, 100);
    }
    return MakeError(ErrorCode::kDeadlineExceeded, "no answer for {}", file);
  }

  template <typename Condition>
  static bool Eventually(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) {
        return false;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return true;
  }
  bool EventuallyAhead(std::size_t count) {
    return Eventually([&] {
      const ShipperCounters counters = shipper_->counters();
      return counters.ahead == count && counters.in_flight == 0;
    });
  }

  TestRepository repository_;
  ShipperOptions options_;
  ShiftedClock clock_;
  Environment environment_;
  std::atomic<bool> opener_fails_{false};
  std::atomic<ErrorCode> opener_error_{ErrorCode::kUnavailable};
  bool may_spill_ = true;
  FaultStore::Hook hook_;  // set before threads run
  RetryObserver observer_;
  std::shared_ptr<FaultStore> store_;
  std::optional<WalShipper> shipper_;  // last: its threads use the others
};

// Somebody has made another key while the shipper had the repository open.
TEST_F(WalShipperTest, StoresNothingWithAKeyThatIsNotTheRepositorysAnyMore) {
  const std::string identity = repository_.PathOf(IdentityName(kTestSystem));
  const std::string ours = ReadText(identity);
  Identity other = TestIdentity();
  other.key_id = std::string(32, 'f');
  MakeReady(1, 2);
  ASSERT_OK(Archive(Segment(1)));
  EXPECT_TRUE(EventuallyAhead(1));
  WriteText(identity, SerializeIdentity(other, {Cipher::kNone, nullptr}).value());
  MakeReady(3, 3);
  const auto refused = Archive(Segment(3));
  EXPECT_ERROR(refused, ErrorCode::kWrongKey);
  EXPECT_THAT(refused.error().message, HasSubstr(other.key_id));
  EXPECT_FALSE(IsStored(Segment(3))) << "nobody could read it";
  // An object that was there before is not removed.
  EXPECT_ERROR(Archive(Segment(1)), ErrorCode::kWrongKey);
  EXPECT_TRUE(IsStored(Segment(1)));

  WriteText(identity, ours);
  EXPECT_OK(Archive(Segment(3)));
}

// --- The index of WAL ----------------------------------------------------------------------------

class IndexingShipperTest : public WalShipperTest {
 protected:
  IndexingShipperTest() { options_.index_limits.age = std::chrono::milliseconds(10); }

  void MakeSegmentsReady(SegmentNumber first, SegmentNumber last) {
    for (SegmentNumber number = first; number <= last; ++number) {
      WriteBytes(WalPath(Segment(number)), TestSegment(number));
      WriteText(WalPath("archive_status/" + Segment(number) + ".ready"), "");
    }
  }
  void ArchiveAll(SegmentNumber first, SegmentNumber last) {
    for (SegmentNumber number = first; number <= last; ++number) {
      EXPECT_OK(Archive(Segment(number)));
    }
  }
  bool EventuallyIndexed(std::uint64_t segments) {
    return Eventually([&] { return shipper_->counters().index.segments == segments; });
  }
};

TEST_F(IndexingShipperTest, AnIndexFollowsWhatItHasStored) {
  MakeSegmentsReady(1, 6);
  ArchiveAll(1, 6);
  ASSERT_TRUE(EventuallyIndexed(6));
  std::set<SegmentNumber> indexed;
  const std::vector<IndexName> names = ListIndexes(*repository_, kTestSystem).value();
  for (const IndexName& name : names) {
    const IndexObject object = IndexObject::Open(*repository_, name.name).value();
    for (std::size_t i = 0; i < object.segments().size(); ++i) {
      const SegmentSummary& summary = object.segments()[i];
      const SegmentIndex expected = TestIndex(summary.number);
      EXPECT_EQ(summary.digest, expected.summary.digest);
      EXPECT_EQ(summary.stored, std::filesystem::file_size(repository_.PathOf(
                                    WalObjectName(kTestSystem, Segment(summary.number)).value())));
      EXPECT_EQ(object.ReadBlocks(i).value(), expected.blocks);
      EXPECT_EQ(object.ReadTransactions(i).value(), expected.transactions);
      indexed.insert(summary.number);
    }
  }
  EXPECT_EQ(indexed, (std::set<SegmentNumber>{1, 2, 3, 4, 5, 6}));
}

// Larger segments are read piece by piece.
TEST_F(IndexingShipperTest, AnIndexCanBeMadePieceByPiece) {
  WriteBytes(WalPath(Segment(7)), TestSegment(7));
  const SealedWalFile sealed =
      repository_.wal().Seal(Segment(7), WalPath(Segment(7)), {.index = true}).value();
  ASSERT_TRUE(sealed.index);
  EXPECT_EQ(sealed.index->blocks, TestIndex(7).blocks);
  EXPECT_EQ(sealed.index->summary.digest, TestIndex(7).summary.digest);
  EXPECT_EQ(sealed.index->summary.stored, sealed.sealed.body->size());
  EXPECT_FALSE(repository_.wal().Seal(Segment(7), WalPath(Segment(7)))->index);
}

// archive_memory counts what the index of an ordinary segment takes, and no more.
TEST_F(IndexingShipperTest, WhatAnUnusualSegmentTakesIsNotKept) {
  WalScratch scratch;
  const SealOptions options{.scratch = &scratch, .index = true};
  const std::string path = WalPath(Segment(7));
  WriteBytes(path, TestSegment(7));
  ASSERT_OK(repository_.wal().Seal(Segment(7), path, options));
  ASSERT_TRUE(scratch.indexer);
  EXPECT_LE(scratch.indexer->memory(), WalScratch::MemoryOfIndexer(kTestSegmentSize));

  WalWriter wal({});
  FillWithBlocks(wal);
  WriteBytes(path, wal.Whole());
  const Result<SealedWalFile> sealed = repository_.wal().Seal(Segment(7), path, options);
  ASSERT_OK(sealed);
  EXPECT_GT(sealed->index->blocks.size(), kTestSegmentSize / 20);
  EXPECT_FALSE(scratch.indexer);
}

TEST_F(IndexingShipperTest, WithoutTheSettingThereIsNone) {
  options_.index = false;
  Start();
  MakeSegmentsReady(1, 3);
  ArchiveAll(1, 3);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  EXPECT_EQ(shipper_->counters().index.segments, 0);
  EXPECT_FALSE(std::filesystem::exists(repository_.PathOf("walindex")));
}

// What was there already may have another size. The scheduler makes its index.
TEST_F(IndexingShipperTest, OnlyWhatItHasStoredItselfHasAnIndex) {
  MakeSegmentsReady(1, 2);
  EXPECT_OK(repository_.PushWal(Segment(1), TestSegment(1)));
  ArchiveAll(1, 2);
  ASSERT_TRUE(EventuallyIndexed(1));
  const std::vector<IndexName> names = ListIndexes(*repository_, kTestSystem).value();
  ASSERT_EQ(names.size(), 1);
  EXPECT_EQ(names.front().first, Segment(2));
}

TEST_F(IndexingShipperTest, AnIndexThatCannotBeStoredIsNotTheArchiversTrouble) {
  hook_ = [](FaultStore::Operation operation, std::string_view name) -> Status {
    return operation == FaultStore::Operation::kPut && name.starts_with("walindex/")
               ? Status(MakeError(ErrorCode::kUnavailable, "away").Retryable())
               : Ok();
  };
  MakeSegmentsReady(1, 4);
  EXPECT_OK(Archive(Segment(1)));
  ASSERT_TRUE(Eventually([&] { return shipper_->counters().index.failures > 0; }));
  EXPECT_FALSE(shipper_->retried());
  EXPECT_EQ(shipper_->counters().retries, 0);
  EXPECT_TRUE(EventuallyAhead(3)) << "the gate is open";
  ArchiveAll(2, 4);
  EXPECT_TRUE(shipper_->counters().index.error);
}

// -------------------------------------------------------------------------------------------------

class EncryptedWalShipperTest : public WalShipperTest {
 protected:
  EncryptedWalShipperTest() : WalShipperTest(Cipher::kAes256Gcm) {}
};

// The identity is there, but without the key wrap nobody could open what is stored.
TEST_F(EncryptedWalShipperTest, WithoutAWrapNothingIsAcknowledged) {
  const std::string wrap = (*repository_).key_wraps().front().name;
  const std::string text = ReadText(repository_.PathOf(wrap));
  std::atomic<bool> removes{false};
  hook_ = [&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kPut && name.starts_with("wal/") && removes) {
      std::filesystem::remove(repository_.PathOf(wrap));
    }
    return Ok();
  };
  MakeReady(1, 1);
  ASSERT_OK(Archive(Segment(1)));
  removes = true;
  MakeReady(2, 2);
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto refused = Archive(Segment(2));
    EXPECT_ERROR(refused, ErrorCode::kDataCorrupted);
    EXPECT_THAT(refused.error().message, HasSubstr("has lost its key"));
  }
  EXPECT_TRUE(IsStored(Segment(2))) << "the wrap may come back";
  removes = false;
  WriteText(repository_.PathOf(wrap), text);
  EXPECT_EQ(Archive(Segment(2)).value().outcome, PushOutcome::kAlreadyThere);
}

// Everything below the prefix was deleted, or the file system is not mounted any more.
TEST_F(WalShipperTest, AcknowledgesNothingInAnEmptiedPlace) {
  const std::string name = IdentityName(kTestSystem);
  const std::string identity = ReadText(repository_.PathOf(name));
  std::atomic<int> puts{0};
  hook_ = [&](FaultStore::Operation operation, std::string_view) {
    puts += operation == FaultStore::Operation::kPut ? 1 : 0;
    return Ok();
  };
  MakeReady(1, 1);
  ASSERT_OK(Archive(Segment(1)));
  const auto empty = [&] {
    for (const auto& entry : std::filesystem::directory_iterator(repository_.PathOf("."))) {
      std::filesystem::remove_all(entry);
    }
  };
  empty();
  MakeReady(2, 2);
  for (int attempt = 0; attempt < 3; ++attempt) {
    const auto refused = Archive(Segment(2));
    EXPECT_FALSE(refused);
    EXPECT_THAT(refused.error().hint, testing::Not(testing::IsEmpty()));
    EXPECT_FALSE(IsStored(Segment(2))) << "it would be all there is";
  }
  EXPECT_EQ(puts, 2) << "once it is known, nothing is stored";

  WriteText(repository_.PathOf(name), identity);
  EXPECT_OK(Archive(Segment(2)));
  EXPECT_TRUE(IsStored(Segment(2)));

  // ".backup" and ".history" files are left out for what is wrong with them only.
  empty();
  const std::string label = Segment(2) + ".00000028.backup";
  MakeReady(label);
  EXPECT_FALSE(Archive(label));
}

// With so little WAL in it, the place may have been emptied and filled again. Only the scheduler
// can find that out.
TEST_F(WalShipperTest, APlaceThatHasLostOnlyItsIdentityIsNotCalledEmpty) {
  MakeReady(1, 1);
  ASSERT_OK(Archive(Segment(1)));
  std::filesystem::remove(repository_.PathOf(IdentityName(kTestSystem)));
  MakeReady(2, 2);
  const auto refused = Archive(Segment(2));
  EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refused.error().message, HasSubstr("has lost its identity"));
  EXPECT_FALSE(IsStored(Segment(2)));
}

TEST_F(WalShipperTest, WhatIsStoredWithoutAnIdentityStaysWhereMoreIsLeft) {
  const std::string identity = repository_.PathOf(IdentityName(kTestSystem));
  const std::string text = ReadText(identity);
  WriteText(repository_.PathOf("backup/20261122-020000F/backup.json"), "x");
  MakeReady(1, 1);
  ASSERT_OK(Archive(Segment(1)));
  std::filesystem::remove(identity);
  MakeReady(2, 2);
  const auto refused = Archive(Segment(2));
  EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refused.error().message, HasSubstr("has lost its identity"));
  EXPECT_TRUE(IsStored(Segment(2)));
  WriteText(identity, "");
  EXPECT_ERROR(Archive(Segment(2)), ErrorCode::kDataCorrupted);
  WriteText(identity, text);
  EXPECT_EQ(Archive(Segment(2)).value().outcome, PushOutcome::kAlreadyThere);
}

// Files that were stored ahead may have been lost together with the identity.
TEST_F(WalShipperTest, WhatIsAheadIsStoredAnewBehindALoss) {
  const std::string identity = repository_.PathOf(IdentityName(kTestSystem));
  const std::string text = ReadText(identity);
  MakeReady(1, 4);
  ASSERT_OK(Archive(Segment(1)));
  ASSERT_TRUE(EventuallyAhead(3));
  std::filesystem::remove_all(repository_.PathOf("wal"));
  std::filesystem::remove(identity);
  const std::string history = "00000002.history";
  MakeReady(history);
  EXPECT_FALSE(Archive(history));
  EXPECT_EQ(shipper_->counters().ahead, 0);
  EXPECT_FALSE(Archive(Segment(2)));
  WriteText(identity, text);
  for (SegmentNumber number = 2; number <= 4; ++number) {
    EXPECT_OK(Archive(Segment(number)));
    EXPECT_TRUE(IsStored(Segment(number)));
  }
}

TEST_F(WalShipperTest, WhatIsAheadForLongIsLookedAtAgain) {
  MakeReady(1, 3);
  ASSERT_OK(Archive(Segment(1)));
  ASSERT_TRUE(EventuallyAhead(2));
  std::filesystem::remove_all(repository_.PathOf("wal"));
  clock_.ahead = std::chrono::minutes(1);
  ASSERT_OK(Archive(Segment(2)));
  EXPECT_TRUE(IsStored(Segment(2)));
}

// Otherwise, over a slow network, all that waits would be sent twice, and archiving would fall
// behind.
TEST_F(WalShipperTest, WhatIsAheadForLongIsNotSentAgain) {
  MakeReady(1, 3);
  ASSERT_OK(Archive(Segment(1)));
  ASSERT_TRUE(EventuallyAhead(2));
  clock_.ahead = std::chrono::minutes(1);
  std::atomic<int> puts = 0;
  repository_.store().SetHook([&puts](FaultStore::Operation operation, std::string_view name) {
    puts += operation == FaultStore::Operation::kPut && name.starts_with("wal/") ? 1 : 0;
    return Ok();
  });
  const auto shipped = Archive(Segment(2));
  ASSERT_OK(shipped);
  EXPECT_EQ(shipped->outcome, PushOutcome::kStored);
  EXPECT_OK(Archive(Segment(3)));
  EXPECT_EQ(puts, 0);
  repository_.store().SetHook(nullptr);
}

TEST_F(WalShipperTest, ShipsEveryFileAndLooksAheadNoFurtherThanAllowed) {
  MakeReady(1, 9);
  ASSERT_OK(Archive(Segment(1)));
  EXPECT_TRUE(EventuallyAhead(3));
  EXPECT_TRUE(IsStored(Segment(4)));
  EXPECT_FALSE(IsStored(Segment(5)));
  for (SegmentNumber number = 2; number <= 9; ++number) {
    const auto shipped = Archive(Segment(number));
    ASSERT_OK(shipped);
    EXPECT_EQ(shipped->outcome, PushOutcome::kStored) << number;
    EXPECT_EQ(shipped->plain_size, kTestSegmentSize);
    EXPECT_GT(shipped->sealed_size, kTestSegmentSize);
  }
  EXPECT_EQ(shipper_->counters().ahead, 0);
  for (SegmentNumber number = 1; number <= 9; ++number) {
    ASSERT_OK(repository_.wal().Fetch(Segment(number), repository_.Scratch("fetched")));
    EXPECT_EQ(ReadText(repository_.Scratch("fetched")), ReadText(WalPath(Segment(number))));
  }
}

TEST_F(WalShipperTest, TheFirstFileIsStoredAlone) {
  std::atomic<bool> first_is_stored{false};
  std::atomic<int> too_early{0};
  hook_ = [&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kPut && name.starts_with("wal/")) {
      too_early += name.ends_with(Segment(1)) || first_is_stored ? 0 : 1;
    }
    return Ok();
  };
  MakeReady(1, 9);
  ASSERT_OK(shipper_->Ask(Segment(1)));
  EXPECT_TRUE(Eventually([this] { return IsStored(Segment(1)); }));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  first_is_stored = true;
  ASSERT_OK(Archive(Segment(1)));
  EXPECT_EQ(too_early, 0);
  EXPECT_TRUE(EventuallyAhead(3));
}

TEST_F(WalShipperTest, AHistoryFileGoesFirst) {
  MakeReady(1, 9);
  WriteText(WalPath("00000002.history"), "1\t0/300000\tno recovery target specified\n");
  WriteText(WalPath("archive_status/00000002.history.ready"), "");
  ASSERT_OK(Archive(Segment(1)));
  EXPECT_TRUE(EventuallyAhead(3));
  EXPECT_TRUE(IsStored("00000002.history"));
  EXPECT_TRUE(IsStored(Segment(3)));
  EXPECT_FALSE(IsStored(Segment(4)));
}

TEST_F(WalShipperTest, WithoutLookAheadShipsWhatIsAskedFor) {
  options_.look_ahead = 0;
  Start();
  MakeReady(1, 3);
  ASSERT_OK(Archive(Segment(1)));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_FALSE(IsStored(Segment(2)));
  ASSERT_OK(Archive(Segment(2)));
  ASSERT_OK(Archive(Segment(3)));
}

TEST_F(WalShipperTest, SeveralAreUnderWayAtOnce) {
  std::atomic<int> now{0};
  std::atomic<int> most{0};
  hook_ = [&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kPut && name.starts_with("wal/")) {
      most = std::max(most.load(), ++now);
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      --now;
    }
    return Ok();
  };
  MakeReady(1, 12);
  for (SegmentNumber number = 1; number <= 12; ++number) {
    ASSERT_OK(Archive(Segment(number)));
  }
  EXPECT_GE(most, 3);
  EXPECT_LE(most, 4);
}

// A clone, or the second of two standbys that were promoted. The files behind the one that is
// refused must not take names that the right server has yet to use.
TEST_F(WalShipperTest, AServerThatIsRefusedAtTheFirstFileStoresNothing) {
  ASSERT_OK(repository_.PushWal(Segment(1), NoiseBytes(kTestSegmentSize, 77)));
  MakeReady(1, 9);
  for (int i = 0; i < 3; ++i) {
    const auto shipped = Archive(Segment(1));
    EXPECT_ERROR(shipped, ErrorCode::kConflict);
    EXPECT_THAT(shipped.error().message, HasSubstr("node-a"));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_TRUE(EventuallyAhead(0));
  for (SegmentNumber number = 2; number <= 9; ++number) {
    EXPECT_FALSE(IsStored(Segment(number))) << number;
  }
}

TEST_F(WalShipperTest, AServerWhoseHistoryIsRefusedStoresNothing) {
  const std::string text = "1\t0/300000\tno recovery target specified\n";
  ASSERT_OK(repository_.PushWal("00000002.history", AsBytes(text)));
  MakeReady(1, 9);
  ASSERT_OK(Archive(Segment(1)));
  EXPECT_TRUE(EventuallyAhead(3));
  WriteText(WalPath("00000002.history"), "1\t0/400000\tno recovery target specified\n");
  WriteText(WalPath("archive_status/00000002.history.ready"), "");
  EXPECT_ERROR(Archive("00000002.history"), ErrorCode::kConflict);
  EXPECT_TRUE(EventuallyAhead(3));
  // Segment 2 ends the conflict, because the archiver sends segments after history files.
  MakeDone("00000002.history");
  ASSERT_OK(Archive(Segment(2)));
  EXPECT_TRUE(EventuallyAhead(3));
  EXPECT_TRUE(IsStored(Segment(5)));
}

// A standby with archive_mode = always keeps the segment that recovery was given.
TEST_F(WalShipperTest, ASegmentThatWasCutAtTheForkIsAlreadyThere) {
  options_.segment_size = kTestSegmentSize;
  Start();
  const Bytes whole = NoiseBytes(kTestSegmentSize, 77);
  ASSERT_OK(repository_.PushWal(Segment(3), whole));
  const auto offer = [&](std::size_t kept, std::size_t zeros) {
    Bytes cut = whole;
    std::fill(cut.begin() + static_cast<std::ptrdiff_t>(kept),
              cut.begin() + static_cast<std::ptrdiff_t>(kept + zeros), 0);
    MakeReady(Segment(3));
    WriteBytes(WalPath(Segment(3)), cut);
    return Archive(Segment(3));
  };
  const std::size_t rest = kTestSegmentSize - 5000;
  // Nobody has left the timeline yet.
  EXPECT_ERROR(offer(5000, rest), ErrorCode::kConflict);
  WriteText(WalPath("00000002.history"),
            fmt::format("1\t{}\tx\n", FormatLsn(Lsn{3 * kTestSegmentSize + 5000})));
  const auto cut = offer(5000, rest);
  ASSERT_OK(cut);
  EXPECT_EQ(cut->outcome, PushOutcome::kAlreadyThere);
  EXPECT_ERROR(offer(4000, rest + 1000), ErrorCode::kConflict);
  EXPECT_ERROR(offer(5000, rest - 1), ErrorCode::kConflict);
}

TEST_F(WalShipperTest, AConflictAheadHoldsBackWhatIsBehindIt) {
  ASSERT_OK(repository_.PushWal(Segment(3), NoiseBytes(kTestSegmentSize, 77)));
  const std::string object = WalObjectName(kTestSystem, Segment(3)).value();
  std::atomic<int> refused{0};
  hook_ = [&](FaultStore::Operation operation, std::string_view name) {
    refused += operation == FaultStore::Operation::kGet && name == object ? 1 : 0;
    return Ok();
  };
  options_.look_ahead = 1;
  Start();
  MakeReady(1, 9);
  ASSERT_OK(Archive(Segment(1)));
  EXPECT_TRUE(EventuallyAhead(1));
  ASSERT_OK(Archive(Segment(2)));
  EXPECT_TRUE(Eventually([&] { return refused == 1; }));
  EXPECT_TRUE(EventuallyAhead(0));
  for (int i = 0; i < 3; ++i) {
    EXPECT_ERROR(Archive(Segment(3)), ErrorCode::kConflict);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_TRUE(EventuallyAhead(0));
  EXPECT_FALSE(IsStored(Segment(4)));
  // The segment of the wrong server is gone, and the right server goes on.
  std::filesystem::remove(repository_.PathOf(object));
  ASSERT_OK(Archive(Segment(3)));
  EXPECT_TRUE(EventuallyAhead(1));
  EXPECT_TRUE(IsStored(Segment(4)));
  for (SegmentNumber number = 4; number <= 9; ++number) {
    ASSERT_OK(Archive(Segment(number)));
  }
}

// When a file before the refused one is stored, those behind it stay held back.
TEST_F(WalShipperTest, FilesBeforeAConflictDoNotEndIt) {
  ASSERT_OK(repository_.PushWal(Segment(5), NoiseBytes(kTestSegmentSize, 77)));
  MakeReady(1, 1);
  ASSERT_OK(Archive(Segment(1)));
  MakeReady(5, 5);
  ASSERT_OK(Archive(Segment(1)));  // looks ahead, and is refused with 5
  EXPECT_TRUE(EventuallyAhead(0));
  MakeReady(2, 4);
  MakeReady(6, 9);
  for (SegmentNumber number = 2; number <= 4; ++number) {
    ASSERT_OK(Archive(Segment(number)));
  }
  EXPECT_ERROR(Archive(Segment(5)), ErrorCode::kConflict);
  EXPECT_TRUE(EventuallyAhead(0));
  EXPECT_FALSE(IsStored(Segment(6)));
}

// Opening a FIFO waits until somebody writes to it. So this file is being sealed for as long as the
// test needs.
TEST_F(WalShipperTest, WhatIsSealedWhenAConflictBecomesKnownIsNotSent) {
  const std::string behind = Segment(2) + ".00000028.backup";
  ASSERT_OK(repository_.PushWal(Segment(2), NoiseBytes(kTestSegmentSize, 77)));
  hook_ = [this](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kPut && name.ends_with(Segment(2))) {
      EXPECT_TRUE(Eventually([this] { return shipper_->counters().in_flight == 2; }));
    }
    return Ok();
  };
  MakeReady(1, 1);
  ASSERT_OK(Archive(Segment(1)));
  MakeReady(2, 2);
  ASSERT_EQ(mkfifo(WalPath(behind).c_str(), 0600), 0);
  WriteText(WalPath("archive_status/" + behind + ".ready"), "");
  EXPECT_ERROR(Archive(Segment(2)), ErrorCode::kConflict);
  EXPECT_EQ(shipper_->counters().in_flight, 1);
  WriteText(WalPath(behind), "");
  EXPECT_TRUE(EventuallyAhead(0));
  EXPECT_FALSE(IsStored(behind));
}

// The first file cannot be read. A new shipper knows of no other success.
TEST_F(WalShipperTest, AFileThatCannotBeReadHoldsUpNoOther) {
  MakeReady(1, 9);
  for (const SegmentNumber bad : {1, 3}) {
    std::filesystem::remove(WalPath(Segment(bad)));
    std::filesystem::create_symlink(Segment(bad), WalPath(Segment(bad)));  // a loop
  }
  EXPECT_ERROR(Archive(Segment(1)), ErrorCode::kIo);
  EXPECT_ERROR(Archive(Segment(1)), ErrorCode::kIo);
  EXPECT_TRUE(EventuallyAhead(3));
  EXPECT_TRUE(IsStored(Segment(5)));
  EXPECT_ERROR(Archive(Segment(1)), ErrorCode::kIo);
  std::filesystem::remove(WalPath(Segment(1)));
  MakeReady(1, 1);
  ASSERT_OK(Archive(Segment(1)));
  ASSERT_OK(Archive(Segment(2)));
  EXPECT_ERROR(Archive(Segment(3)), ErrorCode::kIo);
  EXPECT_TRUE(EventuallyAhead(3));
}

TEST_F(WalShipperTest, WhatWasThereAlreadyIsSaidToBe) {
  MakeReady(1, 2);
  ASSERT_OK(repository_.PushWal(Segment(2), NoiseBytes(kTestSegmentSize, 2)));
  EXPECT_EQ(Archive(Segment(1)).value().outcome, PushOutcome::kStored);
  EXPECT_EQ(Archive(Segment(2)).value().outcome, PushOutcome::kAlreadyThere);
}

// A server that was promoted twice, or restored and promoted again, offers such files a second
// time.
TEST_F(WalShipperTest, WhatRecoveryNeverAsksForHoldsUpNothing) {
  const std::string partial = Segment(1) + ".partial";
  const std::string backup = Segment(1) + ".00000028.backup";
  for (const std::string& file : {partial, backup}) {
    MakeReady(file, 1);
    ASSERT_OK(repository_.PushWal(file, NoiseBytes(kTestSegmentSize, 2)));
  }
  MakeReady(2, 4);
  for (const std::string& file : {partial, backup}) {
    const auto shipped = Archive(file);
    ASSERT_OK(shipped) << file;
    ASSERT_TRUE(shipped->left_out) << file;
    EXPECT_EQ(shipped->left_out->code, ErrorCode::kConflict);
  }
  // That proves nothing about this server: the next file is stored alone.
  EXPECT_EQ(shipper_->counters().ahead + shipper_->counters().in_flight, 0);
  ASSERT_OK(Archive(Segment(2)));
  EXPECT_TRUE(EventuallyAhead(2));
  const std::string damaged = Segment(3) + ".partial";
  MakeReady(damaged, 3);
  std::filesystem::resize_file(WalPath(damaged), 100);
  EXPECT_EQ(Archive(damaged).value().left_out.value().code, ErrorCode::kDataCorrupted);
  EXPECT_FALSE(IsStored(damaged));
}

// When the repository has lost its identity, or has another key, the file is not at fault.
TEST_F(WalShipperTest, NothingIsLeftOutForWhatIsWrongWithTheRepository) {
  const std::string partial = Segment(1) + ".partial";
  const std::string backup = Segment(1) + ".00000028.backup";
  MakeReady(partial, 1);
  MakeReady(backup, 1);
  MakeReady(2, 4);
  opener_fails_ = true;
  for (const ErrorCode code : {ErrorCode::kDataCorrupted, ErrorCode::kConflict}) {
    opener_error_ = code;
    for (const std::string& file : {partial, backup, Segment(2)}) {
      EXPECT_ERROR(Archive(file), code);
      EXPECT_EQ(shipper_->counters().ahead + shipper_->counters().in_flight, 0) << file;
    }
  }
  opener_fails_ = false;
  for (const std::string& file : {partial, backup}) {
    const auto shipped = Archive(file);
    ASSERT_OK(shipped);
    EXPECT_FALSE(shipped->left_out);
    EXPECT_TRUE(IsStored(file));
  }
}

// A file that has changed since it was stored ahead is not acknowledged by that.
TEST_F(WalShipperTest, AFileThatHasChangedSinceIsNotAcknowledged) {
  MakeReady(1, 3);
  ASSERT_OK(Archive(Segment(1)));
  EXPECT_TRUE(EventuallyAhead(2));
  FlipByte(WalPath(Segment(2)), 100);
  EXPECT_ERROR(Archive(Segment(2)), ErrorCode::kConflict);
  std::filesystem::remove(WalPath(Segment(3)));
  EXPECT_ERROR(Archive(Segment(3)), ErrorCode::kNotFound);
}

TEST_F(WalShipperTest, AFileThatChangesAllTheTimeIsAFailure) {
  MakeReady(1, 1);
  const std::string path = WalPath(Segment(1));
  hook_ = [&](FaultStore::Operation operation, std::string_view name) -> Status {
    if (operation == FaultStore::Operation::kPut && name.starts_with("wal/")) {
      std::filesystem::last_write_time(
          path, std::filesystem::last_write_time(path) + std::chrono::seconds(1));
    }
    return Ok();
  };
  const auto shipped = Archive(Segment(1));
  EXPECT_ERROR(shipped, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(shipped.error().message, testing::HasSubstr("changed 3 times"));
  hook_ = nullptr;
  ASSERT_OK(Archive(Segment(1)));
}

TEST_F(WalShipperTest, AnswersOnceForEachQuestion) {
  MakeReady(1, 1);
  EXPECT_FALSE(shipper_->TakeAnswer());
  ASSERT_OK(Archive(Segment(1)));
  EXPECT_FALSE(shipper_->TakeAnswer());
  EXPECT_EQ(Archive(Segment(1)).value().outcome, PushOutcome::kAlreadyThere);
}

TEST_F(WalShipperTest, NothingIsDoneAheadWhileTheStoreIsInTrouble) {
  std::atomic<bool> broken{true};
  std::atomic<int> puts{0};
  hook_ = [&](FaultStore::Operation operation, std::string_view name) -> Status {
    if (operation != FaultStore::Operation::kPut || !name.starts_with("wal/")) {
      return Ok();
    }
    ++puts;
    if (broken) {
      return MakeError(ErrorCode::kUnavailable, "the store is away").Retryable();
    }
    return Ok();
  };
  MakeReady(1, 9);
  EXPECT_ERROR(Archive(Segment(1)), ErrorCode::kUnavailable);
  EXPECT_TRUE(EventuallyAhead(0));
  puts = 0;
  for (int i = 0; i < 5; ++i) {
    EXPECT_ERROR(Archive(Segment(1)), ErrorCode::kUnavailable);
  }
  EXPECT_EQ(puts, 5);
  broken = false;
  for (SegmentNumber number = 1; number <= 9; ++number) {
    ASSERT_OK(Archive(Segment(number)));
  }
}

TEST_F(WalShipperTest, TheRepositoryIsOpenedAgainAfterAFailure) {
  opener_fails_ = true;
  MakeReady(1, 3);
  EXPECT_ERROR(Archive(Segment(1)), ErrorCode::kUnavailable);
  EXPECT_ERROR(Archive(Segment(1)), ErrorCode::kUnavailable);
  opener_fails_ = false;
  ASSERT_OK(Archive(Segment(1)));
  ASSERT_OK(Archive(Segment(2)));
}

TEST_F(WalShipperTest, EndsSoonAfterItIsCancelledWhileTheStoreHangs) {
  hook_ = [this](FaultStore::Operation operation, std::string_view name) -> Status {
    if (operation == FaultStore::Operation::kPut && name.starts_with("wal/") &&
        !name.ends_with(Segment(1))) {
      while (!environment_.cancellation->cancelled()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
      return environment_.cancellation->Check();
    }
    return Ok();
  };
  MakeReady(1, 9);
  ASSERT_OK(Archive(Segment(1)));
  ASSERT_OK(shipper_->Ask(Segment(2)));
  EXPECT_TRUE(Eventually([&] { return shipper_->counters().in_flight == 4; }));
  const auto begin = std::chrono::steady_clock::now();
  shipper_.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
  EXPECT_FALSE(IsStored(Segment(2)));
}

TEST_F(WalShipperTest, WhatNobodyAsksForAnyMoreHoldsNoPlace) {
  MakeReady(1, 4);
  ASSERT_OK(Archive(Segment(1)));
  EXPECT_TRUE(EventuallyAhead(3));
  for (SegmentNumber number = 2; number <= 4; ++number) {
    MakeDone(Segment(number));
  }
  MakeReady(5, 9);
  ASSERT_OK(Archive(Segment(5)));
  EXPECT_TRUE(EventuallyAhead(3));
  EXPECT_TRUE(IsStored(Segment(8)));
}

TEST_F(WalShipperTest, TheLevelFollowsTheBacklogUnlessItIsFixed) {
  options_.look_ahead = 8;
  std::atomic<int> least{0};
  hook_ = [&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kPut && name.starts_with("wal/")) {
      least = std::min(least.load(), shipper_->counters().level);
    }
    return Ok();
  };
  for (const bool adaptive : {true, false}) {
    options_.adaptive = adaptive;
    least = options_.compression_level;
    Start();
    MakeReady(1, 40);
    for (SegmentNumber number = 1; number <= 40; ++number) {
      ASSERT_OK(Archive(Segment(number)));
    }
    EXPECT_EQ(least < options_.compression_level, adaptive);
    EXPECT_EQ(shipper_->counters().backlog, 0);
    MakeReady(41, 41);
    ASSERT_OK(Archive(Segment(41)));
    EXPECT_EQ(shipper_->counters().level, options_.compression_level);
  }
}

TEST_F(WalShipperTest, WhatDoesNotFitIntoMemoryGoesToTemporaryFiles) {
  options_.memory = 4096;
  Start();
  MakeReady(1, 5);
  for (SegmentNumber number = 1; number <= 5; ++number) {
    ASSERT_OK(Archive(Segment(number)));
    ASSERT_OK(repository_.wal().Fetch(Segment(number), repository_.Scratch("fetched")));
    EXPECT_EQ(ReadText(repository_.Scratch("fetched")), ReadText(WalPath(Segment(number))));
  }
}

// It has a quarter of the memory to itself, however many files are ahead.
TEST_F(WalShipperTest, TheFileThatIsAskedForFitsIntoMemory) {
  may_spill_ = false;
  options_.look_ahead = 8;
  options_.memory = 6 * kTestSegmentSize;
  Start();
  for (SegmentNumber number = 1; number <= 3; ++number) {
    MakeReady(number, number);
    ASSERT_OK(Archive(Segment(number)));
  }
}

// Files ahead share the next quarter. What one does not need is for another, and is free
// afterwards.
TEST_F(WalShipperTest, FilesAheadShareTheirMemory) {
  std::atomic<int> begun{0};
  std::atomic<int> together{0};
  hook_ = [&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kPut && name.starts_with("wal/")) {
      ++begun;
      EXPECT_TRUE(Eventually([&] { return begun >= together; }));
    }
    return Ok();
  };
  may_spill_ = false;
  options_.sealers = 1;
  options_.memory = 4 * (5 * kTestSegmentSize);
  Start();
  MakeReady(1, 1);
  ASSERT_OK(Archive(Segment(1)));
  together = 5;
  MakeReady(2, 9);
  for (SegmentNumber number = 2; number <= 9; ++number) {
    ASSERT_OK(Archive(Segment(number)));
  }
  EXPECT_EQ(begun, 9);
}

// A shutdown relies on it: a store that hangs takes nothing.
TEST_F(WalShipperTest, ProgressIsWhatIsSealedAndWhatTheStoreTakes) {
  std::atomic<bool> hangs{true};
  std::atomic<bool> asked{false};
  hook_ = [&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kPut && name.starts_with("wal/")) {
      asked = true;
      EXPECT_TRUE(Eventually([&] { return !hangs; }));
    }
    return Ok();
  };
  MakeReady(1, 1);
  EXPECT_FALSE(shipper_->TakeProgress());
  ASSERT_OK(shipper_->Ask(Segment(1)));
  EXPECT_TRUE(Eventually([&] { return asked.load(); }));
  EXPECT_TRUE(shipper_->TakeProgress());
  EXPECT_FALSE(shipper_->TakeProgress());
  hangs = false;
  ASSERT_OK(Archive(Segment(1)));
  EXPECT_TRUE(shipper_->TakeProgress());
  EXPECT_FALSE(shipper_->TakeProgress());
}

class EncryptedShipperTest : public WalShipperTest {
 protected:
  EncryptedShipperTest() : WalShipperTest(Cipher::kAes256Gcm) {}

  DigestMethod MethodOf(const std::string& file) {
    const std::string name = WalObjectName(kTestSystem, file).value();
    const std::string object = ReadText(repository_.PathOf(name));
    StreamOpener opener(repository_->seal_policy(), name, [](ByteView) { return Ok(); });
    EXPECT_OK(opener.Feed(AsBytes(object)));
    return opener.attributes().value().plain_digest.value().method;
  }
};

// The archiver of a server that is not restarted for months.
TEST_F(EncryptedShipperTest, NoticesThatTheFormatWasUpgraded) {
  repository_.WriteBy(DigestMethod::kGmac);
  std::filesystem::remove(repository_.PathOf(std::string(kFormatMarkName)));
  std::atomic<int> looks{0};
  hook_ = [&](FaultStore::Operation, std::string_view name) {
    looks += name == kFormatMarkName ? 1 : 0;
    return Ok();
  };
  Start();
  MakeReady(1, 1);
  ASSERT_OK(Archive(Segment(1)));
  EXPECT_EQ(MethodOf(Segment(1)), DigestMethod::kSha256);

  ASSERT_OK(UpgradeFormat(*repository_));
  looks = 0;
  MakeReady(2, 2);
  ASSERT_OK(Archive(Segment(2)));
  EXPECT_EQ(MethodOf(Segment(2)), DigestMethod::kSha256);
  EXPECT_EQ(looks, 0);

  clock_.ahead = kFormatLook;
  MakeReady(3, 3);
  ASSERT_OK(Archive(Segment(3)));
  EXPECT_EQ(MethodOf(Segment(3)), DigestMethod::kGmac);

  // It never looks again.
  clock_.ahead = 3 * kFormatLook;
  looks = 0;
  MakeReady(4, 4);
  ASSERT_OK(Archive(Segment(4)));
  EXPECT_EQ(MethodOf(Segment(4)), DigestMethod::kGmac);
  EXPECT_EQ(looks, 0);
  shipper_.reset();
}

TEST_F(WalShipperTest, RetriesAreSeen) {
  MakeReady(1, 1);
  ASSERT_OK(Archive(Segment(1)));
  EXPECT_FALSE(shipper_->retried());
  observer_("PUT", "x", MakeError(ErrorCode::kUnavailable, "once more"));
  ASSERT_TRUE(shipper_->retried());
  EXPECT_EQ(shipper_->retried()->message, "once more");
  EXPECT_EQ(shipper_->counters().retries, 1);
  ASSERT_OK(shipper_->Ask(Segment(1)));
  EXPECT_FALSE(shipper_->retried());
}

}  // namespace
}  // namespace veza
