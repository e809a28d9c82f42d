#include "core/repository/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "core/codec/stream_builder.h"
#include "core/codec/their_json.h"
#include "core/memory_gauge.h"
#include "core/repository/manifest_records.h"
#include "core/repository/test_repository.h"

namespace veza {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kLabel = "20261122-020000F";

BackupSummary SummaryOf(const ManifestWriter::Stored& stored) {
  BackupSummary summary;
  summary.label = kLabel;
  summary.manifest_size = stored.size;
  summary.manifest_sha256 = stored.sha256;
  return summary;
}

Extent StoredExtent(std::uint32_t length, std::uint32_t pack, std::uint32_t frame) {
  Extent extent;
  extent.length = length;
  extent.pack = pack;
  extent.frame = frame;
  extent.offset = (16U << 20) + frame % 1000;
  extent.stored = length / 2 + 20;
  extent.digest = DigestExtent(AsBytes(std::to_string(frame)), DigestMethod::kSha256, nullptr);
  return extent;
}

Extent Hole(std::uint32_t length) {
  Extent extent;
  extent.length = length;
  return extent;
}

void ExpectEqual(const Extent& a, const Extent& b) {
  EXPECT_EQ(a.length, b.length);
  EXPECT_EQ(a.pack, b.pack);
  EXPECT_EQ(a.frame, b.frame);
  EXPECT_EQ(a.offset, b.offset);
  EXPECT_EQ(a.stored, b.stored);
  EXPECT_EQ(a.digest, b.digest);
}

class ManifestTest : public testing::TestWithParam<Cipher> {
 protected:
  Result<std::vector<ManifestRecord>> Read(const BackupSummary& summary) {
    std::vector<ManifestRecord> records;
    RETURN_IF_ERROR(ReadManifest(*repository_, summary, [&](ManifestRecord&& record) {
      records.push_back(std::move(record));
      return Ok();
    }));
    return records;
  }

  TestRepository repository_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Ciphers, ManifestTest, testing::ValuesIn(kAllCiphers), CipherTestName);

TEST_P(ManifestTest, ReadsEveryRecordThatItWrites) {
  const std::string odd_path = "base/\xff\xfe line\nfeed \"quoted\" \x01";
  const std::string utf8_path = "base/5/\xc3\xa9t\xc3\xa9";
  PackRecord pack;
  pack.number = 4'000'000'000;
  pack.size = 17U << 20;
  pack.frames = 3;
  for (std::size_t i = 0; i < pack.header.size(); ++i) {
    pack.header[i] = static_cast<std::uint8_t>(255 - i);
  }
  const FileRecord file{utf8_path,
                        0640,
                        1'048'576 + 500 + 8192,
                        -5,
                        {StoredExtent(1'048'576, 4'000'000'000, 0), Hole(500),
                         StoredExtent(8192, 4'000'000'000, 1'000'000)}};

  ManifestWriter writer(*repository_, kLabel);
  ASSERT_OK(writer.Add(Tablespace{16384, "/srv/ts", 0}));
  ASSERT_OK(writer.Add(Tablespace{16385, "/srv/\xff", 0}));
  ASSERT_OK(writer.Add(DirectoryRecord{"", 0700}));
  ASSERT_OK(writer.Add(DirectoryRecord{"base", 07777}));
  ASSERT_OK(writer.Add(DirectoryRecord{odd_path, 0}));
  ASSERT_OK(writer.Add(file));
  ASSERT_OK(writer.Add(FileRecord{odd_path + "/empty", 0, 0, 1ULL << 40, {}}));
  ASSERT_OK(writer.Add(pack));
  const auto stored = writer.Commit();
  ASSERT_OK(stored);
  EXPECT_EQ(stored->totals, (ManifestTotals{2, 3, 3, 1, file.size}));
  EXPECT_EQ(stored->size, std::filesystem::file_size(repository_.PathOf(ManifestName(kLabel))));

  const auto records = Read(SummaryOf(*stored));
  ASSERT_OK(records);
  ASSERT_EQ(records->size(), 8U);
  EXPECT_EQ(std::get<Tablespace>((*records)[0]).oid, 16384U);
  EXPECT_EQ(std::get<Tablespace>((*records)[0]).path, "/srv/ts");
  EXPECT_EQ(std::get<Tablespace>((*records)[1]).path, "/srv/\xff");
  EXPECT_EQ(std::get<DirectoryRecord>((*records)[2]).path, "");
  EXPECT_EQ(std::get<DirectoryRecord>((*records)[3]).mode, 07777U);
  EXPECT_EQ(std::get<DirectoryRecord>((*records)[4]).path, odd_path);
  EXPECT_EQ(std::get<DirectoryRecord>((*records)[4]).mode, 0U);
  const auto& read = std::get<FileRecord>((*records)[5]);
  EXPECT_EQ(read.path, utf8_path);
  EXPECT_EQ(read.mode, 0640U);
  EXPECT_EQ(read.size, file.size);
  EXPECT_EQ(read.mtime, -5);
  ASSERT_EQ(read.extents.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    ExpectEqual(read.extents[i], file.extents[i]);
  }
  EXPECT_EQ(std::get<FileRecord>((*records)[6]).path, odd_path + "/empty");
  EXPECT_EQ(std::get<FileRecord>((*records)[6]).mtime, 1LL << 40);
  const auto& read_pack = std::get<PackRecord>((*records)[7]);
  EXPECT_EQ(read_pack.number, pack.number);
  EXPECT_EQ(read_pack.size, pack.size);
  EXPECT_EQ(read_pack.frames, pack.frames);
  EXPECT_EQ(read_pack.header, pack.header);
}

TEST_P(ManifestTest, AnyDamageIsNoticed) {
  ManifestWriter writer(*repository_, kLabel);
  ASSERT_OK(writer.Add(FileRecord{"PG_VERSION", 0600, 3, 0, {StoredExtent(3, 1, 0)}}));
  const BackupSummary summary = SummaryOf(writer.Commit().value());
  const std::string path = repository_.PathOf(ManifestName(kLabel));
  const std::string good = ReadText(path);
  ASSERT_OK(Read(summary));
  for (std::size_t at = 0; at < good.size(); at += 5) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    WriteText(path, bad);
    const auto read = Read(summary);
    ASSERT_FALSE(read) << at;
    EXPECT_THAT(read.error().message, HasSubstr(ManifestName(kLabel)));
  }
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{10}, std::size_t{64}, good.size() / 2, good.size() - 1}) {
    WriteText(path, good.substr(0, size));
    EXPECT_ERROR(Read(summary), ErrorCode::kDataCorrupted);
  }
  std::filesystem::remove(path);
  EXPECT_ERROR(Read(summary), ErrorCode::kDataCorrupted);
}

// A complete, valid manifest of the same label, but not the one for which backup.json was written.
TEST_P(ManifestTest, AReplacedManifestIsNoticed) {
  BackupSummary summary;
  {
    ManifestWriter writer(*repository_, kLabel);
    ASSERT_OK(writer.Add(DirectoryRecord{"base", 0700}));
    summary = SummaryOf(writer.Commit().value());
  }
  std::filesystem::remove(repository_.PathOf(ManifestName(kLabel)));
  ManifestWriter writer(*repository_, kLabel);
  ASSERT_OK(writer.Add(DirectoryRecord{"base", 0700}));
  ASSERT_OK(writer.Commit());
  const auto read = Read(summary);
  EXPECT_ERROR(read, ErrorCode::kDataCorrupted);
  EXPECT_THAT(read.error().message,
              AllOf(HasSubstr(ManifestName(kLabel)), HasSubstr("backup.json")));
  EXPECT_FALSE(read.error().hint.empty());
}

TEST_P(ManifestTest, IsNeverOverwritten) {
  WriteText(repository_.PathOf(ManifestName(kLabel)), "of another writer");
  ManifestWriter writer(*repository_, kLabel);
  EXPECT_ERROR(writer.Commit(), ErrorCode::kAlreadyExists);
  EXPECT_EQ(ReadText(repository_.PathOf(ManifestName(kLabel))), "of another writer");
}

TEST(Manifest, AHundredThousandFilesTakeBoundedMemory) {
  TestRepository repository;
  constexpr std::uint32_t kFiles = MemoryGauge::Amount(100'000);
  // The writer may hold 8 MiB, and a reader one record. The rest is slack for the allocator.
  constexpr std::uint64_t kBound = 24U << 20;
  const auto path = [](std::uint32_t i) { return fmt::format("base/{}/{}", i / 500, 100'000 + i); };

  const MemoryGauge gauge;
  ManifestWriter::Stored stored;
  {
    ManifestWriter writer(*repository, kLabel);
    std::vector<std::thread> threads;
    for (std::uint32_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (std::uint32_t i = t; i < kFiles; i += 4) {
          EXPECT_OK(writer.Add(FileRecord{path(i), 0600, 8192, i, {StoredExtent(8192, 1, i)}}));
        }
      });
    }
    for (std::thread& thread : threads) {
      thread.join();
    }
    stored = writer.Commit().value();
  }
  EXPECT_EQ(stored.totals, (ManifestTotals{kFiles, 0, kFiles, 0, 8192ULL * kFiles}));
  std::uint64_t seen = 0;
  ASSERT_OK(ReadManifest(*repository, SummaryOf(stored), [&](ManifestRecord&& record) -> Status {
    const auto& file = std::get<FileRecord>(record);
    const auto i = static_cast<std::uint32_t>(file.mtime);
    EXPECT_EQ(file.path, path(i));
    EXPECT_EQ(file.extents.size(), 1U);
    ++seen;
    return Ok();
  }));
  EXPECT_EQ(seen, kFiles);
  if (MemoryGauge::meaningful()) {
    EXPECT_LT(gauge.grown_bytes(), kBound);
  }
}

TEST(Manifest, AnErrorOfTheVisitorEndsTheReading) {
  TestRepository repository;
  ManifestWriter writer(*repository, kLabel);
  ASSERT_OK(writer.Add(DirectoryRecord{"a", 0700}));
  ASSERT_OK(writer.Add(DirectoryRecord{"b", 0700}));
  const BackupSummary summary = SummaryOf(writer.Commit().value());
  int seen = 0;
  EXPECT_ERROR(ReadManifest(*repository, summary,
                            [&](ManifestRecord&&) -> Status {
                              ++seen;
                              return MakeError(ErrorCode::kNoSpace, "enough");
                            }),
               ErrorCode::kNoSpace);
  EXPECT_EQ(seen, 1);
}

// The visitor may wait for other requests, and there may be only one connection.
TEST(Manifest, NoRequestIsOpenWhileARecordIsTaken) {
  TestRepository repository;
  ManifestWriter writer(*repository, kLabel);
  constexpr int kRecords = 600;
  for (int i = 0; i < kRecords; ++i) {
    ASSERT_OK(writer.Add(DirectoryRecord{ToHex(NoiseBytes(15'000, i)), 0700}));
  }
  const BackupSummary summary = SummaryOf(writer.Commit().value());
  ASSERT_GT(summary.manifest_size, 8U << 20);
  int gets = 0;
  repository.store().SetHook([&](FaultStore::Operation operation, std::string_view) -> Status {
    gets += operation == FaultStore::Operation::kGet ? 1 : 0;
    return Ok();
  });
  int seen = 0;
  ASSERT_OK(ReadManifest(*repository, summary, [&](ManifestRecord&&) -> Status {
    EXPECT_EQ(repository.store().open_gets(), 0);
    ++seen;
    return Ok();
  }));
  EXPECT_EQ(seen, kRecords);
  EXPECT_EQ(gets, 3);
}

// The object ends with the manifest.
TEST(Manifest, ContentAfterItIsNoticed) {
  TestRepository repository;
  ManifestWriter writer(*repository, kLabel);
  ASSERT_OK(writer.Add(DirectoryRecord{"a", 0700}));
  const BackupSummary summary = SummaryOf(writer.Commit().value());
  const std::string path = repository.PathOf(ManifestName(kLabel));
  WriteText(path, ReadText(path) + "x");
  EXPECT_ERROR(ReadManifest(*repository, summary, [](ManifestRecord&&) { return Ok(); }),
               ErrorCode::kDataCorrupted);
}

// --- Manifests that our writer never makes -------------------------------------------------------

class ForgedManifestTest : public testing::Test {
 protected:
  // A manifest of these lines, correctly sealed and named.
  Result<std::vector<ManifestRecord>> ReadLines(const std::vector<std::string>& lines) {
    std::string text;
    for (const std::string& line : lines) {
      text += line + "\n";
    }
    return ReadRaw(text);
  }
  Result<std::vector<ManifestRecord>> ReadRaw(std::string_view text) {
    const std::string name = ManifestName(kLabel);
    StreamSealer sealer(repository_->seal_policy(),
                        {name, 3, repository_.options().spill_directory, 1U << 20}, SystemRandom());
    EXPECT_OK(sealer.Append(AsBytes(text)));
    const SealedStream sealed = sealer.Finish("forger", kTestTime).value();
    std::filesystem::remove(repository_.PathOf(name));
    EXPECT_OK(repository_.store().Put(name, *sealed.body, PutMode::kCreate));
    BackupSummary summary;
    summary.label = kLabel;
    const std::string object = ReadText(repository_.PathOf(name));
    summary.manifest_size = object.size();
    summary.manifest_sha256 = Sha256Of(AsBytes(object));
    std::vector<ManifestRecord> records;
    RETURN_IF_ERROR(ReadManifest(*repository_, summary, [&](ManifestRecord&& record) {
      records.push_back(std::move(record));
      return Ok();
    }));
    return records;
  }
  // The record between a valid header and an end record that counts it.
  Result<std::vector<ManifestRecord>> ReadRecord(const json& record) {
    json end = kEmptyEnd;
    const json type = record.value("type", json());
    if (type == "file") {
      end["files"] = 1;
      end["size"] = record.value("size", json(0));
      end["extents"] =
          record.contains("extents") && record["extents"].is_array() ? record["extents"].size() : 0;
    } else if (type == "directory") {
      end["directories"] = 1;
    } else if (type == "pack") {
      end["packs"] = 1;
    }
    return ReadLines({kHeader.dump(), record.dump(), end.dump()});
  }

  const json kHeader{{"type", "manifest"}, {"version", 1}, {"label", kLabel}};
  const json kEmptyEnd{{"type", "end"}, {"files", 0}, {"directories", 0},
                       {"extents", 0},  {"packs", 0}, {"size", 0}};
  const json kFile{
      {"type", "file"},
      {"path", "base/5/1"},
      {"mode", "0600"},
      {"size", 12},
      {"mtime", 1'795'312'800},
      {"extents",
       json::array({json::array({2}),
                    json::array({10, 1, 0, 300, 60, "00112233445566778899aabbccddeeff"})})}};
  const json kDirectory{{"type", "directory"}, {"path", "base"}, {"mode", "0700"}};
  const json kTablespace{{"type", "tablespace"}, {"oid", 16384}, {"path", "/srv/ts"}};
  const json kPack{{"type", "pack"},
                   {"number", 1},
                   {"size", 1000},
                   {"frames", 1},
                   {"header", ToBase64(Bytes(64))}};

  TestRepository repository_;
};

TEST_F(ForgedManifestTest, TheUnalteredRecordsAreGood) {
  for (const json& record : {kFile, kDirectory, kTablespace, kPack}) {
    EXPECT_OK(ReadRecord(record));
  }
  EXPECT_OK(ReadLines({kHeader.dump(), kEmptyEnd.dump()}));
}

// Members that a later version may add without a new format version.
TEST_F(ForgedManifestTest, UnknownMembersAreIgnored) {
  for (json record : {kFile, kDirectory, kTablespace, kPack}) {
    record["later"] = "x";
    EXPECT_OK(ReadRecord(record));
  }
}

TEST_F(ForgedManifestTest, EveryMemberIsNeededAndTyped) {
  for (const json& good : {kFile, kDirectory, kTablespace, kPack}) {
    for (const auto& [name, value] : good.items()) {
      json record = good;
      record.erase(name);
      EXPECT_ERROR(ReadRecord(record), ErrorCode::kDataCorrupted);
      for (const json& wrong : {json(nullptr), json(true), json(1.5), json(-1), json::object(),
                                json::array({json::array()}), json("")}) {
        const bool may_be_so = (name == "mtime" && wrong == -1) ||
                               (good == kDirectory && name == "path" && wrong == "") ||
                               (good == kTablespace && name == "path" && wrong == "");
        if (may_be_so) {
          continue;
        }
        record = good;
        record[name] = wrong;
        const auto read = ReadRecord(record);
        ASSERT_FALSE(read) << record;
        EXPECT_THAT(read.error().message, HasSubstr(ManifestName(kLabel)));
      }
    }
  }
}

TEST_F(ForgedManifestTest, PathsStayInsideTheDataDirectory) {
  for (const char* path : {"..", "../x", "base/..", "base/../x", "/etc/passwd", "/", "base//x",
                           "base/", ".", "./x", "base/./x"}) {
    json file = kFile;
    file["path"] = path;
    EXPECT_ERROR(ReadRecord(file), ErrorCode::kDataCorrupted);
    json directory = kDirectory;
    directory["path"] = path;
    EXPECT_ERROR(ReadRecord(directory), ErrorCode::kDataCorrupted);
    directory.erase("path");
    directory["path_base64"] = ToBase64(AsBytes(path));
    EXPECT_ERROR(ReadRecord(directory), ErrorCode::kDataCorrupted);
  }
  json file = kFile;
  file["path"] = std::string("base/x\0y", 8);
  EXPECT_ERROR(ReadRecord(file), ErrorCode::kDataCorrupted);
  // Names that only look like them.
  for (const char* path : {"...", "..x", ".hidden", "base/x..", "a/...b"}) {
    file["path"] = path;
    EXPECT_OK(ReadRecord(file));
  }
}

TEST_F(ForgedManifestTest, PathsThatAreNotUtf8AreBase64) {
  json file = kFile;
  file.erase("path");
  file["path_base64"] = ToBase64(AsBytes("base/\xff"));
  const auto read = ReadRecord(file);
  ASSERT_OK(read);
  EXPECT_EQ(std::get<FileRecord>(read->front()).path, "base/\xff");
  for (const char* text : {"%%%", "YmFzZQ", "YmFzZQ=", ""}) {
    file["path_base64"] = text;
    EXPECT_ERROR(ReadRecord(file), ErrorCode::kDataCorrupted);
  }
}

TEST_F(ForgedManifestTest, ModesAreOctalPermissions) {
  for (const char* mode : {"0", "600", "7777", "07777", "00000755"}) {
    json directory = kDirectory;
    directory["mode"] = mode;
    EXPECT_OK(ReadRecord(directory));
  }
  for (const char* mode : {"", "8", "0x1", "-1", "+7", " 7", "7 ", "10000", "77777", "0040755",
                           "7777777777777777777777"}) {
    json directory = kDirectory;
    directory["mode"] = mode;
    EXPECT_ERROR(ReadRecord(directory), ErrorCode::kDataCorrupted);
  }
}

TEST_F(ForgedManifestTest, ExtentsAreWellFormedAndAddUp) {
  const json good = kFile["extents"];
  const auto read_with = [&](const json& extents) {
    json file = kFile;
    file["extents"] = extents;
    return ReadRecord(file);
  };
  EXPECT_OK(read_with(good));
  for (const json& extents :
       {json::array(), json::array({json::array({11})}), json::array({json::array({13})}),
        json::array({json::array({12, 1})}), json::array({json::array()}),
        json::array({json::array({4'294'967'296})}), json::array({12}), json::object()}) {
    EXPECT_ERROR(read_with(extents), ErrorCode::kDataCorrupted);
  }
  const std::pair<int, json> wrong[] = {{0, 11},
                                        {0, -10},
                                        {0, "10"},
                                        {1, 0},
                                        {1, -1},
                                        {1, 4294967296},
                                        {2, -1},
                                        {2, 4294967296},
                                        {3, -1},
                                        {3, 1.5},
                                        {4, -1},
                                        {4, 4294967296},
                                        {5, "001122"},
                                        {5, nullptr},
                                        {5, 7},
                                        {5, "00112233445566778899aabbccddeeff00"},
                                        {5, "g0112233445566778899aabbccddeeff"}};
  for (const auto& [index, value] : wrong) {
    json extents = good;
    extents[1][static_cast<std::size_t>(index)] = value;
    EXPECT_ERROR(read_with(extents), ErrorCode::kDataCorrupted);
  }
  json too_long = good;
  too_long[1].push_back(1);
  EXPECT_ERROR(read_with(too_long), ErrorCode::kDataCorrupted);

  // A reader's buffer holds one extent.
  json file = kFile;
  file["size"] = kExtentSize + 1;
  file["extents"] = json::array(
      {json::array({kExtentSize + 1, 1, 0, 300, 60, "00112233445566778899aabbccddeeff"})});
  EXPECT_ERROR(ReadRecord(file), ErrorCode::kDataCorrupted);
  file["extents"] = json::array({json::array({kExtentSize + 1})});
  EXPECT_OK(ReadRecord(file));  // a hole needs no buffer
}

// Sizes that a reader would fetch into memory, or look for beyond the end of the pack.
TEST_F(ForgedManifestTest, ExtentsLieInTheirPack) {
  const auto with = [&](int index, std::uint64_t value) {
    json file = kFile;
    file["extents"][1][static_cast<std::size_t>(index)] = value;
    return ReadRecord(file);
  };
  constexpr std::uint64_t kPackEnd = 32U << 20;
  EXPECT_OK(with(3, kPackEnd - 60));
  EXPECT_OK(with(4, SealedFrameSize(Cipher::kAes256Cbc, kExtentSize)));
  const std::pair<int, std::uint64_t> wrong[] = {
      {2, 4'000'000'000},          {3, 0}, {3, 63}, {3, kPackEnd - 59}, {3, ~std::uint64_t{0}},
      {3, ~std::uint64_t{0} - 59}, {4, 0}, {4, 19}, {4, 2U << 20},      {4, 4'294'967'295}};
  for (const auto& [index, value] : wrong) {
    EXPECT_ERROR(with(index, value), ErrorCode::kDataCorrupted);
  }
  for (const auto& [size, frames] : {std::pair<std::uint64_t, std::uint64_t>{kPackEnd + 1, 1},
                                     {~std::uint64_t{0}, 1},
                                     {1000, 51},
                                     {1000, 4'294'967'295}}) {
    json pack = kPack;
    pack["size"] = size;
    pack["frames"] = frames;
    EXPECT_ERROR(ReadRecord(pack), ErrorCode::kDataCorrupted);
  }
}

TEST_F(ForgedManifestTest, PagesOfADiffOccurOnce) {
  BackupSummary diff;
  diff.label = "20261122-020000F_20261123-020000D";
  diff.type = BackupType::kDiff;
  const auto read = [&](std::uint32_t block_size, const json& pages) {
    diff.block_size = block_size;
    json file = kFile;
    file["size"] = 1U << 20;
    file["extents"] = json::array({json::array({1U << 20})});
    file["pages"] = pages;
    return ParseRecord(Ours(file), "file", diff, "manifest");
  };
  const auto of = [](std::uint64_t length, const json& runs) {
    return json::array({length, 1, 0, 300, 60, "00112233445566778899aabbccddeeff", runs});
  };
  EXPECT_OK(read(8192, json::array({of(24576, {4, 1, 0, 2}), of(8192, {3, 1})})));
  EXPECT_ERROR(read(8192, json::array({of(24576, {0, 2, 1, 1})})), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(read(8192, json::array({of(8192, {5, 1}), of(24576, {4, 3})})),
               ErrorCode::kDataCorrupted);
  // 2^20 pages of 2^12 bytes are 2^32 bytes, of which the lower 32 bits are 0. 2^33 pages of 2^31
  // bytes overflow to 0.
  json many = json::array();
  for (int i = 0; i < 65536; ++i) {
    many.push_back(0);
    many.push_back(1);
  }
  EXPECT_ERROR(read(4096, json::array({of(0, many)})), ErrorCode::kDataCorrupted);
}

TEST_F(ForgedManifestTest, AnIncrRefersToTheBackupsThatItNames) {
  BackupSummary incr;
  incr.label = "20261122-020000F_20261123-020000I";
  incr.type = BackupType::kIncr;
  incr.block_size = 8192;
  incr.sources.resize(2);
  const auto read = [&](const json& extent, const json& pages) {
    json file = kFile;
    file["size"] = 1U << 20;
    file["extents"] = json::array({extent});
    file["pages"] = pages;
    return ParseRecord(Ours(file), "file", incr, "manifest");
  };
  const auto with = [](std::uint64_t length, const json& rest) {
    json extent = json::array({length, 1, 0, 300, 60, "00112233445566778899aabbccddeeff"});
    extent.insert(extent.end(), rest.begin(), rest.end());
    return extent;
  };
  const json hole = json::array({1U << 20});
  const json none = json::array();
  // Three pages, of which the first is of no use any more.
  const auto good = read(with(1U << 20, json::array({2})),
                         json::array({with(24576, json::array({1, json::array({1, 7, 2})}))}));
  ASSERT_OK(good);
  const auto& file = std::get<FileRecord>(*good);
  EXPECT_EQ(file.extents[0].source, 2U);
  EXPECT_EQ(file.pages[0].extent.source, 1U);
  EXPECT_EQ(file.pages[0].runs[0].at, 1U);
  EXPECT_EQ(file.pages[0].runs[0].first, 7U);
  EXPECT_EQ(file.pages[0].runs[0].count, 2U);
  EXPECT_EQ(
      SerializeRecord(*good, BackupType::kIncr),
      SerializeRecord(*ParseRecord(ParseJson(SerializeRecord(*good, BackupType::kIncr)).value(),
                                   "file", incr, "manifest"),
                      BackupType::kIncr));
  for (const json& source : {json(3), json(0), json(-1), json("1"), json(1.5)}) {
    SCOPED_TRACE(source);
    EXPECT_ERROR(read(with(1U << 20, json::array({source})), none), ErrorCode::kDataCorrupted);
    EXPECT_ERROR(
        read(hole, json::array({with(8192, json::array({source, json::array({0, 7, 1})}))})),
        ErrorCode::kDataCorrupted);
  }
  for (const json& runs :
       {json::array(), json::array({0, 7}), json::array({0, 7, 0}), json::array({3, 7, 1}),
        json::array({2, 7, 2}), json::array({0, 127, 2}), json::array({1, 7, 1, 0, 9, 1}),
        json::array({0, 7, 2, 1, 9, 1}), json::array({0, 7, 1, 1, 7, 1}),
        json::array({4'294'967'295, 7, 2}), json::array({0, 4'294'967'295, 2})}) {
    SCOPED_TRACE(runs);
    EXPECT_ERROR(read(hole, json::array({with(24576, json::array({1, runs}))})),
                 ErrorCode::kDataCorrupted);
  }
  EXPECT_ERROR(read(hole, json::array({with(24577, json::array({1, json::array({0, 7, 1})}))})),
               ErrorCode::kDataCorrupted);
  // Only an incr has pages of other backups.
  incr.type = BackupType::kDiff;
  EXPECT_ERROR(read(hole, json::array({with(8192, json::array({1, json::array({0, 7, 1})}))})),
               ErrorCode::kDataCorrupted);

  json pack = kPack;
  pack["source"] = 2;
  const auto pack_of = [&](BackupType type, const char* word) {
    incr.type = type;
    return ParseRecord(Ours(pack), word, incr, "manifest");
  };
  EXPECT_EQ(std::get<PackRecord>(pack_of(BackupType::kIncr, "source_pack").value()).source, 2U);
  EXPECT_ERROR(pack_of(BackupType::kIncr, "full_pack"), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(pack_of(BackupType::kDiff, "source_pack"), ErrorCode::kDataCorrupted);
  pack["source"] = 3;
  EXPECT_ERROR(pack_of(BackupType::kIncr, "source_pack"), ErrorCode::kDataCorrupted);
  pack.erase("source");
  EXPECT_ERROR(pack_of(BackupType::kIncr, "source_pack"), ErrorCode::kDataCorrupted);
}

// A line that never ends, in a manifest whose object is small.
TEST_F(ForgedManifestTest, TheLengthOfLinesIsLimited) {
  ASSERT_FALSE(repository_->seal_policy().encrypts());
  const std::string begin = kHeader.dump() + "\n{\"type\":\"file\",\"extents\":[";
  std::string many = "0,";
  while (many.size() < (17U << 20)) {
    many += many;
  }
  many.resize(17U << 20);
  for (const std::string& text : {std::string(70U << 20, '['), many + "0]}\n"}) {
    // Sanitizers take ten times as long for the millions of numbers, and cannot measure the memory.
    if (text[0] != '[' && !MemoryGauge::meaningful()) {
      continue;
    }
    const MemoryGauge gauge;
    EXPECT_ERROR(ReadRaw(begin + text), ErrorCode::kDataCorrupted);
    if (MemoryGauge::meaningful()) {
      EXPECT_LT(gauge.grown_bytes(), 500U << 20);
    }
  }
}

TEST_F(ForgedManifestTest, PackHeadersHave64Bytes) {
  for (const std::string& header :
       {ToBase64(Bytes(63)), ToBase64(Bytes(65)), std::string(), std::string("x")}) {
    json pack = kPack;
    pack["header"] = header;
    EXPECT_ERROR(ReadRecord(pack), ErrorCode::kDataCorrupted);
  }
  json pack = kPack;
  pack["number"] = 0;
  EXPECT_ERROR(ReadRecord(pack), ErrorCode::kDataCorrupted);
}

TEST_F(ForgedManifestTest, CountsMustBeRight) {
  for (const char* count : {"files", "directories", "extents", "packs", "size"}) {
    json end = kEmptyEnd;
    end[count] = 1;
    const auto read = ReadLines({kHeader.dump(), end.dump()});
    EXPECT_ERROR(read, ErrorCode::kDataCorrupted);
    EXPECT_THAT(read.error().message, HasSubstr("as many records"));
    end[count] = -1;
    EXPECT_ERROR(ReadLines({kHeader.dump(), end.dump()}), ErrorCode::kDataCorrupted);
    end.erase(count);
    EXPECT_ERROR(ReadLines({kHeader.dump(), end.dump()}), ErrorCode::kDataCorrupted);
  }
  // A record that the end record counts is missing.
  json end = kEmptyEnd;
  end["directories"] = 2;
  EXPECT_ERROR(ReadLines({kHeader.dump(), kDirectory.dump(), end.dump()}),
               ErrorCode::kDataCorrupted);
}

TEST_F(ForgedManifestTest, BeginsWithItsHeaderAndEndsWithItsEnd) {
  const std::string end = kEmptyEnd.dump();
  const std::string header = kHeader.dump();
  EXPECT_ERROR(ReadLines({}), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadLines({header}), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadLines({end}), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadLines({kDirectory.dump(), end}), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadLines({header, end, kDirectory.dump()}), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadLines({header, end, end}), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadLines({header, end, ""}), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadRaw(header + "\n" + end), ErrorCode::kDataCorrupted);
  EXPECT_ERROR(ReadRaw(header + "\n" + end + "\nrest"), ErrorCode::kDataCorrupted);

  json other = kHeader;
  other["label"] = "20261122-020001F";
  EXPECT_ERROR(ReadLines({other.dump(), end}), ErrorCode::kDataCorrupted);
}

TEST_F(ForgedManifestTest, NewerVersionsAndUnknownRecordsAreRefused) {
  json newer = kHeader;
  newer["version"] = 4;
  const auto read = ReadLines({newer.dump(), kEmptyEnd.dump()});
  EXPECT_ERROR(read, ErrorCode::kUnsupported);
  EXPECT_THAT(read.error().hint, HasSubstr("newer version"));

  const auto unknown = ReadRecord({{"type", "symlink"}, {"path", "x"}});
  EXPECT_ERROR(unknown, ErrorCode::kUnsupported);
  EXPECT_THAT(unknown.error().message, HasSubstr("symlink"));
  EXPECT_ERROR(ReadLines({kHeader.dump(), kHeader.dump(), kEmptyEnd.dump()}),
               ErrorCode::kUnsupported);
}

// Version 0.1 refuses version 2 as a whole, so nothing that needs it may be in a manifest of
// version 1.
TEST(Manifest, DigestsOfVersion2NeedAHeaderOfVersion2AndAKey) {
  const auto read = [](Cipher cipher, int version, const json& digest) -> Result<DigestMethod> {
    TestRepository repository(cipher);
    const std::string name = ManifestName(kLabel);
    json pack{{"type", "pack"},
              {"number", 1},
              {"size", 1000},
              {"frames", 0},
              {"header", ToBase64(Bytes(64))}};
    if (!digest.is_null()) {
      pack["digest"] = digest;
    }
    const std::string text =
        json{{"type", "manifest"}, {"version", version}, {"label", kLabel}}.dump() + "\n" +
        pack.dump() + "\n" +
        json{{"type", "end"}, {"files", 0}, {"directories", 0},
             {"extents", 0},  {"packs", 1}, {"size", 0}}
            .dump() +
        "\n";
    const Bytes object =
        SealStream(repository->seal_policy(), name, AsBytes(text), ContentDescription::kNone);
    WriteBytes(repository.PathOf(name), object);
    BackupSummary summary;
    summary.label = kLabel;
    summary.manifest_size = object.size();
    summary.manifest_sha256 = Sha256Of(object);
    DigestMethod found = DigestMethod::kSha256;
    RETURN_IF_ERROR(ReadManifest(*repository, summary, [&](ManifestRecord&& record) -> Status {
      found = std::get<PackRecord>(record).digest;
      return Ok();
    }));
    return found;
  };
  for (const Cipher cipher : kAllCiphers) {
    EXPECT_EQ(read(cipher, 1, nullptr).value(), DigestMethod::kSha256);
    EXPECT_EQ(read(cipher, 2, nullptr).value(), DigestMethod::kSha256);
    EXPECT_ERROR(read(cipher, 1, "gmac"), ErrorCode::kDataCorrupted);
    const auto unknown = read(cipher, 2, "blake3");
    EXPECT_ERROR(unknown, ErrorCode::kUnsupported);
    EXPECT_THAT(unknown.error().message, HasSubstr("blake3"));
    EXPECT_THAT(unknown.error().hint, HasSubstr("newer version"));
    EXPECT_ERROR(read(cipher, 2, 1), ErrorCode::kDataCorrupted);
    if (cipher == Cipher::kNone) {
      EXPECT_ERROR(read(cipher, 2, "gmac"), ErrorCode::kDataCorrupted);
    } else {
      EXPECT_EQ(read(cipher, 2, "gmac").value(), DigestMethod::kGmac);
    }
  }
}

TEST(Manifest, AWriterOfVersion1TakesNoPackOfVersion2) {
  TestRepository repository(Cipher::kAes256Gcm);
  ManifestWriter writer(*repository, kLabel, DigestMethod::kSha256);
  EXPECT_ERROR(writer.Add(PackRecord{.number = 1, .digest = DigestMethod::kGmac}),
               ErrorCode::kInternal);
}

TEST_F(ForgedManifestTest, LinesThatAreNoObjectsAreRefused) {
  for (const char* line : {"", "x", "[]", "1", "null", "\"type\"", "{", "{\"type\":\"directory\"",
                           "{\"type\":7}", "{} {}", "{\"type\":\"\xff\"}"}) {
    EXPECT_ERROR(ReadLines({kHeader.dump(), line, kEmptyEnd.dump()}), ErrorCode::kDataCorrupted);
  }
  // A deep document must not exhaust the stack.
  const std::string deep = "{\"type\":" + std::string(2'000'000, '[');
  EXPECT_ERROR(ReadLines({kHeader.dump(), deep}), ErrorCode::kDataCorrupted);
}

}  // namespace
}  // namespace veza
