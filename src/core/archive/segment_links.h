// What a server says of the WAL that it archives: that each segment follows the one before it.
//
// The names of segments and the positions in them say nothing of their history: two servers that
// were one once (a clone, a snapshot that was put back) write the same names, and even the borders
// of their records may be the same. So the writer of a segment states the digest of the segment
// before it as it lay in its own pg_wal (SegmentOrigin::previous), and a number that all segments
// of one **run** share. A run is what one data directory has had acknowledged by one repository,
// segment after segment, without a hole. Because the repository accepts no other content for a name
// that is taken, all of a run is in the repository as it was in the data directory, and of one
// history.
//
// The run is remembered in a small file in pg_wal. So it goes on after a restart, and goes with the
// WAL where pg_wal is copied or put back. It is in no backup, and not synced: where it is old or
// damaged, another run begins. FORMAT.md section 4 has the rules for readers.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "core/archive/wal_archive.h"
#include "core/codec/content_digest.h"
#include "core/codec/seal.h"
#include "core/postgres/lsn.h"
#include "core/repository/repository.h"

namespace veza {

// SHA-256 of the name of a segment and its digest. `segment` has 24 digits.
Sha256Digest LinkTo(const std::string& segment, const ContentDigest& digest);

// Tells repositories apart: by place, key and the time at which they were made.
Result<Sha256Digest> IdOfRepository(const Repository& repository, std::uint64_t system_identifier);

// The name of the segment before `segment` on the way of a server whose history files are in
// `wal_directory`. nullopt for the first segment there can be.
std::optional<std::string> SegmentBeforeOnPath(const std::string& segment,
                                               std::uint64_t segment_size,
                                               const std::string& wal_directory);

// The file in pg_wal.
inline constexpr const char* kAcknowledgedFile = "veza_backup.acknowledged";

struct AcknowledgedRun {
  Sha256Digest repository{};  // IdOfRepository()
  Sha256Digest run{};
  std::string first{};  // segments
  std::string last{};   // the newest one that was acknowledged
  Sha256Digest link{};  // LinkTo(last)
  bool operator==(const AcknowledgedRun&) const = default;
};
// nullopt when there is no such file, or it cannot be used.
std::optional<AcknowledgedRun> ReadAcknowledgedRun(const std::string& wal_directory);
Status WriteAcknowledgedRun(const std::string& wal_directory, const AcknowledgedRun& run);

// For one archiver. Thread-safe. Nothing here fails: what is not known is not said.
class SegmentLinks {
 public:
  SegmentLinks(std::string wal_directory, std::uint64_t system_identifier,
               std::uint64_t segment_size)
      : wal_directory_(std::move(wal_directory)),
        system_identifier_(system_identifier),
        segment_size_(segment_size) {}

  // The archiver asks for this file. Of the first segment it is decided whether it goes on with the
  // run that is remembered. Other files are passed over, here and below.
  void Begin(const std::string& file);
  // The digest of a segment that is being stored.
  void Know(const std::string& file, const ContentDigest& digest);
  // May read the segment before it.
  SegmentOrigin OriginOf(const Repository& repository, const std::string& segment);
  // The repository has the segment, and the archiver is told so. Remembers it.
  void Acknowledge(const std::string& file);
  // The repository has another content under the segment's name. If it was acknowledged before, it
  // was written anew since, and the run is over.
  void NoteConflict(const std::string& file);

 private:
  void Resolve(const Repository& repository);
  void BeginRun(const Sha256Digest& repository, Random& random);
  bool WasWrittenAnew(const AcknowledgedRun& run, const Repository& repository) const;
  std::optional<Sha256Digest> LinkInPgWal(const Repository& repository,
                                          const std::string& segment) const;
  bool Continues(const AcknowledgedRun& run, const std::string& segment) const;
  std::optional<Sha256Digest> Known(const std::string& segment) const;

  const std::string wal_directory_;
  const std::uint64_t system_identifier_;
  const std::uint64_t segment_size_;

  std::mutex mutex_;
  std::string first_asked_;
  std::optional<AcknowledgedRun> run_;
  Random* random_ = nullptr;
  std::map<std::string, Sha256Digest> links_;  // of segments that were sealed, the newest ones
};

}  // namespace veza
