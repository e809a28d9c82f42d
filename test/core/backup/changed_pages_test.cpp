#include "core/backup/changed_pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/repository/test_backup.h"

namespace veza {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::size_t kPage = 8192;
constexpr Lsn kFirst{1U << 20};
constexpr Lsn kSince{3U << 20};

Bytes Region(const std::vector<Lsn>& lsns) {
  Bytes region;
  for (const Lsn lsn : lsns) {
    const Bytes page = TestPage(static_cast<std::uint32_t>(region.size() / kPage), lsn);
    region.insert(region.end(), page.begin(), page.end());
  }
  return region;
}

TEST(ChangedPages, TheirLsnTells) {
  const Bytes region = Region({kFirst, Lsn{kSince.value - 1}, kSince, Lsn{~std::uint64_t{0}}});
  const ChangesByLsn changes = FindChangesByLsn(region, kPage, kSince, kFirst);
  EXPECT_THAT(changes.changed, ElementsAre(2, 3));
  EXPECT_THAT(changes.unknown, IsEmpty());
}

// GistBuildLSN is 1 and FirstNormalUnloggedLSN is 1000. The pages of GIN and SP-GiST have 0 until
// the build ends.
TEST(ChangedPages, AMadeUpLsnTellsNothing) {
  const Bytes region = Region({Lsn{0}, kFirst, Lsn{1}, Lsn{1000}, Lsn{kFirst.value - 1}, kSince});
  const ChangesByLsn changes = FindChangesByLsn(region, kPage, kSince, kFirst);
  EXPECT_THAT(changes.changed, ElementsAre(5));
  EXPECT_THAT(changes.unknown, ElementsAre(0, 2, 3, 4));
}

TEST(ChangedPages, ANewPageCountsAsChanged) {
  const ChangesByLsn changes = FindChangesByLsn(Bytes(2 * kPage), kPage, kSince, kFirst);
  EXPECT_THAT(changes.changed, ElementsAre(0, 1));
  EXPECT_THAT(changes.unknown, IsEmpty());
}

TEST(ChangedPages, ByContentAreThoseThatDiffer) {
  const Bytes before = Region({kFirst, kFirst, kFirst, kFirst});
  Bytes after = before;
  EXPECT_THAT(FindDifferingPages(after, before, kPage), IsEmpty());
  after[0] ^= 1;
  after[2 * kPage - 1] ^= 1;
  after[3 * kPage + 10] ^= 4;
  EXPECT_THAT(FindDifferingPages(after, before, kPage), ElementsAre(0, 1, 3));
}

}  // namespace
}  // namespace veza
