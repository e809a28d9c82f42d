// What a restore or a drill leaves in the repository while it needs a backup and its WAL:
// lease/<label>.<id> (FORMAT.md section 11). Retention leaves both alone while the lease is alive.
//
// As with the lock, the store's own time alone decides whether a lease is alive, so it lapses by
// itself when whoever took it was killed. A lease is a courtesy and no proof: somebody with an
// older version, or with a mouse, can delete what it names. So whoever restores looks again at the
// end (plan.h, RequireStillThere).
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/environment.h"
#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/repository/names.h"
#include "core/repository/repository.h"
#include "core/thread_group.h"

namespace veza {

// While vezactl copies, and renews it: soon over when vezactl was killed and nothing that it has
// written can be used.
inline constexpr std::chrono::seconds kCopyLease{600};
// From then on, and from each renewal by wal-get: it is people who start the server that was
// restored, who look at it while it is paused at a target, and who sleep at night.
inline constexpr std::chrono::seconds kRecoveryLease{86'400};

struct LeaseDocument {
  std::string label{};
  std::uint64_t system_identifier = 0;
  Lsn start_lsn{};  // WAL from here on is needed, on every timeline
  std::string start_wal{};
  std::string node{};
  std::string process{};  // IdentifyThisProcess(), for people; may be empty
  std::string purpose{};  // "restore", "drill"
  TimePoint created{};    // by the clock of the node
  std::chrono::seconds lease{0};
};

// Signs and prints; checks the signature and every member. Errors name the object.
Result<std::string> SerializeLease(const LeaseDocument& lease, const std::string& name,
                                   const SealPolicy& policy);
Result<LeaseDocument> ParseLease(std::string_view text, const std::string& name,
                                 const SealPolicy& policy);

// A lease as it was found.
struct LeaseState {
  std::string name{};
  std::string label{};                      // as the name has it
  std::optional<LeaseDocument> document{};  // nothing when it cannot be read, or was not
  TimePoint renewed{};                      // these two by the store's clock
  TimePoint expires{};
  bool alive = false;

  // "a restore on node "…" until …", for messages.
  std::string Holder() const;
};

// By name. What cannot be read (damaged, forged, too large, newer format) counts as a lease of a
// day: it keeps, and lapses in the end. Of those that were not renewed for a day the documents are
// not read, and at most limits::kLapsedLeases are given. Of the others, more than limits::kLeases
// are kDataCorrupted: nobody could tell what they need. Only names that begin with `prefix`, and
// none that is `known`.
Result<std::vector<LeaseState>> ReadLeases(const Repository& repository,
                                           std::string_view prefix = kLeasePrefix,
                                           const std::set<std::string>& known = {});
// The one of this name; nothing when it has gone.
Result<std::optional<LeaseState>> ReadLeaseNamed(const Repository& repository,
                                                 const std::string& name);
// Those on one backup, itself or its diffs.
Result<std::vector<LeaseState>> ReadLeasesOn(const Repository& repository,
                                             const std::string& label);

// The alive one that needs this backup, itself or as the full of a diff; nothing when none does.
const LeaseState* FindLease(const std::vector<LeaseState>& leases, const std::string& label);

// A lease of this process, renewed from a thread of its own (which inherits the caller's signal
// mask) until it is kept for longer or ended. One thread calls the members. The repository must
// outlive it.
class RestoreLease {
 public:
  // The errors of a store that cannot be written to, kPermissionDenied above all, are the caller's
  // to judge: the backup can be read all the same.
  static Result<std::unique_ptr<RestoreLease>> Take(const Repository& repository,
                                                    const BackupSummary& backup,
                                                    const std::string& purpose);
  // Stops renewing: without KeepFor() or End() the lease lapses soon.
  ~RestoreLease();
  RestoreLease(const RestoreLease&) = delete;
  RestoreLease& operator=(const RestoreLease&) = delete;

  const std::string& name() const { return name_; }

  // Stops renewing; from now on it stays so long. After an error it is renewed as before.
  Status KeepFor(std::chrono::seconds time);
  // Nothing is needed any more.
  Status End();

 private:
  RestoreLease(const Repository& repository, std::string name, LeaseDocument document);

  void RenewUntilStopped();
  Status Write(const LeaseDocument& document) const;
  void Stop();

  const Repository& repository_;
  const std::string name_;
  std::mutex mutex_;  // of the document, and of the order in which it is stored
  LeaseDocument document_;
  Cancellation stop_;
  ThreadGroup renewer_;
};

// Makes the lease last from now on as long as it says, on behalf of who took it. A lease that is
// not there any more is not made again, and is no error: somebody has ended it.
Status RenewLease(const Repository& repository, const std::string& name);

}  // namespace veza
