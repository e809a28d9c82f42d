#include "core/storage/conditional_writes.h"

#include <gmock/gmock.h>

#include <atomic>
#include <thread>
#include <vector>

#include "core/repository/names.h"
#include "core/repository/test_repository.h"
#include "core/storage/local_store.h"
#include "core/storage/overwriting_store.h"
#include "core/storage/retrying_store.h"
#include "core/storage/store_conformance.h"
#include "core/storage/temporary_directory.h"

namespace veza {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kSegment = "wal/1/00000001/00000000/000000010000000000000001";

// A local store that treats conditions in the ways in which S3 servers do, and counts requests.
class OddStore final : public OverwritingStore {
 public:
  enum class Way {
    kHonours,
    kOverwrites,
    kRefusesCondition,
    kSaysThere,
    kRefusesAll,
    kIsFull,
    kTokenHasEnded
  };

  OddStore(std::shared_ptr<Store> directory, Way& way, std::atomic<int>& requests)
      : OverwritingStore(directory),
        directory_(std::move(directory)),
        way_(way),
        requests_(requests) {}

  Status Put(std::string_view name, Body& body, PutMode mode) override {
    ++requests_;
    const Error refusal = MakeError(ErrorCode::kUnsupported, "server answered 501 NotImplemented");
    switch (way_) {
      case Way::kHonours:
        return directory_->Put(name, body, mode);
      case Way::kOverwrites:
        return OverwritingStore::Put(name, body, mode);
      case Way::kRefusesCondition:
        return mode == PutMode::kCreate ? Status(refusal) : OverwritingStore::Put(name, body, mode);
      case Way::kSaysThere:
        return mode == PutMode::kCreate
                   ? Status(MakeError(ErrorCode::kAlreadyExists, "object already exists"))
                   : OverwritingStore::Put(name, body, mode);
      case Way::kRefusesAll:
        return refusal;
      case Way::kIsFull:
        return MakeError(ErrorCode::kNoSpace, "the bucket is full");
      case Way::kTokenHasEnded:  // and is renewed before the next request
        return mode == PutMode::kCreate
                   ? Status(MakeError(ErrorCode::kCredentials, "server answered 400 ExpiredToken"))
                   : OverwritingStore::Put(name, body, mode);
    }
    return refusal;
  }
  Status Get(std::string_view name, ByteRange range, const Sink& sink) override {
    ++requests_;
    return OverwritingStore::Get(name, range, sink);
  }

 private:
  std::shared_ptr<Store> directory_;
  Way& way_;
  std::atomic<int>& requests_;
};

using Way = OddStore::Way;

class ConditionalWritesTest : public testing::Test {
 protected:
  ConditionalWritesTest() { environment_.clock = &clock_; }

  std::unique_ptr<Store> MakeOdd() {
    std::shared_ptr<Store> directory =
        MakeLocalStore(directory_.path(), environment_, environment_.clock).value();
    return std::make_unique<OddStore>(std::move(directory), way_, requests_);
  }
  std::unique_ptr<Store> MakeProven(const char* place = "here") {
    return MakeProvenStore(MakeOdd(), environment_, std::string(kConditionalWriteProbe), place,
                           proofs_);
  }
  static Status Create(Store& store, const std::string& name, const char* content = "x") {
    return PutSmall(store, name, AsBytes(content), PutMode::kCreate);
  }
  std::string Content(const std::string& name) {
    const Result<Bytes> content = GetSmall(*MakeOdd(), name, 1U << 20);
    return content ? std::string(AsText(*content)) : "";
  }
  int RequestsOf(Store& store, const std::string& name) {
    requests_ = 0;
    EXPECT_OK(Create(store, name));
    return requests_;
  }

  TemporaryDirectory directory_;
  TestClock clock_;
  Environment environment_;
  Way way_ = Way::kHonours;
  std::atomic<int> requests_ = 0;
  std::shared_ptr<ConditionalWriteProofs> proofs_ = std::make_shared<ConditionalWriteProofs>();
};

TEST_F(ConditionalWritesTest, AStoreIsTriedOnceBeforeTheFirstWrite) {
  const auto store = MakeProven();
  EXPECT_EQ(RequestsOf(*store, "a"), 3);
  EXPECT_EQ(RequestsOf(*store, "b"), 1);
  EXPECT_EQ(RequestsOf(*MakeProven(), "c"), 1) << "a later store of the same process and place";
  EXPECT_EQ(RequestsOf(*MakeProven("elsewhere"), "d"), 3) << "another one; the probe is there";

  clock_.Sleep(kProofLasts, nullptr);
  EXPECT_EQ(RequestsOf(*store, "e"), 3) << "a day later";
}

TEST_F(ConditionalWritesTest, AnExistingProbeProvesNothing) {
  EXPECT_OK(Create(*MakeProven(), "a"));
  way_ = Way::kOverwrites;  // as if the repository was moved to another server
  const Status put = Create(*MakeProven("moved"), "b");
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, ErrorCode::kUnsupported);
}

TEST_F(ConditionalWritesTest, AStoreThatOverwritesIsRefused) {
  EXPECT_OK(Create(*MakeOdd(), kSegment, "the original's"));
  way_ = Way::kOverwrites;
  const auto store = MakeProven();
  for (int attempt = 0; attempt < 2; ++attempt) {
    const Status put = Create(*store, kSegment, "the twin's");
    ASSERT_FALSE(put);
    EXPECT_EQ(put.error().code, ErrorCode::kUnsupported);
    EXPECT_FALSE(put.error().retryable);
    EXPECT_THAT(put.error().message,
                AllOf(HasSubstr(directory_.path()),
                      HasSubstr("overwrote an object although If-None-Match")));
    EXPECT_THAT(put.error().hint, AllOf(HasSubstr("veza_backup.s3_conditional_writes = 'look'"),
                                        HasSubstr("one more request for each object")));
  }
  EXPECT_EQ(Content(kSegment), "the original's");

  way_ = Way::kHonours;  // repaired: writing resumes by itself
  EXPECT_EQ(Create(*store, kSegment, "the twin's").error().code, ErrorCode::kAlreadyExists);
  EXPECT_OK(Create(*store, "other"));
}

TEST_F(ConditionalWritesTest, AStoreThatDoesNotTakeTheConditionIsRefused) {
  way_ = Way::kRefusesCondition;
  const Status put = Create(*MakeProven(), kSegment);
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(put.error().message, AllOf(HasSubstr("does not support conditional writes"),
                                         HasSubstr("server answered 501 NotImplemented")));
  EXPECT_THAT(put.error().hint, HasSubstr("veza_backup.s3_conditional_writes = 'look'"));
  EXPECT_THAT(Content(kSegment), IsEmpty());
}

TEST_F(ConditionalWritesTest, AStoreThatRefusesEveryConditionAsIfTheObjectWereThereIsRefused) {
  way_ = Way::kSaysThere;
  const Status put = Create(*MakeProven(), kSegment);
  ASSERT_FALSE(put);
  EXPECT_EQ(put.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(put.error().message, AllOf(HasSubstr("412"), HasSubstr("If-None-Match")));
  EXPECT_THAT(put.error().hint, HasSubstr("s3_conditional_writes"));
}

// A store that was full may leave an empty probe.
TEST_F(ConditionalWritesTest, AnEmptyProbeCounts) {
  EXPECT_OK(PutSmall(*MakeOdd(), kConditionalWriteProbe, {}, PutMode::kCreate));
  EXPECT_OK(Create(*MakeProven(), "a"));
  way_ = Way::kOverwrites;
  EXPECT_EQ(Create(*MakeProven("moved"), "b").error().code, ErrorCode::kUnsupported);
}

TEST_F(ConditionalWritesTest, OtherErrorsAreReturnedAsTheyAre) {
  way_ = Way::kRefusesAll;
  const auto store = MakeProven();
  EXPECT_EQ(Create(*store, "a").error().message, "server answered 501 NotImplemented");
  way_ = Way::kIsFull;
  const Status full = Create(*store, "a");
  EXPECT_EQ(full.error().code, ErrorCode::kNoSpace);
  way_ = Way::kTokenHasEnded;
  EXPECT_EQ(Create(*store, "a").error().code, ErrorCode::kCredentials);
  way_ = Way::kHonours;
  EXPECT_OK(Create(*store, "a"));
}

TEST_F(ConditionalWritesTest, ReadingDeletingAndReplacingNeedNoTrial) {
  EXPECT_OK(Create(*MakeOdd(), "a"));
  way_ = Way::kOverwrites;
  const auto store = MakeProven();
  EXPECT_OK(GetSmall(*store, "a", 1U << 20));
  EXPECT_OK(store->Head("a"));
  EXPECT_OK(PutSmall(*store, "a", AsBytes("y"), PutMode::kReplace));
  EXPECT_OK(store->Delete("a"));
  EXPECT_THAT(Content(std::string(kConditionalWriteProbe)), IsEmpty());
}

// The response to a write is lost, and the next attempt finds the object. That does not prove that
// the store overwrites.
TEST_F(ConditionalWritesTest, LostResponsesProveNothing) {
  for (const int lost : {1, 2, 3}) {
    TemporaryDirectory directory;
    int puts = 0;
    class Losing final : public OverwritingStore {
     public:
      Losing(std::shared_ptr<Store> inner, int lost, int& puts)
          : OverwritingStore(inner), inner_(std::move(inner)), lost_(lost), puts_(puts) {}
      Status Put(std::string_view name, Body& body, PutMode mode) override {
        Status put = inner_->Put(name, body, mode);
        if (++puts_ == lost_) {
          return Error{ErrorCode::kUnavailable, "the answer was lost", "", true};
        }
        return put;
      }

     private:
      std::shared_ptr<Store> inner_;
      int lost_;
      int& puts_;
    };
    const auto store = MakeProvenStore(
        MakeRetryingStore(
            std::make_unique<Losing>(
                MakeLocalStore(directory.path(), environment_, environment_.clock).value(), lost,
                puts),
            environment_, {}),
        environment_, std::string(kConditionalWriteProbe), directory.path(), proofs_);
    const Status put = Create(*store, "a");
    EXPECT_TRUE(put) << "answer " << lost;
  }
}

TEST_F(ConditionalWritesTest, ManyWritersTryOnce) {
  const auto store = MakeProven();
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] { EXPECT_OK(Create(*store, fmt::format("object-{}", i))); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

TEST_F(ConditionalWritesTest, LookingFindsAnExistingObject) {
  way_ = Way::kRefusesCondition;
  const auto store = MakeLookingStore(MakeOdd());
  EXPECT_EQ(RequestsOf(*store, kSegment), 2) << "a look and a write";
  EXPECT_EQ(Create(*store, kSegment, "the twin's").error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(Content(kSegment), "x");
  EXPECT_OK(Create(*store, "empty", ""));
  EXPECT_EQ(Create(*store, "empty", "full").error().code, ErrorCode::kAlreadyExists);
  EXPECT_OK(PutSmall(*store, kSegment, AsBytes("y"), PutMode::kReplace));
}

TEST_F(ConditionalWritesTest, WithoutALookNothingIsWritten) {
  EXPECT_OK(Create(*MakeOdd(), kSegment, "the original's"));
  auto faulty = std::make_unique<FaultStore>(MakeOdd());
  faulty->SetHook([](FaultStore::Operation operation, std::string_view) -> Status {
    if (operation == FaultStore::Operation::kGet) {
      return MakeError(ErrorCode::kPermissionDenied, "write only");
    }
    return Ok();
  });
  EXPECT_EQ(Create(*MakeLookingStore(std::move(faulty)), kSegment).error().message, "write only");
  EXPECT_EQ(Content(kSegment), "the original's");
}

}  // namespace
}  // namespace veza
