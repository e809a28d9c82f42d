#include "core/storage/body.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "core/storage/file_io.h"

namespace veza {

Result<UniqueFd> OpenUnnamedFile(const std::string& directory) {
  UniqueFd fd(open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  if (!fd.valid() && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
    std::string name = directory + "/.veza-tmp-XXXXXX";
    fd.Reset(mkostemp(name.data(), O_CLOEXEC));
    if (fd.valid() && unlink(name.c_str()) != 0) {
      return ErrnoError(errno, fmt::format("could not remove file \"{}\"", name));
    }
  }
  if (!fd.valid()) {
    return ErrnoError(errno, fmt::format("could not create a temporary file in \"{}\"", directory));
  }
  return fd;
}

Result<std::size_t> MemoryBody::Read(MutableByteView into) {
  const std::size_t count = std::min(into.size(), bytes_.size() - position_);
  std::copy_n(bytes_.data() + position_, count, into.data());
  position_ += count;
  return count;
}

Result<std::size_t> RepeatedBody::Read(MutableByteView into) {
  const auto at = static_cast<std::size_t>(position_ % bytes_.size());
  const auto count = static_cast<std::size_t>(
      std::min<std::uint64_t>({into.size(), bytes_.size() - at, size_ - position_}));
  std::copy_n(bytes_.data() + at, count, into.data());
  position_ += count;
  return count;
}

Result<std::size_t> CountedBody::Read(MutableByteView into) {
  ASSIGN_OR_RETURN(const std::size_t count, body_.Read(into));
  moved_ += count;
  return count;
}

SpillBody::SpillBody(std::string directory, std::size_t memory_limit)
    : directory_(std::move(directory)), memory_limit_(memory_limit) {}

Status SpillBody::Append(ByteView bytes) {
  if (!spilled() && memory_.size() + bytes.size() <= memory_limit_) {
    memory_.insert(memory_.end(), bytes.begin(), bytes.end());
    appended_ += bytes.size();
    return Ok();
  }
  if (!spilled()) {
    ASSIGN_OR_RETURN(fd_, OpenUnnamedFile(directory_));
    RETURN_IF_ERROR(WriteAt(memory_, 0));
    Bytes().swap(memory_);
  }
  RETURN_IF_ERROR(WriteAt(bytes, appended_));
  appended_ += bytes.size();
  return Ok();
}

void SpillBody::Reserve(std::size_t bytes) {
  if (!spilled() && memory_.size() + bytes <= memory_limit_) {
    memory_.reserve(memory_.size() + bytes);
  }
}

Status SpillBody::WriteAt(ByteView bytes, std::uint64_t offset) {
  return WriteAllAt(fd_.get(), offset, bytes, "to a temporary file in \"" + directory_ + "\"");
}

Status SpillBody::Rewind() {
  position_ = 0;
  return Ok();
}

Result<std::size_t> SpillBody::Read(MutableByteView into) {
  if (position_ < prefix_.size()) {
    const std::size_t count = std::min(into.size(), prefix_.size() - position_);
    std::copy_n(prefix_.data() + position_, count, into.data());
    position_ += count;
    return count;
  }
  const std::uint64_t offset = position_ - prefix_.size();
  const auto wanted =
      static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), appended_ - offset));
  if (wanted == 0) {
    return 0;
  }
  if (!spilled()) {
    std::copy_n(memory_.data() + offset, wanted, into.data());
    position_ += wanted;
    return wanted;
  }
  for (;;) {
    const ssize_t count = pread(fd_.get(), into.data(), wanted, static_cast<off_t>(offset));
    if (count > 0) {
      position_ += static_cast<std::uint64_t>(count);
      return static_cast<std::size_t>(count);
    }
    if (count == 0) {
      return MakeError(ErrorCode::kIo, "a temporary file in \"{}\" ended early", directory_);
    }
    if (errno != EINTR) {
      return ErrnoError(errno,
                        fmt::format("could not read a temporary file in \"{}\"", directory_));
    }
  }
}

}  // namespace veza
