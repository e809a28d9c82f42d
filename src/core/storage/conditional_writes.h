// Whether a store keeps the promise that everything rests on: of two writers of one name only the
// first one writes (PutMode::kCreate). Some S3 servers and gateways pass over If-None-Match, and
// then a second server overwrites the first one's WAL without a word. So a store is tried before it
// is written to, and one that overwrites is refused.
//
// A local store needs no proof: link(2) refuses a name that is taken, and a file system without
// hard links says so.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "core/storage/store.h"

namespace veza {

// A store may be exchanged under the same address while a server runs.
inline constexpr std::chrono::hours kProofLasts{24};

// What a process has proven of which places. Thread-safe.
class ConditionalWriteProofs {
 public:
  bool Holds(const std::string& place, SteadyTime now) const;
  void Note(const std::string& place, SteadyTime now);

 private:
  mutable std::mutex mutex_;
  std::map<std::string, SteadyTime> proven_;
};

// Tries the store before the first Put with kCreate, and again once a proof is older than
// kProofLasts; reading and deleting need none. The trial asks the store itself:
// that the object that it uses is there (names.h, kConditionalWriteProbe) proves nothing, because
// it is copied along with a repository; nor does a refusal where it is not there.
// kUnsupported, with a hint, where the store overwrites, or does not take the condition at all.
// What else keeps the trial from being made (no space, no right, nobody answers) is the error of
// the Put. `place` names the store among all of those that the process writes to. `inner` retries.
std::unique_ptr<Store> MakeProvenStore(std::unique_ptr<Store> inner, Environment environment,
                                       std::string probe, std::string place,
                                       std::shared_ptr<ConditionalWriteProofs> proofs);

// For a store without conditional writes, when the operator has asked for it: a Put with kCreate
// looks whether the object is there, and then writes. That is a request more for each object, and
// two writers that look at the same moment both write. Below retries: each attempt looks.
std::unique_ptr<Store> MakeLookingStore(std::unique_ptr<Store> inner);

}  // namespace veza
