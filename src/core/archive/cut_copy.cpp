#include "core/archive/cut_copy.h"

#include <algorithm>
#include <fstream>

#include "core/archive/wal_archive.h"
#include "core/codec/stream.h"
#include "core/postgres/lsn.h"
#include "core/postgres/timeline_history.h"
#include "core/repository/names.h"

namespace veza {

Result<bool> IsCutCopy(const Repository& repository, std::uint64_t system_identifier,
                       const std::string& wal_directory, const std::string& file,
                       std::uint64_t segment_size) {
  const auto name = ParseWalFileName(file);
  const auto history = NewestHistoryIn(wal_directory);
  if (!name || name->kind != WalFileKind::kSegment || !history || !*history) {
    return false;
  }
  const auto fork = ForkOf(**history, name->timeline);
  const std::uint64_t begin = SegmentNumberOf(file, segment_size) * segment_size;
  if (!fork || fork->switch_point.value <= begin ||
      fork->switch_point.value >= begin + segment_size) {
    return false;
  }
  ASSIGN_OR_RETURN(const std::string object, WalObjectName(system_identifier, file));
  std::ifstream local(fmt::format("{}/{}", wal_directory, file), std::ios::binary);
  bool is_cut = true;
  std::uint64_t left = fork->switch_point.value - begin;  // of what both have
  std::string part;
  StreamOpener opener(
      repository.seal_policy(), object,
      [&](ByteView stored) {
        part.resize(stored.size());
        local.read(part.data(), static_cast<std::streamsize>(part.size()));
        const auto common = static_cast<std::size_t>(std::min<std::uint64_t>(left, stored.size()));
        is_cut = is_cut && static_cast<std::size_t>(local.gcount()) == part.size() &&
                 part.compare(0, common, AsText(stored.first(common))) == 0 &&
                 part.find_first_not_of('\0', common) == std::string::npos;
        left -= common;
        return Ok();
      },
      WalArchive::LargestContent(WalFileKind::kSegment, segment_size));
  RETURN_IF_ERROR(
      repository.store().Get(object, {}, [&](ByteView piece) { return opener.Feed(piece); }));
  RETURN_IF_ERROR(opener.Finish());
  return is_cut && left == 0;
}

}  // namespace veza
