#include "core/repository/delete_objects.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <mutex>

#include "core/storage/forwarding_store.h"
#include "core/storage/local_store.h"
#include "core/storage/temporary_directory.h"

namespace veza {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::SizeIs;

// Deletes so many names with one request, and writes the requests down.
class CountingStore final : public ForwardingStore {
 public:
  CountingStore(std::shared_ptr<Store> inner, std::size_t names_per_delete)
      : ForwardingStore(std::move(inner)), names_per_delete_(names_per_delete) {}

  Status Delete(std::string_view name) override {
    RETURN_IF_ERROR(Note(1, name));
    return ForwardingStore::Delete(name);
  }
  Status DeleteAll(std::span<const std::string> names) override {
    for (const std::string& name : names) {
      RETURN_IF_ERROR(Note(&name == &names.front() ? names.size() : 0, name));
      RETURN_IF_ERROR(ForwardingStore::Delete(name));
    }
    return Ok();
  }
  std::size_t NamesPerDelete() const override { return names_per_delete_; }

  void FailAt(std::string name) { failing_ = std::move(name); }
  // The numbers of names in the requests, sorted.
  std::vector<std::size_t> Requests() {
    std::ranges::sort(requests_);
    return requests_;
  }

 private:
  Status Note(std::size_t names, std::string_view name) {
    const std::lock_guard lock(mutex_);
    if (names > 0) {
      requests_.push_back(names);
    }
    return name == failing_ ? Status(MakeError(ErrorCode::kPermissionDenied, "not {}", name))
                            : Ok();
  }

  const std::size_t names_per_delete_;
  std::string failing_;
  std::mutex mutex_;
  std::vector<std::size_t> requests_;
};

class DeleteObjectsTest : public testing::Test {
 protected:
  std::vector<std::string> Make(std::size_t count) {
    std::vector<std::string> names;
    for (std::size_t i = 0; i < count; ++i) {
      names.push_back(fmt::format("d/{:04}", i));
      EXPECT_TRUE(PutSmall(*local_, names.back(), AsBytes("x"), PutMode::kCreate));
    }
    return names;
  }
  bool IsEmpty() { return !HoldsObject(*local_, "").value(); }

  TemporaryDirectory directory_;
  std::shared_ptr<Store> local_ =
      MakeLocalStore(directory_.path() + "/root", Environment{}).value();
};

TEST_F(DeleteObjectsTest, OneByOneWhereTheStoreKnowsNothingElse) {
  CountingStore store(local_, 1);
  EXPECT_TRUE(DeleteObjects(store, Make(20), 4));
  EXPECT_THAT(store.Requests(), testing::AllOf(SizeIs(20), Each(1)));
  EXPECT_TRUE(IsEmpty());
  EXPECT_TRUE(DeleteObjects(store, {}, 4));
}

// As few requests as keep all places busy, and none with more names than the store takes.
TEST_F(DeleteObjectsTest, DividesTheNamesAmongTheRequests) {
  CountingStore store(local_, 10);
  EXPECT_TRUE(DeleteObjects(store, Make(22), 4));
  EXPECT_THAT(store.Requests(), ElementsAre(4, 6, 6, 6));
  EXPECT_TRUE(IsEmpty());

  CountingStore small(local_, 10);
  EXPECT_TRUE(DeleteObjects(small, Make(25), 1));
  EXPECT_THAT(small.Requests(), ElementsAre(5, 10, 10));
  EXPECT_TRUE(IsEmpty());

  CountingStore one(local_, 10);
  EXPECT_TRUE(DeleteObjects(one, Make(1), 8));
  EXPECT_THAT(one.Requests(), ElementsAre(1));
  EXPECT_TRUE(IsEmpty());
}

TEST_F(DeleteObjectsTest, TheFirstErrorEndsIt) {
  CountingStore store(local_, 10);
  const std::vector<std::string> names = Make(100);
  store.FailAt(names[3]);
  const Status deleted = DeleteObjects(store, names, 1);
  ASSERT_FALSE(deleted);
  EXPECT_EQ(deleted.error().message, "not d/0003");
  EXPECT_THAT(store.Requests(), ElementsAre(10));
}

}  // namespace
}  // namespace veza
