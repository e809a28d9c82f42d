#include "core/storage/retrying_store.h"

#include <deque>
#include <optional>

#include "core/storage/forwarding_store.h"
#include "core/storage/local_store.h"
#include "core/storage/store_conformance.h"
#include "core/storage/temporary_directory.h"

namespace veza {
namespace {

using std::chrono::milliseconds;
using testing::ElementsAre;

Error Trouble() {
  return Error{ErrorCode::kUnavailable, "trouble", "", true};
}

struct Fault {
  Error error = Trouble();
  bool after = false;    // the call is carried out, then its response is lost
  std::size_t take = 0;  // Get: bytes delivered before the error; List: objects visited
  bool deliver = false;  // whether `take` counts
};

// A store whose next calls fail as listed in `faults`.
class FaultyStore final : public Store {
 public:
  FaultyStore(std::unique_ptr<Store> inner, std::deque<Fault>& faults, int& calls)
      : inner_(std::move(inner)), faults_(faults), calls_(calls) {}

  const std::string& location() const override { return inner_->location(); }
  Status Put(std::string_view name, Body& body, PutMode mode) override {
    return Disturbed([&] { return inner_->Put(name, body, mode); });
  }
  Status Get(std::string_view name, ByteRange range, const Sink& sink) override {
    const std::optional<Fault> fault = Next();
    if (!fault) {
      return inner_->Get(name, range, sink);
    }
    if (fault->deliver) {
      range.length = std::min<std::uint64_t>(range.length, fault->take);
      RETURN_IF_ERROR(inner_->Get(name, range, sink));
    }
    return fault->error;
  }
  Result<ObjectInfo> Head(std::string_view name) override {
    return Disturbed([&] { return inner_->Head(name); });
  }
  Status Delete(std::string_view name) override {
    return Disturbed([&] { return inner_->Delete(name); });
  }
  std::size_t NamesPerDelete() const override { return 7; }
  Status List(std::string_view prefix, std::string_view start_after,
              const ObjectVisitor& each) override {
    const std::optional<Fault> fault = Next();
    std::size_t visited = 0;
    return inner_->List(prefix, start_after, [&](const ObjectInfo& info) -> Status {
      if (fault && visited++ == fault->take) {
        return fault->error;
      }
      return each(info);
    });
  }
  Result<std::vector<std::string>> ListDirectories(std::string_view prefix) override {
    return Disturbed([&] { return inner_->ListDirectories(prefix); });
  }
  Result<TimePoint> Now() override {
    return Disturbed([&] { return inner_->Now(); });
  }

 private:
  std::optional<Fault> Next() {
    ++calls_;
    if (faults_.empty()) {
      return std::nullopt;
    }
    Fault fault = std::move(faults_.front());
    faults_.pop_front();
    return fault;
  }

  template <typename Call>
  auto Disturbed(const Call& call) -> decltype(call()) {
    const std::optional<Fault> fault = Next();
    if (!fault) {
      return call();
    }
    if (fault->after) {
      EXPECT_TRUE(call());
    }
    return fault->error;
  }

  std::unique_ptr<Store> inner_;
  std::deque<Fault>& faults_;
  int& calls_;
};

// Sleep() takes no real time, but moves the clock.
class TestClock final : public Clock {
 public:
  TimePoint Now() const override { return SystemClock().Now(); }
  SteadyTime Steady() const override { return now_; }
  bool Sleep(milliseconds duration, const Cancellation* cancellation) const override {
    pauses_.push_back(duration);
    now_ += duration;
    if (when_asleep_) {
      when_asleep_();
    }
    return cancellation == nullptr || !cancellation->cancelled();
  }

  const std::vector<milliseconds>& pauses() const { return pauses_; }
  void Pass(milliseconds duration) { now_ += duration; }
  void WhenAsleep(std::function<void()> action) { when_asleep_ = std::move(action); }

 private:
  mutable SteadyTime now_{};
  mutable std::vector<milliseconds> pauses_;
  std::function<void()> when_asleep_;
};

class RetryingStoreTest : public testing::Test {
 protected:
  RetryingStoreTest() {
    environment_.clock = &clock_;
    Make({});
  }

  void Make(RetryPolicy policy) {
    auto inner = std::make_unique<FaultyStore>(
        MakeLocalStore(directory_.path() + "/root", environment_, environment_.clock).value(),
        faults_, calls_);
    store_ = MakeRetryingStore(
        std::move(inner), environment_, policy,
        [this](std::string_view operation, std::string_view name, const Error& error) {
          observed_.push_back(fmt::format("{} {}: {}", operation, name, error.message));
        });
  }

  void Order(std::size_t count, Fault fault = {}) { faults_.insert(faults_.end(), count, fault); }

  Status Create(std::string_view name, std::string_view content) {
    return PutSmall(*store_, name, AsBytes(content), PutMode::kCreate);
  }
  std::string Read(std::string_view name, ByteRange range = {}) {
    std::string content;
    const Status got = store_->Get(name, range, [&](ByteView piece) {
      content += AsText(piece);
      return Ok();
    });
    EXPECT_TRUE(got) << got.error().message;
    return content;
  }

  TemporaryDirectory directory_;
  TestClock clock_;
  Environment environment_;
  std::deque<Fault> faults_;
  int calls_ = 0;
  std::vector<std::string> observed_;
  std::unique_ptr<Store> store_;
};

TEST_F(RetryingStoreTest, SuccessNeedsNoPause) {
  EXPECT_TRUE(Create("a", "x"));
  EXPECT_EQ(Read("a"), "x");
  EXPECT_EQ(calls_, 2);
  EXPECT_TRUE(clock_.pauses().empty());
  EXPECT_TRUE(observed_.empty());
}

TEST_F(RetryingStoreTest, TriesEveryOperationAgain) {
  Order(2);
  EXPECT_TRUE(Create("d/a", "x"));
  Order(2);
  EXPECT_EQ(store_->Head("d/a").value().size, 1U);
  Order(2);
  EXPECT_THAT(store_->ListDirectories("").value(), ElementsAre("d"));
  Order(2);
  EXPECT_TRUE(store_->Now());
  Order(2);
  EXPECT_TRUE(store_->Delete("d/a"));
  EXPECT_EQ(calls_, 15);
  EXPECT_TRUE(Create("d/b", "x"));
  EXPECT_TRUE(Create("d/c", "x"));
  Order(2);
  const std::vector<std::string> names = {"d/b", "d/c"};
  EXPECT_TRUE(store_->DeleteAll(names));
  EXPECT_TRUE(store_->DeleteAll({}));
  EXPECT_EQ(store_->NamesPerDelete(), 7U);
  EXPECT_EQ(calls_, 21);
  EXPECT_THAT(store_->ListDirectories("").value(), testing::IsEmpty());
  EXPECT_THAT(observed_,
              ElementsAre("PUT d/a: trouble", "PUT d/a: trouble", "HEAD d/a: trouble",
                          "HEAD d/a: trouble", "LIST : trouble", "LIST : trouble", "TIME : trouble",
                          "TIME : trouble", "DELETE d/a: trouble", "DELETE d/a: trouble",
                          "DELETE d/b: trouble", "DELETE d/b: trouble"));
}

TEST_F(RetryingStoreTest, PausesGrowWithFullJitterUpToALimit) {
  RetryPolicy policy;
  policy.budget = std::chrono::hours(100);
  policy.max_attempts = 11;
  Make(policy);
  std::vector<milliseconds> longest(10);
  for (int round = 0; round < 60; ++round) {
    Order(10);
    EXPECT_TRUE(store_->Now());
    for (std::size_t i = 0; i < longest.size(); ++i) {
      longest[i] =
          std::max(longest[i], clock_.pauses().at(static_cast<std::size_t>(round) * 10 + i));
    }
  }
  milliseconds limit = policy.first_pause;
  for (const milliseconds pause : longest) {
    EXPECT_LT(pause, limit);
    EXPECT_GT(pause, limit / 2);  // fails with probability 2^-60
    limit = std::min(2 * limit, policy.longest_pause);
  }
}

TEST_F(RetryingStoreTest, PausesAsLongAsTheServerAsks) {
  Fault slow_down;
  slow_down.error.retry_after = milliseconds(7'000);
  Order(1, slow_down);
  EXPECT_TRUE(store_->Now());
  EXPECT_THAT(clock_.pauses(), ElementsAre(milliseconds(7'000)));

  // No header silences a call for hours.
  RetryPolicy policy;
  policy.budget = std::chrono::hours(6);
  Make(policy);
  slow_down.error.retry_after = std::chrono::hours(24);
  Order(1, slow_down);
  EXPECT_TRUE(store_->Now());
  EXPECT_EQ(clock_.pauses().back(), milliseconds(kLongestRetryAfter));
}

// The server asks for more than the budget. It is asked once more when the budget ends.
TEST_F(RetryingStoreTest, ClipsALongRetryAfter) {
  Fault slow_down;
  slow_down.error.retry_after = milliseconds(61'000);
  Order(1, slow_down);
  SteadyTime begin = clock_.Steady();
  EXPECT_TRUE(store_->Now());
  EXPECT_EQ(clock_.Steady() - begin, RetryPolicy{}.budget - milliseconds(1));

  Order(100, slow_down);
  calls_ = 0;
  begin = clock_.Steady();
  EXPECT_EQ(store_->Now().error().retry_after, milliseconds(61'000));
  EXPECT_EQ(calls_, 2);
  EXPECT_LT(clock_.Steady() - begin, RetryPolicy{}.budget);
}

TEST_F(RetryingStoreTest, ALongerBudgetIsUsedUp) {
  const RetryPolicy usual{.budget = milliseconds(10'000), .max_attempts = 6};
  EXPECT_EQ(usual.WithBudget(milliseconds(10'000)).max_attempts, 6);
  EXPECT_EQ(usual.WithBudget(milliseconds(2'000)).max_attempts, 6);
  EXPECT_EQ(usual.WithBudget(milliseconds(2'000)).budget, milliseconds(2'000));
  Make(usual.WithBudget(std::chrono::hours(1)));
  Order(1'000'000);
  const SteadyTime begin = clock_.Steady();
  EXPECT_FALSE(store_->Now());
  EXPECT_GT(clock_.Steady() - begin, std::chrono::minutes(59));
  EXPECT_LT(clock_.Steady() - begin, std::chrono::hours(1));
}

TEST_F(RetryingStoreTest, FinalErrorsAreFinal) {
  EXPECT_EQ(store_->Head("a").error().code, ErrorCode::kNotFound);
  Order(1, {.error = Error{ErrorCode::kPermissionDenied, "no"}});
  EXPECT_EQ(Create("a", "x").error().code, ErrorCode::kPermissionDenied);
  EXPECT_EQ(calls_, 2);
  EXPECT_TRUE(clock_.pauses().empty());
  EXPECT_TRUE(observed_.empty());
}

TEST_F(RetryingStoreTest, GivesUpAfterSoManyAttempts) {
  RetryPolicy policy;
  policy.max_attempts = 3;
  Make(policy);
  Order(100);
  const auto now = store_->Now();
  ASSERT_FALSE(now);
  EXPECT_EQ(now.error().message, "trouble");
  EXPECT_TRUE(now.error().retryable);
  EXPECT_EQ(calls_, 3);
  EXPECT_EQ(observed_.size(), 2U);
}

TEST_F(RetryingStoreTest, StartsNothingAfterItsBudget) {
  RetryPolicy policy;
  policy.max_attempts = 1'000'000;
  policy.budget = milliseconds(20'000);
  Make(policy);
  Order(1'000'000);
  const SteadyTime begin = clock_.Steady();
  EXPECT_FALSE(store_->Now());
  EXPECT_LT(clock_.Steady() - begin, policy.budget);
  EXPECT_GT(calls_, 4);
}

// A caller that has more to lose may wait longer. The patience may change at any time.
TEST_F(RetryingStoreTest, PatienceMayChange) {
  std::atomic<milliseconds> patience{milliseconds(2'000)};
  RetryPolicy policy;
  policy.max_attempts = 1'000'000;
  policy.budget = milliseconds(0);
  policy.patience = &patience;
  Make(policy);
  Order(1'000'000);
  SteadyTime begin = clock_.Steady();
  EXPECT_FALSE(store_->Now());
  EXPECT_LT(clock_.Steady() - begin, milliseconds(2'000));
  patience = std::chrono::hours(6);
  begin = clock_.Steady();
  EXPECT_FALSE(store_->Now());
  EXPECT_GT(clock_.Steady() - begin, std::chrono::hours(5));
}

TEST_F(RetryingStoreTest, StopsWhenCancelled) {
  Order(100);
  clock_.WhenAsleep([this] { environment_.cancellation->Cancel(); });
  EXPECT_EQ(store_->Now().error().code, ErrorCode::kCancelled);
  EXPECT_EQ(calls_, 1);
}

// The object was written, but the response was lost.
TEST_F(RetryingStoreTest, RecognizesItsOwnWriteAfterALostResponse) {
  Order(1, {.after = true});
  EXPECT_TRUE(Create("a", "content"));
  EXPECT_EQ(Read("a"), "content");

  // Reading it back also fails once, and takes more than one piece.
  const Bytes large = Pattern(3'000'000);
  Order(1, {.after = true});
  faults_.push_back({.error = Error{ErrorCode::kAlreadyExists, "b exists"}});
  Order(1, {.take = 1'000'000, .deliver = true});
  EXPECT_TRUE(PutSmall(*store_, "b", large, PutMode::kCreate));
}

TEST_F(RetryingStoreTest, DoesNotTakeAnothersObjectForItsOwn) {
  for (const char* theirs : {"theirs", "our", "ours!", ""}) {
    ASSERT_TRUE(Create("a", theirs));
    Order(1);
    EXPECT_EQ(Create("a", "ours").error().code, ErrorCode::kAlreadyExists) << theirs;
    EXPECT_EQ(Read("a"), theirs);
    ASSERT_TRUE(store_->Delete("a"));
  }
  Bytes large = Pattern(3'000'000);
  ASSERT_TRUE(PutSmall(*store_, "b", large, PutMode::kCreate));
  large.back() ^= 1;
  Order(1);
  EXPECT_EQ(PutSmall(*store_, "b", large, PutMode::kCreate).error().code,
            ErrorCode::kAlreadyExists);
}

TEST_F(RetryingStoreTest, TheSameBytesAreNoSuccessWithoutALostResponse) {
  ASSERT_TRUE(Create("a", "content"));
  calls_ = 0;
  EXPECT_EQ(Create("a", "content").error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(calls_, 1);
}

TEST_F(RetryingStoreTest, GetResumesAfterTheDeliveredBytes) {
  ASSERT_TRUE(Create("a", "0123456789"));
  const auto lost_after = [](std::size_t bytes) { return Fault{.take = bytes, .deliver = true}; };
  faults_ = {lost_after(3), Fault{}, lost_after(4)};
  EXPECT_EQ(Read("a"), "0123456789");
  faults_ = {lost_after(3), Fault{}, lost_after(2)};
  EXPECT_EQ(Read("a", {2, 7}), "2345678");
  faults_ = {lost_after(3)};
  EXPECT_EQ(Read("a", {5, 100}), "56789");
  EXPECT_TRUE(faults_.empty());
}

TEST_F(RetryingStoreTest, GetMayLoseTheConnectionAfterTheLastByte) {
  ASSERT_TRUE(Create("a", "0123456789"));
  for (const ByteRange range : {ByteRange{}, ByteRange{5}, ByteRange{5, 100}, ByteRange{5, 5}}) {
    faults_ = {{.take = 10 - range.offset, .deliver = true}};
    EXPECT_EQ(Read("a", range), std::string("0123456789").substr(range.offset));
  }
  // The object became shorter. Our objects never do, so this is an error.
  faults_ = {{.take = 8, .deliver = true}};
  bool shortened = false;
  clock_.WhenAsleep([&] {
    shortened = true;
    std::filesystem::resize_file(directory_.path() + "/root/a", 5);
  });
  EXPECT_EQ(store_->Get("a", {}, [](ByteView) { return Ok(); }).error().code,
            ErrorCode::kInvalidArgument);
  EXPECT_TRUE(shortened);
}

TEST_F(RetryingStoreTest, TheSinksErrorsAreNotTriedAgain) {
  ASSERT_TRUE(Create("a", "x"));
  calls_ = 0;
  const Status got = store_->Get("a", {}, [](ByteView) -> Status { return Trouble(); });
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().message, "trouble");
  EXPECT_EQ(calls_, 1);
}

TEST_F(RetryingStoreTest, ListResumesAfterTheLastName) {
  for (const char* name : {"d/1", "d/2", "d/3", "d/4", "e"}) {
    ASSERT_TRUE(Create(name, "x"));
  }
  faults_ = {{.take = 2}, {.take = 0}, {.take = 1}};
  std::vector<std::string> names;
  ASSERT_TRUE(store_->List("d/", "d/1", [&](const ObjectInfo& info) {
    names.push_back(info.name);
    return Ok();
  }));
  EXPECT_THAT(names, ElementsAre("d/2", "d/3", "d/4"));
  EXPECT_EQ(observed_.size(), 2U);
}

// The sink uses the time, and each attempt delivers something.
TEST_F(RetryingStoreTest, ASlowSinkDoesNotUseUpTheBudget) {
  RetryPolicy policy;
  policy.max_attempts = 2;
  Make(policy);
  ASSERT_TRUE(Create("d/a", "0123456789"));
  faults_ = {
      {.take = 3, .deliver = true}, {.take = 3, .deliver = true}, {.take = 1, .deliver = true}};
  std::string content;
  ASSERT_TRUE(store_->Get("d/a", {}, [&](ByteView piece) {
    clock_.Pass(2 * policy.budget);
    content += AsText(piece);
    return Ok();
  }));
  EXPECT_EQ(content, "0123456789");

  for (const char* name : {"d/b", "d/c"}) {
    ASSERT_TRUE(Create(name, "x"));
  }
  faults_ = {{.take = 1}, {.take = 1}};
  std::vector<std::string> names;
  ASSERT_TRUE(store_->List("d/", "", [&](const ObjectInfo& info) {
    clock_.Pass(2 * policy.budget);
    names.push_back(info.name);
    return Ok();
  }));
  EXPECT_THAT(names, ElementsAre("d/a", "d/b", "d/c"));

  // A call that no longer delivers anything is given up, as usual.
  faults_ = {{.take = 3, .deliver = true}, Fault{}, Fault{}, Fault{}};
  EXPECT_FALSE(store_->Get("d/a", {}, [](ByteView) { return Ok(); }));
  EXPECT_EQ(faults_.size(), 2U);
}

TEST_F(RetryingStoreTest, TheVisitorsErrorsAreNotTriedAgain) {
  ASSERT_TRUE(Create("a", "x"));
  calls_ = 0;
  EXPECT_FALSE(store_->List("", "", [](const ObjectInfo&) -> Status { return Trouble(); }));
  EXPECT_EQ(calls_, 1);
}

// The contract of stores also holds on a bad line. Uploads get no faults: after a lost response, a
// Put may rightly succeed when the name holds the same bytes.
class BadLine final : public ForwardingStore {
 public:
  using ForwardingStore::ForwardingStore;

  Status Get(std::string_view name, ByteRange range, const Sink& sink) override {
    const bool bad = Bad();
    RETURN_IF_ERROR(inner().Get(name, range, [&](ByteView piece) -> Status {
      if (!bad) {
        return sink(piece);
      }
      RETURN_IF_ERROR(sink(piece.first(piece.size() / 2)));
      return Trouble();
    }));
    return bad ? Status(Trouble()) : Ok();
  }
  Result<ObjectInfo> Head(std::string_view name) override {
    return Bad() ? Result<ObjectInfo>(Trouble()) : inner().Head(name);
  }
  Status Delete(std::string_view name) override {
    const bool bad = Bad();
    RETURN_IF_ERROR(inner().Delete(name));
    return bad ? Status(Trouble()) : Ok();
  }
  Status List(std::string_view prefix, std::string_view start_after,
              const ObjectVisitor& each) override {
    return inner().List(prefix, start_after, [&](const ObjectInfo& info) -> Status {
      if (Bad()) {
        return Trouble();
      }
      return each(info);
    });
  }
  Result<std::vector<std::string>> ListDirectories(std::string_view prefix) override {
    return Bad() ? Result<std::vector<std::string>>(Trouble()) : inner().ListDirectories(prefix);
  }
  Result<TimePoint> Now() override { return Bad() ? Result<TimePoint>(Trouble()) : inner().Now(); }

 private:
  bool Bad() { return ++count_ % 3 == 0; }

  std::atomic<int> count_ = 0;
};

class BadLineBackend {
 public:
  static constexpr int kPageSize = 50;
  std::string Unavailable() { return {}; }
  std::unique_ptr<Store> Make(const Environment& environment) {
    auto inner = std::make_unique<BadLine>(
        MakeLocalStore(directory_.path(), environment, environment.clock).value());
    RetryPolicy policy;
    policy.first_pause = milliseconds(1);
    policy.longest_pause = milliseconds(1);
    policy.max_attempts = 1'000;
    return MakeRetryingStore(std::move(inner), environment, policy);
  }

 private:
  TemporaryDirectory directory_;
};

INSTANTIATE_TYPED_TEST_SUITE_P(RetryingOnABadLine, StoreConformance, BadLineBackend);

}  // namespace
}  // namespace veza
