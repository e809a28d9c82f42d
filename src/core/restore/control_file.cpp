#include "core/restore/control_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

#include "core/bytes.h"
#include "core/codec/crc32c.h"
#include "core/storage/unique_fd.h"

namespace veza {

namespace {

// PG_CONTROL_MAX_SAFE_SIZE: in every version the content fits into one disk sector.
constexpr std::size_t kLongest = 512;
// Since version 9.6, none has been shorter.
constexpr std::size_t kShortest = 200;

bool HasRightChecksum(ByteView content) {
  Crc32c crc;
  crc.Add(content.first(kShortest));
  for (std::size_t size = kShortest; size + sizeof(std::uint32_t) <= content.size();
       size += sizeof(std::uint32_t)) {
    const ByteView next = content.subspan(size, sizeof(std::uint32_t));
    if (LoadLittleEndian<std::uint32_t>(next.data()) == crc.value()) {
      return true;
    }
    crc.Add(next);
  }
  return false;
}

ControlFile Unreadable(std::string why) {
  return {.state = ControlFile::State::kUnreadable, .why_unreadable = std::move(why)};
}

ControlFile Unreadable(int error_number) {
  return Unreadable(std::generic_category().message(error_number));
}

}  // namespace

ControlFile ReadControlFile(const std::string& data_directory) {
  ControlFile control;
  // O_NONBLOCK: opening a FIFO would wait.
  const UniqueFd file(
      open((data_directory + "/global/pg_control").c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) {
    return errno == ENOENT ? control : Unreadable(errno);
  }
  struct stat info {};
  if (fstat(file.get(), &info) != 0) {
    return Unreadable(errno);
  }
  if (!S_ISREG(info.st_mode)) {
    return Unreadable("It is not a regular file");
  }
  // PostgreSQL also reads and writes the file with one call.
  std::array<std::uint8_t, kLongest> content{};
  const ssize_t got = pread(file.get(), content.data(), content.size(), 0);
  if (got < 0) {
    return Unreadable(errno);
  }
  if (static_cast<std::size_t>(got) != content.size() || !HasRightChecksum(content)) {
    control.state = ControlFile::State::kDamaged;
    return control;
  }
  control.state = ControlFile::State::kWhole;
  control.system_identifier = LoadLittleEndian<std::uint64_t>(content.data());
  return control;
}

}  // namespace veza
