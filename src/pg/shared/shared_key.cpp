#include "pg/shared/shared_key.h"

#include <utility>

#include "pg/shared/shared_state.h"

namespace veza::pg {

void ReportKeyHeld(std::int64_t at_us, const char* key_id) {
  UpdatePart<&SharedState::key>([=](SharedKey& key) {
    key.looked_us = at_us;
    key.held = true;
    key.failing = false;
    strlcpy(key.key_id, key_id, sizeof key.key_id);
  });
}

void ReportKeyFailure(std::int64_t at_us, const ErrorReport* error) {
  UpdatePart<&SharedState::key>([=](SharedKey& key) {
    key.looked_us = at_us;
    key.failing = true;
    key.error = *error;
  });
}

void ReportKeyPutBack(std::int64_t at_us, const char* names) {
  UpdatePart<&SharedState::key>([=](SharedKey& key) {
    key.put_back_us = at_us;
    strlcpy(key.put_back, names, sizeof key.put_back);
  });
}

void ReportKeyWatcher(Latch* latch) {
  UpdatePart<&SharedState::key>([=](SharedKey& key) { key.watcher = latch; });
}

void AskForLookAtKey() {
  Latch* watcher = nullptr;
  UpdatePart<&SharedState::key>([&](SharedKey& key) {
    key.look_is_wanted = true;
    watcher = key.watcher;
  });
  if (watcher != nullptr) {
    SetLatch(watcher);
  }
}

bool TakeKeyRequest() {
  bool wanted = false;
  UpdatePart<&SharedState::key>(
      [&](SharedKey& key) { wanted = std::exchange(key.look_is_wanted, false); });
  return wanted;
}

void ForgetKey() {
  UpdatePart<&SharedState::key>([](SharedKey& key) {
    Latch* const watcher = key.watcher;
    key = SharedKey{};
    key.watcher = watcher;
  });
}

SharedKey ReadSharedKey() {
  return CopyPart<&SharedState::key>();
}

}  // namespace veza::pg
