// Files of this machine: writing all at a place, and small files, read and replaced whole.
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

// Goes on after short writes and signals. `file` names it in the error ("could not write <file>").
// Thread-safe for places that do not overlap.
Status WriteAllAt(int fd, std::uint64_t offset, ByteView bytes, const std::string& file);

// "a FIFO", for example, of what stat() says.
const char* NameOfKind(mode_t mode);

// Before a file of ours takes a name by rename(), or one that is left over under the name of a
// temporary file is removed: that there is a regular file or nothing. Whatever else has the name (a
// directory, a link to something, a FIFO, a socket, a device) is somebody's, and is not replaced:
// kInvalidArgument. What `path` leads to is not looked at.
Status RequireReplaceableFile(const std::string& path);

// At most `limit` bytes from the beginning of a file. Nothing when nothing has that name. An error
// when it cannot be read, or is no regular file: whoever opens a FIFO as a file waits for ever. To
// be used for every file in a directory into which somebody else may have written.
Result<std::optional<std::string>> ReadRegularFile(const std::string& path, std::size_t limit);

// The content of a small file on this machine: no file counts as empty that could not be read.
Result<std::string> ReadTextFile(const std::string& path);

// Replaces a file for readers who may come at any moment: they see the old content or the new.
// Mode 0644. Durable.
Status ReplaceTextFile(const std::string& path, std::string_view content);

}  // namespace veza
