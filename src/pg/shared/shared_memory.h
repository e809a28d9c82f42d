// The library's shared memory, for code that only needs to know whether it is there.
//
// It consists of parts. Each has a header of its own, which says what writes the part and what
// guards it, and which is all that a reader of the part includes. shared_state.h puts the parts
// together.
#pragma once

#include <cstddef>

namespace veza::pg {

// Texts in shared memory have a fixed size, which includes their NUL.
inline constexpr std::size_t kLabelLength = 64;    // of a backup's label
inline constexpr std::size_t kWalFileLength = 64;  // of a file in pg_wal; MAX_XFN_CHARS is 40

// Asks the server for the memory. Called in _PG_init of a preloaded library.
void RequestSharedMemory();

// Raises an ERROR that says what to set when the library was not preloaded.
void RequireSharedMemory();

}  // namespace veza::pg
