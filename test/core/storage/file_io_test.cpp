#include "core/storage/file_io.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "core/codec/codec_fixtures.h"
#include "core/limits.h"
#include "core/storage/temporary_directory.h"
#include "core/storage/unique_fd.h"
#include "core/test_files.h"

namespace veza {
namespace {

TEST(ReplaceTextFileTest, ReplacesAndLeavesNothing) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/veza.prom";
  EXPECT_TRUE(ReplaceTextFile(path, "one").has_value());
  EXPECT_TRUE(ReplaceTextFile(path, "two").has_value());
  EXPECT_EQ(ReadText(path), "two");
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777U, 0644U);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 1);

  EXPECT_FALSE(ReplaceTextFile(directory.path() + "/absent/x", "one").has_value());
  std::filesystem::create_directory(directory.path() + "/taken");
  const Status taken = ReplaceTextFile(directory.path() + "/taken", "one");
  ASSERT_FALSE(taken.has_value());
  EXPECT_NE(taken.error().message.find("taken"), std::string::npos);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory.path()), {}), 2);
}

TEST(ReadRegularFileTest, ReadsAtMostTheLimit) {
  const TemporaryDirectory directory;
  WriteText(directory.path() + "/file", "0123456789abc");
  const auto part = ReadRegularFile(directory.path() + "/file", 10);
  ASSERT_OK(part);
  EXPECT_EQ(**part, "0123456789");
  EXPECT_EQ(**ReadRegularFile(directory.path() + "/file", 100), "0123456789abc");
  const auto absent = ReadRegularFile(directory.path() + "/absent", 10);
  ASSERT_OK(absent);
  EXPECT_FALSE(*absent);
}

TEST(ReadRegularFileTest, OpensNothingElse) {
  const TemporaryDirectory directory;
  const std::string fifo = directory.path() + "/fifo";
  ASSERT_EQ(mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_ERROR(ReadRegularFile(fifo, 10), ErrorCode::kFailedPrecondition);
  EXPECT_ERROR(ReadRegularFile(directory.path(), 10), ErrorCode::kFailedPrecondition);
}

TEST(ReadTextFileTest, ReadsAWholeFileOrFails) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/file";
  EXPECT_FALSE(ReadTextFile(path));
  WriteText(path, "");
  EXPECT_EQ(ReadTextFile(path).value(), "");
  const std::string most(limits::kTextFile, 'x');
  WriteText(path, most);
  EXPECT_EQ(ReadTextFile(path).value(), most);
  WriteText(path, most + "x");
  EXPECT_ERROR(ReadTextFile(path), ErrorCode::kDataCorrupted);
  // It can be opened, but not read.
  EXPECT_FALSE(ReadTextFile(directory.path()));
}

TEST(FileNamesTest, ALinkIsThereWhereverItLeads) {
  const TemporaryDirectory directory;
  const std::string link = directory.path() + "/link";
  EXPECT_FALSE(IsThere(link));
  EXPECT_EQ(TextOfLink(link), "");
  std::filesystem::create_symlink("absent/place", link);
  EXPECT_TRUE(IsThere(link));
  EXPECT_EQ(TextOfLink(link), "absent/place");
  EXPECT_TRUE(IsThere(directory.path()));
  EXPECT_EQ(TextOfLink(directory.path()), "");
}

TEST(FileNamesTest, TheSameFileMayHaveTwoNames) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/data";
  const std::string link = directory.path() + "/link";
  std::filesystem::create_symlink("data", link);
  EXPECT_FALSE(IsSameFile(link, path));
  std::filesystem::create_directory(path);
  EXPECT_TRUE(IsSameFile(link, path));
  EXPECT_TRUE(IsSameFile(path + "/../data", path));
  EXPECT_FALSE(IsSameFile(path, directory.path()));
}

TEST(RequireReplaceableFileTest, OnlyAFileOrNothingMayBeReplaced) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/name";
  EXPECT_OK(RequireReplaceableFile(path));
  WriteText(path, "x");
  EXPECT_OK(RequireReplaceableFile(path));
  std::filesystem::remove(path);
  std::filesystem::create_symlink("/absent", path);
  EXPECT_ERROR(RequireReplaceableFile(path), ErrorCode::kInvalidArgument);
  EXPECT_ERROR(RequireReplaceableFile(directory.path()), ErrorCode::kInvalidArgument);
  EXPECT_ERROR(RequireReplaceableFile(""), ErrorCode::kInvalidArgument);
  EXPECT_ERROR(RequireReplaceableFile(path + "/"), ErrorCode::kInvalidArgument);
}

TEST(WriteAllAtTest, WritesAtAPlaceAndNamesTheFileThatFails) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/file";
  WriteText(path, "0123456789");
  const UniqueFd file(open(path.c_str(), O_WRONLY));
  ASSERT_OK(WriteAllAt(file.get(), 4, AsBytes("abc"), "it"));
  EXPECT_EQ(ReadText(path), "0123abc789");
  const UniqueFd full(open("/dev/full", O_WRONLY));
  const Status failed = WriteAllAt(full.get(), 0, AsBytes("abc"), "the file");
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message.find("could not write the file"), std::string::npos);
}

}  // namespace
}  // namespace veza
