#include "core/restore/key_wrap_note.h"

#include <gtest/gtest.h>

#include "core/repository/test_repository.h"

namespace veza {
namespace {

TEST(KeyWrapNote, NamesTheWrapThatHasOpenedTheRepository) {
  const TemporaryDirectory wal;
  EXPECT_EQ(ReadKeyWrapNote(wal.path()), "");
  const TestRepository repository(Cipher::kAes256Gcm);
  ASSERT_OK(NoteKeyWrap(wal.path(), *repository));
  EXPECT_EQ(ReadKeyWrapNote(wal.path()), repository->key_wraps().front().name);
  EXPECT_EQ(ReadText(wal.path() + "/veza_key_wrap"), repository->key_wraps().front().name + "\n");

  // Another wrap replaces it. The same one is not written again.
  WriteText(wal.path() + "/veza_key_wrap", "key/of/before\n");
  EXPECT_EQ(ReadKeyWrapNote(wal.path()), "key/of/before");
  ASSERT_OK(NoteKeyWrap(wal.path(), *repository));
  const auto written = std::filesystem::last_write_time(wal.path() + "/veza_key_wrap");
  ASSERT_OK(NoteKeyWrap(wal.path(), *repository));
  EXPECT_EQ(std::filesystem::last_write_time(wal.path() + "/veza_key_wrap"), written);
}

TEST(KeyWrapNote, WithoutAKeyThereIsNoNote) {
  const TemporaryDirectory wal;
  const TestRepository repository(Cipher::kNone);
  ASSERT_OK(NoteKeyWrap(wal.path(), *repository));
  EXPECT_TRUE(std::filesystem::is_empty(wal.path()));
  EXPECT_ERROR(NoteKeyWrap(wal.path() + "/none", *TestRepository(Cipher::kAes256Gcm)),
               ErrorCode::kNotFound);
}

}  // namespace
}  // namespace veza
