// What the archiver of a server tells the other processes about its work: counters, and the last
// event of each kind, since the server was started. Without shared_preload_libraries nothing is
// kept.
#pragma once

#include <cstdint>

#include "pg/boundary.h"
#include "pg/shared/shared_memory.h"

namespace veza::pg {

// Something that happened to a WAL file.
struct SharedWalEvent {
  char file[kWalFileLength];
  TimestampTz at;  // 0: never
  std::uint64_t count;
};

// Written by the archiver. Guarded by the lock of SharedState.
struct SharedArchive {
  SharedWalEvent stored;  // or already there with the same content
  std::uint64_t stored_bytes;
  std::uint64_t sealed_bytes;

  SharedWalEvent failed;  // for any reason, conflicts included
  bool failing;           // the last attempt has failed
  ErrorReport error;      // of the last failure

  SharedWalEvent conflict;
  ErrorReport conflict_error;

  SharedWalEvent dropped;  // given up because the disk had no space (archive_drop_below)
  bool giving_up;          // no file has been stored since

  std::uint64_t retries;  // of requests
  std::uint32_t in_flight;
  std::uint32_t ahead;  // stored, but the archiver has not asked for them yet
  int level;            // of zstd, for the file that was compressed last

  std::uint64_t indexed;         // segments whose index was stored
  std::uint64_t index_failures;  // attempts to store an index that failed
};

// Called in the archiver's main thread. All of these do nothing without shared memory.
void ReportStored(const char* file, std::uint64_t plain_size, std::uint64_t sealed_size);
void ReportFailure(const char* file, const ErrorReport* error, bool is_conflict);
// The file was acknowledged but not stored, because recovery never reads one of its kind.
void ReportLeftOut(const char* file, const ErrorReport* error, bool is_conflict);
void ReportDropped(const char* file);
struct ShippingNow {
  std::uint32_t in_flight;
  std::uint32_t ahead;
  int level;
  std::uint64_t new_retries;
  std::uint64_t new_indexed;
  std::uint64_t new_index_failures;
};
void ReportShipping(const ShippingNow& now);

// A copy; all zeros without shared memory.
SharedArchive ReadSharedArchive();

}  // namespace veza::pg
