#include "core/storage/prefix_store.h"

#include <gtest/gtest.h>

#include "core/config/temporary_directory.h"
#include "core/storage/local_store.h"

namespace veza {
namespace {

TEST(PrefixStore, HoldsWhatLiesInItsDirectoryAndNothingElse) {
  const TemporaryDirectory directory;
  const std::shared_ptr<Store> root = MakeLocalStore(directory.path() + "/root", {}).value();
  for (const char* name : {"a/x/1", "a/x/2", "ab/x/3"}) {
    ASSERT_TRUE(PutSmall(*root, name, AsBytes("content"), PutMode::kCreate)) << name;
  }
  const std::unique_ptr<Store> a = MakePrefixStore(root, "a");
  EXPECT_EQ(a->location(), root->location() + "/a");
  EXPECT_EQ(a->Head("x/1").value().name, "x/1");
  EXPECT_EQ(a->Head("x/3").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(ListAtMost(*a, "", 10).value().size(), 2U);
  std::vector<std::string> names;
  ASSERT_TRUE(a->List("x/", "x/1", [&](const ObjectInfo& object) {
    names.push_back(object.name);
    return Ok();
  }));
  EXPECT_EQ(names, std::vector<std::string>{"x/2"});
  EXPECT_EQ(a->ListDirectories("").value(), std::vector<std::string>{"x"});
  ASSERT_TRUE(PutSmall(*a, "y/4", AsBytes("own"), PutMode::kCreate));
  EXPECT_EQ(GetSmall(*root, "a/y/4", 10).value(), GetSmall(*a, "y/4", 10).value());
  EXPECT_EQ(PutSmall(*a, "y/4", AsBytes("other"), PutMode::kCreate).error().code,
            ErrorCode::kAlreadyExists);
  ASSERT_TRUE(a->Delete("y/4"));
  ASSERT_TRUE(a->DeleteAll(std::vector<std::string>{"x/1", "x/2"}));
  EXPECT_FALSE(HoldsObject(*root, "a/").value());
  EXPECT_TRUE(HoldsObject(*root, "ab/").value());
}

}  // namespace
}  // namespace veza
