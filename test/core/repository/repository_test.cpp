#include "core/repository/repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <barrier>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/codec/document.h"
#include "core/codec/key.h"
#include "core/repository/test_repository.h"

namespace veza {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

constexpr std::uint64_t kOtherSystem = 7'000'000'000'000'000'001U;

class RepositoryTest : public testing::Test {
 protected:
  RepositoryTest() {
    options_.cipher = Cipher::kAes256Gcm;
    options_.passphrase = SecretString(kTestPassphrase);
    options_.node = "node-a";
    options_.spill_directory = directory_.path();
    environment_.clock = &clock_;
    store_ = MakeStore();
  }

  // By the system's clock, like the times of the file system.
  std::shared_ptr<FaultStore> MakeStore() const {
    return std::make_shared<FaultStore>(MakeLocalStore(Root(), {}).value());
  }
  std::string Root() const { return directory_.path() + "/repository"; }
  RepositoryOptions Options(Cipher cipher, std::string_view passphrase = kTestPassphrase) const {
    RepositoryOptions options = options_;
    options.cipher = cipher;
    options.passphrase = SecretString(cipher == Cipher::kNone ? "" : passphrase);
    return options;
  }
  Result<std::unique_ptr<Repository>> Initialise(const RepositoryOptions& options,
                                                 std::uint64_t system = kTestSystem,
                                                 bool accept_new_system = false) {
    return Repository::Initialise(store_, options, environment_, TestIdentity(system),
                                  accept_new_system);
  }
  Result<std::unique_ptr<Repository>> Open(const RepositoryOptions& options) {
    return Repository::Open(store_, options, environment_);
  }
  std::vector<std::string> Names(const std::string& prefix = "") {
    std::vector<std::string> names;
    EXPECT_OK(store_->List(prefix, "", [&](const ObjectInfo& object) {
      names.push_back(object.name);
      return Ok();
    }));
    return names;
  }
  std::string PathOf(const std::string& name) const { return Root() + "/" + name; }

  TemporaryDirectory directory_;
  TestClock clock_;
  Environment environment_;
  RepositoryOptions options_;
  std::shared_ptr<FaultStore> store_;
};

TEST_F(RepositoryTest, AnEmptyStoreIsNotInitialised) {
  const auto opened = Open(options_);
  EXPECT_ERROR(opened, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(opened.error().message, AllOf(HasSubstr("not initialized"), HasSubstr(Root())));
  EXPECT_THAT(opened.error().hint, HasSubstr("veza_backup_init()"));
  EXPECT_FALSE(std::filesystem::exists(Root()));
}

TEST_F(RepositoryTest, InitialiseWritesOneKeyAndOneIdentity) {
  const auto repository = Initialise(options_);
  ASSERT_OK(repository);
  EXPECT_THAT(Names("key/"), SizeIs(1));
  EXPECT_THAT(Names("identity/"), testing::ElementsAre(IdentityName(kTestSystem)));
  EXPECT_THAT(Names("format/"), testing::ElementsAre(kFormatMarkName));
  EXPECT_THAT(Names(), SizeIs(3));

  ASSERT_THAT((*repository)->identities(), SizeIs(1));
  const Identity& identity = (*repository)->identities().front();
  EXPECT_EQ(identity.system_identifier, kTestSystem);
  EXPECT_EQ(identity.postgres_version_num, 150020);
  EXPECT_EQ(identity.wal_segment_size, kTestSegmentSize);
  EXPECT_EQ(identity.block_size, 8192U);
  EXPECT_EQ(identity.cipher, "aes-256-gcm");
  EXPECT_EQ(identity.node, "node-a");
  EXPECT_EQ(identity.created, kTestTime);
  ASSERT_NE((*repository)->seal_policy().key, nullptr);
  EXPECT_EQ(identity.key_id, (*repository)->seal_policy().key->hex_id());
  EXPECT_TRUE(Names("key/").front().starts_with("key/" + identity.key_id + "."));
  for (const std::string& name : Names()) {
    EXPECT_THAT(ReadText(PathOf(name)), Not(HasSubstr(kTestPassphrase)));
  }
}

TEST_F(RepositoryTest, InitialiseIsIdempotent) {
  ASSERT_OK(Initialise(options_));
  const std::vector<std::string> names = Names();
  const std::string identity = ReadText(PathOf(IdentityName(kTestSystem)));
  clock_.Sleep(std::chrono::hours(1), nullptr);
  ASSERT_OK(Initialise(options_));
  EXPECT_EQ(Names(), names);
  EXPECT_EQ(ReadText(PathOf(IdentityName(kTestSystem))), identity);
}

// wal-get opens the repository for each file that was not prefetched, and waits for each request.
TEST_F(RepositoryTest, OpeningRequestsEveryObjectOnce) {
  ASSERT_OK(Initialise(options_));
  int requests = 0;
  store_->SetHook([&](FaultStore::Operation, std::string_view) {
    ++requests;
    return Ok();
  });
  ASSERT_OK(Open(options_));
  EXPECT_EQ(requests, 4);  // list and get, for identities and keys
}

TEST_F(RepositoryTest, WithoutACipherThereIsNoKey) {
  const RepositoryOptions options = Options(Cipher::kNone);
  const auto repository = Initialise(options);
  ASSERT_OK(repository);
  EXPECT_THAT(Names("key/"), IsEmpty());
  EXPECT_EQ((*repository)->seal_policy().key, nullptr);
  EXPECT_EQ((*repository)->identities().front().key_id, "");
  EXPECT_OK(Open(options));
}

// FORMAT.md section 7: the process that loses the race for the identity deletes its wrap.
TEST_F(RepositoryTest, OfManyInitialisersOneMakesTheKey) {
  constexpr int kRacers = 6;
  std::vector<std::string> key_ids(kRacers);
  // All of them have seen the empty store before the first one writes.
  std::barrier seen(kRacers);
  std::vector<std::thread> threads;
  for (int i = 0; i < kRacers; ++i) {
    threads.emplace_back([&, i] {
      const std::shared_ptr<FaultStore> store = MakeStore();
      bool waited = false;
      store->SetHook([&](FaultStore::Operation operation, std::string_view name) -> Status {
        if (operation == FaultStore::Operation::kPut && name.starts_with("key/") && !waited) {
          waited = true;
          seen.arrive_and_wait();
        }
        return Ok();
      });
      const auto repository =
          Repository::Initialise(store, options_, environment_, TestIdentity(), false);
      ASSERT_OK(repository);
      key_ids[static_cast<std::size_t>(i)] = (*repository)->seal_policy().key->hex_id();
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_THAT(Names("key/"), SizeIs(1));
  EXPECT_THAT(Names("identity/"), SizeIs(1));
  EXPECT_THAT(key_ids, testing::Each(key_ids.front()));
}

TEST_F(RepositoryTest, AWrongPassphraseIsReported) {
  ASSERT_OK(Initialise(options_));
  const auto opened = Open(Options(Cipher::kAes256Gcm, "another passphrase"));
  EXPECT_ERROR(opened, ErrorCode::kWrongKey);
  EXPECT_THAT(opened.error().message, Not(HasSubstr("another passphrase")));
  EXPECT_THAT(opened.error().hint,
              AllOf(HasSubstr("cipher_passphrase"), Not(HasSubstr("another passphrase"))));
  EXPECT_ERROR(Initialise(Options(Cipher::kAes256Gcm, "another passphrase")), ErrorCode::kWrongKey);
  EXPECT_THAT(Names(), SizeIs(3));
}

TEST_F(RepositoryTest, EncryptionIsNeitherDroppedNorAssumed) {
  ASSERT_OK(Initialise(options_));
  const auto plain = Open(Options(Cipher::kNone));
  EXPECT_ERROR(plain, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(plain.error().message, HasSubstr("is encrypted"));
  EXPECT_ERROR(Initialise(Options(Cipher::kNone)), ErrorCode::kFailedPrecondition);
  // The two ciphers may alternate; each object says which one was used.
  EXPECT_OK(Open(Options(Cipher::kAes256Cbc)));
}

TEST_F(RepositoryTest, EncryptionAskedForOnAPlainRepositoryIsRefused) {
  ASSERT_OK(Initialise(Options(Cipher::kNone)));
  for (const Cipher cipher : {Cipher::kAes256Gcm, Cipher::kAes256Cbc}) {
    const auto opened = Open(Options(cipher));
    EXPECT_ERROR(opened, ErrorCode::kFailedPrecondition);
    EXPECT_THAT(opened.error().message, HasSubstr("without encryption"));
    EXPECT_FALSE(opened.error().hint.empty());
    EXPECT_ERROR(Initialise(Options(cipher)), ErrorCode::kFailedPrecondition);
  }
  EXPECT_THAT(Names("key/"), IsEmpty());
}

TEST_F(RepositoryTest, AnotherSystemIsRefusedUntilItIsAccepted) {
  ASSERT_OK(Initialise(options_));
  const auto refused = Initialise(options_, kOtherSystem);
  EXPECT_ERROR(refused, ErrorCode::kConflict);
  EXPECT_THAT(refused.error().message,
              AllOf(HasSubstr(std::to_string(kTestSystem)), HasSubstr(std::to_string(kOtherSystem)),
                    HasSubstr("node-a"), HasSubstr("2026-11-22")));
  EXPECT_THAT(refused.error().hint, HasSubstr("accept_new_system"));
  EXPECT_THAT(Names(), SizeIs(3));

  const auto accepted = Initialise(options_, kOtherSystem, true);
  ASSERT_OK(accepted);
  EXPECT_THAT(Names("identity/"), SizeIs(2));
  EXPECT_THAT(Names("key/"), SizeIs(1));
  EXPECT_THAT((*accepted)->identities(), SizeIs(2));
  EXPECT_OK((*accepted)->RequireSystem(kTestSystem));
  EXPECT_OK((*accepted)->RequireSystem(kOtherSystem));
  EXPECT_OK(Initialise(options_, kOtherSystem));
  EXPECT_OK(Initialise(options_, kTestSystem));
}

TEST_F(RepositoryTest, AcceptingASystemNeedsThePassphrase) {
  ASSERT_OK(Initialise(options_));
  EXPECT_ERROR(Initialise(Options(Cipher::kAes256Gcm, "another passphrase"), kOtherSystem, true),
               ErrorCode::kWrongKey);
  EXPECT_ERROR(Initialise(Options(Cipher::kNone), kOtherSystem, true),
               ErrorCode::kFailedPrecondition);
  EXPECT_THAT(Names("identity/"), SizeIs(1));
}

TEST_F(RepositoryTest, SystemsAreToldApart) {
  ASSERT_OK(Initialise(options_));
  {
    const auto one = Open(options_).value();
    EXPECT_EQ(one->IdentityOf(std::nullopt).value().system_identifier, kTestSystem);
    EXPECT_EQ(one->IdentityOf(kTestSystem).value().system_identifier, kTestSystem);
    EXPECT_ERROR(one->IdentityOf(kOtherSystem), ErrorCode::kConflict);
    EXPECT_ERROR(one->RequireSystem(kOtherSystem), ErrorCode::kConflict);
  }
  ASSERT_OK(Initialise(options_, kOtherSystem, true));
  const auto two = Open(options_).value();
  const auto which = two->IdentityOf(std::nullopt);
  EXPECT_ERROR(which, ErrorCode::kInvalidArgument);
  EXPECT_THAT(which.error().hint,
              AllOf(HasSubstr(std::to_string(kTestSystem)), HasSubstr(std::to_string(kOtherSystem)),
                    HasSubstr("--system-id")));
  EXPECT_EQ(two->IdentityOf(kOtherSystem).value().system_identifier, kOtherSystem);
}

// Two clusters under one name have both found the store empty.
TEST_F(RepositoryTest, TwoKeysUnderOneNameAreRefused) {
  ASSERT_OK(Initialise(options_));
  const std::string ours = ReadText(PathOf(IdentityName(kTestSystem)));
  std::filesystem::remove(PathOf(IdentityName(kTestSystem)));
  std::filesystem::remove_all(PathOf("format"));
  ASSERT_OK(Initialise(options_, kOtherSystem));
  WriteText(PathOf(IdentityName(kTestSystem)), ours);
  const auto opened = Open(options_);
  EXPECT_ERROR(opened, ErrorCode::kConflict);
  EXPECT_THAT(opened.error().message, AllOf(HasSubstr(std::to_string(kTestSystem)),
                                            HasSubstr(std::to_string(kOtherSystem))));
}

TEST_F(RepositoryTest, ALostKeyIsReported) {
  ASSERT_OK(Initialise(options_));
  const std::string wrap = Names("key/").front();
  std::filesystem::remove(PathOf(wrap));
  for (const auto& opened : {Open(options_), Initialise(options_)}) {
    EXPECT_ERROR(opened, ErrorCode::kDataCorrupted);
    EXPECT_THAT(opened.error().message, HasSubstr("lost its key"));
  }
  EXPECT_THAT(Names("key/"), IsEmpty());
}

TEST_F(RepositoryTest, ADamagedKeyIsNamed) {
  ASSERT_OK(Initialise(options_));
  const std::string wrap = Names("key/").front();
  WriteText(PathOf(wrap), "{}");
  const auto opened = Open(options_);
  EXPECT_ERROR(opened, ErrorCode::kDataCorrupted);
  EXPECT_THAT(opened.error().message, HasSubstr(wrap));
}

TEST_F(RepositoryTest, ASecondWrapOpensWithItsOwnPassphrase) {
  std::string key_id;
  {
    const auto repository = Initialise(options_).value();
    const DataKey& key = *repository->seal_policy().key;
    key_id = key.hex_id();
    const std::string wrap =
        WrapKey(key, "a new passphrase", "node-b", kTestTime, SystemRandom()).value();
    WriteText(PathOf(KeyWrapName(key_id, std::string(16, '0'))), wrap);
  }
  EXPECT_OK(Open(options_));
  const auto with_new = Open(Options(Cipher::kAes256Gcm, "a new passphrase"));
  ASSERT_OK(with_new);
  EXPECT_EQ((*with_new)->seal_policy().key->hex_id(), key_id);
  EXPECT_ERROR(Open(Options(Cipher::kAes256Gcm, "a third passphrase")), ErrorCode::kWrongKey);

  // Deleting the old wrap invalidates the old passphrase.
  for (const std::string& name : Names("key/")) {
    if (name != KeyWrapName(key_id, std::string(16, '0'))) {
      std::filesystem::remove(PathOf(name));
    }
  }
  EXPECT_ERROR(Open(options_), ErrorCode::kWrongKey);
  EXPECT_OK(Open(Options(Cipher::kAes256Gcm, "a new passphrase")));
}

// The wrap of another key, under the name of our key.
TEST_F(RepositoryTest, AForeignWrapOpensNothing) {
  ASSERT_OK(Initialise(options_));
  const std::string wrap =
      WrapKey(TestKey(), kTestPassphrase, "node-b", kTestTime, SystemRandom()).value();
  WriteText(PathOf(Names("key/").front()), wrap);
  EXPECT_FALSE(Open(options_));
}

TEST_F(RepositoryTest, ANewerFormatIsRefused) {
  ASSERT_OK(Initialise(options_));
  json identity = json::parse(ReadText(PathOf(IdentityName(kTestSystem))));
  identity["format"] = 2;
  WriteText(PathOf(IdentityName(kTestSystem)), identity.dump());
  EXPECT_ERROR(Open(options_), ErrorCode::kUnsupported);
  // Whatever else such a document may hold.
  WriteText(PathOf(IdentityName(kTestSystem)), R"({"format":2,"system":{}})");
  const auto opened = Open(options_);
  EXPECT_ERROR(opened, ErrorCode::kUnsupported);
  EXPECT_THAT(opened.error().message, HasSubstr(IdentityName(kTestSystem)));
  EXPECT_THAT(opened.error().hint, HasSubstr("newer version"));
  EXPECT_ERROR(Initialise(options_), ErrorCode::kUnsupported);
}

TEST_F(RepositoryTest, AnIdentityIsAuthenticated) {
  ASSERT_OK(Initialise(options_));
  const std::string path = PathOf(IdentityName(kTestSystem));
  const json good = json::parse(ReadText(path));
  const std::pair<const char*, json> changes[] = {{"postgres_version_num", 160000},
                                                  {"wal_segment_size", 16 << 20},
                                                  {"wal_segment_size", 0},
                                                  {"wal_segment_size", 3 << 20},
                                                  {"node", "x"},
                                                  {"node", 7},
                                                  {"system_identifier", "1"},
                                                  {"cipher", "none"},
                                                  {"created", "x"},
                                                  {"mac", std::string(64, '0')},
                                                  {"mac_algorithm", "md5"}};
  for (const auto& [member, value] : changes) {
    json bad = good;
    bad[member] = value;
    WriteText(path, bad.dump());
    const auto opened = Open(options_);
    ASSERT_FALSE(opened) << member;
    EXPECT_THAT(opened.error().message, HasSubstr(IdentityName(kTestSystem)));
  }
  for (const auto& [member, value] : good.items()) {
    json bad = good;
    bad.erase(member);
    WriteText(path, bad.dump());
    EXPECT_FALSE(Open(options_)) << member;
  }
  for (const char* text : {"", "x", "[]", "null"}) {
    WriteText(path, text);
    EXPECT_ERROR(Open(options_), ErrorCode::kDataCorrupted);
  }
  WriteText(path, good.dump());
  EXPECT_OK(Open(options_));
}

// Signed without a key, as somebody can make it who has access to the store and no key.
TEST_F(RepositoryTest, AnIdentityWithoutAKeyIsRefused) {
  ASSERT_OK(Initialise(options_));
  const std::string name = IdentityName(kTestSystem);
  WriteText(PathOf(name), SignedWithoutKey({name, ReadText(PathOf(name))}));
  EXPECT_ERROR(Open(options_), ErrorCode::kPermissionDenied);
}

// An identity that names no key can be written without a key, whatever the cipher setting says.
TEST_F(RepositoryTest, AnIdentityWithoutAKeyIsRefusedBesideKeys) {
  ASSERT_OK(Initialise(options_));
  const std::string path = PathOf(IdentityName(kTestSystem));
  Identity forged = TestIdentity();
  forged.cipher = "none";
  const std::string text = SerializeIdentity(forged, TestPolicy(Cipher::kNone)).value();
  WriteText(path, text);
  for (const RepositoryOptions& options : {options_, Options(Cipher::kNone)}) {
    for (const auto& opened : {Open(options), Initialise(options)}) {
      EXPECT_ERROR(opened, ErrorCode::kPermissionDenied);
      EXPECT_THAT(opened.error().hint,
                  AllOf(HasSubstr("vezactl key restore"), HasSubstr("Do not turn encryption off")));
    }
  }
  EXPECT_EQ(ReadText(path), text);
  std::filesystem::remove(path);
  std::filesystem::remove_all(PathOf("format"));
  EXPECT_ERROR(Initialise(Options(Cipher::kNone)), ErrorCode::kPermissionDenied);
  EXPECT_THAT(Names("identity/"), IsEmpty());
}

// Somebody has replaced the identity and key with those of another cluster.
TEST_F(RepositoryTest, ASystemThatHasStoredWalIsNotNew) {
  ASSERT_OK(Initialise(options_));
  std::filesystem::remove(PathOf(IdentityName(kTestSystem)));
  std::filesystem::remove_all(PathOf("key"));
  std::filesystem::remove_all(PathOf("format"));
  ASSERT_OK(Repository::Initialise(store_, options_, {}, TestIdentity(kTestSystem + 1), false));
  WriteText(PathOf(WalObjectName(kTestSystem, "000000010000000000000001").value()), "x");
  for (const bool accept : {false, true}) {
    const auto refused = Repository::Initialise(store_, options_, {}, TestIdentity(), accept);
    EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
    EXPECT_THAT(refused.error().hint, HasSubstr("vezactl key restore"));
  }
  std::filesystem::remove_all(PathOf("wal"));
  EXPECT_OK(Repository::Initialise(store_, options_, {}, TestIdentity(), true));
}

TEST_F(RepositoryTest, AnErrorOfTheStoreIsReturned) {
  ASSERT_OK(Initialise(options_));
  for (const auto broken : {FaultStore::Operation::kList, FaultStore::Operation::kGet}) {
    store_->SetHook([broken](FaultStore::Operation operation, std::string_view) -> Status {
      if (operation == broken) {
        return MakeError(ErrorCode::kUnavailable, "the store is away").Retryable();
      }
      return Ok();
    });
    for (const auto& opened : {Open(options_), Initialise(options_)}) {
      EXPECT_ERROR(opened, ErrorCode::kUnavailable);
      EXPECT_TRUE(opened.error().retryable);
    }
  }
}

}  // namespace
}  // namespace veza
