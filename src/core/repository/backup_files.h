// Single files out of a backup, without restoring the rest.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "core/bytes.h"
#include "core/error.h"
#include "core/repository/backup_summary.h"
#include "core/repository/manifest.h"
#include "core/repository/repository.h"

namespace veza {

// Not thread-safe. Memory: the records of the files that were found, and of the packs.
class BackupFiles {
 public:
  // Reads the whole manifest, and finds the files whose path is wanted. kDataCorrupted if they are
  // more than `most`.
  static Result<BackupFiles> Find(const Repository& repository, const BackupSummary& backup,
                                  const std::function<bool(const std::string& path)>& is_wanted,
                                  std::size_t most);

  const std::vector<FileRecord>& files() const { return files_; }

  // Visits the content of one of the files() piece by piece, each byte once and in any order. A
  // piece has whole blocks, unless it is the end of the file. Holes are left out.
  using PieceVisitor = std::function<Status(std::uint64_t offset, ByteView piece)>;
  Status Visit(const FileRecord& file, const PieceVisitor& visit) const;
  // The whole content of a small file. kDataCorrupted if it is larger than `largest`.
  Result<Bytes> ReadSmall(const FileRecord& file, std::size_t largest) const;

 private:
  // As Extent::source and Extent::pack.
  using PackId = std::pair<std::uint32_t, std::uint32_t>;
  struct Piece;

  BackupFiles(const Repository& repository, BackupSummary backup)
      : repository_(&repository), backup_(std::move(backup)) {}
  Status VisitPack(const PackId& pack, std::vector<Piece>& pieces,
                   const std::vector<PageRun>& replaced, const PieceVisitor& visit) const;
  Status VisitRuns(const std::vector<PageRun>& runs, ByteView plain,
                   const PieceVisitor& visit) const;
  Status VisitRest(std::uint64_t offset, ByteView plain, const std::vector<PageRun>& replaced,
                   const PieceVisitor& visit) const;

  const Repository* repository_;
  BackupSummary backup_;
  std::vector<FileRecord> files_;
  std::map<PackId, PackRecord> packs_;
};

}  // namespace veza
