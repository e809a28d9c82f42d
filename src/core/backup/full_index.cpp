#include "core/backup/full_index.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <string_view>

#include "core/storage/body.h"
#include "core/storage/file_io.h"

namespace veza {

namespace {

constexpr std::size_t kFlushSize = 1U << 20;

// A record in the file: this head, the path, the extents as they are in memory.
struct RecordHead {
  std::uint64_t size = 0;
  std::uint32_t path_length = 0;
  std::uint32_t extents = 0;
};

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

Result<std::unique_ptr<FullIndex>> FullIndex::Load(const Repository& repository,
                                                   const BackupSummary& full) {
  std::unique_ptr<FullIndex> index(new FullIndex());
  index->directory_ = repository.options().spill_directory;
  ASSIGN_OR_RETURN(index->fd_, OpenUnnamedFile(index->directory_));
  RETURN_IF_ERROR(ReadManifest(repository, full, [&](ManifestRecord&& record) -> Status {
    RETURN_IF_ERROR(repository.environment().cancellation->Check());
    return index->Take(std::move(record));
  }));
  RETURN_IF_ERROR(index->FlushBuffer());
  Bytes().swap(index->buffer_);
  std::sort(index->places_.begin(), index->places_.end());
  std::ranges::sort(index->packs_, {}, &PackRecord::number);
  return index;
}

Status FullIndex::Take(ManifestRecord&& record) {
  if (const auto* const file = std::get_if<FileRecord>(&record)) {
    return Append(*file);
  }
  if (const auto* const pack = std::get_if<PackRecord>(&record)) {
    packs_.push_back(*pack);
    packs_.back().of_full = true;
  }
  return Ok();
}

Status FullIndex::Append(const FileRecord& file) {
  places_.emplace_back(HashOf(file.path), written_ + buffer_.size());
  const RecordHead head{file.size, static_cast<std::uint32_t>(file.path.size()),
                        static_cast<std::uint32_t>(file.extents.size())};
  AppendRaw(buffer_, &head, sizeof head);
  AppendRaw(buffer_, file.path.data(), file.path.size());
  AppendRaw(buffer_, file.extents.data(), file.extents.size() * sizeof(Extent));
  return buffer_.size() >= kFlushSize ? FlushBuffer() : Ok();
}

Status FullIndex::FlushBuffer() {
  RETURN_IF_ERROR(WriteAllAt(fd_.get(), written_, buffer_,
                             fmt::format("to a temporary file in \"{}\"", directory_)));
  written_ += buffer_.size();
  buffer_.clear();
  return Ok();
}

const PackRecord* FullIndex::FindPack(std::uint32_t number) const {
  const auto pack = std::ranges::lower_bound(packs_, number, {}, &PackRecord::number);
  return pack != packs_.end() && pack->number == number ? &*pack : nullptr;
}

Result<std::optional<FileRecord>> FullIndex::Find(const std::string& path) const {
  static_assert(std::is_trivially_copyable_v<Extent>, "extents are kept as they are in memory");
  const std::uint64_t hash = HashOf(path);
  for (auto place = std::lower_bound(places_.begin(), places_.end(), std::pair(hash, 0UL));
       place != places_.end() && place->first == hash; ++place) {
    RecordHead head;
    RETURN_IF_ERROR(ReadAt(fd_.get(), place->second, &head, sizeof head, directory_));
    FileRecord file;
    file.path.resize(head.path_length);
    RETURN_IF_ERROR(ReadAt(fd_.get(), place->second + sizeof head, file.path.data(),
                           head.path_length, directory_));
    if (file.path != path) {
      continue;
    }
    file.size = head.size;
    file.extents.resize(head.extents);
    RETURN_IF_ERROR(ReadAt(fd_.get(), place->second + sizeof head + head.path_length,
                           file.extents.data(), head.extents * sizeof(Extent), directory_));
    for (Extent& extent : file.extents) {
      extent.of_full = extent.pack != 0;
    }
    return file;
  }
  return std::nullopt;
}

}  // namespace veza
