#include "core/repository/entrance.h"

#include "core/codec/key.h"
#include "core/limits.h"
#include "core/repository/entrance_fixture.h"

namespace veza {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

class EntranceTest : public EntranceFixture {
 protected:
  // The time of a check that comes long after everything in the store.
  EntranceCopy Held() {
    return CopyEntrance(*Open().value(), service_, store_->Now().value() + std::chrono::minutes(1));
  }
  Result<EntranceLook> Keep(const std::optional<EntranceCopy>& held,
                            std::uint64_t system = kTestSystem) {
    return KeepEntrance(store_, service_, options_, environment_, system, held);
  }

  std::string service_ = "https://s3.example.com (us-east-1)";
};
INSTANTIATE_TEST_SUITE_P(Stores, EntranceTest, EntranceTestValues(), EntranceTestName);

// --- No new key ----------------------------------------------------------------------------------

// All kinds of objects that a repository may hold, each one alone.
constexpr const char* kSignsOfUse[] = {
    "backup/20261122-020000F/backup.json",
    "backup/20261122-020000F/pack/00000001",
    "wal/7711348379840072545/00000001/00000000/000000010000000000000001",
    "lock/0000000001",
    "pin/20261122-020000F",
    "gap/7711348379840072545/000000010000000000000001-000000010000000000000001",
    "drill/20261122-020000-20261122-020000F",
    "a-kind-that-a-newer-version-has/x",
    // Written after the identity, so it proves that there was one.
    "format/2",
};

TEST_P(EntranceTest, AUsedRepositoryWithoutIdentityGetsNoNewOne) {
  ASSERT_OK(Initialise());
  Lose("format/");  // it is one of the signs
  const std::vector<NamedText> before = Objects();
  for (const char* const sign : kSignsOfUse) {
    for (const bool loses_key : {false, true}) {
      Put(sign, "x");
      Lose("identity/");
      if (loses_key) {
        Lose("key/");
      }
      const std::vector<std::string> names = Names();
      for (const auto& result :
           {Initialise(), Initialise(kTestSystem, true), Initialise(kOtherSystem, true), Open()}) {
        EXPECT_ERROR(result, ErrorCode::kDataCorrupted);
        EXPECT_THAT(result.error().message,
                    AllOf(HasSubstr("has lost its identity"), HasSubstr(sign)));
        EXPECT_EQ(result.error().message.find("and its key") != std::string::npos,
                  encrypted() && loses_key);
        EXPECT_THAT(result.error().hint,
                    AllOf(HasSubstr("vezactl key restore"), HasSubstr("lifecycle rule")));
        EXPECT_FALSE(result.error().retryable);
      }
      EXPECT_EQ(Names(), names) << sign;
      EXPECT_OK(store_->Delete(sign));
      for (const NamedText& object : before) {
        Put(object.name, object.text);
      }
      EXPECT_OK(Initialise());
    }
  }
}

TEST_P(EntranceTest, NamesAKeyThatIsLostAlone) {
  if (!encrypted()) {
    GTEST_SKIP() << "there is no key";
  }
  const std::string key_id = Initialise().value()->identities().front().key_id;
  Lose("key/");
  for (const auto& result : {Initialise(), Open()}) {
    EXPECT_ERROR(result, ErrorCode::kDataCorrupted);
    EXPECT_THAT(result.error().message, AllOf(HasSubstr("has lost its key"), HasSubstr(key_id)));
    EXPECT_THAT(result.error().hint, HasSubstr("vezactl key restore"));
  }
  EXPECT_THAT(Names("identity/"), SizeIs(1));
  EXPECT_THAT(Names("key/"), IsEmpty());
}

// A process has ended between writing its wrap and its identity, and somebody has run a check.
TEST_P(EntranceTest, ARepositoryWithOnlyWrapsAndProbesIsUnused) {
  ASSERT_OK(Initialise());
  Lose("identity/");
  Lose("format/");
  for (int i = 0; i < 3; ++i) {
    Put(fmt::format("key/{}.{}", std::string(32, 'f'), std::string(16, static_cast<char>('0' + i))),
        "x");
    Put(fmt::format("probe/{}", i), "x");
  }
  const auto opened = Open();
  EXPECT_ERROR(opened, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(opened.error().message, HasSubstr("not initialized"));
  if (encrypted()) {
    EXPECT_OK(Initialise());
    EXPECT_OK(Open());
  } else {
    // Remaining keys may be those with which data were encrypted.
    const std::vector<std::string> names = Names();
    const auto refused = Initialise();
    EXPECT_ERROR(refused, ErrorCode::kPermissionDenied);
    EXPECT_THAT(refused.error().message, HasSubstr("it holds object \"key/ffff"));
    EXPECT_EQ(Names(), names);
  }
}

// The identities and the rest are read by two requests.
TEST_P(EntranceTest, ARepositoryThatIsCreatedMeanwhileIsSeen) {
  for (const bool initialises : {false, true}) {
    const std::shared_ptr<FaultStore> late = MakeStore("main");
    bool done = false;
    late->SetHook([&](FaultStore::Operation operation, std::string_view prefix) {
      if (operation == FaultStore::Operation::kList && prefix.empty() && !done) {
        done = true;
        const auto quicker = Initialise();
        EXPECT_OK(quicker);
        PutWal(**quicker);
      }
      return Ok();
    });
    if (initialises) {
      EXPECT_OK(Repository::Initialise(late, options_, environment_, TestIdentity(), false));
    } else {
      EXPECT_OK(Repository::Open(late, options_, environment_));
    }
    EXPECT_TRUE(done);
    EXPECT_THAT(Names("key/"), SizeIs(encrypted() ? 1 : 0));
    Lose("");
  }
}

// However many objects there are, only a page or two of names is listed.
TEST_P(EntranceTest, TheSearchForUseIsBounded) {
  ASSERT_OK(Initialise());
  Lose("identity/");
  for (int i = 0; i < 30; ++i) {
    Put(fmt::format("wal/{}", i), "x");
  }
  int listings = 0;
  store_->SetHook([&](FaultStore::Operation operation, std::string_view) {
    listings += operation == FaultStore::Operation::kList ? 1 : 0;
    return Ok();
  });
  EXPECT_ERROR(Open(), ErrorCode::kDataCorrupted);
  EXPECT_LE(listings, 6);
  store_->SetHook({});
}

TEST_P(EntranceTest, AnErrorOfTheStoreIsNotALoss) {
  ASSERT_OK(Initialise());
  const EntranceCopy held = Held();
  Lose("identity/");
  Put("wal/x", "x");
  int requests = 0;
  // Whichever request fails.
  for (int failing = 1; failing <= 12; ++failing) {
    requests = 0;
    store_->SetHook([&](FaultStore::Operation operation, std::string_view) -> Status {
      EXPECT_NE(operation, FaultStore::Operation::kPut);
      if (++requests >= failing) {
        return MakeError(ErrorCode::kUnavailable, "the store is away").Retryable();
      }
      return Ok();
    });
    const auto opened = Open();
    EXPECT_FALSE(opened);
    if (requests >= failing) {
      EXPECT_ERROR(opened, ErrorCode::kUnavailable);
    }
  }
  store_->SetHook({});
}

// --- From memory ---------------------------------------------------------------------------------

TEST_P(EntranceTest, WhatIsInPlaceIsNotChanged) {
  ASSERT_OK(Initialise());
  const auto first = Keep(std::nullopt);
  ASSERT_OK(first);
  EXPECT_EQ(first->copy.identities, Objects("identity/"));
  EXPECT_EQ(first->copy.key_wraps, Objects("key/"));
  EXPECT_EQ(first->copy.location, store_->location());
  store_->SetHook([](FaultStore::Operation operation, std::string_view) {
    EXPECT_NE(operation, FaultStore::Operation::kPut);
    return Ok();
  });
  const auto second = Keep(first->copy);
  ASSERT_OK(second);
  EXPECT_THAT(second->put_back, IsEmpty());
  store_->SetHook({});
}

TEST_P(EntranceTest, WhatIsMissingIsPutBackAsItWas) {
  PutWal(*Initialise().value());
  const std::vector<NamedText> before = Objects();
  const EntranceCopy held = Held();
  const std::vector<std::vector<std::string>> losses = {
      {"identity/"}, {"key/"}, {"identity/", "key/"}};
  for (const auto& loss : losses) {
    std::vector<std::string> lost;
    for (const std::string& prefix : loss) {
      const std::vector<std::string> names = Names(prefix);
      lost.insert(lost.end(), names.begin(), names.end());
      Lose(prefix);
    }
    const auto look = Keep(held);
    ASSERT_OK(look);
    EXPECT_THAT(look->put_back, testing::UnorderedElementsAreArray(lost));
    for (const NamedText& object : before) {
      EXPECT_THAT(Objects(object.name), ElementsAre(object));
    }
    EXPECT_OK(Initialise());
    const auto again = Keep(look->copy);
    ASSERT_OK(again);
    EXPECT_THAT(again->put_back, IsEmpty());
  }
}

// Anybody who can write to the store must not be able to prevent that deleted objects are put back.
TEST_P(EntranceTest, StrayWrapsDoNotPreventPuttingBack) {
  if (std::get<Backend>(GetParam()) == Backend::kS3) {
    GTEST_SKIP() << "a thousand requests";
  }
  PutWal(*Initialise().value());
  const EntranceCopy held = Held();
  const std::string key_id = held.key_id;
  if (key_id.empty()) {
    GTEST_SKIP() << "there is no key";
  }
  Lose("identity/");
  clock_.Sleep(std::chrono::seconds(1), nullptr);
  for (std::size_t i = 0; i <= limits::kKeyWraps; ++i) {
    Put(KeyWrapName(key_id, fmt::format("{:016}", i)), "x");
  }
  const auto look = Keep(held);
  ASSERT_OK(look);
  EXPECT_THAT(look->put_back, SizeIs(1));
}

// A file system that is not mounted, or the bucket of the same name at another service: an empty
// place is not the repository because of its name alone. A check leaves a probe, and a starting
// server may leave a wrap.
TEST_P(EntranceTest, AnEmptyPlaceStaysEmpty) {
  PutWal(*Initialise().value());
  const EntranceCopy held = Held();
  Lose("identity/");
  Lose("wal/");
  Lose("format/");
  Put("probe/1", "x");
  for (const bool loses_rest : {false, true}) {
    if (loses_rest) {
      Lose("");
    }
    const std::vector<std::string> names = Names();
    const auto look = Keep(held);
    EXPECT_ERROR(look, ErrorCode::kFailedPrecondition);
    EXPECT_THAT(look.error().message,
                HasSubstr("is empty, but this server has archived to it before"));
    EXPECT_THAT(look.error().hint, HasSubstr("veza_backup_init()"));
    EXPECT_EQ(Names(), names);
  }
}

// A server that has not noticed the loss stores WAL in whatever place it finds, and so do other
// nodes.
TEST_P(EntranceTest, NewerObjectsProveNothing) {
  const auto repository = Initialise().value();
  PutWal(*repository);
  const EntranceCopy held = Keep(std::nullopt).value().copy;
  Lose("");
  PutWal(*repository);
  for (const char* const other : {"lock/0000000001", "gap/1/a", "drill/a", "wal/1/a"}) {
    Put(other, "x");
  }
  const std::vector<std::string> names = Names();
  const auto look = Keep(held);
  EXPECT_ERROR(look, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(look.error().message, HasSubstr("nothing proves that it is the same repository"));
  EXPECT_THAT(look.error().hint,
              AllOf(HasSubstr("vezactl key restore"), HasSubstr("veza_backup_init()")));
  EXPECT_EQ(Names(), names);

  // The same objects are a proof if they are older than the last check.
  EntranceCopy later = held;
  later.seen += std::chrono::minutes(1);
  EXPECT_OK(Keep(later));
  EXPECT_OK(RequireKeyInPlace(*repository, kTestSystem));
}

TEST_P(EntranceTest, ABackupThatOurKeyHasSignedIsAProof) {
  const auto repository = Initialise().value();
  EntranceCopy held = Held();
  held.seen = {};
  Lose("identity/");
  Put("backup/20261122-010000F/backup.json", R"({"format": 1})");
  EXPECT_ERROR(Keep(held), ErrorCode::kFailedPrecondition);
  PutBackup(*repository, "20261122-020000F");
  if (encrypted()) {
    EXPECT_OK(Keep(held));
  } else {
    // Without a key, anybody may have written it.
    EXPECT_ERROR(Keep(held), ErrorCode::kFailedPrecondition);
  }
}

TEST_P(EntranceTest, ADamagedIdentityIsReplaced) {
  const auto repository = Initialise().value();
  const std::vector<NamedText> before = Objects();
  const EntranceCopy held = Held();
  const NamedText good = Objects("identity/").front();
  std::string other_node = good.text;
  other_node.replace(other_node.find("node-a"), 6, "node-b");
  const std::string damages[] = {"",         "garbage",
                                 "{}",       good.text.substr(0, good.text.size() / 2),
                                 other_node, std::string(limits::kIdentity + 1, ' ')};
  for (const std::string& damage : damages) {
    Put(good.name, damage);
    const auto opened = Open();
    EXPECT_ERROR(opened, ErrorCode::kDataCorrupted);
    if (damage.size() <= limits::kIdentity) {
      EXPECT_THAT(opened.error().hint, HasSubstr("vezactl key restore")) << damage;
    }
    EXPECT_ERROR(RequireKeyInPlace(*repository, kTestSystem), ErrorCode::kDataCorrupted);
    const auto look = Keep(held);
    ASSERT_OK(look) << damage;
    EXPECT_THAT(look->put_back, ElementsAre(good.name));
    EXPECT_EQ(Objects(), before);
  }
  if (encrypted()) {
    // Anybody who can write to the bucket can write the same without a signature.
    Put(good.name, SignedWithoutKey(good));
    EXPECT_ERROR(Open(), ErrorCode::kPermissionDenied);
    EXPECT_ERROR(RequireKeyInPlace(*repository, kTestSystem), ErrorCode::kPermissionDenied);
    const auto look = Keep(held);
    ASSERT_OK(look);
    EXPECT_THAT(look->put_back, ElementsAre(good.name));
    EXPECT_EQ(Objects(), before);
  }
  if (encrypted()) {
    // An identity that names no key can be written without a key.
    Identity forged = TestIdentity();
    forged.cipher = "none";
    Put(good.name, SerializeIdentity(forged, TestPolicy(Cipher::kNone)).value());
    const auto opened = Open();
    EXPECT_ERROR(opened, ErrorCode::kPermissionDenied);
    EXPECT_THAT(opened.error().hint, AllOf(HasSubstr("key restore"), Not(HasSubstr("to none"))));
    const auto refused = RequireKeyInPlace(*repository, kTestSystem);
    EXPECT_ERROR(refused, ErrorCode::kWrongKey);
    EXPECT_THAT(refused.error().message, HasSubstr("now has no key"));
    const auto look = Keep(held);
    ASSERT_OK(look);
    EXPECT_THAT(look->put_back, ElementsAre(good.name));
    EXPECT_EQ(Objects(), before);
  }
  // A good identity that appears between the check and the replacement stays.
  EXPECT_OK(ReplaceDamagedIdentity(*store_, {good.name, "garbage"}, "another"));
  EXPECT_EQ(Objects(), before);
}

TEST_P(EntranceTest, ADamagedIdentityThatIsNotHeldStays) {
  ASSERT_OK(Initialise());
  const EntranceCopy held = Held();
  const std::string unknown = IdentityName(kOtherSystem);
  Put(unknown, "");
  EXPECT_ERROR(Keep(held), ErrorCode::kDataCorrupted);
  EXPECT_EQ(Objects(unknown).front().text, "");
}

// Nobody could put them back, because they belong to no system.
TEST_P(EntranceTest, ForeignObjectsBelowIdentityArePassedOver) {
  for (const char* const name : {"identity/123", "identity/junk", "identity/zz/x"}) {
    Put(name, "junk");
  }
  const auto opened = Open();
  EXPECT_ERROR(opened, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(opened.error().message, HasSubstr("not initialized"));
  const auto repository = Initialise();
  ASSERT_OK(repository);
  EXPECT_OK(Open());
  EXPECT_OK(RequireKeyInPlace(**repository, kTestSystem));
  PutWal(**repository);
  const EntranceCopy held = Held();
  EXPECT_THAT(held.identities, SizeIs(1));
  EXPECT_THAT(Keep(held).value().put_back, IsEmpty());

  Lose(IdentityName(kTestSystem));
  const auto lost = Open();
  EXPECT_ERROR(lost, ErrorCode::kDataCorrupted);
  EXPECT_THAT(lost.error().message, HasSubstr("has lost its identity"));
  EXPECT_ERROR(Initialise(), ErrorCode::kDataCorrupted);
  EXPECT_THAT(Keep(held).value().put_back, ElementsAre(IdentityName(kTestSystem)));
  EXPECT_OK(Open());
  EXPECT_EQ(Objects("identity/junk").front().text, "junk");
}

TEST_P(EntranceTest, TheHintNamesADamagedIdentityOfAnotherSystem) {
  ASSERT_OK(Initialise());
  const std::string other = IdentityName(kOtherSystem);
  for (const std::string& damage : {std::string("junk"), std::string(limits::kIdentity + 1, ' ')}) {
    Put(other, damage);
    const auto opened = Open();
    EXPECT_ERROR(opened, ErrorCode::kDataCorrupted);
    EXPECT_THAT(opened.error().message, HasSubstr(other));
    EXPECT_THAT(
        opened.error().hint,
        AllOf(HasSubstr("object \"" + other + "\""), HasSubstr("vezactl key restore"),
              HasSubstr(fmt::format("Only if no server of system {} has ever archived here, "
                                    "delete the object",
                                    kOtherSystem))));
  }
}

// What is acknowledged must be readable.
TEST_P(EntranceTest, WithoutIdentityOrKeyNothingCounts) {
  const auto repository = Initialise().value();
  const std::vector<NamedText> before = Objects();
  EXPECT_OK(RequireKeyInPlace(*repository, kTestSystem));
  Lose("identity/");
  Put("wal/x", "x");
  const auto refused = RequireKeyInPlace(*repository, kTestSystem);
  EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refused.error().hint, HasSubstr("vezactl key restore"));
  for (const NamedText& object : before) {
    Put(object.name, object.text);
  }
  EXPECT_OK(RequireKeyInPlace(*repository, kTestSystem));
  Lose("key/");
  if (encrypted()) {
    EXPECT_ERROR(RequireKeyInPlace(*repository, kTestSystem), ErrorCode::kDataCorrupted);
  } else {
    EXPECT_OK(RequireKeyInPlace(*repository, kTestSystem));
  }
}

TEST_P(EntranceTest, RecognisesAPlaceThatHoldsOnlyNewWal) {
  EXPECT_TRUE(HoldsOnlyNewWal(*store_, kTestSystem, 1).value());
  PutWal(*Initialise().value());
  EXPECT_TRUE(HoldsOnlyNewWal(*store_, kTestSystem, 1).value());
  EXPECT_FALSE(HoldsOnlyNewWal(*store_, kTestSystem, 0).value());
  Put("backup/20261122-020000F/backup.json", "x");
  EXPECT_FALSE(HoldsOnlyNewWal(*store_, kTestSystem, 1).value());
}

TEST_P(EntranceTest, WithoutACopyNothingIsPutBack) {
  PutWal(*Initialise().value());
  EntranceCopy elsewhere = Held();
  elsewhere.location += "-other";
  EntranceCopy other_service = Held();
  other_service.service = "https://s3.example.org (us-east-1)";
  Lose("identity/");
  const std::vector<std::string> names = Names();
  EXPECT_ERROR(Keep(std::nullopt), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(Keep(elsewhere), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(Keep(other_service), ErrorCode::kDataCorrupted);
  EXPECT_EQ(Names(), names);
}

// It may have been removed on purpose, and nobody needs it.
TEST_P(EntranceTest, TheIdentityOfAnotherSystemIsNotPutBackAlone) {
  PutWal(*Initialise().value());
  ASSERT_OK(Initialise(kOtherSystem, true));
  const EntranceCopy held = Held();
  EXPECT_OK(store_->Delete(IdentityName(kOtherSystem)));
  const auto alone = Keep(held);
  ASSERT_OK(alone);
  EXPECT_THAT(alone->put_back, IsEmpty());

  EXPECT_OK(store_->Delete(IdentityName(kTestSystem)));
  const auto both = Keep(held);
  ASSERT_OK(both);
  EXPECT_THAT(both->put_back, ElementsAre(IdentityName(kOtherSystem), IdentityName(kTestSystem)));
}

TEST_P(EntranceTest, OurIdentityIsPutBackBesideAnother) {
  ASSERT_OK(Initialise());
  ASSERT_OK(Initialise(kOtherSystem, true));
  const EntranceCopy held = Held();
  EXPECT_OK(store_->Delete(IdentityName(kTestSystem)));
  const auto look = Keep(held);
  ASSERT_OK(look);
  EXPECT_THAT(look->put_back, ElementsAre(IdentityName(kTestSystem)));
}

// A server of version 0.1 has found the repository without identity and created a new key.
TEST_P(EntranceTest, AnotherKeyIsAConflict) {
  ASSERT_OK(Initialise());
  EntranceCopy held = Held();
  Lose("");
  if (encrypted()) {
    ASSERT_OK(Initialise());
  } else {
    held.key_id = std::string(32, 'a');
    ASSERT_OK(Initialise());
  }
  const std::vector<NamedText> before = Objects();
  const auto look = Keep(held);
  EXPECT_ERROR(look, ErrorCode::kConflict);
  EXPECT_THAT(look.error().message, AllOf(HasSubstr(held.key_id), HasSubstr("this server")));
  EXPECT_EQ(Objects(), before);
}

// The archiver promises only what the scheduler then does.
TEST_P(EntranceTest, PuttingBackIsPromisedOnlyWhereItHappens) {
  const auto repository = Initialise().value();
  PutWal(*repository);
  const EntranceCopy held = Held();
  Lose("identity/");
  const auto lost = RequireKeyInPlace(*repository, kTestSystem);
  EXPECT_THAT(lost.error().hint, HasSubstr("puts the objects back within minutes"));
  EXPECT_THAT(Keep(held).value().put_back, ElementsAre(IdentityName(kTestSystem)));
  if (!encrypted()) {
    return;
  }
  // The identity and key of another cluster.
  Lose("identity/");
  const std::shared_ptr<Store> elsewhere = MakeStore("elsewhere");
  const auto other =
      Repository::Initialise(elsewhere, options_, environment_, TestIdentity(kOtherSystem), false)
          .value();
  const NamedText identity = other->identity_objects().front();
  const NamedText wrap = other->key_wraps().front();
  Put(identity.name, identity.text);
  Put(wrap.name, wrap.text);
  for (const std::string& there : {identity.name, wrap.name}) {
    const std::vector<NamedText> before = Objects();
    const auto refused = RequireKeyInPlace(*repository, kTestSystem);
    EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
    EXPECT_THAT(refused.error().message,
                AllOf(HasSubstr("has lost its identity"), HasSubstr(there)));
    EXPECT_THAT(refused.error().hint, AllOf(HasSubstr("Nothing is put back automatically"),
                                            Not(HasSubstr("within minutes"))));
    const auto look = Keep(held);
    EXPECT_ERROR(look, ErrorCode::kConflict);
    EXPECT_THAT(look.error().hint, HasSubstr("Nothing is put back automatically"));
    EXPECT_EQ(Objects(), before);
    EXPECT_OK(store_->Delete(identity.name));
  }
  const std::vector<NamedText> rest = ReadObjects(*elsewhere, "", 1U << 20, 100).value();
  for (const NamedText& object : rest) {
    EXPECT_OK(elsewhere->Delete(object.name));
  }
}

// The repository was emptied and created anew, and has lost its identity since. The wrap of its key
// is there, and the server holds the earlier key.
TEST_P(EntranceTest, NothingIsPutBackBesideAnotherKey) {
  ASSERT_OK(Initialise());
  const EntranceCopy held = Held();
  if (encrypted()) {
    Lose("");
    PutWal(*Initialise().value());
  } else {
    PutWal(*Open().value());
    Put(fmt::format("key/{}.{}", std::string(32, 'f'), std::string(16, '0')), "x");
  }
  Lose("identity/");
  const std::vector<NamedText> before = Objects();
  const auto look = Keep(held);
  EXPECT_ERROR(look, ErrorCode::kConflict);
  EXPECT_THAT(look.error().hint, HasSubstr("vezactl key restore"));
  EXPECT_EQ(Objects(), before);
}

class KeptWrapTest : public EntranceTest {
 protected:
  void SetUp() override {
    EntranceTest::SetUp();
    if (!encrypted()) {
      GTEST_SKIP() << "there is no key";
    }
  }
  // By the store's time, which has a precision of one second.
  void PutNewest(const std::string& name, std::string_view text) {
    clock_.Sleep(std::chrono::seconds(1), nullptr);
    if (std::get<Backend>(GetParam()) == Backend::kS3) {
      SystemClock().Sleep(std::chrono::milliseconds(1100), nullptr);
    }
    EXPECT_OK(store_->Delete(name));
    Put(name, text);
  }
  int WrapsFetched(const RepositoryOptions& options) {
    int fetched = 0;
    store_->SetHook([&](FaultStore::Operation operation, std::string_view name) {
      fetched += operation == FaultStore::Operation::kGet && name.starts_with(kKeyPrefix) ? 1 : 0;
      return Ok();
    });
    EXPECT_OK(Repository::Open(store_, options, environment_));
    store_->SetHook(nullptr);
    return fetched;
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, KeptWrapTest, EntranceTestValues(), EntranceTestName);

// FORMAT.md section 2: a change of the passphrase removes the old wrap on purpose.
TEST_P(KeptWrapTest, ARemovedPassphraseIsNotPutBack) {
  const auto repository = Initialise().value();
  PutWal(*repository);
  const EntranceCopy held = Held();
  const std::string key_id = held.key_id;
  Put(KeyWrapName(key_id, std::string(16, '0')),
      WrapKey(*repository->seal_policy().key, "a new passphrase", "node-b", kTestTime,
              SystemRandom())
          .value());
  EXPECT_OK(store_->Delete(held.key_wraps.front().name));
  Lose("identity/");
  // The identity is put back, the wrap is not.
  EXPECT_ERROR(Keep(held), ErrorCode::kWrongKey);
  EXPECT_THAT(Names("key/"), ElementsAre(KeyWrapName(key_id, std::string(16, '0'))));
  EXPECT_THAT(Names("identity/"), SizeIs(1));
  EXPECT_ERROR(Keep(held), ErrorCode::kWrongKey);
  EXPECT_THAT(Names("key/"), SizeIs(1));

  // A server with the new passphrase has found the new wrap at its next check, and keeps a copy of
  // it.
  const RepositoryOptions changed = OptionsWith("a new passphrase");
  const auto look = KeepEntrance(store_, service_, changed, environment_, kTestSystem, held);
  ASSERT_OK(look);
  EXPECT_EQ(look->copy.key_wraps.front().name, KeyWrapName(key_id, std::string(16, '0')));
}

TEST_P(KeptWrapTest, ASecondWrapThatThePassphraseOpensIsEnough) {
  const auto repository = Initialise().value();
  const EntranceCopy held = Held();
  Put(KeyWrapName(held.key_id, std::string(16, '0')),
      WrapKey(*repository->seal_policy().key, kTestPassphrase, "node-b", kTestTime, SystemRandom())
          .value());
  EXPECT_OK(store_->Delete(held.key_wraps.front().name));
  const auto look = Keep(held);
  ASSERT_OK(look);
  EXPECT_THAT(look->put_back, IsEmpty());
  EXPECT_EQ(look->copy.key_wraps.front().name, KeyWrapName(held.key_id, std::string(16, '0')));
}

// Anybody who can write to the store must not be able to choose how long opening takes.
TEST_P(KeptWrapTest, TheNumberOfTriedWrapsIsLimited) {
  const std::string key_id = Initialise().value()->identities().front().key_id;
  const NamedText ours = Objects("key/").front();
  EXPECT_OK(store_->Delete(ours.name));
  Put(KeyWrapName(key_id, std::string(16, 'f')), ours.text);
  const std::string junk = WrapKey(*Open().value()->seal_policy().key, "another passphrase",
                                   "node-b", kTestTime, SystemRandom())
                               .value();
  for (std::size_t i = 0; i < limits::kKeyWrapsTried; ++i) {
    Put(KeyWrapName(key_id, fmt::format("{:016}", i)), i % 8 == 0 ? "no wrap" : junk);
  }
  EXPECT_OK(Open());
  for (std::size_t i = 0; i < limits::kKeyWrapsTried; ++i) {
    Put(KeyWrapName(key_id, fmt::format("{:016}", i)), junk);
  }
  PutNewest(KeyWrapName(key_id, std::string(16, 'f')), ours.text);
  const auto opened = Open();
  EXPECT_ERROR(opened, ErrorCode::kWrongKey);
  EXPECT_THAT(
      opened.error().message,
      AllOf(HasSubstr(fmt::format("{} objects", limits::kKeyWrapsTried + 1)), HasSubstr(key_id)));
}

// The true wrap is as old as the repository.
TEST_P(KeptWrapTest, TheOldestWrapIsTriedFirst) {
  const std::string key_id = Initialise().value()->identities().front().key_id;
  const NamedText ours = Objects("key/").front();
  EXPECT_OK(store_->Delete(ours.name));
  Put(KeyWrapName(key_id, std::string(16, 'f')), ours.text);
  for (int i = 0; i < 3; ++i) {
    PutNewest(KeyWrapName(key_id, fmt::format("{:016}", i)), "no wrap");
  }
  EXPECT_EQ(WrapsFetched(options_), 1);
  if (std::get<Backend>(GetParam()) == Backend::kDirectory) {
    for (std::size_t i = 0; i < 2 * limits::kKeyWraps; ++i) {
      WriteText(directory_.path() + "/main/" + KeyWrapName(key_id, fmt::format("{:016}", i)), "?");
    }
    EXPECT_EQ(WrapsFetched(options_), 1);
    std::filesystem::remove_all(directory_.path() + "/main/key");
  }
}

// Another process has opened the repository before (restore/key_wrap_note.h).
TEST_P(KeptWrapTest, TheNotedWrapIsTriedFirst) {
  const std::string key_id = Initialise().value()->identities().front().key_id;
  const NamedText ours = Objects("key/").front();
  const std::string name = KeyWrapName(key_id, std::string(16, 'f'));
  Put(ours.name, "no wrap");
  for (int i = 0; i < 3; ++i) {
    Put(KeyWrapName(key_id, fmt::format("{:016}", i)), "no wrap");
  }
  PutNewest(name, ours.text);
  RepositoryOptions options = options_;
  options.first_wrap = name;
  EXPECT_EQ(WrapsFetched(options), 1);
  // A wrong note does no harm.
  for (const std::string& wrong :
       {ours.name, KeyWrapName(key_id, "../../identity/7"), KeyWrapName(key_id, "gone"),
        std::string("key/other/x"), std::string("\n"), std::string()}) {
    options.first_wrap = wrong;
    EXPECT_GE(WrapsFetched(options), 5) << wrong;
  }
}

// The wrap of another repository, with the same passphrase or another one.
TEST_P(KeptWrapTest, TheWrapOfAnotherKeyDoesNotCount) {
  const auto repository = Initialise().value();
  const EntranceCopy held = Held();
  const std::string name = held.key_wraps.front().name;
  for (const std::string& passphrase : {std::string(kTestPassphrase), std::string("another")}) {
    Lose("key/");
    const std::string other =
        WrapKey(TestKey(), passphrase, "node-b", kTestTime, SystemRandom()).value();
    Put(name, other);
    for (const Error& refused :
         {Open().error(), RequireKeyInPlace(*repository, kTestSystem).error()}) {
      EXPECT_EQ(refused.code, ErrorCode::kDataCorrupted);
      EXPECT_THAT(refused.message, HasSubstr("is the wrap of another key"));
      EXPECT_THAT(refused.hint, HasSubstr("vezactl key restore"));
    }
    const auto look = Keep(held);
    ASSERT_OK(look);
    EXPECT_THAT(look->put_back, ElementsAre(Not(name)));
    EXPECT_EQ(Objects(name).front().text, other) << "nothing is overwritten";
    EXPECT_OK(Open());
    EXPECT_OK(RequireKeyInPlace(*repository, kTestSystem));
    EXPECT_THAT(Keep(held).value().put_back, IsEmpty());
  }
}

// A wrap of our key whose content no passphrase opens any more, although its name and form are
// valid.
TEST_P(KeptWrapTest, AnIntactWrapIsPutBesideAChangedOne) {
  const auto repository = Initialise().value();
  const EntranceCopy held = Held();
  const std::string name = held.key_wraps.front().name;
  Put(name, WrapKey(*repository->seal_policy().key, "another passphrase", "node-b", kTestTime,
                    SystemRandom())
                .value());
  EXPECT_ERROR(RequireKeyInPlace(*repository, kTestSystem), ErrorCode::kWrongKey);
  const auto look = Keep(held);
  ASSERT_OK(look);
  EXPECT_THAT(look->put_back, ElementsAre(Not(name)));
  EXPECT_OK(RequireKeyInPlace(*repository, kTestSystem));
}

// Nothing is overwritten. The wrap gets a new name.
TEST_P(KeptWrapTest, AnIntactWrapIsPutBesideAnOverwrittenOne) {
  ASSERT_OK(Initialise());
  const EntranceCopy held = Held();
  const std::string name = held.key_wraps.front().name;
  Put(name, "garbage");
  const auto look = Keep(held);
  ASSERT_OK(look);
  EXPECT_THAT(look->put_back, ElementsAre(Not(name)));
  EXPECT_THAT(Names("key/"), SizeIs(2));
  EXPECT_EQ(Objects(name).front().text, "garbage");
  EXPECT_OK(Open());
}

}  // namespace
}  // namespace veza
