#include "core/repository/format_mark.h"

#include <gtest/gtest.h>

#include "core/repository/test_repository.h"

namespace veza {
namespace {

const std::string kMark(kFormatMarkName);

std::unique_ptr<Repository> Reopen(const TestRepository& repository) {
  RepositoryOptions options = repository.options();
  options.for_writing = true;
  return Repository::Open(repository.MakeStore(), options, repository.environment()).value();
}

class FormatMarkWith : public testing::TestWithParam<Cipher> {
 protected:
  FormatMark Read() const {
    return ReadFormatMark(repository_.store(), repository_->seal_policy()).value();
  }
  TestRepository repository_{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Ciphers, FormatMarkWith,
                         testing::Values(Cipher::kAes256Gcm, Cipher::kAes256Cbc), CipherTestName);

TEST_P(FormatMarkWith, ANewRepositoryIsOfVersion2) {
  EXPECT_TRUE(repository_.Exists(kMark));
  EXPECT_EQ(Read().state, FormatMark::State::kPresent);
  EXPECT_EQ(Reopen(repository_)->digest_method(), DigestMethod::kGmac);
}

// Who does not write need not look, and makes no request for it.
TEST_P(FormatMarkWith, ReadersDoNotLook) {
  EXPECT_EQ(repository_->digest_method(), DigestMethod::kSha256);
}

TEST_P(FormatMarkWith, WithoutTheMarkWritersUseVersion1UntilTheUpgrade) {
  std::filesystem::remove(repository_.PathOf(kMark));
  EXPECT_EQ(Read().state, FormatMark::State::kAbsent);
  EXPECT_EQ(Reopen(repository_)->digest_method(), DigestMethod::kSha256);

  EXPECT_EQ(UpgradeFormat(*repository_).value(), true);
  EXPECT_EQ(UpgradeFormat(*repository_).value(), false);
  EXPECT_EQ(Read().state, FormatMark::State::kPresent);
  EXPECT_EQ(Reopen(repository_)->digest_method(), DigestMethod::kGmac);
}

TEST_P(FormatMarkWith, WhatIsDamagedOrForgedCountsAsAbsentAndStays) {
  const std::string intact = ReadText(repository_.PathOf(kMark));
  std::string other_version = intact;
  other_version.replace(other_version.find("\"version\": 2"), 12, "\"version\": 3");
  const std::string forged =
      SignDocument({{"format", 1}, {"version", 2}}, TestPolicy(GetParam(), "stranger"), kMark)
          .value();
  const std::string unsigned_one =
      SignDocument({{"format", 1}, {"version", 2}}, TestPolicy(Cipher::kNone), kMark).value();
  const std::string wrong_version =
      SignDocument({{"format", 1}, {"version", 3}}, repository_->seal_policy(), kMark).value();
  const std::string too_long(1U << 20, ' ');
  for (const std::string& text :
       {std::string(), other_version, forged, unsigned_one, wrong_version, too_long}) {
    WriteText(repository_.PathOf(kMark), text);
    const FormatMark mark = Read();
    EXPECT_EQ(mark.state, FormatMark::State::kUnreadable);
    EXPECT_NE(mark.problem.find(kMark), std::string::npos) << mark.problem;
    EXPECT_EQ(Reopen(repository_)->digest_method(), DigestMethod::kSha256);
    const Result<bool> upgraded = UpgradeFormat(*repository_);
    EXPECT_ERROR(upgraded, ErrorCode::kDataCorrupted);
    EXPECT_NE(upgraded.error().hint.find("Delete the object"), std::string::npos);
    EXPECT_EQ(ReadText(repository_.PathOf(kMark)), text);
  }
}

// The store may be down for a moment. That must not decide on what is written.
TEST_P(FormatMarkWith, AnErrorOfTheStoreIsAnError) {
  repository_.store().SetHook([](FaultStore::Operation, std::string_view name) -> Status {
    return name == kMark ? Status(MakeError(ErrorCode::kUnavailable, "down")) : Ok();
  });
  EXPECT_ERROR(ReadFormatMark(repository_.store(), repository_->seal_policy()),
               ErrorCode::kUnavailable);
}

TEST_P(FormatMarkWith, WhatCannotBeMarkedWhenItIsMadeIsThereAllTheSame) {
  std::filesystem::remove_all(repository_.PathOf(""));
  const std::shared_ptr<FaultStore> store = repository_.MakeStore();
  store->SetHook([](FaultStore::Operation, std::string_view name) -> Status {
    return name == kMark ? Status(MakeError(ErrorCode::kUnavailable, "down")) : Ok();
  });
  const auto made = Repository::Initialise(store, repository_.options(), repository_.environment(),
                                           TestIdentity(), false);
  EXPECT_ERROR(made, ErrorCode::kUnavailable);
  EXPECT_NE(made.error().hint.find("repository upgrade"), std::string::npos);

  const std::unique_ptr<Repository> repository = Reopen(repository_);
  EXPECT_EQ(repository->digest_method(), DigestMethod::kSha256);
  EXPECT_EQ(UpgradeFormat(*repository).value(), true);
}

// "Only if absent" also succeeds when somebody else's object is there.
TEST_P(FormatMarkWith, TheUpgradeReadsWhatItHasWritten) {
  std::filesystem::remove(repository_.PathOf(kMark));
  repository_.store().SetHook(
      [this](FaultStore::Operation operation, std::string_view name) -> Status {
        if (name == kMark && operation == FaultStore::Operation::kPut) {
          WriteText(repository_.PathOf(kMark), "{}");
        }
        return Ok();
      });
  EXPECT_ERROR(UpgradeFormat(*repository_), ErrorCode::kDataCorrupted);
}

// What is left when a process ends between the identity and the mark, and what remains of a
// repository whose identity was deleted.
TEST_P(FormatMarkWith, IsNoProofThatARepositoryIsNewAndIsNotMadeForAnOldOne) {
  std::filesystem::remove(repository_.PathOf(kMark));
  ASSERT_OK(Repository::Initialise(repository_.MakeStore(), repository_.options(),
                                   repository_.environment(), TestIdentity(), false));
  EXPECT_FALSE(repository_.Exists(kMark));

  ASSERT_OK(UpgradeFormat(*repository_));
  std::filesystem::remove_all(repository_.PathOf("identity"));
  EXPECT_ERROR(Repository::Initialise(repository_.MakeStore(), repository_.options(),
                                      repository_.environment(), TestIdentity(), false),
               ErrorCode::kDataCorrupted);
}

TEST(FormatMark, IsNotNeededWithoutAKey) {
  const TestRepository repository(Cipher::kNone);
  EXPECT_FALSE(repository.Exists(kMark));
  EXPECT_EQ(ReadFormatMark(repository.store(), repository->seal_policy()).value().state,
            FormatMark::State::kNotNeeded);
  EXPECT_ERROR(UpgradeFormat(*repository), ErrorCode::kFailedPrecondition);
  EXPECT_FALSE(repository.Exists(kMark));
  // Anybody can write one.
  WriteText(
      repository.PathOf(kMark),
      SignDocument({{"format", 1}, {"version", 2}}, repository->seal_policy(), kMark).value());
  EXPECT_EQ(Reopen(repository)->digest_method(), DigestMethod::kSha256);
}

}  // namespace
}  // namespace veza
