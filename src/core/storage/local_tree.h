// Reads a directory tree as a flat, ordered set of object names. An entry whose name no object can
// have (a temporary file, "lost+found", control characters) is ignored. An entry with an object's
// name that is neither a file nor a directory (a symbolic link, a FIFO, a socket, a device) makes
// the listing fail with kDataCorrupted, which names it. Only the root may be a link
// (OpenDirectoryBelow). An entry that cannot be read is an error. An entry that vanishes meanwhile
// is left out.
#pragma once

#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include "core/storage/store.h"

namespace veza {

// Converts a file time to the time of an object.
TimePoint FromTimespec(const timespec& time);

// Store::List() for the tree below `root`, which need not exist. Holds at most `batch` names of
// each directory on the way down. A larger directory is read several times: sorting costs time, but
// memory stays bounded.
Status WalkTree(const std::string& root, std::string_view prefix, std::string_view start_after,
                const Cancellation& cancellation, const Store::ObjectVisitor& each,
                std::size_t batch = 32'768);

// Returns the directories directly in `relative` that contain an object at any depth, in byte
// order.
Result<std::vector<std::string>> DirectoriesWithObjects(const std::string& root,
                                                        std::string_view relative,
                                                        const Cancellation& cancellation);

// Calls `each` for every temporary file of a Put below `root` (Store::ListFragments), in no order.
// Links and other special files are ignored here.
Status WalkFragments(const std::string& root, const Cancellation& cancellation,
                     const Store::ObjectVisitor& each);

}  // namespace veza
