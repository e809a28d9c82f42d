#include "pg/shared/shared_workers.h"

#include "pg/shared/shared_state.h"

namespace veza::pg {

SharedInventory* GetSharedInventory() {
  SharedState* const state = GetSharedState();
  return state != nullptr ? &state->inventory : nullptr;
}

SharedDropper* GetSharedDropper() {
  SharedState* const state = GetSharedState();
  return state != nullptr ? &state->dropper : nullptr;
}

}  // namespace veza::pg
