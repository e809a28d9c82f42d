// The records under gap/ (FORMAT.md section 4): what no recovery goes beyond.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/repository/repository.h"

namespace veza {

// A run of segments of one timeline that no server has any more; or, with `minimal`, one segment
// that is there, in which WAL with wal_level = minimal begins: recovery ends there with an error.
struct WalGap {
  std::string first;
  std::string last;
  std::optional<Lsn> minimal{};
};

// Leaves a record of the gap in the repository, once.
Status RecordGap(const Repository& repository, std::uint64_t system_identifier, const WalGap& gap);
Status RecordMinimal(const Repository& repository, std::uint64_t system_identifier,
                     const std::string& segment, Lsn lsn);

// What such an object says; verified, so that nobody can explain away what he has deleted.
Result<WalGap> ReadGap(const Repository& repository, const std::string& object);

// Where WAL with wal_level = minimal begins.
struct MinimalWal {
  TimelineId timeline = 0;
  Lsn lsn;
  // Of a record that is damaged or was not written by us: it may begin anywhere from `lsn`, the
  // begin of the segment that the name says, to before `end`.
  std::optional<Error> doubt{};
  Lsn end{};
  std::string object{};
};
// All that are recorded. Of one that cannot be opened the name counts: to take it for nothing would
// let recovery run into WAL that it cannot replay, and to fail would let one object forbid every
// restore. Objects with other names are none of these.
Result<std::vector<MinimalWal>> ReadMinimalWal(const Repository& repository,
                                               std::uint64_t system_identifier);

}  // namespace veza
