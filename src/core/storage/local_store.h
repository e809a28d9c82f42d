// A directory as an object store. Objects are files below `root`. An object is written under a
// temporary name in the same directory and fsynced. link(2), which never overwrites, gives it its
// name (for kReplace: rename(2)). Then the directory is fsynced. Left-over temporary files
// (".veza-tmp-…") are not objects and are never listed. Those older than a day are removed with the
// last object of their directory. A directory without objects is removed, also when the first Put
// into it has failed.
//
// Now() and ObjectInfo::modified use the clock of the file system. On NFS that is the server's
// clock, the same for all hosts. Cluster file systems whose hosts set file times themselves
// (CephFS, GFS2, Lustre) need synchronised clocks. Now() sets the modification time of `root`. If
// the process may not do that, Now() returns the environment's clock. Local file operations have no
// deadline.
//
// Below `root` no symbolic link is followed. File systems mounted there are entered.
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
// local_tree.h describes listings. Files whose name no object can have are left alone.
#pragma once

#include <memory>
#include <string>

#include "core/storage/store.h"

namespace veza {

// `root` is an absolute path. It and its parents are created (mode 0700) at the first write, not
// here. `file_clock` replaces the file system's clock in tests. It must outlive the store.
Result<std::unique_ptr<Store>> MakeLocalStore(std::string root, Environment environment,
                                              const Clock* file_clock = nullptr);

}  // namespace veza
