// Reading a directory tree as a flat, ordered set of object names. What has a name that no object
// can have (temporary files, "lost+found", control characters) is not seen. What has an object's
// name and is neither file nor directory (a symbolic link, a FIFO, a socket, a device) makes a
// listing that comes across it fail with kDataCorrupted, which names it; only the root may be a
// link (OpenDirectoryBelow). What cannot be read is an error, too. What vanishes while it is looked
// at is left out.
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

// The directories directly in `relative` that hold an object at any depth, in byte order.
Result<std::vector<std::string>> DirectoriesWithObjects(const std::string& root,
                                                        std::string_view relative,
                                                        const Cancellation& cancellation);

// Every temporary file of a Put below `root` (Store::ListFragments), in no order. Links and the
// like are passed over here.
Status WalkFragments(const std::string& root, const Cancellation& cancellation,
                     const Store::ObjectVisitor& each);

}  // namespace veza
