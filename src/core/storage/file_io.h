// Functions for files of this machine.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/bytes.h"
#include "core/error.h"

namespace veza {

// Writes all bytes at the offset, continuing after short writes and signals. `file` names the file
// in the error ("could not write <file>"). Several threads may write to ranges that do not overlap.
Status WriteAllAt(int fd, std::uint64_t offset, ByteView bytes, const std::string& file);

// Names the kind of file in a mode from stat(), for example "a FIFO".
const char* NameOfKind(mode_t mode);

// Whether something has this name: a file, a directory, or a link, even one that leads nowhere.
// False as well when that cannot be told.
bool IsThere(const std::string& path);

// What a symbolic link says, which need not exist. Empty when `path` is not a link.
std::string TextOfLink(const std::string& path);

// Whether both names lead to the same file or directory, by device and inode: a bind mount gives a
// directory another path. False when one of them leads nowhere.
bool IsSameFile(const std::string& one, const std::string& other);

// Checks that `path` is a regular file or does not exist. Call it before renaming a file to this
// name, and before removing a left-over temporary file. Anything else with the name (a directory, a
// symbolic link, a FIFO, a socket, a device) belongs to somebody else and must not be replaced:
// kInvalidArgument. Does not follow a link at `path`.
Status RequireReplaceableFile(const std::string& path);

// Reads at most `limit` bytes from the beginning of a file. Nothing when no file has that name. An
// error when the file cannot be read, or is not a regular file: opening a FIFO would block for
// ever. Use it for every file in a directory into which another account may have written.
Result<std::optional<std::string>> ReadRegularFile(const std::string& path, std::size_t limit);

// Reads a small file (limits::kTextFile). A file that cannot be read is an error and never counts
// as empty.
Result<std::string> ReadTextFile(const std::string& path);

// Replaces a file atomically: a reader sees either the old content or the new. The file has mode
// 0644 and is durable on success.
Status ReplaceTextFile(const std::string& path, std::string_view content);

}  // namespace veza
