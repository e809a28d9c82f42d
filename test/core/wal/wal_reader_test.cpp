#include "core/wal/wal_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/repository/made_up_wal.h"

namespace veza {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

struct Seen {
  std::vector<Lsn> begins;
  WalEnd end = WalEnd::kMore;
  std::string why;
};

Seen ReadMadeUp(const MadeUpWal& wal, const WalReader::Options& options) {
  Seen seen;
  WalReader reader(options, [&](const WalRecord& record) {
    seen.begins.push_back(record.begin);
    return Ok();
  });
  EXPECT_OK(reader.Feed(wal.Segment()));
  seen.end = reader.Finish();
  seen.why = reader.why();
  return seen;
}

TEST(WalReader, ReadsUpToWhereNothingWasWritten) {
  MadeUpWal wal(5);
  std::vector<Lsn> expected{wal.Fill(100), wal.Fill(20'000), wal.Commit(kTestTime)};
  const Seen seen = ReadMadeUp(wal, {.begin = Lsn{5 * kTestSegmentSize},
                                     .system_identifier = kTestSystem,
                                     .segment_size = kTestSegmentSize});
  EXPECT_EQ(seen.begins, expected);
  EXPECT_EQ(seen.end, WalEnd::kUnwritten) << seen.why;
}

}  // namespace
}  // namespace veza
