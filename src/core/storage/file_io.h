// Reading and writing at a place in a file, all of it.
#pragma once

#include <cstdint>
#include <string>

#include "core/bytes.h"
#include "core/error.h"

namespace veza {

// Goes on after short writes and signals. `file` names it in the error ("could not write <file>").
// Thread-safe for places that do not overlap.
Status WriteAllAt(int fd, std::uint64_t offset, ByteView bytes, const std::string& file);

// Before a file of ours takes a name by rename(), or one that is left over under the name of a
// temporary file is removed: that there is a regular file or nothing. Whatever else has the name (a
// directory, a link to something, a FIFO, a socket, a device) is somebody's, and is not replaced:
// kInvalidArgument. What `path` leads to is not looked at.
Status RequireReplaceableFile(const std::string& path);

}  // namespace veza
