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

std::size_t ExtentLength(std::uint64_t file_size, std::size_t index) {
  return static_cast<std::size_t>(
      std::min<std::uint64_t>(kExtentSize, file_size - index * std::uint64_t{kExtentSize}));
}

// Adds a page to the runs of a page extent, in which it has place `at`.
void AppendPage(std::vector<PageRun>& runs, std::uint32_t page, std::uint32_t at) {
  if (!runs.empty() && runs.back().first + runs.back().count == page &&
      runs.back().at + runs.back().count == at) {
    ++runs.back().count;
  } else {
    runs.push_back({page, 1, at});
  }
}

// Whether each extent is where its index says. A hostile manifest may have shorter ones in between.
bool IsRegular(const FileRecord& file) {
  const auto is_whole = [](const Extent& extent) { return extent.length == kExtentSize; };
  return file.extents.empty() ||
         std::all_of(file.extents.begin(), std::prev(file.extents.end()), is_whole);
}

// What page extents say of the pages before `end`.
std::vector<ReplacedPage> PagesBefore(std::uint64_t end, const std::vector<PageExtent>& extents) {
  std::vector<ReplacedPage> pages;
  for (std::uint32_t extent = 0; extent < extents.size(); ++extent) {
    for (const PageRun& run : extents[extent].runs) {
      for (std::uint32_t i = 0; i < run.count && run.first + i < end; ++i) {
        pages.push_back({run.first + i, extent, run.at + i});
      }
    }
  }
  std::ranges::sort(pages, {}, &ReplacedPage::page);
  return pages;
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
  if (options_.parent && (options_.parent->changed || !options_.parent->lsns_tell)) {
    buffers->reader.emplace(repository_, [](std::uint64_t) {});
    buffers->before.resize(kExtentSize);
  }
  return buffers;
}

Status ExtentCopier::FindInParent(FileJob& file) const {
  if (!options_.parent) {
    return Ok();
  }
  ASSIGN_OR_RETURN(file.in_parent, options_.parent->index->Find(file.record.path));
  file.in_wal.reset();
  file.replaced.clear();
  if (file.in_parent && !IsRegular(*file.in_parent)) {
    file.in_parent.reset();
  }
  // A file of one page is compared as a whole, whatever its LSN says: that costs nothing. It covers
  // sequences, whose page may be ahead of its last WAL record.
  file.by_page =
      file.in_parent && file.relation.is_main_fork && file.record.size > options_.block_size &&
      file.record.size % options_.block_size == 0 &&
      file.in_parent->size % options_.block_size == 0 &&
      (file.relation.database == 0 || options_.parent->databases.contains(file.relation.database));
  if (file.by_page && options_.parent->changed && IsNamedByServer(file)) {
    file.in_wal =
        RelationFile{file.relation.tablespace, file.relation.database, file.relation.number};
  }
  if (file.by_page) {
    file.replaced = PagesBefore(file.record.size / options_.block_size, file.in_parent->pages);
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
  if (in_wal && IsReadByPage(file, index, *in_wal)) {
    ASSIGN_OR_RETURN(extent, CopyPages(file, index, in_wal->pages, buffers));
  } else {
    const MutableByteView plain(buffers.plain.data(), length);
    RETURN_IF_ERROR(Read(file, index * std::uint64_t{kExtentSize}, plain));
    ASSIGN_OR_RETURN(extent, StoreWhatChanged(file, index, plain, in_wal, buffers));
  }
  progress_.bytes_done += length;
  return Ok();
}

bool ExtentCopier::TakeOver(FileJob& file) const {
  if (!file.in_wal || file.record.size != file.in_parent->size) {
    return false;
  }
  const std::size_t extents = file.in_parent->extents.size();
  for (std::size_t index = 0; index < extents; ++index) {
    const auto in_wal = AskWal(file, index, ExtentLength(file.record.size, index));
    if (!in_wal || in_wal->all || in_wal->some || !in_wal->pages.empty()) {
      return false;
    }
  }
  file.record.extents = file.in_parent->extents;
  file.record.pages = file.in_parent->pages;
  progress_.bytes_done += file.record.size;
  return true;
}

// What WAL says of an extent that the parent has in this place. nullopt if it tells nothing.
std::optional<WalChanges::Answer> ExtentCopier::AskWal(const FileJob& file, std::size_t index,
                                                       std::size_t length) const {
  if (!file.in_wal || file.InParentOrHole(index, length) == nullptr) {
    return std::nullopt;
  }
  const std::uint64_t first = file.relation.segment * std::uint64_t{options_.segment_blocks} +
                              index * (kExtentSize / options_.block_size);
  return options_.parent->changed->In(*file.in_wal, static_cast<std::uint32_t>(first),
                                      static_cast<std::uint32_t>(length / options_.block_size));
}

// Whether only the pages that WAL names are read, and not the whole extent.
bool ExtentCopier::IsReadByPage(const FileJob& file, std::size_t index,
                                const WalChanges::Answer& in_wal) const {
  const Extent& before = file.in_parent->extents[index];
  const bool is_hole = before.pack == 0;
  return !in_wal.all && !in_wal.some && (!is_hole || in_wal.pages.empty()) &&
         !IsMostOf(in_wal.pages, index, ReplacedIn(file, index, before.length), before.length);
}

// Reads and stores these pages. The rest is as the parent has it.
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
  file.inherits[index] = 1;
  return file.in_parent->extents[index];
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
  if (auto rest = file.changed_pages.TakeRest()) {
    RETURN_IF_ERROR(StorePages(file, *rest, buffers));
  }
  CarryPages(file);
  return Ok();
}

// In a diff or an incr, returns the extent of the parent where that is the same or nearly the same,
// and stores the pages that differ. Stores all of it otherwise.
Result<Extent> ExtentCopier::StoreWhatChanged(FileJob& file, std::size_t index, ByteView plain,
                                              const std::optional<WalChanges::Answer>& in_wal,
                                              Buffers& buffers) {
  const Extent* const in_parent = file.InParent(index, plain.size());
  if (in_parent == nullptr) {
    return Store(plain, buffers);
  }
  // WAL names all or most of the pages, unless it names only a group in which some have changed.
  if (!file.by_page || (in_wal && !in_wal->some)) {
    return IsSame(*in_parent, plain) ? *in_parent : Store(plain, buffers);
  }
  const Before before{file, index, *in_parent, ReplacedIn(file, index, plain.size())};
  if (!before.replaced.empty() && IsSame(*in_parent, plain)) {
    return *in_parent;  // as it was before those pages changed
  }
  std::optional<PageIndexes> changed;
  if (options_.parent->lsns_tell && !in_wal) {
    changed = FindChangesByLsnSince(before, plain);
  } else {
    ASSIGN_OR_RETURN(changed, Compare(before, plain, buffers));
  }
  if (!changed || IsMostOf(*changed, index, before.replaced, plain.size())) {
    // Otherwise a restore would fetch the other half from another backup. A whole extent is cheaper
    // to restore, and compresses better.
    return Store(plain, buffers);
  }
  RETURN_IF_ERROR(AddPages(file, index, *changed, plain, buffers));
  file.inherits[index] = 1;
  return *in_parent;
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

// The pages of an extent that the parent has in page extents.
std::span<const ReplacedPage> ExtentCopier::ReplacedIn(const FileJob& file, std::size_t index,
                                                       std::size_t length) const {
  const std::uint64_t first = index * (kExtentSize / options_.block_size);
  const std::uint64_t end = first + length / options_.block_size;
  const auto begin = std::ranges::lower_bound(file.replaced, first, {}, &ReplacedPage::page);
  return {begin,
          std::ranges::lower_bound(begin, file.replaced.end(), end, {}, &ReplacedPage::page)};
}

// By the method of the pack, which another version may have made.
bool ExtentCopier::IsSame(const Extent& before, ByteView plain) const {
  const PackRecord* const pack = options_.parent->index->FindPack(before);
  return pack != nullptr &&
         DigestExtent(plain, pack->digest, repository_.seal_policy().key.get()) == before.digest;
}

// Whether these pages, and those that the parent has replaced, are more than half of the extent.
bool ExtentCopier::IsMostOf(const PageIndexes& pages, std::size_t index,
                            std::span<const ReplacedPage> replaced, std::size_t length) const {
  const std::size_t first = index * (kExtentSize / options_.block_size);
  const auto only_replaced = std::ranges::count_if(replaced, [&](const ReplacedPage& one) {
    return !std::ranges::binary_search(pages, one.page - first);
  });
  return (pages.size() + static_cast<std::size_t>(only_replaced)) * options_.block_size >
         length / 2;
}

// Pages whose LSN does not tell count as changed, unless the whole extent is the same.
PageIndexes ExtentCopier::FindChangesByLsnSince(const Before& before, ByteView plain) const {
  ChangesByLsn changes = FindChangesByLsn(plain, options_.block_size, options_.parent->start_lsn,
                                          options_.parent->first_lsn);
  if (changes.unknown.empty()) {
    return std::move(changes.changed);
  }
  if (before.replaced.empty() && IsSame(before.extent, plain)) {
    return {};
  }
  PageIndexes pages;
  std::ranges::merge(changes.changed, changes.unknown, std::back_inserter(pages));
  return pages;
}

// Goes by contents. Returns nothing when the region is to be stored whole: most of it seems to have
// changed, or what the parent has cannot be read.
Result<std::optional<PageIndexes>> ExtentCopier::Compare(const Before& before, ByteView plain,
                                                         Buffers& buffers) {
  if (before.replaced.empty() && IsSame(before.extent, plain)) {
    return PageIndexes();
  }
  // LSNs are good enough for a guess: what is stored whole is always right.
  const ChangesByLsn guess = FindChangesByLsn(
      plain, options_.block_size, options_.parent->start_lsn, options_.parent->first_lsn);
  if (IsMostOf(guess.changed, before.index, before.replaced, plain.size()) ||
      !AreInFew(before.replaced)) {
    return std::nullopt;
  }
  const PackRecord* pack = nullptr;
  const Status read = Rebuild(before, buffers, &pack);
  // Of a repository in a directory, kIo is an object that the disk cannot read.
  if (!read && !IsDamageOfParent(read.error()) && read.error().code != ErrorCode::kIo) {
    return read.error();
  }
  if (!read) {
    if (pack != nullptr) {
      WarnOfDamage(*pack, before.file.source_path, read.error());
    }
    return std::nullopt;
  }
  return FindDifferingPages(plain, ByteView(buffers.before).first(plain.size()),
                            options_.block_size);
}

// Whether reading the pages takes no more page extents than are kept. Of a long chain of incrs each
// may have one for this extent, and all of it would be fetched again and again.
bool ExtentCopier::AreInFew(std::span<const ReplacedPage> pages) {
  std::set<std::uint32_t> extents;
  for (const ReplacedPage& one : pages) {
    extents.insert(one.extent);
  }
  return extents.size() <= PageExtentCache::kMost;
}

// Reads the extent as the parent has it, from wherever that is, into buffers.before. `read` is the
// pack that was read last.
Status ExtentCopier::Rebuild(const Before& before, Buffers& buffers, const PackRecord** read) {
  const ParentIndex& index = *options_.parent->index;
  const auto fetch = [&](const Extent& extent, const auto& take) -> Status {
    *read = index.FindPack(extent);
    if (*read == nullptr || IsKnownAsDamaged(**read)) {
      return MakeError(ErrorCode::kDataCorrupted, "pack {} cannot be read", extent.pack);
    }
    return buffers.reader->Read(index.NameOf(**read), **read, {&extent, 1},
                                [&](std::size_t, ByteView content) -> Status {
                                  take(content);
                                  return Ok();
                                });
  };
  RETURN_IF_ERROR(fetch(before.extent, [&](ByteView content) {
    std::ranges::copy(content, buffers.before.begin());
  }));
  const std::size_t size = options_.block_size;
  const std::size_t first = before.index * (kExtentSize / size);
  for (const ReplacedPage& one : before.replaced) {
    const Extent& extent = before.file.in_parent->pages[one.extent].extent;
    const Bytes* content = buffers.pages.Find(extent);
    if (content == nullptr) {
      RETURN_IF_ERROR(
          fetch(extent, [&](ByteView fetched) { content = buffers.pages.Keep(extent, fetched); }));
    }
    if ((one.at + std::size_t{1}) * size > content->size()) {
      return MakeError(ErrorCode::kDataCorrupted, "pack {} has less than its manifest says",
                       extent.pack);
    }
    std::ranges::copy(
        ByteView(*content).subspan(one.at * size, size),
        buffers.before.begin() + static_cast<std::ptrdiff_t>((one.page - first) * size));
  }
  return Ok();
}

// Takes over the pages of the parent's page extents that are as they were.
void ExtentCopier::CarryPages(FileJob& file) const {
  if (!file.in_parent || file.in_parent->pages.empty()) {
    return;
  }
  std::vector<bool> stored(file.record.size / options_.block_size + 1);  // by this backup itself
  for (const PageExtent& pages : file.record.pages) {
    for (const PageRun& run : pages.runs) {
      std::fill_n(stored.begin() + run.first, run.count, true);
    }
  }
  const std::size_t pages_of_extent = kExtentSize / options_.block_size;
  const auto is_as_it_was = [&](std::uint32_t page) {
    const std::size_t index = page / pages_of_extent;
    return index < file.inherits.size() && file.inherits[index] != 0 && !stored[page];
  };
  for (const PageExtent& pages : file.in_parent->pages) {
    PageExtent carried{pages.extent, {}};
    for (const PageRun& run : pages.runs) {
      for (std::uint32_t i = 0; i < run.count; ++i) {
        if (is_as_it_was(run.first + i)) {
          AppendPage(carried.runs, run.first + i, run.at + i);
        }
      }
    }
    if (!carried.runs.empty()) {
      file.record.pages.push_back(std::move(carried));
    }
  }
}

bool ExtentCopier::IsKnownAsDamaged(const PackRecord& pack) {
  const std::lock_guard lock(damaged_mutex_);
  return damaged_packs_.contains(options_.parent->index->NameOf(pack));
}

// Warns once: a verification names the rest.
void ExtentCopier::WarnOfDamage(const PackRecord& pack, const std::string& path,
                                const Error& error) {
  {
    const std::lock_guard lock(damaged_mutex_);
    damaged_packs_.insert(options_.parent->index->NameOf(pack));
    if (std::exchange(warned_of_damage_, true)) {
      return;
    }
  }
  const std::string damaged = NameBackup(options_.parent->index->sources()[pack.source - 1].label);
  const char* const type =
      BackupTypeName(ParseLabel(options_.label).value_or(LabelParts{BackupType::kDiff, ""}).type);
  options_.warn(fmt::format(
      "{}, which this {} refers to, is damaged: {}. The changed parts of file \"{}\" are stored in "
      "the {}, but the unchanged ones are in {} only. Run \"vezactl verify --full\", and take a "
      "new "
      "full backup.",
      damaged, type, error.message, path, type, damaged));
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
