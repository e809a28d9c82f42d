#include "core/restore/control_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "core/repository/test_backup.h"

namespace veza {
namespace {

using State = ControlFile::State;

class ControlFileTest : public testing::Test {
 protected:
  ControlFile Read() const { return ReadControlFile(source_.path()); }
  // A control file whose checksum follows after `checksum_at` bytes, as in another version.
  void Write(std::size_t checksum_at) const {
    Bytes content(8192);
    StoreLittleEndian(content.data(), kTestSystem);
    content[40] = 7;
    Crc32c crc;
    crc.Add(ByteView(content).first(checksum_at));
    StoreLittleEndian(content.data() + checksum_at, crc.value());
    source_.File("global/pg_control", content);
  }

  SourceTree source_;
};

TEST_F(ControlFileTest, IsWholeWhereverTheChecksumIs) {
  EXPECT_EQ(Read().state, State::kWhole);
  EXPECT_EQ(Read().system_identifier, kTestSystem);
  for (const std::size_t checksum_at : {288U, 292U, 296U, 508U}) {
    Write(checksum_at);
    EXPECT_EQ(Read().state, State::kWhole) << checksum_at;
  }
}

TEST_F(ControlFileTest, IsDamagedWithoutAValidChecksum) {
  for (const std::size_t position : {0U, 7U, 40U, 287U, 288U}) {
    source_.File("global/pg_control", SourceTree::ControlFile());
    FlipByte(source_.In("global/pg_control"), position);
    EXPECT_EQ(Read().state, State::kDamaged) << position;
  }
  for (const std::size_t size : {0U, 8U, 511U}) {
    source_.File("global/pg_control", SourceTree::ControlFile());
    std::filesystem::resize_file(source_.In("global/pg_control"), size);
    EXPECT_EQ(Read().state, State::kDamaged) << size;
  }
  source_.File("global/pg_control", Bytes(8192));
  EXPECT_EQ(Read().state, State::kDamaged);
  std::filesystem::remove(source_.In("global/pg_control"));
  EXPECT_EQ(Read().state, State::kAbsent);
}

// A process that cannot read the directory does not know that there is no control file.
TEST_F(ControlFileTest, IsUnreadableRatherThanAbsentWhenInDoubt) {
  const std::string path = source_.In("global/pg_control");
  std::filesystem::remove(path);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(Read().state, State::kUnreadable);
  EXPECT_EQ(Read().why_unreadable, "It is not a regular file");
  std::filesystem::remove(path);
  std::filesystem::create_symlink("pg_control", path);
  EXPECT_EQ(Read().state, State::kUnreadable);
  EXPECT_EQ(Read().why_unreadable, "Too many levels of symbolic links");
  std::filesystem::remove_all(source_.In("global"));
  source_.File("global", Bytes(1));
  EXPECT_EQ(Read().state, State::kUnreadable);
  std::filesystem::remove(source_.In("global"));
  EXPECT_EQ(Read().state, State::kAbsent);
}

}  // namespace
}  // namespace veza
