// A directory as an object store. Objects are files below `root`; an object is written under a
// temporary name in the same directory, fsynced, and given its name by link(2), which never
// overwrites (rename(2) for kReplace); then the directory is fsynced. Left-over temporary files
// (".veza-tmp-…") are not objects and are never listed; those older than a day go with the last
// object of their directory. A directory without objects is removed.
//
// Now() and ObjectInfo::modified are by the clock of the file system: on NFS that of its server,
// the same for all hosts, whatever their own say. Cluster file systems whose hosts stamp files
// themselves (CephFS, GFS2, Lustre) need synchronised clocks. Now() sets the times of `root`; for
// whoever may not do so it is the environment's clock. Local file operations have no deadline.
//
// Below `root` no symbolic link is followed, and a file system mounted there is entered.
//
// | has the name of an object    | Head, Get      | Put kCreate    | Put kReplace   | Delete     |
// |------------------------------|----------------|----------------|----------------|------------|
// | link, FIFO, socket, device   | kDataCorrupted | kDataCorrupted | replaces it    | removes it |
// | directory                    | kNotFound      | kDataCorrupted | kDataCorrupted | nothing    |
//
// | has the name of a directory  | Head, Get           | Put                 | Delete   | List    |
// |------------------------------|---------------------|---------------------|----------|---------|
// | link, FIFO, socket, device   | kFailedPrecondition | kFailedPrecondition | the same | an error|
// | file                         | kNotFound           | kFailedPrecondition | nothing  | nothing |
//
// For listings see local_tree.h. What has a name that no object can have is left alone.
#pragma once

#include <memory>
#include <string>

#include "core/storage/store.h"

namespace veza {

// `root` is absolute. It is created (0700) with its parents on first write, not here. `file_clock`
// is for tests: it stands for the file system's and outlives the store.
Result<std::unique_ptr<Store>> MakeLocalStore(std::string root, Environment environment,
                                              const Clock* file_clock = nullptr);

}  // namespace veza
