#include "core/repository/repository_marker.h"

#include <unistd.h>

#include "core/repository/entrance_fixture.h"

namespace veza {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

class RepositoryMarkerTest : public EntranceFixture {
 protected:
  std::string Data() const { return directory_.path() + "/data"; }
  std::string Path() const { return Data() + "/veza-repository"; }
  void SetUp() override {
    EntranceFixture::SetUp();
    std::filesystem::create_directories(Data());
  }
  Result<std::unique_ptr<Repository>> InitialiseAt(const std::shared_ptr<Store>& store) {
    return InitialiseMarked(store, options_, environment_, TestIdentity(), {Data(), service_});
  }
  // The marker as another node sees it, or one that has opened the repository.
  RepositoryMarker Opened() {
    return {store_->location(), service_, Open().value()->identities().front().key_id};
  }
  void MarkWith(const std::string& location, const std::string& key_id) {
    WriteText(Path(), fmt::format(R"({{"location":"{}","key_id":"{}"}})", location, key_id));
  }

  std::string service_ = "https://s3.example.com (us-east-1)";
};
INSTANTIATE_TEST_SUITE_P(Stores, RepositoryMarkerTest, EntranceTestValues(), EntranceTestName);

TEST_P(RepositoryMarkerTest, TheFirstUseWritesTheMarker) {
  EXPECT_EQ(ReadRepositoryMarker(Data()).value(), std::nullopt);
  const auto repository = InitialiseAt(store_);
  ASSERT_OK(repository);
  const auto marker = ReadRepositoryMarker(Data());
  ASSERT_OK(marker);
  ASSERT_TRUE(*marker);
  EXPECT_EQ((*marker)->location, store_->location());
  EXPECT_EQ((*marker)->key_id, (*repository)->identities().front().key_id);
  const auto written = std::filesystem::last_write_time(Path());
  EXPECT_OK(InitialiseAt(store_));
  EXPECT_EQ(std::filesystem::last_write_time(Path()), written);
}

TEST_P(RepositoryMarkerTest, AnUnreadableMarkerHasAHint) {
  std::filesystem::create_directories(Path());
  const auto directory = InitialiseAt(store_);
  EXPECT_FALSE(directory);
  EXPECT_THAT(directory.error().hint,
              AllOf(HasSubstr("remove it"), HasSubstr("veza_backup_init()")));
  std::filesystem::remove(Path());
  EXPECT_OK(InitialiseAt(store_));
  if (geteuid() != 0) {
    std::filesystem::permissions(Path(), std::filesystem::perms::none);
    const auto unreadable = InitialiseAt(store_);
    EXPECT_ERROR(unreadable, ErrorCode::kPermissionDenied);
    EXPECT_THAT(unreadable.error().hint, HasSubstr("Allow the server's account to read it"));
  }
}

// The name of the repository is mistyped.
TEST_P(RepositoryMarkerTest, AnotherRepositoryIsNotCreated) {
  ASSERT_OK(InitialiseAt(store_));
  const std::string marker = ReadText(Path());
  const std::shared_ptr<Store> other = MakeStore("mian");
  for (int i = 0; i < 2; ++i) {
    const auto refused = InitialiseAt(other);
    EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
    EXPECT_THAT(refused.error().message,
                AllOf(HasSubstr(store_->location()), HasSubstr(other->location())));
    EXPECT_THAT(refused.error().hint, HasSubstr("veza_backup_init()"));
  }
  EXPECT_THAT(ReadObjects(*other, "", 1U << 20, 100).value(), IsEmpty());
  EXPECT_EQ(ReadText(Path()), marker);
  EXPECT_OK(InitialiseAt(store_));
}

// The mistyped name is that of another cluster's repository, or of an old copy with the same key.
TEST_P(RepositoryMarkerTest, AnotherExistingRepositoryIsNotUsed) {
  const auto ours = InitialiseAt(store_);
  ASSERT_OK(ours);
  const std::string marker = ReadText(Path());
  for (const char* const name : {"mian", "copy"}) {
    const std::shared_ptr<Store> other = MakeStore(name);
    if (name == std::string("mian")) {
      ASSERT_OK(Repository::Initialise(other, options_, environment_, TestIdentity(), false));
    } else {
      for (const NamedText& object : Objects()) {
        ASSERT_OK(PutSmall(*other, object.name, AsBytes(object.text), PutMode::kCreate));
      }
    }
    const auto there = Repository::Open(other, options_, environment_);
    ASSERT_OK(there);
    const std::vector<NamedText> before = ReadObjects(*other, "", 1U << 20, 100).value();
    const auto refused = InitialiseAt(other);
    EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
    EXPECT_THAT(refused.error().message,
                AllOf(HasSubstr(store_->location()), HasSubstr(other->location())));
    EXPECT_THAT(refused.error().hint, HasSubstr("veza_backup_init()"));
    const RepositoryMarker opened{other->location(), service_,
                                  (*there)->identities().front().key_id};
    EXPECT_ERROR(CompareMarker(Data(), opened), ErrorCode::kFailedPrecondition);
    EXPECT_ERROR(KeepMarker(Data(), opened, true), ErrorCode::kFailedPrecondition);
    EXPECT_EQ(ReadText(Path()), marker);
    EXPECT_EQ(ReadObjects(*other, "", 1U << 20, 100).value(), before);

    // An operator who wants it says so once.
    ASSERT_OK(MarkRepository({Data(), service_}, **there));
    EXPECT_OK(InitialiseAt(other));
    EXPECT_ERROR(InitialiseAt(store_), ErrorCode::kFailedPrecondition);
    ASSERT_OK(MarkRepository({Data(), service_}, **ours));
    for (const NamedText& object : before) {
      EXPECT_OK(other->Delete(object.name));
    }
  }
}

// Somebody has deleted everything.
TEST_P(RepositoryMarkerTest, AnEmptiedRepositoryIsNotCreatedAgain) {
  ASSERT_OK(InitialiseAt(store_));
  Lose("");
  const auto refused = InitialiseAt(store_);
  EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refused.error().message, HasSubstr("is empty"));
  EXPECT_THAT(Names(), IsEmpty());

  const auto asked = Initialise();
  ASSERT_OK(asked);
  if (encrypted()) {
    // Version 0.1, on another node, has created a new key.
    const auto other_key = InitialiseAt(store_);
    EXPECT_ERROR(other_key, ErrorCode::kConflict);
    EXPECT_THAT(other_key.error().message, HasSubstr(ReadRepositoryMarker(Data()).value()->key_id));
  }
  ASSERT_OK(MarkRepository({Data(), service_}, **asked));
  EXPECT_OK(InitialiseAt(store_));
}

TEST_P(RepositoryMarkerTest, ADamagedMarkerIsAnError) {
  ASSERT_OK(InitialiseAt(store_));
  for (const char* const text : {"", "{}", "[]", R"({"location":7,"key_id":""})"}) {
    WriteText(Path(), text);
    const auto refused = InitialiseAt(store_);
    EXPECT_ERROR(refused, ErrorCode::kDataCorrupted);
    EXPECT_THAT(refused.error().hint, HasSubstr("veza_backup_init()"));
  }
  ASSERT_OK(MarkRepository({Data(), service_}, *Open().value()));
  EXPECT_OK(InitialiseAt(store_));
}

TEST_P(RepositoryMarkerTest, WithoutAMarkerNoWalIsAcknowledged) {
  const auto refused = InitialiseMarked(store_, options_, environment_, TestIdentity(),
                                        {directory_.path() + "/nowhere", service_});
  EXPECT_FALSE(refused);
}

// The bucket of the same name at another service.
TEST_P(RepositoryMarkerTest, AnotherServiceIsAnotherPlace) {
  ASSERT_OK(InitialiseAt(store_));
  const std::string marker = ReadText(Path());
  const std::vector<NamedText> objects = Objects();
  Lose("");
  const std::string before = std::exchange(service_, "https://s3.example.org (us-east-1)");
  const auto refused = InitialiseAt(store_);
  EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refused.error().message,
              AllOf(HasSubstr("is not initialized"), HasSubstr(before), HasSubstr(service_)));
  EXPECT_THAT(refused.error().hint, HasSubstr("s3_endpoint"));
  EXPECT_THAT(Names(), IsEmpty());
  EXPECT_EQ(ReadText(Path()), marker);

  // This may be the same store under another name, or another store. Only the operator knows.
  for (const NamedText& object : objects) {
    Put(object.name, object.text);
  }
  EXPECT_ERROR(InitialiseAt(store_), ErrorCode::kFailedPrecondition);
  EXPECT_EQ(ReadText(Path()), marker);
  ASSERT_OK(MarkRepository({Data(), service_}, *Open().value()));
  EXPECT_OK(InitialiseAt(store_));
  EXPECT_EQ(ReadRepositoryMarker(Data()).value()->service, service_);
}

// Older markers do not name the service.
TEST_P(RepositoryMarkerTest, AMarkerWithoutAServiceMatchesAny) {
  ASSERT_OK(InitialiseAt(store_));
  MarkWith(store_->location(), Opened().key_id);
  EXPECT_EQ(ReadRepositoryMarker(Data()).value()->service, "");
  EXPECT_OK(CompareMarker(Data(), Opened()));
  ASSERT_OK(InitialiseAt(store_));
  EXPECT_EQ(ReadRepositoryMarker(Data()).value(), Opened());

  MarkWith(store_->location(), std::string(32, 'a'));
  EXPECT_ERROR(InitialiseAt(store_), ErrorCode::kConflict);
  Lose("");
  const auto refused = InitialiseAt(store_);
  EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refused.error().message, HasSubstr("is empty"));
}

// pg_basebackup has copied the file. Since then, a new key was created on purpose.
TEST_P(RepositoryMarkerTest, AStandbyFollows) {
  ASSERT_OK(Initialise());
  const std::string old_key(32, 'a');
  MarkWith(store_->location(), old_key);
  EXPECT_ERROR(CompareMarker(Data(), Opened()), ErrorCode::kConflict);
  EXPECT_ERROR(KeepMarker(Data(), Opened(), true), ErrorCode::kConflict);
  EXPECT_EQ(ReadRepositoryMarker(Data()).value()->key_id, old_key);

  if (encrypted()) {
    ASSERT_OK(KeepMarker(Data(), Opened(), false));
  } else {
    // It follows to a repository without a key only with the same proof as to another place.
    EXPECT_ERROR(KeepMarker(Data(), Opened(), false), ErrorCode::kConflict);
    EXPECT_FALSE(MarkerNames(Data(), Opened()).value());
    EXPECT_EQ(ReadRepositoryMarker(Data()).value()->key_id, old_key);
    ASSERT_OK(MoveMarker(Data(), Opened()));
    ASSERT_OK(KeepMarker(Data(), Opened(), false));
  }
  EXPECT_EQ(ReadRepositoryMarker(Data()).value(), Opened());
  EXPECT_OK(CompareMarker(Data(), Opened()));
  EXPECT_OK(InitialiseAt(store_));  // after promotion

  EXPECT_TRUE(MarkerNames(Data(), Opened()).value());

  // It follows to another place only with a proof that the primary has moved there.
  MarkWith("/elsewhere", old_key);
  EXPECT_OK(KeepMarker(Data(), Opened(), false));
  EXPECT_EQ(ReadRepositoryMarker(Data()).value()->location, "/elsewhere");
  EXPECT_FALSE(MarkerNames(Data(), Opened()).value());
  ASSERT_OK(MoveMarker(Data(), Opened()));
  EXPECT_EQ(ReadRepositoryMarker(Data()).value(), Opened());
  std::filesystem::remove(Path());
  EXPECT_FALSE(MarkerNames(Data(), Opened()).value());
  EXPECT_OK(KeepMarker(Data(), Opened(), false));
  EXPECT_FALSE(std::filesystem::exists(Path()));
}

// Somebody who can write to the store empties it and creates a repository without a key; or a
// setting is lost.
TEST_P(RepositoryMarkerTest, NobodyForgetsAKeyByAccident) {
  if (!encrypted()) {
    GTEST_SKIP() << "there is no key";
  }
  ASSERT_OK(InitialiseAt(store_));
  const std::string marker = ReadText(Path());
  const std::string key_id = Opened().key_id;
  EXPECT_OK(RequireKeptEncryption(Data(), store_->location(), options_.cipher));
  Lose("");
  options_.cipher = Cipher::kNone;
  options_.passphrase = SecretString("");
  const auto forged = Initialise();
  ASSERT_OK(forged);

  const auto marked = MarkRepository({Data(), service_}, **forged);
  const auto asked = RequireKeptEncryption(Data(), store_->location(), Cipher::kNone);
  for (const Status& refused : {marked, asked}) {
    EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
    EXPECT_THAT(refused.error().message, HasSubstr(key_id));
    EXPECT_THAT(refused.error().hint, AllOf(HasSubstr("veza_backup.cipher"),
                                            HasSubstr("delete the file \"veza-repository\"")));
  }
  const auto archived = InitialiseAt(store_);
  EXPECT_ERROR(archived, ErrorCode::kConflict);
  EXPECT_THAT(archived.error().hint, HasSubstr("delete the file \"veza-repository\""));
  EXPECT_EQ(ReadText(Path()), marker);

  std::filesystem::remove(Path());
  ASSERT_OK(RequireKeptEncryption(Data(), store_->location(), Cipher::kNone));
  ASSERT_OK(MarkRepository({Data(), service_}, **forged));
  EXPECT_OK(InitialiseAt(store_));
}

// Only archiving can free the disk.
TEST_P(RepositoryMarkerTest, AMarkerThatCannotBeWrittenDoesNotStopArchiving) {
  std::filesystem::remove(Data());
  const auto made = InitialiseAt(store_);
  EXPECT_EQ(made.error().code, ErrorCode::kNotFound);  // this call has created the repository

  ASSERT_OK(InitialiseAt(store_));
  EXPECT_FALSE(KeepMarker(Data(), Opened(), true));
  std::filesystem::create_directories(Data());
  ASSERT_OK(KeepMarker(Data(), Opened(), true));
  EXPECT_EQ(ReadRepositoryMarker(Data()).value(), Opened());
}

}  // namespace
}  // namespace veza
