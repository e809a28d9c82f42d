// The manifest of a backup: one record a line, written and read as a stream (FORMAT.md section 6).
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

// A run of consecutive pages of a file, counted from its start.
struct PageRun {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
  // Where it lies in its extent, in pages. Of an extent in a pack of the backup itself, runs lie
  // one behind the other and fill it; the writer need not set this.
  std::uint32_t at = 0;
};

// Pages of a relation file that have changed since the backup that the rest of the file is from. An
// extent of another backup may hold more pages than `runs` say: those have changed again.
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
  std::vector<PageExtent> pages{};  // replace what `extents` says of these pages
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

// Writes a manifest. Add() may be called from several threads.
class ManifestWriter {
 public:
  ManifestWriter(const Repository& repository, const std::string& label);
  // `newest`: whether a pack may have digests by kGmac, be it one of another backup. It and the
  // type of the backup decide on the version of the manifest. Without it, it is the repository's
  // method.
  ManifestWriter(const Repository& repository, const std::string& label, DigestMethod newest);
  ~ManifestWriter();

  Status Add(const ManifestRecord& record);
  // Ends the stream and stores the object. Returns its size and digest, which belong into
  // backup.json.
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
  const BackupType type_;
  const int version_;
  std::mutex mutex_;
  std::unique_ptr<StreamSealer> sealer_;
  ManifestTotals totals_;
  Status begun_;  // the error of the constructor, if any; Commit() returns it
};

// Reads the manifest of `backup` record by record. Checks the seal, the size and digest that
// backup.json gives, and the counts in the end record. Each record is authenticated before the
// visitor gets it. Whether the manifest is complete is known only at the end: when the function
// returns an error, the visitor may already have seen records. The visitor may take any time,
// because no request is open while it runs.
using ManifestVisitor = std::function<Status(ManifestRecord&& record)>;
Status ReadManifest(const Repository& repository, const BackupSummary& backup,
                    const ManifestVisitor& visit);

// The error for a missing object that belongs to a committed backup.
Error MissingPart(const std::string& name);

// Store::Get() of an object that belongs to a committed backup. If the object is missing or ends
// before the range, that is damage (kDataCorrupted).
Status GetPartOfBackup(const Repository& repository, const std::string& name, ByteRange range,
                       const Sink& sink);

}  // namespace veza
