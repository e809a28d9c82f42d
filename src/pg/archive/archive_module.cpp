// The archive module: ships each WAL file that the archiver offers to the repository.
//
// A file is acknowledged (true) only when the repository holds it durably. After a failure the file
// stays .ready, one WARNING says why, and the archiver asks again. Nothing here raises an ERROR:
// the archiver of 15 and 16 has no handler for one and would exit.
//
// A WalShipper seals and stores the file that is asked for, and those behind it, in threads.
// Meanwhile the archiver's main thread serves its latch and interrupts. It watches for three
// reasons to give up early: a reload (new settings may help), SIGTERM, and a shutdown of the
// server, which in the end waits for the archiver without a limit of its own.

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "core/archive/wal_shipper.h"
#include "core/postgres/postmaster_pid.h"
#include "pg/server_repository.h"
#include "pg/settings.h"
//
#include "pg/archive/wal_dropper.h"
#include "pg/boundary.h"
#include "pg/compat.h"
#include "pg/shared/shared_archive.h"
#include "pg/shared/shared_key.h"

namespace veza::pg {

namespace {

// The archiver itself tries each file three times a cycle, so patience here is short.
constexpr RetryPolicy kArchiverRetries{.first_pause = std::chrono::milliseconds(200),
                                       .longest_pause = std::chrono::milliseconds(3000),
                                       .budget = std::chrono::milliseconds(10'000),
                                       .max_attempts = 6};
constexpr long kTickMs = 250;
// While the server waits for the archiver so that it can stop: how long without any progress.
constexpr std::chrono::seconds kShutdownGrace{5};

// What this process ships with. It is kept between calls while settings and role stay the same.
struct Shipping {
  std::uint64_t settings_generation = 0;
  bool was_primary = false;
  ArchiveSettings settings;
  ShipperCounters reported;  // what was last told to other processes
  std::unique_ptr<WalShipper> shipper;
};

std::unique_ptr<Shipping> shipping;

constexpr const char* kLeftOutHint =
    "The file is not stored, because recovery never needs one of its kind. Nothing was "
    "overwritten. If the repository holds other content, find out whether two servers archive "
    "under one name.";

enum class GaveUp { kNo, kStoreFailed, kNothingMoves, kOutOfTime };

// Since when the server waits for the archiver only, and why no other file is tried any more.
std::optional<SteadyTime> awaited_since;
GaveUp gave_up = GaveUp::kNo;

// As much of the beginning of a file as fits. Empty when it cannot be read.
ByteView ReadBeginning(const char* path, MutableByteView into) {
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return {};
  }
  const ssize_t bytes = read(fd, into.data(), into.size());
  close(fd);
  return ByteView(into).first(bytes > 0 ? static_cast<std::size_t>(bytes) : 0);
}

// The postmaster says so in its pid file (pmdie()). No variable that a child process could read
// tells it in every version.
bool ServerIsStopping() {
  bool is_stopping = false;
  const Status read = CatchExceptions([&]() -> Status {
    ASSIGN_OR_RETURN(const std::optional<PostmasterPid> file, ReadPostmasterPid("."));
    is_stopping = file && file->state == "stopping";
    return Ok();
  });
  return read && is_stopping;
}

// Whether the checkpointer has written the shutdown checkpoint. Only the state is read, which lies
// in one sector, so that a write at the same time cannot tear it.
bool WalIsShutDown() {
  std::array<std::uint8_t, offsetof(ControlFileData, state) + sizeof(DBState)> buffer;
  if (ReadBeginning(XLOG_CONTROL_FILE, buffer).size() != buffer.size()) {
    return false;
  }
  DBState state{};
  memcpy(&state, buffer.data() + offsetof(ControlFileData, state), sizeof state);
  return state == DB_SHUTDOWNED || state == DB_SHUTDOWNED_IN_RECOVERY;
}

enum class Waited { kTimeout, kLatch, kFailed };

// Waits for the shipper, the latch or a tick, and serves interrupts. (Among them are barriers: DROP
// DATABASE waits until this process has absorbed them.) An ERROR ends here: on 15 and 16 the
// archiver could not take it, and on 17 it would jump over the caller's C++ objects.
Waited WaitOnce(int done_fd, uint32 wait_event) {
  volatile Waited waited = Waited::kTimeout;
  MemoryContext context = CurrentMemoryContext;
  PG_TRY();
  {
    const int events = WaitLatchOrSocket(
        MyLatch, WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, done_fd,
        kTickMs, wait_event);
    if ((events & WL_LATCH_SET) != 0) {
      ResetLatch(MyLatch);
      waited = Waited::kLatch;
    }
    CHECK_FOR_INTERRUPTS();
  }
  PG_CATCH();
  {
    MemoryContextSwitchTo(context);
    EmitErrorReport();
    FlushErrorState();
    waited = Waited::kFailed;
  }
  PG_END_TRY();
  return waited;
}

// Whether the server waits for the archiver only. Remembers since when. "Stopping" alone does not
// say so: in a smart shutdown sessions go on for as long as they like, and in a fast one the
// postmaster first waits for sessions and for the shutdown checkpoint, and only then for the
// archiver (SIGUSR2). Neither does pg_control alone: a checkpoint at the end of recovery says "shut
// down" for a moment.
bool IsAwaited() {
  if (!ServerIsStopping() || !WalIsShutDown()) {
    awaited_since.reset();
    gave_up = GaveUp::kNo;
    return false;
  }
  if (!awaited_since) {
    awaited_since = SystemClock().Steady();
  }
  return true;
}

// Whether to stop waiting for a file. `moved` is the time of the last progress, or of the
// beginning.
bool ShouldGiveUp(SteadyTime moved, bool retrying) {
  if (ShutdownRequestPending) {
    return true;
  }
  if (ConfigReloadPending && retrying) {
    return true;
  }
  if (!IsAwaited()) {
    return false;
  }
  const SteadyTime now = SystemClock().Steady();
  if (retrying) {
    gave_up = GaveUp::kStoreFailed;
  } else if (now - *awaited_since > shipping->settings.shutdown_timeout) {
    gave_up = GaveUp::kOutOfTime;
  } else if (now - std::max(moved, *awaited_since) > kShutdownGrace) {
    gave_up = GaveUp::kNothingMoves;
  }
  return gave_up != GaveUp::kNo;
}

Error InterruptedError() {
  switch (gave_up) {
    case GaveUp::kNo:
      return MakeError(ErrorCode::kCancelled, "archiving was interrupted")
          .WithHint("The file stays in pg_wal and is offered again.");
    case GaveUp::kStoreFailed:
      return MakeError(ErrorCode::kUnavailable,
                       "the server is stopping, and the repository could not be reached")
          .WithHint("The file stays in pg_wal and is archived after the next start.");
    case GaveUp::kNothingMoves:
      return MakeError(ErrorCode::kUnavailable,
                       "the server is stopping, and the repository has taken nothing for {} s",
                       kShutdownGrace.count())
          .WithHint("The file stays in pg_wal and is archived after the next start.");
    case GaveUp::kOutOfTime:
      break;
  }
  return MakeError(
             ErrorCode::kUnavailable,
             "the server is stopping, and the repository was too slow to take all WAL in time")
      .WithHint(
          "The file stays in pg_wal and is archived after the next start. "
          "veza_backup.archive_shutdown_timeout says how long a shutdown waits.");
}

void Report(const WalShipper& shipper) {
  const ShipperCounters counters = shipper.counters();
  ReportShipping(
      {.in_flight = static_cast<std::uint32_t>(counters.in_flight),
       .ahead = static_cast<std::uint32_t>(counters.ahead),
       .level = counters.level,
       .new_retries = counters.retries - shipping->reported.retries,
       .new_indexed = counters.index.segments - shipping->reported.index.segments,
       .new_index_failures = counters.index.failures - shipping->reported.index.failures});
  shipping->reported = counters;
}

// Empty when the waiting was given up.
std::optional<Result<ShippedFile>> WaitForAnswer(WalShipper& shipper) {
  static const uint32 wait_event = WaitEvent("VezaBackupArchive");
  const SteadyTime begin = SystemClock().Steady();
  SteadyTime moved = begin;
  SteadyTime next_look = begin;
  std::optional<Result<ShippedFile>> answer;
  bool consumed_wakeup = false;
  while (!(answer = shipper.TakeAnswer())) {
    const SteadyTime now = SystemClock().Steady();
    if (now >= next_look) {
      next_look = now + std::chrono::milliseconds(kTickMs);
      Report(shipper);
      if (shipper.TakeProgress()) {
        moved = now;
      }
      if (ShouldGiveUp(moved, shipper.retried().has_value())) {
        break;
      }
    }
    const Waited waited = WaitOnce(shipper.event_fd(), wait_event);
    if (waited == Waited::kFailed) {
      break;
    }
    if (waited == Waited::kLatch) {
      consumed_wakeup = true;
      next_look = now;
    }
  }
  // The archiver's own loop looks for new work, reloads and shutdown when its latch is set.
  if (consumed_wakeup) {
    SetLatch(MyLatch);
  }
  return answer;
}

// Makes a new shipper when settings or role have changed.
Status RefreshShipping() {
  const bool is_primary = !RecoveryInProgress();
  if (shipping && shipping->settings_generation == SettingsGeneration() &&
      shipping->was_primary == is_primary) {
    return Ok();
  }
  shipping.reset();
  ASSIGN_OR_RETURN(Config config, CurrentConfig());
  ServerFacts facts = GetServerFacts();
  auto fresh = std::make_unique<Shipping>();
  fresh->settings_generation = SettingsGeneration();
  fresh->was_primary = is_primary;
  fresh->settings = config.archive;
  ShipperOptions options{.wal_directory = XLOGDIR,
                         .system_identifier = facts.system_identifier,
                         .segment_size = static_cast<std::uint64_t>(wal_segment_size),
                         .look_ahead = static_cast<std::size_t>(config.archive.look_ahead),
                         .sealers = static_cast<std::size_t>(config.jobs),
                         .memory = config.archive.memory,
                         .compression_level = config.compression_level,
                         .adaptive = config.archive.adaptive_compression,
                         .index = config.archive.wal_index};
  const Environment environment;
  fresh->shipper = std::make_unique<WalShipper>(
      std::move(options),
      [config = std::move(config), facts = std::move(facts), environment](RetryObserver observer) {
        return OpenServerRepository(config, facts, environment,
                                    kArchiverRetries.WithBudget(config.archive.retry_timeout),
                                    std::move(observer));
      },
      environment);
  shipping = std::move(fresh);
  return Ok();
}

Result<ShippedFile> Archive(const char* file) {
  if (IsAwaited() && gave_up != GaveUp::kNo) {
    return InterruptedError();
  }
  RETURN_IF_ERROR(RefreshShipping());
  WalShipper& shipper = *shipping->shipper;
  {
    // The threads that Ask() starts must take no signals.
    const SignalsBlocked blocked;
    RETURN_IF_ERROR(shipper.Ask(file));
  }
  std::optional<Result<ShippedFile>> answer = WaitForAnswer(shipper);
  Report(shipper);
  if (answer) {
    if (!*answer && answer->error().code == ErrorCode::kWrongKey) {
      shipping.reset();  // there is another key now: the repository has to be opened again
    }
    return std::move(*answer);
  }
  // The error that made it try again says more than that it was told to stop.
  const Error error = shipper.retried().value_or(InterruptedError());
  shipping.reset();
  return error;
}

bool ArchiveIsConfigured() {
  return RepositoryIsSet();
}

// What became of the file, in plain memory.
struct Outcome {
  bool archived;
  bool is_conflict;
  bool was_tried;
  bool is_of_key;    // the error may mean that identity or key are lost
  bool is_left_out;  // acknowledged but not stored; `error` says why
  bool is_recycled;
  bool holds_other_wal;
  ErrorReport error;
  bool index_fails;
  ErrorReport index_error;
};

// The errors of a repository without its identity or key. Few others have these codes.
bool MayBeOfTheKey(ErrorCode code) {
  return code == ErrorCode::kFailedPrecondition || code == ErrorCode::kDataCorrupted ||
         code == ErrorCode::kPermissionDenied || code == ErrorCode::kWrongKey;
}

void Ship(const char* file, Outcome* outcome) {
  const Status status = CatchExceptions([&]() -> Status {
    ASSIGN_OR_RETURN(const ShippedFile shipped, Archive(file));
    if (shipped.left_out) {
      outcome->is_left_out = true;
      outcome->is_conflict = shipped.left_out->code == ErrorCode::kConflict;
      FillReport(Error(*shipped.left_out).WithHint(kLeftOutHint), &outcome->error);
      return Ok();
    }
    outcome->is_recycled = shipped.outcome == PushOutcome::kRecycled;
    outcome->holds_other_wal = shipped.holds_other_wal;
    if (!outcome->is_recycled) {
      ReportStored(file, shipped.plain_size, shipped.sealed_size);
    }
    return Ok();
  });
  outcome->archived = status.has_value();
  if (!status) {
    outcome->is_conflict = status.error().code == ErrorCode::kConflict;
    outcome->is_of_key = MayBeOfTheKey(status.error().code);
    outcome->was_tried = status.error().code != ErrorCode::kCancelled && !awaited_since;
    FillReport(Error(status.error())
                   .WithContext(std::string("could not archive WAL file \"") + file + "\""),
               &outcome->error);
  }
}

// Whether indexes could not be stored at the last attempt. Archiving goes on all the same.
void LookAtIndex(Outcome* outcome) {
  (void)CatchExceptions([outcome]() -> Status {
    const std::optional<Error>& error = shipping ? shipping->reported.index.error : std::nullopt;
    outcome->index_fails = error.has_value();
    if (error) {
      FillReport(*error, &outcome->index_error);
    }
    return Ok();
  });
}

// Logs each kind of failure once.
void ReportIndexing(const Outcome* outcome) {
  static int known_failure = 0;  // SQLSTATE; 0 after a success
  const int failure = outcome->index_fails ? outcome->index_error.sqlstate : 0;
  if (std::exchange(known_failure, failure) == failure) {
    return;
  }
  if (failure == 0) {
    ereport(LOG, (errmsg("the index of WAL is being stored again")));
    return;
  }
  ereport(WARNING,
          (errcode(failure),
           errmsg("could not store the index of WAL: %s", outcome->index_error.message),
           errdetail("WAL is archived without it. The index is made later from the archive."),
           outcome->index_error.hint[0] != '\0' ? errhint("%s", outcome->index_error.hint) : 0));
}

bool ArchiveFile(const char* file) {
  Outcome outcome{};
  Ship(file, &outcome);
  LookAtIndex(&outcome);
  ReportIndexing(&outcome);
  if (outcome.is_left_out) {
    ReportLeftOut(file, &outcome.error, outcome.is_conflict);
    Raise(WARNING, &outcome.error);
  }
  if (outcome.is_recycled) {
    ereport(
        LOG,
        (errmsg("WAL file \"%s\" is not stored: nothing was written to it under this name", file),
         errdetail("Its first page still has the address of older WAL. The file was recycled for "
                   "later use, but the server left its timeline before it wrote to the file.")));
  }
  if (outcome.holds_other_wal) {
    ereport(WARNING,
            (errmsg("WAL file \"%s\" holds other WAL than its name says", file),
             errdetail("Its first page has another address. It was stored as it is."),
             errhint("Recovery ends before this file. Look for a fault of the file system, "
                     "and take a full backup.")));
  }
  if (outcome.archived) {
    return true;
  }
  if (outcome.is_of_key) {
    AskForLookAtKey();
  }
  ReportFailure(file, &outcome.error, outcome.is_conflict);
  Raise(WARNING, &outcome.error);
  return outcome.was_tried && shipping && MayDrop(file, shipping->settings.drop_below);
}

void ArchiveShutdown() {
  shipping.reset();
}

}  // namespace
}  // namespace veza::pg

// --- The two shapes of the interface -------------------------------------------------------------

#if PG_VERSION_NUM >= 160000

namespace {

bool CheckConfigured(ArchiveModuleState*) {
  const bool configured = veza::pg::ArchiveIsConfigured();
#if PG_VERSION_NUM >= 170000
  if (!configured) {
    arch_module_check_errdetail("%s is not set.", "veza_backup.repository");
  }
#endif
  return configured;
}
bool Archive(ArchiveModuleState*, const char* file, const char*) {
  return veza::pg::ArchiveFile(file);
}
void Shutdown(ArchiveModuleState*) {
  veza::pg::ArchiveShutdown();
}

const ArchiveModuleCallbacks kCallbacks = {nullptr, CheckConfigured, Archive, Shutdown};

}  // namespace

// NOLINTNEXTLINE(clang-diagnostic-reserved-identifier): the server looks for this name
extern "C" PGDLLEXPORT const ArchiveModuleCallbacks* _PG_archive_module_init(void) {
  return &kCallbacks;
}

#else

// NOLINTNEXTLINE(clang-diagnostic-reserved-identifier): the server looks for this name
extern "C" PGDLLEXPORT void _PG_archive_module_init(ArchiveModuleCallbacks* callbacks) {
  callbacks->check_configured_cb = veza::pg::ArchiveIsConfigured;
  callbacks->archive_file_cb = [](const char* file, const char*) {
    return veza::pg::ArchiveFile(file);
  };
  callbacks->shutdown_cb = veza::pg::ArchiveShutdown;
}

#endif
