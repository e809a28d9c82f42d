// How far the clocks of nodes and of the store may be apart.
#pragma once

#include <chrono>

namespace veza {

// A time that lies so far ahead of another clock was written while a clock was ahead: of a slot, a
// lock, a drill or a backup. Nobody waits for it.
inline constexpr std::chrono::hours kClockTolerance{1};

}  // namespace veza
