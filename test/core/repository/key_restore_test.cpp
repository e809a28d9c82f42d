#include "core/repository/key_restore.h"

#include <sys/stat.h>

#include <algorithm>

#include "core/codec/key.h"
#include "core/limits.h"
#include "core/repository/backup_catalog.h"
#include "core/repository/entrance.h"
#include "core/repository/entrance_fixture.h"
#include "core/repository/tombstone.h"

namespace veza {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kFirst = "20261120-020000F";
constexpr const char* kSecond = "20261121-020000F";
constexpr const char* kThird = "20261122-020000F";

class KeyRestoreTest : public EntranceFixture {
 protected:
  Result<KeyRestoreReport> Restore(const KeyRestoreRequest& request = {}) {
    return RestoreKey(store_, options_, environment_, request);
  }
  // All of these labels can be read.
  void ExpectBackups(const std::vector<std::string>& labels) {
    const auto opened = Open();
    ASSERT_OK(opened);
    const auto catalog = ReadBackupCatalog(**opened);
    ASSERT_OK(catalog);
    EXPECT_THAT(catalog->broken, IsEmpty());
    std::vector<std::string> found;
    for (const BackupSummary& backup : catalog->backups) {
      found.push_back(backup.label);
    }
    EXPECT_THAT(found, testing::UnorderedElementsAreArray(labels));
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, KeyRestoreTest, EntranceTestValues(), EntranceTestName);

TEST_P(KeyRestoreTest, WhatIsInPlaceIsNotChanged) {
  const auto repository = Initialise().value();
  PutBackup(*repository, kFirst);
  const std::vector<NamedText> before = Objects();
  const auto report = Restore();
  ASSERT_OK(report);
  EXPECT_THAT(report->written, IsEmpty());
  EXPECT_EQ(report->key_id, repository->identities().front().key_id);
  EXPECT_THAT(report->backups, ElementsAre(kFirst));
  EXPECT_EQ(Objects(), before);
}

TEST_P(KeyRestoreTest, EveryLossIsRepairedFromBackups) {
  {
    const auto repository = Initialise().value();
    PutBackup(*repository, kFirst);
    PutBackup(*repository, kSecond);
    PutWal(*repository);
  }
  const std::vector<NamedText> wraps = Objects("key/");
  const std::string identity = IdentityName(kTestSystem);
  for (const auto& [loses_identity, loses_key] :
       {std::pair(true, false), std::pair(false, true), std::pair(true, true)}) {
    std::vector<std::string> lost;
    if (loses_key && encrypted()) {
      lost.push_back(wraps.front().name);
      Lose("key/");
    }
    if (loses_identity) {
      lost.push_back(identity);
      Lose("identity/");
    }
    const std::vector<NamedText> before = Objects();
    const auto dry = Restore({.dry_run = true});
    ASSERT_OK(dry);
    EXPECT_EQ(dry->written, lost);
    EXPECT_EQ(Objects(), before);

    const auto report = Restore();
    ASSERT_OK(report);
    EXPECT_EQ(report->written, lost);
    EXPECT_THAT(report->backups, ElementsAre(kFirst, kSecond));
    EXPECT_THAT(report->unfitting, IsEmpty());
    EXPECT_EQ(report->source.empty(), !loses_key || !encrypted());
    EXPECT_EQ(Objects("key/"), wraps);
    ExpectBackups({kFirst, kSecond});
    EXPECT_OK(Initialise());
    const Identity back = Open().value()->identities().front();
    EXPECT_EQ(back.system_identifier, kTestSystem);
    EXPECT_EQ(back.wal_segment_size, kTestSegmentSize);
    EXPECT_EQ(back.block_size, 8192U);
    EXPECT_EQ(back.postgres_version_num, 150020);
  }
}

TEST_P(KeyRestoreTest, ADamagedIdentityIsReplaced) {
  const auto repository = Initialise().value();
  PutBackup(*repository, kFirst);
  const NamedText good = Objects("identity/").front();
  std::string other_node = good.text;
  other_node.replace(other_node.find("node-a"), 6, "node-b");
  std::vector<std::string> damages{"", "garbage", other_node, std::string(100'000, ' ')};
  if (encrypted()) {
    damages.push_back(SignedWithoutKey(good));
    Identity forged = TestIdentity();
    forged.cipher = "none";
    damages.push_back(SerializeIdentity(forged, TestPolicy(Cipher::kNone)).value());
  }
  for (const std::string& damage : damages) {
    Put(good.name, damage);
    const auto dry = Restore({.dry_run = true});
    ASSERT_OK(dry);
    EXPECT_THAT(dry->written, ElementsAre(good.name));
    EXPECT_EQ(Objects(good.name).front().text, damage);
    const auto report = Restore();
    ASSERT_OK(report);
    EXPECT_THAT(report->written, ElementsAre(good.name));
    ExpectBackups({kFirst});
    EXPECT_OK(RequireKeyInPlace(*repository, kTestSystem));
    EXPECT_THAT(Restore().value().written, IsEmpty()) << "a good one stays";
  }
}

TEST_P(KeyRestoreTest, EverySystemComesBack) {
  {
    const auto repository = Initialise().value();
    PutBackup(*repository, kFirst);
    PutBackup(*repository, kSecond, kOtherSystem);
  }
  Lose("identity/");
  Lose("key/");
  ASSERT_OK(Restore());
  EXPECT_THAT(Names("identity/"),
              ElementsAre(IdentityName(kOtherSystem), IdentityName(kTestSystem)));
  ExpectBackups({kFirst, kSecond});
}

// Only the server knows which cluster the WAL belongs to.
TEST_P(KeyRestoreTest, WithoutABackupTheServerTells) {
  PutWal(*Initialise().value());
  Lose("identity/");
  const auto refused = Restore();
  EXPECT_ERROR(refused, ErrorCode::kNotFound);
  EXPECT_THAT(refused.error().hint, HasSubstr("veza_backup_init()"));
  // For a system of which the repository holds nothing, the server's word is no proof.
  EXPECT_ERROR(Restore({.server = TestIdentity(kOtherSystem)}), ErrorCode::kNotFound);
  EXPECT_THAT(Names("identity/"), IsEmpty());

  const auto report = Restore({.server = TestIdentity()});
  ASSERT_OK(report);
  EXPECT_THAT(report->written, ElementsAre(IdentityName(kTestSystem)));
  EXPECT_OK(Initialise());
}

// A veza_backup_init() on a cluster that has replaced another one.
TEST_P(KeyRestoreTest, AServerOfAnotherSystemIsNotAdded) {
  PutBackup(*Initialise().value(), kFirst);
  Lose("identity/");
  const auto report = Restore({.server = TestIdentity(kOtherSystem)});
  ASSERT_OK(report);
  EXPECT_THAT(report->written, ElementsAre(IdentityName(kTestSystem)));
  EXPECT_ERROR(Initialise(kOtherSystem), ErrorCode::kConflict);
}

TEST_P(KeyRestoreTest, DamagedBackupsAreSkipped) {
  {
    const auto repository = Initialise().value();
    PutBackup(*repository, kFirst);
    PutBackup(*repository, kSecond);
    Put(BackupDocumentName(kSecond), "{");
    Put("backup/unknown/backup.json", "{");
    Put(BackupDocumentName(kThird),
        SerializeTombstone(kThird, "node-a", kTestTime, repository->seal_policy()).value());
  }
  Lose("identity/");
  Lose("key/");
  const auto report = Restore();
  ASSERT_OK(report);
  EXPECT_THAT(report->backups, ElementsAre(kFirst));
  EXPECT_THAT(report->unfitting, ElementsAre(kSecond));
}

TEST_P(KeyRestoreTest, ADamagedIdentityStaysWhenNoBackupTellsItsContent) {
  PutBackup(*Initialise().value(), kFirst);
  for (const char* const text : {"", "{}", "[]"}) {
    Put(IdentityName(kOtherSystem), text);
    EXPECT_ERROR(Restore(), ErrorCode::kDataCorrupted);
    EXPECT_EQ(Objects(IdentityName(kOtherSystem)).front().text, text);
  }
}

TEST_P(KeyRestoreTest, TheCipherIsNotChanged) {
  PutBackup(*Initialise().value(), kFirst);
  RepositoryOptions other = options_;
  other.cipher = encrypted() ? Cipher::kNone : Cipher::kAes256Gcm;
  other.passphrase = SecretString(encrypted() ? "" : kTestPassphrase);
  EXPECT_ERROR(RestoreKey(store_, other, environment_, {}), ErrorCode::kFailedPrecondition);
  // Neither keys nor, without them, the copies in backups are ignored.
  for (const char* const lost : {"identity/", "key/"}) {
    Lose(lost);
    const std::vector<std::string> names = Names();
    const auto refused = RestoreKey(store_, other, environment_, {});
    EXPECT_ERROR(refused, encrypted() ? ErrorCode::kFailedPrecondition : ErrorCode::kNotFound);
    EXPECT_THAT(refused.error().message, HasSubstr(encrypted() ? "is encrypted" : "no copy"));
    EXPECT_EQ(Names(), names);
  }
}

// Anybody may put anything beside the WAL. The object is named in the report and decides nothing.
// So is something that is not an object, which sorts first.
TEST_P(KeyRestoreTest, JunkBesideWalDecidesNothing) {
  PutWal(*Initialise().value());
  const std::vector<std::string> wal = Names("wal/");
  Lose("identity/");
  const std::string directory = WalSystemPrefix(kTestSystem) + "00000000/00000000/";
  const std::vector<std::string> junk{directory + "000000000000000000000001",
                                      directory + "000000000000000000000002",
                                      directory + "000000000000000000000003"};
  Put(junk[0], "");
  Put(junk[1], "junk");
  Put(junk[2], std::string(100'000, 'x'));
  if (std::get<Backend>(GetParam()) == Backend::kDirectory) {
    const std::string fifo = directory_.path() + "/main/" + directory + "a";
    ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
    const auto refused = Restore({.server = TestIdentity()});
    EXPECT_ERROR(refused, ErrorCode::kDataCorrupted);
    EXPECT_THAT(refused.error().message, HasSubstr("is a FIFO"));
    EXPECT_EQ(unlink(fifo.c_str()), 0);
  }
  const auto report = Restore({.server = TestIdentity()});
  ASSERT_OK(report);
  EXPECT_THAT(report->written, ElementsAre(IdentityName(kTestSystem)));
  EXPECT_EQ(report->unfitting_wal, junk);

  // Alone, it is no evidence for any key.
  Lose("identity/");
  EXPECT_OK(store_->Delete(wal.front()));
  EXPECT_ERROR(Restore({.server = TestIdentity()}), ErrorCode::kNotFound);
  EXPECT_THAT(Names("identity/"), IsEmpty());
}

// However many objects there are, and wherever their names sort.
TEST_P(KeyRestoreTest, OnlySomeWalObjectsAreTested) {
  if (std::get<Backend>(GetParam()) == Backend::kS3) {
    GTEST_SKIP() << "many requests";
  }
  PutWal(*Initialise().value());
  Lose("identity/");
  clock_.Sleep(std::chrono::seconds(1), nullptr);
  for (int i = 0; i < 100; ++i) {
    Put(fmt::format("{0}{1}/{1}/{2:024}", WalSystemPrefix(kTestSystem),
                    i % 2 == 0 ? "00000000" : "ffffffff", i),
        "junk");
  }
  int fetched = 0;
  store_->SetHook([&](FaultStore::Operation operation, std::string_view name) {
    fetched += operation == FaultStore::Operation::kGet && name.starts_with("wal/") ? 1 : 0;
    return Ok();
  });
  const auto report = Restore({.server = TestIdentity()});
  store_->SetHook({});
  ASSERT_OK(report);
  EXPECT_EQ(fetched, 16);
  EXPECT_THAT(report->unfitting_wal, SizeIs(15));
}

// A dry run and a real run execute the same plan and end with the same error.
TEST_P(KeyRestoreTest, ADryRunRefusesWhatARealRunRefuses) {
  PutBackup(*Initialise().value(), kFirst);
  const std::string unknown = IdentityName(kOtherSystem);
  Put(unknown, std::string(16U << 20, '['));
  for (const bool loses_key : {false, true}) {
    if (loses_key) {
      Lose("key/");
    }
    const std::vector<std::string> names = Names();
    for (const bool dry_run : {true, false}) {
      const auto refused = Restore({.dry_run = dry_run});
      EXPECT_ERROR(refused, ErrorCode::kDataCorrupted);
      EXPECT_THAT(refused.error().message, AllOf(HasSubstr(unknown), HasSubstr("no backup tells")));
      EXPECT_THAT(refused.error().hint, HasSubstr("delete it"));
      EXPECT_EQ(Names(), names) << "nothing is half done";
    }
  }
  EXPECT_OK(store_->Delete(unknown));
  EXPECT_OK(Restore());
  ExpectBackups({kFirst});
}

// Everything is read before anything is written.
TEST_P(KeyRestoreTest, AReadThatFailsLeavesNothingHalfDone) {
  const auto repository = Initialise().value();
  PutBackup(*repository, kFirst);
  PutWal(*repository);
  Lose("identity/");
  Lose("key/");
  const std::vector<std::string> names = Names();
  for (const char* const prefix : {"wal/", "backup/", "identity/"}) {
    store_->SetHook([&](FaultStore::Operation operation, std::string_view name) -> Status {
      if (operation != FaultStore::Operation::kPut && name.starts_with(prefix)) {
        return MakeError(ErrorCode::kUnavailable, "the store is away").Retryable();
      }
      return Ok();
    });
    EXPECT_ERROR(Restore({.server = TestIdentity()}), ErrorCode::kUnavailable);
    store_->SetHook({});
    EXPECT_EQ(Names(), names) << prefix;
  }
}

// If it is killed between two writes, it can be run again.
TEST_P(KeyRestoreTest, ACrashAtAnyPointIsRecovered) {
  {
    const auto repository = Initialise().value();
    PutBackup(*repository, kFirst);
    PutBackup(*repository, kSecond, kOtherSystem);
  }
  const std::size_t writes = encrypted() ? 3 : 2;
  for (std::size_t failing = 1; failing <= writes; ++failing) {
    Lose("identity/");
    Lose("key/");
    std::size_t puts = 0;
    store_->SetHook([&](FaultStore::Operation operation, std::string_view) -> Status {
      if (operation == FaultStore::Operation::kPut && ++puts >= failing) {
        return MakeError(ErrorCode::kUnavailable, "killed");
      }
      return Ok();
    });
    EXPECT_ERROR(Restore(), ErrorCode::kUnavailable);
    store_->SetHook({});
    EXPECT_EQ(puts, failing);
    EXPECT_EQ(Names("key/").size() + Names("identity/").size(), failing - 1);
    if (encrypted()) {
      EXPECT_EQ(Names("key/").size(), std::min<std::size_t>(failing - 1, 1))
          << "an identity promises a wrap";
    }
    const auto report = Restore();
    ASSERT_OK(report);
    EXPECT_THAT(report->written, SizeIs(writes - failing + 1));
    EXPECT_THAT(Names("key/"), SizeIs(encrypted() ? 1 : 0));
    ExpectBackups({kFirst, kSecond});
  }
}

class RestoredWrapTest : public KeyRestoreTest {
 protected:
  void SetUp() override {
    KeyRestoreTest::SetUp();
    if (!encrypted()) {
      GTEST_SKIP() << "there is no key";
    }
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, RestoredWrapTest, EntranceTestValues(), EntranceTestName);

// Backups of version 0.1 hold no copy.
TEST_P(RestoredWrapTest, AnExportedWrapIsEnough) {
  PutBackup(*Initialise().value(), kFirst, kTestSystem, false);
  const std::string wrap = Objects("key/").front().text;
  for (const bool loses_identity : {false, true}) {
    Lose("key/");
    if (loses_identity) {
      Lose("identity/");
    }
    const auto refused = Restore();
    EXPECT_ERROR(refused, ErrorCode::kNotFound);
    EXPECT_THAT(refused.error().hint, AllOf(HasSubstr("--from"), HasSubstr("passphrase")));
    EXPECT_ERROR(Restore({.wrap = "no wrap"}), ErrorCode::kNotFound);

    const auto report = Restore({.wrap = wrap});
    ASSERT_OK(report);
    EXPECT_EQ(report->source, "the file");
    ExpectBackups({kFirst});
  }
}

// The exported wrap belongs to another repository.
TEST_P(RestoredWrapTest, AForeignKeyIsRefused) {
  PutBackup(*Initialise().value(), kFirst, kTestSystem, false);
  const std::string foreign =
      WrapKey(TestKey(), kTestPassphrase, "node-b", kTestTime, SystemRandom()).value();
  Lose("key/");
  EXPECT_ERROR(Restore({.wrap = foreign}), ErrorCode::kNotFound);
  EXPECT_THAT(Names("key/"), IsEmpty());
  Lose("identity/");
  EXPECT_ERROR(Restore({.wrap = foreign}), ErrorCode::kNotFound);
  EXPECT_THAT(Names("key/"), IsEmpty());
  EXPECT_THAT(Names("identity/"), IsEmpty());
}

// Anybody who can write to the store must not be able to hide the right wrap, nor to choose how
// long the search takes.
TEST_P(RestoredWrapTest, JunkInOneSourceDoesNotHideAnother) {
  PutBackup(*Initialise().value(), kFirst, kTestSystem, false);
  const NamedText ours = Objects("key/").front();
  const std::string key_id = Open().value()->identities().front().key_id;
  Lose("key/");
  const std::string junk = HandMadeWrap(TestKey(), "another passphrase", 16, 1, 1).dump();
  for (std::size_t i = 0; i <= limits::kKeyWrapsTried; ++i) {
    const std::string other_id = ToHex(std::array<std::uint8_t, 16>{});
    Put(KeyWrapName(other_id, fmt::format("{:016}", i)), junk + std::string(i, ' '));
  }
  const auto refused = Restore();
  EXPECT_ERROR(refused, ErrorCode::kNotFound);
  EXPECT_THAT(refused.error().message, HasSubstr("1 possible copies were not tried"));

  const auto report = Restore({.wrap = ours.text, .dry_run = true});
  ASSERT_OK(report);
  EXPECT_EQ(report->source, "the file");
  // The wrap that the identity names is tried before others.
  Put(KeyWrapName(key_id, std::string(16, 'f')), ours.text);
  const auto in_place = Restore({.wrap = ours.text + " "});
  ASSERT_OK(in_place);
  EXPECT_THAT(in_place->written, IsEmpty());
  EXPECT_OK(Open());
}

// Anybody can also make up names that sort before ours.
TEST_P(RestoredWrapTest, YoungerWrapsDoNotHideAnOlderOne) {
  PutBackup(*Initialise().value(), kFirst, kTestSystem, false);
  const std::string key_id = Open().value()->identities().front().key_id;
  Lose("identity/");
  clock_.Sleep(std::chrono::seconds(1), nullptr);
  if (std::get<Backend>(GetParam()) == Backend::kS3) {
    SystemClock().Sleep(std::chrono::milliseconds(1100), nullptr);
  }
  const std::string junk = HandMadeWrap(TestKey(), "another passphrase", 16, 1, 1).dump();
  for (std::size_t i = 0; i <= limits::kKeyWrapsTried; ++i) {
    Put(KeyWrapName(key_id, fmt::format("{:016}", i)), junk + std::string(i, ' '));
  }
  EXPECT_OK(Restore());
  EXPECT_OK(Open());
}

TEST_P(RestoredWrapTest, AFileThatIsInPlaceIsNotWrittenTwice) {
  PutBackup(*Initialise().value(), kFirst);
  const std::vector<NamedText> wraps = Objects("key/");
  const auto report = Restore({.wrap = wraps.front().text});
  ASSERT_OK(report);
  EXPECT_THAT(report->written, IsEmpty());
  EXPECT_EQ(Objects("key/"), wraps);
}

TEST_P(RestoredWrapTest, AWrongPassphraseWritesNothing) {
  PutBackup(*Initialise().value(), kFirst);
  Lose("identity/");
  Lose("key/");
  const std::vector<std::string> names = Names();
  EXPECT_ERROR(RestoreKey(store_, OptionsWith("another passphrase"), environment_, {}),
               ErrorCode::kNotFound);
  EXPECT_EQ(Names(), names);
}

TEST_P(RestoredWrapTest, TheWrapOfAnotherKeyDoesNotCount) {
  PutBackup(*Initialise().value(), kFirst);
  const std::string name = Names("key/").front();
  Put(name, WrapKey(TestKey(), kTestPassphrase, "node-b", kTestTime, SystemRandom()).value());
  const auto report = Restore();
  ASSERT_OK(report);
  EXPECT_THAT(report->written, SizeIs(1));
  EXPECT_THAT(Names("key/"), SizeIs(2));
  ExpectBackups({kFirst});
}

TEST_P(RestoredWrapTest, ANameThatIsTakenIsNotOverwritten) {
  PutBackup(*Initialise().value(), kFirst);
  const std::string name = Names("key/").front();
  Put(name, "garbage");
  ASSERT_OK(Restore());
  EXPECT_THAT(Names("key/"), SizeIs(2));
  EXPECT_EQ(Objects(name).front().text, "garbage");
  ExpectBackups({kFirst});
}

TEST_P(RestoredWrapTest, ADryRunKnowsThatANameIsTaken) {
  PutBackup(*Initialise().value(), kFirst);
  const std::string name = Names("key/").front();
  Put(name, "garbage");
  const auto dry = Restore({.dry_run = true});
  ASSERT_OK(dry);
  EXPECT_THAT(dry->written, ElementsAre(HasSubstr("<new>")));
  const auto report = Restore();
  ASSERT_OK(report);
  EXPECT_THAT(report->written, SizeIs(1));
  EXPECT_THAT(Names("key/"), testing::UnorderedElementsAre(name, report->written.front()));
}

// The youngest wrap is tried last, and only a limited number is tried.
TEST_P(RestoredWrapTest, AWrapThatWouldNotBeFoundIsNotWritten) {
  const auto repository = Initialise().value();
  PutBackup(*repository, kFirst);
  const std::string key_id = repository->identities().front().key_id;
  Lose("key/");
  const std::string junk = WrapKey(*repository->seal_policy().key, "another passphrase", "node-b",
                                   kTestTime, SystemRandom())
                               .value();
  for (std::size_t i = 0; i < limits::kKeyWrapsTried; ++i) {
    Put(KeyWrapName(key_id, fmt::format("{:016}", i)), junk);
  }
  clock_.Sleep(std::chrono::seconds(1), nullptr);
  const std::vector<std::string> names = Names();
  for (const bool dry_run : {true, false}) {
    EXPECT_ERROR(Restore({.dry_run = dry_run}), ErrorCode::kWrongKey);
    EXPECT_EQ(Names(), names);
  }
  EXPECT_OK(store_->Delete(KeyWrapName(key_id, fmt::format("{:016}", 0))));
  EXPECT_THAT(Restore({.dry_run = true}).value().written, SizeIs(1));
  EXPECT_OK(Restore());
  EXPECT_OK(Open());
}

// Anybody who can write to the store can write an identity that names any key. It may also be true.
TEST_P(RestoredWrapTest, AnIdentityOfAnUnknownKeyRequiresAChoice) {
  const auto repository = Initialise().value();
  PutBackup(*repository, kFirst);
  const std::string key_id = repository->identities().front().key_id;
  const NamedText good = Objects("identity/").front();
  Identity forged = TestIdentity();
  forged.cipher = "aes-256-gcm";
  forged.key_id = std::string(32, 'e');
  Put(good.name, SerializeIdentity(forged, TestPolicy(Cipher::kAes256Gcm)).value());
  for (const bool loses_key : {false, true}) {
    if (loses_key) {
      Lose("key/");
    }
    const std::vector<NamedText> before = Objects();
    for (const bool dry_run : {true, false}) {
      const auto refused = Restore({.dry_run = dry_run});
      EXPECT_ERROR(refused, ErrorCode::kConflict);
      EXPECT_THAT(refused.error().message, AllOf(HasSubstr(good.name), HasSubstr(forged.key_id)));
      EXPECT_THAT(refused.error().hint, AllOf(HasSubstr("--from"), HasSubstr("--key-id"),
                                              HasSubstr(key_id + "\" fits 1 backups")));
    }
    const auto unknown = Restore({.key_id = forged.key_id});
    EXPECT_ERROR(unknown, ErrorCode::kNotFound);
    EXPECT_THAT(unknown.error().message, HasSubstr(forged.key_id));
    EXPECT_EQ(Objects(), before);
  }
  const auto dry = Restore({.key_id = key_id, .dry_run = true});
  ASSERT_OK(dry);
  const auto report = Restore({.key_id = key_id});
  ASSERT_OK(report);
  EXPECT_EQ(report->written, dry->written);
  EXPECT_THAT(report->written, SizeIs(2));
  ExpectBackups({kFirst});

  // The identity of a system of which nothing tells is not replaced.
  forged.system_identifier = kOtherSystem;
  const std::string other = IdentityName(kOtherSystem);
  Put(other, SerializeIdentity(forged, TestPolicy(Cipher::kAes256Gcm)).value());
  EXPECT_ERROR(Restore(), ErrorCode::kConflict);
  const auto left = Restore({.key_id = key_id});
  EXPECT_ERROR(left, ErrorCode::kDataCorrupted);
  EXPECT_THAT(left.error().message, HasSubstr(other));
  EXPECT_THAT(left.error().hint, HasSubstr("delete it"));
}

// Even with the right passphrase, a key that fits nothing is not chosen because the caller says so.
TEST_P(RestoredWrapTest, AKeyThatFitsNothingIsNotChosen) {
  PutBackup(*Initialise().value(), kFirst);
  Lose("identity/");
  const std::string foreign =
      WrapKey(TestKey(), kTestPassphrase, "node-b", kTestTime, SystemRandom()).value();
  for (const bool is_damaged : {false, true}) {
    if (is_damaged) {
      Put(IdentityName(kTestSystem), "garbage");
    }
    const std::vector<NamedText> before = Objects();
    EXPECT_ERROR(Restore({.wrap = foreign, .key_id = TestKey().hex_id()}), ErrorCode::kNotFound);
    EXPECT_EQ(Objects(), before);
  }
}

// Somebody has replaced the identity and key with those of another cluster. They open with the same
// passphrase, so the identity is signed. But the key fits nothing else here.
TEST_P(RestoredWrapTest, TheIdentityOfAnotherClusterDecidesNothing) {
  const auto repository = Initialise().value();
  PutBackup(*repository, kFirst);
  const std::string key_id = repository->identities().front().key_id;
  Lose("identity/");
  const std::shared_ptr<Store> elsewhere = MakeStore("elsewhere");
  const auto other =
      Repository::Initialise(elsewhere, options_, environment_, TestIdentity(kOtherSystem), false)
          .value();
  const NamedText identity = other->identity_objects().front();
  Put(identity.name, identity.text);
  Put(other->key_wraps().front().name, other->key_wraps().front().text);
  for (const bool dry_run : {true, false}) {
    const auto refused = Restore({.dry_run = dry_run});
    EXPECT_ERROR(refused, ErrorCode::kConflict);
    EXPECT_THAT(refused.error().message,
                AllOf(HasSubstr(identity.name), HasSubstr("fits neither a backup nor WAL")));
    EXPECT_THAT(refused.error().hint,
                AllOf(HasSubstr(key_id + "\" fits 1 backups"), HasSubstr("delete it")));
  }
  EXPECT_THAT(Names("identity/"), ElementsAre(identity.name));
  EXPECT_OK(store_->Delete(identity.name));
  const auto report = Restore();
  ASSERT_OK(report);
  EXPECT_THAT(report->written, ElementsAre(IdentityName(kTestSystem)));
  ExpectBackups({kFirst});
  const std::vector<NamedText> rest = ReadObjects(*elsewhere, "", 1U << 20, 100).value();
  for (const NamedText& object : rest) {
    EXPECT_OK(elsewhere->Delete(object.name));
  }
}

// The state that version 0.1 produced when an identity was deleted: backups of two keys under one
// name.
class TwoKeysTest : public RestoredWrapTest {
 protected:
  void SetUp() override {
    RestoredWrapTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    {
      const auto old = Initialise().value();
      PutBackup(*old, kFirst);
      old_key_ = old->identities().front().key_id;
    }
    const std::vector<NamedText> before = Objects();
    Lose("");
    {
      const auto fresh = Initialise().value();
      PutBackup(*fresh, kSecond);
      new_key_ = fresh->identities().front().key_id;
    }
    for (const NamedText& object : before) {
      if (!object.name.starts_with("identity/")) {
        Put(object.name, object.text);
      }
    }
  }

  std::string old_key_;
  std::string new_key_;
};
INSTANTIATE_TEST_SUITE_P(Stores, TwoKeysTest, EntranceTestValues(), EntranceTestName);

TEST_P(TwoKeysTest, TheIdentityThatIsThereDecides) {
  const std::vector<NamedText> before = Objects();
  const auto report = Restore();
  ASSERT_OK(report);
  EXPECT_EQ(report->key_id, new_key_);
  EXPECT_THAT(report->written, IsEmpty());
  EXPECT_THAT(report->backups, ElementsAre(kSecond));
  EXPECT_THAT(report->unfitting, ElementsAre(kFirst));

  const auto refused = Restore({.key_id = old_key_});
  EXPECT_ERROR(refused, ErrorCode::kConflict);
  EXPECT_THAT(refused.error().message, AllOf(HasSubstr(old_key_), HasSubstr(new_key_)));
  EXPECT_THAT(refused.error().hint, HasSubstr("copy the repository without \"identity/\""));
  EXPECT_EQ(Objects(), before);
}

TEST_P(TwoKeysTest, WithoutAnIdentityTheCallerHasToChoose) {
  Lose("identity/");
  const auto refused = Restore();
  EXPECT_ERROR(refused, ErrorCode::kConflict);
  EXPECT_THAT(refused.error().hint,
              AllOf(HasSubstr(old_key_), HasSubstr(new_key_), HasSubstr("--key-id")));
  EXPECT_ERROR(Restore({.key_id = std::string(32, 'a')}), ErrorCode::kNotFound);
  EXPECT_THAT(Names("identity/"), IsEmpty());

  const auto report = Restore({.key_id = old_key_});
  ASSERT_OK(report);
  EXPECT_THAT(report->backups, ElementsAre(kFirst));
  EXPECT_THAT(report->unfitting, ElementsAre(kSecond));
  EXPECT_EQ(Open().value()->identities().front().key_id, old_key_);
}

// The new key has no backup yet. Continuing with the old key would make its WAL unreadable.
TEST_P(TwoKeysTest, WalOfAnotherKeyPreventsTheChoice) {
  PutWal(*Open().value());
  const std::vector<std::string> wal = Names("wal/");
  EXPECT_OK(store_->Delete(BackupDocumentName(kSecond)));
  Lose("identity/");
  for (const bool dry_run : {true, false}) {
    const auto refused = Restore({.server = TestIdentity(), .dry_run = dry_run});
    EXPECT_ERROR(refused, ErrorCode::kConflict);
    EXPECT_THAT(refused.error().hint,
                AllOf(HasSubstr(old_key_ + "\" fits 1 backups and 0 of 1 WAL files"),
                      HasSubstr(new_key_ + "\" fits 0 backups and 1 of 1 WAL files")));
  }
  EXPECT_THAT(Names("identity/"), IsEmpty());
  EXPECT_ERROR(Restore({.key_id = new_key_}), ErrorCode::kNotFound);

  const auto report = Restore({.key_id = old_key_});
  ASSERT_OK(report);
  EXPECT_EQ(report->unfitting_wal, wal);
  Lose("identity/");
  EXPECT_OK(Restore({.key_id = new_key_, .server = TestIdentity()}));
  EXPECT_EQ(Open().value()->identities().front().key_id, new_key_);
}

}  // namespace
}  // namespace veza
