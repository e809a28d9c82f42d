#include "core/backup/choose_label.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/repository/test_repository.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// A node whose clock differs from the store's.
class ChooseLabelTest : public testing::Test {
 protected:
  LabelChoice Choose(std::chrono::seconds skew, const std::string& full = "") {
    TestClock clock;
    clock.Sleep(kPast + skew, nullptr);
    Environment environment;
    environment.clock = &clock;
    const auto repository =
        Repository::Open(repository_.MakeStore(), repository_.options(), environment).value();
    return ChooseLabel(*repository, full.empty() ? BackupType::kFull : BackupType::kDiff, full)
        .value();
  }
  void Have(const std::string& label) const {
    WriteText(repository_.PathOf(PackName(label, 1)), "pack");
  }
  static std::string At(std::chrono::seconds after) { return FullLabel(kTestTime + after); }

  // The store has the clock of `repository_`.
  static constexpr std::chrono::hours kPast{10};
  ChooseLabelTest() { repository_.clock().Sleep(kPast, nullptr); }
  TestRepository repository_;
};

TEST_F(ChooseLabelTest, TheStoresTimeIsTheLabel) {
  for (const int skew : {0, 3, -600, 3600}) {
    EXPECT_EQ(Choose(std::chrono::seconds(skew)).label, At(kPast)) << skew;
  }
  EXPECT_EQ(Choose(std::chrono::seconds(0), At(std::chrono::hours(1))).label,
            DiffLabel(At(std::chrono::hours(1)), kTestTime + kPast));
}

TEST_F(ChooseLabelTest, ClocksThatDifferAreNamed) {
  EXPECT_THAT(Choose(std::chrono::seconds(60)).warnings, IsEmpty());
  EXPECT_THAT(Choose(std::chrono::seconds(-600)).warnings,
              ElementsAre(HasSubstr("600 s behind that of the repository")));
  EXPECT_THAT(Choose(std::chrono::seconds(3600)).warnings,
              ElementsAre(HasSubstr("3600 s ahead of that of the repository")));
}

TEST_F(ChooseLabelTest, LabelsNeverFallBack) {
  Have(At(kPast));
  EXPECT_EQ(Choose(std::chrono::seconds(0)).label, At(kPast + std::chrono::seconds(1)));
  // A node with an older version has made it, whose clock is an hour ahead.
  Have(At(kPast + std::chrono::hours(1)));
  const LabelChoice choice = Choose(std::chrono::seconds(0));
  EXPECT_EQ(choice.label, At(kPast + std::chrono::seconds(3601)));
  EXPECT_THAT(choice.warnings, ElementsAre(HasSubstr("3601 s ahead of its clock")));
}

}  // namespace
}  // namespace veza
