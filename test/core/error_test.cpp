#include "core/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace veza {
namespace {

using testing::EndsWith;
using testing::StartsWith;

TEST(Shorten, KeepsTheBeginningAndTheEnd) {
  EXPECT_EQ(Shorten("short", 32), "short");
  EXPECT_EQ(Shorten(std::string(32, 'a'), 32), std::string(32, 'a'));
  const std::string text = Shorten(std::string(20, 'a') + std::string(20, 'b'), 32);
  EXPECT_EQ(text, std::string(18, 'a') + " ... " + std::string(9, 'b'));
  EXPECT_EQ(text.size(), 32U);
}

TEST(Shorten, CutsNoLetter) {
  for (const std::string letter : {"ä", "€", "😀"}) {
    for (std::size_t shift = 0; shift < letter.size(); ++shift) {
      std::string text(shift, 'a');
      while (text.size() < 100) {
        text += letter;
      }
      const std::string shortened = Shorten(text, 50);
      EXPECT_LE(shortened.size(), 50U);
      EXPECT_GE(shortened.size(), 42U);
      const std::size_t gap = shortened.find(" ... ");
      EXPECT_EQ((gap - shift) % letter.size(), 0U) << shortened;
      EXPECT_EQ((shortened.size() - gap - 5) % letter.size(), 0U) << shortened;
    }
  }
}

TEST(Shorten, DoesNotDependOnUtf8) {
  EXPECT_EQ(Shorten(std::string(100, '\x80'), 50).size(), 47U - 3U);
  EXPECT_EQ(Shorten(std::string(100, '\xFF'), 50).size(), 50U);
}

TEST(Error, DoesNotRepeatAWholeMegabyte) {
  const Error error = MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not a length of time",
                                std::string(1 << 20, 'x'));
  EXPECT_EQ(error.message.size(), kLongestMessage);
  EXPECT_THAT(error.message, StartsWith("\"xxx"));
  EXPECT_THAT(error.message, EndsWith("xxx\" is not a length of time"));
}

}  // namespace
}  // namespace veza
