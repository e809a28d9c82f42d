// Backups of nodes that write different versions of the format (FORMAT.md section 14) into one
// repository.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/codec/stream_builder.h"
#include "core/restore/test_restore.h"
#include "core/verify/verify.h"

namespace veza {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

struct Versions {
  Cipher cipher;
  DigestMethod full;
  DigestMethod diff;
};

class DigestVersionsTest : public testing::TestWithParam<Versions> {
 protected:
  DigestVersionsTest() {
    source_.Directory("pg_xact");
    relation_ = NoiseBytes(600 * 8192, 11);
    for (std::uint32_t block = 0; block < 600; ++block) {
      SetPage(block, Lsn{kTestStartLsn.value - 8}, 1);
    }
    source_.File("base/5/100", relation_);
    source_.File("base/5/100_vm", NoiseBytes(8192, 2));
    source_.File("pg_xact/0000", NoiseBytes(1'500'000, 3));
    source_.File("pg_xact/0001", NoiseBytes(500, 4));
  }

  void SetPage(std::uint32_t block, Lsn lsn, std::uint64_t seed) {
    const Bytes page = TestPage(block, lsn, seed);
    std::copy(page.begin(), page.end(), relation_.begin() + std::ptrdiff_t{block} * 8192);
  }
  void Change() {
    SetPage(3, kTestStartLsn, 2);
    SetPage(400, kTestStartLsn, 2);
    source_.File("base/5/100", relation_);
    source_.File("pg_xact/0001", NoiseBytes(700, 5));
  }

  BackupSummary Full() {
    fixture_.repository.WriteBy(GetParam().full);
    return fixture_.Backup().value();
  }
  BackupSummary Diff(const BackupSummary& full) {
    fixture_.repository.WriteBy(GetParam().diff);
    return fixture_.Diff(full).value();
  }

  std::string ManifestOf(const BackupSummary& backup) const {
    const std::string name = ManifestName(backup.label);
    const std::string object = ReadText(fixture_.repository.PathOf(name));
    const Bytes text =
        OpenStream(fixture_.repository->seal_policy(), name, AsBytes(object)).value();
    return std::string(AsText(text));
  }
  void ExpectRestores(const BackupSummary& backup, bool delta = false) {
    RestoreOptions options = fixture_.Options();
    options.backup_label = backup.label;
    options.delta = delta;
    const Result<RestoreReport> report = fixture_.Restore(options);
    ASSERT_OK(report);
    fixture_.ExpectRestored();
    fetched_ = report->bytes_fetched;
  }
  void ExpectWhole() {
    VerifyOptions options;
    options.full = true;
    VerifyProgress progress;
    const auto report = VerifyRepository(*fixture_.repository, options, progress);
    ASSERT_OK(report);
    EXPECT_THAT(report->problems, IsEmpty());
    EXPECT_THAT(report->orphans, IsEmpty());
    if (RestoreFixture::HasSecondReader()) {
      EXPECT_EQ(fixture_.RunSecondReader("verify"), 0) << fixture_.SecondReadersLog();
    }
  }

  RestoreFixture fixture_{GetParam().cipher};
  SourceTree& source_ = fixture_.source;
  Bytes relation_;
  std::optional<BackupSummary> full_;
  std::uint64_t fetched_ = 0;  // by the last restore
};

constexpr Versions kVersions[] = {
    {Cipher::kAes256Gcm, DigestMethod::kSha256, DigestMethod::kSha256},
    {Cipher::kAes256Gcm, DigestMethod::kSha256, DigestMethod::kGmac},
    {Cipher::kAes256Gcm, DigestMethod::kGmac, DigestMethod::kSha256},
    {Cipher::kAes256Gcm, DigestMethod::kGmac, DigestMethod::kGmac},
    {Cipher::kAes256Cbc, DigestMethod::kSha256, DigestMethod::kGmac},
    {Cipher::kAes256Cbc, DigestMethod::kGmac, DigestMethod::kGmac},
};

std::string VersionsTestName(const testing::TestParamInfo<Versions>& info) {
  const auto number = [](DigestMethod method) { return method == DigestMethod::kGmac ? 2 : 1; };
  return fmt::format("{}{}on{}", info.param.cipher == Cipher::kAes256Gcm ? "Gcm" : "Cbc",
                     number(info.param.diff), number(info.param.full));
}

INSTANTIATE_TEST_SUITE_P(Versions, DigestVersionsTest, testing::ValuesIn(kVersions),
                         VersionsTestName);

TEST_P(DigestVersionsTest, ADiffRefersToWhatIsTheSameInAFullOfAnyVersion) {
  for (const bool lsns_tell : {true, false}) {
    fixture_.lsns_tell = lsns_tell;
    if (!full_) {
      full_ = Full();
    }
    const BackupSummary diff = Diff(*full_);
    // backup_label and pg_control are written anew.
    EXPECT_LT(diff.stored_size - diff.manifest_size, 20'000U);
    ExpectRestores(diff);
    std::filesystem::remove_all(fixture_.Target());
  }
  ExpectWhole();
}

TEST_P(DigestVersionsTest, ADiffRestoresWithWhatHasChanged) {
  for (const bool lsns_tell : {true, false}) {
    fixture_.lsns_tell = lsns_tell;
    if (!full_) {
      full_ = Full();
    }
    Change();
    ExpectRestores(Diff(*full_));
    std::filesystem::remove_all(fixture_.Target());
  }
  ExpectWhole();
}

// A delta keeps what has the right digest. So it fetches nearly nothing.
TEST_P(DigestVersionsTest, ADeltaKnowsWhatIsThere) {
  const BackupSummary full = Full();
  Change();
  const BackupSummary diff = Diff(full);
  ExpectRestores(diff);
  const std::uint64_t all = fetched_;
  ExpectRestores(diff, true);
  EXPECT_LT(fetched_, all / 2);
}

// The version that a manifest names is the lowest that its readers need.
TEST_P(DigestVersionsTest, TheManifestNamesTheVersionThatItNeeds) {
  const BackupSummary full = Full();
  const BackupSummary diff = Diff(full);
  const std::string in_full = ManifestOf(full);
  const std::string in_diff = ManifestOf(diff);
  const auto header = [](int version) {
    return testing::AllOf(HasSubstr(R"("type":"manifest")"),
                          HasSubstr(fmt::format(R"("version":{})", version)));
  };
  const auto first_line = [](const std::string& text) { return text.substr(0, text.find('\n')); };
  const bool full_is_new = GetParam().full == DigestMethod::kGmac;
  const bool diff_is_new = GetParam().diff == DigestMethod::kGmac;
  EXPECT_THAT(first_line(in_full), header(full_is_new ? 2 : 1));
  EXPECT_THAT(first_line(in_diff), header(full_is_new || diff_is_new ? 2 : 1));

  const auto records = [](const std::string& text, const std::string& type) {
    std::string found;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      const std::string line = text.substr(at, end - at);
      found += line.find("\"type\":\"" + type + "\"") != std::string::npos ? line : "";
      at = end + 1;
    }
    return found;
  };
  const auto has_member = [](bool is_new) {
    const testing::Matcher<std::string> has = HasSubstr(R"("digest":"gmac")");
    return is_new ? has : testing::Matcher<std::string>(Not(HasSubstr("\"digest\"")));
  };
  EXPECT_THAT(records(in_full, "pack"), has_member(full_is_new));
  EXPECT_THAT(records(in_diff, "pack"), has_member(diff_is_new));
  EXPECT_THAT(records(in_diff, "full_pack"), has_member(full_is_new));
}

}  // namespace
}  // namespace veza
