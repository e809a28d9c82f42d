#include "core/repository/backup_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "core/codec/codec_fixtures.h"
#include "core/codec/their_json.h"

namespace veza {
namespace {

using nlohmann::json;
using testing::HasSubstr;

constexpr const char* kLabel = "20261122-020000F";
const std::string kName = BackupDocumentName(kLabel);

BackupSummary FullSummary() {
  BackupSummary summary;
  summary.label = kLabel;
  summary.system_identifier = 18'446'744'073'709'551'615U;
  summary.postgres_version_num = 150020;
  summary.postgres_version = "15.20 (Debian 15.20-0+deb12u1)";
  summary.timeline = 4'294'967'295U;
  summary.start_lsn = Lsn{0x1600000028};
  summary.stop_lsn = Lsn{0xFFFFFFFF00000000};
  summary.start_wal = "FFFFFFFF0000001600000000";
  summary.stop_wal = "FFFFFFFFFFFFFFFE000000FF";
  summary.start_time = kTestTime;
  summary.stop_time = kTestTime + std::chrono::microseconds(1'500'001);
  summary.wal_segment_size = 16U << 20;
  summary.block_size = 8192;
  summary.data_checksum_version = 1;
  summary.from_standby = true;
  summary.node = "node \"a\" \xc3\xa9";
  summary.size = 1ULL << 60;
  summary.stored_size = 1ULL << 59;
  summary.files = 1'000'000;
  summary.packs = 70'000;
  summary.cipher = "aes-256-gcm";
  summary.key_id = std::string(32, 'a');
  summary.manifest_size = 123'456'789;
  summary.manifest_sha256 = Sha256Of(AsBytes("manifest"));
  summary.tablespaces = {{16384, "/srv/fast disk", 1ULL << 50}, {16385, "/srv/\xff\n", 0}};
  summary.checksum_failures = 101;
  summary.checksum_failure_pages = {{"base/5/16384", 7}, {"base/5/16384.1", 4'294'967'295U}};
  summary.backup_label = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n";
  summary.databases = {{5, "postgres", 731, 8192},
                       {16384, "caf\xc3\xa9", 4'294'967'295U, 1ULL << 50}};
  summary.extensions = {{"postgres", "plpgsql", "1.0"}};
  summary.settings = {{"archive_timeout", "60"}, {"shared_buffers", "128MB"}};
  summary.notes = {101, {{"log/s", "a socket"}, {"\xff", "a FIFO"}}, 1, {{"base/5", "/srv/5"}}};
  return summary;
}

class BackupSummaryTest : public testing::TestWithParam<Cipher> {
 protected:
  // FullSummary() with one change and a valid signature.
  Result<BackupSummary> ParseChanged(const std::function<void(json&)>& change) {
    json document =
        OpenTheirs(SerializeSummary(FullSummary(), policy_).value(), policy_, kName).value();
    change(document);
    const auto text = SignTheirs(document, policy_, kName);
    EXPECT_OK(text);
    return ParseSummary(text.value_or(""), kLabel, policy_);
  }

  SealPolicy policy_ = TestPolicy(GetParam());
};

INSTANTIATE_TEST_SUITE_P(Ciphers, BackupSummaryTest, testing::ValuesIn(kAllCiphers),
                         CipherTestName);

TEST_P(BackupSummaryTest, ReadsEveryMemberThatItWrites) {
  const BackupSummary before = FullSummary();
  const auto text = SerializeSummary(before, policy_);
  ASSERT_OK(text);
  const auto after = ParseSummary(*text, kLabel, policy_);
  ASSERT_OK(after);
  EXPECT_EQ(after->label, before.label);
  EXPECT_EQ(after->type, BackupType::kFull);
  EXPECT_EQ(after->system_identifier, before.system_identifier);
  EXPECT_EQ(after->postgres_version_num, before.postgres_version_num);
  EXPECT_EQ(after->postgres_version, before.postgres_version);
  EXPECT_EQ(after->timeline, before.timeline);
  EXPECT_EQ(after->start_lsn, before.start_lsn);
  EXPECT_EQ(after->stop_lsn, before.stop_lsn);
  EXPECT_EQ(after->start_wal, before.start_wal);
  EXPECT_EQ(after->stop_wal, before.stop_wal);
  EXPECT_EQ(after->start_time, before.start_time);
  EXPECT_EQ(after->stop_time, before.stop_time);
  EXPECT_EQ(after->wal_segment_size, before.wal_segment_size);
  EXPECT_EQ(after->block_size, before.block_size);
  EXPECT_EQ(after->data_checksum_version, before.data_checksum_version);
  EXPECT_EQ(after->from_standby, before.from_standby);
  EXPECT_EQ(after->node, before.node);
  EXPECT_EQ(after->size, before.size);
  EXPECT_EQ(after->stored_size, before.stored_size);
  EXPECT_EQ(after->files, before.files);
  EXPECT_EQ(after->packs, before.packs);
  EXPECT_EQ(after->cipher, before.cipher);
  EXPECT_EQ(after->key_id, before.key_id);
  EXPECT_EQ(after->manifest_size, before.manifest_size);
  EXPECT_EQ(after->manifest_sha256, before.manifest_sha256);
  ASSERT_EQ(after->tablespaces.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(after->tablespaces[i].oid, before.tablespaces[i].oid);
    EXPECT_EQ(after->tablespaces[i].path, before.tablespaces[i].path);
    EXPECT_EQ(after->tablespaces[i].size, before.tablespaces[i].size);
  }
  EXPECT_EQ(after->checksum_failures, before.checksum_failures);
  ASSERT_EQ(after->checksum_failure_pages.size(), 2U);
  EXPECT_EQ(after->checksum_failure_pages[1].path, "base/5/16384.1");
  EXPECT_EQ(after->checksum_failure_pages[1].block, 4'294'967'295U);
  EXPECT_EQ(after->backup_label, before.backup_label);
  EXPECT_TRUE(after->sources.empty());
  ASSERT_EQ(after->databases.size(), 2U);
  EXPECT_EQ(after->databases[1].oid, 16384U);
  EXPECT_EQ(after->databases[1].name, "caf\xc3\xa9");
  EXPECT_EQ(after->databases[1].row_xid, 4'294'967'295U);
  EXPECT_EQ(after->databases[1].size, 1ULL << 50);
  ASSERT_EQ(after->extensions.size(), 1U);
  EXPECT_EQ(after->extensions[0].database, "postgres");
  EXPECT_EQ(after->extensions[0].name, "plpgsql");
  EXPECT_EQ(after->extensions[0].version, "1.0");
  EXPECT_EQ(after->settings, before.settings);
  EXPECT_EQ(after->notes.skipped_count, before.notes.skipped_count);
  EXPECT_EQ(after->notes.skipped, before.notes.skipped);
  EXPECT_EQ(after->notes.links_count, before.notes.links_count);
  EXPECT_EQ(after->notes.links, before.notes.links);
}

// Names and forms are part of the format: a table for both directions would read back any.
TEST_P(BackupSummaryTest, TheDocumentHasTheseMembers) {
  BackupSummary summary = FullSummary();
  summary.label = "20261122-020000F_20261123-020000D";
  summary.type = BackupType::kDiff;
  summary.sources = {{kLabel, Sha256Of(AsBytes("the full's"))}};
  summary.changes_by = "lsn";
  summary.changes_doubt = "a segment is missing";
  summary.duration = 62;
  summary.key_wraps = {{"key/main", "{}"}};
  json document = OpenTheirs(SerializeSummary(summary, policy_).value(), policy_,
                             BackupDocumentName(summary.label))
                      .value();
  document.erase("mac");
  EXPECT_EQ(
      document,
      json({
          {"format", 1},
          {"label", "20261122-020000F_20261123-020000D"},
          {"type", "diff"},
          {"system_identifier", "18446744073709551615"},
          {"postgres_version_num", 150020},
          {"postgres_version", "15.20 (Debian 15.20-0+deb12u1)"},
          {"timeline", 4'294'967'295U},
          {"start_lsn", "16/28"},
          {"stop_lsn", "FFFFFFFF/0"},
          {"start_wal", "FFFFFFFF0000001600000000"},
          {"duration", 62},
          {"stop_wal", "FFFFFFFFFFFFFFFE000000FF"},
          {"start_time", FormatUtc(kTestTime)},
          {"stop_time", FormatUtc(summary.stop_time)},
          {"wal_segment_size", 16U << 20},
          {"block_size", 8192},
          {"data_checksum_version", 1},
          {"from_standby", true},
          {"node", "node \"a\" \xc3\xa9"},
          {"size", 1ULL << 60},
          {"stored_size", 1ULL << 59},
          {"files", 1'000'000},
          {"packs", 70'000},
          {"cipher", "aes-256-gcm"},
          {"key_id", std::string(32, 'a')},
          {"key_wraps", json::array({json{{"name", "key/main"}, {"text", "{}"}}})},
          {"manifest_size", 123'456'789},
          {"manifest_sha256", ToHex(Sha256Of(AsBytes("manifest")))},
          {"tablespaces",
           json::array({json{{"oid", 16384}, {"path", "/srv/fast disk"}, {"size", 1ULL << 50}},
                        json{{"oid", 16385},
                             {"path_base64", ToBase64(AsBytes("/srv/\xff\n"))},
                             {"size", 0}}})},
          {"checksum_failures", 101},
          {"checksum_failure_pages",
           json::array({json{{"path", "base/5/16384"}, {"block", 7}},
                        json{{"path", "base/5/16384.1"}, {"block", 4'294'967'295U}}})},
          {"backup_label", "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n"},
          {"databases",
           json::array({json{{"oid", 5}, {"name", "postgres"}, {"row_xid", 731}, {"size", 8192}},
                        json{{"oid", 16384},
                             {"name", "caf\xc3\xa9"},
                             {"row_xid", 4'294'967'295U},
                             {"size", 1ULL << 50}}})},
          {"extensions",
           json::array({json{{"database", "postgres"}, {"name", "plpgsql"}, {"version", "1.0"}}})},
          {"settings", json{{"archive_timeout", "60"}, {"shared_buffers", "128MB"}}},
          {"skipped",
           json::array({json{{"path", "log/s"}, {"reason", "a socket"}},
                        json{{"path_base64", ToBase64(AsBytes("\xff"))}, {"reason", "a FIFO"}}})},
          {"skipped_count", 101},
          {"links", json::array({json{{"path", "base/5"}, {"target", "/srv/5"}}})},
          {"links_count", 1},
          {"full_manifest_sha256", ToHex(Sha256Of(AsBytes("the full's")))},
          {"changes_by", "lsn"},
          {"changes_doubt", "a segment is missing"},
      }));
}

// A server encoding need not be UTF-8, and no name may make a backup fail.
// The times are by a clock that may be set while a backup is made.
TEST_P(BackupSummaryTest, TheDurationIsThatOfTheSteadyClockWhereItIsKnown) {
  BackupSummary summary = FullSummary();
  summary.stop_time = summary.start_time + std::chrono::seconds(5);
  EXPECT_EQ(DurationOf(summary), std::chrono::seconds(5));
  summary.stop_time = summary.start_time - std::chrono::hours(1);
  EXPECT_EQ(DurationOf(summary), std::chrono::seconds(0));
  summary.duration = 7;
  const auto read =
      ParseSummary(SerializeSummary(summary, policy_).value(), summary.label, policy_);
  ASSERT_OK(read);
  EXPECT_EQ(DurationOf(*read), std::chrono::seconds(7));
}

TEST_P(BackupSummaryTest, ANameThatIsNotUtf8IsMadeReadable) {
  BackupSummary summary = FullSummary();
  summary.databases[0].name = "caf\xe9";
  summary.settings["cluster_name"] = "\xff";
  const auto text = SerializeSummary(summary, policy_);
  ASSERT_OK(text);
  EXPECT_EQ(ParseSummary(*text, kLabel, policy_).value().databases[0].name, "caf\xef\xbf\xbd");
}

TEST_P(BackupSummaryTest, ADiffNamesTheManifestOfItsFull) {
  BackupSummary summary = FullSummary();
  summary.label = "20261122-020000F_20261123-020000D";
  summary.type = BackupType::kDiff;
  summary.sources = {{kLabel, Sha256Of(AsBytes("the full's"))}};
  EXPECT_EQ(summary.full_label(), kLabel);
  const auto read =
      ParseSummary(SerializeSummary(summary, policy_).value(), summary.label, policy_);
  ASSERT_OK(read);
  EXPECT_EQ(read->type, BackupType::kDiff);
  ASSERT_EQ(read->sources.size(), 1U);
  EXPECT_EQ(read->sources[0].label, kLabel);
  EXPECT_EQ(read->sources[0].manifest_sha256, summary.sources[0].manifest_sha256);
  EXPECT_EQ(read->changes_by, "");
  EXPECT_EQ(read->changes_doubt, "");
  summary.changes_by = "digest";
  EXPECT_EQ(ParseSummary(SerializeSummary(summary, policy_).value(), summary.label, policy_)
                .value()
                .changes_by,
            "digest");
  summary.sources.clear();
  EXPECT_ERROR(ParseSummary(SerializeSummary(summary, policy_).value(), summary.label, policy_),
               ErrorCode::kDataCorrupted);
}

TEST_P(BackupSummaryTest, AnIncrNamesOlderBackupsOfItsFull) {
  const std::string diff = "20261122-020000F_20261123-020000D";
  BackupSummary summary = FullSummary();
  summary.label = "20261122-020000F_20261124-020000I";
  summary.type = BackupType::kIncr;
  summary.parent = diff;
  summary.sources = {{diff, Sha256Of(AsBytes("the diff's"))},
                     {kLabel, Sha256Of(AsBytes("the full's"))}};
  const auto read = [&] {
    return ParseSummary(SerializeSummary(summary, policy_).value(), summary.label, policy_);
  };
  ASSERT_OK(read());
  EXPECT_EQ(read()->type, BackupType::kIncr);
  EXPECT_EQ(read()->parent, diff);
  ASSERT_EQ(read()->sources.size(), 2U);
  EXPECT_EQ(read()->sources[0].label, diff);
  EXPECT_EQ(read()->sources[1].manifest_sha256, summary.sources[1].manifest_sha256);

  summary.sources.clear();
  EXPECT_OK(read());
  for (const std::string& label :
       {std::string("20261121-020000F"), std::string("20261121-020000F_20261123-020000D"),
        summary.label, std::string("20261122-020000F_20261125-020000D"), std::string("other")}) {
    SCOPED_TRACE(label);
    summary.sources = {{label}};
    EXPECT_ERROR(read(), ErrorCode::kDataCorrupted);
    summary.sources.clear();
    summary.parent = label;
    EXPECT_ERROR(read(), ErrorCode::kDataCorrupted);
    summary.parent = diff;
  }
  summary.sources = {{diff}, {diff}};
  EXPECT_ERROR(read(), ErrorCode::kDataCorrupted);
}

TEST_P(BackupSummaryTest, EveryMemberIsNeededAndTyped) {
  const json document =
      OpenTheirs(SerializeSummary(FullSummary(), policy_).value(), policy_, kName).value();
  EXPECT_EQ(document.size(), 37U);
  for (const auto& [member, value] : document.items()) {
    if (member == "format") {
      continue;
    }
    // Without a cipher there is no key. The other two are missing in backups of version 0.1.
    if (member != "key_id" && member != "skipped" && member != "links") {
      const auto absent =
          ParseChanged([&, &member = member](json& changed) { changed.erase(member); });
      ASSERT_FALSE(absent) << member;
      EXPECT_EQ(absent.error().code, ErrorCode::kDataCorrupted) << member;
      EXPECT_THAT(absent.error().message, HasSubstr(kName));
    }
    for (const json& wrong : {json(nullptr), json(-1), json::object(), json::array({1})}) {
      const auto read =
          ParseChanged([&, &member = member](json& changed) { changed[member] = wrong; });
      if ((member == "postgres_version_num" && wrong == -1) ||
          (member == "settings" && wrong.is_object())) {
        continue;
      }
      ASSERT_FALSE(read) << member << " " << wrong;
      EXPECT_EQ(read.error().code, ErrorCode::kDataCorrupted) << member;
    }
  }
}

TEST_P(BackupSummaryTest, ImpossibleValuesAreRefused) {
  const std::pair<const char*, json> wrong[] = {
      {"type", "diff"},
      {"type", "incremental"},
      {"label", "20261122-020001F"},
      {"system_identifier", "x"},
      {"start_lsn", "0"},
      {"stop_lsn", "0/x"},
      {"start_time", "yesterday"},
      {"timeline", 4'294'967'296},
      {"wal_segment_size", 0},
      {"wal_segment_size", 1},
      {"wal_segment_size", (16U << 20) + 1},
      {"wal_segment_size", 1ULL << 33},
      {"manifest_sha256", "00"},
      {"manifest_sha256", std::string(64, 'g')},
      {"tablespaces", json::array({json{{"oid", 1}, {"path", "/x"}}})},
      {"tablespaces", json::array({json{{"oid", 1}, {"size", 1}}})},
      {"tablespaces", json::array({json{{"oid", 1}, {"size", 1}, {"path_base64", "%"}}})},
      {"block_size", 0},
      {"block_size", 8191},
      {"databases", json::array({json{{"oid", 1}, {"name", "x"}, {"size", 1}}})},
      {"extensions", json::array({json{{"name", "x"}, {"version", "1"}}})},
      {"settings", json{{"work_mem", 1}}},
      {"checksum_failure_pages", json::array({json{{"path", "x"}}})}};
  for (const auto& [member, value] : wrong) {
    const auto read = ParseChanged(
        [&, &member = member, &value = value](json& document) { document[member] = value; });
    ASSERT_FALSE(read) << member << " " << value;
    EXPECT_EQ(read.error().code, ErrorCode::kDataCorrupted) << member;
  }
  EXPECT_OK(ParseChanged([](json& document) { document["later"] = 1; }));
}

// The document itself is an object, and has a member "oid" nowhere.
TEST_P(BackupSummaryTest, AnErrorInAListNamesTheElement) {
  const auto message = [&](const json& element) {
    return ParseChanged([&](json& document) { document["databases"][1] = element; })
        .error()
        .message;
  };
  EXPECT_EQ(message(1), fmt::format("\"{}\": \"databases[1]\": is not a JSON object", kName));
  EXPECT_EQ(message(json::object()),
            fmt::format("\"{}\": \"databases[1]\": member \"oid\" is missing", kName));
}

TEST_P(BackupSummaryTest, BelongsToItsLabel) {
  const std::string text = SerializeSummary(FullSummary(), policy_).value();
  EXPECT_ERROR(ParseSummary(text, "20261122-020001F", policy_), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ParseSummary(text, "", policy_), ErrorCode::kDataCorrupted);
}

TEST_P(BackupSummaryTest, AChangedDocumentIsRefused) {
  const std::string good = SerializeSummary(FullSummary(), policy_).value();
  std::size_t accepted = 0;
  for (std::size_t at = 0; at < good.size(); ++at) {
    if (good[at] == ' ' || good[at] == '\n') {
      continue;  // the signature does not cover white space
    }
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    // The digits of mac itself may have either case.
    accepted += ParseSummary(bad, kLabel, policy_).has_value() ? 1 : 0;
  }
  EXPECT_EQ(accepted, 0U);
  EXPECT_ERROR(ParseSummary(good.substr(0, good.size() / 2), kLabel, policy_),
               ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ParseSummary("", kLabel, policy_), ErrorCode::kDataCorrupted);
}

// What somebody can write who has access to the store and no key.
TEST(BackupSummary, ForgeriesAreRefused) {
  const SealPolicy ours = TestPolicy(Cipher::kAes256Gcm);
  const SealPolicy none = TestPolicy(Cipher::kNone);
  const SealPolicy theirs = TestPolicy(Cipher::kAes256Gcm, "another key");
  const std::string plain = SerializeSummary(FullSummary(), none).value();
  EXPECT_ERROR(ParseSummary(plain, kLabel, ours), ErrorCode::kPermissionDenied);
  const std::string foreign = SerializeSummary(FullSummary(), theirs).value();
  EXPECT_ERROR(ParseSummary(foreign, kLabel, ours), ErrorCode::kDataCorrupted);
  const std::string sealed = SerializeSummary(FullSummary(), ours).value();
  EXPECT_ERROR(ParseSummary(sealed, kLabel, none), ErrorCode::kWrongKey);
}

TEST(BackupSummary, WithoutACipherThereIsNoKeyId) {
  const SealPolicy policy = TestPolicy(Cipher::kNone);
  BackupSummary summary = FullSummary();
  summary.cipher = "none";
  summary.key_id.clear();
  const std::string text = SerializeSummary(summary, policy).value();
  EXPECT_EQ(text.find("key_id"), std::string::npos);
  EXPECT_EQ(ParseSummary(text, kLabel, policy).value().key_id, "");
}

TEST(BackupSummary, ANewerFormatIsRefused) {
  const SealPolicy policy = TestPolicy(Cipher::kNone);
  std::string text = SerializeSummary(FullSummary(), policy).value();
  const std::size_t at = text.find("\"format\": 1");
  ASSERT_NE(at, std::string::npos);
  text.replace(at, 11, "\"format\": 2");
  const auto read = ParseSummary(text, kLabel, policy);
  EXPECT_ERROR(read, ErrorCode::kUnsupported);
  EXPECT_THAT(read.error().hint, HasSubstr("newer version"));
}

TEST(BackupSummary, KnowsItsOwnLabelAndThoseOfItsSources) {
  BackupSummary summary;
  summary.label = "own";
  summary.sources = {{"first", {}}, {"second", {}}};
  EXPECT_EQ(summary.LabelOf(0), "own");
  EXPECT_EQ(summary.LabelOf(1), "first");
  EXPECT_EQ(summary.LabelOf(2), "second");
}

}  // namespace
}  // namespace veza
