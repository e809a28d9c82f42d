// The archive module: ships each WAL file that the archiver offers to the repository.
//
// A file is acknowledged (true) only when the repository holds it durably. On any failure the
// segment stays .ready, one WARNING says why, and the archiver asks again. Nothing here raises an
// ERROR: the archiver of 15 and 16 has no handler for it and would exit.
//
// The upload runs in a thread (BackgroundCall) while the archiver's own thread serves its latch and
// interrupts and watches for three reasons to give up early: a reload (new settings may be the
// cure), SIGTERM, and a shutdown of the server, which waits for the archiver without a limit of its
// own.

#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "core/repository/wal_archive.h"
#include "pg/server_repository.h"
#include "pg/settings.h"
//
#include "pg/boundary.h"
#include "pg/compat.h"

namespace veza::pg {

namespace {

// The archiver tries three times a cycle by itself, so patience here is short.
constexpr RetryPolicy kArchiverRetries{.first_pause = std::chrono::milliseconds(200),
                                       .longest_pause = std::chrono::milliseconds(3000),
                                       .budget = std::chrono::milliseconds(10'000),
                                       .max_attempts = 6};
constexpr long kTickMs = 250;
// Grace for an upload that is under way when the server shuts down.
constexpr std::chrono::seconds kShutdownGrace{5};

// The repository of this process, kept between calls as long as the settings stay the same.
struct ArchiverConnection {
  Environment environment;
  std::uint64_t settings_generation = 0;
  bool was_primary = false;
  std::unique_ptr<Repository> repository;

  // The last error that led to another attempt, of the call that is running.
  std::mutex mutex;
  std::optional<Error> retried;

  std::optional<Error> TakeRetried() {
    const std::lock_guard lock(mutex);
    return retried;
  }
};

class ArchiveCall final : public BackgroundCall {
 public:
  ArchiveCall(ArchiverConnection& connection, Config config, ServerFacts facts, std::string file,
              std::string path)
      : BackgroundCall(connection.environment),
        connection_(connection),
        config_(std::move(config)),
        facts_(std::move(facts)),
        file_(std::move(file)),
        path_(std::move(path)) {}
  ~ArchiveCall() override { StopAndJoin(); }

 private:
  Status Work() override {
    if (!connection_.repository) {
      ArchiverConnection& connection = connection_;
      ASSIGN_OR_RETURN(connection_.repository,
                       OpenServerRepository(
                           config_, facts_, environment_, kArchiverRetries,
                           [&connection](std::string_view, std::string_view, const Error& error) {
                             const std::lock_guard lock(connection.mutex);
                             connection.retried = error;
                           }));
    }
    const WalArchive archive(*connection_.repository, facts_.system_identifier);
    RETURN_IF_ERROR(archive.Push(file_, path_));
    return Ok();
  }

  ArchiverConnection& connection_;
  Config config_;
  ServerFacts facts_;
  std::string file_;
  std::string path_;
};

std::unique_ptr<ArchiverConnection> connection;

// When, during a shutdown, the store was found to be unusable: the remaining files are not tried.
std::optional<SteadyTime> gave_up_at;

// The postmaster says so in the eighth line of its pid file (pidfile.h, LOCK_FILE_LINE_PM_STATUS;
// set in pmdie()). No variable that a child process could read tells it in every version.
bool ServerIsStopping() {
  char content[2048];
  const int fd = open("postmaster.pid", O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return false;
  }
  const ssize_t bytes = read(fd, content, sizeof content - 1);
  close(fd);
  if (bytes <= 0) {
    return false;
  }
  content[bytes] = '\0';
  const char* line = content;
  for (int number = 1; number < 8 && line != nullptr; ++number) {
    line = strchr(line, '\n');
    line = line != nullptr ? line + 1 : nullptr;
  }
  return line != nullptr && strncmp(line, "stopping", strlen("stopping")) == 0;
}

enum class Waited { kTimeout, kLatch, kFailed };

// Waits for the call, the latch or a tick, and serves interrupts (barriers: DROP DATABASE waits for
// us to absorb them). An ERROR ends here: on 15 and 16 the archiver could not take it, and on 17 it
// would jump over the caller's C++ objects.
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

// What may end a call before its time.
class ShutdownWatch {
 public:
  // Whether the call should be cancelled now.
  bool ShouldGiveUp(bool retrying) {
    if (ShutdownRequestPending) {
      return true;
    }
    if (ConfigReloadPending && retrying) {
      return true;
    }
    const SteadyTime now = SystemClock().Steady();
    if (!stopping_since_ && ServerIsStopping()) {
      stopping_since_ = now;
    }
    if (stopping_since_ && (retrying || now - *stopping_since_ > kShutdownGrace)) {
      gave_up_at = now;
      return true;
    }
    return false;
  }

 private:
  std::optional<SteadyTime> stopping_since_;
};

void WaitForArchiveCall(ArchiveCall& call) {
  static const uint32 wait_event = WaitEvent("VezaBackupArchive");
  ShutdownWatch watch;
  bool consumed_wakeup = false;
  SteadyTime next_look = SystemClock().Steady() + std::chrono::milliseconds(kTickMs);
  while (!call.done()) {
    const Waited waited = WaitOnce(call.done_fd(), wait_event);
    if (waited == Waited::kFailed) {
      call.Cancel();
      break;  // Join() waits the rest
    }
    consumed_wakeup |= waited == Waited::kLatch;
    const SteadyTime now = SystemClock().Steady();
    if (waited == Waited::kLatch || now >= next_look) {
      next_look = now + std::chrono::milliseconds(kTickMs);
      if (watch.ShouldGiveUp(connection->TakeRetried().has_value())) {
        call.Cancel();
      }
    }
  }
  // The archiver's own loop looks for new work, reloads and shutdown when its latch is set.
  if (consumed_wakeup) {
    SetLatch(MyLatch);
  }
}

// The connection for the settings and role of now.
Status RefreshConnection(bool is_primary) {
  if (!connection || connection->settings_generation != SettingsGeneration() ||
      (is_primary && !connection->was_primary)) {
    connection = std::make_unique<ArchiverConnection>();
    connection->settings_generation = SettingsGeneration();
    connection->was_primary = is_primary;
  }
  connection->environment.cancellation->Reset();
  const std::lock_guard lock(connection->mutex);
  connection->retried.reset();
  return Ok();
}

Status Archive(const char* file, const char* path) {
  if (gave_up_at && ServerIsStopping()) {
    return MakeError(ErrorCode::kUnavailable,
                     "the server is stopping and the repository could not be reached")
        .WithHint("The file stays in pg_wal and is archived after the next start.");
  }
  gave_up_at.reset();
  ServerFacts facts = GetServerFacts();
  RETURN_IF_ERROR(RefreshConnection(facts.is_primary));
  ASSIGN_OR_RETURN(Config config, CurrentConfig());
  ArchiveCall call(*connection, std::move(config), std::move(facts), file, path);
  RETURN_IF_ERROR(call.Start());
  WaitForArchiveCall(call);
  Status status = call.Join();
  if (!status && status.error().code == ErrorCode::kCancelled) {
    // Why it was still trying says more than that it was told to stop.
    if (const auto retried = connection->TakeRetried()) {
      return *retried;
    }
  }
  return status;
}

bool ArchiveIsConfigured() {
  return RepositoryIsSet();
}

bool ArchiveFile(const char* file, const char* path) {
  ErrorReport report;
  bool archived = false;
  {
    const Status status = CatchExceptions([&] { return Archive(file, path); });
    archived = status.has_value();
    if (!archived) {
      const Error error =
          Error(status.error())
              .WithContext(std::string("could not archive WAL file \"") + file + "\"");
      FillReport(error, &report);
    }
  }
  if (!archived) {
    Raise(WARNING, &report);
  }
  return archived;
}

void ArchiveShutdown() {
  connection.reset();
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
bool Archive(ArchiveModuleState*, const char* file, const char* path) {
  return veza::pg::ArchiveFile(file, path);
}
void Shutdown(ArchiveModuleState*) {
  veza::pg::ArchiveShutdown();
}

const ArchiveModuleCallbacks kCallbacks = {nullptr, CheckConfigured, Archive, Shutdown};

}  // namespace

// NOLINTNEXTLINE(bugprone-reserved-identifier): the server looks for this name
extern "C" PGDLLEXPORT const ArchiveModuleCallbacks* _PG_archive_module_init(void) {
  return &kCallbacks;
}

#else

// NOLINTNEXTLINE(bugprone-reserved-identifier): the server looks for this name
extern "C" PGDLLEXPORT void _PG_archive_module_init(ArchiveModuleCallbacks* callbacks) {
  callbacks->check_configured_cb = veza::pg::ArchiveIsConfigured;
  callbacks->archive_file_cb = veza::pg::ArchiveFile;
  callbacks->shutdown_cb = veza::pg::ArchiveShutdown;
}

#endif
