// Whether the WAL in the repository, from where a full backup began to where a server is, is what
// has led this server's data directory there. Only then may a diff trust what that WAL names.
//
// What can be otherwise: the data directory was put back to an earlier moment, it is a clone, or it
// lost WAL in a crash; and then WAL was written anew, under the same names. Names, positions and
// the borders of records may be the same by accident, where twins do the same work. So contents are
// compared, by digests, in three steps:
//
// 1. The full backup was committed with the WAL from its start to its end, and cannot be restored
//    without it. So what the repository has there is the WAL of the full.
// 2. Each later segment says which content the segment before it had in its writer's pg_wal
//    (core/archive/segment_links.h). Where the repository has that content under that name, both
//    are of the writer's history. From one writer to the next, the segment between them must hold
//    the end of a transaction: its time, in microseconds at that place, makes it improbable that
//    two histories had the same segment. Within one run of acknowledgements nothing can come in
//    between.
// 3. The newest segments are the server's own: it has had them acknowledged by this repository, or
//    they lie in its pg_wal and are the same. Behind them, WAL is read from its pg_wal only.
//
// A data directory changes by the WAL that it writes or replays, so it follows from 1 to 3 that the
// blocks named are all that differ. The argument and its limits: docs/design/backup.md.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "core/archive/segment_links.h"
#include "core/archive/wal_archive.h"
#include "core/codec/seal.h"
#include "core/error.h"
#include "core/postgres/lsn.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/repository.h"

namespace veza {

// Segments of the server's way that the repository holds as this server had them: from `first` to
// `last`.
struct OwnWal {
  bool is_known = false;  // false: there are none, or it is not known
  SegmentNumber first = 0;
  SegmentNumber last = 0;
  std::optional<Sha256Digest> run{};  // if they are of a run that this server remembers
};

struct OwnWalPlace {
  std::uint64_t system_identifier = 0;
  std::uint64_t segment_size = 0;
  TimelineHistory history;
  std::string wal_directory;
};

// What this server remembers of its acknowledgements, if that can be right for a server whose WAL
// has come to `position`, and what is the same in pg_wal and in the repository, of `newest` and a
// few segments before it. Where the two do not touch, only the second. Errors: kCancelled, and
// those of a store that does not answer.
Result<OwnWal> FindOwnWal(const Repository& repository, const OwnWalPlace& place, Lsn position,
                          SegmentNumber newest);

// What the repository says of a segment, with its digest. nullopt when it has no such object, or
// one that cannot be used.
Result<std::optional<ObjectAttributes>> ReadSegmentAttributes(const WalArchive& archive,
                                                              const std::string& segment);

// What is compared of a segment.
struct SegmentFacts {
  std::string name;
  // Of what the repository has under the name. Nothing of a segment behind OwnWal::last.
  std::optional<Sha256Digest> link{};
  SegmentOrigin origin{};
  bool has_end = false;  // of a transaction
};

// Why it is not proven that these segments, consecutive ones from the first of the full backup on,
// are of this server's history. Empty when it is.
std::string DoubtOfHistory(const std::map<SegmentNumber, SegmentFacts>& segments,
                           const OwnWal& own);

}  // namespace veza
