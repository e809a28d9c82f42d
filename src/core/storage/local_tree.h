// Reading a directory tree as a flat, ordered set of object names. Files and directories whose
// names an object cannot have (temporary files, "lost+found") are not seen; symbolic links are
// followed; what vanishes while it is looked at is left out.
#pragma once

#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "core/storage/store.h"

namespace veza {

// A file time as the time of an object.
TimePoint FromTimespec(const timespec& time);

// Store::List for the tree below `root`, which need not exist. Holds at most `batch` names of every
// directory on the way down; a directory with more is read several times, so that order costs time
// and never memory.
Status WalkTree(const std::string& root, std::string_view prefix, std::string_view start_after,
                const Cancellation& cancellation, const Store::ObjectVisitor& each,
                std::size_t batch = 32'768);

// The directories directly in `directory` that hold an object at any depth, in byte order.
Result<std::vector<std::string>> DirectoriesWithObjects(const std::string& directory,
                                                        const Cancellation& cancellation);

// Every temporary file of a Put below `root` (Store::ListFragments), in no order.
Status WalkFragments(const std::string& root, const Cancellation& cancellation,
                     const Store::ObjectVisitor& each);

}  // namespace veza
