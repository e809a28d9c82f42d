// What becomes of one extent of a file in a backup. It is read and checked. Then it is compressed
// and given to the uploader; or, in a diff, it becomes a reference to the full backup, and only
// what has changed is stored.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "core/backup/backup_options.h"
#include "core/backup/changed_pages.h"
#include "core/backup/pack_uploader.h"
#include "core/backup/page_verifier.h"
#include "core/bytes.h"
#include "core/codec/zstd.h"
#include "core/error.h"
#include "core/rate_limiter.h"
#include "core/repository/manifest.h"
#include "core/repository/pack_reader.h"
#include "core/repository/repository.h"
#include "core/storage/unique_fd.h"
#include "core/wal/wal_record.h"

namespace veza {

// A file while its extents are being copied.
struct FileJob {
  FileRecord record;
  std::string source_path;
  RelationPath relation;
  UniqueFd file;
  std::atomic<std::size_t> extents_left{0};

  // For a diff.
  std::optional<FileRecord> in_full;     // the file as the full backup has it
  bool by_page = false;                  // only the pages that changed are stored
  std::optional<RelationFile> in_wal{};  // its name in WAL, if WAL tells which pages changed
  PageCollector changed_pages;
  std::mutex pages_mutex;  // guards record.pages

  // The extent that the full backup has in this place. Null when it has none there, or one of
  // another length.
  const Extent* InFull(std::size_t index, std::size_t length) const {
    const Extent* const extent = InFullOrHole(index, length);
    return extent != nullptr && extent->pack != 0 ? extent : nullptr;
  }
  const Extent* InFullOrHole(std::size_t index, std::size_t length) const {
    return in_full && index < in_full->extents.size() && in_full->extents[index].length == length
               ? &in_full->extents[index]
               : nullptr;
  }
};

// Thread-safe, but for what belongs to one file: FindInFull() comes before its extents, and
// StoreRest() behind them.
class ExtentCopier {
 public:
  // What one thread keeps between extents.
  struct Buffers {
    explicit Buffers(int compression_level) : compressor(compression_level) {}
    Compressor compressor;
    Bytes plain = Bytes(kExtentSize);
    Bytes compressed;
    std::optional<PackReader> full_reader;  // for a diff that compares contents
  };

  // All of these outlive the copier.
  ExtentCopier(const Repository& repository, const BackupWriterOptions& options,
               BackupProgress& progress, PackUploader& uploader, PageVerifier& verifier);

  std::unique_ptr<Buffers> MakeBuffers() const;

  // For a diff: what the full backup has of the file, and whether pages of it are compared.
  Status FindInFull(FileJob& file) const;
  // Copies one extent of the file, and fills in its place in the record. Reads only what may have
  // changed, if WAL tells.
  Status Copy(FileJob& file, std::size_t index, Buffers& buffers);
  // Stores the changed pages that do not fill an extent. Then the file's record is whole.
  Status StoreRest(FileJob& file, Buffers& buffers);
  // Stores up to kExtentSize bytes. Zeros become a hole.
  Result<Extent> Store(ByteView plain, Buffers& buffers);

 private:
  bool IsNamedByServer(const FileJob& file) const;
  Status Read(const FileJob& file, std::uint64_t offset, MutableByteView into);
  std::optional<WalChanges::Answer> AskWal(const FileJob& file, std::size_t index,
                                           std::size_t length) const;
  bool IsReadByPage(const Extent& in_full, const WalChanges::Answer& in_wal) const;
  Result<Extent> CopyPages(FileJob& file, std::size_t index, const PageIndexes& pages,
                           Buffers& buffers);
  Status AddPages(FileJob& file, std::size_t index, const PageIndexes& pages, ByteView plain,
                  Buffers& buffers);
  Result<Extent> StoreWhatChanged(FileJob& file, std::size_t index, ByteView plain,
                                  const std::optional<WalChanges::Answer>& in_wal,
                                  Buffers& buffers);
  bool IsSame(const Extent& in_full, ByteView plain) const;
  bool IsMostOf(const PageIndexes& pages, ByteView plain) const;
  Result<std::optional<PageIndexes>> FindChangesSinceFull(const Extent& in_full,
                                                          ByteView plain) const;
  Result<std::optional<PageIndexes>> CompareWithFull(const std::string& path, const Extent& in_full,
                                                     ByteView plain, Buffers& buffers);
  bool IsKnownAsDamaged(std::uint32_t pack);
  void WarnOfDamage(std::uint32_t pack, const std::string& path, const Error& error);
  Status StorePages(FileJob& file, PageCollector::Batch& batch, Buffers& buffers);
  Result<Extent> StoreContent(ByteView plain, Buffers& buffers);

  const Repository& repository_;
  const BackupWriterOptions& options_;
  BackupProgress& progress_;
  PackUploader& uploader_;
  PageVerifier& verifier_;
  RateLimiter limiter_;

  std::mutex damaged_mutex_;
  std::set<std::uint32_t> damaged_packs_;  // of the full backup
  bool warned_of_damage_ = false;
};

}  // namespace veza
