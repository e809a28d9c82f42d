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

}  // namespace veza
