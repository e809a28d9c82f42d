#include "core/restore/original.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "core/codec/codec_fixtures.h"
#include "core/postgres/data_directory.h"
#include "core/restore/bind_mount.h"
#include "core/storage/temporary_directory.h"
#include "core/test_files.h"

namespace veza {
namespace {

TEST(StartedDirectoryTest, IsTheLastDashD) {
  const auto started = [](const std::string& arguments) {
    return StartedDirectory("/usr/lib/postgresql/15/bin/postgres" + arguments + "\n").value_or("");
  };
  EXPECT_EQ(started(R"( "-D" "/srv/data")"), "/srv/data");
  EXPECT_EQ(started(R"( "-D/srv/data" "-c" "port=5433")"), "/srv/data");
  EXPECT_EQ(started(R"( "-p" "5433" "-D" "/srv/my data" "-F")"), "/srv/my data");
  EXPECT_EQ(started(R"( "-iFD" "/srv/data")"), "/srv/data");
  EXPECT_EQ(started(R"( "-D" "/srv/one" "-D" "/srv/two")"), "/srv/two");
  EXPECT_EQ(started(R"( "--port=5433" "-D" "/srv/data")"), "/srv/data");
  // A value that looks like the option.
  EXPECT_EQ(started(R"( "-c" "-D/srv/other" "-D" "/srv/data")"), "/srv/data");
  EXPECT_EQ(started(R"( "-k" "-D" "-D" "/srv/data")"), "/srv/data");
}

TEST(StartedDirectoryTest, IsNothingInDoubt) {
  for (const char* arguments :
       {"", R"( "-D")", R"( "-D" "data")", R"( "-D" "")", R"( "-p" "5433")", R"( "/srv/data")",
        R"( "-k" "-D" "/srv/data")", R"( "-D" "/srv/data" "-c" "data_directory=/srv/other")",
        R"( "-D" "/srv/data" "--data-directory=/srv/other")",
        R"( "-D" "/srv/data" "--Data_Directory=/srv/other")", R"( "-D" "/srv/da"ta")",
        R"( "-D" "/srv/data)", R"( -D /srv/data)"}) {
    EXPECT_FALSE(StartedDirectory(std::string("/bin/postgres") + arguments + "\n")) << arguments;
  }
  EXPECT_FALSE(StartedDirectory(""));
}

class OriginalTest : public testing::Test {
 protected:
  OriginalTest() { std::filesystem::create_directories(data_); }
  void Start(const std::string& directory) {
    WriteText(data_ + "/postmaster.opts", fmt::format("/bin/postgres \"-D\" \"{}\"\n", directory));
  }
  TemporaryDirectory work_;
  std::string data_ = work_.path() + "/data";
};

TEST_F(OriginalTest, AServerThatWasStartedThereProvesIt) {
  EXPECT_NE(WhyMaybeCopy(data_), "");
  Start("/srv/data");
  EXPECT_NE(WhyMaybeCopy(data_).find("last in \"/srv/data\""), std::string::npos);
  Start(data_);
  EXPECT_EQ(WhyMaybeCopy(data_), "");
  std::filesystem::create_directory_symlink(data_, work_.path() + "/link");
  Start(work_.path() + "/link/");
  EXPECT_EQ(WhyMaybeCopy(data_), "");
  EXPECT_EQ(WhyMaybeCopy(work_.path() + "/link"), "");
}

// A link that led to the original when the server was started may lead to the copy now.
TEST_F(OriginalTest, AnOptionsFileCopiedWithItsTimesIsNoProof) {
  Start(data_);
  struct statx info {};
  if (statx(AT_FDCWD, data_.c_str(), 0, STATX_BTIME, &info) != 0 ||
      (info.stx_mask & STATX_BTIME) == 0) {
    GTEST_SKIP() << "the file system does not tell when a file was made";
  }
  const timespec before[2] = {{0, UTIME_OMIT}, {1'700'000'000, 0}};
  ASSERT_EQ(utimensat(AT_FDCWD, (data_ + "/postmaster.opts").c_str(), before, 0), 0);
  EXPECT_NE(WhyMaybeCopy(data_).find("is a copy"), std::string::npos);
}

TEST_F(OriginalTest, TheNoteOfARestoreProvesIt) {
  const auto note = MakeDirectoryNote(data_);
  ASSERT_OK(note);
  WriteText(fmt::format("{}/{}", data_, kDirectoryNote), *note);
  EXPECT_EQ(WhyMaybeCopy(data_), "");
  const std::string copy = work_.path() + "/copy";
  std::filesystem::copy(data_, copy);
  EXPECT_NE(WhyMaybeCopy(copy), "");
  // Nor does it in the place of the original.
  std::filesystem::rename(data_, work_.path() + "/away");
  std::filesystem::rename(copy, data_);
  EXPECT_NE(WhyMaybeCopy(data_), "");
}

// A directory has a path for each of its bind mounts.
TEST_F(OriginalTest, AnotherPathIsTheSameDirectory) {
  const std::string volume = work_.path() + "/volume";
  std::filesystem::create_directories(volume);
  Start(volume);
  EXPECT_NE(WhyMaybeCopy(data_), "");
  const auto by_options = WithBindMount(data_, volume, [&] { return WhyMaybeCopy(data_).empty(); });
  if (!by_options) {
    GTEST_SKIP() << "no mount namespaces here";
  }
  EXPECT_TRUE(*by_options);
  Start("/srv/data");
  const auto note = MakeDirectoryNote(data_);
  ASSERT_OK(note);
  WriteText(fmt::format("{}/{}", data_, kDirectoryNote), *note);
  EXPECT_EQ(WithBindMount(data_, volume, [&] { return WhyMaybeCopy(volume).empty(); }), true);
  std::filesystem::copy(data_ + "/" + std::string(kDirectoryNote), volume);
  EXPECT_NE(WhyMaybeCopy(volume), "");
}

TEST_F(OriginalTest, OnlyRegularFilesAreOpened) {
  const std::string path = data_ + "/postmaster.opts";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_NE(WhyMaybeCopy(data_).find("not a regular file"), std::string::npos);
}

}  // namespace
}  // namespace veza
