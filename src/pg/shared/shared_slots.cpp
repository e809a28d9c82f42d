#include "pg/shared/shared_slots.h"

#include "pg/shared/shared_state.h"

namespace veza::pg {

void WriteSharedSlots(const SharedSlots& slots) {
  UpdatePart<&SharedState::slots>([&](SharedSlots& shared) { shared = slots; });
}

SharedSlots ReadSharedSlots() {
  return CopyPart<&SharedState::slots>();
}

}  // namespace veza::pg
