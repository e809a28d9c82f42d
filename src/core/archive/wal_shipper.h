// Ships WAL files for the archiver, and ahead of it: while it asks for one file, the next ones that
// are ready are sealed and stored as well, so that their answers are there when it asks for them.
//
// Its parts: LookAheadGate says whether anything may be stored ahead, SealingTurns how many files
// are sealed at the same time, SealedMemory where sealed files wait, AdaptiveLevel how hard to
// compress. The shipper itself is the queue of files and the threads.
//
//  - The archiver asks in its order and is answered in it. A file that was stored ahead is
//    acknowledged only then, and only if it is still the file that was read (size, time, inode).
//  - Reading ahead is safe: a file with a .ready is complete, and the server neither changes nor
//    removes it before it is acknowledged.
//  - A file that could not be stored ahead is tried again when it is asked for. Meanwhile others
//    are shipped.
//  - Recovery never asks for some kinds of files (IsAskedForByRecovery). When one of them is
//    damaged, or the repository has other content under its name, it is acknowledged without being
//    stored, so that it does not hold up the others. That does not open the gate.
//  - When the gate closes, a file that is being sent may still arrive. One that is only sealed is
//    not sent.
//  - A file is acknowledged only if identity and key are in the repository after it was stored
//    (entrance.h). Where they are not, nothing more is stored until they are back, and what was
//    stored ahead is stored again when it is asked for. After kWrongKey a new shipper is needed,
//    which opens the repository again.
//  - A file that was stored ahead some time ago may have been deleted since. It is looked at before
//    it is acknowledged, and stored again if it is gone.
//  - Bounded: beside the file that is asked for, at most `look_ahead` files are being stored or
//    wait to be acknowledged. At most `sealers` are sealed at the same time, fewer where half of
//    `memory` is not enough for so many. A quarter of `memory` holds the file that is asked for
//    when it is sealed, and a quarter those ahead of it together. The rest goes to unnamed
//    temporary files. When there is no disk space for these, the gate closes.
//  - Each segment says which one it follows (segment_links.h).
//  - While a segment is sealed, its index is made (core/wal_index). What becomes of that is the
//    IndexShipper's business, and changes no answer to the archiver.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/archive/adaptive_level.h"
#include "core/archive/index_shipper.h"
#include "core/archive/look_ahead_gate.h"
#include "core/archive/sealed_memory.h"
#include "core/archive/sealing_turns.h"
#include "core/archive/segment_links.h"
#include "core/archive/wal_archive.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/repository/repository.h"
#include "core/storage/retrying_store.h"
#include "core/storage/unique_fd.h"
#include "core/thread_group.h"

namespace veza {

struct ShipperOptions {
  std::string wal_directory = "pg_wal";
  std::uint64_t system_identifier = 0;
  std::uint64_t segment_size = 16U << 20;
  std::size_t look_ahead = 8;
  std::size_t sealers = 1;          // at least 1
  std::size_t memory = 256U << 20;  // bytes
  int compression_level = 3;
  bool adaptive = true;  // lower the level while files wait (AdaptiveLevel)
  bool index = true;     // keep an index of what segments say
  IndexGroups::Limits index_limits{};
};

struct ShippedFile {
  PushOutcome outcome = PushOutcome::kStored;
  std::uint64_t plain_size = 0;
  std::uint64_t sealed_size = 0;
  bool holds_other_wal = false;     // as SealedWalFile has it; the file was stored nevertheless
  std::optional<Error> left_out{};  // why it was not stored; recovery never asks for it
};

struct ShipperCounters {
  std::size_t in_flight = 0;  // files that are being sealed or stored
  std::size_t ahead = 0;      // files that are stored, and the archiver has not asked for yet
  std::size_t backlog = 0;    // files that were ready at the last look, less those acknowledged
  int level = 0;              // of zstd, for the file that was begun last
  std::uint64_t retries = 0;  // of requests
  IndexCounters index{};
};

// How often a shipper that writes version 1 of the format looks whether it may write version 2
// (core/repository/format_mark.h).
inline constexpr std::chrono::minutes kFormatLook{5};

// One thread, the archiver's, calls it. Threads of its own do the work.
class WalShipper {
 public:
  // Opens the repository with the `environment` of the constructor, and tells its retries to the
  // observer. Called by a thread of the shipper: once, again after it has failed, and when the
  // repository may be written in a newer format (kFormatLook).
  using Opener = std::function<Result<std::unique_ptr<Repository>>(RetryObserver)>;

  // Cancelling the environment's Cancellation ends the work under way, and the shipper is of no use
  // afterwards.
  WalShipper(ShipperOptions options, Opener open, Environment environment);
  // Cancels and joins.
  ~WalShipper();
  WalShipper(const WalShipper&) = delete;
  WalShipper& operator=(const WalShipper&) = delete;

  // The archiver wants `file` stored now. Returns at once. Threads that it starts inherit the
  // caller's signal mask.
  Status Ask(const std::string& file);
  // The result for the file that was asked for, once for each Ask(); none while it is being worked
  // on. Errors are WalArchive's, or the opener's.
  std::optional<Result<ShippedFile>> TakeAnswer();
  // Becomes readable when TakeAnswer() may have a result. TakeAnswer() reads it.
  int event_fd() const { return event_.get(); }

  // The last error that made a request be tried again, since Ask().
  std::optional<Error> retried() const;
  ShipperCounters counters() const;
  // Whether a file was being sealed, or the store has taken bytes of one, since the last call.
  bool TakeProgress();

 private:
  // A file that was begun.
  struct Job {
    std::optional<Result<ShippedFile>> result;  // none while a thread works on it
    struct stat source {};
    SteadyTime ended{};
  };
  // What a thread makes of a file.
  struct Attempt {
    std::optional<Result<ShippedFile>> result;      // none: it was held back and is not stored
    ShippingStage stage = ShippingStage::kOpening;  // the last one that was begun
    struct stat source {};
  };

  // In the archiver's thread, with the lock.
  Status LookForReadyFiles();
  Status EnsureThreads();
  std::optional<Result<ShippedFile>> ReadAgain();
  bool IsUnchanged(const std::string& file, const struct stat& source) const;

  // In any thread, with the lock.
  std::size_t RoomAhead() const;
  std::optional<std::string> NextFile() const;
  int NextLevel();
  void Finish(const std::string& file, Attempt attempt);

  // In the shipper's threads, without the lock.
  void Work();
  Attempt Try(const std::string& file, int level);
  Status Ship(const std::string& file, int level, Attempt& attempt);
  Result<std::shared_ptr<const Repository>> OpenRepository();
  bool FormatIsNewer();
  Status RequireEntrance(const Repository& repository);
  Result<bool> ConfirmStale(const std::string& file, const Repository& repository,
                            const WalArchive& archive, Attempt& attempt);
  std::optional<Job> TakeStale(const std::string& file);
  Result<SealedWalFile> Seal(const Repository& repository, const std::string& file, int level,
                             SealedMemory::Share& memory);
  bool IsAskedFor(const std::string& file) const;
  bool MayPut(const std::string& file) const;
  Result<PushOutcome> Put(const Repository& repository, const WalArchive& archive,
                          SealedWalFile sealed);
  Status Accept(const Repository& repository, const std::string& object, PushOutcome put);
  Status TakeBack(const Repository& repository, const std::string& object, Status refused);

  const ShipperOptions options_;
  const Opener open_;
  const Environment environment_;
  const UniqueFd event_;

  SealingTurns turns_;
  SealedMemory memory_;
  SegmentLinks links_;
  std::atomic<std::uint64_t> moved_{0};     // bytes that the store took, since TakeProgress()
  std::atomic<bool> entrance_lost_{false};  // at the last look

  std::mutex opening_;
  std::shared_ptr<const Repository> repository_;
  SteadyTime format_looked_{};  // when the repository was opened, or its mark was looked for

  mutable std::mutex mutex_;  // guards all that follows but the threads
  std::condition_variable wake_;
  bool stopping_ = false;
  LookAheadGate gate_;
  std::optional<std::string> asked_;
  int changes_ = 0;  // of the file that is asked for, each seen when it had been stored
  std::map<std::string, Job> jobs_;
  // The file that is asked for, if it was stored ahead too long ago to be taken to be there still.
  std::optional<std::pair<std::string, Job>> stale_;
  std::vector<std::string> candidates_;  // files to be done ahead, the next one last
  std::set<std::string> failed_ahead_;   // not tried again until they are asked for
  std::size_t backlog_ = 0;
  std::size_t idle_ = 0;  // threads
  std::size_t threads_started_ = 0;
  bool index_started_ = false;  // whether the thread of the index was
  AdaptiveLevel adaptive_;
  int level_ = 0;  // of the file that was begun last
  std::uint64_t retries_ = 0;
  std::optional<Error> retried_;

  IndexShipper indexes_;
  ThreadGroup threads_;  // last: they use the others
};

}  // namespace veza
