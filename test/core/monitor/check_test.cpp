#include "core/monitor/check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/repository/key_wraps.h"
#include "core/repository/names.h"
#include "core/repository/test_backup.h"
#include "core/repository/test_repository.h"
#include "core/storage/overwriting_store.h"

namespace veza {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

using Operation = FaultStore::Operation;

// A store whose clock is wrong, and that lacks conditional writes.
class SkewedStore final : public OverwritingStore {
 public:
  using OverwritingStore::OverwritingStore;
  Result<TimePoint> Now() override {
    ASSIGN_OR_RETURN(const TimePoint now, OverwritingStore::Now());
    return now + skew;
  }

  std::chrono::seconds skew{0};
};

class CheckTest : public testing::Test {
 protected:
  CheckTest() {
    PutWithoutPacks(*repository_, TestSummary(*repository_, kTestLabel));
    repository_.PushSegment(1, 3);
    repository_.PushSegment(1, 4);
  }
  std::vector<CheckResult> Check(const std::shared_ptr<Store>& store) {
    return CheckRepository(store, repository_.options(), repository_.environment());
  }
  std::vector<CheckResult> CheckWith(FaultStore::Hook hook) {
    const auto store = repository_.MakeStore();
    store->SetHook(std::move(hook));
    return Check(store);
  }
  // The row of this name. Also checks that no other row has failed.
  static CheckResult OnlyFailure(const std::vector<CheckResult>& results, const char* name) {
    CheckResult found{"absent", true, "", ""};
    for (const CheckResult& result : results) {
      if (result.name == name) {
        found = result;
      } else {
        EXPECT_TRUE(result.passed) << result.name << ": " << result.detail;
      }
    }
    EXPECT_FALSE(found.passed) << name;
    return found;
  }
  bool ProbesAreGone() const {
    return !std::filesystem::exists(repository_.PathOf("probe")) ||
           ListTree(repository_.PathOf("probe")).empty();
  }

  TestRepository repository_;
};

TEST_F(CheckTest, AGoodRepositoryPasses) {
  const auto results = Check(repository_.MakeStore());
  EXPECT_THAT(
      results,
      ElementsAre(Field(&CheckResult::name, "store"), Field(&CheckResult::name, "write"),
                  Field(&CheckResult::name, "read"),
                  Field(&CheckResult::name, "conditional_writes"),
                  Field(&CheckResult::name, "delete"), Field(&CheckResult::name, "clock"),
                  Field(&CheckResult::name, "identity"), Field(&CheckResult::name, "backups")));
  for (const CheckResult& result : results) {
    EXPECT_TRUE(result.passed) << result.name << ": " << result.detail;
    EXPECT_THAT(result.hint, IsEmpty());
    EXPECT_THAT(result.detail, Not(IsEmpty()));
  }
  EXPECT_THAT(results[results.size() - 2].detail, HasSubstr(std::to_string(kTestSystem)));
  EXPECT_THAT(results.back().detail, HasSubstr(kTestLabel));
  EXPECT_TRUE(ProbesAreGone());
}

TEST_F(CheckTest, ARepositoryWithoutBackupIsReported) {
  const auto of_another = CheckRepository(repository_.MakeStore(), repository_.options(),
                                          repository_.environment(), kTestSystem + 1);
  EXPECT_THAT(OnlyFailure(of_another, "backups").detail, HasSubstr("no backup here yet"));
  std::filesystem::remove(repository_.PathOf(BackupDocumentName(kTestLabel)));
  const CheckResult failure = OnlyFailure(Check(repository_.MakeStore()), "backups");
  EXPECT_THAT(failure.detail, HasSubstr("no backup here yet"));
  EXPECT_THAT(failure.hint, HasSubstr("veza_backup_now('full')"));
}

TEST_F(CheckTest, BackupsThatCannotBeRestoredAreReported) {
  const std::string newer = "20261123-020000F";
  BackupSummary summary = TestSummary(*repository_, newer);
  summary.packs = 1;
  PutWithoutPacks(*repository_, summary);
  const CheckResult one = OnlyFailure(Check(repository_.MakeStore()), "backups");
  EXPECT_EQ(
      one.detail,
      fmt::format("1 backups, the last of them \"{}\"; 1 that cannot be restored, for example "
                  "\"{}\": object \"{}\" is missing",
                  kTestLabel, newer, PackName(newer, 1)));
  EXPECT_THAT(one.hint, HasSubstr("vezactl verify"));

  std::filesystem::remove(
      repository_.PathOf(WalObjectName(kTestSystem, SegmentName(1, 4, kTestSegmentSize)).value()));
  const CheckResult both = OnlyFailure(Check(repository_.MakeStore()), "backups");
  EXPECT_THAT(both.detail, HasSubstr("no backup can be restored; 2 that cannot"));

  // A repository whose only backup is unreadable has one all the same.
  std::filesystem::remove_all(repository_.PathOf(BackupDirectory(newer)));
  WriteText(repository_.PathOf(BackupDocumentName(kTestLabel)), "{}");
  const CheckResult broken = OnlyFailure(Check(repository_.MakeStore()), "backups");
  EXPECT_THAT(broken.detail, HasSubstr("no backup can be restored; 1 that cannot"));
}

// A repository may have very many packs.
TEST_F(CheckTest, PacksAreListedOnceForAllSystems) {
  ASSERT_OK(Repository::Initialise(repository_.MakeStore(), repository_.options(),
                                   repository_.environment(), TestIdentity(kTestSystem + 1), true));
  BackupSummary other = TestSummary(*repository_, "20261123-020000F");
  other.system_identifier = kTestSystem + 1;
  PutWithoutPacks(*repository_, other);
  int listed = 0;
  const auto results = CheckWith([&](Operation operation, std::string_view prefix) -> Status {
    listed += operation == Operation::kList && prefix.starts_with(kBackupPrefix) ? 1 : 0;
    return Ok();
  });
  EXPECT_THAT(OnlyFailure(results, "backups").detail, HasSubstr("missing segment"));
  EXPECT_EQ(listed, 1);
}

TEST_F(CheckTest, AnUnreachableStoreIsTheOnlyRow) {
  const auto results = CheckWith([](Operation, std::string_view) -> Status {
    return MakeError(ErrorCode::kUnavailable, "the store is away").WithHint("Plug it in.");
  });
  ASSERT_EQ(results.size(), 1U);
  EXPECT_EQ(results[0].name, "store");
  EXPECT_FALSE(results[0].passed);
  EXPECT_EQ(results[0].detail, "the store is away");
  EXPECT_EQ(results[0].hint, "Plug it in.");
}

TEST_F(CheckTest, AReadOnlyStoreFailsToBeWritten) {
  const auto results = CheckWith([](Operation operation, std::string_view) -> Status {
    if (operation == Operation::kPut) {
      return MakeError(ErrorCode::kPermissionDenied, "read only");
    }
    return Ok();
  });
  EXPECT_THAT(OnlyFailure(results, "write").detail, HasSubstr("read only"));
  // Checks that need the object are left out.
  EXPECT_THAT(results,
              ElementsAre(Field(&CheckResult::name, "store"), Field(&CheckResult::name, "write"),
                          Field(&CheckResult::name, "clock"), Field(&CheckResult::name, "identity"),
                          Field(&CheckResult::name, "backups")));
}

TEST_F(CheckTest, AStoreThatOverwritesIsReported) {
  const auto results = Check(std::make_shared<OverwritingStore>(repository_.MakeStore()));
  const CheckResult failure = OnlyFailure(results, "conditional_writes");
  EXPECT_THAT(failure.hint, HasSubstr("conditional writes"));
  EXPECT_TRUE(ProbesAreGone());
}

TEST_F(CheckTest, AnErrorWhileReadingIsReported) {
  const auto results = CheckWith([](Operation operation, std::string_view name) -> Status {
    if (operation == Operation::kGet && name.starts_with(kProbePrefix)) {
      return MakeError(ErrorCode::kPermissionDenied, "write only");
    }
    return Ok();
  });
  EXPECT_THAT(OnlyFailure(results, "read").detail, HasSubstr("write only"));
  EXPECT_TRUE(ProbesAreGone());
}

TEST_F(CheckTest, ChangedContentIsReported) {
  const auto results = CheckWith([this](Operation operation, std::string_view name) -> Status {
    if (operation == Operation::kGet && name.starts_with(kProbePrefix)) {
      WriteText(repository_.PathOf(std::string(name)), "something else");
    }
    return Ok();
  });
  EXPECT_THAT(OnlyFailure(results, "read").detail, HasSubstr("the content that was written"));
}

TEST_F(CheckTest, ObjectsThatCannotBeDeletedAreReported) {
  const auto refused = CheckWith([](Operation operation, std::string_view) -> Status {
    if (operation == Operation::kDelete) {
      return MakeError(ErrorCode::kPermissionDenied, "locked");
    }
    return Ok();
  });
  EXPECT_THAT(OnlyFailure(refused, "delete").detail, HasSubstr("locked"));

  const auto unsure = CheckWith([](Operation operation, std::string_view) -> Status {
    if (operation == Operation::kHead) {
      return MakeError(ErrorCode::kUnavailable, "the store is away");
    }
    return Ok();
  });
  EXPECT_THAT(OnlyFailure(unsure, "delete").detail, HasSubstr("the store is away"));

  std::string kept;
  const auto ignored = CheckWith([&](Operation operation, std::string_view name) -> Status {
    if (operation == Operation::kHead) {  // after it was deleted
      kept = repository_.PathOf(std::string(name));
      WriteText(kept, "still there");
    }
    return Ok();
  });
  EXPECT_THAT(OnlyFailure(ignored, "delete").detail, HasSubstr("still there"));
}

TEST_F(CheckTest, ClocksMayDifferByFiveMinutes) {
  const auto store = std::make_shared<SkewedStore>(repository_.MakeStore());
  const auto clock_row = [&](int seconds) {
    store->skew = std::chrono::seconds(seconds);
    for (const CheckResult& result : Check(store)) {
      if (result.name == "clock") {
        return result;
      }
    }
    return CheckResult{};
  };
  EXPECT_TRUE(clock_row(300).passed);
  EXPECT_TRUE(clock_row(-300).passed);
  const CheckResult ahead = clock_row(301);
  EXPECT_FALSE(ahead.passed);
  EXPECT_THAT(ahead.detail, AllOf(HasSubstr("301"), HasSubstr("ahead")));
  EXPECT_THAT(ahead.hint, HasSubstr("NTP"));
  const CheckResult behind = clock_row(-86'400);
  EXPECT_FALSE(behind.passed);
  EXPECT_THAT(behind.detail, AllOf(HasSubstr("86400"), HasSubstr("behind")));
}

TEST_F(CheckTest, ARepositoryThatCannotBeOpenedIsReported) {
  RepositoryOptions options = repository_.options();
  options.cipher = Cipher::kAes256Gcm;
  options.passphrase = SecretString(kTestPassphrase);
  const auto encrypted =
      CheckRepository(repository_.MakeStore(), options, repository_.environment());
  EXPECT_THAT(OnlyFailure(encrypted, "identity").detail, HasSubstr("without encryption"));

  std::filesystem::remove(repository_.PathOf(IdentityName(kTestSystem)));
  const CheckResult lost = OnlyFailure(Check(repository_.MakeStore()), "identity");
  EXPECT_THAT(lost.detail, HasSubstr("has lost its identity"));
  EXPECT_THAT(lost.hint, HasSubstr("vezactl key restore"));

  std::filesystem::remove_all(repository_.PathOf(BackupDirectory(kTestLabel)));
  std::filesystem::remove_all(repository_.PathOf(WalSystemPrefix(kTestSystem)));
  const CheckResult failure = OnlyFailure(Check(repository_.MakeStore()), "identity");
  EXPECT_THAT(failure.detail, HasSubstr("not initialized"));
  EXPECT_THAT(failure.hint, HasSubstr("veza_backup_init()"));
}

// Of a repository with a key.
TEST(EncryptedCheck, SaysWhichVersionOfTheFormatIsWritten) {
  const TestRepository repository(Cipher::kAes256Gcm);
  const std::string mark = repository.PathOf(std::string(kFormatMarkName));
  const auto row = [&]() -> CheckResult {
    for (const CheckResult& result :
         CheckRepository(repository.MakeStore(), repository.options(), repository.environment())) {
      if (result.name == "format") {
        return result;
      }
    }
    return {"absent", false, "", ""};
  };
  const CheckResult good = row();
  EXPECT_TRUE(good.passed);
  EXPECT_THAT(good.detail, HasSubstr("version 2"));
  EXPECT_THAT(good.hint, IsEmpty());

  WriteText(mark, "{}");
  const CheckResult damaged = row();
  EXPECT_FALSE(damaged.passed);
  EXPECT_THAT(damaged.detail, HasSubstr("format/2"));
  EXPECT_THAT(damaged.hint, HasSubstr("vezactl repository upgrade"));

  std::filesystem::remove(mark);
  const CheckResult old = row();
  EXPECT_TRUE(old.passed);
  EXPECT_THAT(old.detail, HasSubstr("version 1"));
  EXPECT_THAT(old.hint, AllOf(HasSubstr("vezactl repository upgrade"), HasSubstr("all nodes")));
}

TEST(EncryptedCheck, TellsADamagedWrapOfAnotherPassphrase) {
  TestRepository repository(Cipher::kAes256Gcm);
  const std::string id = AddPassphrase(*repository, "in the safe, and long", "").value().wrap_id;
  const std::string name = KeyWrapName(repository->seal_policy().key->hex_id(), id);
  const auto row = [&]() -> CheckResult {
    for (const CheckResult& result :
         CheckRepository(repository.MakeStore(), repository.options(), repository.environment())) {
      if (result.name == "passphrases") {
        return result;
      }
    }
    return {"absent", false, "", ""};
  };
  EXPECT_TRUE(row().passed);
  EXPECT_EQ(row().detail, "2 with a good wrap");
  EXPECT_THAT(row().hint, IsEmpty());
  WriteText(repository.PathOf(name), "{}");
  const CheckResult damaged = row();
  EXPECT_FALSE(damaged.passed) << "no backup copies it any more";
  EXPECT_THAT(damaged.detail, AllOf(HasSubstr("1 with a good wrap"), HasSubstr(name)));
  EXPECT_THAT(damaged.hint, AllOf(HasSubstr("vezactl key list"), HasSubstr("vezactl key add")));
}

}  // namespace
}  // namespace veza
