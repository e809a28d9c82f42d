#include "pg/shared/shared_key.h"

#include <utility>

#include "pg/shared/shared_state.h"

namespace veza::pg {

namespace {

// Calls `change` with the key's part of shared memory, under the lock. Does nothing without shared
// memory.
template <typename Change>
void Update(Change change) {
  SharedState* const state = GetSharedState();
  if (state == nullptr) {
    return;
  }
  LWLockAcquire(state->lock, LW_EXCLUSIVE);
  change(state->key);
  LWLockRelease(state->lock);
}

}  // namespace

void ReportKeyHeld(std::int64_t at_us, const char* key_id) {
  Update([=](SharedKey& key) {
    key.looked_us = at_us;
    key.held = true;
    key.failing = false;
    strlcpy(key.key_id, key_id, sizeof key.key_id);
  });
}

void ReportKeyFailure(std::int64_t at_us, const ErrorReport* error) {
  Update([=](SharedKey& key) {
    key.looked_us = at_us;
    key.failing = true;
    key.error = *error;
  });
}

void ReportKeyPutBack(std::int64_t at_us, const char* names) {
  Update([=](SharedKey& key) {
    key.put_back_us = at_us;
    strlcpy(key.put_back, names, sizeof key.put_back);
  });
}

void ReportKeyWatcher(Latch* latch) {
  Update([=](SharedKey& key) { key.watcher = latch; });
}

void AskForLookAtKey() {
  Latch* watcher = nullptr;
  Update([&](SharedKey& key) {
    key.look_is_wanted = true;
    watcher = key.watcher;
  });
  if (watcher != nullptr) {
    SetLatch(watcher);
  }
}

bool TakeKeyRequest() {
  bool wanted = false;
  Update([&](SharedKey& key) { wanted = std::exchange(key.look_is_wanted, false); });
  return wanted;
}

void ForgetKey() {
  Update([](SharedKey& key) {
    Latch* const watcher = key.watcher;
    key = SharedKey{};
    key.watcher = watcher;
  });
}

SharedKey ReadSharedKey() {
  SharedKey copy{};
  if (SharedState* const state = GetSharedState(); state != nullptr) {
    LWLockAcquire(state->lock, LW_SHARED);
    copy = state->key;
    LWLockRelease(state->lock);
  }
  return copy;
}

}  // namespace veza::pg
