#include "core/restore/control_file.h"

#include <array>
#include <fstream>

#include "core/bytes.h"
#include "core/codec/crc32c.h"

namespace veza {

namespace {

// PG_CONTROL_MAX_SAFE_SIZE: no version has more in it than one disk sector.
constexpr std::size_t kLongest = 512;
// No version since 9.6 has less.
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

}  // namespace

ControlFile ReadControlFile(const std::string& data_directory) {
  ControlFile control;
  std::ifstream file(data_directory + "/global/pg_control", std::ios::binary);
  if (!file) {
    return control;
  }
  std::array<std::uint8_t, kLongest> content{};
  file.read(reinterpret_cast<char*>(content.data()), content.size());
  if (static_cast<std::size_t>(file.gcount()) != content.size() || !HasRightChecksum(content)) {
    control.state = ControlFile::State::kDamaged;
    return control;
  }
  control.state = ControlFile::State::kWhole;
  control.system_identifier = LoadLittleEndian<std::uint64_t>(content.data());
  return control;
}

}  // namespace veza
