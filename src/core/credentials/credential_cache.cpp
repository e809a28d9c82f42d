#include "core/credentials/credential_cache.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <utility>

namespace veza {

namespace {

using std::chrono::milliseconds;

constexpr std::chrono::minutes kLongestReserve{5};
constexpr std::chrono::hours kLongestUse{12};
// How long a renewal that has failed is not tried again while the old credentials do.
constexpr milliseconds kShortestPause{250};
// The same when there are none that do: each try may take as long as the source may.
constexpr milliseconds kPauseWithout{2'000};
// How long the first request of a process tries again when the source is busy.
constexpr milliseconds kFirstPatience{2'000};
constexpr milliseconds kLongestPause{30'000};
// How long credentials that came because S3 had refused others, and that it has refused as well,
// are not replaced: the first time. Each costs a request to the source, and one more to S3.
constexpr milliseconds kFirstPauseAfterRefusals{1'000};
// How often a waiting request checks for cancellation.
constexpr milliseconds kLookForCancellation{20};

class CredentialCache final : public CredentialProvider {
 public:
  CredentialCache(std::string description, std::unique_ptr<CredentialSource> source)
      : description_(std::move(description)), source_(std::move(source)) {}

  const std::string& description() const override { return description_; }

  Result<S3CredentialsPtr> Get(const Environment& environment) override {
    std::unique_lock lock(mutex_);
    for (;;) {
      const bool goes_on = renewing_ ? !refused_ : !IsDue(environment);
      if (goes_on && HaveNotEnded(environment.clock->Now())) {
        return current_;
      }
      if (!renewing_ && IsToWait(environment)) {
        return failure_->error;
      }
      if (!renewing_) {
        return Renew(lock, environment);
      }
      const std::uint64_t turn = turn_;
      if (!renewed_.wait_for(lock, kLookForCancellation, [&] { return turn_ != turn; })) {
        RETURN_IF_ERROR(environment.cancellation->Check());
      } else if (failure_) {
        return failure_->error;  // what the other thread was told holds for this one, too
      }
    }
  }

  std::vector<std::string> files() const override { return source_->Files(); }

  std::optional<CredentialFailure> last_failure() const override {
    const std::lock_guard lock(mutex_);
    return failure_;
  }

  Result<S3CredentialsPtr> Replace(const S3Credentials& refused,
                                   const Environment& environment) override {
    {
      const std::lock_guard lock(mutex_);
      if (current_ && SameKeys(*current_, refused)) {
        if (refused_ && environment.clock->Steady() < next_try_) {
          // It has just been found out that there are no others.
          return failure_ ? Result<S3CredentialsPtr>(failure_->error) : S3CredentialsPtr();
        }
        if (!refused_ && environment.clock->Steady() < next_replacement_ &&
            source_->Stamp() == stamp_) {
          return S3CredentialsPtr();  // the last ones that came were refused, too
        }
        refused_ = true;
        next_try_ = {};
      }
    }
    ASSIGN_OR_RETURN(S3CredentialsPtr others, Get(environment));
    return SameKeys(*others, refused) ? S3CredentialsPtr() : others;
  }

  void Accepted(const S3Credentials& credentials) override {
    const std::lock_guard lock(mutex_);
    if (current_ && SameKeys(*current_, credentials)) {
      refused_ = false;
      next_replacement_ = {};
      pause_after_refusals_ = kFirstPauseAfterRefusals;
    }
  }

 private:
  // The turn of the thread that renews. Ends however that thread leaves.
  class Turn {
   public:
    Turn(CredentialCache& cache, std::unique_lock<std::mutex>& lock) : cache_(cache), lock_(lock) {
      cache_.renewing_ = true;
      lock_.unlock();
    }
    ~Turn() {
      if (!lock_.owns_lock()) {
        lock_.lock();
      }
      cache_.renewing_ = false;
      ++cache_.turn_;
      cache_.renewed_.notify_all();
    }
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

   private:
    CredentialCache& cache_;
    std::unique_lock<std::mutex>& lock_;
  };

  bool HaveNotEnded(TimePoint now) const {
    return current_ && (!current_->expires || now < *current_->expires);
  }

  bool IsDue(const Environment& environment) const {
    return environment.clock->Steady() >= next_try_ &&
           (refused_ || environment.clock->Now() >= renew_at_ || source_->Stamp() != stamp_);
  }

  // Whether it has just been found out that there are none. A file that has changed since then is
  // looked at.
  bool IsToWait(const Environment& environment) const {
    return failure_ && !HaveNotEnded(environment.clock->Now()) &&
           environment.clock->Steady() < next_try_ && source_->Stamp() == failed_stamp_;
  }

  // Nothing has been lost yet when the first request of a process fails. But a service that answers
  // "too busy" is no reason to give up.
  Result<S3Credentials> FetchWithPatience(bool is_first, const Environment& environment) {
    const SteadyTime begun = environment.clock->Steady();
    for (milliseconds pause = kShortestPause;; pause *= 2) {
      Result<S3Credentials> fetched = source_->FetchSince(begun, environment);
      if (!is_first || fetched || !fetched.error().retryable ||
          environment.clock->Steady() + pause - begun > kFirstPatience) {
        return fetched;
      }
      if (!environment.clock->Sleep(pause, environment.cancellation.get())) {
        RETURN_IF_ERROR(environment.cancellation->Check());
      }
    }
  }

  Result<S3CredentialsPtr> Renew(std::unique_lock<std::mutex>& lock,
                                 const Environment& environment) {
    const bool is_first = current_ == nullptr;
    const Turn turn(*this, lock);
    const std::string stamp = source_->Stamp();  // a change from now on is seen the next time
    Result<S3Credentials> fetched = FetchWithPatience(is_first, environment);
    lock.lock();
    const TimePoint now = environment.clock->Now();
    if (fetched && fetched->expires && *fetched->expires <= now) {
      fetched = HaveExpired(*fetched->expires, now);
    }
    if (fetched) {
      Take(*std::move(fetched), stamp, environment);
      return current_;
    }
    failure_.reset();
    if (fetched.error().code != ErrorCode::kCancelled) {  // which only concerns this thread
      fetched.error().code = ErrorCode::kCredentials;
      fetched.error().retryable = fetched.error().retryable && current_ != nullptr;
      failure_ = CredentialFailure{now, fetched.error()};
      failed_stamp_ = stamp;
      next_try_ = environment.clock->Steady() + PauseBefore(now);
    }
    if (!refused_ && HaveNotEnded(now)) {
      return current_;
    }
    return std::move(fetched.error());
  }

  void Take(S3Credentials fetched, const std::string& stamp, const Environment& environment) {
    const TimePoint now = environment.clock->Now();
    const bool same = current_ && SameKeys(*current_, fetched);
    if (refused_ && !same) {
      next_replacement_ = environment.clock->Steady() + pause_after_refusals_;
      pause_after_refusals_ = std::min(pause_after_refusals_ * 2, kLongestPause);
    }
    refused_ = refused_ && same;
    if (fetched.expires && !(same && current_->expires == fetched.expires)) {
      reserve_ = std::min<TimePoint::duration>((*fetched.expires - now) / 4, kLongestReserve);
    }
    current_ = std::make_shared<const S3Credentials>(std::move(fetched));
    stamp_ = stamp;
    failure_.reset();
    renew_at_ = now + kLongestUse;
    if (current_->expires) {
      renew_at_ = std::min(renew_at_, *current_->expires - reserve_);
    }
    // A source that keeps giving the same is not asked by every request.
    next_try_ = environment.clock->Steady() + (same ? PauseBefore(now) : milliseconds(0));
  }

  milliseconds PauseBefore(TimePoint now) const {
    if (!HaveNotEnded(now)) {
      return kPauseWithout;
    }
    if (!current_->expires) {
      return kShortestPause;
    }
    return std::clamp(std::chrono::ceil<milliseconds>((*current_->expires - now) / 8),
                      kShortestPause, kLongestPause);
  }

  Error HaveExpired(TimePoint end, TimePoint now) const {
    return MakeError(ErrorCode::kCredentials,
                     "credentials expired at {}, {} s before they were received ({})",
                     FormatUtc(end), std::chrono::ceil<std::chrono::seconds>(now - end).count(),
                     description_)
        .WithHint("Set the clock of this host. If it is right, look why there are no newer ones.")
        .Retryable();
  }

  const std::string description_;
  const std::unique_ptr<CredentialSource> source_;
  mutable std::mutex mutex_;
  std::condition_variable renewed_;
  bool renewing_ = false;
  std::uint64_t turn_ = 0;
  S3CredentialsPtr current_;       // null until the source has given some
  bool refused_ = false;           // S3 has refused `current_`
  std::string stamp_;              // of `current_`
  TimePoint::duration reserve_{};  // what is left of the life of `current_` when it is renewed
  TimePoint renew_at_{};
  SteadyTime next_try_{};
  SteadyTime next_replacement_{};  // of credentials that S3 refuses
  milliseconds pause_after_refusals_ = kFirstPauseAfterRefusals;
  std::optional<CredentialFailure> failure_;  // of the last turn
  std::string failed_stamp_;                  // before that turn
};

}  // namespace

std::string CredentialSource::Stamp() const {
  std::string stamp;
  for (const std::string& file : Files()) {
    stamp += StampOfFile(file) + ' ';
  }
  return stamp;
}

std::shared_ptr<CredentialProvider> MakeCredentialCache(std::string description,
                                                        std::unique_ptr<CredentialSource> source) {
  return std::make_shared<CredentialCache>(std::move(description), std::move(source));
}

std::string StampOfFile(const std::string& path) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    return "-";
  }
  return fmt::format("{}.{}.{}.{}.{}.{}", status.st_dev, status.st_ino, status.st_size,
                     status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec) +
         fmt::format(".{}", status.st_ctim.tv_nsec);
}

}  // namespace veza
