// The scheduler: one static background worker that starts backups when they are due.
#pragma once

namespace veza::pg {

// Called in _PG_init() of a preloaded library.
void RegisterScheduler();

}  // namespace veza::pg
