#include "pg/shared_key.h"

#include "pg/shared_state.h"

namespace veza::pg {

namespace {

// Calls `change` with the key's part of shared memory, under the lock.
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

void ForgetKey() {
  Update([](SharedKey& key) { key = SharedKey{}; });
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
