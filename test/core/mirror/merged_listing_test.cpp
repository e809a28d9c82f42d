#include "core/mirror/merged_listing.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <random>

#include "core/codec/codec_fixtures.h"
#include "core/config/temporary_directory.h"
#include "core/storage/fault_store.h"
#include "core/storage/local_store.h"
#include "core/test_files.h"

namespace veza {
namespace {

class MergedListing : public testing::Test {
 protected:
  std::unique_ptr<FaultStore> MakeStore(const std::string& name) const {
    return std::make_unique<FaultStore>(
        MakeLocalStore(directory_.path() + "/" + name, Environment{}).value());
  }
  // Without the store, which syncs each object.
  static void Put(const Store& store, const std::string& name, std::size_t size) {
    const std::filesystem::path path = store.location() + "/" + name;
    std::filesystem::create_directories(path.parent_path());
    WriteBytes(path.string(), Bytes(size));
  }

  TemporaryDirectory directory_;
  std::unique_ptr<FaultStore> first_ = MakeStore("first");
  std::unique_ptr<FaultStore> second_ = MakeStore("second");
};

TEST_F(MergedListing, GivesEveryNameOnceWithWhatEachStoreHas) {
  // More names than a page has, so that pages end before, at and behind names of the other store.
  std::mt19937 random(20261201);  // NOLINT(cert-msc51-cpp): the same test each time
  std::map<std::string, std::pair<std::size_t, std::size_t>> expected;
  for (int i = 0; i < 2500; ++i) {
    const auto kind = random() % 3;
    auto& sizes = expected[fmt::format("wal/{:02}/{:04}", i / 100, i)];
    sizes = {kind == 0 ? 0 : 1 + random() % 3, kind == 1 ? 0 : 1 + random() % 3};
  }
  Put(*first_, "key/a", 1);
  Put(*second_, "zone/b", 1);
  for (const auto& [name, sizes] : expected) {
    if (sizes.first > 0) {
      Put(*first_, name, sizes.first);
    }
    if (sizes.second > 0) {
      Put(*second_, name, sizes.second);
    }
  }
  std::string last;
  EXPECT_OK(ListMerged(*first_, *second_, "wal/", [&](const MergedObject& object) {
    EXPECT_LT(last, object.name);
    last = object.name;
    const auto found = expected.find(object.name);
    EXPECT_NE(found, expected.end()) << object.name;
    if (found != expected.end()) {
      EXPECT_EQ(object.in_first ? object.in_first->size : 0, found->second.first) << object.name;
      EXPECT_EQ(object.in_second ? object.in_second->size : 0, found->second.second) << object.name;
      expected.erase(found);
    }
    return Ok();
  }));
  EXPECT_TRUE(expected.empty());
}

TEST_F(MergedListing, EndsWithTheFirstError) {
  Put(*first_, "a", 1);
  Put(*second_, "b", 1);
  int seen = 0;
  const Status stopped = ListMerged(*first_, *second_, "", [&](const MergedObject&) -> Status {
    ++seen;
    return MakeError(ErrorCode::kNoSpace, "enough");
  });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::kNoSpace);
  EXPECT_EQ(seen, 1);
  for (FaultStore* const store : {first_.get(), second_.get()}) {
    store->SetHook([](FaultStore::Operation operation, std::string_view) -> Status {
      return operation == FaultStore::Operation::kList
                 ? Status(MakeError(ErrorCode::kUnavailable, "away"))
                 : Ok();
    });
    const Status listed =
        ListMerged(*first_, *second_, "", [](const MergedObject&) { return Ok(); });
    ASSERT_FALSE(listed);
    EXPECT_EQ(listed.error().code, ErrorCode::kUnavailable);
    store->SetHook({});
  }
}

}  // namespace
}  // namespace veza
