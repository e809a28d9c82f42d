// Checks that a store keeps the promise on which everything depends: of two writers of one name,
// only the first one writes (PutMode::kCreate). Some S3 servers and gateways ignore If-None-Match.
// A second server then silently overwrites the first server's WAL. A store is therefore tried
// before it is written to, and one that overwrites is refused.
//
// A local store needs no trial: link(2) refuses a name that exists, and fails on a file system
// without hard links.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "core/storage/store.h"

namespace veza {

// How long a proof is valid. The store behind an address may be replaced while a server runs.
inline constexpr std::chrono::hours kProofLasts{24};

// Remembers for the process which places have passed the trial. Thread-safe.
class ConditionalWriteProofs {
 public:
  bool Holds(const std::string& place, SteadyTime now) const;
  void Note(const std::string& place, SteadyTime now);

 private:
  mutable std::mutex mutex_;
  std::map<std::string, SteadyTime> proven_;
};

// Wraps a store. Tries it before the first Put with kCreate, and again when the proof is older than
// kProofLasts. Reading and deleting need no trial. The trial puts the object `probe` (names.h,
// kConditionalWriteProbe). It always asks the store itself. Finding the object proves nothing,
// because it is copied along with a repository. A refusal proves nothing when the object is
// missing. kUnsupported with a hint when the store overwrites the object or does not accept the
// condition at all. If the trial cannot be made (no space, no permission, no response), the Put
// returns that error. `place` identifies the store among all stores that the process writes to.
// `inner` must retry.
std::unique_ptr<Store> MakeProvenStore(std::unique_ptr<Store> inner, Environment environment,
                                       std::string probe, std::string place,
                                       std::shared_ptr<ConditionalWriteProofs> proofs);

// Wraps a store without conditional writes, for operators who ask for it. A Put with kCreate looks
// whether the object exists and then writes it. This costs one more request for each object, and
// two writers that look at the same moment both write. It belongs below the retries, so that each
// attempt looks.
std::unique_ptr<Store> MakeLookingStore(std::unique_ptr<Store> inner);

}  // namespace veza
