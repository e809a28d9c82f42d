// How wal-get uses segments that are fetched ahead: the spool of its recovery
// (core/restore/wal_spool.h), and the background process that fills it.
//
// That process is vezactl itself with the command `wal-prefetch`. wal-get starts it after it has
// given out a segment, if none is running. It has a session of its own, and inherits no descriptor
// but the spool's lock: the server would wait for any process that holds the pipe to its log. It
// ends and removes the spool when the recovering process has ended, or when nothing was asked for
// during a minute.
#pragma once

#include <optional>
#include <string>

#include "cli/command.h"
#include "core/restore/wal_spool.h"

namespace veza::cli {

struct PrefetchArguments {
  int segments = 8;   // 0 for none
  std::string spool;  // empty: a directory beside the destination
};

// The members fail only when they are cancelled. When something is wrong with the spool, wal-get
// works without it.
class PrefetchedWal {
 public:
  // When `arguments` name no spool, there is one only for a server in recovery: a person who
  // fetches a segment by hand, and pg_rewind, do not need the next one.
  PrefetchedWal(const GlobalOptions& options, const Config& config,
                const PrefetchArguments& arguments, const std::string& system_id,
                const std::string& destination);

  // Moves the segment to the destination. Waits for it while it is being fetched. Returns false
  // when wal-get has to fetch it itself.
  Result<bool> Take(const std::string& segment) const;

  // Removes what killed prefetchers have left, those of this recovery included.
  void RemoveLeftOvers() const;

  // Called when recovery has been given this segment, so that the next ones can be fetched.
  void FetchAfter(const std::string& segment) const;

 private:
  Status StartPrefetcher(int lock_fd) const;

  const GlobalOptions& options_;
  const int segments_;
  const std::string system_id_;
  const std::string destination_;
  std::string destination_directory_;
  std::string recovery_;
  std::string root_;               // empty when there is no spool
  std::optional<WalSpool> spool_;  // absent when nothing is to be fetched ahead
};

// The command of the background process. It is not for people, and not shown in the help.
Subcommand AddWalPrefetch(Command parent);

}  // namespace veza::cli
