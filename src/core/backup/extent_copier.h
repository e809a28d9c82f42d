// What becomes of one extent of a file in a backup. It is read and checked. Then it is compressed
// and given to the uploader; or, in a diff or an incr, it becomes a reference to where the parent
// has it, and only what has changed is stored.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

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

// The contents of the page extents of the parent that were read last. Those of one file are wanted
// again for each extent of it that they have pages of. Not thread-safe.
class PageExtentCache {
 public:
  static constexpr std::size_t kMost = 4;

  // Null when it is not among them. A hostile manifest may say two things of one frame.
  const Bytes* Find(const Extent& extent) const {
    const auto found = std::ranges::find_if(kept_, [&](const Kept& kept) {
      return kept.extent.source == extent.source && kept.extent.pack == extent.pack &&
             kept.extent.frame == extent.frame && kept.extent.length == extent.length &&
             kept.extent.digest == extent.digest;
    });
    return found == kept_.end() ? nullptr : &found->content;
  }
  const Bytes* Keep(const Extent& extent, ByteView content) {
    if (kept_.size() == kMost) {
      kept_.pop_front();
    }
    kept_.push_back({extent, Bytes(content.begin(), content.end())});
    return &kept_.back().content;
  }

 private:
  struct Kept {
    Extent extent;
    Bytes content;
  };
  std::deque<Kept> kept_;
};

// A page that a page extent replaces.
struct ReplacedPage {
  std::uint32_t page;    // of the file
  std::uint32_t extent;  // index in FileRecord::pages
  std::uint32_t at;      // index of the page in the plain text of that extent
};

// A file while its extents are being copied.
struct FileJob {
  FileRecord record;
  std::string source_path;
  RelationPath relation;
  UniqueFd file;
  std::atomic<std::size_t> extents_left{0};

  // For a diff or an incr.
  std::optional<FileRecord> in_parent;   // the file as the parent has it
  std::vector<ReplacedPage> replaced;    // what in_parent->pages says, by page
  bool by_page = false;                  // only the pages that changed are stored
  std::optional<RelationFile> in_wal{};  // its name in WAL, if WAL tells which pages changed
  PageCollector changed_pages;
  std::mutex pages_mutex;  // guards record.pages
  // By extent: 1 if it is the parent's, together with the parent's page extents in it.
  std::vector<std::uint8_t> inherits;

  // The extent that the parent has in this place. Null when it has none there, or one of another
  // length. Page extents may replace a part of it.
  const Extent* InParent(std::size_t index, std::size_t length) const {
    const Extent* const extent = InParentOrHole(index, length);
    return extent != nullptr && extent->pack != 0 ? extent : nullptr;
  }
  const Extent* InParentOrHole(std::size_t index, std::size_t length) const {
    return in_parent && index < in_parent->extents.size() &&
                   in_parent->extents[index].length == length
               ? &in_parent->extents[index]
               : nullptr;
  }
};

// Thread-safe, but for what belongs to one file: FindInParent() comes before its extents, and
// StoreRest() behind them.
class ExtentCopier {
 public:
  // What one thread keeps between extents.
  struct Buffers {
    explicit Buffers(int compression_level) : compressor(compression_level) {}
    Compressor compressor;
    Bytes plain = Bytes(kExtentSize);
    Bytes compressed;
    // For comparing contents with the parent's.
    std::optional<PackReader> reader;
    Bytes before;
    PageExtentCache pages;
  };

  // All of these outlive the copier.
  ExtentCopier(const Repository& repository, const BackupWriterOptions& options,
               BackupProgress& progress, PackUploader& uploader, PageVerifier& verifier);

  std::unique_ptr<Buffers> MakeBuffers() const;

  // For a diff or an incr: what the parent has of the file, and whether pages of it are compared.
  Status FindInParent(FileJob& file) const;
  // Takes the file over from the parent as it is, if WAL tells that nothing of it has changed.
  // Reads nothing, so the file need not be open. False if something of it must be read.
  bool TakeOver(FileJob& file) const;
  // Copies one extent of the file, and fills in its place in the record. Reads only what may have
  // changed, if WAL tells.
  Status Copy(FileJob& file, std::size_t index, Buffers& buffers);
  // Stores the changed pages that do not fill an extent, and takes over those of the parent's page
  // extents that have not changed again. Then the file's record is whole.
  Status StoreRest(FileJob& file, Buffers& buffers);
  // Stores up to kExtentSize bytes. Zeros become a hole.
  Result<Extent> Store(ByteView plain, Buffers& buffers);

 private:
  bool IsNamedByServer(const FileJob& file) const;
  Status Read(const FileJob& file, std::uint64_t offset, MutableByteView into);
  std::optional<WalChanges::Answer> AskWal(const FileJob& file, std::size_t index,
                                           std::size_t length) const;
  bool IsReadByPage(const FileJob& file, std::size_t index, const WalChanges::Answer& in_wal) const;
  Result<Extent> CopyPages(FileJob& file, std::size_t index, const PageIndexes& pages,
                           Buffers& buffers);
  Status AddPages(FileJob& file, std::size_t index, const PageIndexes& pages, ByteView plain,
                  Buffers& buffers);
  Result<Extent> StoreWhatChanged(FileJob& file, std::size_t index, ByteView plain,
                                  const std::optional<WalChanges::Answer>& in_wal,
                                  Buffers& buffers);
  // An extent of a file as the parent has it.
  struct Before {
    const FileJob& file;
    std::size_t index;
    const Extent& extent;
    std::span<const ReplacedPage> replaced;  // the pages of it that page extents replace
  };
  std::span<const ReplacedPage> ReplacedIn(const FileJob& file, std::size_t index,
                                           std::size_t length) const;
  bool IsSame(const Extent& before, ByteView plain) const;
  bool IsMostOf(const PageIndexes& pages, std::size_t index, std::span<const ReplacedPage> replaced,
                std::size_t length) const;
  PageIndexes FindChangesByLsnSince(const Before& before, ByteView plain) const;
  Result<std::optional<PageIndexes>> Compare(const Before& before, ByteView plain,
                                             Buffers& buffers);
  static bool AreInFew(std::span<const ReplacedPage> pages);
  Status Rebuild(const Before& before, Buffers& buffers, const PackRecord** read);
  void CarryPages(FileJob& file) const;
  bool IsKnownAsDamaged(const PackRecord& pack);
  void WarnOfDamage(const PackRecord& pack, const std::string& path, const Error& error);
  Status StorePages(FileJob& file, PageCollector::Batch& batch, Buffers& buffers);
  Result<Extent> StoreContent(ByteView plain, Buffers& buffers);

  const Repository& repository_;
  const BackupWriterOptions& options_;
  BackupProgress& progress_;
  PackUploader& uploader_;
  PageVerifier& verifier_;
  RateLimiter limiter_;

  std::mutex damaged_mutex_;
  std::set<std::string> damaged_packs_;  // names
  bool warned_of_damage_ = false;
};

}  // namespace veza
