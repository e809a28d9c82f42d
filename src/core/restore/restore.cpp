#include "core/restore/restore.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "core/codec/frame_reader.h"
#include "core/codec/zstd.h"
#include "core/repository/manifest.h"
#include "core/repository/names.h"
#include "core/restore/file_restorer.h"
#include "core/thread_group.h"

namespace veza {

namespace {

// Packs waiting for a thread; the manifest is not read further ahead than this.
constexpr std::size_t kQueueLimit = 16;

// An extent and where its bytes go.
struct Destination {
  Extent extent;
  std::shared_ptr<PendingFile> file;
  std::uint64_t offset = 0;
};

// A pack of which the manifest has told something. Complete when every extent is known.
struct PackJob {
  std::uint32_t number = 0;
  std::uint32_t frames = 0;
  std::vector<Destination> extents;
  bool announced = false;  // its own record was read
  bool complete() const { return announced && extents.size() == frames; }
};

// Fetches one pack as a stream and puts its extents into their files. One object a thread.
class PackRestorer {
 public:
  PackRestorer(const Repository& repository, const std::string& label, const FileRestorer& files,
               RestoreProgress& progress)
      : repository_(repository), label_(label), files_(files), progress_(progress) {}

  Status Restore(PackJob& job) {
    const std::string name = PackName(label_, job.number);
    std::sort(
        job.extents.begin(), job.extents.end(),
        [](const Destination& a, const Destination& b) { return a.extent.frame < b.extent.frame; });
    std::size_t next = 0;
    FrameReader reader(repository_.seal_policy(), ObjectKind::kPack, name);
    const auto visit = [&](std::uint64_t number, std::uint64_t offset, const ObjectOpener& opener,
                           ByteView frame) -> Status {
      if (next >= job.extents.size()) {
        return Damaged(name, number, "is not in the manifest");
      }
      const Destination& destination = job.extents[next];
      if (destination.extent.frame != number || destination.extent.offset != offset ||
          destination.extent.stored != frame.size()) {
        return Damaged(name, number, "is not where the manifest says");
      }
      ++next;
      return RestoreExtent(name, destination, opener, frame);
    };
    RETURN_IF_ERROR(GetPartOfBackup(repository_, name,
                                    [&](ByteView piece) { return reader.Feed(piece, visit); }));
    RETURN_IF_ERROR(reader.Finish());
    if (next != job.extents.size()) {
      return MakeError(ErrorCode::kDataCorrupted, "object \"{}\" holds {} extents instead of {}",
                       name, next, job.extents.size());
    }
    return Ok();
  }

 private:
  static Error Damaged(const std::string& name, std::uint64_t frame, const char* what) {
    return MakeError(ErrorCode::kDataCorrupted, "object \"{}\": extent {} {}", name, frame, what)
        .WithHint("The object is damaged. Restore another backup.");
  }

  Status RestoreExtent(const std::string& name, const Destination& destination,
                       const ObjectOpener& opener, ByteView frame) {
    const Extent& extent = destination.extent;
    ASSIGN_OR_RETURN(const std::uint32_t flags, opener.Open(extent.frame, frame, opened_));
    ByteView plain = opened_;
    if ((flags & kFrameStored) == 0) {
      const MutableByteView into(plain_.data(), extent.length);
      const Status status = decompressor_.Decompress(opened_, into);
      if (!status) {
        return Damaged(name, extent.frame, "does not decompress to its size");
      }
      plain = into;
    }
    if (plain.size() != extent.length || DigestExtent(plain) != extent.digest) {
      return Damaged(name, extent.frame, "does not match its digest");
    }
    ASSIGN_OR_RETURN(const bool file_done,
                     files_.WriteExtent(*destination.file, destination.offset, plain));
    progress_.bytes_done += plain.size();
    progress_.files_done += file_done ? 1 : 0;
    return Ok();
  }

  const Repository& repository_;
  const std::string& label_;
  const FileRestorer& files_;
  RestoreProgress& progress_;
  Decompressor decompressor_;
  Bytes opened_;
  Bytes plain_ = Bytes(kExtentSize);
};

class Restorer {
 public:
  Restorer(const Repository& repository, const RestorePlan& plan, RestoreProgress& progress)
      : repository_(repository), plan_(plan), progress_(progress), files_(plan) {}
  ~Restorer() {
    Fail(MakeError(ErrorCode::kCancelled, "restore was abandoned"));
    threads_.Join();
  }

  Result<RestoreReport> Run() {
    progress_.bytes_total = plan_.backup.size;
    RETURN_IF_ERROR(files_.CreateRoots());
    Status status = StartThreads();
    if (status) {
      status = ReadManifest(repository_, plan_.backup,
                            [this](ManifestRecord&& record) { return Take(std::move(record)); });
    }
    if (status && !packs_.empty()) {
      status = MakeError(ErrorCode::kDataCorrupted, "\"{}\" does not describe pack {} completely",
                         ManifestName(plan_.backup.label), packs_.begin()->first);
    }
    if (!status) {
      Fail(std::move(status.error()));
    }
    {
      const std::lock_guard lock(mutex_);
      manifest_done_ = true;
      changed_.notify_all();
    }
    threads_.Join();
    RETURN_IF_ERROR(CheckFailure());
    RETURN_IF_ERROR(files_.WriteServerFiles());
    progress_.syncing = true;
    RETURN_IF_ERROR(files_.SyncAndComplete());
    return RestoreReport{progress_.files_done, progress_.bytes_done, plan_.backup.stored_size};
  }

 private:
  Status StartThreads() {
    for (int i = 0; i < std::max(plan_.jobs, 1); ++i) {
      RETURN_IF_ERROR(threads_.Start([this] {
        Status status = CatchExceptions([this] { return RestoreLoop(); });
        if (!status) {
          Fail(std::move(status.error()));
        }
      }));
    }
    return Ok();
  }

  Status Take(ManifestRecord&& record) {
    RETURN_IF_ERROR(repository_.environment().cancellation->Check());
    return std::visit([this](auto&& specific) { return TakeRecord(specific); }, std::move(record));
  }

  // backup.json names them too, and the plan has their places.
  static Status TakeRecord(const Tablespace&) { return Ok(); }

  Status TakeRecord(const DirectoryRecord& directory) { return files_.CreateDirectory(directory); }

  Status TakeRecord(const FileRecord& record) {
    ASSIGN_OR_RETURN(const std::shared_ptr<PendingFile> file, files_.CreateFile(record));
    if (file->extents_left == 0) {
      ++progress_.files_done;
    }
    std::uint64_t offset = 0;
    for (const Extent& extent : record.extents) {
      if (extent.pack == 0) {
        progress_.bytes_done += extent.length;
      } else {
        PackJob& job = packs_[extent.pack];
        job.extents.push_back({extent, file, offset});
        RETURN_IF_ERROR(DispatchIfComplete(extent.pack, job));
      }
      offset += extent.length;
    }
    return Ok();
  }

  Status TakeRecord(const PackRecord& record) {
    PackJob& job = packs_[record.number];
    job.frames = record.frames;
    job.announced = true;
    return DispatchIfComplete(record.number, job);
  }

  Status DispatchIfComplete(std::uint32_t number, PackJob& job) {
    if (!job.complete()) {
      return Ok();
    }
    job.number = number;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return queue_.size() < kQueueLimit || failure_; });
      if (failure_) {
        return *failure_;
      }
      queue_.push_back(std::move(job));
      changed_.notify_all();
    }
    packs_.erase(number);
    return Ok();
  }

  Status RestoreLoop() {
    PackRestorer restorer(repository_, plan_.backup.label, files_, progress_);
    for (;;) {
      PackJob job;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return !queue_.empty() || manifest_done_ || failure_; });
        if (failure_ || queue_.empty()) {
          return Ok();
        }
        job = std::move(queue_.front());
        queue_.pop_front();
        changed_.notify_all();
      }
      RETURN_IF_ERROR(restorer.Restore(job));
    }
  }

  void Fail(Error error) {
    const std::lock_guard lock(mutex_);
    if (!failure_) {
      failure_ = std::move(error);
    }
    changed_.notify_all();
  }

  Status CheckFailure() {
    const std::lock_guard lock(mutex_);
    if (failure_) {
      return *failure_;
    }
    return Ok();
  }

  const Repository& repository_;
  const RestorePlan& plan_;
  RestoreProgress& progress_;
  FileRestorer files_;
  std::map<std::uint32_t, PackJob> packs_;  // by the manifest's reader alone

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<PackJob> queue_;
  bool manifest_done_ = false;
  std::optional<Error> failure_;
  ThreadGroup threads_;
};

}  // namespace

Result<RestoreReport> ExecuteRestore(const Repository& repository, const RestorePlan& plan,
                                     RestoreProgress& progress) {
  return Restorer(repository, plan, progress).Run();
}

}  // namespace veza
