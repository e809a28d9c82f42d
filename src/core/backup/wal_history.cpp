#include "core/backup/wal_history.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <vector>

#include "core/wal_index/index_catalog.h"

namespace veza {
namespace {

// How many of the newest segments are compared: enough that a transaction ended in one of them.
constexpr SegmentNumber kCompared = 16;

class OwnWalFinder {
 public:
  OwnWalFinder(const Repository& repository, const OwnWalPlace& place)
      : repository_(repository), archive_(repository, place.system_identifier), place_(place) {}

  Result<OwnWal> Remembered(Lsn position) const {
    const std::optional<AcknowledgedRun> run = ReadAcknowledgedRun(place_.wal_directory);
    const Result<Sha256Digest> id = IdOfRepository(repository_, place_.system_identifier);
    if (!run || !id || run->repository != *id) {
      return OwnWal{};
    }
    const SegmentNumber first = SegmentNumberOf(run->first, place_.segment_size);
    const SegmentNumber last = SegmentNumberOf(run->last, place_.segment_size);
    // Not after WAL was lost, or when the server has left the timeline before.
    if ((last + 1) * place_.segment_size > position.value || NameOf(last) != run->last) {
      return OwnWal{};
    }
    ASSIGN_OR_RETURN(const std::optional<ObjectAttributes> there,
                     ReadSegmentAttributes(archive_, run->last));
    if (!there || LinkTo(run->last, *there->plain_digest) != run->link) {
      return OwnWal{};
    }
    // Written anew after it was acknowledged. Such a segment waits to be archived, unless somebody
    // has seen to it that it does not.
    if (access(fmt::format("{}/{}", place_.wal_directory, run->last).c_str(), F_OK) == 0) {
      ASSIGN_OR_RETURN(const bool same, IsSame(last));
      if (!same) {
        return OwnWal{};
      }
    }
    for (const SegmentNumber number : Ready()) {
      if (first <= number && number <= last) {
        ASSIGN_OR_RETURN(const bool same, IsSame(number));
        if (!same) {
          return OwnWal{};
        }
      }
    }
    return OwnWal{true, first, last, run->run};
  }

  Result<OwnWal> Compared(SegmentNumber newest) const {
    OwnWal own;
    for (SegmentNumber back = 0; back < kCompared && back <= newest; ++back) {
      const SegmentNumber number = newest - back;
      ASSIGN_OR_RETURN(const bool same, IsSame(number));
      if (same) {
        own.last = own.is_known ? own.last : number;
        own.first = number;
        own.is_known = true;
      } else if (own.is_known) {
        break;
      }
    }
    return own;
  }

 private:
  std::string NameOf(SegmentNumber number) const {
    return SegmentName(TimelineOnPath(place_.history, number, place_.segment_size), number,
                       place_.segment_size);
  }

  // Segments of the server's way that it has not archived yet.
  std::vector<SegmentNumber> Ready() const {
    std::vector<SegmentNumber> numbers;
    std::error_code error;
    for (std::filesystem::directory_iterator file(place_.wal_directory + "/archive_status", error),
         end;
         !error && file != end; file.increment(error)) {
      const std::string segment = file->path().stem().string();
      const auto name = ParseWalFileName(segment);
      if (file->path().extension() == ".ready" && name && name->kind == WalFileKind::kSegment) {
        const SegmentNumber number = SegmentNumberOf(segment, place_.segment_size);
        if (NameOf(number) == segment) {
          numbers.push_back(number);
        }
      }
    }
    return numbers;
  }

  // Whether pg_wal has the segment, and the repository has the same.
  Result<bool> IsSame(SegmentNumber number) const {
    const std::string path = fmt::format("{}/{}", place_.wal_directory, NameOf(number));
    if (access(path.c_str(), R_OK) != 0) {
      return false;
    }
    ASSIGN_OR_RETURN(const std::optional<ObjectAttributes> there,
                     ReadSegmentAttributes(archive_, NameOf(number)));
    if (!there) {
      return false;
    }
    const Result<ContentDigest> ours = archive_.DigestOfFile(path, there->plain_digest->method);
    RETURN_IF_ERROR(repository_.environment().cancellation->Check());
    return ours && *ours == *there->plain_digest;
  }

  const Repository& repository_;
  const WalArchive archive_;
  const OwnWalPlace& place_;
};

bool IsOfRun(const SegmentFacts& segment, const std::optional<Sha256Digest>& run) {
  return run && segment.origin.run == run;
}

// Whether `after` says that it follows another content than that of `before`.
bool Contradict(const SegmentFacts& before, const SegmentFacts& after) {
  return before.link && after.origin.previous && after.origin.previous != before.link;
}

// Why `after` does not follow `before` in one history.
std::string DoubtOfBorder(const SegmentFacts& before, const SegmentFacts& after) {
  if (!after.origin.previous) {
    return fmt::format("WAL segment \"{}\" does not say which segment it follows", after.name);
  }
  if (after.origin.previous != before.link) {
    return fmt::format(
        "WAL segment \"{}\" follows another segment \"{}\" than the one in the repository",
        after.name, before.name);
  }
  if (!before.has_end && !IsOfRun(before, after.origin.run)) {
    return fmt::format(
        "WAL segments \"{}\" and \"{}\" are of two writers, and no transaction ended in the first",
        before.name, after.name);
  }
  return "";
}

}  // namespace

Result<std::optional<ObjectAttributes>> ReadSegmentAttributes(const WalArchive& archive,
                                                              const std::string& segment) {
  Result<ObjectAttributes> there = archive.Attributes(segment);
  if (there && there->plain_digest) {
    return std::optional(std::move(*there));
  }
  return there || IsOfTheObject(there.error())
             ? Result<std::optional<ObjectAttributes>>(std::nullopt)
             : there.error();
}

Result<OwnWal> FindOwnWal(const Repository& repository, const OwnWalPlace& place, Lsn position,
                          SegmentNumber newest) {
  const OwnWalFinder finder(repository, place);
  ASSIGN_OR_RETURN(OwnWal remembered, finder.Remembered(position));
  if (remembered.is_known && remembered.last >= newest) {
    return remembered;
  }
  ASSIGN_OR_RETURN(const OwnWal compared, finder.Compared(newest));
  if (!remembered.is_known || compared.first > remembered.last + 1) {
    return compared;
  }
  remembered.last = std::max(remembered.last, compared.last);
  return remembered;
}

std::string DoubtOfHistory(const std::map<SegmentNumber, SegmentFacts>& segments,
                           const OwnWal& own) {
  const SegmentNumber first = segments.begin()->first;
  const SegmentNumber last = std::min(own.last, segments.rbegin()->first);
  if (!own.is_known || last < std::max(own.first, first)) {
    return "no WAL segment in the repository is known to be this server's own";
  }
  for (SegmentNumber number = first + 1; number <= last; ++number) {
    if (Contradict(segments.at(number - 1), segments.at(number))) {
      return DoubtOfBorder(segments.at(number - 1), segments.at(number));
    }
  }
  SegmentNumber base = std::max(own.first, first);
  const auto is_base = [&](const SegmentFacts& segment) {
    return segment.has_end || IsOfRun(segment, own.run);
  };
  while (base <= last && !is_base(segments.at(base))) {
    ++base;
  }
  if (base > last) {
    return fmt::format(
        "no transaction ended in WAL segments \"{}\" to \"{}\", so they may be of "
        "another history",
        segments.at(std::max(own.first, first)).name, segments.at(last).name);
  }
  if (own.first <= first) {
    return "";
  }
  for (SegmentNumber number = base; number > first; --number) {
    if (std::string doubt = DoubtOfBorder(segments.at(number - 1), segments.at(number));
        !doubt.empty()) {
      return doubt;
    }
  }
  return "";
}

}  // namespace veza
