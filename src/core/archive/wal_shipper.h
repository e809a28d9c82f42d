// Ships WAL files ahead of the archiver: while it asks for one file, the next ones that are ready
// are sealed and stored as well, so that their answers are there when it asks for them.
//
//  - The archiver asks in its order and is answered in it. What was stored ahead is acknowledged
//    only then, and only if the file is still the one that was read (size, time, inode).
//  - A file with a .ready is complete, and the server keeps it until it is acknowledged: reading
//    ahead is safe (postgres-facts.md).
//  - A file that could not be stored ahead is tried anew when it is asked for; other files do not
//    suffer. While the store is in trouble nothing is done ahead.
//  - What recovery never asks for (IsAskedForByRecovery) holds up nothing: when the repository has
//    other content under its name, or it is damaged, it is acknowledged without being stored. That
//    proves nothing of the server.
//  - A server that is refused plants nothing. The first file is stored alone; and when the
//    repository holds other content for one (kConflict), nothing is done ahead until that one, or
//    one behind it, has been stored. What was already being sent at that moment may still arrive;
//    what was only sealed is not sent.
//  - What is stored is acknowledged only if identity and key are in the repository behind it
//    (entrance.h). Where they are not, nothing more is stored until they are back, and what was
//    stored ahead is stored anew when it is asked for. What was stored ahead so long ago that it
//    may have been deleted since is looked at, and stored anew if it is gone. With kWrongKey a new
//    shipper is needed, which opens the repository again.
//  - Bounded: at most `look_ahead` files beside the one asked for are being stored or wait to be
//    acknowledged; `sealers` of them use a CPU at the same time, fewer where half of `memory` is
//    not enough for so many. A quarter of it holds the file that is asked for, sealed, and a
//    quarter those ahead of it together; what does not fit is in unnamed temporary files. A disk
//    without room for those is trouble, too: then nothing is done ahead.
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
#include <vector>

#include "core/archive/adaptive_level.h"
#include "core/archive/wal_archive.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/postgres/ready_files.h"
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
  bool adaptive = true;  // AdaptiveLevel by what waits
};

struct ShippedFile {
  PushOutcome outcome = PushOutcome::kStored;
  std::uint64_t plain_size = 0;
  std::uint64_t sealed_size = 0;
  bool holds_other_wal = false;     // as of SealedWalFile; it is stored
  std::optional<Error> left_out{};  // why it is not stored, and need not be
};

struct ShipperCounters {
  std::size_t in_flight = 0;  // files being sealed or stored
  std::size_t ahead = 0;      // files stored that the archiver has not asked for yet
  std::size_t backlog = 0;    // files that were ready when last looked, less those acknowledged
  int level = 0;              // of the file that was sealed last
  std::uint64_t retries = 0;  // of requests
};

// One thread (the archiver's) calls it; threads of its own do the work.
class WalShipper {
 public:
  // Called by a thread of the shipper; once, and again after it has failed. The repository is made
  // with `environment` of the constructor, and tells its retries to the observer.
  using Opener = std::function<Result<std::unique_ptr<Repository>>(RetryObserver)>;

  // Whoever cancels the environment's Cancellation ends everything under way, and the shipper.
  WalShipper(ShipperOptions options, Opener open, Environment environment);
  // Cancels and joins.
  ~WalShipper();
  WalShipper(const WalShipper&) = delete;
  WalShipper& operator=(const WalShipper&) = delete;

  // The archiver wants `file` stored now. Returns at once. Threads that it starts inherit the
  // caller's signal mask.
  Status Ask(const std::string& file);
  // How it went with the file that was asked for; nothing: it is not done. Once for each Ask().
  // Errors as WalArchive's, or the opener's.
  std::optional<Result<ShippedFile>> TakeAnswer();
  // Readable when TakeAnswer() may have something; read by TakeAnswer().
  int event_fd() const { return event_.get(); }

  // The last error that led to another attempt of a request since Ask().
  std::optional<Error> retried() const;
  ShipperCounters counters() const;
  // Whether a file was being sealed, or bytes of one were taken by the store, since the last call.
  bool TakeProgress();

 private:
  struct Job {
    std::optional<Result<ShippedFile>> result;  // nothing: a thread is at it
    struct stat source {};
    SteadyTime ended{};
  };

  // One of `sealers`, with the memory that it needs; waits for it.
  class Turn;
  // The memory that a sealed file may take.
  class Room;

  // What a thread makes of a file.
  enum class Stage { kOpening, kSealing, kPutting, kAccepting };
  // An error of this stage is of the repository, and says nothing of the file.
  static bool IsOfTheRepository(Stage stage) {
    return stage == Stage::kOpening || stage == Stage::kAccepting;
  }
  // What was stored ahead, but too long ago to be taken to be there still.
  std::optional<Job> TakeStale(const std::string& file);
  struct Attempt {
    std::optional<Result<ShippedFile>> result;  // nothing: it is held back
    Stage stage = Stage::kOpening;              // the last one that was begun
    struct stat source {};
  };

  Status LookAhead();
  Status EnsureThreads();
  bool MayLookAhead() const;
  std::size_t RoomAhead() const;
  void NoteSuccess(const std::string& file);
  void NoteFailure(const std::string& file, ErrorCode code, Stage stage);
  void Work();
  std::optional<std::string> NextFile() const;
  bool MayPut(const std::string& file) const;
  void Finish(const std::string& file, Attempt attempt);
  Result<Repository*> OpenRepository();
  Status Ship(const std::string& file, int level, Attempt& attempt);
  Status Accept(const Repository& repository, const std::string& object, PushOutcome put);
  Status TakeBack(const Repository& repository, const std::string& object, Status refused);
  Result<SealedWalFile> Seal(const WalArchive& archive, const std::string& file, int level,
                             Room& room);
  void FreeScratch();
  bool IsUnchanged(const std::string& file, const struct stat& source) const;

  const ShipperOptions options_;
  const Opener open_;
  const Environment environment_;
  const UniqueFd event_;

  std::mutex turns_mutex_;
  std::condition_variable turn_ended_;
  const std::size_t turns_;
  std::size_t free_turns_;
  std::vector<WalScratch> scratch_;  // of the free turns, as far as it is kept

  std::atomic<std::uint64_t> moved_{0};  // since TakeProgress(): bytes, and files sealed

  std::atomic<bool> entrance_lost_{false};  // at the last look

  std::mutex opening_;
  std::unique_ptr<Repository> repository_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::size_t free_ahead_;  // memory for what is sealed ahead
  bool stopping_ = false;
  // What MayLookAhead() goes by.
  bool proven_ = false;                  // a file of this server was stored, or was there already
  bool trouble_ = false;                 // the store's, since the last answer that was a success
  std::optional<std::string> conflict_;  // the last in order of the files that were refused
  std::optional<std::string> asked_;
  std::map<std::string, Job> jobs_;
  std::optional<std::pair<std::string, Job>> stale_;  // of what is asked for
  std::vector<std::string> candidates_;               // the next one last
  std::set<std::string> failed_ahead_;                // wait until they are asked for
  std::size_t backlog_ = 0;
  std::size_t idle_ = 0;
  std::size_t threads_started_ = 0;
  AdaptiveLevel adaptive_;
  int level_ = 0;  // of the file that was begun last
  std::uint64_t retries_ = 0;
  std::optional<Error> retried_;

  ThreadGroup threads_;
};

}  // namespace veza
