// The spool of wal-get: WAL segments that were fetched before recovery has asked for them.
//
// Each recovery has a directory of its own below the spool, named by WalSpoolDirectory() and used
// by two kinds of process: wal-get, which takes segments out, and one prefetcher, which puts them
// in.
//
//   lock             held with flock(2) by the prefetcher, and by whoever is about to start one
//   request          the segment that recovery was given last; a new file each time
//   <segment>        whole and verified
//   <segment>.part   being fetched; empty at first, renamed to <segment> in the end. The bytes
//   gather
//                    in a temporary file with this name and more, see WalArchive::Fetch()
//
// What is under a segment's name may be taken without a look at its content. A kill cannot leave a
// torn one, since it gets its name when it is whole, and a crash of the machine, after which a file
// may have lost what was never synced, makes the directory one that nobody asks for any more: its
// name depends on the run of the kernel, and on the process that recovers. So it never serves
// another recovery either, nor another cluster or repository. Nothing in it says that a file does
// not exist.
//
// Spools are made and removed on the way; only the space they take makes a difference to anybody.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "core/archive/wal_archive.h"
#include "core/error.h"
#include "core/storage/unique_fd.h"

namespace veza {

// The directory beside the destination of restore_command, that is, in pg_wal.
inline constexpr const char* kDefaultWalSpool = "veza_spool";

// Whose spool it is.
struct WalSpoolKey {
  std::string repository;   // where it is, cluster included
  std::string system_id;    // as wal-get was given it
  std::string destination;  // the directory where recovery wants the files
  std::string recovery;     // IdentifyProcess() of who recovers, or IdentifyPlace(); never empty
};

// The key's directory below `spool`.
std::string WalSpoolDirectory(const std::string& spool, const WalSpoolKey& key);

// Held by a process and by whoever inherits the descriptor, until the last of them ends.
class WalSpoolLock {
 public:
  // Makes the directory (and the spool above it) first. Nothing when somebody else holds it; an
  // error also when the directory is somebody else's.
  static Result<std::optional<WalSpoolLock>> TryAcquire(const std::string& directory);
  static bool IsHeld(const std::string& directory);

  int fd() const { return fd_.get(); }

 private:
  explicit WalSpoolLock(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

// Stateless but for the directory; thread-safe. Segments are named by valid names only.
class WalSpool {
 public:
  explicit WalSpool(std::string directory) : directory_(std::move(directory)) {}

  const std::string& directory() const { return directory_; }

  // For wal-get. ------------------------------------------------------------------------------

  // Moves the segment to `destination`. False when it is not there.
  Result<bool> Take(const std::string& segment, const std::string& destination) const;
  // How much there is of a segment that is being fetched, or was when its prefetcher was killed;
  // nothing when it is not.
  std::optional<std::uint64_t> BytesOfPart(const std::string& segment) const;
  // Tells the prefetcher how far recovery is.
  Status Request(const std::string& segment) const;

  // For the prefetcher, which holds the lock. ---------------------------------------------------

  struct LastRequest {
    std::string segment;
    std::string stamp;  // differs from request to request, even for the same segment
  };
  // Nothing when the directory has gone.
  std::optional<LastRequest> Requested() const;

  bool Holds(const std::string& segment) const;
  // Fetching is: Claim(), write to PartPath(), and Publish() or Abandon(). The claim is refused
  // with kNoSpace where little would be left on the file system when all that is claimed is there;
  // so one at a time.
  Status Claim(const std::string& segment, std::uint64_t size) const;
  std::string PartPath(const std::string& segment) const;
  // kDataCorrupted when it has another size than it was claimed with.
  Status Publish(const std::string& segment, std::uint64_t size) const;
  void Abandon(const std::string& segment) const;

  // Removes every segment that is not among these. What is being fetched stays.
  void KeepOnly(const std::set<std::string>& segments) const;
  // Removes what a prefetcher that was killed has left unfinished.
  void RemoveParts() const;
  // Removes the directory, and the spool with the last one if it is a kDefaultWalSpool. What is not
  // of a spool stays, and keeps the directory.
  void Remove() const;

 private:
  std::string PathOf(const std::string& name) const;

  std::string directory_;
};

// Removes directories whose prefetcher is gone. Directories without a lock file are not spools.
void RemoveLeftOverSpools(const std::string& spool);

}  // namespace veza
