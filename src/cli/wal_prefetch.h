// What wal-get has to do with segments that are fetched ahead: the spool (core/restore/wal_spool.h)
// of the recovery that it is run by, and the background process that fills it.
//
// That process is vezactl itself, `wal-prefetch`, started by wal-get after a segment was given out
// when there is none. It has a session of its own, and no descriptor but the spool's lock: the
// server waits for whoever holds the pipe to its log. It ends, and removes the spool, as soon as
// the recovering process has ended, or when nothing was asked for during a minute.
#pragma once

#include <optional>
#include <string>

#include "cli/command.h"
#include "core/restore/wal_spool.h"

namespace veza::cli {

struct PrefetchArguments {
  int segments = 8;   // 0: off
  std::string spool;  // empty: beside the destination
};

// Nothing in here fails but by cancellation: whatever is wrong with the spool, wal-get can do
// without.
class PrefetchedWal {
 public:
  // Without a spool of its own choice there is one only for a server in recovery: somebody who
  // fetches a segment by hand, or pg_rewind, has no use for the next one.
  PrefetchedWal(const GlobalOptions& options, const Config& config,
                const PrefetchArguments& arguments, const std::string& system_id,
                const std::string& destination);

  // Moves the segment to the destination; waits for it when it is being fetched. False when it has
  // to be fetched the other way.
  Result<bool> Take(const std::string& segment) const;

  // Removes what prefetchers that were killed have left, this recovery's included.
  void RemoveLeftOvers() const;

  // Recovery has been given this segment: the next ones can be fetched.
  void FetchAfter(const std::string& segment) const;

 private:
  Status StartPrefetcher(int lock_fd) const;

  const GlobalOptions& options_;
  const int segments_;
  const std::string system_id_;
  const std::string destination_;
  std::string destination_directory_;
  std::string recovery_;
  std::string root_;               // empty: no spool
  std::optional<WalSpool> spool_;  // absent when nothing is to be fetched ahead
};

// The background process; not for people, and not in the help.
Subcommand AddWalPrefetch(Command parent);

}  // namespace veza::cli
