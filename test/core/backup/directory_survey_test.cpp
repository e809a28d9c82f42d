#include "core/backup/directory_survey.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/repository/test_backup.h"

namespace veza {
namespace {

using testing::HasSubstr;

class DirectorySurveyTest : public testing::Test {
 protected:
  WalkOptions Options() const {
    WalkOptions options;
    options.data_directory = source_.path();
    options.tablespace_version_directory = kTestVersionDirectory;
    return options;
  }
  Result<DirectorySurvey> Survey() { return SurveyDataDirectory(Options(), cancellation_); }
  // Runs it as an account that owns none of the files but may enter the directories.
  Result<DirectorySurvey> SurveyAsSomebodyElse() {
    EXPECT_EQ(seteuid(65534), 0);
    auto survey = Survey();
    EXPECT_EQ(seteuid(0), 0);
    return survey;
  }

  SourceTree source_;
  Cancellation cancellation_;
};

TEST_F(DirectorySurveyTest, CountsFilesThoseOfTablespacesAndBehindLinksIncluded) {
  const auto before = Survey();
  ASSERT_OK(before);
  source_.File("base/5/100", Bytes(5000));
  source_.Tablespace(16384, source_.Beside("space"));
  WriteText(source_.Beside("space") + "/" + kTestVersionDirectory + "/5/200", "1234567");
  WriteText(source_.Beside("elsewhere"), "123");
  ASSERT_EQ(symlink("../../../elsewhere", source_.In("base/5/300").c_str()), 0);
  ASSERT_EQ(mkfifo(source_.In("fifo").c_str(), 0600), 0);
  const auto survey = Survey();
  ASSERT_OK(survey);
  EXPECT_EQ(survey->files, before->files + 3);
  EXPECT_EQ(survey->bytes, before->bytes + 5000 + 7 + 3);
  EXPECT_EQ(survey->notes.skipped_count, 1U);
  EXPECT_EQ(survey->notes.links_count, 1U);
}

TEST_F(DirectorySurveyTest, NamesWhatItMayNotRead) {
  if (geteuid() != 0) {
    GTEST_SKIP() << "only root can become somebody else";
  }
  source_.File("base/5/100", Bytes(5000), 0600);
  for (const auto& item : std::filesystem::recursive_directory_iterator(source_.Beside(""))) {
    ASSERT_EQ(chmod(item.path().c_str(), item.is_directory() ? 0755 : 0644), 0);
  }
  ASSERT_EQ(chmod(source_.Beside("").c_str(), 0755), 0);
  ASSERT_OK(SurveyAsSomebodyElse());
  ASSERT_EQ(chmod(source_.In("base/5/100").c_str(), 0600), 0);
  const auto file = SurveyAsSomebodyElse();
  EXPECT_ERROR(file, ErrorCode::kPermissionDenied);
  EXPECT_THAT(file.error().message, HasSubstr(source_.In("base/5/100")));
  EXPECT_THAT(file.error().hint, HasSubstr("readable"));
  ASSERT_EQ(chmod(source_.In("base/5").c_str(), 0700), 0);
  const auto directory = SurveyAsSomebodyElse();
  EXPECT_ERROR(directory, ErrorCode::kPermissionDenied);
  EXPECT_THAT(directory.error().message, HasSubstr(source_.In("base/5")));
  source_.Directory("lost+found", 0700);
  ASSERT_EQ(chmod(source_.In("base/5").c_str(), 0755), 0);
  ASSERT_EQ(chmod(source_.In("base/5/100").c_str(), 0644), 0);
  EXPECT_OK(SurveyAsSomebodyElse());
}

TEST_F(DirectorySurveyTest, CanBeCancelled) {
  cancellation_.Cancel();
  EXPECT_ERROR(Survey(), ErrorCode::kCancelled);
}

TEST_F(DirectorySurveyTest, AheadItFindsTheSame) {
  source_.File("base/5/100", Bytes(5000));
  const auto expected = Survey();
  ASSERT_OK(expected);
  const auto cancellation = std::make_shared<Cancellation>();
  const auto secrets =
      std::make_shared<const SecretScan>(std::vector{SecretString("not-to-be-shown")});
  SurveyAhead ahead(Options(), cancellation, secrets);
  const auto survey = ahead.Finish();
  ASSERT_OK(survey);
  EXPECT_EQ(survey->files, expected->files);
  EXPECT_EQ(survey->bytes, expected->bytes);

  source_.File("notes.conf", AsBytes("key = 'not-to-be-shown'"));
  SurveyAhead with_secret(Options(), cancellation, secrets);
  EXPECT_ERROR(with_secret.Finish(), ErrorCode::kFailedPrecondition);
  cancellation->Cancel();
  SurveyAhead cancelled(Options(), cancellation, nullptr);
  EXPECT_ERROR(cancelled.Finish(), ErrorCode::kCancelled);
}

// As when its owner has failed meanwhile.
TEST_F(DirectorySurveyTest, AheadItMayBeAbandoned) {
  for (int i = 0; i < 3; ++i) {
    const SurveyAhead abandoned(Options(), std::make_shared<Cancellation>(), nullptr);
  }
}

}  // namespace
}  // namespace veza
