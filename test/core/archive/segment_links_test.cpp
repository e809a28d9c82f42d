#include "core/archive/segment_links.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/repository/test_repository.h"

namespace veza {
namespace {

std::string NameOf(SegmentNumber number, TimelineId timeline = 1) {
  return SegmentName(timeline, number, kTestSegmentSize);
}

class SegmentLinksTest : public testing::TestWithParam<Cipher> {
 protected:
  SegmentLinksTest() {
    std::filesystem::create_directories(directory_);
    Start();
  }
  void Start() { links_.emplace(directory_, kTestSystem, kTestSegmentSize); }

  ContentDigest DigestOf(std::uint64_t seed) const {
    return DigestContent(repository_->digest_method(), repository_->seal_policy().key.get(),
                         NoiseBytes(kTestSegmentSize, seed));
  }
  Sha256Digest LinkOf(SegmentNumber number, std::uint64_t seed) const {
    return LinkTo(NameOf(number), DigestOf(seed));
  }
  // As the shipper does, with a content of its number.
  SegmentOrigin Seal(SegmentNumber number, TimelineId timeline = 1) {
    const std::string segment = NameOf(number, timeline);
    links_->Begin(segment);
    links_->Know(segment, DigestOf(number));
    return links_->OriginOf(*repository_, segment);
  }
  SegmentOrigin Ship(SegmentNumber number, TimelineId timeline = 1) {
    SegmentOrigin origin = Seal(number, timeline);
    links_->Acknowledge(NameOf(number, timeline));
    return origin;
  }
  void WriteHistory(Lsn left) {
    WriteText(directory_ + "/00000002.history", fmt::format("1\t{}\tby hand\n", FormatLsn(left)));
  }

  TestRepository repository_{GetParam()};
  const std::string directory_ = repository_.Scratch("pg_wal");
  std::optional<SegmentLinks> links_;
};

INSTANTIATE_TEST_SUITE_P(Ciphers, SegmentLinksTest, testing::ValuesIn(kAllCiphers), CipherTestName);

TEST_P(SegmentLinksTest, ASegmentNamesTheOneBeforeItThatWasSealed) {
  const SegmentOrigin first = Ship(7);
  EXPECT_FALSE(first.previous);
  ASSERT_TRUE(first.run);
  const SegmentOrigin second = Seal(8);
  EXPECT_EQ(second.previous, LinkOf(7, 7));
  EXPECT_EQ(second.run, first.run);
  EXPECT_EQ(Seal(9).previous, LinkOf(8, 8)) << "stored ahead";
}

TEST_P(SegmentLinksTest, OrThatLiesInPgWal) {
  WriteBytes(directory_ + "/" + NameOf(6), NoiseBytes(kTestSegmentSize, 66));
  EXPECT_EQ(Seal(7).previous, LinkOf(6, 66));
  WriteBytes(directory_ + "/" + NameOf(10), Bytes(100));
  EXPECT_FALSE(Seal(11).previous);
}

TEST_P(SegmentLinksTest, ARunGoesOnAfterARestart) {
  const SegmentOrigin before = Ship(7);
  Start();
  const SegmentOrigin after = Ship(8);
  EXPECT_EQ(after.run, before.run);
  EXPECT_EQ(after.previous, LinkOf(7, 7));
  const auto run = ReadAcknowledgedRun(directory_);
  ASSERT_TRUE(run);
  EXPECT_EQ(run->first, NameOf(7));
  EXPECT_EQ(run->last, NameOf(8));
  EXPECT_EQ(run->link, LinkOf(8, 8));
  EXPECT_EQ(run->run, *before.run);
  EXPECT_EQ(run->repository, IdOfRepository(*repository_, kTestSystem).value());
}

TEST_P(SegmentLinksTest, ASegmentThatIsAskedForAgainIsOfTheRun) {
  const SegmentOrigin before = Ship(7);
  Ship(8);
  Start();
  EXPECT_EQ(Ship(7).run, before.run);
  EXPECT_EQ(ReadAcknowledgedRun(directory_)->last, NameOf(8));
  EXPECT_EQ(Ship(9).run, before.run);
}

// WAL was lost in a crash, and written anew.
TEST_P(SegmentLinksTest, AnotherContentOfTheLastSegmentEndsTheRun) {
  const SegmentOrigin before = Ship(7);
  WriteBytes(directory_ + "/" + NameOf(7), NoiseBytes(kTestSegmentSize, 7));
  Start();
  EXPECT_EQ(Seal(8).run, before.run);
  WriteBytes(directory_ + "/" + NameOf(7), NoiseBytes(kTestSegmentSize, 77));
  Start();
  const SegmentOrigin after = Seal(8);
  EXPECT_NE(after.run, before.run);
  EXPECT_EQ(after.previous, LinkOf(7, 77));
}

TEST_P(SegmentLinksTest, AConflictWithWhatWasAcknowledgedEndsTheRun) {
  const SegmentOrigin before = Ship(7);
  links_->NoteConflict(NameOf(8));
  EXPECT_TRUE(ReadAcknowledgedRun(directory_)) << "it was never acknowledged";
  links_->NoteConflict(NameOf(7));
  EXPECT_FALSE(ReadAcknowledgedRun(directory_));
  EXPECT_NE(Ship(8).run, before.run);
}

// Segments in between were archived elsewhere, or nowhere.
TEST_P(SegmentLinksTest, AHoleEndsTheRun) {
  const SegmentOrigin before = Ship(7);
  Start();
  const SegmentOrigin after = Ship(9);
  EXPECT_NE(after.run, before.run);
  EXPECT_FALSE(after.previous);
  EXPECT_EQ(ReadAcknowledgedRun(directory_)->first, NameOf(9));
  Ship(11);
  EXPECT_EQ(ReadAcknowledgedRun(directory_)->first, NameOf(11));
}

TEST_P(SegmentLinksTest, AnotherRepositoryEndsTheRun) {
  const SegmentOrigin before = Ship(7);
  AcknowledgedRun run = *ReadAcknowledgedRun(directory_);
  run.repository[0] ^= 1;
  ASSERT_OK(WriteAcknowledgedRun(directory_, run));
  Start();
  EXPECT_NE(Ship(8).run, before.run);
}

TEST_P(SegmentLinksTest, AFileThatCannotBeUsedEndsTheRun) {
  const std::string path = directory_ + "/" + kAcknowledgedFile;
  EXPECT_FALSE(ReadAcknowledgedRun(directory_));
  Ship(7);
  const std::string good = ReadText(path);
  for (const std::string& bad :
       {std::string(), good.substr(0, good.size() / 2), std::string(5000, '{'),
        std::string(good).replace(good.find(NameOf(7)), 24, std::string(24, 'x')),
        std::string(good).replace(good.find("\"format\":1"), 10, "\"format\":2")}) {
    WriteText(path, bad);
    EXPECT_FALSE(ReadAcknowledgedRun(directory_)) << bad;
  }
  const SegmentOrigin before = Ship(8);
  WriteText(path, "");
  Start();
  EXPECT_NE(Ship(9).run, before.run);
}

TEST_P(SegmentLinksTest, ASegmentOfALaterTimelineFollowsTheWayOfTheServer) {
  WriteHistory(Lsn{8 * kTestSegmentSize + 1000});
  const SegmentOrigin before = Ship(7);
  Ship(8);
  const SegmentOrigin after = Ship(8, 2);
  EXPECT_EQ(after.previous, LinkOf(7, 7));
  EXPECT_EQ(after.run, before.run);
  EXPECT_EQ(ReadAcknowledgedRun(directory_)->last, NameOf(8, 2));
  EXPECT_EQ(Seal(9, 2).previous, LinkTo(NameOf(8, 2), DigestOf(8)));
}

TEST_P(SegmentLinksTest, OtherFilesAndSegmentsThatWereNotSealedAreNotRemembered) {
  links_->Begin("00000002.history");
  links_->Know("00000002.history", DigestOf(1));
  links_->Acknowledge("00000002.history");
  links_->Begin(NameOf(7));
  links_->Acknowledge(NameOf(7));
  EXPECT_FALSE(ReadAcknowledgedRun(directory_));
}

TEST_P(SegmentLinksTest, ALinkTellsNameMethodAndContentApart) {
  const ContentDigest digest = DigestOf(1);
  ContentDigest other = digest;
  other.method = DigestMethod::kGmac;
  ContentDigest sha = digest;
  sha.method = DigestMethod::kSha256;
  EXPECT_NE(LinkTo(NameOf(1), sha), LinkTo(NameOf(1), other));
  EXPECT_NE(LinkTo(NameOf(1), digest), LinkTo(NameOf(2), digest));
  EXPECT_NE(LinkTo(NameOf(1), digest), LinkTo(NameOf(1), DigestOf(2)));
}

}  // namespace
}  // namespace veza
