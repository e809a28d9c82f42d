#include "core/restore/restore.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "core/repository/manifest_rules.h"
#include "core/repository/names.h"
#include "core/restore/existing_directory.h"
#include "core/restore/file_restorer.h"
#include "core/restore/pack_restorer.h"
#include "core/restore/plan.h"
#include "core/restore/running_servers.h"
#include "core/restore/sweep.h"
#include "core/work_queue.h"

namespace veza {

namespace {

// How many packs may wait for a thread. The manifest is not read further ahead than this.
constexpr std::size_t kQueueLimit = 16;

// How many packs of other backups may be open: the backup wants extents of them, and the manifest
// may name more. Files are in about the same order in all manifests, so few are open at a time; but
// an incr may have one of each backup that it names.
constexpr std::size_t kOpenOtherPacks = 64;
constexpr std::size_t kOpenOfEachSource = 2;

// A pack of which the manifest has named something. It is complete when every extent is known.
struct OpenPack {
  PackJob job;
  bool announced = false;        // its own record was read
  std::uint64_t last_named = 0;  // a counter: when the manifest last named an extent of it
  std::uint64_t left_out = 0;    // number of extents of which nothing is written
  bool complete() const { return announced && job.extents.size() + left_out == job.record.frames; }
};

// As Extent::source and Extent::pack.
struct PackId {
  std::uint32_t source = 0;
  std::uint32_t number = 0;
  // NOLINTNEXTLINE(modernize-use-nullptr): a false alarm of clang-tidy 14
  auto operator<=>(const PackId&) const = default;
};

// The parts of a file that page extents write, sorted by position.
std::vector<FilePiece> PiecesOfPages(const FileRecord& record, std::uint32_t block_size) {
  std::vector<FilePiece> pieces;
  for (const PageExtent& pages : record.pages) {
    for (const PageRun& run : pages.runs) {
      pieces.push_back({0, static_cast<std::uint32_t>(run.count * block_size),
                        std::uint64_t{run.first} * block_size});
    }
  }
  std::sort(pieces.begin(), pieces.end(),
            [](const FilePiece& a, const FilePiece& b) { return a.file_offset < b.file_offset; });
  return pieces;
}

// The parts of a file that an extent at `offset` writes. `taken` (sorted) are the ranges that page
// extents write. The extent skips them, so each byte is written once and the order does not matter.
std::vector<FilePiece> PiecesBetween(std::uint64_t offset, std::uint32_t length,
                                     const std::vector<FilePiece>& taken) {
  std::vector<FilePiece> pieces;
  const std::uint64_t end = offset + length;
  std::uint64_t from = offset;
  const auto add_until = [&](std::uint64_t to) {
    if (to > from) {
      pieces.push_back(
          {static_cast<std::uint32_t>(from - offset), static_cast<std::uint32_t>(to - from), from});
    }
  };
  auto next = std::partition_point(taken.begin(), taken.end(), [&](const FilePiece& piece) {
    return piece.file_offset + piece.length <= offset;
  });
  for (; next != taken.end() && next->file_offset < end; ++next) {
    add_until(next->file_offset);
    from = std::max(from, next->file_offset + next->length);
  }
  add_until(end);
  return pieces;
}

// What the extents of a file write: each byte once.
std::vector<Destination> DestinationsOf(const FileRecord& record, std::uint32_t block_size) {
  std::vector<Destination> destinations;
  const std::vector<FilePiece> by_pages = PiecesOfPages(record, block_size);
  std::uint64_t offset = 0;
  for (const Extent& extent : record.extents) {
    if (extent.pack != 0) {
      destinations.push_back({extent, nullptr, PiecesBetween(offset, extent.length, by_pages)});
    }
    offset += extent.length;
  }
  for (const PageExtent& pages : record.pages) {
    Destination destination{pages.extent, nullptr, {}};
    for (const PageRun& run : pages.runs) {
      const std::uint32_t length = run.count * block_size;
      destination.pieces.push_back(
          {run.at * block_size, length, std::uint64_t{run.first} * block_size});
    }
    destinations.push_back(std::move(destination));
  }
  return destinations;
}

class Restorer {
 public:
  Restorer(const Repository& repository, const RestorePlan& plan, RestoreProgress& progress)
      : repository_(repository), plan_(plan), progress_(progress), files_(plan) {}

  Result<RestoreReport> Run(const std::function<Status()>& when_copied) {
    Status copied = Copy();
    if (!copied) {
      return copied.error().code == ErrorCode::kNotFound ||
                     copied.error().code == ErrorCode::kDataCorrupted
                 ? ReasonOf(std::move(copied.error()))
                 : std::move(copied.error());
    }
    RETURN_IF_ERROR(files_.WriteServerFiles());
    if (when_copied) {
      RETURN_IF_ERROR(when_copied());
    }
    // This comes before a server can be started, because the server would notice too late.
    RETURN_IF_ERROR(RequireStillThere(repository_, plan_));
    progress_.syncing = true;
    RETURN_IF_ERROR(files_.SyncAndComplete());
    return RestoreReport{progress_.files_done, progress_.files_left_out, progress_.bytes_done,
                         progress_.bytes_fetched + plan_.backup.manifest_size};
  }

 private:
  // The reason of an error. If an object is missing or damaged, the likely reason is that the
  // backup was removed, or that the whole repository is gone (kFailedPrecondition).
  Error ReasonOf(Error error) const {
    Status there = RequireStillThere(repository_, plan_);
    const bool tells = !there && (there.error().code == ErrorCode::kDataCorrupted ||
                                  there.error().code == ErrorCode::kFailedPrecondition);
    return tells ? std::move(there.error()) : std::move(error);
  }

  Status Copy() {
    progress_.bytes_total = plan_.size;
    if (IsNew(plan_.target_directory)) {
      RETURN_IF_ERROR(files_.CreateTarget());
      RETURN_IF_ERROR(LockNew(plan_.target_directory, IsEmptyTarget));
    }
    if (plan_.delta) {
      RETURN_IF_ERROR(BeginDelta());
    } else {
      RETURN_IF_ERROR(files_.CreateRoot());
      RETURN_IF_ERROR(CreateAndLockOthers());
    }
    RETURN_IF_ERROR(files_.LinkOtherRoots());
    RETURN_IF_ERROR(queue_.Start(plan_.jobs, [this] {
      return [restorer = std::make_unique<PackRestorer>(repository_, files_, progress_)](
                 PackJob& job) { return restorer->Restore(job); };
    }));
    Status status = ReadWithRules(repository_, plan_.backup, [this](ManifestRecord&& record) {
      return Take(std::move(record));
    });
    if (status) {
      status = DispatchOthers();
    }
    if (status && !packs_.empty()) {
      status = MakeError(ErrorCode::kDataCorrupted, "\"{}\" does not describe pack {} completely",
                         ManifestName(plan_.backup.label), packs_.begin()->first.number);
    }
    if (!status) {
      queue_.Fail(std::move(status.error()));
    }
    return queue_.Finish();
  }

  // Whether the directory did not exist when the plan was made.
  bool IsNew(const std::string& directory) const {
    const auto lock = plan_.locks.find(directory);
    return lock == plan_.locks.end() || !lock->second;
  }

  // A directory that somebody has filled since then must not be used.
  template <typename IsEmpty>
  Status LockNew(const std::string& directory, IsEmpty is_empty) {
    ASSIGN_OR_RETURN(locks_[directory], LockTarget(directory));
    ASSIGN_OR_RETURN(const bool empty, is_empty(directory));
    return empty ? Ok() : Status(FilledMeanwhile(directory));
  }

  Status CreateAndLockOthers() {
    RETURN_IF_ERROR(files_.CreateOtherRoots());
    for (const std::string& directory : plan_.OtherDirectories()) {
      if (IsNew(directory)) {
        RETURN_IF_ERROR(LockNew(directory, IsEmptyDirectory));
      }
    }
    return Ok();
  }

  // Until CreateRoot() has begun, a server can still be started from the directory. The plan has
  // already checked everything in the repository and the directory that could make the restore
  // fail. All directories are locked before anything is removed from one of them.
  Status BeginDelta() {
    RETURN_IF_ERROR(RequireUnused(plan_.target_directory, plan_.OtherDirectories()));
    RETURN_IF_ERROR(RequireNoServer(plan_.target_directory));
    RETURN_IF_ERROR(CreateAndLockOthers());
    RETURN_IF_ERROR(files_.CreateRoot());
    return RemoveWhatDoesNotBelong(*plan_.paths, plan_);
  }

  Status Take(ManifestRecord&& record) {
    RETURN_IF_ERROR(repository_.environment().cancellation->Check());
    return std::visit([this](auto&& specific) { return TakeRecord(specific); }, std::move(record));
  }

  // backup.json names the tablespaces, too, and the plan has their locations.
  static Status TakeRecord(const Tablespace&) { return Ok(); }

  Status TakeRecord(const DirectoryRecord& directory) { return files_.CreateDirectory(directory); }

  Status TakeRecord(const FileRecord& record) {
    const bool comes_empty = plan_.databases && plan_.databases->LeavesEmpty(record.path);
    if (plan_.unlogged.LeavesOut(record.path)) {
      ++progress_.files_left_out;
      progress_.bytes_total -= comes_empty ? 0 : record.size;
      return LeaveOutAll(record);
    }
    return comes_empty ? TakeEmpty(record) : TakeFile(record);
  }

  Status TakeEmpty(const FileRecord& record) {
    FileRecord empty = record;
    empty.extents.clear();
    RETURN_IF_ERROR(files_.CreateFile(empty, 0, false));
    ++progress_.files_done;
    return LeaveOutAll(record);
  }

  Status LeaveOutAll(const FileRecord& record) {
    for (const Extent& extent : record.extents) {
      RETURN_IF_ERROR(LeaveOut(extent));
    }
    for (const PageExtent& pages : record.pages) {
      RETURN_IF_ERROR(LeaveOut(pages.extent));
    }
    return Ok();
  }

  // Of the packs of other backups, the manifest names only what is wanted.
  Status LeaveOut(const Extent& extent) {
    if (extent.pack == 0 || extent.source != 0) {
      return Ok();
    }
    const PackId id{0, extent.pack};
    OpenPack& pack = packs_[id];
    ++pack.left_out;
    return pack.complete() ? Dispatch(packs_, id) : Ok();
  }

  Status TakeFile(const FileRecord& record) {
    std::vector<Destination> destinations = DestinationsOf(record, plan_.backup.block_size);
    // Page extents write their pages even if the rest of the file is a hole.
    const bool one_brings_all =
        record.extents.size() == 1 && record.pages.empty() && destinations.size() == 1;
    ASSIGN_OR_RETURN(const std::shared_ptr<PendingFile> file,
                     files_.CreateFile(record, destinations.size(), one_brings_all));
    if (destinations.empty()) {
      ++progress_.files_done;
    }
    for (const Extent& extent : record.extents) {
      progress_.bytes_done += extent.pack == 0 ? extent.length : 0;
    }
    for (Destination& destination : destinations) {
      destination.file = file;
      RETURN_IF_ERROR(destination.extent.source != 0 ? TakeOfOther(std::move(destination))
                                                     : TakeOwn(std::move(destination)));
    }
    return Ok();
  }

  Status TakeOwn(Destination&& destination) {
    const PackId id{0, destination.extent.pack};
    OpenPack& pack = packs_[id];
    pack.job.extents.push_back(std::move(destination));
    return pack.complete() ? Dispatch(packs_, id) : Ok();
  }

  Status TakeOfOther(Destination&& destination) {
    const PackId id{destination.extent.source, destination.extent.pack};
    const auto record = other_packs_.find(id);
    if (record == other_packs_.end()) {
      return MakeError(
          ErrorCode::kDataCorrupted, "\"{}\" does not describe pack {} of backup \"{}\"",
          ManifestName(plan_.backup.label), id.number, plan_.backup.LabelOf(id.source));
    }
    OpenPack& pack = open_others_[id];
    pack.announced = true;
    pack.last_named = ++named_;
    pack.job.record = record->second;
    pack.job.extents.push_back(std::move(destination));
    if (pack.complete()) {
      return Dispatch(open_others_, id);
    }
    if (open_others_.size() > kOpenOtherPacks + kOpenOfEachSource * plan_.backup.sources.size()) {
      const auto oldest = std::min_element(
          open_others_.begin(), open_others_.end(),
          [](const auto& a, const auto& b) { return a.second.last_named < b.second.last_named; });
      return Dispatch(open_others_, PackId(oldest->first));
    }
    return Ok();
  }

  Status DispatchOthers() {
    while (!open_others_.empty()) {
      RETURN_IF_ERROR(Dispatch(open_others_, PackId(open_others_.begin()->first)));
    }
    return Ok();
  }

  Status TakeRecord(const PackRecord& record) {
    const PackId id{record.source, record.number};
    if (record.source != 0) {
      other_packs_[id] = record;
      return Ok();
    }
    OpenPack& pack = packs_[id];
    pack.job.record = record;
    pack.announced = true;
    return pack.complete() ? Dispatch(packs_, id) : Ok();
  }

  Status Dispatch(std::map<PackId, OpenPack>& packs, const PackId& id) {
    const auto pack = packs.find(id);
    PackJob job = std::move(pack->second.job);
    packs.erase(pack);
    if (job.extents.empty()) {
      return Ok();
    }
    job.object_name = PackName(plan_.backup.LabelOf(id.source), id.number);
    return queue_.Push(std::move(job));
  }

  const Repository& repository_;
  const RestorePlan& plan_;
  RestoreProgress& progress_;
  FileRestorer files_;
  // Of the directories that have no lock in the plan.
  std::map<std::string, std::shared_ptr<const UniqueFd>> locks_;

  // Only the thread that reads the manifest uses these.
  std::map<PackId, OpenPack> packs_;  // of the backup itself
  std::map<PackId, OpenPack> open_others_;
  std::map<PackId, PackRecord> other_packs_;
  std::uint64_t named_ = 0;

  WorkQueue<PackJob> queue_{kQueueLimit};
};

}  // namespace

Result<RestoreReport> ExecuteRestore(const Repository& repository, const RestorePlan& plan,
                                     RestoreProgress& progress,
                                     const std::function<Status()>& copied) {
  return Restorer(repository, plan, progress).Run(copied);
}

}  // namespace veza
