#include "core/storage/body.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/storage/store_conformance.h"
#include "core/storage/temporary_directory.h"

namespace veza {
namespace {

Bytes ReadAll(Body& body, std::size_t piece) {
  Bytes all;
  Bytes buffer(piece);
  for (;;) {
    const std::size_t count = body.Read(buffer).value();
    if (count == 0) {
      return all;
    }
    all.insert(all.end(), buffer.begin(), buffer.begin() + static_cast<std::ptrdiff_t>(count));
  }
}

TEST(MemoryBody, CanBeReadAgain) {
  const Bytes content = Pattern(1'000);
  MemoryBody body(content);
  EXPECT_EQ(body.size(), 1'000U);
  EXPECT_TRUE(ReadAll(body, 7) == content);
  EXPECT_TRUE(ReadAll(body, 7).empty());
  ASSERT_TRUE(body.Rewind());
  EXPECT_TRUE(ReadAll(body, 5'000) == content);
}

TEST(RepeatedBody, IsAsLargeAsItSays) {
  const Bytes pattern = Pattern(300);
  Bytes expected;
  for (int i = 0; i < 4; ++i) {
    expected.insert(expected.end(), pattern.begin(), pattern.end());
  }
  for (const std::size_t size : {0U, 299U, 300U, 301U, 1'000U, 1'200U}) {
    RepeatedBody body(pattern, size);
    EXPECT_EQ(body.size(), size);
    const Bytes wanted(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_TRUE(ReadAll(body, 7) == wanted);
    ASSERT_TRUE(body.Rewind());
    EXPECT_TRUE(ReadAll(body, 5'000) == wanted);
  }
}

TEST(SpillBody, IsTheSameInMemoryAndOnDisk) {
  const TemporaryDirectory directory;
  const Bytes content = Pattern(100'000);
  for (const std::size_t limit : {0U, 1U, 99'999U, 100'000U}) {
    for (const bool with_prefix : {false, true}) {
      SpillBody body(directory.path(), limit);
      for (std::size_t at = 0; at < content.size(); at += 1'000) {
        ASSERT_TRUE(body.Append(ByteView(content).subspan(at, 1'000)));
      }
      Bytes expected = content;
      if (with_prefix) {
        const Bytes prefix = Pattern(77, 5);
        expected.insert(expected.begin(), prefix.begin(), prefix.end());
        body.SetPrefix(prefix);
      }
      EXPECT_EQ(body.spilled(), limit < content.size());
      EXPECT_EQ(body.size(), expected.size());
      for (const std::size_t piece : {13U, 4'096U, 200'000U}) {
        ASSERT_TRUE(body.Rewind());
        EXPECT_TRUE(ReadAll(body, piece) == expected) << limit << " " << piece;
      }
      // The file has no name, so a crash leaves nothing behind.
      EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
    }
  }
}

TEST(SpillBody, EmptyIsABodyToo) {
  SpillBody body("/nowhere", 10);
  EXPECT_EQ(body.size(), 0U);
  EXPECT_TRUE(ReadAll(body, 10).empty());
}

TEST(SpillBody, NamesTheDirectoryWhereItCouldNotSpill) {
  SpillBody body("/no/such/directory", 3);
  const Status appended = body.Append(AsBytes("four"));
  ASSERT_FALSE(appended);
  EXPECT_EQ(appended.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(appended.error().message, testing::HasSubstr("\"/no/such/directory\""));
}

}  // namespace
}  // namespace veza
