// vezactl wal-get: the program that restore_command runs.
//
// How PostgreSQL reads the exit code (access/transam/xlogarchive.c, RestoreArchivedFile):
//
// 0           The file is there.
// 1 to 125    The archive does not have the file. Recovery ends; a standby goes on by itself.
// 126 and up  The server stops.
//
// So wal-get returns 1 in one case only: the repository was reached, is the right one, and answered
// that it has neither the file nor anything that shows that there was WAL behind it: a later
// segment, or a timeline that recovery follows and that was begun in a later segment. If it
// returned 1 at a gap, recovery would end there as if that were the end of the WAL. Two exceptions
// return 1 at a gap as well:
//
// - A standby: its primary may stream the segment to it.
// - With --end-at-gap, which a restore to a target writes. The server reads ahead of what it
// replays
//   (access/transam/xlogprefetcher.c), so it may ask for the missing segment although it will not
//   need it. If it does need it, it stops with an error, because it did not reach the target.
//
// Everything else is 126, wrong arguments and settings included, after retries where they may help.
//
// When the repository does not give a file out, whatever the reason, its mirror is asked as well.
// Only a file that the mirror has counts. It may be behind, so that it does not have a file says
// nothing. And before a missing segment is taken for the end of the WAL, the mirror is asked, too:
// the repository may have lost what the mirror has. Then the segment comes from there; and if the
// mirror has only a later one, that is a gap. On a standby it is not, because that asks all the
// time.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <limits>
#include <utility>

#include "cli/account.h"
#include "cli/command.h"
#include "cli/lease.h"
#include "cli/output.h"
#include "cli/patience.h"
#include "cli/wal_prefetch.h"
#include "core/archive/wal_archive.h"
#include "core/postgres/postmaster_pid.h"
#include "core/repository/connect.h"
#include "core/repository/entrance.h"
#include "core/restore/choose_timeline.h"
#include "core/restore/control_file.h"
#include "core/restore/key_wrap_note.h"
#include "core/restore/recovery_path.h"
#include "core/storage/file_io.h"

namespace veza::cli {
namespace {

constexpr int kNotInArchive = 1;
constexpr int kStopRecovery = 126;

// The pause doubles from the first to the longest.
constexpr std::chrono::seconds kFirstPause{1};
constexpr std::chrono::seconds kLongestPause{20};

// How long the repository is tried before its mirror, if there is one, and how long the mirror.
constexpr std::chrono::seconds kUntilMirror{5};
// How long the first try may take in all before the mirror is asked: a server may accept
// connections and not answer. Each further try may take twice as long as the one before, because
// the mirror may not have the file, and the repository be slow.
constexpr std::chrono::seconds kFirstPatience{10};
constexpr RetryPolicy kMirrorPolicy{.budget = std::chrono::seconds(10)};

// A server may be writing its pg_control while it is read, so try again.
constexpr int kControlFileReads = 10;
constexpr std::chrono::milliseconds kControlFilePause{20};

struct WalGetOptions {
  std::string file;
  std::string destination;
  std::string system_id;
  std::string lease;  // the lease of the restore; may be empty
  int retry_seconds = 300;
  bool end_at_gap = false;
  std::string last_segment;  // of those that the restore has found; may be empty
  PrefetchArguments prefetch;
};

// The state of the recovery for which the server runs this program. Its working directory is the
// data directory.
struct RecoveryState {
  bool is_standby = false;
  std::string process;        // IdentifyRecoveringProcess()
  std::string wal_directory;  // where the server wants its files
  bool keeps_note = false;    // whether a note of its requests is kept, see HistoryOfStandby()
  std::optional<TimelineId> numbered;   // the timeline that the server was told to follow by number
  std::optional<TimelineHistory> path;  // the history it follows, as far as known
};

// Finds out what `file` requires. The path matters for segments only, because history files are
// asked for before it is known. For a history file, `numbered` decides whether it must be readable,
// and in the past (--as-of) whether the number of its timeline may be used.
Result<RecoveryState> LookAtRecovery(const std::string& destination, const WalFileName& file,
                                     bool is_past) {
  RecoveryState state;
  state.is_standby = access("standby.signal", F_OK) == 0;
  if (file.kind == WalFileKind::kTimelineHistory &&
      (state.is_standby || access("recovery.signal", F_OK) == 0)) {
    Result<std::optional<TimelineId>> numbered = NumberedTimeline(".");
    if (!numbered && is_past) {
      return std::move(numbered.error());
    }
    // When this cannot be found out, every history file must be readable.
    state.numbered = numbered.value_or(std::nullopt);
  }
  if (file.kind != WalFileKind::kSegment) {
    return state;
  }
  state.process = IdentifyRecoveringProcess();
  state.wal_directory = std::filesystem::path(destination).parent_path().string();
  // Without a running server, pg_rewind may be asking, for WAL behind a fork.
  state.keeps_note = state.is_standby && access(kPostmasterPidFile, F_OK) == 0;
  if (state.keeps_note) {
    ASSIGN_OR_RETURN(state.path,
                     HistoryOfStandby(state.wal_directory, state.process, file.timeline));
  } else if (!state.is_standby && access("recovery.signal", F_OK) == 0) {
    ASSIGN_OR_RETURN(state.path, FollowedHistory(".", state.wal_directory));
  }
  return state;
}

// The file that is asked for, and by which recovery.
struct Request {
  const WalGetOptions& wal;
  WalFileName name;
  std::optional<std::uint64_t> system_id;  // absent: the only system of the repository
  RecoveryState recovery;
  const Config* past;  // where to look for what came after --as-of; null without that option

  bool is_segment() const { return name.kind == WalFileKind::kSegment; }
  // Where the followed history leaves the segment's timeline.
  std::optional<TimelineSwitch> Fork() const {
    return is_segment() && recovery.path ? ForkOf(*recovery.path, name.timeline) : std::nullopt;
  }
};

// Whether waiting may help. Counted in are a directory that is not mounted yet, keys that are being
// replaced, and a full disk. Waiting is better than stopping the server.
bool MayPass(const Error& error) {
  switch (error.code) {
    case ErrorCode::kNotFound:
    case ErrorCode::kPermissionDenied:
    case ErrorCode::kCredentials:
    case ErrorCode::kFailedPrecondition:
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kNoSpace:
    case ErrorCode::kIo:
      return true;
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kAlreadyExists:
    case ErrorCode::kConflict:
    case ErrorCode::kCancelled:
    case ErrorCode::kDataCorrupted:
    case ErrorCode::kWrongKey:
    case ErrorCode::kUnsupported:
    case ErrorCode::kInternal:
      return false;
  }
  return false;
}

// The server accepts complete segments only.
Status RequireSegmentSize(const std::string& path, std::uint64_t segment_size) {
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    return ErrnoError(errno, fmt::format("could not stat file \"{}\"", path));
  }
  if (static_cast<std::uint64_t>(status.st_size) != segment_size) {
    return MakeError(ErrorCode::kDataCorrupted, "file \"{}\" has {} bytes instead of {}", path,
                     status.st_size, segment_size);
  }
  return Ok();
}

// Returns false when the archive does not have the file. A missing local directory has the same
// error code, but is an error.
Result<bool> FetchIfThere(const WalArchive& archive, const WalGetOptions& wal) {
  Status fetched = archive.Fetch(wal.file, wal.destination);
  if (fetched) {
    return true;
  }
  if (fetched.error().code != ErrorCode::kNotFound &&
      fetched.error().code != ErrorCode::kDataCorrupted) {
    return std::move(fetched.error());
  }
  // An object of 0 bytes counts as damaged, but Contains() says that it is absent.
  ASSIGN_OR_RETURN(const bool exists, archive.Contains(wal.file));
  if (exists) {
    return std::move(fetched.error());
  }
  return false;
}

// Whether the number of this timeline is taken, although the past (--as-of) has no history file of
// it: a failover came later. The server asks for it only to find an unused number. If it took this
// one, two histories would lie under one name in the archive. So whatever the archive knows of the
// timeline counts: a segment whose history file has gone, and what was deleted.
Result<bool> IsTakenLater(const Request& request, const Identity& identity,
                          const Environment& environment) {
  const std::optional<TimelineId>& followed = request.recovery.numbered;
  if (!request.past || request.name.kind != WalFileKind::kTimelineHistory || !followed ||
      request.name.timeline <= *followed) {
    return false;
  }
  return HasEverHeld(*request.past, environment,
                     WalTimelinePrefix(identity.system_identifier, request.name.timeline));
}

// Fetches a history file. The server asks for more of them than the one of the timeline that it was
// told to follow by number (access/transam/timeline.c): for older ones, without which it can go on
// (restoreTimeLineHistoryFiles), and at the end of recovery for newer ones, to find an unused
// number (findNewestTimeLine), without reading them. When one of those is damaged, recovery need
// not stop. With "latest" it must, because then nobody knows where recovery has to go.
Result<bool> FetchHistoryIfThere(const WalArchive& archive, const Request& request) {
  Result<bool> there = FetchIfThere(archive, request.wal);
  const std::optional<TimelineId>& followed = request.recovery.numbered;
  if (there || !followed || *followed == request.name.timeline ||
      !IsDamagedHistory(there.error())) {
    return there;
  }
  PrintWarning(
      fmt::format("timeline history file \"{}\" cannot be read, so recovery to timeline {} "
                  "continues without it: {}",
                  request.wal.file, *followed, there.error().message));
  if (request.name.timeline < *followed) {
    return false;
  }
  RETURN_IF_ERROR(ReplaceTextFile(
      request.wal.destination,
      "# This timeline exists, but its history file in the repository is damaged.\n"));
  return true;
}

// Fails when the restore has found this segment on its way (--last-segment): it was removed since.
Status RequireUnplanned(const Request& request, std::uint64_t segment_size) {
  if (request.wal.last_segment.empty()) {
    return Ok();
  }
  const auto last = ParseWalFileName(request.wal.last_segment);
  const SegmentNumber number = SegmentNumberOf(request.wal.file, segment_size);
  // The server asks for a segment on older timelines as well, where it need not be.
  const TimelineId timeline = request.recovery.path
                                  ? TimelineOnPath(*request.recovery.path, number, segment_size)
                                  : last->timeline;
  if (number > SegmentNumberOf(request.wal.last_segment, segment_size) ||
      request.name.timeline != timeline) {
    return Ok();
  }
  return MakeError(ErrorCode::kDataCorrupted,
                   "WAL segment \"{}\", which was there when the restore began, is missing in the "
                   "repository",
                   request.wal.file)
      .WithHint(
          "A lifecycle rule, or somebody, has removed it. Recovery would end before it as if that "
          "were the end of the WAL. To end recovery there on purpose, remove --last-segment from "
          "restore_command.");
}

constexpr const char* kGapHint =
    "Recovery would end before it as if that were the end of the WAL. Bring the segment back, or "
    "restore a newer backup. To end recovery there on purpose, add --end-at-gap to "
    "restore_command.";

// `behind` is of FirstBehind().
std::string DescribeGap(const std::string& missing, const std::string& behind) {
  const bool is_segment = ParseWalFileName(behind)->kind == WalFileKind::kSegment;
  return fmt::format("WAL segment \"{}\" is missing in the repository, although \"{}\" {}", missing,
                     behind,
                     is_segment ? "is there" : "says that its timeline was begun behind it");
}

// Decides about a segment that is missing. If later segments are there, it may still be on its way.
// Returns true when it has arrived. Prints nothing at the end of the WAL, because the server asks
// for files that need not exist all the time.
Result<bool> JudgeAbsence(const WalArchive& archive, const Request& request,
                          std::uint64_t segment_size, const Environment& environment) {
  const TimelineHistory* const path = request.recovery.path ? &*request.recovery.path : nullptr;
  const std::string& file = request.wal.file;
  ASSIGN_OR_RETURN(std::optional<std::string> behind,
                   FirstBehind(archive, path, file, segment_size));
  if (!behind) {
    RETURN_IF_ERROR(RequireUnplanned(request, segment_size));
    return false;
  }
  if (request.wal.end_at_gap) {
    // Without waiting, because the server asks several times.
    PrintWarning(DescribeGap(file, *behind) + "; recovery ends before it");
    return false;
  }
  if (!environment.clock->Sleep(kUploadGrace, environment.cancellation.get())) {
    return Cancelled();
  }
  ASSIGN_OR_RETURN(const bool there, FetchIfThere(archive, request.wal));
  if (there) {
    return true;
  }
  // Retention removes the oldest segments first, so look once more.
  ASSIGN_OR_RETURN(behind, FirstBehind(archive, path, file, segment_size));
  if (!behind) {
    RETURN_IF_ERROR(RequireUnplanned(request, segment_size));
    return false;
  }
  return MakeError(ErrorCode::kDataCorrupted, "{}", DescribeGap(file, *behind)).WithHint(kGapHint);
}

Result<Identity> IdentityFor(const Repository& repository, const Request& request) {
  Result<Identity> identity = repository.IdentityOf(request.system_id);
  if (!identity && identity.error().code == ErrorCode::kConflict) {
    identity.error().hint =
        "wal-get does not return the WAL of another cluster. Let --config in restore_command name "
        "the configuration file of this one. After pg_upgrade or a new initdb, run SELECT "
        "veza_backup_init(accept_new_system => true) on its primary.";
  }
  return identity;
}

// Checks the file that was fetched. WAL behind the fork is not given out.
Result<int> GiveOut(const Request& request, const Identity& identity) {
  const WalGetOptions& wal = request.wal;
  if (!request.is_segment()) {
    return kDone;
  }
  RETURN_IF_ERROR(RequireSegmentSize(wal.destination, identity.wal_segment_size));
  const auto fork = request.Fork();
  ASSIGN_OR_RETURN(
      const bool belongs,
      fork ? CutAtFork(wal.file, fork->switch_point, wal.destination) : Result<bool>(true));
  return belongs ? kDone : kNotInArchive;
}

Result<int> Fetch(const Repository& repository, const Request& request) {
  const WalGetOptions& wal = request.wal;
  const Result<Identity> found = IdentityFor(repository, request);
  if (!found && found.error().code == ErrorCode::kConflict && request.recovery.is_standby) {
    // The primary streams the WAL. An exit code of 126 would keep the standby from starting.
    PrintWarning(found.error().message, found.error().hint);
    return kNotInArchive;
  }
  RETURN_IF_ERROR(found);
  const Identity& identity = *found;
  const WalArchive archive(repository, identity.system_identifier);
  ASSIGN_OR_RETURN(bool there, request.name.kind == WalFileKind::kTimelineHistory
                                   ? FetchHistoryIfThere(archive, request)
                                   : FetchIfThere(archive, wal));
  if (!there) {
    ASSIGN_OR_RETURN(there, IsTakenLater(request, identity, repository.environment()));
    if (there) {
      RETURN_IF_ERROR(ReplaceTextFile(wal.destination,
                                      "# This timeline was begun after the time of --as-of.\n"));
    }
  }
  if (!there && request.is_segment() && !request.recovery.is_standby) {
    ASSIGN_OR_RETURN(
        there, JudgeAbsence(archive, request, identity.wal_segment_size, repository.environment()));
  }
  if (!there) {
    // The repository was opened a moment ago. But a file system may have been unmounted since, or a
    // bucket deleted, so that nothing is found.
    RETURN_IF_ERROR(RequireRepositoryInPlace(repository, identity.system_identifier));
    if (request.recovery.keeps_note) {
      RETURN_IF_ERROR(NoteAbsent(request.recovery.wal_directory, request.recovery.process,
                                 request.name.timeline));
    }
    return kNotInArchive;
  }
  return GiveOut(request, identity);
}

// Whether a segment that was fetched ahead can be given out unchanged.
bool IsBeforeFork(const Request& request) {
  const auto fork = request.Fork();
  if (!fork) {
    return true;
  }
  std::error_code error;
  const std::uintmax_t size = std::filesystem::file_size(request.wal.destination, error);
  return !error && IsWalSegmentSize(size) &&
         SegmentNumberOf(request.wal.file, size) < SegmentOf(fork->switch_point, size);
}

std::string DirectoryOf(const std::string& path) {
  const std::string directory = std::filesystem::path(path).parent_path().string();
  return directory.empty() ? "." : directory;
}

// Leaves a note that saves the process for the next file work. There is no next file when a person
// or pg_rewind runs wal-get.
void KeepKeyWrapNote(const Repository& repository, const std::string& destination) {
  if (access(kPostmasterPidFile, F_OK) == 0) {
    // Without the note the next file just takes longer.
    [[maybe_unused]] const Status noted = NoteKeyWrap(DirectoryOf(destination), repository);
  }
}

// Waits before the next try, and doubles `pause` for the one after it.
Status WaitToTryAgain(const GlobalOptions& options, const Error& error,
                      std::chrono::seconds& pause) {
  PrintWarning(fmt::format("trying again in {} s: {}", pause.count(), error.message));
  if (!options.environment.clock->Sleep(pause, options.environment.cancellation.get())) {
    return Cancelled();
  }
  pause = std::min(pause * 2, kLongestPause);
  return Ok();
}

// Retries while a file with credentials is away: somebody may be replacing it. Other errors of the
// configuration do not pass. `config` is what the first try gave.
Result<Config> LoadConfigWithRetries(const GlobalOptions& options, SteadyTime deadline,
                                     Result<Config> config) {
  for (std::chrono::seconds pause = kFirstPause;;) {
    if (config || config.error().code != ErrorCode::kCredentials ||
        options.environment.clock->Steady() + pause >= deadline) {
      return config;
    }
    RETURN_IF_ERROR(WaitToTryAgain(options, config.error(), pause));
    config = LoadSettings(options);
  }
}

// The mirror of the repository: where it is and how it is read, if there is one.
struct Mirror {
  GlobalOptions options;  // with `mirror`
  std::optional<Config> config;
};

// A mirror whose configuration is wrong keeps nobody from the repository.
Mirror FindMirror(const GlobalOptions& options) {
  Mirror mirror{options, std::nullopt};
  if (options.mirror || options.as_of) {
    return mirror;
  }
  mirror.options.mirror = true;
  Result<Config> config = LoadSettings(mirror.options);
  if (config) {
    mirror.config = std::move(*config);
  } else if (config.error().code != ErrorCode::kFailedPrecondition) {
    PrintWarning(fmt::format("the mirror cannot be used: {}", config.error().message),
                 config.error().hint);
  }
  return mirror;
}

// What the mirror has.
struct OnMirror {
  std::optional<int> exit_code;       // absent: it does not have the file
  std::optional<std::string> behind;  // see FirstBehind()
};

// `at_end`: the repository has answered that it has neither the file nor anything behind it.
Result<OnMirror> AskMirror(const Mirror& mirror, const Request& request, bool at_end) {
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                   OpenRepository(mirror.options, *mirror.config, kMirrorPolicy));
  ASSIGN_OR_RETURN(const Identity identity, repository->IdentityOf(request.system_id));
  const WalArchive archive(*repository, identity.system_identifier);
  OnMirror found;
  ASSIGN_OR_RETURN(const bool there, FetchIfThere(archive, request.wal));
  if (there) {
    ASSIGN_OR_RETURN(found.exit_code, GiveOut(request, identity));
  } else if (at_end) {
    const std::optional<TimelineHistory>& path = request.recovery.path;
    ASSIGN_OR_RETURN(found.behind, FirstBehind(archive, path ? &*path : nullptr, request.wal.file,
                                               identity.wal_segment_size));
  }
  return found;
}

struct Fetched {
  int exit_code = kDone;
  bool from_mirror = false;
};

// Asks the mirror before a missing segment is taken for the end of WAL: the repository may have
// lost WAL that the mirror has. Returns nothing when the repository is to be asked once more,
// because the WAL may have been stored, and copied, since it was asked.
Result<std::optional<Fetched>> JudgeEnd(const Mirror& mirror, const Request& request,
                                        const Environment& environment, bool asked_before) {
  const std::string& file = request.wal.file;
  const Result<OnMirror> found = AskMirror(mirror, request, true);
  if (!found) {
    PrintWarning(
        fmt::format("WAL segment \"{}\" is not in the repository, and the mirror cannot be "
                    "read: {}",
                    file, found.error().message));
    return std::optional(Fetched{kNotInArchive});
  }
  if (found->exit_code == kDone) {
    PrintWarning(fmt::format(
        "WAL file \"{}\" comes from the mirror, because it is missing in the repository", file));
    return std::optional(Fetched{kDone, true});
  }
  if (found->exit_code || !found->behind) {
    return std::optional(Fetched{kNotInArchive});
  }
  const std::string gap =
      fmt::format("WAL segment \"{}\" is missing in the repository, although its mirror has \"{}\"",
                  file, *found->behind);
  if (request.wal.end_at_gap) {
    PrintWarning(gap + "; recovery ends before it");
    return std::optional(Fetched{kNotInArchive});
  }
  if (asked_before) {
    return MakeError(ErrorCode::kDataCorrupted, "{}", gap).WithHint(kGapHint);
  }
  if (!environment.clock->Sleep(kUploadGrace, environment.cancellation.get())) {
    return Cancelled();
  }
  return std::optional<Fetched>();
}

// A file that the repository, for the reason `why`, does not give out. Nothing if the mirror does
// not have it either, or cannot be read.
std::optional<Fetched> FetchFromMirror(const Mirror& mirror, const Request& request,
                                       const Error& why) {
  const Result<OnMirror> found = AskMirror(mirror, request, false);
  if (!found) {
    PrintWarning(fmt::format("the mirror cannot be read: {}", found.error().message));
    return std::nullopt;
  }
  if (!found->exit_code) {
    return std::nullopt;
  }
  PrintWarning(fmt::format(
      "WAL file \"{}\" comes from the mirror, because the repository cannot be read: {}",
      request.wal.file, why.message));
  return Fetched{*found->exit_code, true};
}

// One try to fetch from the repository. Without `config` it is loaded again: a file with
// credentials was away.
Result<int> FetchFromRepository(const GlobalOptions& options, const Config* config,
                                const RetryPolicy& policy, const Request& request) {
  std::optional<Config> loaded;
  if (config == nullptr) {
    ASSIGN_OR_RETURN(loaded, LoadSettings(options));
    config = &*loaded;
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Repository> repository,
                   OpenRepository(options, *config, policy));
  KeepKeyWrapNote(*repository, request.wal.destination);
  return Fetch(*repository, request);
}

// The same, given up after `patience`.
Result<int> FetchWithPatience(const GlobalOptions& options, const Config* config,
                              const RetryPolicy& policy, const Request& request,
                              std::chrono::seconds patience) {
  GlobalOptions own = options;
  own.environment.cancellation = std::make_shared<Cancellation>();
  int exit_code = kStopRecovery;
  Status status = WithPatience(
      own.environment, patience, options.environment.cancellation.get(), [&]() -> Status {
        ASSIGN_OR_RETURN(exit_code, FetchFromRepository(own, config, policy, request));
        return Ok();
      });
  if (status) {
    return exit_code;
  }
  if (status.error().code == ErrorCode::kCancelled &&
      !options.environment.cancellation->cancelled()) {
    return MakeError(ErrorCode::kDeadlineExceeded, "the repository gave no answer within {} s",
                     patience.count());
  }
  return std::move(status.error());
}

// Fetches from the repository, and retries for as long as that may help. For `config` see
// FetchFromRepository().
Result<Fetched> FetchWithRetries(const GlobalOptions& options, const Config* config,
                                 const Mirror& mirror, const Request& request,
                                 SteadyTime deadline) {
  const Clock& clock = *options.environment.clock;
  bool asked_mirror_at_end = false;
  std::chrono::seconds patience = kFirstPatience;
  for (std::chrono::seconds pause = kFirstPause;; patience *= 2) {
    RetryPolicy policy;
    policy.budget =
        std::max(std::chrono::milliseconds(0),
                 std::chrono::duration_cast<std::chrono::milliseconds>(deadline - clock.Steady()));
    policy.max_attempts = std::numeric_limits<int>::max();
    if (mirror.config) {
      policy.budget = std::min<std::chrono::milliseconds>(policy.budget, kUntilMirror);
    }
    const Result<int> fetched = mirror.config
                                    ? FetchWithPatience(options, config, policy, request, patience)
                                    : FetchFromRepository(options, config, policy, request);
    // A standby asks again and again, and its primary may stream the segment.
    if (fetched && *fetched == kNotInArchive && mirror.config && request.is_segment() &&
        !request.recovery.is_standby) {
      ASSIGN_OR_RETURN(const std::optional<Fetched> end,
                       JudgeEnd(mirror, request, options.environment, asked_mirror_at_end));
      if (end) {
        return *end;
      }
      asked_mirror_at_end = true;
      continue;
    }
    if (fetched) {
      return Fetched{*fetched};
    }
    // After any failure, because only a file that the mirror has counts: the repository may be
    // damaged, or the keys in it replaced.
    if (mirror.config && fetched.error().code != ErrorCode::kCancelled) {
      if (const auto copy = FetchFromMirror(mirror, request, fetched.error())) {
        return *copy;
      }
    }
    if (!MayPass(fetched.error()) || clock.Steady() + pause >= deadline) {
      return fetched.error();
    }
    RETURN_IF_ERROR(WaitToTryAgain(options, fetched.error(), pause));
  }
}

// The data directory that the file is for. The server runs wal-get there. pg_rewind runs it
// elsewhere, so then the destination tells.
std::string DataDirectoryOf(const std::string& destination) {
  const std::filesystem::path directory = std::filesystem::path(destination).parent_path();
  return directory.filename() == "pg_wal" && directory.has_parent_path()
             ? directory.parent_path().string()
             : ".";
}

// The system whose WAL is wanted. The data directory tells that. The repository cannot: it may hold
// several systems (after pg_upgrade), or another cluster's. Absent when there is no data directory.
Result<std::optional<std::uint64_t>> OwnSystem(const std::string& data_directory,
                                               const Environment& environment) {
  for (int reads = 0; reads < kControlFileReads; ++reads) {
    const ControlFile control = ReadControlFile(data_directory);
    switch (control.state) {
      case ControlFile::State::kAbsent:
        return std::optional<std::uint64_t>();
      case ControlFile::State::kWhole:
        return std::optional<std::uint64_t>(control.system_identifier);
      case ControlFile::State::kUnreadable:
        return MakeError(ErrorCode::kInvalidArgument,
                         "could not read file \"{}/global/pg_control\", which tells whose WAL to "
                         "fetch: {}",
                         data_directory, control.why_unreadable)
            .WithHint(
                "Let the account that runs vezactl read it, or name the system identifier of the "
                "cluster with --system-id.");
      case ControlFile::State::kDamaged:
        break;
    }
    if (!environment.clock->Sleep(kControlFilePause, environment.cancellation.get())) {
      return Cancelled();
    }
  }
  return MakeError(ErrorCode::kDataCorrupted,
                   "file \"{}/global/pg_control\", which tells whose WAL to fetch, is damaged",
                   data_directory)
      .WithHint("Name the system identifier of the cluster with --system-id.");
}

// Takes a segment that was fetched ahead, from the repository or from its mirror (either may be
// null). Returns whence; null if the file has to be fetched.
Result<const PrefetchedWal*> TakePrefetched(const Request& request, const PrefetchedWal* repository,
                                            const PrefetchedWal* mirror) {
  for (const PrefetchedWal* const ahead : {repository, mirror}) {
    if (ahead == nullptr || !request.is_segment()) {
      continue;
    }
    ASSIGN_OR_RETURN(const bool taken, ahead->Take(request.wal.file));
    if (taken && IsBeforeFork(request)) {
      return ahead;
    }
  }
  return nullptr;
}

Result<int> RunWalGet(GlobalOptions options, WalGetOptions wal) {
  const std::optional<WalFileName> name = ParseWalFileName(wal.file);
  if (!name.has_value()) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not the name of a WAL file", wal.file)
        .WithHint("The first argument must be the %f of restore_command.");
  }
  if (const auto last = ParseWalFileName(wal.last_segment);
      !wal.last_segment.empty() && (!last || last->kind != WalFileKind::kSegment)) {
    return MakeError(ErrorCode::kInvalidArgument, "\"{}\" is not the name of a WAL segment",
                     wal.last_segment)
        .WithHint("Write --last-segment as vezactl restore has written it, or remove it.");
  }
  // Checked before anything is fetched, as it would be retried again and again.
  RETURN_IF_ERROR(RequireReplaceableFile(wal.destination));
  ASSIGN_OR_RETURN(std::optional<std::uint64_t> system_id, ParseSystemId(wal.system_id));
  const SteadyTime deadline =
      options.environment.clock->Steady() + std::chrono::seconds(wal.retry_seconds);
  Result<Config> config = LoadSettings(options);
  Mirror mirror{options, std::nullopt};
  if (config || config.error().code == ErrorCode::kCredentials) {
    mirror = FindMirror(options);
  }
  // While only the credentials are away, the mirror is asked first.
  if (config || !mirror.config) {
    config = LoadConfigWithRetries(options, deadline, std::move(config));
    RETURN_IF_ERROR(config);
    GetCredentialsAsRoot(options, *config);
  }
  if (mirror.config) {
    GetCredentialsAsRoot(options, *mirror.config);
  }
  RETURN_IF_ERROR(BecomeOwnerOf(DirectoryOf(wal.destination)));
  if (!system_id) {
    ASSIGN_OR_RETURN(system_id, OwnSystem(DataDirectoryOf(wal.destination), options.environment));
    // For the spool, and for the prefetcher, which runs in another directory.
    wal.system_id = system_id ? std::to_string(*system_id) : "";
  }
  options.first_wrap = ReadKeyWrapNote(DirectoryOf(wal.destination));
  mirror.options.first_wrap = options.first_wrap;
  ASSIGN_OR_RETURN(RecoveryState recovery,
                   LookAtRecovery(wal.destination, *name, options.as_of.has_value()));
  const Request request{wal, *name, system_id, std::move(recovery),
                        options.as_of && config ? &*config : nullptr};
  std::optional<PrefetchedWal> prefetched;
  if (config) {
    prefetched.emplace(options, *config, wal.prefetch, wal.system_id, wal.destination);
  }
  std::optional<PrefetchedWal> from_mirror;
  if (mirror.config) {
    from_mirror.emplace(mirror.options, *mirror.config, wal.prefetch, wal.system_id,
                        wal.destination);
  }
  // Where the file has come from, so that those behind it are fetched ahead from there.
  const PrefetchedWal* const first = prefetched ? &*prefetched : nullptr;
  const PrefetchedWal* const second = from_mirror ? &*from_mirror : nullptr;
  ASSIGN_OR_RETURN(const PrefetchedWal* source, TakePrefetched(request, first, second));
  if (source == nullptr) {
    (first != nullptr ? first : second)->RemoveLeftOvers();
    ASSIGN_OR_RETURN(const Fetched fetched, FetchWithRetries(options, config ? &*config : nullptr,
                                                             mirror, request, deadline));
    if (fetched.exit_code != kDone) {
      return fetched.exit_code;
    }
    source = fetched.from_mirror ? second : first;
  }
  if (request.is_segment() && source != nullptr) {
    source->FetchAfter(wal.file);
  }
  if (config) {
    RenewLeaseIfDue(options, *config, wal.lease, wal.destination);
  }
  return kDone;
}

}  // namespace

Subcommand AddWalGet(Command parent) {
  auto wal = std::make_shared<WalGetOptions>();
  Command command = parent.AddCommand("wal-get", "Fetch a WAL file; for restore_command");
  command.Add("file", wal->file, "Name of the WAL file, %f of restore_command")
      .TypeName("NAME")
      .Required();
  command.Add("destination", wal->destination, "Where to put it, %p of restore_command")
      .TypeName("FILE")
      .Required();
  command
      .Add("--system-id", wal->system_id,
           "System identifier of the cluster; default: the one in global/pg_control of the data\n"
           "directory, or, if there is none, the only one in the repository")
      .TypeName("ID");
  command
      .Add("--lease", wal->lease,
           "Lease of the restore, to be renewed once a minute; vezactl restore adds this option")
      .TypeName("NAME");
  command.Add("--retry", wal->retry_seconds, "How long to retry if the file cannot be fetched")
      .TypeName("SECONDS")
      .Range(0, 86400)
      .ShowsDefault();
  command.AddFlag("--end-at-gap", wal->end_at_gap,
                  "Treat a missing segment as the end of the WAL, even if later ones are there");
  command
      .Add("--last-segment", wal->last_segment,
           "Last segment that the restore has found: if it, or one before it, is missing, that is "
           "a\n"
           "failure and not the end of the WAL; vezactl restore adds this option with --as-of")
      .TypeName("NAME");
  command
      .Add("--prefetch", wal->prefetch.segments,
           "Number of following segments that a background process fetches ahead, for a server\n"
           "in recovery; 0 for none")
      .TypeName("N")
      .Range(0, 1024)
      .ShowsDefault();
  command
      .Add("--spool", wal->prefetch.spool,
           "Directory for segments that were fetched ahead; default: veza_spool beside\n"
           "DESTINATION, that is, in pg_wal")
      .TypeName("DIR");
  command.SetFooter(
      "Exit codes: 0 the file was fetched; 1 the repository does not have the file; 126 any other\n"
      "failure, after which PostgreSQL stops instead of ending recovery too early. If the "
      "repository\n"
      "has a later segment, or recovery follows a timeline that was begun behind it, a missing "
      "one\n"
      "is such a failure, but not on a standby or with --end-at-gap. While the repository cannot "
      "be reached, a file that its mirror has is\n"
      "fetched from there.");
  return {command, [wal](const GlobalOptions& options) { return RunWalGet(options, *wal); },
          [](const Error&) { return kStopRecovery; }, true};
}

}  // namespace veza::cli
