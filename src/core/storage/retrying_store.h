// The one place that retries. Wraps any store. Retries until an attempt succeeds, an error is not
// retryable, or the budget is used up. The pauses grow exponentially with full jitter and are at
// least as long as the server's Retry-After, but never longer than kLongestRetryAfter. When a
// Retry-After is longer than what is left of the budget, there is one more attempt, the last one,
// at the end of the budget. When an attempt has delivered something, attempts and budget begin
// anew: the budget is for a store that does not respond, and a slow receiver must not use it up.
//
//  - Put with kCreate: the outcome of an attempt may be unknown (connection lost, deadline). If
//    kAlreadyExists follows, the object is read back and compared. The same bytes mean that our own
//    earlier attempt succeeded, so the result is success. Different bytes stay kAlreadyExists.
//  - Get: resumes after the bytes that the sink has taken.
//  - List: resumes after the last name visited.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string_view>

#include "core/storage/store.h"

namespace veza {

// A server may ask for any pause. After this time it is asked again, so that one wrong header does
// not silence a backup for hours.
inline constexpr std::chrono::minutes kLongestRetryAfter{5};

struct RetryPolicy {
  std::chrono::milliseconds first_pause{100};
  std::chrono::milliseconds longest_pause{10'000};
  std::chrono::milliseconds budget{60'000};  // no attempt starts after this time
  int max_attempts = 12;                     // in a row that deliver nothing
  // When set, it replaces the budget. It may change while calls are made, for a caller that has
  // more to lose later than at first. It must outlive the store.
  const std::atomic<std::chrono::milliseconds>* patience = nullptr;

  // The same policy with the budget that somebody has set. A longer budget is used up, however many
  // attempts that takes.
  RetryPolicy WithBudget(std::chrono::milliseconds set) const;
};

// Called before each pause, in the thread that makes the call. For logs and counters. `operation`
// is PUT, GET, HEAD, DELETE, LIST or TIME. `name` is the object's name or the prefix of a listing.
using RetryObserver =
    std::function<void(std::string_view operation, std::string_view name, const Error& error)>;

std::unique_ptr<Store> MakeRetryingStore(std::unique_ptr<Store> inner, Environment environment,
                                         RetryPolicy policy, RetryObserver observer = {});

}  // namespace veza
