// The state that the parts of a verification share.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "core/rate_limiter.h"
#include "core/repository/pack_reader.h"
#include "core/repository/repository.h"
#include "core/verify/findings.h"
#include "core/verify/verify.h"
#include "core/work_queue.h"

namespace veza {

// A job for one of the threads: it opens an object. An error that it returns ends the verification.
using VerifyJob = std::function<Status(PackReader& reader)>;

class VerifySession {
 public:
  VerifySession(const Repository& repository, const VerifyOptions& options,
                VerifyProgress& progress);

  // Starts the threads. Call it once, before the first Push().
  Status Start(int jobs);

  const Repository& repository() const { return repository_; }
  bool full() const { return full_; }
  VerifyProgress& progress() { return progress_; }
  Findings& findings() { return findings_; }
  const Findings& findings() const { return findings_; }

  Status Push(VerifyJob job) { return queue_.Push(std::move(job)); }
  Status WaitUntilIdle() { return queue_.WaitUntilIdle(); }

  // Applies the rate limit. Call it before reading an object of so many bytes. A transfer is not
  // slowed down once it has begun, because servers close slow connections.
  void BeforeReading(std::uint64_t bytes) { limiter_.Pass(bytes); }

  // Judges an error from reading the object. Damage becomes a problem of these backups (or of no
  // backup, when `labels` is empty), and the result is a success. An error of the environment is
  // returned.
  Status Judge(const Status& status, const std::string& object,
               const std::vector<std::string>& labels);

  // After Judge() has found damage in full mode. Notes the object, a part of backup `label`, as
  // damaged, if nothing but its content can be the reason: `read` finds it bad again, and the store
  // gives all its `size` bytes without an error.
  Status NoteDamaged(const std::string& object, const std::string& label, std::uint64_t size,
                     const std::function<Status()>& read);

 private:
  bool IsDamage(const Error& error, const std::string& object) const;

  const Repository& repository_;
  const bool full_;
  const std::atomic<std::uint64_t> rate_;
  VerifyProgress& progress_;
  Findings findings_;
  RateLimiter limiter_;
  WorkQueue<VerifyJob> queue_;
};

}  // namespace veza
