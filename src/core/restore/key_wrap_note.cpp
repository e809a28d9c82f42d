#include "core/restore/key_wrap_note.h"

#include "core/storage/file_io.h"

namespace veza {

namespace {

// Is passed over by PostgreSQL, as any name that it does not know, and is in no backup.
std::string PathIn(const std::string& wal_directory) {
  return wal_directory + "/veza_key_wrap";
}

}  // namespace

std::string ReadKeyWrapNote(const std::string& wal_directory) {
  // What is no file of ours says nothing; a FIFO would be waited for.
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
