// The one place that tries again. Wraps any store; exponential pauses with full jitter, at least
// what the server's Retry-After asks for, until an attempt succeeds, an error is not retryable, or
// the budget is used up. An attempt that has delivered something makes what follows a new call: the
// budget is for a store that does not answer, and whoever takes what it delivers may be slow.
//
//  - Put with kCreate: when an attempt whose outcome is unknown (connection lost, deadline) is
//    followed by kAlreadyExists, the object is read back and compared; the same bytes mean that our
//    own earlier attempt had succeeded, so the answer is success. Different bytes stay
//    kAlreadyExists.
//  - Get: resumes behind what the sink already took.
//  - List: resumes after the last name visited.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string_view>

#include "core/storage/store.h"

namespace veza {

struct RetryPolicy {
  std::chrono::milliseconds first_pause{100};
  std::chrono::milliseconds longest_pause{10'000};
  std::chrono::milliseconds budget{60'000};  // no attempt is started after this much time
  int max_attempts = 12;                     // without a byte or a name
  // When given, it takes the place of the budget, and may change while calls are made: for whoever
  // has more to lose later on than at first. It must outlive the store.
  const std::atomic<std::chrono::milliseconds>* patience = nullptr;
};

// Called before each pause, from the thread that makes the call. For logs and counters. `operation`
// is PUT, GET, HEAD, DELETE, LIST or TIME; `name` is the object's, or the prefix of a listing.
using RetryObserver =
    std::function<void(std::string_view operation, std::string_view name, const Error& error)>;

std::unique_ptr<Store> MakeRetryingStore(std::unique_ptr<Store> inner, Environment environment,
                                         RetryPolicy policy, RetryObserver observer = {});

}  // namespace veza
