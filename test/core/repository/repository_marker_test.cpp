#include "core/repository/repository_marker.h"

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
    return InitialiseMarked(store, options_, environment_, TestIdentity(), Data());
  }
};
INSTANTIATE_TEST_SUITE_P(Stores, RepositoryMarkerTest, EntranceTestValues(), EntranceTestName);

TEST_P(RepositoryMarkerTest, TheFirstUseMarks) {
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

// A mistyped name.
TEST_P(RepositoryMarkerTest, AnotherRepositoryIsNotMade) {
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
  EXPECT_THAT(ReadObjects(*other, "").value(), IsEmpty());
  EXPECT_EQ(ReadText(Path()), marker);
  EXPECT_OK(InitialiseAt(store_));

  // What somebody has made on purpose is taken up.
  ASSERT_OK(Repository::Initialise(other, options_, environment_, TestIdentity(), false));
  EXPECT_OK(InitialiseAt(other));
  EXPECT_EQ(ReadRepositoryMarker(Data()).value()->location, other->location());
  EXPECT_OK(InitialiseAt(store_));
  const std::vector<NamedText> objects = ReadObjects(*other, "").value();
  for (const NamedText& object : objects) {
    EXPECT_OK(other->Delete(object.name));
  }
}

// Somebody has deleted everything.
TEST_P(RepositoryMarkerTest, AnEmptiedRepositoryIsNotMadeAnew) {
  ASSERT_OK(InitialiseAt(store_));
  Lose("");
  const auto refused = InitialiseAt(store_);
  EXPECT_ERROR(refused, ErrorCode::kFailedPrecondition);
  EXPECT_THAT(refused.error().message, HasSubstr("is empty"));
  EXPECT_THAT(Names(), IsEmpty());

  const auto asked = Initialise();
  ASSERT_OK(asked);
  if (encrypted()) {
    // 0.1, on another node, has made a new key.
    const auto other_key = InitialiseAt(store_);
    EXPECT_ERROR(other_key, ErrorCode::kConflict);
    EXPECT_THAT(other_key.error().message, HasSubstr(ReadRepositoryMarker(Data()).value()->key_id));
  }
  ASSERT_OK(MarkRepository(Data(), **asked));
  EXPECT_OK(InitialiseAt(store_));
}

TEST_P(RepositoryMarkerTest, ADamagedMarkerIsNoneThatMayBePassedOver) {
  ASSERT_OK(InitialiseAt(store_));
  for (const char* const text : {"", "{}", "[]", R"({"location":7,"key_id":""})"}) {
    WriteText(Path(), text);
    const auto refused = InitialiseAt(store_);
    EXPECT_ERROR(refused, ErrorCode::kDataCorrupted);
    EXPECT_THAT(refused.error().hint, HasSubstr("veza_backup_init()"));
  }
  ASSERT_OK(MarkRepository(Data(), *Open().value()));
  EXPECT_OK(InitialiseAt(store_));
}

TEST_P(RepositoryMarkerTest, WithoutAMarkerNoWalIsTaken) {
  const auto refused = InitialiseMarked(store_, options_, environment_, TestIdentity(),
                                        directory_.path() + "/nowhere");
  EXPECT_FALSE(refused);
}

}  // namespace
}  // namespace veza
