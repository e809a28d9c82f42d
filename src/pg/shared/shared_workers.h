// What short-lived background workers hand to the process that started them. That starts one at a
// time and reads when it has ended, so there is no lock.
#pragma once

#include <cstddef>

namespace veza::pg {

// Written by an inventory worker (pg/backup/inventory.h), read by the backup worker.
struct SharedInventory {
  bool is_whole;
  std::size_t size;
  char text[64 * 1024];  // name and version of each extension, each with its NUL
};

// Written by the worker that drops empty databases (pg/backup/empty_databases.h), read by the
// scheduler.
struct SharedDropper {
  bool connected;  // the worker has a connection to a database
};

// Null without shared memory.
SharedInventory* GetSharedInventory();
SharedDropper* GetSharedDropper();

}  // namespace veza::pg
