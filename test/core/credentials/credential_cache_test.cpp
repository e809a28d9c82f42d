// Tests when credentials are fetched again, and what happens when that fails.
#include "core/credentials/credential_cache.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <latch>
#include <thread>
#include <vector>

#include "core/config/temporary_directory.h"
#include "core/monitor/credentials_check.h"

namespace veza {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

// A clock that only the test moves.
class HandClock final : public Clock {
 public:
  TimePoint Now() const override { return TimePoint(1'800'000'000s) + passed_.load(); }
  SteadyTime Steady() const override { return SteadyTime(1000s) + passed_.load(); }
  bool Sleep(std::chrono::milliseconds duration, const Cancellation*) const override {
    passed_ = passed_.load() + duration;
    return true;
  }
  void Pass(std::chrono::milliseconds duration) { passed_ = passed_.load() + duration; }

 private:
  mutable std::atomic<std::chrono::microseconds> passed_{0us};
};

// What the test says; counts how often it was asked.
class TestSource final : public CredentialSource {
 public:
  using Answer = std::function<Result<S3Credentials>(int count)>;
  TestSource(std::atomic<int>& count, Answer answer, std::function<std::string()> stamp)
      : count_(count), answer_(std::move(answer)), stamp_(std::move(stamp)) {}
  Result<S3Credentials> FetchSince(SteadyTime, const Environment&) override {
    return answer_(++count_);
  }
  std::string Stamp() const override { return stamp_ ? stamp_() : ""; }

 private:
  std::atomic<int>& count_;
  Answer answer_;
  std::function<std::string()> stamp_;
};

S3Credentials Numbered(int number, std::optional<TimePoint> expires = {}) {
  return {
      {"AKIA" + std::to_string(number), SecretString("secret")}, SecretString("token"), expires};
}

Error Away() {
  return MakeError(ErrorCode::kCredentials, "the service is away").Retryable();
}

class CredentialCache : public testing::Test {
 protected:
  CredentialCache() { environment_.clock = &clock_; }

  void Use(TestSource::Answer answer, std::function<std::string()> stamp = {}) {
    provider_ = MakeCredentialCache(
        "a test", std::make_unique<TestSource>(count_, std::move(answer), std::move(stamp)));
  }
  // Gives numbered credentials that live for `life`.
  void UseLife(std::chrono::milliseconds life) {
    Use([this, life](int number) { return Numbered(number, clock_.Now() + life); });
  }
  std::string Key() {
    auto got = provider_->Get(environment_);
    return got ? (*got)->keys.access_key : got.error().message;
  }

  HandClock clock_;
  Environment environment_;
  std::atomic<int> count_ = 0;
  std::shared_ptr<CredentialProvider> provider_;
};

TEST_F(CredentialCache, RenewsAheadOfTheEnd) {
  UseLife(1h);
  EXPECT_EQ(Key(), "AKIA1");
  clock_.Pass(54min);
  EXPECT_EQ(Key(), "AKIA1");
  clock_.Pass(1min);
  EXPECT_EQ(Key(), "AKIA2") << "five minutes are left";
  EXPECT_EQ(Key(), "AKIA2");
}

TEST_F(CredentialCache, AShortLifeIsRenewedInItsLastQuarter) {
  UseLife(8s);
  EXPECT_EQ(Key(), "AKIA1");
  clock_.Pass(5900ms);
  EXPECT_EQ(Key(), "AKIA1");
  clock_.Pass(100ms);
  EXPECT_EQ(Key(), "AKIA2");
}

TEST_F(CredentialCache, AnEndThatIsAbsurdlyFarIsNotBelieved) {
  UseLife(24h * 365 * 100);
  EXPECT_EQ(Key(), "AKIA1");
  clock_.Pass(12h);
  EXPECT_EQ(Key(), "AKIA2");
}

TEST_F(CredentialCache, AnEndInThePastIsRefused) {
  UseLife(-10s);
  const auto got = provider_->Get(environment_);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code, ErrorCode::kCredentials);
  EXPECT_THAT(got.error().message, HasSubstr("10 s before they were received"));
  EXPECT_THAT(got.error().hint, HasSubstr("clock"));
}

TEST_F(CredentialCache, TheOldOnesDoUntilTheirEndWhenTheServiceFails) {
  Use([this](int number) {
    return number == 1 ? Result<S3Credentials>(Numbered(1, clock_.Now() + 60s)) : Away();
  });
  EXPECT_EQ(Key(), "AKIA1");
  clock_.Pass(46s);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(Key(), "AKIA1");
  }
  EXPECT_EQ(count_, 2) << "not tried again by each request";
  clock_.Pass(2s);
  EXPECT_EQ(Key(), "AKIA1");
  EXPECT_EQ(count_, 3);
  clock_.Pass(12s);
  const auto ended = provider_->Get(environment_);
  ASSERT_FALSE(ended);
  EXPECT_TRUE(ended.error().retryable) << "it was there before";
}

TEST_F(CredentialCache, ASourceThatNeverGaveAnythingIsNotWaitedFor) {
  Use([](int) { return Away(); });
  const auto got = provider_->Get(environment_);
  ASSERT_FALSE(got);
  EXPECT_FALSE(got.error().retryable);
  EXPECT_EQ(got.error().message, "the service is away");
}

TEST_F(CredentialCache, ABusySourceIsAskedAgainByTheFirstRequest) {
  Use([](int number) { return number < 3 ? Result<S3Credentials>(Away()) : Numbered(number); });
  EXPECT_EQ(Key(), "AKIA3");
}

TEST_F(CredentialCache, WhatIsWrongIsNotAskedAgain) {
  Use([](int) { return Result<S3Credentials>(MakeError(ErrorCode::kCredentials, "no role")); });
  EXPECT_EQ(Key(), "no role");
  EXPECT_EQ(count_, 1);
}

// Each try may take as long as the source may.
TEST_F(CredentialCache, ASourceThatHasJustFailedIsNotAskedByEachRequest) {
  std::string stamp = "1";
  Use(
      [](int number) -> Result<S3Credentials> {
        return number == 3 ? Result<S3Credentials>(Numbered(3))
                           : MakeError(ErrorCode::kCredentials, "no role");
      },
      [&] { return stamp; });
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(Key(), "no role");
  }
  EXPECT_EQ(count_, 1);
  clock_.Pass(2s);
  EXPECT_EQ(Key(), "no role");
  EXPECT_EQ(count_, 2);
  stamp = "2";
  EXPECT_EQ(Key(), "AKIA3") << "a file that has changed is looked at at once";
}

// An instance gives the same until it has others.
TEST_F(CredentialCache, AskingAndGettingTheSameDoesNotPutTheRenewalOff) {
  const TimePoint end = clock_.Now() + 1h;
  Use([end](int) { return Numbered(1, end); });
  EXPECT_EQ(Key(), "AKIA1");
  clock_.Pass(55min);
  for (int asked = 2; asked < 6; ++asked) {
    EXPECT_EQ(Key(), "AKIA1");
    EXPECT_EQ(Key(), "AKIA1");
    EXPECT_EQ(count_, asked);
    clock_.Pass(31s);
  }
}

TEST_F(CredentialCache, TheCheckWarnsOfARenewalThatHasFailed) {
  Use([this](int number) {
    return number == 1 ? Result<S3Credentials>(Numbered(1, clock_.Now() + 60s)) : Away();
  });
  Config config;
  config.s3.credentials = provider_;
  EXPECT_EQ(CheckCredentialsOf(config, environment_)->hint, "");
  clock_.Pass(50s);
  const CheckResult row = CheckCredentialsOf(config, environment_).value();
  EXPECT_TRUE(row.passed);
  EXPECT_THAT(row.detail, HasSubstr(fmt::format("but the renewal at {} failed: the service is away",
                                                FormatUtc(clock_.Now()))));
  EXPECT_NE(row.hint, "");
}

TEST_F(CredentialCache, RefusedOnesAreFetchedAgainOnce) {
  Use([](int number) { return Numbered(number); });
  const S3CredentialsPtr first = provider_->Get(environment_).value();
  const S3CredentialsPtr second = provider_->Replace(*first, environment_).value();
  EXPECT_EQ(second->keys.access_key, "AKIA2");
  // Another request was refused with the old ones meanwhile.
  EXPECT_EQ(provider_->Replace(*first, environment_).value()->keys.access_key, "AKIA2");
  EXPECT_EQ(count_, 2);
}

// Each fetch is a request to STS, and another one to S3.
TEST_F(CredentialCache, NewOnesThatAreRefusedAsWellAreNotFetchedByEachRequest) {
  std::string stamp = "1";
  Use([](int number) { return Numbered(number); }, [&] { return stamp; });
  S3CredentialsPtr latest = provider_->Get(environment_).value();
  const auto refuse = [&] {
    const S3CredentialsPtr others = provider_->Replace(*latest, environment_).value();
    latest = others ? others : latest;
  };
  for (int i = 0; i < 600; ++i) {
    refuse();
    clock_.Pass(100ms);
  }
  EXPECT_EQ(count_, 7) << "after 0, 1, 3, 7, 15 and 31 seconds";
  stamp = "2";
  refuse();
  EXPECT_EQ(count_, 8) << "a file that has changed is read at once";
  provider_->Accepted(*latest);
  refuse();
  EXPECT_EQ(count_, 9) << "these had been accepted";
}

TEST_F(CredentialCache, ThereMayBeNoOthers) {
  Use([](int) { return Numbered(1); });
  const S3CredentialsPtr first = provider_->Get(environment_).value();
  EXPECT_EQ(provider_->Replace(*first, environment_).value(), nullptr);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(Key(), "AKIA1");
    EXPECT_EQ(provider_->Replace(*first, environment_).value(), nullptr);
  }
  EXPECT_EQ(count_, 2);
  clock_.Pass(1s);
  EXPECT_EQ(Key(), "AKIA1") << "they are looked at again";
  EXPECT_EQ(count_, 3);
}

TEST_F(CredentialCache, RefusedOnesAreNotUsedWhenTheServiceFails) {
  Use([](int number) { return number == 1 ? Result<S3Credentials>(Numbered(1)) : Away(); });
  const S3CredentialsPtr first = provider_->Get(environment_).value();
  const auto replaced = provider_->Replace(*first, environment_);
  ASSERT_FALSE(replaced);
  EXPECT_EQ(replaced.error().message, "the service is away");
  EXPECT_TRUE(replaced.error().retryable);
}

// A node of the store that has not heard of the keys yet, for example.
TEST_F(CredentialCache, ARefusalThatIsDisprovedIsForgotten) {
  Use([](int count) { return count <= 2 ? Result<S3Credentials>(Numbered(1)) : Away(); });
  ASSERT_EQ(Key(), "AKIA1");
  EXPECT_EQ(provider_->Replace(Numbered(1), environment_).value(), nullptr);
  provider_->Accepted(Numbered(7));
  clock_.Pass(1min);
  EXPECT_EQ(Key(), "the service is away") << "others than these were accepted";
  provider_->Accepted(Numbered(1));
  clock_.Pass(1min);
  EXPECT_EQ(Key(), "AKIA1");
  EXPECT_EQ(count_, 3);
}

TEST_F(CredentialCache, AFileIsReadAgainWhenItHasChanged) {
  std::string stamp = "1";
  Use([](int number) { return Numbered(number); }, [&] { return stamp; });
  EXPECT_EQ(Key(), "AKIA1");
  EXPECT_EQ(Key(), "AKIA1");
  stamp = "2";
  EXPECT_EQ(Key(), "AKIA2");
  EXPECT_EQ(Key(), "AKIA2");
}

TEST_F(CredentialCache, OneThreadRenewsAndTheOthersGoOn) {
  std::latch begun(1);
  std::latch end(1);
  Use([&](int number) {
    if (number == 2) {
      begun.count_down();
      end.wait();
    }
    return Numbered(number, clock_.Now() + 60s);
  });
  EXPECT_EQ(Key(), "AKIA1");
  clock_.Pass(50s);
  std::string renewed;
  std::thread renewing([&] { renewed = Key(); });
  begun.wait();
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(Key(), "AKIA1");
  }
  end.count_down();
  renewing.join();
  EXPECT_EQ(renewed, "AKIA2");
  EXPECT_EQ(count_, 2);
}

TEST_F(CredentialCache, ThreadsWithoutCredentialsWaitForOneRequest) {
  std::latch end(1);
  Use([&](int) -> Result<S3Credentials> {
    end.wait();
    return Away();
  });
  std::vector<std::thread> threads;
  std::atomic<int> failed = 0;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] { failed += Key() == "the service is away" ? 1 : 0; });
  }
  std::this_thread::sleep_for(100ms);  // so that they wait; a thread that comes later asks again
  end.count_down();
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(failed, 8);
  EXPECT_LT(count_, 8);
}

TEST_F(CredentialCache, AWaitingRequestCanBeCancelled) {
  std::latch begun(1);
  std::latch end(1);
  Use([&](int number) {
    begun.count_down();
    end.wait();
    return Numbered(number);
  });
  std::thread fetching([&] { EXPECT_EQ(Key(), "AKIA1"); });
  begun.wait();
  Environment other = environment_;
  other.cancellation = std::make_shared<Cancellation>();
  other.cancellation->Cancel();
  EXPECT_EQ(provider_->Get(other).error().code, ErrorCode::kCancelled);
  end.count_down();
  fetching.join();
}

TEST(StampOfFile, ChangesWithTheFile) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/token";
  EXPECT_EQ(StampOfFile(path), "-");
  directory.Write("token", "one");
  const std::string first = StampOfFile(path);
  EXPECT_EQ(StampOfFile(path), first);
  directory.Write("new", "two");
  std::filesystem::rename(directory.path() + "/new", path);
  EXPECT_NE(StampOfFile(path), first);
}

}  // namespace
}  // namespace veza
