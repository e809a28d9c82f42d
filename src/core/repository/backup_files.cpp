#include "core/repository/backup_files.h"

#include <algorithm>
#include <variant>

#include "core/repository/names.h"
#include "core/repository/pack_reader.h"

namespace veza {

// What an extent brings to the file.
struct BackupFiles::Piece {
  Extent extent;
  std::uint64_t offset = 0;                    // in the file
  const std::vector<PageRun>* runs = nullptr;  // of a page extent, in place of `offset`
};

Result<BackupFiles> BackupFiles::Find(const Repository& repository, const BackupSummary& backup,
                                      const std::function<bool(const std::string& path)>& is_wanted,
                                      std::size_t most) {
  BackupFiles found(repository, backup);
  RETURN_IF_ERROR(ReadManifest(repository, backup, [&](ManifestRecord&& record) -> Status {
    RETURN_IF_ERROR(repository.environment().cancellation->Check());
    if (const auto* const pack = std::get_if<PackRecord>(&record)) {
      found.packs_[{pack->source, pack->number}] = *pack;
    }
    auto* const file = std::get_if<FileRecord>(&record);
    if (file == nullptr || !is_wanted(file->path)) {
      return Ok();
    }
    if (found.files_.size() == most) {
      return MakeError(ErrorCode::kDataCorrupted, "\"{}\" names more files than a cluster has",
                       ManifestName(backup.label));
    }
    found.files_.push_back(std::move(*file));
    return Ok();
  }));
  return found;
}

Status BackupFiles::Visit(const FileRecord& file, const PieceVisitor& visit) const {
  std::map<PackId, std::vector<Piece>> packs;
  const auto add = [&](const Piece& piece) {
    if (piece.extent.pack != 0) {
      packs[{piece.extent.source, piece.extent.pack}].push_back(piece);
    }
  };
  std::vector<PageRun> replaced;
  for (const PageExtent& pages : file.pages) {
    replaced.insert(replaced.end(), pages.runs.begin(), pages.runs.end());
    add({pages.extent, 0, &pages.runs});
  }
  std::ranges::sort(replaced, {}, &PageRun::first);
  std::uint64_t offset = 0;
  for (const Extent& extent : file.extents) {
    add({extent, offset, nullptr});
    offset += extent.length;
  }
  for (auto& [pack, pieces] : packs) {
    RETURN_IF_ERROR(VisitPack(pack, pieces, replaced, visit));
  }
  return Ok();
}

Status BackupFiles::VisitPack(const PackId& pack, std::vector<Piece>& pieces,
                              const std::vector<PageRun>& replaced,
                              const PieceVisitor& visit) const {
  const auto [source, number] = pack;
  const std::string name = PackName(backup_.LabelOf(source), number);
  const auto record = packs_.find(pack);
  if (record == packs_.end()) {
    return MakeError(ErrorCode::kDataCorrupted, "\"{}\" does not describe \"{}\"",
                     ManifestName(backup_.label), name);
  }
  std::ranges::sort(pieces, {}, [](const Piece& piece) { return piece.extent.frame; });
  std::vector<Extent> extents;
  extents.reserve(pieces.size());
  for (const Piece& piece : pieces) {
    extents.push_back(piece.extent);
  }
  PackReader reader(*repository_, [](std::uint64_t) {});
  return reader.Read(name, record->second, extents, [&](std::size_t index, ByteView plain) {
    const Piece& piece = pieces[index];
    return piece.runs != nullptr ? VisitRuns(*piece.runs, plain, visit)
                                 : VisitRest(piece.offset, plain, replaced, visit);
  });
}

Status BackupFiles::VisitRuns(const std::vector<PageRun>& runs, ByteView plain,
                              const PieceVisitor& visit) const {
  const std::size_t size = backup_.block_size;
  for (const PageRun& run : runs) {
    const std::size_t at = std::min(run.at * size, plain.size());
    const std::size_t length = std::min(run.count * size, plain.size() - at);
    RETURN_IF_ERROR(visit(std::uint64_t{run.first} * size, plain.subspan(at, length)));
  }
  return Ok();
}

// Block by block, what no page extent replaces.
Status BackupFiles::VisitRest(std::uint64_t offset, ByteView plain,
                              const std::vector<PageRun>& replaced,
                              const PieceVisitor& visit) const {
  const std::size_t size = backup_.block_size;
  for (std::size_t at = 0; at < plain.size(); at += size) {
    const std::uint64_t block = (offset + at) / size;
    const auto behind = std::ranges::upper_bound(replaced, block, {}, &PageRun::first);
    const bool is_replaced =
        behind != replaced.begin() && block - std::prev(behind)->first < std::prev(behind)->count;
    if (!is_replaced) {
      RETURN_IF_ERROR(visit(offset + at, plain.subspan(at, std::min(size, plain.size() - at))));
    }
  }
  return Ok();
}

Result<Bytes> BackupFiles::ReadSmall(const FileRecord& file, std::size_t largest) const {
  if (file.size > largest) {
    return MakeError(ErrorCode::kDataCorrupted, "file \"{}\" of backup \"{}\" is too large",
                     file.path, backup_.label);
  }
  Bytes content(file.size);
  RETURN_IF_ERROR(Visit(file, [&](std::uint64_t offset, ByteView piece) {
    if (offset + piece.size() <= content.size()) {
      std::ranges::copy(piece, content.begin() + static_cast<std::ptrdiff_t>(offset));
    }
    return Ok();
  }));
  return content;
}

}  // namespace veza
