#include "core/restore/pack_restorer.h"

#include <algorithm>
#include <utility>

namespace veza {

Status PackRestorer::KeepWhatIsThere(PackJob& job) {
  buffer_.resize(kExtentSize);
  std::vector<Destination> left;
  for (Destination& destination : job.extents) {
    ASSIGN_OR_RETURN(const bool there,
                     files_.Holds(*destination.file, destination.pieces,
                                  {destination.extent, job.record.digest, key_}, buffer_));
    if (there) {
      ASSIGN_OR_RETURN(const bool file_done, files_.KeepExtent(*destination.file));
      Count(destination, file_done);
    } else {
      left.push_back(std::move(destination));
    }
  }
  job.extents = std::move(left);
  return Ok();
}

void PackRestorer::Count(const Destination& destination, bool file_done) {
  for (const FilePiece& piece : destination.pieces) {
    progress_.bytes_done += piece.length;
  }
  progress_.files_done += file_done ? 1 : 0;
}

Status PackRestorer::Restore(PackJob& job) {
  std::sort(job.extents.begin(), job.extents.end(), [](const Destination& a, const Destination& b) {
    return a.extent.frame < b.extent.frame;
  });
  if (std::ranges::any_of(job.extents, [](const Destination& d) { return d.file->reused; })) {
    RETURN_IF_ERROR(KeepWhatIsThere(job));
  }
  if (job.extents.empty()) {
    return Ok();
  }
  std::vector<Extent> extents;
  extents.reserve(job.extents.size());
  for (const Destination& destination : job.extents) {
    extents.push_back(destination.extent);
  }
  return reader_.Read(
      job.object_name, job.record, extents, [&](std::size_t index, ByteView plain) -> Status {
        const Destination& destination = job.extents[index];
        ASSIGN_OR_RETURN(const bool file_done,
                         files_.WriteExtent(*destination.file, destination.pieces, plain));
        Count(destination, file_done);
        return Ok();
      });
}

}  // namespace veza
