#include "core/secret_file.h"

#include <gtest/gtest.h>

#include "core/config/temporary_directory.h"

namespace veza {
namespace {

constexpr uid_t kNobody = 65534;

// Root may read everything, so the rules for other users can only be tested after root has given up
// its rights.
class AsNobody {
 public:
  AsNobody() {
    if (seteuid(kNobody) != 0) {
      ADD_FAILURE() << "seteuid failed";
    }
  }
  ~AsNobody() {
    if (seteuid(0) != 0) {
      std::abort();
    }
  }
};

class SecretFileTest : public testing::Test {
 protected:
  TemporaryDirectory directory_;
};

TEST_F(SecretFileTest, OneLineWithoutItsEnd) {
  for (const char* content : {"a secret", "a secret\n", "a secret\r\n", "a secret\n\n"}) {
    const std::string path = directory_.Write("key", content);
    EXPECT_EQ(ReadSecretFile(path).value().text(), "a secret");
  }
  EXPECT_EQ(ReadSecretFile(directory_.Write("blanks", " inner and outer \n")).value().text(),
            " inner and outer ");
}

TEST_F(SecretFileTest, RefusesAFileWithoutASecret) {
  for (const std::string& content :
       std::initializer_list<std::string>{"", "\n", "\r\n", "first\nsecond\n",
                                          std::string("nul\0byte", 8), std::string(5000, 'x')}) {
    const auto secret = ReadSecretFile(directory_.Write("key", content));
    ASSERT_FALSE(secret.has_value()) << content.substr(0, 10);
    EXPECT_EQ(secret.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(secret.error().message.find("first"), std::string::npos);
  }
}

TEST_F(SecretFileTest, RefusesAnythingButARegularFile) {
  EXPECT_EQ(ReadSecretFile(directory_.path() + "/absent").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(ReadSecretFile(directory_.path()).error().code, ErrorCode::kInvalidArgument);
  const std::string fifo = directory_.path() + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(ReadSecretFile(fifo).error().code, ErrorCode::kInvalidArgument);
}

TEST_F(SecretFileTest, RefusesAccessOfOthers) {
  for (const mode_t mode : {0601, 0602, 0604, 0610, 0620, 0644, 0660, 0777}) {
    const auto secret = ReadSecretFile(directory_.Write("key", "a secret", mode));
    if (geteuid() == 0 && mode == 0640) {
      continue;
    }
    ASSERT_FALSE(secret.has_value()) << std::oct << mode;
    EXPECT_EQ(secret.error().code, ErrorCode::kPermissionDenied);
    EXPECT_NE(secret.error().hint.find("0600"), std::string::npos);
  }
}

TEST_F(SecretFileTest, OwnersOtherThanRootMayNotLetTheGroupRead) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "needs root to change owners";
  }
  const std::string path = directory_.Write("key", "a secret", 0640);
  EXPECT_TRUE(ReadSecretFile(path).has_value()) << "0640 of root";
  ASSERT_EQ(chown(path.c_str(), kNobody, 0), 0);
  EXPECT_EQ(ReadSecretFile(path).error().code, ErrorCode::kPermissionDenied) << "0640 of nobody";
  {
    const AsNobody nobody;
    EXPECT_EQ(ReadSecretFile(path).error().code, ErrorCode::kPermissionDenied);
  }
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  EXPECT_TRUE(ReadSecretFile(path).has_value()) << "root reads a file of somebody else";
  const AsNobody nobody;
  EXPECT_TRUE(ReadSecretFile(path).has_value()) << "the owner reads";
}

TEST_F(SecretFileTest, TheReaderMustOwnItUnlessRootDoes) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "needs root to change owners";
  }
  const std::string unreadable = directory_.Write("unreadable", "a secret", 0600);
  const std::string of_third = directory_.Write("of_third", "a secret", 0644);
  ASSERT_EQ(chown(of_third.c_str(), 12345, 0), 0);
  const AsNobody nobody;
  EXPECT_EQ(ReadSecretFile(unreadable).error().code, ErrorCode::kPermissionDenied);
  const auto error = ReadSecretFile(of_third).error();
  EXPECT_EQ(error.code, ErrorCode::kPermissionDenied);
  EXPECT_NE(error.message.find("must be owned"), std::string::npos) << error.message;
}

}  // namespace
}  // namespace veza
