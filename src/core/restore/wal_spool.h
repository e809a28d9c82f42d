// The spool of wal-get: WAL segments that were fetched before recovery has asked for them.
//
// Each recovery has a directory of its own below the spool, named by WalSpoolDirectory(). Two kinds
// of process use it: wal-get takes segments out, and one prefetcher puts them in.
//
//   lock             held with flock(2) by the prefetcher, and by a process that is about to
//                    start one
//   request          the segment that recovery was given last; a new file each time
//   <segment>        complete and verified
//   <segment>.part   being fetched; empty at first, and renamed to <segment> in the end. The bytes
//                    gather in a temporary file whose name begins with this one, see
//                    WalArchive::Fetch()
//
// A file under a segment's name may be used without checking its content. A kill cannot leave an
// incomplete one, because a file gets that name only when it is complete. After a crash of the
// machine a file may have lost what was not synced, but nobody uses the directory any more: its
// name depends on the boot id and on the process that recovers. For the same reason it never serves
// another recovery, cluster or repository. The spool never says that a file does not exist.
//
// Spools are created and removed without messages. They are a cache: losing one costs time only.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>

#include "core/archive/wal_archive.h"
#include "core/error.h"
#include "core/storage/unique_fd.h"

namespace veza {

// The name of the directory beside the destination of restore_command, that is, in pg_wal.
inline constexpr const char* kDefaultWalSpool = "veza_spool";

// Identifies the recovery that a spool belongs to.
struct WalSpoolKey {
  std::string repository;   // its location, including the cluster
  std::string system_id;    // as given to wal-get
  std::string destination;  // the directory where recovery wants the files
  // IdentifyProcess() of the recovering process, or IdentifyPlace(); never empty.
  std::string recovery;
};

// The directory for the key, below `spool`.
std::string WalSpoolDirectory(const std::string& spool, const WalSpoolKey& key);

// The lock of a spool. It is held by a process and by those that inherit the descriptor, until the
// last of them ends.
class WalSpoolLock {
 public:
  // Creates the directory (and the spool that contains it) first. nullopt when another process
  // holds the lock. An error also when the directory belongs to somebody else.
  static Result<std::optional<WalSpoolLock>> TryAcquire(const std::string& directory);
  static bool IsHeld(const std::string& directory);

  int fd() const { return fd_.get(); }

 private:
  explicit WalSpoolLock(UniqueFd fd) : fd_(std::move(fd)) {}

  UniqueFd fd_;
};

// Stateless except for the directory; thread-safe. `segment` must be a valid segment name.
class WalSpool {
 public:
  explicit WalSpool(std::string directory) : directory_(std::move(directory)) {}

  const std::string& directory() const { return directory_; }

  // For wal-get. ------------------------------------------------------------------------------

  // Moves the segment to `destination`. Returns false when it is not there.
  Result<bool> Take(const std::string& segment, const std::string& destination) const;
  // The size so far of a segment that is being fetched, or was when its prefetcher was killed.
  // nullopt when it is not being fetched.
  std::optional<std::uint64_t> BytesOfPart(const std::string& segment) const;
  // Tells the prefetcher how far recovery is.
  Status Request(const std::string& segment) const;

  // For the prefetcher, which holds the lock. ---------------------------------------------------

  struct LastRequest {
    std::string segment;
    std::string stamp;  // differs from request to request, even for the same segment
  };
  // nullopt when the directory is gone.
  std::optional<LastRequest> Requested() const;

  bool Holds(const std::string& segment) const;
  // To fetch a segment: Claim(), write to PartPath(), and then Publish() or Abandon(). Claim()
  // returns kNoSpace when too little space would be left on the file system after everything that
  // is claimed is fetched. So only one thread may claim at a time.
  Status Claim(const std::string& segment, std::uint64_t size) const;
  std::string PartPath(const std::string& segment) const;
  // kDataCorrupted when the file does not have the claimed size.
  Status Publish(const std::string& segment, std::uint64_t size) const;
  void Abandon(const std::string& segment) const;

  // Removes every segment that is not in the set. Segments being fetched are kept.
  void KeepOnly(const std::set<std::string>& segments) const;
  // Removes unfinished files that a killed prefetcher has left.
  void RemoveParts() const;
  // Removes the directory, and the last one also removes the spool if it is a kDefaultWalSpool.
  // Files that do not belong to a spool are kept, and so is their directory.
  void Remove() const;

 private:
  std::string PathOf(const std::string& name) const;

  std::string directory_;
};

// Removes the directories of prefetchers that have ended. Directories without a lock file are not
// spools and are kept.
void RemoveLeftOverSpools(const std::string& spool);

}  // namespace veza
