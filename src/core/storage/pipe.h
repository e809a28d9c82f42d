// A pipe to or from another process.
#pragma once

#include "core/error.h"
#include "core/storage/unique_fd.h"

namespace veza {

struct Pipe {
  UniqueFd reader;
  UniqueFd writer;
};

// A program that is executed does not inherit either end, unless the caller hands it on. kIo, or
// the code of the system's error, when there are no descriptors left.
Result<Pipe> MakePipe();

}  // namespace veza
