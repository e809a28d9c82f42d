// The contract of core/storage/store.h as tests that every store passes. A backend is a class with
//
//   static constexpr int kPageSize = ...;  // a listing of more objects takes several requests
//   std::string Unavailable();             // why it cannot be tested here, or empty
//   std::unique_ptr<Store> Make(Environment environment);  // each time a view of the same objects
//
// whose instances begin without objects and leave none behind, and
// `INSTANTIATE_TYPED_TEST_SUITE_P(Name, StoreConformance, Backend);` runs the suite on it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "core/storage/store.h"

namespace veza {

// Makes bytes that do not repeat for long, so that a lost or repeated piece is noticed.
inline Bytes Pattern(std::size_t size, std::uint32_t seed = 1) {
  Bytes bytes(size);
  std::uint32_t state = seed;
  for (std::uint8_t& byte : bytes) {
    state = state * 1'664'525U + 1'013'904'223U;
    byte = static_cast<std::uint8_t>(state >> 24);
  }
  return bytes;
}

// A body that has another size than it announces, or that fails in the middle.
class BrokenBody final : public Body {
 public:
  BrokenBody(std::uint64_t announced, std::uint64_t held, bool fail = false)
      : announced_(announced), held_(held), fail_(fail) {}
  std::uint64_t size() const override { return announced_; }
  Status Rewind() override {
    position_ = 0;
    return Ok();
  }
  Result<std::size_t> Read(MutableByteView into) override {
    if (position_ == held_ && fail_) {
      return MakeError(ErrorCode::kDataCorrupted, "page is broken");
    }
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), held_ - position_));
    std::fill_n(into.begin(), count, std::uint8_t{'x'});
    position_ += count;
    return count;
  }

 private:
  std::uint64_t announced_;
  std::uint64_t held_;
  bool fail_;
  std::uint64_t position_ = 0;
};

template <typename Backend>
class StoreConformance : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string reason = backend_.Unavailable(); !reason.empty()) {
      GTEST_SKIP() << reason;
    }
    store_ = backend_.Make(environment_);
  }

  Status Create(std::string_view name, std::string_view content) {
    return PutSmall(*store_, name, AsBytes(content), PutMode::kCreate);
  }

  std::string Read(std::string_view name, ByteRange range = {}) {
    std::string content;
    const Status got = store_->Get(name, range, [&](ByteView piece) {
      content += AsText(piece);
      return Ok();
    });
    return got ? content : std::string("error: ") + ErrorCodeName(got.error().code);
  }

  std::vector<std::string> Names(std::string_view prefix = {}, std::string_view start_after = {}) {
    std::vector<std::string> names;
    const Status listed = store_->List(prefix, start_after, [&](const ObjectInfo& info) {
      names.push_back(info.name);
      return Ok();
    });
    EXPECT_TRUE(listed) << listed.error().message;
    return names;
  }

  // Calls all operations that take a name with this name. Returns their error codes.
  std::vector<ErrorCode> CodesFor(std::string_view name) {
    std::vector<ErrorCode> codes;
    const auto add = [&](const auto& result) {
      codes.push_back(result ? ErrorCode::kInternal : result.error().code);
    };
    add(Create(name, "x"));
    add(PutSmall(*store_, name, AsBytes("x"), PutMode::kReplace));
    add(store_->Get(name, {}, [](ByteView) { return Ok(); }));
    add(store_->Head(name));
    add(store_->Delete(name));
    return codes;
  }

  Environment environment_;
  Backend backend_;
  std::unique_ptr<Store> store_;
};

TYPED_TEST_SUITE_P(StoreConformance);

TYPED_TEST_P(StoreConformance, GivesBackWhatWasPut) {
  for (const std::size_t size : {0U, 1U, 65'536U, 1'000'003U, 9U << 20}) {
    const std::string name = fmt::format("sizes/{}", size);
    const Bytes content = Pattern(size);
    const Status put = PutSmall(*this->store_, name, content, PutMode::kCreate);
    ASSERT_TRUE(put) << put.error().message;
    EXPECT_TRUE(GetSmall(*this->store_, name, 16U << 20).value() == content) << size;
    const ObjectInfo info = this->store_->Head(name).value();
    EXPECT_EQ(info.name, name);
    EXPECT_EQ(info.size, size);
  }
}

TYPED_TEST_P(StoreConformance, PutReadsTheBodyFromItsStart) {
  MemoryBody body(AsBytes("content"));
  Bytes begin(3);
  ASSERT_EQ(body.Read(begin).value(), 3U);
  ASSERT_TRUE(this->store_->Put("a", body, PutMode::kCreate));
  EXPECT_EQ(this->Read("a"), "content");
}

TYPED_TEST_P(StoreConformance, CreateNeverOverwrites) {
  ASSERT_TRUE(this->Create("dir/a", "first"));
  EXPECT_EQ(this->Create("dir/a", "second").error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(this->Create("dir/a", "first").error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(this->Read("dir/a"), "first");
}

TYPED_TEST_P(StoreConformance, OneOfManyCreatorsWins) {
  std::atomic<int> winners = 0;
  std::atomic<int> winner = -1;
  std::atomic<int> losers = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (;;) {
        const Status put = this->Create("lock/1", std::to_string(i));
        if (put) {
          ++winners;
          winner = i;
        } else if (put.error().retryable) {
          continue;  // RetryingStore would do the same
        } else if (put.error().code == ErrorCode::kAlreadyExists) {
          ++losers;
        }
        return;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(winners, 1);
  EXPECT_EQ(losers, 7);
  EXPECT_EQ(this->Read("lock/1"), std::to_string(winner));
}

TYPED_TEST_P(StoreConformance, ReplaceOverwritesAndCreates) {
  for (const char* content : {"first", "second, longer", "3"}) {
    ASSERT_TRUE(PutSmall(*this->store_, "lock/1", AsBytes(content), PutMode::kReplace));
    EXPECT_EQ(this->Read("lock/1"), content);
  }
}

TYPED_TEST_P(StoreConformance, ABodyThatFailsLeavesNoObject) {
  BrokenBody fails(3'000'000, 2'000'000, true);
  EXPECT_EQ(this->store_->Put("a", fails, PutMode::kCreate).error().code,
            ErrorCode::kDataCorrupted);
  BrokenBody too_short(3'000'000, 2'000'000);
  EXPECT_EQ(this->store_->Put("a", too_short, PutMode::kCreate).error().code, ErrorCode::kInternal);
  BrokenBody too_long(2'000'000, 3'000'000);
  EXPECT_EQ(this->store_->Put("a", too_long, PutMode::kCreate).error().code, ErrorCode::kInternal);
  EXPECT_EQ(this->store_->Head("a").error().code, ErrorCode::kNotFound);
  EXPECT_THAT(this->Names(), testing::IsEmpty());
}

TYPED_TEST_P(StoreConformance, WhatIsMissingIsNotFound) {
  ASSERT_TRUE(this->Create("dir/a", "x"));
  for (const char* name : {"nothing", "dir", "dir/b", "no/such/dir", "dir/a/b"}) {
    EXPECT_EQ(this->Read(name), "error: not_found") << name;
    EXPECT_EQ(this->store_->Head(name).error().code, ErrorCode::kNotFound) << name;
    EXPECT_FALSE(this->store_->Head(name).error().retryable);
    EXPECT_TRUE(this->store_->Delete(name)) << name;
  }
  EXPECT_EQ(this->Read("dir/a"), "x");
}

TYPED_TEST_P(StoreConformance, DeleteRemoves) {
  ASSERT_TRUE(this->Create("dir/a", "x"));
  ASSERT_TRUE(this->store_->Delete("dir/a"));
  EXPECT_EQ(this->Read("dir/a"), "error: not_found");
  ASSERT_TRUE(this->Create("dir/a", "y"));
  EXPECT_EQ(this->Read("dir/a"), "y");
}

TYPED_TEST_P(StoreConformance, DeletesManyAtOnce) {
  std::vector<std::string> names;
  for (int i = 0; i < 2 * TypeParam::kPageSize + 3; ++i) {
    names.push_back(fmt::format("many/{:04}", i));
    ASSERT_TRUE(PutSmall(*this->store_, names.back(), AsBytes("x"), PutMode::kCreate));
  }
  ASSERT_TRUE(PutSmall(*this->store_, "other", AsBytes("x"), PutMode::kCreate));
  names.insert(names.begin() + 1, "many/absent");
  EXPECT_TRUE(this->store_->DeleteAll(names));
  EXPECT_THAT(this->Names(), testing::ElementsAre("other"));
  EXPECT_TRUE(this->store_->DeleteAll(names)) << "they are gone already";
  EXPECT_TRUE(this->store_->DeleteAll({}));
  names.push_back("../other");
  EXPECT_EQ(this->store_->DeleteAll(names).error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(this->Names(), testing::ElementsAre("other"));
  EXPECT_TRUE(this->store_->Delete("other"));
}

TYPED_TEST_P(StoreConformance, DeliversRanges) {
  ASSERT_TRUE(this->Create("a", "0123456789"));
  EXPECT_EQ(this->Read("a", {2, 3}), "234");
  EXPECT_EQ(this->Read("a", {0, 1}), "0");
  EXPECT_EQ(this->Read("a", {7, 100}), "789");
  EXPECT_EQ(this->Read("a", {9}), "9");
  EXPECT_EQ(this->Read("a", {0, 10}), "0123456789");
  EXPECT_EQ(this->Read("a", {10}), "error: invalid_argument");
  EXPECT_EQ(this->Read("a", {11, 1}), "error: invalid_argument");
  EXPECT_EQ(this->Read("a", {3, 0}), "error: invalid_argument");
  EXPECT_EQ(this->Read("b", {2, 3}), "error: not_found");
  // The largest possible length.
  EXPECT_EQ(this->Read("a", {5, std::numeric_limits<std::uint64_t>::max()}), "56789");

  ASSERT_TRUE(this->Create("empty", ""));
  EXPECT_EQ(this->Read("empty"), "");
  EXPECT_EQ(this->Read("empty", {0, 5}), "error: invalid_argument");
}

TYPED_TEST_P(StoreConformance, AnErrorOfTheSinkEndsTheDownload) {
  ASSERT_TRUE(PutSmall(*this->store_, "a", Pattern(5'000'000), PutMode::kCreate));
  std::size_t taken = 0;
  const Status got = this->store_->Get("a", {}, [&](ByteView piece) -> Status {
    taken += piece.size();
    return MakeError(ErrorCode::kNoSpace, "disk is full");
  });
  EXPECT_EQ(got.error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(got.error().message, "disk is full");
  EXPECT_LT(taken, 5'000'000U);
  // The store still works.
  EXPECT_TRUE(GetSmall(*this->store_, "a", 16U << 20).value() == Pattern(5'000'000));
}

TYPED_TEST_P(StoreConformance, GetSmallHasALimit) {
  ASSERT_TRUE(this->Create("a", "0123456789"));
  EXPECT_TRUE(GetSmall(*this->store_, "a", 10));
  EXPECT_EQ(GetSmall(*this->store_, "a", 9).error().code, ErrorCode::kDataCorrupted);
}

TYPED_TEST_P(StoreConformance, ListsInByteOrder) {
  // '-' and '.' sort before '/', digits after it.
  const std::vector<std::string> valid = {"B",       "a-b",  "a.b",   "a/b",     "a/b-c",
                                          "a/b.c/d", "a/b0", "a/c/-", "a/c/0/1", "a/c/_",
                                          "a0",      "a_",   "aa",    "c"};
  for (auto name = valid.rbegin(); name != valid.rend(); ++name) {
    ASSERT_TRUE(this->Create(*name, *name));
  }
  EXPECT_EQ(this->Names(), valid);
  using testing::ElementsAre;
  EXPECT_THAT(this->Names("a/"),
              ElementsAre("a/b", "a/b-c", "a/b.c/d", "a/b0", "a/c/-", "a/c/0/1", "a/c/_"));
  EXPECT_THAT(this->Names("a/b"), ElementsAre("a/b", "a/b-c", "a/b.c/d", "a/b0"));
  EXPECT_THAT(this->Names("a/b."), ElementsAre("a/b.c/d"));
  EXPECT_THAT(this->Names("a/b/"), ElementsAre());
  EXPECT_THAT(this->Names("a/c/_"), ElementsAre("a/c/_"));
  EXPECT_THAT(this->Names("x"), ElementsAre());
  EXPECT_THAT(this->Names("no/such/directory/"), ElementsAre());
  for (const std::string& after : valid) {
    const auto begin = std::upper_bound(valid.begin(), valid.end(), after);
    EXPECT_EQ(this->Names("", after), std::vector<std::string>(begin, valid.end())) << after;
  }
  // start_after need not be the name of an object.
  EXPECT_THAT(this->Names("", "a/c0"), ElementsAre("a0", "a_", "aa", "c"));
  EXPECT_THAT(this->Names("a/", "a/c/"), ElementsAre("a/c/-", "a/c/0/1", "a/c/_"));
  EXPECT_THAT(this->Names("a/", "a/c"), ElementsAre("a/c/-", "a/c/0/1", "a/c/_"));
  EXPECT_THAT(this->Names("a/", "b"), ElementsAre());
  EXPECT_EQ(this->Names("a/", "A"), this->Names("a/"));
}

TYPED_TEST_P(StoreConformance, ListTellsSizeAndTime) {
  const TimePoint before = this->store_->Now().value();
  ASSERT_TRUE(this->Create("dir/a", "12345"));
  const TimePoint after = this->store_->Now().value() + std::chrono::seconds(1);
  const ObjectInfo head = this->store_->Head("dir/a").value();
  EXPECT_GE(head.modified, before);
  EXPECT_LE(head.modified, after);
  int calls = 0;
  ASSERT_TRUE(this->store_->List("", "", [&](const ObjectInfo& info) {
    ++calls;
    EXPECT_EQ(info.name, "dir/a");
    EXPECT_EQ(info.size, 5U);
    EXPECT_GE(info.modified, before);
    EXPECT_LE(info.modified, after);
    return Ok();
  }));
  EXPECT_EQ(calls, 1);
}

TYPED_TEST_P(StoreConformance, AnErrorOfTheVisitorEndsTheListing) {
  ASSERT_TRUE(this->Create("a", "x"));
  ASSERT_TRUE(this->Create("b", "x"));
  int calls = 0;
  const Status listed = this->store_->List("", "", [&](const ObjectInfo&) -> Status {
    ++calls;
    return MakeError(ErrorCode::kConflict, "enough");
  });
  EXPECT_EQ(listed.error().code, ErrorCode::kConflict);
  EXPECT_EQ(calls, 1);
}

TYPED_TEST_P(StoreConformance, ListsMoreThanAPage) {
  constexpr int kCount = 2 * TypeParam::kPageSize + 13;
  std::atomic<int> next = 0;
  std::atomic<int> failures = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int number = next++; number < kCount; number = next++) {
        failures += this->Create(fmt::format("many/{:04}", number), "").has_value() ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  ASSERT_EQ(failures, 0);
  const std::vector<std::string> names = this->Names("many/");
  ASSERT_EQ(names.size(), static_cast<std::size_t>(kCount));
  for (int number = 0; number < kCount; ++number) {
    ASSERT_EQ(names[static_cast<std::size_t>(number)], fmt::format("many/{:04}", number));
  }
  EXPECT_EQ(this->Names("many/", "many/0009").size(), names.size() - 10);
  // Objects may be deleted while they are listed.
  ASSERT_TRUE(this->store_->List(
      "many/", "", [&](const ObjectInfo& info) { return this->store_->Delete(info.name); }));
  EXPECT_THAT(this->Names(), testing::IsEmpty());
}

TYPED_TEST_P(StoreConformance, ListsDirectories) {
  EXPECT_THAT(this->store_->ListDirectories("").value(), testing::IsEmpty());
  for (const char* name : {"b/y/1", "b/x/1", "b/x-y/deep/er/1", "b/x0/1", "b/object", "a", "c/1"}) {
    ASSERT_TRUE(this->Create(name, "x"));
  }
  using testing::ElementsAre;
  EXPECT_THAT(this->store_->ListDirectories("").value(), ElementsAre("b", "c"));
  EXPECT_THAT(this->store_->ListDirectories("b/").value(), ElementsAre("x", "x-y", "x0", "y"));
  EXPECT_THAT(this->store_->ListDirectories("b/x/").value(), ElementsAre());
  EXPECT_THAT(this->store_->ListDirectories("no/such/").value(), ElementsAre());
  EXPECT_EQ(this->store_->ListDirectories("b").error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(this->store_->ListDirectories("../").error().code, ErrorCode::kInvalidArgument);
  // Directories are removed with their last object.
  ASSERT_TRUE(this->store_->Delete("b/x-y/deep/er/1"));
  EXPECT_THAT(this->store_->ListDirectories("b/").value(), ElementsAre("x", "x0", "y"));
}

TYPED_TEST_P(StoreConformance, RefusesNamesThatAreNotNames) {
  for (const char* name : {"", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/./b", "a b",
                           "a%", "ä", "a\n", ".veza-tmp-1", "a/.veza-tmp-1"}) {
    EXPECT_THAT(this->CodesFor(name), testing::Each(ErrorCode::kInvalidArgument)) << name;
  }
  EXPECT_THAT(this->CodesFor(std::string(256, 'a')), testing::Each(ErrorCode::kInvalidArgument));
  std::string longest = std::string(250, 'a') + "/" + std::string(250, 'b') + "/";
  longest += std::string(700 - longest.size(), 'c');
  EXPECT_TRUE(this->Create(longest, "x"));
  EXPECT_EQ(this->Read(longest), "x");
  EXPECT_THAT(this->CodesFor(longest + "d"), testing::Each(ErrorCode::kInvalidArgument));
  EXPECT_EQ(this->Names(), std::vector<std::string>{longest});
  EXPECT_THAT(this->Names("../"), testing::IsEmpty());
  EXPECT_THAT(this->Names("/"), testing::IsEmpty());
}

TYPED_TEST_P(StoreConformance, NothingIsDoneOnceCancelled) {
  ASSERT_TRUE(this->Create("a", "x"));
  this->environment_.cancellation->Cancel();
  EXPECT_THAT(this->CodesFor("a"), testing::Each(ErrorCode::kCancelled));
  EXPECT_EQ(this->store_->List("", "", [](const ObjectInfo&) { return Ok(); }).error().code,
            ErrorCode::kCancelled);
  EXPECT_EQ(this->store_->ListDirectories("").error().code, ErrorCode::kCancelled);
  EXPECT_EQ(this->store_->Now().error().code, ErrorCode::kCancelled);
  this->environment_.cancellation->Reset();
  EXPECT_EQ(this->Read("a"), "x");
}

TYPED_TEST_P(StoreConformance, ADownloadCanBeCancelledInTheMiddle) {
  ASSERT_TRUE(PutSmall(*this->store_, "a", Pattern(9'000'000), PutMode::kCreate));
  std::size_t taken = 0;
  const Status got = this->store_->Get("a", {}, [&](ByteView piece) {
    taken += piece.size();
    this->environment_.cancellation->Cancel();
    // Without this a server on loopback may have sent everything before anybody looks.
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    return Ok();
  });
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kCancelled);
  EXPECT_LT(taken, 9'000'000U);
  this->environment_.cancellation->Reset();
}

TYPED_TEST_P(StoreConformance, ManyThreadsUseOneStore) {
  std::atomic<int> failures = 0;
  std::vector<std::thread> threads;
  for (std::uint32_t i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (std::uint32_t round = 0; round < 5; ++round) {
        const std::string name = fmt::format("thread/{}/{}", i, round);
        const Bytes content = Pattern(100'000 + i * 1'000 + round, i * 7 + round);
        const bool good = PutSmall(*this->store_, name, content, PutMode::kCreate).has_value() &&
                          GetSmall(*this->store_, name, 16U << 20).value_or(Bytes{}) == content &&
                          this->store_->Delete(name).has_value();
        failures += good ? 0 : 1;
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(failures, 0);
  EXPECT_THAT(this->Names(), testing::IsEmpty());
}

TYPED_TEST_P(StoreConformance, NowIsATimeInWholeSeconds) {
  const TimePoint now = this->store_->Now().value();
  EXPECT_EQ(now.time_since_epoch() % std::chrono::seconds(1), std::chrono::microseconds(0));
  EXPECT_LT(std::chrono::abs(now - SystemClock().Now()), std::chrono::minutes(15));
}

REGISTER_TYPED_TEST_SUITE_P(StoreConformance, GivesBackWhatWasPut, PutReadsTheBodyFromItsStart,
                            CreateNeverOverwrites, OneOfManyCreatorsWins,
                            ReplaceOverwritesAndCreates, ABodyThatFailsLeavesNoObject,
                            WhatIsMissingIsNotFound, DeleteRemoves, DeletesManyAtOnce,
                            DeliversRanges, AnErrorOfTheSinkEndsTheDownload, GetSmallHasALimit,
                            ListsInByteOrder, ListTellsSizeAndTime,
                            AnErrorOfTheVisitorEndsTheListing, ListsMoreThanAPage, ListsDirectories,
                            RefusesNamesThatAreNotNames, NothingIsDoneOnceCancelled,
                            ADownloadCanBeCancelledInTheMiddle, ManyThreadsUseOneStore,
                            NowIsATimeInWholeSeconds);

}  // namespace veza
