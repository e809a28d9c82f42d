// Work that is cancelled when it takes too long.
#pragma once

#include <chrono>
#include <functional>

#include "core/environment.h"
#include "core/error.h"

namespace veza::cli {

// Runs `work`. Cancels it, by the cancellation of `environment`, when it takes longer than
// `patience`, or when `stop` (may be null) is cancelled. `work` runs in the calling thread.
Status WithPatience(const Environment& environment, std::chrono::milliseconds patience,
                    const Cancellation* stop, const std::function<Status()>& work);

}  // namespace veza::cli
