// A lease says that a restore or a drill needs a backup and its WAL: lease/<label>.<id> (FORMAT.md
// section 11). Retention keeps both while the lease is alive.
//
// As with the lock, only the store's time decides whether a lease is alive. So a lease ends by
// itself when its process was killed. A lease is no guarantee: an older version, or a person, may
// delete what it protects. So a restore checks again at its end that everything is still there
// (plan.h, RequireStillThere).
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

// While vezactl copies, it renews its lease. This one is short, because when vezactl is killed
// nothing that it has written can be used.
inline constexpr std::chrono::seconds kCopyLease{600};
// After the copy, and after each renewal by wal-get. This one is long, because people start the
// restored server, look at it while it is paused at a target, and sleep at night.
inline constexpr std::chrono::seconds kRecoveryLease{86'400};

struct LeaseDocument {
  std::string label{};
  std::uint64_t system_identifier = 0;
  Lsn start_lsn{};  // all WAL from here on is needed, on every timeline
  std::string start_wal{};
  std::string node{};
  std::string process{};  // IdentifyThisProcess(), for people; may be empty
  std::string purpose{};  // "restore", "drill"
  TimePoint created{};    // by the clock of the node
  std::chrono::seconds lease{0};
};

// SerializeLease signs and prints. ParseLease checks the signature and every member. Errors name
// the object.
Result<std::string> SerializeLease(const LeaseDocument& lease, const std::string& name,
                                   const SealPolicy& policy);
Result<LeaseDocument> ParseLease(std::string_view text, const std::string& name,
                                 const SealPolicy& policy);

// A lease in the repository.
struct LeaseState {
  std::string name{};
  std::string label{};  // from its name
  // nullopt when it cannot be read, or has lapsed and was not read.
  std::optional<LeaseDocument> document{};
  TimePoint renewed{};  // this time and `expires` are by the store's clock
  TimePoint expires{};
  bool alive = false;

  // A text for messages: `a restore on node "…" until …`.
  std::string Holder() const;
};

// The leases whose names begin with `prefix` and are not in `known`, in the order of their names. A
// lease that cannot be read (damaged, forged, too large, newer format) counts as a lease of one
// day: it protects its backup, and then lapses. Leases that were not renewed for a day have lapsed;
// their documents are not read, and at most limits::kLapsedLeases of them are returned.
// kDataCorrupted if more than limits::kLeases others exist, because then nobody can tell what they
// need.
Result<std::vector<LeaseState>> ReadLeases(const Repository& repository,
                                           std::string_view prefix = kLeasePrefix,
                                           const std::set<std::string>& known = {});
// The lease of this name. nullopt when it does not exist.
Result<std::optional<LeaseState>> ReadLeaseNamed(const Repository& repository,
                                                 const std::string& name);
// The leases on this backup and on its diffs.
Result<std::vector<LeaseState>> ReadLeasesOn(const Repository& repository,
                                             const std::string& label);

// A living lease that needs this backup, directly or as the full of what is leased. Null when there
// is none.
const LeaseState* FindLease(const std::vector<LeaseState>& leases, const std::string& label);

// A lease of this process. A thread of its own (which inherits the caller's signal mask) renews it
// until KeepFor() or End(). All members must be called from one thread. The repository must outlive
// the lease.
class RestoreLease {
 public:
  // When the store cannot be written to, above all with kPermissionDenied, the caller decides
  // whether to go on: the backup can be read without a lease.
  static Result<std::unique_ptr<RestoreLease>> Take(const Repository& repository,
                                                    const BackupSummary& backup,
                                                    const std::string& purpose);
  // Stops renewing. Without KeepFor() or End() the lease lapses within kCopyLease.
  ~RestoreLease();
  RestoreLease(const RestoreLease&) = delete;
  RestoreLease& operator=(const RestoreLease&) = delete;

  const std::string& name() const { return name_; }

  // Makes the lease last for `time` from now and stops renewing. After an error the lease is
  // renewed as before.
  Status KeepFor(std::chrono::seconds time);
  // Removes the lease: the backup and its WAL are no longer needed.
  Status End();

 private:
  RestoreLease(const Repository& repository, std::string name, LeaseDocument document);

  void RenewUntilStopped();
  Status Write(const LeaseDocument& document) const;
  void Stop();

  const Repository& repository_;
  const std::string name_;
  std::mutex mutex_;  // guards document_, and the order in which it is stored
  LeaseDocument document_;
  Cancellation stop_;
  ThreadGroup renewer_;
};

// Renews a lease that another process has taken, for the duration that the lease itself states.
// Success also when the lease no longer exists: somebody has ended it, and it is not created again.
Status RenewLease(const Repository& repository, const std::string& name);

}  // namespace veza
