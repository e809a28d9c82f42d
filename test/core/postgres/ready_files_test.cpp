#include "core/postgres/ready_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/codec/codec_fixtures.h"
#include "core/config/temporary_directory.h"
#include "core/test_files.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ReadyFilesTest : public testing::Test {
 protected:
  void Add(const std::string& name, std::chrono::seconds age = {}) {
    const std::string path = directory_.path() + "/archive_status/" + name;
    WriteText(path, "");
    std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now() - age);
  }
  ReadyFiles List(std::size_t limit, ReadyAges ages = ReadyAges::kIgnore) {
    return ListReadyFiles(directory_.path(), limit, ages).value();
  }

  TemporaryDirectory directory_;
};

TEST_F(ReadyFilesTest, AreListedInTheOrderOfTheArchiver) {
  std::filesystem::create_directories(directory_.path() + "/archive_status");
  EXPECT_THAT(List(10).first, IsEmpty());
  for (const char* name :
       {"000000020000000000000004.ready", "000000010000000000000005.ready",
        "000000010000000000000004.ready", "00000002.history.ready",
        "000000010000000000000004.partial.ready", "000000010000000000000003.done",
        "000000010000000000000004.00000028.backup.ready", "nonsense.ready", "x", ".ready"}) {
    Add(name);
  }
  const ReadyFiles ready = List(10);
  EXPECT_EQ(ready.count, 6);
  EXPECT_THAT(ready.first, ElementsAre("00000002.history", "000000010000000000000004",
                                       "000000010000000000000004.00000028.backup",
                                       "000000010000000000000004.partial",
                                       "000000010000000000000005", "000000020000000000000004"));
  EXPECT_EQ(List(2).count, 6);
  EXPECT_THAT(List(2).first, ElementsAre("00000002.history", "000000010000000000000004"));
  EXPECT_EQ(List(0).count, 6);
  EXPECT_THAT(List(0).first, IsEmpty());
}

TEST_F(ReadyFilesTest, TheOldestIsByTime) {
  Add("000000010000000000000004.ready", std::chrono::seconds(10));
  Add("000000010000000000000009.ready", std::chrono::seconds(900));
  Add("000000010000000000000002.done", std::chrono::seconds(9000));
  const ReadyFiles ready = List(0, ReadyAges::kRead);
  EXPECT_EQ(ready.oldest, "000000010000000000000009");
  const auto age = SystemClock().Now() - ready.oldest_since;
  EXPECT_GE(age, std::chrono::seconds(899));
  EXPECT_LE(age, std::chrono::seconds(960));
}

TEST_F(ReadyFilesTest, AMissingDirectoryIsAnError) {
  const auto ready = ListReadyFiles(directory_.path(), 1, ReadyAges::kIgnore);
  EXPECT_ERROR(ready, ErrorCode::kNotFound);
  EXPECT_THAT(ready.error().message, HasSubstr("archive_status"));
}

}  // namespace
}  // namespace veza
