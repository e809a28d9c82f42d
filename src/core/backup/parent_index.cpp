#include "core/backup/parent_index.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <string_view>

#include "core/repository/names.h"
#include "core/repository/pack_list.h"
#include "core/storage/body.h"
#include "core/storage/file_io.h"

namespace veza {

namespace {

constexpr std::size_t kFlushSize = 1U << 20;

// A record in the file: this head, the path, the extents as they are in memory, and of each page
// extent its extent, the number of its runs, and the runs.
struct RecordHead {
  std::uint64_t size = 0;
  std::uint32_t path_length = 0;
  std::uint32_t extents = 0;
  std::uint64_t pages = 0;
};

// The place of a pack in the order of packs().
std::pair<std::uint32_t, std::uint32_t> IdOf(const PackRecord& pack) {
  return {pack.source, pack.number};
}

// From the parent's numbers to those of ParentIndex::sources().
std::uint32_t Renumbered(std::uint32_t source) {
  return source + 1;
}

void Renumber(Extent& extent) {
  extent.source = extent.pack == 0 ? 0 : Renumbered(extent.source);
}

std::uint64_t HashOf(const std::string& path) {
  return std::hash<std::string>()(path);
}

void AppendRaw(Bytes& to, const void* from, std::size_t size) {
  const auto* const bytes = static_cast<const std::uint8_t*>(from);
  to.insert(to.end(), bytes, bytes + size);
}

Status ReadAt(int fd, std::uint64_t offset, void* into, std::size_t size,
              const std::string& directory) {
  auto* to = static_cast<char*>(into);
  while (size > 0) {
    const ssize_t count = pread(fd, to, size, static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      return ErrnoError(count < 0 ? errno : EIO,
                        fmt::format("could not read a temporary file in \"{}\"", directory));
    }
    to += count;
    offset += static_cast<std::uint64_t>(count);
    size -= static_cast<std::size_t>(count);
  }
  return Ok();
}

}  // namespace

Result<std::unique_ptr<ParentIndex>> ParentIndex::Load(const Repository& repository,
                                                       const BackupSummary& parent) {
  std::unique_ptr<ParentIndex> index(new ParentIndex());
  index->sources_ = parent.sources;
  index->sources_.insert(index->sources_.begin(), {parent.label, parent.manifest_sha256});
  index->directory_ = repository.options().spill_directory;
  ASSIGN_OR_RETURN(index->fd_, OpenUnnamedFile(index->directory_));
  RETURN_IF_ERROR(ReadManifest(repository, parent, [&](ManifestRecord&& record) -> Status {
    RETURN_IF_ERROR(repository.environment().cancellation->Check());
    return index->Take(std::move(record));
  }));
  RETURN_IF_ERROR(index->FlushBuffer());
  Bytes().swap(index->buffer_);
  std::sort(index->places_.begin(), index->places_.end());
  std::ranges::sort(index->packs_, {}, IdOf);
  return index;
}

Status ParentIndex::Take(ManifestRecord&& record) {
  if (const auto* const file = std::get_if<FileRecord>(&record)) {
    return Append(*file);
  }
  if (const auto* const pack = std::get_if<PackRecord>(&record)) {
    packs_.push_back(*pack);
    packs_.back().source = Renumbered(pack->source);
  }
  return Ok();
}

Status ParentIndex::Append(const FileRecord& file) {
  places_.emplace_back(HashOf(file.path), written_ + buffer_.size());
  const RecordHead head{file.size, static_cast<std::uint32_t>(file.path.size()),
                        static_cast<std::uint32_t>(file.extents.size()), file.pages.size()};
  AppendRaw(buffer_, &head, sizeof head);
  AppendRaw(buffer_, file.path.data(), file.path.size());
  AppendRaw(buffer_, file.extents.data(), file.extents.size() * sizeof(Extent));
  for (const PageExtent& pages : file.pages) {
    const std::uint64_t runs = pages.runs.size();
    AppendRaw(buffer_, &pages.extent, sizeof(Extent));
    AppendRaw(buffer_, &runs, sizeof runs);
    AppendRaw(buffer_, pages.runs.data(), runs * sizeof(PageRun));
  }
  return buffer_.size() >= kFlushSize ? FlushBuffer() : Ok();
}

Status ParentIndex::FlushBuffer() {
  RETURN_IF_ERROR(WriteAllAt(fd_.get(), written_, buffer_,
                             fmt::format("to a temporary file in \"{}\"", directory_)));
  written_ += buffer_.size();
  buffer_.clear();
  return Ok();
}

const PackRecord* ParentIndex::FindPack(const Extent& extent) const {
  const std::pair wanted(extent.source, extent.pack);
  const auto pack = std::ranges::lower_bound(packs_, wanted, {}, IdOf);
  return pack != packs_.end() && IdOf(*pack) == wanted ? &*pack : nullptr;
}

Status ParentIndex::RequirePacks(const Repository& repository) const {
  NamedPacks named;
  for (const PackRecord& pack : packs_) {
    named.Add(pack);
  }
  return named.RequireAll(repository,
                          [this](std::uint32_t source) { return sources_[source - 1].label; });
}

std::string ParentIndex::NameOf(const PackRecord& pack) const {
  return PackName(sources_[pack.source - 1].label, pack.number);
}

Result<std::optional<FileRecord>> ParentIndex::Find(const std::string& path) const {
  static_assert(std::is_trivially_copyable_v<Extent> && std::is_trivially_copyable_v<PageRun>,
                "they are kept as they are in memory");
  const std::uint64_t hash = HashOf(path);
  for (auto place = std::lower_bound(places_.begin(), places_.end(), std::pair(hash, 0UL));
       place != places_.end() && place->first == hash; ++place) {
    std::uint64_t offset = place->second;
    const auto read = [&](void* into, std::size_t size) {
      Status status = ReadAt(fd_.get(), offset, into, size, directory_);
      offset += size;
      return status;
    };
    RecordHead head;
    RETURN_IF_ERROR(read(&head, sizeof head));
    FileRecord file;
    file.path.resize(head.path_length);
    RETURN_IF_ERROR(read(file.path.data(), head.path_length));
    if (file.path != path) {
      continue;
    }
    file.size = head.size;
    file.extents.resize(head.extents);
    RETURN_IF_ERROR(read(file.extents.data(), head.extents * sizeof(Extent)));
    file.pages.resize(head.pages);
    for (PageExtent& pages : file.pages) {
      std::uint64_t runs = 0;
      RETURN_IF_ERROR(read(&pages.extent, sizeof(Extent)));
      RETURN_IF_ERROR(read(&runs, sizeof runs));
      pages.runs.resize(runs);
      RETURN_IF_ERROR(read(pages.runs.data(), runs * sizeof(PageRun)));
      Renumber(pages.extent);
    }
    std::ranges::for_each(file.extents, Renumber);
    return file;
  }
  return std::nullopt;
}

bool IsDamageOfParent(const Error& error) {
  return error.code == ErrorCode::kDataCorrupted || error.code == ErrorCode::kNotFound ||
         error.code == ErrorCode::kUnsupported || error.code == ErrorCode::kWrongKey;
}

}  // namespace veza
