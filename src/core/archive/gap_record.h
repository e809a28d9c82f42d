// The records under gap/ (FORMAT.md section 4). Each names a place that no recovery passes.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/repository/repository.h"

namespace veza {

// A run of segments of one timeline that no server has any more. With `minimal` it is a single
// segment instead, which exists, and in which WAL with wal_level = minimal begins: recovery ends
// there with an error.
struct WalGap {
  std::string first;
  std::string last;
  std::optional<Lsn> minimal{};
};

// Records the gap in the repository, unless it is recorded already.
Status RecordGap(const Repository& repository, std::uint64_t system_identifier, const WalGap& gap);
Status RecordMinimal(const Repository& repository, std::uint64_t system_identifier,
                     const std::string& segment, Lsn lsn);

// Reads a record and verifies it. Otherwise somebody who has deleted WAL could declare it a gap.
Result<WalGap> ReadGap(const Repository& repository, const std::string& object);

// Where WAL with wal_level = minimal begins.
struct MinimalWal {
  TimelineId timeline = 0;
  Lsn lsn;
  // Why the record cannot be trusted: it is damaged, or was not written with this key. Then such
  // WAL may begin anywhere from `lsn`, the begin of the segment that the name says, to before
  // `end`.
  std::optional<Error> doubt{};
  Lsn end{};
  std::string object{};
};
// Reads all records with `minimal`. When one cannot be opened, its name counts. To ignore it would
// let recovery run into WAL that it cannot replay, and to fail would let a single object prevent
// every restore. Objects with other names are ignored.
Result<std::vector<MinimalWal>> ReadMinimalWal(const Repository& repository,
                                               std::uint64_t system_identifier);

}  // namespace veza
