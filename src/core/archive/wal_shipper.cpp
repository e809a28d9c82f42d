#include "core/archive/wal_shipper.h"

#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "core/archive/cut_copy.h"
#include "core/postgres/ready_files.h"
#include "core/repository/entrance.h"
#include "core/repository/format_mark.h"
#include "core/repository/names.h"
#include "core/storage/body.h"

namespace veza {
namespace {

// How many names of ready files are kept between two looks at the directory.
constexpr std::size_t kCandidates = 256;

// How long a file that was stored ahead is taken to be there still. After that it is looked at
// before it is acknowledged. It is not sent again, which would make a slow store slower.
constexpr std::chrono::seconds kAheadHolds{5};
// How often a file may change while it is being archived. Endless attempts would look like a store
// that hangs.
constexpr int kMostChanges = 3;

bool IsSameFile(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino && a.st_size == b.st_size &&
         a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

// Whether an error of sealing or putting concerns a file that recovery never asks for, and nothing
// but that file.
bool MayBeLeftOut(const std::string& file, const Error& error) {
  const auto name = ParseWalFileName(file);
  return name && !IsAskedForByRecovery(name->kind) &&
         (error.code == ErrorCode::kConflict || error.code == ErrorCode::kDataCorrupted);
}

std::chrono::nanoseconds ThreadCpuTime() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

}  // namespace

WalShipper::WalShipper(ShipperOptions options, Opener open, Environment environment)
    : options_(std::move(options)),
      open_(std::move(open)),
      environment_(std::move(environment)),
      event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      turns_(SealingTurns::CountFor(options_.sealers, options_.memory / 2, options_.segment_size)),
      memory_(options_.memory / 4, options_.segment_size),
      links_(options_.wal_directory, options_.system_identifier, options_.segment_size),
      adaptive_(options_.compression_level, turns_.count(), 1 + options_.look_ahead),
      // It opens the repository for itself. So a request that it has to repeat is not taken for one
      // of the archiver's, which would give up.
      indexes_(
          {.system_identifier = options_.system_identifier, .limits = options_.index_limits},
          [this] { return open_([](std::string_view, std::string_view, const Error&) {}); },
          environment_) {}

WalShipper::~WalShipper() {
  environment_.cancellation->Cancel();
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  threads_.Join();
}

// --- In the archiver's thread --------------------------------------------------------------------

Status WalShipper::Ask(const std::string& file) {
  if (!event_.valid()) {
    return MakeError(ErrorCode::kInternal, "could not create an event descriptor")
        .WithHint("The process has run out of file descriptors.");
  }
  const std::lock_guard lock(mutex_);
  asked_ = file;
  changes_ = 0;
  links_.Begin(file);
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
    RETURN_IF_ERROR(LookForReadyFiles());
  }
  RETURN_IF_ERROR(EnsureThreads());
  wake_.notify_all();
  return Ok();
}

Status WalShipper::LookForReadyFiles() {
  ASSIGN_OR_RETURN(ReadyFiles ready,
                   ListReadyFiles(options_.wal_directory, kCandidates, ReadyAges::kIgnore));
  backlog_ = ready.count;
  const bool knows_all = ready.count == ready.first.size();
  const auto is_ready = [&ready](const std::string& file) {
    return std::ranges::binary_search(ready.first, file, IsArchivedBefore);
  };
  if (knows_all) {
    // A file that nobody will ask for must not take a place.
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

// Starts as many threads as have something to do.
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
  // Behind the others: if threads are few, archiving has them.
  if (options_.index && !std::exchange(index_started_, true)) {
    [[maybe_unused]] const Status started = indexes_.Start();  // without it there is no index
  }
  return Ok();
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
    return ReadAgain();
  }
  Result<ShippedFile> result = std::move(*job->second.result);
  jobs_.erase(job);
  if (result) {
    // A file that was not stored says nothing about the store, nor about who else writes there.
    if (!result->left_out && result->outcome != PushOutcome::kRecycled) {
      gate_.NoteStored(*asked_);
      links_.Acknowledge(*asked_);
    }
    backlog_ -= std::min<std::size_t>(backlog_, 1);
  } else if (result.error().code == ErrorCode::kConflict) {
    links_.NoteConflict(*asked_);
  }
  asked_.reset();
  wake_.notify_all();
  return result;
}

// The file that is asked for has changed since it was read.
std::optional<Result<ShippedFile>> WalShipper::ReadAgain() {
  if (++changes_ < kMostChanges) {
    wake_.notify_all();
    return std::nullopt;
  }
  return MakeError(ErrorCode::kFailedPrecondition,
                   "\"{}/{}\" changed {} times while it was being archived", options_.wal_directory,
                   *std::exchange(asked_, std::nullopt), kMostChanges)
      .WithHint(
          "PostgreSQL does not write to a WAL file that is ready to be archived. Find out what "
          "does, or what sets its time. The file stays in pg_wal, and is tried again.");
}

bool WalShipper::IsUnchanged(const std::string& file, const struct stat& source) const {
  struct stat now {};
  return stat(fmt::format("{}/{}", options_.wal_directory, file).c_str(), &now) == 0 &&
         IsSameFile(now, source);
}

std::optional<Error> WalShipper::retried() const {
  const std::lock_guard lock(mutex_);
  return retried_;
}

ShipperCounters WalShipper::counters() const {
  const std::lock_guard lock(mutex_);
  ShipperCounters counters{
      .backlog = backlog_, .level = level_, .retries = retries_, .index = indexes_.counters()};
  for (const auto& [file, job] : jobs_) {
    ++(job.result ? counters.ahead : counters.in_flight);
  }
  return counters;
}

bool WalShipper::TakeProgress() {
  const bool has_moved = moved_.exchange(0) > 0;
  return turns_.TakeProgress() || has_moved;
}

// --- The queue -----------------------------------------------------------------------------------

// How many more files may be begun ahead.
std::size_t WalShipper::RoomAhead() const {
  const std::size_t ahead = jobs_.size() - (asked_ && jobs_.contains(*asked_) ? 1 : 0);
  return gate_.is_open() && ahead < options_.look_ahead ? options_.look_ahead - ahead : 0;
}

// The file that is asked for, then those ahead of it.
std::optional<std::string> WalShipper::NextFile() const {
  if (asked_ && !jobs_.contains(*asked_)) {
    return asked_;
  }
  if (candidates_.empty() || RoomAhead() == 0) {
    return std::nullopt;
  }
  return candidates_.back();
}

int WalShipper::NextLevel() {
  level_ = options_.adaptive ? adaptive_.Next(backlog_) : options_.compression_level;
  return level_;
}

void WalShipper::Finish(const std::string& file, Attempt attempt) {
  if (!attempt.result) {
    jobs_.erase(file);  // begun again, if it has been asked for meanwhile
    return;
  }
  const bool is_asked_for = file == asked_;
  Result<ShippedFile>& result = *attempt.result;
  if (!result) {
    gate_.NoteFailure(file, result.error().code, attempt.stage, is_asked_for);
    if (attempt.stage == ShippingStage::kAccepting) {
      // Identity or key are lost, and the files that were stored ahead may be lost with them.
      std::erase_if(jobs_, [&](const auto& job) {
        return job.second.result && job.first != asked_ && job.first != file;
      });
    }
  } else if (result->left_out) {
    gate_.NoteFailure(file, result->left_out->code, attempt.stage, is_asked_for);
  }
  if (!result && !is_asked_for) {
    failed_ahead_.insert(file);
    jobs_.erase(file);
    return;
  }
  Job& job = jobs_[file];
  job.result = std::move(result);
  job.source = attempt.source;
  job.ended = environment_.clock->Steady();
  if (is_asked_for) {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(event_.get(), &one, sizeof one);
  }
}

// --- In the shipper's threads --------------------------------------------------------------------

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
    const int level = NextLevel();
    const bool is_last = candidates_.empty() && backlog_ <= 1;
    lock.unlock();
    Attempt attempt = Try(*file, level);
    if (is_last) {
      turns_.FreeScratch();  // no file waits, so others may use the memory
    }
    lock.lock();
    ++idle_;
    Finish(*file, std::move(attempt));
  }
}

WalShipper::Attempt WalShipper::Try(const std::string& file, int level) {
  Attempt attempt;
  const Status status = CatchExceptions([&] { return Ship(file, level, attempt); });
  if (!status && !IsOfTheRepository(attempt.stage) && MayBeLeftOut(file, status.error())) {
    attempt.result = ShippedFile{.left_out = status.error()};
  } else if (!status) {
    attempt.result = status.error();
  }
  return attempt;
}

// The way of one file.
Status WalShipper::Ship(const std::string& file, int level, Attempt& attempt) {
  ASSIGN_OR_RETURN(const std::shared_ptr<const Repository> repository, OpenRepository());
  RETURN_IF_ERROR(RequireEntrance(*repository));
  const WalArchive archive(*repository, options_.system_identifier);
  ASSIGN_OR_RETURN(const bool is_there, ConfirmStale(file, *repository, archive, attempt));
  if (is_there) {
    return Ok();
  }

  attempt.stage = ShippingStage::kSealing;
  SealedMemory::Share memory(memory_);  // until the file is stored
  const std::chrono::nanoseconds cpu_before = ThreadCpuTime();
  ASSIGN_OR_RETURN(SealedWalFile sealed, Seal(*repository, file, level, memory));
  const std::chrono::nanoseconds sealing = ThreadCpuTime() - cpu_before;
  attempt.source = sealed.source;
  if (sealed.recycled) {
    attempt.result = ShippedFile{.outcome = PushOutcome::kRecycled};
    return Ok();
  }
  if (!MayPut(file)) {
    return Ok();
  }

  attempt.stage = ShippingStage::kPutting;
  ShippedFile shipped{.plain_size = sealed.sealed.plain_size,
                      .sealed_size = sealed.sealed.body->size(),
                      .holds_other_wal = sealed.holds_other_wal};
  const std::string object = sealed.object;
  std::optional<SegmentIndex> index = std::move(sealed.index);
  const SteadyTime begin = environment_.clock->Steady();
  ASSIGN_OR_RETURN(shipped.outcome, Put(*repository, archive, std::move(sealed)));

  attempt.stage = ShippingStage::kAccepting;
  RETURN_IF_ERROR(Accept(*repository, object, shipped.outcome));
  attempt.result = shipped;
  // An object that was there already may have another size. The scheduler makes its index.
  if (index && shipped.outcome == PushOutcome::kStored) {
    // The file is archived, whatever becomes of its index.
    [[maybe_unused]] const Status added = CatchExceptions([&] {
      indexes_.Add(std::move(*index));
      return Ok();
    });
  }
  const std::lock_guard lock(mutex_);
  adaptive_.Note(sealing, environment_.clock->Steady() - begin);
  return Ok();
}

Result<std::shared_ptr<const Repository>> WalShipper::OpenRepository() {
  const std::lock_guard lock(opening_);
  if (!repository_ || FormatIsNewer()) {
    ASSIGN_OR_RETURN(repository_,
                     open_([this](std::string_view, std::string_view, const Error& error) {
                       const std::lock_guard retried_lock(mutex_);
                       ++retries_;
                       retried_ = error;
                     }));
    format_looked_ = environment_.clock->Steady();
  }
  return repository_;
}

// With the lock `opening_`. The archiver may run for months, and the format is upgraded meanwhile.
bool WalShipper::FormatIsNewer() {
  const SteadyTime now = environment_.clock->Steady();
  if (!repository_->options().for_writing ||
      repository_->digest_method() != DigestMethod::kSha256 || now - format_looked_ < kFormatLook) {
    return false;
  }
  format_looked_ = now;
  const Result<FormatMark> mark = ReadFormatMark(repository_->store(), repository_->seal_policy());
  return mark && mark->state == FormatMark::State::kPresent;
}

// Once identity or key were lost, nothing is stored before they are back.
Status WalShipper::RequireEntrance(const Repository& repository) {
  if (entrance_lost_) {
    RETURN_IF_ERROR(RequireKeyInPlace(repository, options_.system_identifier));
    entrance_lost_ = false;
  }
  return Ok();
}

// True when the file was stored ahead some time ago and is still there: the attempt has its result.
Result<bool> WalShipper::ConfirmStale(const std::string& file, const Repository& repository,
                                      const WalArchive& archive, Attempt& attempt) {
  std::optional<Job> stale = TakeStale(file);
  if (!stale) {
    return false;
  }
  attempt.stage = ShippingStage::kAccepting;
  RETURN_IF_ERROR(Accept(repository, "", PushOutcome::kAlreadyThere));
  ASSIGN_OR_RETURN(const bool is_there, archive.Contains(file));
  if (is_there) {
    attempt.source = stale->source;
    attempt.result = std::move(stale->result);
  }
  return is_there;
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

Result<SealedWalFile> WalShipper::Seal(const Repository& repository, const std::string& file,
                                       int level, SealedMemory::Share& memory) {
  SealingTurns::Turn turn(turns_);
  const std::size_t limit =
      IsAskedFor(file) ? memory.ReserveForAskedFile() : memory.ReserveForFileAhead();
  Result<SealedWalFile> sealed =
      WalArchive(repository, options_.system_identifier)
          .Seal(file, fmt::format("{}/{}", options_.wal_directory, file),
                {.compression_level = level,
                 .memory = limit,
                 .scratch = turn.scratch(),
                 .index = options_.index,
                 .on_digest = [&](const ContentDigest& digest) { links_.Know(file, digest); },
                 .origin = [&] { return links_.OriginOf(repository, file); }});
  if (sealed && !sealed->recycled) {
    memory.Keep(sealed->sealed.body->size());
  } else if (!sealed && sealed.error().code == ErrorCode::kNoSpace) {
    sealed.error().hint =
        "Free some space on that file system. A larger veza_backup.archive_memory avoids temporary "
        "files.";
  }
  return sealed;
}

bool WalShipper::IsAskedFor(const std::string& file) const {
  const std::lock_guard lock(mutex_);
  return file == asked_;
}

// The gate may have closed while the file was being sealed.
bool WalShipper::MayPut(const std::string& file) const {
  const std::lock_guard lock(mutex_);
  return file == asked_ || gate_.is_open();
}

Result<PushOutcome> WalShipper::Put(const Repository& repository, const WalArchive& archive,
                                    SealedWalFile sealed) {
  CountedBody counted(*sealed.sealed.body, moved_);
  sealed.sealed.body = &counted;
  Result<PushOutcome> put = archive.Put(sealed);
  if (!put && put.error().code == ErrorCode::kConflict) {
    ASSIGN_OR_RETURN(const bool is_cut,
                     IsCutCopy(repository, options_.system_identifier, options_.wal_directory,
                               sealed.file, options_.segment_size));
    if (is_cut) {
      put = PushOutcome::kAlreadyThere;
    }
  }
  return put;
}

// After the PUT and before the acknowledgement: identity and key must be in the repository.
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

// Removes an object that was stored without an identity, where it must not stay. Returns the error
// to report.
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
      // Without our objects the place may be empty, which is another error.
      Status now = RequireIdentityInPlace(repository, options_.system_identifier);
      return now ? std::move(refused) : std::move(now);
    }
  }
  return refused;
}

}  // namespace veza
