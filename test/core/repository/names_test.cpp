#include "core/repository/names.h"

#include <gtest/gtest.h>

#include "core/codec/codec_fixtures.h"
#include "core/storage/store.h"

namespace veza {
namespace {

constexpr std::uint64_t kSystem = 7711348379840072545U;

TEST(Names, AreThoseOfTheFormat) {
  EXPECT_EQ(IdentityName(kSystem), "identity/7711348379840072545");
  EXPECT_EQ(KeyWrapName("00ff", "ab"), "key/00ff.ab");
  EXPECT_EQ(PackName("20261122-020000F", 1), "backup/20261122-020000F/pack/00000001");
  EXPECT_EQ(PackName("20261122-020000F", 123456789), "backup/20261122-020000F/pack/123456789");
  EXPECT_EQ(ManifestName("20261122-020000F"), "backup/20261122-020000F/manifest");
  EXPECT_EQ(BackupDocumentName("20261122-020000F"), "backup/20261122-020000F/backup.json");
  EXPECT_EQ(BackupDirectory("20261122-020000F"), "backup/20261122-020000F/");
}

TEST(Names, PacksAreRecognisedByTheirNames) {
  const std::string label = "20261122-020000F";
  for (const std::uint32_t number : {1U, 99999999U, 123456789U, 4294967295U}) {
    EXPECT_EQ(ParsePackName(label, PackName(label, number)), number);
  }
  for (const char* name :
       {"", "manifest", "backup/20261122-020000F/manifest", "backup/20261122-020000F/pack/",
        "backup/20261122-020000F/pack/00000000", "backup/20261122-020000F/pack/1",
        "backup/20261122-020000F/pack/000000001", "backup/20261122-020000F/pack/00000001x",
        "backup/20261122-020000F/pack/99999999999", "backup/20261122-020000F/00000001",
        "backup/20261122-020001F/pack/00000001"}) {
    EXPECT_EQ(ParsePackName(label, name), std::nullopt) << name;
  }
}

TEST(Names, WalFilesLieBelowTimelineAndLog) {
  const std::string root = "wal/7711348379840072545/0000000A/";
  EXPECT_EQ(WalObjectName(kSystem, "0000000A00000016000000B3").value(),
            root + "00000016/0000000A00000016000000B3");
  EXPECT_EQ(WalObjectName(kSystem, "0000000A00000016000000B3.partial").value(),
            root + "00000016/0000000A00000016000000B3.partial");
  EXPECT_EQ(WalObjectName(kSystem, "0000000A00000016000000B3.00000028.backup").value(),
            root + "00000016/0000000A00000016000000B3.00000028.backup");
  EXPECT_EQ(WalObjectName(kSystem, "0000000A.history").value(), root + "0000000A.history");
  EXPECT_EQ(WalTimelinePrefix(kSystem, 10), root);
  EXPECT_TRUE(root.starts_with(WalSystemPrefix(kSystem)));
  for (const char* name : {"", "postgresql.conf", "../../x", "0000000A00000016000000B3.gz"}) {
    EXPECT_ERROR(WalObjectName(kSystem, name), ErrorCode::kInvalidArgument);
  }
}

// Every name that is built here must be valid in every store.
TEST(Names, AreValidObjectNames) {
  for (const std::string& name :
       {IdentityName(~std::uint64_t{0}), KeyWrapName(std::string(32, 'f'), std::string(16, '0')),
        WalObjectName(kSystem, "0000000A00000016000000B3.00000028.backup").value(),
        PackName("20261122-020000F_20261123-020000D", 99999999),
        BackupDocumentName("20261122-020000F_20261123-020000D")}) {
    EXPECT_OK(ValidateObjectName(name));
  }
}

TEST(Names, LabelsTellTypeAndTimeInUtc) {
  setenv("TZ", "America/New_York", 1);
  tzset();
  const std::string full = FullLabel(kTestTime + std::chrono::milliseconds(999));
  const std::string diff = DiffLabel(full, kTestTime + std::chrono::hours(24));
  unsetenv("TZ");
  tzset();
  EXPECT_EQ(full, "20261122-020000F");
  EXPECT_EQ(diff, "20261122-020000F_20261123-020000D");

  const auto full_parts = ParseLabel(full);
  ASSERT_TRUE(full_parts);
  EXPECT_EQ(full_parts->type, BackupType::kFull);
  EXPECT_EQ(full_parts->full_label, full);
  const auto diff_parts = ParseLabel(diff);
  ASSERT_TRUE(diff_parts);
  EXPECT_EQ(diff_parts->type, BackupType::kDiff);
  EXPECT_EQ(diff_parts->full_label, full);
}

TEST(Names, TheLabelOfAnIncrBeginsWithThatOfItsFull) {
  const std::string full = FullLabel(kTestTime);
  const std::string incr = IncrLabel(full, kTestTime + std::chrono::hours(24));
  EXPECT_EQ(incr, full + "_20261123-020000I");
  const auto parts = ParseLabel(incr);
  ASSERT_TRUE(parts.has_value());
  EXPECT_EQ(parts->type, BackupType::kIncr);
  EXPECT_EQ(parts->full_label, full);
  EXPECT_EQ(LabelTimeText(incr), "20261123-020000");
  EXPECT_EQ(NameBackup(incr), "incr \"" + incr + "\"");
  EXPECT_EQ(NameBackup(full), "full backup \"" + full + "\"");
}

TEST(Names, TheMarkOfANamedBackupBeginsLikeItsPin) {
  const std::string label = DiffLabel(FullLabel(kTestTime), kTestTime + std::chrono::hours(24));
  EXPECT_TRUE(NamedMarkName(label).starts_with(PinName(label)));
  EXPECT_EQ(ParseNamedMark(NamedMarkName(label)), label);
  for (const std::string& other : {PinName(label), std::string("pin/else.named"),
                                   "lease/" + label + ".named", PinName(label) + ".name"}) {
    EXPECT_EQ(ParseNamedMark(other), std::nullopt) << other;
  }
}

TEST(Names, OtherTextIsNotALabel) {
  for (const char* text :
       {"", "20261122-020000", "20261122-020000D", "20261122-020000f", "20261122_020000F",
        "2026112a-020000F", "20261122-02000xF", "20261122-020000F_", "20261122-020000F/..",
        "20261122-020000F_20261123-020000F", "20261122-020000D_20261123-020000D",
        "20261122-020000F-20261123-020000D", "20261122-020000F_20261123-020000D_", "latest",
        "../20261122-020000F"}) {
    EXPECT_FALSE(ParseLabel(text)) << text;
  }
}

TEST(NamesTest, Locks) {
  EXPECT_EQ(LockName(7), "lock/0000000007");
  EXPECT_EQ(ParseLockName("lock/0000000007"), 7U);
  EXPECT_EQ(ParseLockName("lock/9999999999"), 9'999'999'999U);
  for (const char* name : {"lock/", "lock/7", "lock/0000000000", "lock/00000000071",
                           "lock/000000000x", "lock/-000000007", "pin/0000000007"}) {
    EXPECT_EQ(ParseLockName(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace veza
