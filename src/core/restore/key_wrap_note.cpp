#include "core/restore/key_wrap_note.h"

#include "core/storage/file_io.h"

namespace veza {

namespace {

// PostgreSQL ignores this file, like every name that it does not know, and no backup contains it.
std::string PathIn(const std::string& wal_directory) {
  return wal_directory + "/veza_key_wrap";
}

}  // namespace

std::string ReadKeyWrapNote(const std::string& wal_directory) {
  // Anything but a regular file is ignored; opening a FIFO would wait.
  if (!RequireReplaceableFile(PathIn(wal_directory))) {
    return "";
  }
  std::string name = ReadTextFile(PathIn(wal_directory)).value_or("");
  if (name.ends_with('\n')) {
    name.pop_back();
  }
  return name;
}

Status NoteKeyWrap(const std::string& wal_directory, const Repository& repository) {
  if (repository.key_wraps().empty()) {
    return Ok();
  }
  const std::string& name = repository.key_wraps().front().name;
  if (ReadKeyWrapNote(wal_directory) == name) {
    return Ok();
  }
  return ReplaceTextFile(PathIn(wal_directory), name + "\n");
}

}  // namespace veza
