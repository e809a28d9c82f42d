// The manifest: one record a line, written and read as a stream (FORMAT.md section 6).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include "core/codec/seal.h"
#include "core/codec/stream.h"
#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/repository/pack.h"
#include "core/repository/repository.h"

namespace veza {

struct DirectoryRecord {
  std::string path;
  std::uint32_t mode = 0;  // permission bits
};

// Neighbouring pages of a file, counted from its start.
struct PageRun {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

// Pages of a relation file that were changed since the full backup, packed densely: `extent` holds
// the pages of all runs, one behind the other.
struct PageExtent {
  Extent extent;
  std::vector<PageRun> runs;
};

struct FileRecord {
  std::string path;
  std::uint32_t mode = 0;
  std::uint64_t size = 0;
  std::int64_t mtime = 0;  // seconds since 1970
  std::vector<Extent> extents;
  std::vector<PageExtent> pages{};  // take the place of what `extents` says of these pages
};

struct ManifestTotals {
  std::uint64_t files = 0;
  std::uint64_t directories = 0;
  std::uint64_t extents = 0;
  std::uint64_t packs = 0;
  std::uint64_t size = 0;
  bool operator==(const ManifestTotals&) const = default;
};

using ManifestRecord = std::variant<Tablespace, DirectoryRecord, FileRecord, PackRecord>;

// Add() may be called from several threads.
class ManifestWriter {
 public:
  ManifestWriter(const Repository& repository, const std::string& label);
  ~ManifestWriter();

  Status Add(const ManifestRecord& record);
  // Ends the stream and stores the object. Returns its size and digest for backup.json.
  struct Stored {
    std::uint64_t size = 0;
    Sha256Digest sha256{};
    ManifestTotals totals;
  };
  Result<Stored> Commit();

 private:
  Status AppendLine(const std::string& line);

  const Repository& repository_;
  std::string label_;
  std::mutex mutex_;
  std::unique_ptr<StreamSealer> sealer_;
  ManifestTotals totals_;
  Status begun_;  // of the construction; reported by Commit()
};

// Reads the manifest of `backup` record by record, verifies seal, size and digest against
// backup.json and the counts of the end record. The visitor has been given unverified records when
// an error is returned at the end; each record was authenticated, their completeness was not.
// It may take as long as it likes: no request is under way while it is at work.
using ManifestVisitor = std::function<Status(ManifestRecord&& record)>;
Status ReadManifest(const Repository& repository, const BackupSummary& backup,
                    const ManifestVisitor& visit);

// Of an object that a committed backup is made of.
Error MissingPart(const std::string& name);

// Store::Get() of an object that a committed backup is made of: that there is none, or that it ends
// before the range, is damage (kDataCorrupted) and no answer.
Status GetPartOfBackup(const Repository& repository, const std::string& name, ByteRange range,
                       const Sink& sink);

}  // namespace veza
