#include "core/backup/parent_index.h"

#include <unistd.h>

#include <algorithm>
#include <array>
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

// Reads values one after the other from a file of `size` bytes. Nearly every record is short, and
// comes with the first piece.
class RecordReader {
 public:
  RecordReader(int fd, std::uint64_t offset, std::uint64_t size, const std::string& directory)
      : fd_(fd), next_(offset), size_(size), directory_(directory) {}

  Status Read(void* into, std::size_t size) {
    auto* to = static_cast<std::uint8_t*>(into);
    while (size > 0) {
      if (at_ == held_) {
        RETURN_IF_ERROR(Fill());
      }
      const std::size_t count = std::min(size, held_ - at_);
      std::copy_n(piece_.data() + at_, count, to);
      to += count;
      at_ += count;
      size -= count;
    }
    return Ok();
  }

 private:
  Status Fill() {
    ssize_t count = 0;
    do {
      count = pread(fd_, piece_.data(), std::min<std::uint64_t>(piece_.size(), size_ - next_),
                    static_cast<off_t>(next_));
    } while (count < 0 && errno == EINTR);
    if (count <= 0) {
      return ErrnoError(count < 0 ? errno : EIO,
                        fmt::format("could not read a temporary file in \"{}\"", directory_));
    }
    next_ += static_cast<std::uint64_t>(count);
    held_ = static_cast<std::size_t>(count);
    at_ = 0;
    return Ok();
  }

  const int fd_;
  std::uint64_t next_;
  const std::uint64_t size_;
  const std::string& directory_;
  std::array<std::uint8_t, 512> piece_;
  std::size_t held_ = 0;
  std::size_t at_ = 0;
};

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
    RecordReader reader(fd_.get(), place->second, written_, directory_);
    RecordHead head;
    RETURN_IF_ERROR(reader.Read(&head, sizeof head));
    FileRecord file;
    file.path.resize(head.path_length);
    RETURN_IF_ERROR(reader.Read(file.path.data(), head.path_length));
    if (file.path != path) {
      continue;
    }
    file.size = head.size;
    file.extents.resize(head.extents);
    RETURN_IF_ERROR(reader.Read(file.extents.data(), head.extents * sizeof(Extent)));
    file.pages.resize(head.pages);
    for (PageExtent& pages : file.pages) {
      std::uint64_t runs = 0;
      RETURN_IF_ERROR(reader.Read(&pages.extent, sizeof(Extent)));
      RETURN_IF_ERROR(reader.Read(&runs, sizeof runs));
      pages.runs.resize(runs);
      RETURN_IF_ERROR(reader.Read(pages.runs.data(), runs * sizeof(PageRun)));
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
