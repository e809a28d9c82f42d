#include "core/repository/key_wraps.h"

#include <atomic>

#include "core/limits.h"
#include "core/repository/backup_summary.h"
#include "core/repository/cluster_lock.h"
#include "core/repository/entrance.h"
#include "core/repository/entrance_fixture.h"
#include "core/repository/key_restore.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kRecovery = "the passphrase in the safe";
constexpr const char* kLabel = "20261120-020000F";

class KeyWrapsTest : public EntranceFixture {
 protected:
  void SetUp() override {
    EntranceFixture::SetUp();
    if (!IsSkipped() && !encrypted()) {
      GTEST_SKIP() << "a repository without encryption has no passphrases";
    }
  }
  Result<std::unique_ptr<Repository>> OpenWith(std::string_view passphrase) {
    return Repository::Open(store_, OptionsWith(passphrase), environment_);
  }
  static std::string IdInUse(const Repository& repository) {
    const std::string& name = repository.key_wraps().front().name;
    return name.substr(name.find('.') + 1);
  }
  static std::vector<std::string> StatesOf(const std::vector<KeyWrapInfo>& wraps) {
    constexpr const char* kWords[] = {"in use", "signed", "unsigned", "unusable"};
    std::vector<std::string> states;
    for (const KeyWrapInfo& wrap : wraps) {
      states.push_back(fmt::format("{} {}", wrap.name, kWords[static_cast<int>(wrap.state)]));
    }
    std::ranges::sort(states);
    return states;
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, KeyWrapsTest, EntranceTestValues(), EntranceTestName);

TEST_P(KeyWrapsTest, ASecondPassphraseOpensTheSameData) {
  const auto repository = Initialise().value();
  PutBackup(*repository, kLabel);
  const std::vector<NamedText> before = Objects();
  const auto added = AddPassphrase(*repository, kRecovery, "recovery");
  ASSERT_OK(added);
  EXPECT_TRUE(added->is_new);
  EXPECT_EQ(Objects().size(), before.size() + 1);
  EXPECT_THAT(Objects(), testing::IsSupersetOf(before));

  for (const auto& [passphrase, expected] :
       {std::pair(kTestPassphrase, std::vector<std::string>{" in use", "recovery signed"}),
        {kRecovery, {" signed", "recovery in use"}}}) {
    const auto opened = OpenWith(passphrase);
    ASSERT_OK(opened);
    EXPECT_TRUE(EqualInConstantTime((*opened)->seal_policy().key->secret(),
                                    repository->seal_policy().key->secret()));
    EXPECT_EQ(StatesOf(ListKeyWraps(**opened).value()), expected);
  }
  const auto again = AddPassphrase(*repository, kRecovery, "twice");
  ASSERT_OK(again);
  EXPECT_FALSE(again->is_new);
  EXPECT_EQ(again->name, "recovery") << "the name is not changed";
  EXPECT_EQ(again->wrap_id, added->wrap_id);
  EXPECT_ERROR(AddPassphrase(*repository, "one more passphrase", "recovery"),
               ErrorCode::kAlreadyExists);
  EXPECT_ERROR(AddPassphrase(*repository, "one more passphrase", "two words"),
               ErrorCode::kInvalidArgument);
}

TEST_P(KeyWrapsTest, APassphraseIsChangedByAddingAndRemoving) {
  const auto repository = Initialise().value();
  ASSERT_OK(AddPassphrase(*repository, kRecovery, "new"));
  const std::string old_id = IdInUse(*repository);
  const auto opened = OpenWith(kRecovery).value();
  EXPECT_ERROR(RemovePassphrase(*opened, "new"), ErrorCode::kFailedPrecondition);
  EXPECT_ERROR(RemovePassphrase(*opened, "absent"), ErrorCode::kNotFound);
  ASSERT_OK(RemovePassphrase(*opened, old_id));
  EXPECT_ERROR(Open(), ErrorCode::kWrongKey);
  EXPECT_OK(OpenWith(kRecovery));
  EXPECT_FALSE(ReadLockState(*opened).value().held);
  // A writer that has the old passphrase stops.
  EXPECT_ERROR(RequireWrapInPlace(*repository), ErrorCode::kWrongKey);
}

// Each has opened the repository and wants to remove the passphrase of the other.
TEST_P(KeyWrapsTest, TwoRemovalsDoNotLeaveNone) {
  const auto first = Initialise().value();
  const std::string first_id = IdInUse(*first);
  const std::string second_id = AddPassphrase(*first, kRecovery, "").value().wrap_id;
  const auto second = OpenWith(kRecovery).value();
  ASSERT_OK(RemovePassphrase(*first, second_id));
  // It is refused, not undone: meanwhile nobody could open the repository.
  std::atomic<int> deleted = 0;
  store_->SetHook([&](FaultStore::Operation operation, std::string_view name) {
    deleted += operation == FaultStore::Operation::kDelete && name.starts_with("key/") ? 1 : 0;
    return Ok();
  });
  EXPECT_ERROR(RemovePassphrase(*second, first_id), ErrorCode::kWrongKey);
  EXPECT_EQ(deleted, 0);
  store_->SetHook({});
  EXPECT_OK(Open());
  EXPECT_THAT(Names("key/"), SizeIs(1));
}

// By a real clock: the test clock runs as fast as the holder renews, and so its lock may seem to
// have ended between the removal's look at it and the look at the time.
TEST_P(KeyWrapsTest, ARemovalWaitsForNobodyWhoHoldsTheLock) {
  environment_ = Environment{};
  store_ = MakeStore("main");
  const auto repository = Initialise().value();
  const std::string id = AddPassphrase(*repository, kRecovery, "").value().wrap_id;
  const auto lock = ClusterLock::Acquire(*repository, {.purpose = "full backup"}).value();
  EXPECT_ERROR(RemovePassphrase(*repository, id), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(Names("key/"), SizeIs(2));
}

// The wrap in use goes at the very moment when the other one is removed.
TEST_P(KeyWrapsTest, ARemovalThatWouldLeaveNoneIsUndone) {
  const auto repository = Initialise().value();
  const std::string own = repository->key_wraps().front().name;
  const std::string id = AddPassphrase(*repository, kRecovery, "").value().wrap_id;
  const std::string other = KeyWrapName(repository->seal_policy().key->hex_id(), id);
  store_->SetHook([&](FaultStore::Operation operation, std::string_view name) -> Status {
    if (operation == FaultStore::Operation::kDelete && name == other) {
      store_->SetHook({});
      EXPECT_OK(store_->Delete(own));
    }
    return Ok();
  });
  EXPECT_FALSE(RemovePassphrase(*repository, id));
  EXPECT_OK(OpenWith(kRecovery));
}

// The store stops to answer right after the removal, or the answer to the removal itself is lost.
TEST_P(KeyWrapsTest, ARemovalThatNobodyCanJudgeIsUndone) {
  const auto repository = Initialise().value();
  const std::string own = repository->key_wraps().front().name;
  const std::string id = AddPassphrase(*repository, kRecovery, "").value().wrap_id;
  const std::string other = KeyWrapName(repository->seal_policy().key->hex_id(), id);
  const Error silence = MakeError(ErrorCode::kUnavailable, "the store does not answer");
  for (const bool can_write : {true, false}) {
    bool is_deleted = false;
    store_->SetHook([&](FaultStore::Operation operation, std::string_view name) -> Status {
      is_deleted = is_deleted || (operation == FaultStore::Operation::kDelete && name == other);
      const bool is_put = operation == FaultStore::Operation::kPut && name == other;
      return is_deleted && (name == own || (is_put && !can_write)) ? Status(silence) : Ok();
    });
    const auto removed = RemovePassphrase(*repository, id);
    store_->SetHook({});
    EXPECT_ERROR(removed, ErrorCode::kUnavailable);
    EXPECT_THAT(removed.error().message, HasSubstr(can_write ? "was not removed" : "not certain"));
    EXPECT_EQ(OpenWith(kRecovery).has_value(), can_write);
    EXPECT_OK(Open());
  }
}

TEST_P(KeyWrapsTest, JunkDoesNotHideThatAPassphraseIsWrong) {
  const auto repository = Initialise().value();
  PutBackup(*repository, kLabel);
  const std::string junk = KeyWrapName(repository->seal_policy().key->hex_id(), "0000000000000000");
  std::string costly = repository->key_wraps().front().text;
  costly.replace(costly.find("scrypt"), 6, "argon2");
  for (const std::string& text : {std::string("junk"), costly}) {
    Put(junk, text);
    const auto opened = OpenWith("no passphrase of ours");
    EXPECT_ERROR(opened, ErrorCode::kWrongKey);
    EXPECT_THAT(opened.error().message, HasSubstr(junk));
    EXPECT_THAT(opened.error().hint, HasSubstr("key restore"));
    EXPECT_OK(AddPassphrase(*repository, kRecovery + text.substr(0, 4), ""));
    // As the next one finds it who has to put back his own.
    const std::vector<NamedText> before = Objects("key/");
    Lose("key/");
    Put(junk, text);
    ASSERT_OK(RestoreKey(store_, options_, environment_, {}));
    EXPECT_OK(Open());
    Lose("key/");
    for (const NamedText& object : before) {
      Put(object.name, object.text);
    }
  }
}

TEST_P(KeyWrapsTest, TellsTrueWrapsFromOthers) {
  const auto repository = Initialise().value();
  const std::string key_id = repository->seal_policy().key->hex_id();
  ASSERT_OK(AddPassphrase(*repository, kRecovery, "recovery"));
  const std::string recovery = FindKeyWrap(*repository, "recovery").value().object.text;
  // As 0.1 makes it, or somebody who wants to hide that the true one is gone.
  Put(KeyWrapName(key_id, "aaaaaaaaaaaaaaaa"),
      WrapKey(*repository->seal_policy().key, "a third passphrase", "node-b", kTestTime,
              SystemRandom())
          .value());
  Put(KeyWrapName(key_id, "bbbbbbbbbbbbbbbb"), "junk");
  Put(KeyWrapName(key_id, "cccccccccccccccc"),
      WrapKey(TestKey(), kTestPassphrase, "node-b", kTestTime, SystemRandom()).value());
  std::string renamed = recovery;
  renamed.replace(renamed.find("\"recovery\""), 10, "\"employee\"");
  Put(KeyWrapName(key_id, "dddddddddddddddd"), renamed);
  const auto wraps = ListKeyWraps(*repository);
  ASSERT_OK(wraps);
  EXPECT_THAT(StatesOf(*wraps),
              testing::UnorderedElementsAre(" in use", "recovery signed", " unsigned", " unusable",
                                            " unusable", " unusable"));
  const auto copies = WrapsToCopy(*repository);
  ASSERT_OK(copies);
  EXPECT_THAT(*copies, ElementsAre(repository->key_wraps().front(),
                                   testing::Field(&NamedText::text, recovery)));
}

// Such a copy is made when a wrap is put back beside one that is damaged, for example.
TEST_P(KeyWrapsTest, CopiesOfOneWrapAreOnePassphrase) {
  const auto repository = Initialise().value();
  const std::string key_id = repository->seal_policy().key->hex_id();
  const std::string id = AddPassphrase(*repository, kRecovery, "recovery").value().wrap_id;
  const std::string recovery = FindKeyWrap(*repository, id).value().object.text;
  const std::string copy = KeyWrapName(key_id, "aaaaaaaaaaaaaaaa");
  const std::string stripped = KeyWrapName(key_id, "bbbbbbbbbbbbbbbb");
  const std::string ours = KeyWrapName(key_id, "cccccccccccccccc");
  Put(copy, recovery);
  Put(stripped, UnpackWrap(PackWrap(recovery).value(), "node-c", kTestTime).value());
  Put(ours, repository->key_wraps().front().text);
  BackupSummary summary = TestSummary(*repository, kLabel);
  summary.key_wraps = {{stripped, Objects(stripped).front().text}};
  Put(BackupDocumentName(kLabel), SerializeSummary(summary, repository->seal_policy()).value());
  const std::vector<KeyWrapInfo> listed = ListKeyWraps(*repository).value();
  for (const KeyWrapInfo& wrap : listed) {
    const bool is_recovery =
        wrap.id == id || wrap.object.name == copy || wrap.object.name == stripped;
    EXPECT_EQ(wrap.backups.size(), is_recovery ? 1U : 0U) << wrap.id;
    if (wrap.object.name == stripped) {
      EXPECT_FALSE(wrap.copy_of.empty());
    }
    if (wrap.object.name == ours) {
      EXPECT_EQ(wrap.copy_of, IdInUse(*repository));
    }
  }
  EXPECT_THAT(WrapsToCopy(*repository).value(), SizeIs(2));

  const auto own_copy = RemovePassphrase(*repository, ours);
  ASSERT_OK(own_copy);
  EXPECT_EQ(own_copy->still_opens, repository->key_wraps().front().name);
  EXPECT_THAT(own_copy->objects, ElementsAre(ours));
  const auto removed = RemovePassphrase(*repository, copy);
  ASSERT_OK(removed);
  EXPECT_THAT(removed->still_opens, IsEmpty());
  EXPECT_THAT(removed->objects,
              testing::UnorderedElementsAre(copy, stripped, KeyWrapName(key_id, id)));
  EXPECT_THAT(Names("key/"), SizeIs(1));
  EXPECT_ERROR(OpenWith(kRecovery), ErrorCode::kWrongKey);
}

// What the hint of a damaged wrap says is done: add its passphrase again, remove the damaged
// object.
TEST_P(KeyWrapsTest, RemovingADamagedWrapLeavesTheGoodOneOfItsPassphrase) {
  const auto repository = Initialise().value();
  const std::string key_id = repository->seal_policy().key->hex_id();
  for (const std::string member : {"name", "mac"}) {
    const std::string id = AddPassphrase(*repository, kRecovery, member).value().wrap_id;
    const std::string damaged = KeyWrapName(key_id, id);
    std::string text = Objects(damaged).front().text;
    const std::size_t at = text.find('"', text.find("\"" + member + "\":") + member.size() + 3) + 1;
    text.at(at) = text.at(at) == 'a' ? 'b' : 'a';
    Put(damaged, text);
    ASSERT_EQ(FindKeyWrap(*repository, id).value().state, KeyWrapInfo::State::kUnusable);

    const auto added = AddPassphrase(*repository, kRecovery, "again");
    ASSERT_OK(added);
    const std::string good = KeyWrapName(key_id, added->wrap_id);
    const auto removed = RemovePassphrase(*repository, id);
    ASSERT_OK(removed);
    EXPECT_THAT(removed->objects, ElementsAre(damaged));
    EXPECT_EQ(removed->still_opens, good);
    EXPECT_OK(OpenWith(kRecovery));

    EXPECT_THAT(RemovePassphrase(*repository, "again").value().objects, ElementsAre(good));
    EXPECT_ERROR(OpenWith(kRecovery), ErrorCode::kWrongKey);
  }
}

// Somebody who may write to the bucket wants to make people remove the good one.
TEST_P(KeyWrapsTest, RemovingACopyThatAStrangerHasPutThereLeavesTheGoodOne) {
  const auto repository = Initialise().value();
  const std::string key_id = repository->seal_policy().key->hex_id();
  AddPassphrase(*repository, kRecovery, "recovery").value();
  const KeyWrapInfo good = FindKeyWrap(*repository, "recovery").value();
  const std::string planted = KeyWrapName(key_id, "aaaaaaaaaaaaaaaa");
  Put(planted, UnpackWrap(good.packed, "node-c", kTestTime).value());
  const auto removed = RemovePassphrase(*repository, "aaaaaaaaaaaaaaaa");
  ASSERT_OK(removed);
  EXPECT_THAT(removed->objects, ElementsAre(planted));
  EXPECT_EQ(removed->still_opens, good.object.name);
  EXPECT_OK(OpenWith(kRecovery));
}

// A server looks every few minutes. Whoever may write to the bucket must not choose what that
// costs.
TEST_P(KeyWrapsTest, ALookIsBounded) {
  if (std::get<Backend>(GetParam()) == Backend::kS3) {
    GTEST_SKIP() << "too many objects";
  }
  const auto repository = Initialise().value();
  const std::string key_id = repository->seal_policy().key->hex_id();
  ASSERT_OK(AddPassphrase(*repository, kRecovery, "recovery"));
  for (std::size_t i = 0; i < limits::kKeyWrapsLookedAt; ++i) {
    Put(KeyWrapName(key_id, fmt::format("x{:015}", i)), std::string(1000, 'x'));
  }
  std::size_t fetched = 0;
  store_->SetHook([&](FaultStore::Operation operation, std::string_view name) {
    fetched += operation == FaultStore::Operation::kGet && name.starts_with(kKeyPrefix) ? 1 : 0;
    return Ok();
  });
  EXPECT_THAT(WrapsToCopy(*repository).value(), SizeIs(2));
  EXPECT_EQ(fetched, limits::kKeyWrapsLookedAt);
  store_->SetHook({});
  const std::vector<KeyWrapInfo> listed = ListKeyWraps(*repository).value();
  for (const KeyWrapInfo& wrap : listed) {
    EXPECT_TRUE(wrap.state != KeyWrapInfo::State::kUnusable || wrap.object.text.empty());
  }
  // No backup would hold a copy of it.
  EXPECT_ERROR(AddPassphrase(*repository, "one more passphrase", ""),
               ErrorCode::kFailedPrecondition);
}

// It says that it has failed, so the passphrase must not open anything.
TEST_P(KeyWrapsTest, AnAdditionThatFailsLeavesNothing) {
  const auto repository = Initialise().value();
  const Error silence = MakeError(ErrorCode::kUnavailable, "the store does not answer");
  // What fails: the request itself, although it is carried out; the look for room; the test.
  for (const std::string step : {"put", "room", "test"}) {
    bool is_put = false;
    int lists = 0;
    store_->SetHook([&](FaultStore::Operation operation, std::string_view name) -> Status {
      if (operation == FaultStore::Operation::kPut && name.starts_with(kKeyPrefix)) {
        is_put = true;
        if (step == "put") {
          store_->SetHook({});
          Put(std::string(name), "stored, but the answer is lost");
          return silence;
        }
      }
      if (!is_put || operation != FaultStore::Operation::kList) {
        return Ok();
      }
      return ++lists == (step == "room" ? 1 : 2) ? Status(silence) : Ok();
    });
    const auto added = AddPassphrase(*repository, kRecovery, "recovery");
    store_->SetHook({});
    EXPECT_ERROR(added, ErrorCode::kUnavailable);
    EXPECT_THAT(added.error().message, HasSubstr("was not added"));
    EXPECT_THAT(Names("key/"), SizeIs(1)) << step;
    EXPECT_ERROR(OpenWith(kRecovery), ErrorCode::kWrongKey);
  }
}

TEST_P(KeyWrapsTest, AnAdditionThatCannotBeTakenBackSaysWhyItFailed) {
  const auto repository = Initialise().value();
  bool is_put = false;
  store_->SetHook([&](FaultStore::Operation operation, std::string_view name) -> Status {
    is_put = is_put || (operation == FaultStore::Operation::kPut && name.starts_with(kKeyPrefix));
    if (is_put && operation == FaultStore::Operation::kList) {
      return MakeError(ErrorCode::kUnavailable, "the list is not to be had");
    }
    return operation == FaultStore::Operation::kDelete
               ? Status(MakeError(ErrorCode::kPermissionDenied, "deleting is forbidden"))
               : Ok();
  });
  const auto added = AddPassphrase(*repository, kRecovery, "recovery");
  store_->SetHook({});
  EXPECT_ERROR(added, ErrorCode::kUnavailable);
  EXPECT_THAT(added.error().message,
              testing::AllOf(HasSubstr("not certain"), HasSubstr("the list is not to be had"),
                             HasSubstr("deleting is forbidden")));
  EXPECT_THAT(added.error().message, HasSubstr(FindKeyWrap(*repository, "recovery")->object.name));
}

// Somebody puts a copy there right before this node has the lock.
TEST_P(KeyWrapsTest, ARemovalReadsTheWrapsUnderTheLock) {
  const auto repository = Initialise().value();
  const std::string id = AddPassphrase(*repository, kRecovery, "recovery").value().wrap_id;
  const std::string copy = KeyWrapName(repository->seal_policy().key->hex_id(), "aaaaaaaaaaaaaaaa");
  const std::string text = FindKeyWrap(*repository, id).value().object.text;
  store_->SetHook([&](FaultStore::Operation operation, std::string_view name) {
    if (operation == FaultStore::Operation::kPut && name.starts_with("lock/")) {
      store_->SetHook({});
      Put(copy, text);
    }
    return Ok();
  });
  ASSERT_OK(RemovePassphrase(*repository, id));
  EXPECT_ERROR(OpenWith(kRecovery), ErrorCode::kWrongKey);
}

// By a real clock, as above.
TEST_P(KeyWrapsTest, ARemovalIsDoneAlthoughItsLockStays) {
  environment_ = Environment{};
  store_ = MakeStore("main");
  const auto repository = Initialise().value();
  const std::string id = AddPassphrase(*repository, kRecovery, "recovery").value().wrap_id;
  bool is_deleted = false;
  store_->SetHook([&](FaultStore::Operation operation, std::string_view name) {
    is_deleted =
        is_deleted || (operation == FaultStore::Operation::kDelete && name.starts_with(kKeyPrefix));
    return is_deleted && operation == FaultStore::Operation::kPut && name.starts_with("lock/")
               ? Status(MakeError(ErrorCode::kPermissionDenied, "403"))
               : Ok();
  });
  const auto removed = RemovePassphrase(*repository, id);
  store_->SetHook({});
  ASSERT_OK(removed);
  ASSERT_TRUE(removed->not_released);
  EXPECT_EQ(removed->not_released->code, ErrorCode::kPermissionDenied);
  EXPECT_THAT(Names("key/"), SizeIs(1));
}

// In an archive storage class, for example, or under a KMS key that this node may not use.
TEST_P(KeyWrapsTest, OneThatCannotBeReadIsInTheWayOfNothing) {
  const auto repository = Initialise().value();
  ASSERT_OK(AddPassphrase(*repository, kRecovery, "recovery"));
  const std::string bad = KeyWrapName(repository->seal_policy().key->hex_id(), "0000000000000000");
  const std::vector<NamedText> good = Objects("key/");
  Put(bad, "sealed elsewhere");
  for (const NamedText& wrap : good) {
    Put(wrap.name, wrap.text);  // so that the bad one is the oldest, which is tried first
  }
  store_->SetHook([&](FaultStore::Operation operation, std::string_view name) -> Status {
    return operation == FaultStore::Operation::kGet && name == bad
               ? MakeError(ErrorCode::kFailedPrecondition, "the object is in Glacier")
               : Ok();
  });
  EXPECT_THAT(WrapsToCopy(*repository).value(), SizeIs(2));
  const auto held = KeepEntrance(store_, "", options_, environment_, kTestSystem, {});
  ASSERT_OK(held);
  const auto listed = FindKeyWrap(*repository, "0000000000000000");
  ASSERT_OK(listed);
  EXPECT_EQ(listed->problem, "the object is in Glacier");
  ASSERT_OK(RemovePassphrase(*repository, "0000000000000000"));
}

// Somebody who writes to the bucket chooses names of objects.
TEST_P(KeyWrapsTest, AnIdThatLooksLikeANameIsNone) {
  const auto repository = Initialise().value();
  const std::string key_id = repository->seal_policy().key->hex_id();
  const std::string id = AddPassphrase(*repository, kRecovery, "old").value().wrap_id;
  Put(KeyWrapName(key_id, "old"), "junk");
  EXPECT_EQ(FindKeyWrap(*repository, "old").value().id, id);
  EXPECT_EQ(FindKeyWrap(*repository, KeyWrapName(key_id, "old")).value().id, "old");
  EXPECT_ERROR(AddPassphrase(*repository, "one more passphrase", "0123456789abcdef"),
               ErrorCode::kInvalidArgument);
}

// Version 0.1 has made it. By another passphrase nobody can tell whether it is true.
TEST_P(KeyWrapsTest, AnUnsignedWrapIsSignedByItsPassphrase) {
  const auto repository = Initialise().value();
  const DataKey& key = *repository->seal_policy().key;
  Put(KeyWrapName(key.hex_id(), "aaaaaaaaaaaaaaaa"),
      WrapKey(key, kRecovery, "node-b", kTestTime, SystemRandom()).value());
  EXPECT_THAT(WrapsToCopy(*repository).value(), SizeIs(1));
  const auto added = AddPassphrase(*repository, kRecovery, "recovery");
  ASSERT_OK(added);
  EXPECT_TRUE(added->is_new);
  EXPECT_EQ(FindKeyWrap(*repository, "recovery").value().state, KeyWrapInfo::State::kSigned);
  EXPECT_THAT(WrapsToCopy(*repository).value(), SizeIs(2));
  // The unsigned one is the older, and opens first.
  const auto again = AddPassphrase(*repository, kRecovery, "twice");
  ASSERT_OK(again);
  EXPECT_FALSE(again->is_new);
  EXPECT_EQ(again->wrap_id, added->wrap_id);
  EXPECT_EQ(again->name, "recovery");
  EXPECT_THAT(Names("key/"), SizeIs(3));
}

TEST_P(KeyWrapsTest, ThereIsALimitThatEveryBackupKeeps) {
  const auto repository = Initialise().value();
  const DataKey& key = *repository->seal_policy().key;
  for (std::size_t i = 2; i < limits::kKeyWrapsOfABackup; ++i) {
    Put(KeyWrapName(key.hex_id(), fmt::format("{:016}", i)),
        MakeSignedWrap(key, fmt::format("passphrase number {}", i), "", "node-b", kTestTime,
                       SystemRandom())
            .value());
  }
  ASSERT_OK(AddPassphrase(*repository, kRecovery, "last"));
  EXPECT_ERROR(AddPassphrase(*repository, "one more passphrase", ""),
               ErrorCode::kFailedPrecondition);
  EXPECT_THAT(WrapsToCopy(*repository).value(), SizeIs(limits::kKeyWrapsOfABackup));
}

TEST_P(KeyWrapsTest, TheLimitHoldsWhenAnotherNodeAddsAtTheSameMoment) {
  const auto repository = Initialise().value();
  const DataKey& key = *repository->seal_policy().key;
  store_->SetHook([&](FaultStore::Operation operation, std::string_view name) -> Status {
    if (operation == FaultStore::Operation::kPut && name.starts_with("key/")) {
      store_->SetHook({});
      for (std::size_t i = 1; i < limits::kKeyWrapsOfABackup; ++i) {
        Put(KeyWrapName(key.hex_id(), fmt::format("{:016}", i)),
            MakeSignedWrap(key, fmt::format("passphrase number {}", i), "", "node-b", kTestTime,
                           SystemRandom())
                .value());
      }
    }
    return Ok();
  });
  EXPECT_ERROR(AddPassphrase(*repository, kRecovery, "late"), ErrorCode::kFailedPrecondition);
  EXPECT_THAT(Names("key/"), SizeIs(limits::kKeyWrapsOfABackup));
}

TEST_P(KeyWrapsTest, ARunningServerPutsAllOfThemBack) {
  const auto repository = Initialise().value();
  PutBackup(*repository, kLabel);
  ASSERT_OK(AddPassphrase(*repository, kRecovery, "recovery"));
  const auto keep = [&](const std::optional<EntranceCopy>& held) {
    return KeepEntrance(store_, "", options_, environment_, kTestSystem, held);
  };
  const auto held = keep({});
  ASSERT_OK(held);
  const std::vector<NamedText> before = Objects("key/");
  Lose("key/");
  const auto looked = keep(held->copy);
  ASSERT_OK(looked);
  EXPECT_THAT(looked->put_back, SizeIs(2));
  EXPECT_THAT(Objects("key/"), testing::UnorderedElementsAreArray(before));

  // Beside a third one, a removed one is not put back, although the server still holds it.
  ASSERT_OK(AddPassphrase(*repository, "a third passphrase", ""));
  EXPECT_OK(store_->Delete(held->copy.key_wraps.back().name));
  const std::string own = (*Open())->key_wraps().front().name;
  Put(own, "junk");
  const auto mended = keep(held->copy);
  ASSERT_OK(mended);
  EXPECT_THAT(mended->put_back, SizeIs(1));
  EXPECT_OK(Open());
}

// Otherwise it would age out of the backups: none of them copies an object that is no wrap.
TEST_P(KeyWrapsTest, ARunningServerPutsADamagedOneBack) {
  const auto repository = Initialise().value();
  ASSERT_OK(AddPassphrase(*repository, kRecovery, "recovery"));
  const NamedText good = FindKeyWrap(*repository, "recovery").value().object;
  const auto keep = [&](const std::optional<EntranceCopy>& held) {
    return KeepEntrance(store_, "", options_, environment_, kTestSystem, held).value();
  };
  const EntranceCopy held = keep({}).copy;
  std::string changed = good.text;
  changed.replace(changed.find("\"recovery\""), 10, "\"employee\"");
  for (const std::string& text : {std::string("junk"), changed}) {
    Put(good.name, text);
    // As long as the store refuses, the server holds it.
    store_->SetHook([&](FaultStore::Operation operation, std::string_view name) {
      return operation == FaultStore::Operation::kPut && name.starts_with(kKeyPrefix)
                 ? Status(MakeError(ErrorCode::kPermissionDenied, "403"))
                 : Ok();
    });
    const EntranceLook refused = keep(held);
    store_->SetHook({});
    EXPECT_THAT(refused.put_back, IsEmpty());
    EXPECT_THAT(refused.copy.key_wraps, testing::Contains(good));

    const EntranceLook mended = keep(refused.copy);
    ASSERT_THAT(mended.put_back, SizeIs(1));
    EXPECT_OK(OpenWith(kRecovery));
    EXPECT_THAT(WrapsToCopy(*repository).value(),
                testing::Contains(NamedText{mended.put_back.front(), good.text}));
    EXPECT_EQ(mended.copy.key_wraps, WrapsToCopy(*repository).value());
    EXPECT_THAT(keep(mended.copy).put_back, IsEmpty()) << "once";
    EXPECT_THAT(keep(held).put_back, IsEmpty()) << "nor by another node";
    ASSERT_OK(store_->Delete(mended.put_back.front()));
  }
  // What is gone may have been removed on purpose.
  ASSERT_OK(store_->Delete(good.name));
  const EntranceLook removed = keep(held);
  EXPECT_THAT(removed.put_back, IsEmpty());
  EXPECT_THAT(removed.copy.key_wraps, SizeIs(1));
}

// Another server holds it as well, and looks only after the removal.
TEST_P(KeyWrapsTest, ARemovedPassphraseDoesNotComeBackForADamagedObject) {
  const auto repository = Initialise().value();
  ASSERT_OK(AddPassphrase(*repository, kRecovery, "recovery"));
  const NamedText good = FindKeyWrap(*repository, "recovery").value().object;
  const auto keep = [&](const std::optional<EntranceCopy>& held) {
    return KeepEntrance(store_, "", options_, environment_, kTestSystem, held).value();
  };
  const EntranceCopy held = keep({}).copy;  // both servers
  Put(good.name, "junk");
  ASSERT_THAT(keep(held).put_back, SizeIs(1));
  const auto refused = RemovePassphrase(*repository, "recovery");
  EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refused.error().message, HasSubstr(good.name));
  EXPECT_THAT(refused.error().hint, HasSubstr("First remove all objects"));
  EXPECT_OK(OpenWith(kRecovery));

  ASSERT_OK(RemovePassphrase(*repository, good.name));
  EXPECT_OK(OpenWith(kRecovery));
  ASSERT_OK(RemovePassphrase(*repository, "recovery"));
  EXPECT_THAT(keep(held).put_back, IsEmpty());
  EXPECT_ERROR(OpenWith(kRecovery), ErrorCode::kWrongKey);
}

// The other server has seen the damaged object, and stores the wrap after the removal.
TEST_P(KeyWrapsTest, AWrapThatIsPutBackTooLateIsTakenBack) {
  const auto repository = Initialise().value();
  PutBackup(*repository, kLabel);
  for (const bool opens : {true, false}) {
    ASSERT_OK(AddPassphrase(*repository, kRecovery, "recovery"));
    const NamedText good = FindKeyWrap(*repository, "recovery").value().object;
    const auto held = KeepEntrance(store_, "", options_, environment_, kTestSystem, {}).value();
    Put(good.name, "junk");
    const NamedText identity = Objects(std::string(kIdentityPrefix)).front();
    if (!opens) {
      Lose(identity.name);
    }
    store_->SetHook([&](FaultStore::Operation operation, std::string_view name) {
      if (operation == FaultStore::Operation::kPut && name.starts_with(kKeyPrefix)) {
        store_->SetHook({});
        EXPECT_OK(store_->Delete(good.name));
      }
      return Ok();
    });
    const auto late =
        KeepEntrance(store_, "", options_, environment_, kTestSystem, held.copy).value();
    store_->SetHook({});
    EXPECT_EQ(late.put_back, opens ? std::vector<std::string>() : std::vector{identity.name});
    EXPECT_THAT(late.copy.key_wraps, SizeIs(1));
    EXPECT_ERROR(OpenWith(kRecovery), ErrorCode::kWrongKey);
  }
}

// It cannot be opened at all, because the server's own one is damaged, too.
TEST_P(KeyWrapsTest, ARunningServerPutsAllDamagedOnesBack) {
  const auto repository = Initialise().value();
  PutBackup(*repository, kLabel);
  ASSERT_OK(AddPassphrase(*repository, kRecovery, "recovery"));
  const auto held = KeepEntrance(store_, "", options_, environment_, kTestSystem, {});
  ASSERT_OK(held);
  ASSERT_OK(AddPassphrase(*repository, "a third passphrase", ""));
  for (const NamedText& wrap : held->copy.key_wraps) {
    Put(wrap.name, "junk");
  }
  const auto looked = KeepEntrance(store_, "", options_, environment_, kTestSystem, held->copy);
  ASSERT_OK(looked);
  EXPECT_THAT(looked->put_back, SizeIs(2));
  EXPECT_OK(Open());
  EXPECT_OK(OpenWith(kRecovery));
}

TEST_P(KeyWrapsTest, ABackupsCopyRestoresAnyOfThem) {
  const auto repository = Initialise().value();
  ASSERT_OK(AddPassphrase(*repository, kRecovery, "recovery"));
  BackupSummary summary = TestSummary(*repository, kLabel);
  summary.key_wraps = WrapsToCopy(*repository).value();
  Put(BackupDocumentName(kLabel), SerializeSummary(summary, repository->seal_policy()).value());
  const auto listed = ListKeyWraps(*repository).value();
  EXPECT_THAT(listed.front().backups, ElementsAre(kLabel));
  EXPECT_THAT(listed.back().backups, ElementsAre(kLabel));
  Lose("key/");
  const auto report = RestoreKey(store_, OptionsWith(kRecovery), environment_, {});
  ASSERT_OK(report);
  EXPECT_OK(OpenWith(kRecovery));
}

// Backups and sheets hold its wrap for ever.
TEST_P(KeyWrapsTest, ARemovedPassphraseComesBackOnlyWhenAskedFor) {
  const auto repository = Initialise().value();
  PutBackup(*repository, kLabel);
  ASSERT_OK(AddPassphrase(*repository, kRecovery, "new"));
  const std::string own = repository->key_wraps().front().name;
  ASSERT_OK(RemovePassphrase(*OpenWith(kRecovery).value(), IdInUse(*repository)));
  KeyRestoreRequest sheet;
  sheet.wrap =
      UnpackWrap(PackWrap(repository->key_wraps().front().text).value(), "n", kTestTime).value();
  for (KeyRestoreRequest request :
       {KeyRestoreRequest{}, sheet, KeyRestoreRequest{.server = TestIdentity(kTestSystem)}}) {
    const auto refused = RestoreKey(store_, options_, environment_, request);
    EXPECT_ERROR(refused, ErrorCode::kConflict);
    EXPECT_THAT(refused.error().hint, HasSubstr("--even-if-removed"));
    EXPECT_THAT(Names("key/"), SizeIs(1));
    request.even_if_removed = true;
    request.dry_run = true;
    EXPECT_THAT(RestoreKey(store_, options_, environment_, request).value().written, SizeIs(1));
  }
  ASSERT_OK(RestoreKey(store_, options_, environment_, {.even_if_removed = true}));
  EXPECT_OK(Open());
  EXPECT_THAT(Names("key/"), testing::Contains(own));
}

TEST_P(KeyWrapsTest, ASheetIsTested) {
  const auto repository = Initialise().value();
  PutBackup(*repository, kLabel);
  const auto fits = [&](const std::string& wrap) {
    KeyRestoreRequest request;
    request.wrap = wrap;
    request.dry_run = true;
    const auto report = RestoreKey(store_, options_, environment_, request);
    EXPECT_OK(report);
    EXPECT_THAT(report->written, IsEmpty());
    return report->given_fits;
  };
  const Bytes packed = PackWrap(repository->key_wraps().front().text).value();
  EXPECT_EQ(fits(UnpackWrap(packed, "n", kTestTime).value()), true);
  // Of another key, by the same passphrase; of this key, by another one.
  EXPECT_EQ(fits(WrapKey(TestKey(), kTestPassphrase, "n", kTestTime, SystemRandom()).value()),
            false);
  EXPECT_EQ(fits(WrapKey(*repository->seal_policy().key, kRecovery, "n", kTestTime, SystemRandom())
                     .value()),
            false);
  EXPECT_EQ(RestoreKey(store_, options_, environment_, {}).value().given_fits, std::nullopt);
}

// As typed in from a sheet: without signature, and under no name.
TEST_P(KeyWrapsTest, AnImportedWrapIsSigned) {
  const auto repository = Initialise().value();
  PutBackup(*repository, kLabel);
  const DataKey& key = *repository->seal_policy().key;
  const Bytes packed = PackWrap(repository->key_wraps().front().text).value();
  ASSERT_OK(AddPassphrase(*repository, kRecovery, "recovery"));
  Lose("key/");
  KeyRestoreRequest request;
  request.wrap = UnpackWrap(packed, "node-c", kTestTime).value();
  const auto report = RestoreKey(store_, options_, environment_, request);
  ASSERT_OK(report);
  EXPECT_THAT(report->written, ElementsAre(HasSubstr(key.hex_id())));
  const auto opened = Open().value();
  EXPECT_THAT(opened->key_wraps().front().text, HasSubstr("mac_algorithm"));
  EXPECT_THAT(RestoreKey(store_, options_, environment_, request).value().written, IsEmpty());
}

}  // namespace
}  // namespace veza
