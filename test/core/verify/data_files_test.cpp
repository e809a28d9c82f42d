#include "core/verify/data_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/bytes.h"
#include "core/config/temporary_directory.h"
#include "core/postgres/page.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using Kind = DataFileFinding::Kind;

constexpr std::uint32_t kBlockSize = 1024;
constexpr std::uint32_t kSegmentBlocks = 8000;                      // blocks in one file
constexpr std::uint32_t kBlocksPerMapPage = (kBlockSize - 24) * 4;  // 4000
constexpr std::uint16_t kAllVisible = 0x0004;

class DataFilesTest : public testing::Test {
 protected:
  DataFilesTest() {
    options_.walk.data_directory = tree_.path();
    options_.block_size = kBlockSize;
    options_.segment_blocks = kSegmentBlocks;
    options_.jobs = 3;
  }

  static std::string Page(std::uint16_t flags) {
    std::string page(kBlockSize, 'x');
    StoreLittleEndian<std::uint16_t>(Raw(page) + 10, flags);
    StoreLittleEndian<std::uint16_t>(Raw(page) + 14, 512);  // pd_upper
    return page;
  }
  static std::string Pages(std::size_t count, std::uint16_t flags) {
    std::string pages;
    for (std::size_t i = 0; i < count; ++i) {
      pages += Page(flags);
    }
    return pages;
  }
  static std::string MapPage() { return std::string(kBlockSize, '\0'); }
  // `bits`: 1 is all-visible, 2 is all-frozen.
  static void Set(std::string& map, std::uint32_t block_in_page, std::uint8_t bits) {
    map[24 + block_in_page / 4] |= static_cast<char>(bits << (block_in_page % 4 * 2));
  }
  // Sets the checksums as the server would, for blocks from `first` on.
  static std::string WithChecksums(std::string pages, std::uint32_t first = 0) {
    for (std::size_t at = 0; at < pages.size(); at += kBlockSize) {
      std::uint8_t* const page = Raw(pages) + at;
      const auto block = static_cast<std::uint32_t>(first + at / kBlockSize);
      StoreLittleEndian(page + 8, ComputePageChecksum(page, kBlockSize, block));
    }
    return pages;
  }
  static std::uint8_t* Raw(std::string& text) {
    return reinterpret_cast<std::uint8_t*>(text.data());
  }

  DataFilesReport Check() {
    auto report = CheckDataFiles(options_, environment_);
    EXPECT_TRUE(report) << report.error().message;
    return report.value_or(DataFilesReport{});
  }

  TemporaryDirectory tree_;
  DataFilesOptions options_;
  Environment environment_;
};

TEST_F(DataFilesTest, MapAndPagesThatAgree) {
  std::string map = MapPage();
  Set(map, 0, 3);
  Set(map, 5, 1);
  Set(map, 6, 2);  // all-frozen alone is not checked
  tree_.Write("base/5/100", Page(kAllVisible) + Pages(4, 0) + Page(kAllVisible) + Page(0));
  tree_.Write("base/5/100_vm", map);
  // The flag without the bit is allowed.
  tree_.Write("base/5/101", Page(kAllVisible));
  tree_.Write("base/5/101_vm", MapPage());
  tree_.Write("base/5/102", Pages(3, 0));
  const DataFilesReport report = Check();
  EXPECT_THAT(report.findings, IsEmpty());
  EXPECT_EQ(report.mapped, 2U);
  EXPECT_EQ(report.pages, 0U);
}

TEST_F(DataFilesTest, PageThatIsNotMarked) {
  std::string map = MapPage();
  for (const std::uint32_t block : {0, 1, 2, 3, 4}) {
    Set(map, block, 1);
  }
  tree_.Write("base/5/100", Pages(2, kAllVisible) + Page(0x0001) + Pages(2, kAllVisible));
  tree_.Write("base/5/100_vm", map);
  const DataFilesReport report = Check();
  EXPECT_THAT(report.findings, ElementsAre(DataFileFinding{Kind::kNotAllVisible, "base/5/100", 2}));
  EXPECT_EQ(report.mapped, 5U);
  EXPECT_EQ(report.bad_maps, 1U);
  EXPECT_EQ(report.bad_checksums, 0U);
  EXPECT_EQ(
      DescribeFinding(report.findings[0]),
      "the visibility map of relation \"base/5/100\" marks block 2 as all-visible, but the page "
      "does not");
}

TEST_F(DataFilesTest, NewPageThatIsMarkedAllVisible) {
  std::string map = MapPage();
  Set(map, 1, 1);
  tree_.Write("global/1260", Page(kAllVisible) + std::string(kBlockSize, '\0'));
  tree_.Write("global/1260_vm", map);
  EXPECT_THAT(Check().findings,
              ElementsAre(DataFileFinding{Kind::kNotAllVisible, "global/1260", 1}));
}

TEST_F(DataFilesTest, BlocksBeyondTheRelation) {
  std::string map = MapPage();
  Set(map, 0, 1);
  Set(map, 1, 1);
  std::string second = MapPage();
  Set(second, 3, 3);
  tree_.Write("base/5/100", Page(kAllVisible) + std::string(100, 'x'));  // an incomplete page
  tree_.Write("base/5/100_vm", map + second);
  tree_.Write("base/5/101_vm", map);  // the relation does not exist
  const DataFilesReport report = Check();
  EXPECT_THAT(
      report.findings,
      ElementsAre(DataFileFinding{Kind::kBeyondRelation, "base/5/100", 1},
                  DataFileFinding{Kind::kBeyondRelation, "base/5/100", kBlocksPerMapPage + 3},
                  DataFileFinding{Kind::kBeyondRelation, "base/5/101", 0},
                  DataFileFinding{Kind::kBeyondRelation, "base/5/101", 1}));
  EXPECT_EQ(report.bad_maps, 4U);
  EXPECT_THAT(DescribeFinding(report.findings[0]), HasSubstr("past the end"));
}

// A map page covers 4000 blocks. A file has 8000 blocks.
TEST_F(DataFilesTest, SeveralFilesAndMapPages) {
  std::string maps[3] = {MapPage(), MapPage(), MapPage()};
  Set(maps[1], kBlocksPerMapPage - 1, 1);  // the last block of the first file
  Set(maps[2], 0, 1);                      // the first of the second
  Set(maps[2], 1, 1);
  tree_.Write("base/5/100", Pages(kSegmentBlocks - 1, 0) + Page(kAllVisible));
  tree_.Write("base/5/100.1", Pages(2, 0));
  tree_.Write("base/5/100_vm", maps[0] + maps[1] + maps[2]);
  EXPECT_THAT(Check().findings,
              ElementsAre(DataFileFinding{Kind::kNotAllVisible, "base/5/100", kSegmentBlocks},
                          DataFileFinding{Kind::kNotAllVisible, "base/5/100", kSegmentBlocks + 1}));
}

TEST_F(DataFilesTest, MapInSeveralFiles) {
  options_.segment_blocks = 2;  // so a file of the map covers 8000 blocks
  std::string map = MapPage();
  Set(map, 7, 1);
  tree_.Write("base/5/100_vm", MapPage() + MapPage());
  tree_.Write("base/5/100_vm.1", map);
  EXPECT_THAT(Check().findings,
              ElementsAre(DataFileFinding{Kind::kBeyondRelation, "base/5/100", 8007}));
  tree_.Write("base/5/100", Pages(2, 0));
  tree_.Write("base/5/100.1", Pages(1, 0));
  EXPECT_THAT(Check().findings, SizeIs(1));
}

TEST_F(DataFilesTest, MapOfTheSecondFileIsReadFromItsPlace) {
  options_.segment_blocks = kBlocksPerMapPage;  // each map page covers one file
  std::string map = MapPage();
  Set(map, 2, 1);
  tree_.Write("base/5/100", Pages(kBlocksPerMapPage, 0));
  tree_.Write("base/5/100.1", Pages(2, 0) + Page(kAllVisible));
  tree_.Write("base/5/100_vm", MapPage() + map);
  EXPECT_THAT(Check().findings, IsEmpty());
  tree_.Write("base/5/100.1", Pages(3, 0));
  EXPECT_THAT(Check().findings, ElementsAre(DataFileFinding{Kind::kNotAllVisible, "base/5/100",
                                                            kBlocksPerMapPage + 2}));
}

TEST_F(DataFilesTest, ChecksumsOfEveryFork) {
  options_.has_checksums = true;
  options_.segment_blocks = 3;
  tree_.Write("base/5/100", WithChecksums(Pages(3, 0)));
  tree_.Write("base/5/100.1", WithChecksums(Pages(2, 0), 3));  // block 3 follows the first file
  tree_.Write("base/5/100_fsm", WithChecksums(Pages(1, 0)));
  tree_.Write("base/5/101_init", WithChecksums(Pages(1, 0)) + std::string(kBlockSize, '\0'));
  DataFilesReport report = Check();
  EXPECT_THAT(report.findings, IsEmpty());
  EXPECT_EQ(report.pages, 8U);

  tree_.Write("base/5/100.1", WithChecksums(Pages(2, 0), 4));
  tree_.Write("base/5/100_fsm", Page(0));
  std::string almost_new(kBlockSize, '\0');
  almost_new[500] = 1;
  tree_.Write("base/5/102", almost_new);
  report = Check();
  EXPECT_THAT(report.findings, ElementsAre(DataFileFinding{Kind::kChecksum, "base/5/100.1", 3},
                                           DataFileFinding{Kind::kChecksum, "base/5/100.1", 4},
                                           DataFileFinding{Kind::kChecksum, "base/5/100_fsm", 0},
                                           DataFileFinding{Kind::kChecksum, "base/5/102", 0}));
  EXPECT_EQ(report.bad_checksums, 4U);

  options_.has_checksums = false;
  EXPECT_THAT(Check().findings, IsEmpty());
}

// pg_checksums stops at such a file, and does not report pages after it.
TEST_F(DataFilesTest, FilesOfSomebodyElse) {
  options_.has_checksums = true;
  tree_.Write("base/5/1259.bak", "not a page");
  tree_.Write("base/5/1259.bak.1", Page(0));
  tree_.Write("base/5/PG_VERSION", "15\n");
  tree_.Write("base/5/pg_filenode.map", Page(0));
  tree_.Write("base/5/2600", Page(0));
  EXPECT_THAT(Check().findings, ElementsAre(DataFileFinding{Kind::kChecksum, "base/5/2600", 0}));
}

TEST_F(DataFilesTest, TablespacesInPlaceAndElsewhere) {
  options_.has_checksums = true;
  options_.walk.tablespace_version_directory = "PG_15_202209061";
  const TemporaryDirectory elsewhere;
  elsewhere.Write("PG_15_202209061/5/100", Page(0));
  std::filesystem::create_directories(tree_.path() + "/pg_tblspc");
  std::filesystem::create_symlink(elsewhere.path(), tree_.path() + "/pg_tblspc/16400");
  options_.walk.tablespaces.push_back({16400, elsewhere.path(), 0});
  tree_.Write("pg_tblspc/16401/PG_15_202209061/5/100", Page(0));
  EXPECT_THAT(
      Check().findings,
      ElementsAre(DataFileFinding{Kind::kChecksum, "pg_tblspc/16400/PG_15_202209061/5/100", 0},
                  DataFileFinding{Kind::kChecksum, "pg_tblspc/16401/PG_15_202209061/5/100", 0}));
}

TEST_F(DataFilesTest, ManyFindingsAreCounted) {
  std::string map = MapPage();
  for (std::uint32_t block = 0; block < 300; ++block) {
    Set(map, block, 1);
  }
  tree_.Write("base/5/100", Pages(300, 0));
  tree_.Write("base/5/100_vm", map);
  const DataFilesReport report = Check();
  EXPECT_THAT(report.findings, SizeIs(kMostDataFileFindings));
  EXPECT_EQ(report.bad_maps, 300U);
}

TEST_F(DataFilesTest, StopsWhenAsked) {
  tree_.Write("base/5/100", Pages(1, 0));
  environment_.cancellation->Cancel();
  const auto report = CheckDataFiles(options_, environment_);
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::kCancelled);
}

}  // namespace
}  // namespace veza
