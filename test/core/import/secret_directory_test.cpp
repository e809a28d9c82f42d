#include "core/import/secret_directory.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/config/temporary_directory.h"

namespace veza {
namespace {

class SecretDirectoryTest : public testing::Test {
 protected:
  SecretDirectoryTest() { std::filesystem::create_directory(path()); }

  std::string path() const { return directory_.path() + "/secrets"; }
  std::string FileOf(const char* name) const { return path() + "/" + name; }
  Status Write(std::string_view secret, const char* name = "s3_secret_key") {
    return WriteSecretFiles(path(), {{FileOf(name), SecretString(secret)}});
  }
  std::string Read(const std::string& file) const {
    std::ifstream stream(file);
    return {std::istreambuf_iterator<char>(stream), {}};
  }
  std::ptrdiff_t CountFiles() const {
    return std::distance(std::filesystem::directory_iterator(path()),
                         std::filesystem::directory_iterator());
  }

  TemporaryDirectory directory_;
};

TEST_F(SecretDirectoryTest, WritesAFileThatOnlyItsOwnerReads) {
  ASSERT_TRUE(Write("hunter2").has_value());
  EXPECT_EQ(Read(FileOf("s3_secret_key")), "hunter2\n");
  struct stat info {};
  ASSERT_EQ(stat(FileOf("s3_secret_key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0600U);
  EXPECT_EQ(info.st_nlink, 1U);
  EXPECT_EQ(CountFiles(), 1);
}

TEST_F(SecretDirectoryTest, AFileThatIsThereIsLeftAlone) {
  ASSERT_TRUE(Write("hunter2").has_value());
  EXPECT_TRUE(Write("hunter2").has_value());  // the same
  const Status other = Write("hunter3");
  ASSERT_FALSE(other.has_value());
  EXPECT_EQ(other.error().code, ErrorCode::kAlreadyExists);
  EXPECT_EQ(other.error().message.find("hunter"), std::string::npos);
  EXPECT_EQ(Read(FileOf("s3_secret_key")), "hunter2\n");
  EXPECT_EQ(CountFiles(), 1);
  // A session token may be longer than a password.
  const std::string token(10'000, 't');
  EXPECT_TRUE(Write(token, "s3_session_token").has_value());
  EXPECT_TRUE(Write(token, "s3_session_token").has_value());
}

TEST_F(SecretDirectoryTest, ALinkIsNeverFollowed) {
  const std::string target = directory_.Write("elsewhere", "hunter2\n");
  std::filesystem::create_symlink(target, FileOf("s3_secret_key"));
  const Status same = Write("hunter2");
  ASSERT_FALSE(same.has_value());
  EXPECT_NE(same.error().message.find("a symbolic link"), std::string::npos);
  std::filesystem::create_symlink(directory_.path() + "/nowhere", FileOf("s3_session_token"));
  EXPECT_FALSE(Write("hunter2", "s3_session_token").has_value());
  EXPECT_FALSE(std::filesystem::exists(directory_.path() + "/nowhere"));
}

TEST_F(SecretDirectoryTest, ADirectoryInWhichOthersMayWriteIsRefused) {
  for (const mode_t mode : {0770U, 0707U, 01777U, 0720U}) {
    chmod(path().c_str(), mode);
    const Status written = Write("hunter2");
    ASSERT_FALSE(written.has_value()) << mode;
    EXPECT_EQ(written.error().code, ErrorCode::kPermissionDenied);
  }
  EXPECT_EQ(CountFiles(), 0);
  chmod(path().c_str(), 0755);
  EXPECT_TRUE(Write("hunter2").has_value());
}

TEST_F(SecretDirectoryTest, ADirectoryOfAnotherAccountIsRefused) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can give a directory away";
  }
  ASSERT_EQ(chown(path().c_str(), 12345, 12345), 0);
  const Status written = Write("hunter2");
  ASSERT_FALSE(written.has_value());
  EXPECT_NE(written.error().message.find("another account"), std::string::npos);
  EXPECT_EQ(CountFiles(), 0);
}

// As a run that was killed leaves it.
TEST_F(SecretDirectoryTest, HalfOfAFileIsNeverTakenForASecret) {
  directory_.Write("secrets/.veza-tmp-s3_secret_key", "hun");
  ASSERT_TRUE(Write("hunter2").has_value());
  EXPECT_EQ(Read(FileOf("s3_secret_key")), "hunter2\n");
  EXPECT_EQ(CountFiles(), 1);
  // A link in its place leads nowhere.
  const std::string target = directory_.Write("elsewhere", "mine");
  std::filesystem::create_symlink(target, FileOf(".veza-tmp-s3_session_token"));
  ASSERT_TRUE(Write("hunter2", "s3_session_token").has_value());
  EXPECT_EQ(Read(target), "mine");
}

TEST_F(SecretDirectoryTest, AnAbsentDirectory) {
  const Status written = WriteSecretFiles(directory_.path() + "/none",
                                          {{directory_.path() + "/none/x", SecretString("y")}});
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(WriteSecretFiles(directory_.path() + "/none", {}).has_value());
}

}  // namespace
}  // namespace veza
