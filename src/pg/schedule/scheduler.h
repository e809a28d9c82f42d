// The scheduler: one static background worker that takes the backups when they are due.
#pragma once

namespace veza::pg {

// In _PG_init of a preloaded library.
void RegisterScheduler();

}  // namespace veza::pg
