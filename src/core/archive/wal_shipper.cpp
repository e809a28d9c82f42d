#include "core/archive/wal_shipper.h"

#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <utility>

#include "core/postgres/timeline_history.h"
#include "core/repository/entrance.h"
#include "core/repository/names.h"

namespace veza {
namespace {

// How many names of files that wait are held between two looks at the directory.
constexpr std::size_t kCandidates = 256;

// How long what was stored ahead is taken to be there still. Longer ago than this, it is looked at
// before it is acknowledged; to send it again would make a slow store slower.
constexpr std::chrono::seconds kAheadHolds{5};

bool IsSameFile(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

std::size_t Turns(const ShipperOptions& options) {
  const std::size_t wanted = std::max<std::size_t>(options.sealers, 1);
  if (options.segment_size > WalScratch::kLargest) {
    return wanted;
  }
  return std::clamp<std::size_t>(options.memory / 2 / WalScratch::MemoryFor(options.segment_size),
                                 1, wanted);
}

// A segment that cannot be compressed grows a little, and its memory is taken by the frame.
std::size_t LargestSealed(std::uint64_t segment_size) {
  return segment_size + segment_size / 64 + (1U << 20);
}

// The file is of no use to recovery, and only it is wrong: that of an error of sealing or putting.
bool MayBeLeftOut(const std::string& file, const Error& error) {
  const auto name = ParseWalFileName(file);
  return name && !IsAskedForByRecovery(name->kind) &&
         (error.code == ErrorCode::kConflict || error.code == ErrorCode::kDataCorrupted);
}

// Whether the file differs from the stored one only by zeros behind the point where the server left
// the file's timeline. That is what recovery was given of the segment (CutAtFork in wal-get,
// XLogFileCopy in PostgreSQL), and a standby with archive_mode = always offers it.
Result<bool> IsCutCopy(const Repository& repository, const std::string& file,
                       const ShipperOptions& options) {
  const auto name = ParseWalFileName(file);
  const auto history = NewestHistoryIn(options.wal_directory);
  if (!name || name->kind != WalFileKind::kSegment || !history || !*history) {
    return false;
  }
  const auto fork = ForkOf(**history, name->timeline);
  const std::uint64_t begin = SegmentNumberOf(file, options.segment_size) * options.segment_size;
  if (!fork || fork->switch_point.value <= begin ||
      fork->switch_point.value >= begin + options.segment_size) {
    return false;
  }
  ASSIGN_OR_RETURN(const std::string object, WalObjectName(options.system_identifier, file));
  std::ifstream local(fmt::format("{}/{}", options.wal_directory, file), std::ios::binary);
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
      WalArchive::LargestContent(WalFileKind::kSegment, options.segment_size));
  RETURN_IF_ERROR(
      repository.store().Get(object, {}, [&](ByteView piece) { return opener.Feed(piece); }));
  RETURN_IF_ERROR(opener.Finish());
  return is_cut && left == 0;
}

std::chrono::nanoseconds ThreadCpuTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

// Errors of sealing or putting that concern one file, and say nothing of the store.
bool IsOfTheFile(ErrorCode code, bool in_sealing) {
  switch (code) {
    case ErrorCode::kNotFound:
    case ErrorCode::kDataCorrupted:
    case ErrorCode::kInvalidArgument:
      return true;
    case ErrorCode::kIo:
    case ErrorCode::kPermissionDenied:
      return in_sealing;
    default:
      return false;
  }
}

}  // namespace

class WalShipper::Turn {
 public:
  explicit Turn(WalShipper& shipper) : shipper_(shipper) {
    std::unique_lock lock(shipper_.turns_mutex_);
    shipper_.turn_ended_.wait(lock, [&] { return shipper_.free_turns_ > 0; });
    --shipper_.free_turns_;
    if (!shipper_.scratch_.empty()) {
      scratch = std::move(shipper_.scratch_.back());
      shipper_.scratch_.pop_back();
    }
  }
  ~Turn() {
    {
      const std::lock_guard lock(shipper_.turns_mutex_);
      ++shipper_.free_turns_;
      ++shipper_.moved_;
      shipper_.scratch_.push_back(std::move(scratch));  // there is room: reserved
    }
    shipper_.turn_ended_.notify_one();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  WalScratch scratch;

 private:
  WalShipper& shipper_;
};

// One ahead reserves what a segment can need, and when it is sealed keeps what it did need.
class WalShipper::Room {
 public:
  explicit Room(WalShipper& shipper) : shipper_(shipper) {}
  ~Room() { ReserveOnly(0); }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;

  // How much the file may take.
  std::size_t Reserve(const std::string& file) {
    const std::lock_guard lock(shipper_.mutex_);
    if (file == shipper_.asked_) {
      limit_ = shipper_.options_.memory / 4;
      return limit_;
    }
    limit_ = std::min(shipper_.free_ahead_, LargestSealed(shipper_.options_.segment_size));
    reserved_ = limit_;
    shipper_.free_ahead_ -= reserved_;
    return limit_;
  }
  // A file of `sealed` bytes; beyond the limit it takes none.
  void Keep(std::uint64_t sealed) { ReserveOnly(sealed <= limit_ ? sealed : 0); }

 private:
  void ReserveOnly(std::size_t bytes) {
    const std::lock_guard lock(shipper_.mutex_);
    const std::size_t rest = std::min(reserved_, bytes);
    shipper_.free_ahead_ += reserved_ - rest;
    reserved_ = rest;
  }

  WalShipper& shipper_;
  std::size_t limit_ = 0;
  std::size_t reserved_ = 0;
};

WalShipper::WalShipper(ShipperOptions options, Opener open, Environment environment)
    : options_(std::move(options)),
      open_(std::move(open)),
      environment_(std::move(environment)),
      event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      turns_(Turns(options_)),
      free_turns_(turns_),
      free_ahead_(options_.memory / 4),
      adaptive_(options_.compression_level, turns_, 1 + options_.look_ahead) {
  scratch_.reserve(turns_);
}

WalShipper::~WalShipper() {
  environment_.cancellation->Cancel();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  threads_.Join();
}

Status WalShipper::Ask(const std::string& file) {
  if (!event_.valid()) {
    return MakeError(ErrorCode::kInternal, "could not create an event descriptor")
        .WithHint("The process has run out of file descriptors.");
  }
  const std::lock_guard lock(mutex_);
  asked_ = file;
  retried_.reset();
  failed_ahead_.erase(file);
  std::erase(candidates_, file);
  const auto ahead = jobs_.find(file);
  if (ahead != jobs_.end() && ahead->second.result &&
      environment_.clock->Steady() - ahead->second.ended > kAheadHolds) {
    stale_ = {file, std::move(ahead->second)};
    jobs_.erase(ahead);
  }
  if (candidates_.empty()) {
    RETURN_IF_ERROR(LookAhead());
  }
  RETURN_IF_ERROR(EnsureThreads());
  wake_.notify_all();
  return Ok();
}

Status WalShipper::LookAhead() {
  ASSIGN_OR_RETURN(ReadyFiles ready,
                   ListReadyFiles(options_.wal_directory, kCandidates, ReadyAges::kIgnore));
  backlog_ = ready.count;
  const bool knows_all = ready.count == ready.first.size();
  const auto is_ready = [&ready](const std::string& file) {
    return std::ranges::binary_search(ready.first, file, IsArchivedBefore);
  };
  if (knows_all) {
    // What nobody will ask for must not hold a place.
    std::erase_if(jobs_, [&](const auto& job) {
      return job.second.result && job.first != asked_ && !is_ready(job.first);
    });
    std::erase_if(failed_ahead_, [&](const std::string& file) { return !is_ready(file); });
  }
  std::erase_if(ready.first, [this](const std::string& file) {
    return file == asked_ || jobs_.contains(file) || failed_ahead_.contains(file);
  });
  std::ranges::reverse(ready.first);
  candidates_ = std::move(ready.first);
  return Ok();
}

// As many as have something to do.
Status WalShipper::EnsureThreads() {
  const std::size_t most = 1 + options_.look_ahead;
  const std::size_t wanted = 1 + std::min(RoomAhead(), candidates_.size());
  while (threads_started_ < most && idle_ < wanted) {
    const Status started = threads_.Start([this] { Work(); });
    if (!started) {
      // One is enough to go on.
      return threads_started_ > 0 ? Ok() : started;
    }
    ++threads_started_;
    ++idle_;
  }
  return Ok();
}

// A clone, or the second of two servers that were promoted, must not store what the right server
// has yet to write: it would be the right one's turn to be refused.
bool WalShipper::MayLookAhead() const {
  return proven_ && !trouble_ && !conflict_;
}

// How many more files may be begun ahead.
std::size_t WalShipper::RoomAhead() const {
  const std::size_t ahead = jobs_.size() - (asked_ && jobs_.contains(*asked_) ? 1 : 0);
  return MayLookAhead() && ahead < options_.look_ahead ? options_.look_ahead - ahead : 0;
}

void WalShipper::NoteSuccess(const std::string& file) {
  proven_ = true;
  trouble_ = false;
  // Files before the one that was refused say nothing of it: they may be common to both servers.
  if (conflict_ && !IsArchivedBefore(file, *conflict_)) {
    conflict_.reset();
  }
}

void WalShipper::NoteFailure(const std::string& file, ErrorCode code, Stage stage) {
  const bool is_of_the_repository = IsOfTheRepository(stage);
  if (!is_of_the_repository && code == ErrorCode::kConflict) {
    if (!conflict_ || IsArchivedBefore(*conflict_, file)) {
      conflict_ = file;
    }
  } else if (is_of_the_repository || !IsOfTheFile(code, stage == Stage::kSealing)) {
    trouble_ = true;
  } else if (file == asked_) {
    // The store is there, and a file that cannot be read must not hold up the others.
    proven_ = true;
  }
}

std::optional<Result<ShippedFile>> WalShipper::TakeAnswer() {
  std::uint64_t events = 0;
  [[maybe_unused]] const ssize_t bytes = read(event_.get(), &events, sizeof events);
  const std::lock_guard lock(mutex_);
  const auto job = asked_ ? jobs_.find(*asked_) : jobs_.end();
  if (job == jobs_.end() || !job->second.result) {
    return std::nullopt;
  }
  const Result<ShippedFile>& shipped = *job->second.result;
  if (shipped && !shipped->left_out && !IsUnchanged(*asked_, job->second.source)) {
    jobs_.erase(job);
    wake_.notify_all();
    return std::nullopt;
  }
  Result<ShippedFile> result = std::move(*job->second.result);
  jobs_.erase(job);
  if (result) {
    // What was not stored says nothing of the store, nor of who else writes there.
    if (!result->left_out && result->outcome != PushOutcome::kRecycled) {
      NoteSuccess(*asked_);
    }
    backlog_ -= std::min<std::size_t>(backlog_, 1);
  }
  asked_.reset();
  wake_.notify_all();
  return result;
}

std::optional<Error> WalShipper::retried() const {
  const std::lock_guard lock(mutex_);
  return retried_;
}

ShipperCounters WalShipper::counters() const {
  const std::lock_guard lock(mutex_);
  ShipperCounters counters{.backlog = backlog_, .level = level_, .retries = retries_};
  for (const auto& [file, job] : jobs_) {
    ++(job.result ? counters.ahead : counters.in_flight);
  }
  return counters;
}

bool WalShipper::TakeProgress() {
  const std::lock_guard lock(turns_mutex_);
  return moved_.exchange(0) > 0 || free_turns_ < turns_;
}

// --- In the threads ------------------------------------------------------------------------------

void WalShipper::Work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    std::optional<std::string> file;
    wake_.wait(lock, [&] { return stopping_ || (file = NextFile()).has_value(); });
    if (stopping_) {
      return;
    }
    jobs_[*file] = {};
    std::erase(candidates_, *file);
    --idle_;
    level_ = options_.adaptive ? adaptive_.Next(backlog_) : options_.compression_level;
    const int level = level_;
    const bool is_last = candidates_.empty() && backlog_ <= 1;
    lock.unlock();
    Attempt attempt;
    const Status status = CatchExceptions([&] { return Ship(*file, level, attempt); });
    if (!status && !IsOfTheRepository(attempt.stage) && MayBeLeftOut(*file, status.error())) {
      attempt.result = ShippedFile{.left_out = status.error()};
    } else if (!status) {
      attempt.result = status.error();
    }
    if (is_last) {
      FreeScratch();
    }
    lock.lock();
    ++idle_;
    Finish(*file, std::move(attempt));
  }
}

// The one that is asked for, then what there is room for.
std::optional<std::string> WalShipper::NextFile() const {
  if (asked_ && !jobs_.contains(*asked_)) {
    return asked_;
  }
  if (candidates_.empty() || RoomAhead() == 0) {
    return std::nullopt;
  }
  return candidates_.back();
}

// A conflict, or the store's trouble, may have become known while the file was being sealed.
bool WalShipper::MayPut(const std::string& file) const {
  const std::lock_guard lock(mutex_);
  return file == asked_ || MayLookAhead();
}

void WalShipper::Finish(const std::string& file, Attempt attempt) {
  if (!attempt.result) {
    jobs_.erase(file);  // begun anew, if it is asked for by now
    return;
  }
  Result<ShippedFile>& result = *attempt.result;
  if (!result) {
    NoteFailure(file, result.error().code, attempt.stage);
    if (attempt.stage == Stage::kAccepting) {
      // What is there ahead may have gone with the entrance.
      std::erase_if(jobs_, [&](const auto& job) {
        return job.second.result && job.first != asked_ && job.first != file;
      });
    }
  } else if (result->left_out) {
    NoteFailure(file, result->left_out->code, attempt.stage);
  }
  if (!result && file != asked_) {
    failed_ahead_.insert(file);
    jobs_.erase(file);
    return;
  }
  Job& job = jobs_[file];
  job.result = std::move(result);
  job.source = attempt.source;
  job.ended = environment_.clock->Steady();
  if (file == asked_) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(event_.get(), &one, sizeof one);
  }
}

// Nothing waits any more: the memory is somebody else's.
void WalShipper::FreeScratch() {
  const std::lock_guard lock(turns_mutex_);
  scratch_.clear();
}

Result<Repository*> WalShipper::OpenRepository() {
  const std::lock_guard lock(opening_);
  if (!repository_) {
    ASSIGN_OR_RETURN(repository_,
                     open_([this](std::string_view, std::string_view, const Error& error) {
                       const std::lock_guard retried_lock(mutex_);
                       ++retries_;
                       retried_ = error;
                     }));
  }
  return repository_.get();
}

Status WalShipper::Ship(const std::string& file, int level, Attempt& attempt) {
  ASSIGN_OR_RETURN(const Repository* const repository, OpenRepository());
  if (entrance_lost_) {
    RETURN_IF_ERROR(RequireKeyInPlace(*repository, options_.system_identifier));
    entrance_lost_ = false;
  }
  const WalArchive archive(*repository, options_.system_identifier);
  if (std::optional<Job> stale = TakeStale(file)) {
    attempt.stage = Stage::kAccepting;
    RETURN_IF_ERROR(Accept(*repository, "", PushOutcome::kAlreadyThere));
    ASSIGN_OR_RETURN(const bool is_there, archive.Contains(file));
    if (is_there) {
      attempt.source = stale->source;
      attempt.result = std::move(stale->result);
      return Ok();
    }
  }
  attempt.stage = Stage::kSealing;
  const std::chrono::nanoseconds cpu_before = ThreadCpuTime();
  Room room(*this);
  ASSIGN_OR_RETURN(SealedWalFile sealed, Seal(archive, file, level, room));
  const std::chrono::nanoseconds sealing = ThreadCpuTime() - cpu_before;
  attempt.source = sealed.source;
  if (sealed.recycled) {
    attempt.result = ShippedFile{.outcome = PushOutcome::kRecycled};
    return Ok();
  }
  ShippedFile shipped{.plain_size = sealed.sealed.plain_size,
                      .sealed_size = sealed.sealed.body->size(),
                      .holds_other_wal = sealed.holds_other_wal};
  if (!MayPut(file)) {
    return Ok();
  }
  attempt.stage = Stage::kPutting;
  CountedBody counted(*sealed.sealed.body, moved_);
  sealed.sealed.body = &counted;
  const SteadyTime begin = environment_.clock->Steady();
  Result<PushOutcome> put = archive.Put(sealed);
  if (!put && put.error().code == ErrorCode::kConflict) {
    ASSIGN_OR_RETURN(const bool is_cut, IsCutCopy(*repository, file, options_));
    if (is_cut) {
      put = PushOutcome::kAlreadyThere;
    }
  }
  RETURN_IF_ERROR(put);
  attempt.stage = Stage::kAccepting;
  RETURN_IF_ERROR(Accept(*repository, sealed.object, *put));
  shipped.outcome = *put;
  attempt.result = shipped;
  const std::lock_guard lock(mutex_);
  adaptive_.Note(sealing, environment_.clock->Steady() - begin);
  return Ok();
}

std::optional<WalShipper::Job> WalShipper::TakeStale(const std::string& file) {
  const std::lock_guard lock(mutex_);
  if (!stale_ || stale_->first != file) {
    return std::nullopt;
  }
  std::optional<Job> stale(std::move(stale_->second));
  stale_.reset();
  return stale;
}

// Behind the PUT and before the acknowledgement.
Status WalShipper::Accept(const Repository& repository, const std::string& object,
                          PushOutcome put) {
  Status kept = RequireIdentityInPlace(repository, options_.system_identifier);
  if (!kept && put == PushOutcome::kStored) {
    kept = TakeBack(repository, object, std::move(kept));
  } else if (kept) {
    kept = RequireWrapInPlace(repository);
  }
  if (!kept) {
    entrance_lost_ = true;
  }
  return kept;
}

// Returns what is to be said.
Status WalShipper::TakeBack(const Repository& repository, const std::string& object,
                            Status refused) {
  Store& store = repository.store();
  if (refused.error().code == ErrorCode::kWrongKey) {
    // Nobody could read it, and it would be in the way of the one that is stored with the new key.
    [[maybe_unused]] const Status removed = store.Delete(object);
  } else if (refused.error().code == ErrorCode::kFailedPrecondition) {
    // In an emptied place it would be all there is. Where more is left it stays: the identity may
    // have been put back by now, and another node may have met the file and acknowledged it.
    ASSIGN_OR_RETURN(const bool is_emptied,
                     HoldsOnlyNewWal(store, options_.system_identifier, 1 + options_.look_ahead));
    if (is_emptied) {
      [[maybe_unused]] const Status removed = store.Delete(object);
      // Without what we have stored it may be empty, and that is something else.
      Status now = RequireIdentityInPlace(repository, options_.system_identifier);
      return now ? std::move(refused) : std::move(now);
    }
  }
  return refused;
}

Result<SealedWalFile> WalShipper::Seal(const WalArchive& archive, const std::string& file,
                                       int level, Room& room) {
  Turn turn(*this);
  Result<SealedWalFile> sealed = archive.Seal(
      file, fmt::format("{}/{}", options_.wal_directory, file),
      {.compression_level = level, .memory = room.Reserve(file), .scratch = &turn.scratch});
  if (sealed && !sealed->recycled) {
    room.Keep(sealed->sealed.body->size());
  } else if (!sealed && sealed.error().code == ErrorCode::kNoSpace) {
    sealed.error().hint =
        "Free some space on that file system. A larger veza_backup.archive_memory avoids temporary "
        "files.";
  }
  return sealed;
}

bool WalShipper::IsUnchanged(const std::string& file, const struct stat& source) const {
  struct stat now {};
  return stat(fmt::format("{}/{}", options_.wal_directory, file).c_str(), &now) == 0 &&
         IsSameFile(now, source);
}

}  // namespace veza
