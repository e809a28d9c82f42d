#include "core/backup/extent_copier.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <utility>
#include <vector>

#include "core/backup/file_reader.h"
#include "core/postgres/page.h"
#include "core/repository/names.h"

namespace veza {

namespace {

// Whether a part of the full backup is missing, or is not what was written.
bool IsDamage(const Error& error) {
  return error.code == ErrorCode::kDataCorrupted || error.code == ErrorCode::kNotFound ||
         error.code == ErrorCode::kUnsupported || error.code == ErrorCode::kWrongKey ||
         error.code == ErrorCode::kIo;
}

std::size_t ExtentLength(std::uint64_t file_size, std::size_t index) {
  return static_cast<std::size_t>(
      std::min<std::uint64_t>(kExtentSize, file_size - index * std::uint64_t{kExtentSize}));
}

}  // namespace

ExtentCopier::ExtentCopier(const Repository& repository, const BackupWriterOptions& options,
                           BackupProgress& progress, PackUploader& uploader, PageVerifier& verifier)
    : repository_(repository),
      options_(options),
      progress_(progress),
      uploader_(uploader),
      verifier_(verifier),
      limiter_(repository.environment(), progress.max_rate) {}

std::unique_ptr<ExtentCopier::Buffers> ExtentCopier::MakeBuffers() const {
  auto buffers = std::make_unique<Buffers>(repository_.options().compression_level);
  if (options_.full && (options_.full->changed || !options_.full->lsns_tell)) {
    buffers->full_reader.emplace(repository_, [](std::uint64_t) {});
  }
  return buffers;
}

Status ExtentCopier::FindInFull(FileJob& file) const {
  if (!options_.full) {
    return Ok();
  }
  ASSIGN_OR_RETURN(file.in_full, options_.full->index->Find(file.record.path));
  // A file of one page is compared as a whole, whatever its LSN says: that costs nothing. It covers
  // sequences, whose page may be ahead of its last WAL record.
  file.by_page =
      file.in_full && file.relation.is_main_fork && file.record.size > options_.block_size &&
      file.record.size % options_.block_size == 0 &&
      file.in_full->size % options_.block_size == 0 &&
      (file.relation.database == 0 || options_.full->databases.contains(file.relation.database));
  if (file.by_page && options_.full->changed && IsNamedByServer(file)) {
    file.in_wal =
        RelationFile{file.relation.tablespace, file.relation.database, file.relation.number};
  }
  return Ok();
}

// Whether the server's WAL can be about the file. A tablespace that is in place may have
// directories of other versions.
bool ExtentCopier::IsNamedByServer(const FileJob& file) const {
  const RelationPath& relation = file.relation;
  const std::string& path = file.record.path;
  const std::uint64_t segment_size = std::uint64_t{options_.segment_blocks} * options_.block_size;
  const std::uint64_t end =
      (relation.segment + std::uint64_t{1}) * options_.segment_blocks;  // in blocks
  if (relation.number == 0 || relation.tablespace == 0 || file.record.size > segment_size ||
      end > std::numeric_limits<std::uint32_t>::max() + std::uint64_t{1}) {
    return false;
  }
  if (path.starts_with("pg_tblspc/")) {
    return relation.database != 0 &&
           path.starts_with(fmt::format("pg_tblspc/{}/{}/", relation.tablespace,
                                        options_.walk.tablespace_version_directory));
  }
  return (relation.database == 0) == path.starts_with("global/");
}

Status ExtentCopier::Copy(FileJob& file, std::size_t index, Buffers& buffers) {
  RETURN_IF_ERROR(repository_.environment().cancellation->Check());
  const std::size_t length = ExtentLength(file.record.size, index);
  Extent& extent = file.record.extents[index];
  const std::optional<WalChanges::Answer> in_wal = AskWal(file, index, length);
  if (in_wal && IsReadByPage(file.in_full->extents[index], *in_wal)) {
    ASSIGN_OR_RETURN(extent, CopyPages(file, index, in_wal->pages, buffers));
  } else {
    const MutableByteView plain(buffers.plain.data(), length);
    RETURN_IF_ERROR(Read(file, index * std::uint64_t{kExtentSize}, plain));
    ASSIGN_OR_RETURN(extent, StoreWhatChanged(file, index, plain, in_wal, buffers));
  }
  progress_.bytes_done += length;
  return Ok();
}

// What WAL says of an extent that the full backup has in this place. nullopt if it tells nothing.
std::optional<WalChanges::Answer> ExtentCopier::AskWal(const FileJob& file, std::size_t index,
                                                       std::size_t length) const {
  if (!file.in_wal || file.InFullOrHole(index, length) == nullptr) {
    return std::nullopt;
  }
  const std::uint64_t first = file.relation.segment * std::uint64_t{options_.segment_blocks} +
                              index * (kExtentSize / options_.block_size);
  return options_.full->changed->In(*file.in_wal, static_cast<std::uint32_t>(first),
                                    static_cast<std::uint32_t>(length / options_.block_size));
}

// Whether only the pages that WAL names are read, and not the whole extent.
bool ExtentCopier::IsReadByPage(const Extent& in_full, const WalChanges::Answer& in_wal) const {
  const bool is_hole = in_full.pack == 0;
  return !in_wal.all && !in_wal.some &&
         in_wal.pages.size() * options_.block_size <= in_full.length / 2 &&
         (!is_hole || in_wal.pages.empty());
}

// Reads and stores these pages. The rest is as in the full backup.
Result<Extent> ExtentCopier::CopyPages(FileJob& file, std::size_t index, const PageIndexes& pages,
                                       Buffers& buffers) {
  const std::size_t size = options_.block_size;
  for (std::size_t begin = 0, end = 0; begin < pages.size(); begin = end) {
    end = begin + 1;
    while (end < pages.size() && pages[end] == pages[end - 1] + 1) {
      ++end;
    }
    RETURN_IF_ERROR(
        Read(file, index * std::uint64_t{kExtentSize} + pages[begin] * std::uint64_t{size},
             MutableByteView(buffers.plain).subspan(pages[begin] * size, (end - begin) * size)));
  }
  RETURN_IF_ERROR(AddPages(file, index, pages, buffers.plain, buffers));
  return file.in_full->extents[index];
}

// Reads a part of the file, and checks it.
Status ExtentCopier::Read(const FileJob& file, std::uint64_t offset, MutableByteView into) {
  limiter_.Pass(into.size());
  progress_.throttled_us = static_cast<std::uint64_t>(limiter_.waited().count());
  RETURN_IF_ERROR(ReadForBackup(file.file.get(), offset, into, file.source_path));
  if (options_.secrets) {
    if (const std::optional<std::string> found =
            options_.secrets->Find(file.record.path, into, file.source_path)) {
      return SecretInClear(file.record.path, *found);
    }
  }
  if (options_.verify_checksums && file.relation.is_relation) {
    return verifier_.Verify({file.file.get(), file.record.path, file.source_path, file.relation},
                            offset, into);
  }
  return Ok();
}

Status ExtentCopier::StoreRest(FileJob& file, Buffers& buffers) {
  auto rest = file.changed_pages.TakeRest();
  return rest ? StorePages(file, *rest, buffers) : Ok();
}

// In a diff, returns the extent of the full backup where that is the same or nearly the same, and
// stores the pages that differ. Stores all of it otherwise.
Result<Extent> ExtentCopier::StoreWhatChanged(FileJob& file, std::size_t index, ByteView plain,
                                              const std::optional<WalChanges::Answer>& in_wal,
                                              Buffers& buffers) {
  const Extent* const in_full = file.InFull(index, plain.size());
  if (in_full == nullptr) {
    return Store(plain, buffers);
  }
  // WAL names all or most of the pages, unless it names only a group in which some have changed.
  if (!file.by_page || (in_wal && !in_wal->some)) {
    return IsSame(*in_full, plain) ? *in_full : Store(plain, buffers);
  }
  ASSIGN_OR_RETURN(const std::optional<PageIndexes> changed,
                   options_.full->lsns_tell && !in_wal
                       ? FindChangesSinceFull(*in_full, plain)
                       : CompareWithFull(file.source_path, *in_full, plain, buffers));
  if (!changed || IsMostOf(*changed, plain)) {
    // Otherwise a restore would fetch the other half from the full backup. A whole extent is
    // cheaper to restore, and compresses better.
    return Store(plain, buffers);
  }
  RETURN_IF_ERROR(AddPages(file, index, *changed, plain, buffers));
  return *in_full;
}

// `plain` is the extent; only these pages of it are looked at.
Status ExtentCopier::AddPages(FileJob& file, std::size_t index, const PageIndexes& pages,
                              ByteView plain, Buffers& buffers) {
  const auto first_page = static_cast<std::uint32_t>(index * (kExtentSize / options_.block_size));
  for (const std::uint32_t page : pages) {
    if (auto batch = file.changed_pages.Add(
            first_page + page,
            plain.subspan(std::size_t{page} * options_.block_size, options_.block_size))) {
      RETURN_IF_ERROR(StorePages(file, *batch, buffers));
    }
  }
  return Ok();
}

// By the method of the full's pack, which another version may have made.
bool ExtentCopier::IsSame(const Extent& in_full, ByteView plain) const {
  const PackRecord* const pack = options_.full->index->FindPack(in_full.pack);
  return pack != nullptr &&
         DigestExtent(plain, pack->digest, repository_.seal_policy().key.get()) == in_full.digest;
}

bool ExtentCopier::IsMostOf(const PageIndexes& pages, ByteView plain) const {
  return pages.size() * options_.block_size > plain.size() / 2;
}

// Goes by LSNs. Pages whose LSN does not tell count as changed, unless the whole extent is the
// same.
Result<std::optional<PageIndexes>> ExtentCopier::FindChangesSinceFull(const Extent& in_full,
                                                                      ByteView plain) const {
  ChangesByLsn changes = FindChangesByLsn(plain, options_.block_size, options_.full->start_lsn,
                                          options_.full->first_lsn);
  if (changes.unknown.empty()) {
    return std::move(changes.changed);
  }
  if (IsSame(in_full, plain)) {
    return PageIndexes();
  }
  PageIndexes pages;
  std::ranges::merge(changes.changed, changes.unknown, std::back_inserter(pages));
  return pages;
}

// Goes by contents. Returns nothing when the region is to be stored whole: most of it seems to have
// changed, or the full backup cannot be read.
Result<std::optional<PageIndexes>> ExtentCopier::CompareWithFull(const std::string& path,
                                                                 const Extent& in_full,
                                                                 ByteView plain, Buffers& buffers) {
  if (IsSame(in_full, plain)) {
    return PageIndexes();
  }
  // LSNs are good enough for a guess: what is stored whole is always right.
  const ChangesByLsn guess = FindChangesByLsn(plain, options_.block_size, options_.full->start_lsn,
                                              options_.full->first_lsn);
  const PackRecord* const pack = options_.full->index->FindPack(in_full.pack);
  if (IsMostOf(guess.changed, plain) || pack == nullptr || IsKnownAsDamaged(in_full.pack)) {
    return std::nullopt;
  }
  std::optional<PageIndexes> differing;
  const Status read = buffers.full_reader->Read(
      PackName(options_.full->label, pack->number), *pack, {&in_full, 1},
      [&](std::size_t, ByteView before) -> Status {
        differing = FindDifferingPages(plain, before, options_.block_size);
        return Ok();
      });
  if (!read && !IsDamage(read.error())) {
    return read.error();
  }
  if (!read) {
    WarnOfDamage(pack->number, path, read.error());
    return std::nullopt;
  }
  return differing;
}

bool ExtentCopier::IsKnownAsDamaged(std::uint32_t pack) {
  const std::lock_guard lock(damaged_mutex_);
  return damaged_packs_.contains(pack);
}

// Warns once: a verification names the rest.
void ExtentCopier::WarnOfDamage(std::uint32_t pack, const std::string& path, const Error& error) {
  {
    const std::lock_guard lock(damaged_mutex_);
    damaged_packs_.insert(pack);
    if (std::exchange(warned_of_damage_, true)) {
      return;
    }
  }
  options_.warn(fmt::format(
      "full backup \"{}\", which this diff refers to, is damaged: {}. The changed parts of file "
      "\"{}\" are stored in the diff, but the unchanged ones are in the full backup only. Run "
      "\"vezactl verify --full\", and take a new full backup.",
      options_.full->label, error.message, path));
}

Status ExtentCopier::StorePages(FileJob& file, PageCollector::Batch& batch, Buffers& buffers) {
  ASSIGN_OR_RETURN(Extent extent, StoreContent(batch.content, buffers));
  const std::lock_guard lock(file.pages_mutex);
  file.record.pages.push_back({extent, std::move(batch.runs)});
  return Ok();
}

Result<Extent> ExtentCopier::Store(ByteView plain, Buffers& buffers) {
  if (IsAllZero(plain)) {
    return Extent{.length = static_cast<std::uint32_t>(plain.size())};
  }
  return StoreContent(plain, buffers);
}

Result<Extent> ExtentCopier::StoreContent(ByteView plain, Buffers& buffers) {
  Extent extent;
  RETURN_IF_ERROR(buffers.compressor.Compress(plain, buffers.compressed));
  if (buffers.compressed.size() < plain.size()) {
    ASSIGN_OR_RETURN(extent, uploader_.Add(0, buffers.compressed));
  } else {
    ASSIGN_OR_RETURN(extent, uploader_.Add(kFrameStored, plain));
  }
  extent.digest =
      DigestExtent(plain, repository_.digest_method(), repository_.seal_policy().key.get());
  extent.length = static_cast<std::uint32_t>(plain.size());
  return extent;
}

}  // namespace veza
