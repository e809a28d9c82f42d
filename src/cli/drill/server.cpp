#include "cli/drill/server.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <sstream>
#include <utility>

#include "core/config/config.h"
#include "core/postgres/postmaster_pid.h"
#include "core/process_identity.h"
#include "core/restore/recovery_settings.h"
#include "core/storage/file_io.h"
#include "core/storage/unique_fd.h"

namespace veza::cli {
namespace {

constexpr std::chrono::milliseconds kPoll{20};
constexpr std::chrono::seconds kQuitPatience{10};
constexpr std::chrono::seconds kStartPatience{60};
constexpr off_t kEndSize = 64 << 10;
constexpr const char* kPort = "5432";
constexpr int kFirstWithEventTriggersSetting = 17;
constexpr int kFirstWithOriginsSetting = 18;
constexpr const char* kManyOrigins = "1000";
constexpr int kSpareConnections = 20;
// How many prepared transactions a drill's server has room for at least. Their locks shall not take
// more memory than usual: max_locks_per_transaction is 64 by default.
constexpr int kManyPrepared = 1000;
constexpr int kLocksOfPrepared = 64 * kManyPrepared;
constexpr std::string_view kTooManyPrepared = "maximum number of prepared transactions reached";
constexpr std::string_view kNoSpaceLeft = "No space left on device";  // from strerror()
constexpr std::string_view kCreateTablespace = " for Tablespace/CREATE: ";

// The end of a file. Code of others may have replaced it: what is not a regular file could block or
// lead elsewhere, and a huge one could fill the memory. Empty if there is no such file.
std::string ReadEnd(const std::string& path) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat info {};
  if (!file.valid() || fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) {
    return {};
  }
  std::string text(static_cast<std::size_t>(std::min<off_t>(info.st_size, kEndSize)), '\0');
  const off_t start = info.st_size - static_cast<off_t>(text.size());
  const ssize_t got = pread(file.get(), text.data(), text.size(), start);
  text.resize(static_cast<std::size_t>(std::max<ssize_t>(got, 0)));
  if (start > 0) {
    text.erase(0, text.find('\n'));  // the text begins within a line
  }
  return text;
}

Status WriteFile(const std::string& path, const std::string& content) {
  const UniqueFd file(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!file.valid()) {
    return ErrnoError(errno, fmt::format("could not create file \"{}\"", path));
  }
  return WriteAllAt(file.get(), 0, AsBytes(content), fmt::format("file \"{}\"", path));
}

Status MakeDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0) {
    return ErrnoError(errno, fmt::format("could not create directory \"{}\"", path));
  }
  return Ok();
}

// The name for psql's -d. A name comes from the backup: it can look like a connection string or an
// option, or contain characters that a terminal or shell obeys. Such a name is percent-encoded in a
// URI.
std::string DatabaseForPsql(const std::string& name) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  };
  if (std::ranges::all_of(name, plain)) {
    return name;
  }
  std::string uri = "postgresql:///";
  for (const char c : name) {
    uri += plain(c) ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return uri;
}

bool IsProgram(const std::string& path) {
  return access(path.c_str(), X_OK) == 0;
}

// Parses for example "postgres (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)" or "postgres
// (PostgreSQL) 19beta3". Returns 0 for anything else.
int MajorOf(const std::string& version) {
  constexpr std::string_view kBefore = "(PostgreSQL) ";
  const std::size_t found = version.find(kBefore);
  int major = 0;
  if (found != std::string::npos) {
    std::from_chars(version.data() + found + kBefore.size(), version.data() + version.size(),
                    major);
  }
  return major;
}

Result<int> MajorIn(const std::string& directory, const Cancellation& cancellation) {
  ASSIGN_OR_RETURN(const ChildOutput output,
                   RunToEnd({.arguments = {directory + "/postgres", "--version"},
                             .environment = CleanEnvironment()},
                            cancellation));
  return MajorOf(output.output);
}

std::vector<std::string> UsualDirectories(int major, const Cancellation& cancellation) {
  std::vector<std::string> directories = {fmt::format("/usr/lib/postgresql/{}/bin", major),
                                          fmt::format("/usr/pgsql-{}/bin", major)};
  std::istringstream path(ProcessEnvironment()("PATH").value_or(""));
  std::vector<std::string> of_path;
  for (std::string directory; std::getline(path, directory, ':');) {
    if (!directory.starts_with('/')) {
      continue;
    }
    of_path.push_back(directory);
    if (IsProgram(directory + "/pg_config")) {
      const Result<ChildOutput> output = RunToEnd(
          {.arguments = {directory + "/pg_config", "--bindir"}, .environment = CleanEnvironment()},
          cancellation);
      if (output && output->exit_code == 0) {
        directories.push_back(output->output.substr(0, output->output.find('\n')));
      }
    }
  }
  std::move(of_path.begin(), of_path.end(), std::back_inserter(directories));
  return directories;
}

// Quotes a value for a configuration file.
std::string Quoted(std::string_view value) {
  std::string quoted = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') {
      quoted += c;
    }
    quoted += c;
  }
  quoted += '\'';
  return quoted;
}

// `tablespace` is described as recovery does: oid and location.
Error OutsideError(const std::string& tablespace) {
  return MakeError(ErrorCode::kUnsupported,
                   "the WAL after the backup creates tablespace {}, outside the drill's directory",
                   tablespace)
      .WithHint("Take another backup, full or diff, and drill it.");
}

}  // namespace

Result<std::string> FindServerPrograms(int major, const std::string& wanted,
                                       const std::vector<std::string>& programs,
                                       const Cancellation& cancellation) {
  const std::vector<std::string> directories =
      wanted.empty() ? UsualDirectories(major, cancellation) : std::vector{wanted};
  RETURN_IF_ERROR(cancellation.Check());
  for (const std::string& directory : directories) {
    if (!IsProgram(directory + "/postgres")) {
      continue;
    }
    ASSIGN_OR_RETURN(const int found, MajorIn(directory, cancellation));
    if (found != major) {
      if (!wanted.empty()) {
        return MakeError(ErrorCode::kInvalidArgument,
                         "\"{}\" holds PostgreSQL {}, but the backup is of PostgreSQL {}", wanted,
                         found, major)
            .WithHint("Name the right directory with --pg-bin.");
      }
      continue;
    }
    for (const std::string& program : programs) {
      if (!IsProgram(fmt::format("{}/{}", directory, program))) {
        return MakeError(ErrorCode::kNotFound, "there is no program \"{}/{}\"", directory, program)
            .WithHint("Install PostgreSQL's client programs of that version.");
      }
    }
    return directory;
  }
  if (!wanted.empty()) {
    return MakeError(ErrorCode::kNotFound, "there is no program \"{}/postgres\"", wanted)
        .WithHint("Name the directory of PostgreSQL's programs with --pg-bin.");
  }
  return MakeError(ErrorCode::kNotFound,
                   "the programs of PostgreSQL {}, which the backup needs, were not found", major)
      .WithHint(fmt::format("Install PostgreSQL {} (on Debian: postgresql-{}), or name the "
                            "directory of its programs with --pg-bin.",
                            major, major));
}

Status DrillServer::RequireUsable(const std::string& directory) {
  const std::string socket = fmt::format("{}/socket/.s.PGSQL.{}.lock", directory, kPort);
  if (socket.size() >= sizeof(sockaddr_un::sun_path)) {
    return MakeError(ErrorCode::kInvalidArgument, "the path of directory \"{}\" is too long",
                     directory)
        .WithHint(
            "Use --directory to choose a shorter one: the path of a socket in it is limited.");
  }
  return Ok();
}

// The drill's own settings. Nothing of the restored configuration is used: not what ALTER SYSTEM
// has set, and not its ports, libraries, jobs or archive.
//
// hot_standby is off, because with it recovery would demand the primary's limits, and pause when
// they grow later. But prepared transactions and the locks of pg_dump need room. Without workers
// for logical replication no subscription is served.
Result<std::string> DrillServer::Settings() const {
  RecoverySettings recovery = plan_.recovery;
  recovery.restore_command = DrillWal::RestoreCommand();
  std::string text = RewriteAutoConf("", recovery);
  const auto set = [&](std::string_view name, std::string_view value) {
    text += fmt::format("{} = {}\n", name, Quoted(value));
  };
  set("data_directory", DataDirectory(options_.directory));
  set("listen_addresses", "");
  set("port", kPort);
  set("unix_socket_directories", In("socket"));
  set("unix_socket_permissions", "0700");
  set("cluster_name", "veza_backup drill");
  set("shared_preload_libraries", options_.preload);
  set("hot_standby", "off");
  set("wal_level", "replica");
  set("autovacuum", "off");
  set("max_logical_replication_workers", "0");
  if (major() >= kFirstWithEventTriggersSetting) {
    set("event_triggers", "off");
  }
  // In files of its own, because all processes of the account share /dev/shm, and it may not exist.
  set("dynamic_shared_memory_type", "mmap");
  if (HasInPlaceTablespaces()) {
    set("allow_in_place_tablespaces", "on");
  }
  set("restart_after_crash", "off");
  set("logging_collector", "off");
  set("log_destination", "stderr");
  set("shared_buffers", "32MB");
  set("min_wal_size", fmt::format("{}MB", plan_.backup.wal_segment_size >> 19));  // two segments
  set("max_wal_size",
      fmt::format("{}MB", std::max<std::uint64_t>(1024, plan_.backup.wal_segment_size >> 18)));

  // Recovery needs room for the replication origins of the backup, and nothing tells how many there
  // are.
  set("max_replication_slots", kManyOrigins);
  if (major() >= kFirstWithOriginsSetting) {
    set("max_active_replication_origins", kManyOrigins);
  }
  // Checks make `jobs` connections at once, and some connections are reserved.
  ASSIGN_OR_RETURN(const std::string connections, ControlData("max_connections setting"));
  set("max_connections",
      fmt::format("{}", std::max(std::atoi(connections.c_str()), plan_.jobs + kSpareConnections)));
  // The limit may have been raised after the backup.
  ASSIGN_OR_RETURN(const std::string prepared, ControlData("max_prepared_xacts setting"));
  ASSIGN_OR_RETURN(const std::string locks, ControlData("max_locks_per_xact setting"));
  set("max_prepared_transactions",
      fmt::format("{}",
                  std::max(std::atoi(prepared.c_str()),
                           std::min(kManyPrepared,
                                    kLocksOfPrepared / std::max(std::atoi(locks.c_str()), 1)))));
  const std::pair<const char*, const char*> limits[] = {
      {"max_worker_processes", "max_worker_processes setting"},
      {"max_wal_senders", "max_wal_senders setting"},
      {"max_locks_per_transaction", "max_locks_per_xact setting"},
      {"track_commit_timestamp", "track_commit_timestamp setting"}};
  for (const auto& [setting, line] : limits) {
    ASSIGN_OR_RETURN(const std::string value, ControlData(line));
    set(setting, value);
  }
  return text;
}

Result<std::string> DrillServer::ControlData(std::string_view name) const {
  if (control_data_.empty()) {
    ASSIGN_OR_RETURN(const ChildOutput output,
                     Run("pg_controldata", {"-D", DataDirectory(options_.directory)}));
    if (output.exit_code != 0) {
      return MakeError(ErrorCode::kDataCorrupted, "pg_controldata failed: {}", output.error);
    }
    control_data_ = output.output;
  }
  std::istringstream lines(control_data_);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name) && line.size() > name.size() && line[name.size()] == ':') {
      return line.substr(std::min(line.find_first_not_of(' ', name.size() + 1), line.size()));
    }
  }
  return MakeError(ErrorCode::kUnsupported, "pg_controldata does not report \"{}\"", name);
}

Status DrillServer::WriteConfiguration() const {
  for (const char* directory : {"conf", "socket"}) {
    RETURN_IF_ERROR(MakeDirectory(In(directory)));
  }
  ASSIGN_OR_RETURN(const std::string settings, Settings());
  RETURN_IF_ERROR(WriteFile(In("conf/postgresql.conf"), settings));
  // Safe, because nobody else can reach the socket.
  RETURN_IF_ERROR(WriteFile(In("conf/pg_hba.conf"), "local all all trust\n"));
  RETURN_IF_ERROR(WriteFile(In("conf/pg_ident.conf"), ""));
  return WriteFile(DataDirectory(options_.directory) + "/postgresql.auto.conf", "");
}

Result<ChildProcess> DrillServer::StartPostgres(std::vector<std::string> environment,
                                                int death_signal, int lock) const {
  const std::string path = In("server.log");
  const UniqueFd log(open(
      path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
  if (!log.valid()) {
    return ErrnoError(errno, fmt::format("could not create file \"{}\"", path));
  }
  return ChildProcess::Start({.arguments = {Program("postgres"), "-D", In("conf")},
                              .environment = std::move(environment),
                              .directory = options_.directory,
                              .death_signal = death_signal,
                              .inherited = lock,
                              .confinement = options_.confinement,
                              .calls = options_.calls},
                             log.get(), log.get());
}

Status DrillServer::Start() {
  RETURN_IF_ERROR(WriteConfiguration());
  RETURN_IF_ERROR(wal_.Open());
  ASSIGN_OR_RETURN(ChildProcess process,
                   StartPostgres(ServerEnvironment(), SIGQUIT, options_.lock));
  process_.emplace(std::move(process));
  return Ok();
}

bool DrillServer::SaysItIsReady() const {
  const Result<std::optional<PostmasterPid>> file =
      ReadPostmasterPid(DataDirectory(options_.directory));
  return file && *file && (*file)->state == "ready";
}

Status DrillServer::WaitUntilOpen() {
  for (;;) {
    if (const std::optional<int> exit_code = process_->Poll()) {
      process_.reset();
      return EndedError(*exit_code);
    }
    if (SaysItIsReady()) {
      wal_.Close();
      RETURN_IF_ERROR(HoldSocket());
      // Ends the prefetcher of WAL: it has the credentials, and must not run beside code of others.
      KillChildrenBut(process_->pid());
      return RequireOwnTablespaces();
    }
    RETURN_IF_ERROR(wal_.Serve(kPoll));
  }
}

std::string DrillServer::WhatItWaitsFor() const {
  constexpr std::string_view kSaid = "vezactl: warning: ";
  std::string text = ReadEnd(In("server.log"));
  while (text.ends_with('\n')) {
    text.pop_back();
  }
  // If the last line is the server's own, it has gone on.
  const std::string last = text.substr(text.rfind('\n') + 1);
  return last.starts_with(kSaid) ? last.substr(kSaid.size()) : "";
}

// Protects the socket before the first client connects and code of others may run. Such code could
// replace the socket by a link to another server's, and our statements, which a superuser runs,
// would go there. So the directory is made read-only (the filter keeps the server from changing
// that), and our clients reach it through a descriptor, wherever its name leads.
Status DrillServer::HoldSocket() {
  const std::string path = In("socket");
  socket_ = UniqueFd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!socket_.valid() || fchmod(socket_.get(), S_IRUSR | S_IXUSR) != 0) {
    return ErrnoError(errno, fmt::format("could not protect directory \"{}\"", path));
  }
  return Ok();
}

std::string DrillServer::SocketDirectory() const {
  return socket_.valid() ? fmt::format("/proc/self/fd/{}", socket_.get()) : In("socket");
}

// Whether pg_tblspc contains directories in place of links. Without the setting
// allow_in_place_tablespaces they end recovery (CheckTablespaceDirectory), because replay creates
// such directories for tablespaces that it did not find. Those of the backup are legitimate.
bool DrillServer::HasInPlaceTablespaces() const {
  std::error_code error;
  std::filesystem::directory_iterator entries(DataDirectory(options_.directory) + "/pg_tblspc",
                                              error);
  return !error && std::any_of(begin(entries), end(entries), [](const auto& entry) {
    std::error_code ignored;
    return !entry.is_symlink(ignored) && entry.is_directory(ignored);
  });
}

std::vector<Tablespace> DrillServer::Tablespaces() const {
  std::vector<Tablespace> tablespaces;
  std::error_code error;
  std::filesystem::directory_iterator entries(DataDirectory(options_.directory) + "/pg_tblspc",
                                              error);
  for (; !error && entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    const std::string location = std::filesystem::read_symlink(entries->path(), error).string();
    const std::string name = entries->path().filename().string();
    if (!error) {
      Tablespace tablespace{.path = location};
      std::from_chars(name.data(), name.data() + name.size(), tablespace.oid);
      tablespaces.push_back(std::move(tablespace));
    }
    error.clear();  // the entry is not a link
  }
  return tablespaces;
}

// Refuses a tablespace outside the drill's directory, even an empty one that replay did not stumble
// over: a server that is kept will be started again, and would remove files there.
Status DrillServer::RequireOwnTablespaces() const {
  for (const Tablespace& tablespace : Tablespaces()) {
    if (!tablespace.path.starts_with(options_.directory + "/")) {
      return OutsideError(fmt::format("{} \"{}\"", tablespace.oid, tablespace.path));
    }
  }
  return Ok();
}

Error DrillServer::EndedError(int exit_code) const {
  std::istringstream lines(ReadEnd(In("server.log")));
  std::string fatal;
  std::string of_restore_command;
  Status inside = RequireOwnTablespaces();
  for (std::string line; std::getline(lines, line);) {
    for (const char* severity : {"FATAL:  ", "PANIC:  "}) {
      const std::size_t found = line.find(severity);
      // The first one is the cause. Later ones are its consequences.
      if (found != std::string::npos && fatal.empty()) {
        fatal = line.substr(found + std::string_view(severity).size());
      }
    }
    if (line.starts_with("vezactl: error: ")) {
      of_restore_command = line;
    }
    // From the context of the error. There is no link when the tablespace's directory does not
    // exist.
    if (const std::size_t found = line.find(kCreateTablespace); found != std::string::npos) {
      inside = OutsideError(line.substr(found + kCreateTablespace.size()));
    }
  }
  std::string message = fmt::format("PostgreSQL ended during recovery: {}",
                                    fatal.empty() ? fmt::format("exit code {}", exit_code) : fatal);
  if (!of_restore_command.empty()) {
    message += fmt::format(" ({})", of_restore_command);
  }
  if (!inside) {
    return std::move(inside.error()).WithContext(message);
  }
  if (fatal.find(kTooManyPrepared) != std::string::npos) {
    return Error{ErrorCode::kUnsupported, message,
                 "max_prepared_transactions was raised after the backup, and more transactions are "
                 "prepared than a drill has room for. Take another backup, full or diff, and drill "
                 "it."};
  }
  if (wal_.environment_failed()) {
    return Error{ErrorCode::kUnavailable, message,
                 "This says nothing about the backup. Fix what keeps wal-get from the repository, "
                 "and repeat the drill."};
  }
  if (fatal.find(kNoSpaceLeft) != std::string::npos) {
    return Error{
        ErrorCode::kNoSpace, message,
        "This says nothing about the backup. Free some space, or choose another place with "
        "--directory, and repeat the drill."};
  }
  // The cause may be a library that is preloaded, for example.
  if (fatal.find("Permission denied") != std::string::npos) {
    return Error{ErrorCode::kUnsupported, message, kReadableHint};
  }
  return Error{ErrorCode::kFailedPrecondition, message,
               "Use --keep to keep the directory, which contains PostgreSQL's log."};
}

// The settings in PGOPTIONS. What a client asks for when it connects has priority over what is
// stored for role and database (guc.h: PGC_S_CLIENT above PGC_S_DATABASE_USER; InitPostgres()
// applies both, in any order). For a superuser this works with every setting that can be changed in
// a session.
//
// The list has the settings that could make the drill's first statement fail, hang or mean
// something else, or load somebody's library before it. That statement then removes all stored
// settings (ForgetSettings). So the operator's statements, which run later, need fewer, and a role
// that may not set all of these can run them.
std::string DrillServer::ClientOptions(Asker asker) const {
  // No other session is there, but prepared transactions hold locks as well.
  std::vector<std::string> settings = {"lock_timeout=60s"};
  if (asker == Asker::kOperator) {
    settings.emplace_back("search_path=pg_catalog,public");
  } else {
    const char* const of_drill[] = {"search_path=pg_catalog",
                                    "role=none",
                                    "session_preload_libraries=",
                                    "local_preload_libraries=",
                                    "default_transaction_read_only=off",
                                    "statement_timeout=0",
                                    "idle_in_transaction_session_timeout=0",
                                    "idle_session_timeout=0"};
    settings.insert(settings.end(), std::begin(of_drill), std::end(of_drill));
    settings.push_back("session_authorization=" + options_.role);
    if (major() >= kFirstWithEventTriggersSetting) {
      settings.emplace_back("event_triggers=off");
      settings.emplace_back("transaction_timeout=0");
    }
  }
  std::string options;
  for (const std::string& setting : settings) {
    options += options.empty() ? "-c " : " -c ";
    for (const char c : setting) {  // pg_split_opts()
      if (c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f' || c == '\\') {
        options += '\\';
      }
      options += c;
    }
  }
  return options;
}

std::vector<std::string> DrillServer::ClientEnvironment(Asker asker) const {
  std::vector<std::string> environment = CleanEnvironment();
  environment.push_back("PGHOST=" + SocketDirectory());
  environment.push_back(std::string("PGPORT=") + kPort);
  environment.push_back("PGUSER=" + (asker == Asker::kDrill ? options_.role : reader_));
  environment.emplace_back("PGAPPNAME=veza_backup drill");
  environment.push_back("PGOPTIONS=" + ClientOptions(asker));
  // No .pgpass, no service file, and no certificates of a user.
  environment.push_back("PGPASSFILE=" + In("conf/none"));
  environment.push_back("PGSYSCONFDIR=" + In("conf"));
  return environment;
}

std::vector<std::string> DrillServer::ServerEnvironment() const {
  std::vector<std::string> environment = CleanEnvironment();
  environment.push_back(wal_.Variable());
  return environment;
}

Result<ChildOutput> DrillServer::Run(const std::string& program,
                                     std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), Program(program));
  return RunToEnd({.arguments = std::move(arguments),
                   .environment = ClientEnvironment(Asker::kDrill),
                   .directory = options_.directory,
                   .inherited = socket_.get(),
                   .confinement = options_.confinement},
                  *environment_.cancellation);
}

Result<ChildOutput> DrillServer::Query(const std::string& database, const std::string& sql,
                                       Asker asker) const {
  // In PGDATABASE, a name is not mistaken for a connection string.
  std::vector<std::string> environment = ClientEnvironment(asker);
  environment.push_back("PGDATABASE=" + database);
  return RunToEnd({.arguments = {Program("psql"), "--no-psqlrc", "--no-align", "--tuples-only",
                                 "--quiet", "--field-separator-zero", "--record-separator-zero",
                                 "--no-password", "--set=ON_ERROR_STOP=1", "--command", sql},
                   .environment = std::move(environment),
                   .directory = options_.directory,
                   .inherited = socket_.get(),
                   .confinement = options_.confinement},
                  *environment_.cancellation);
}

Status DrillServer::StopCleanly() {
  process_->Signal(SIGINT);
  for (;;) {
    if (const std::optional<int> exit_code = process_->Poll()) {
      process_.reset();
      return *exit_code == 0 ? Ok() : Status(EndedError(*exit_code));
    }
    if (!environment_.clock->Sleep(kPoll, environment_.cancellation.get())) {
      return Cancelled();
    }
  }
}

void DrillServer::StopAtOnce() {
  if (!process_) {
    return;
  }
  process_->Signal(SIGQUIT);
  const SteadyTime deadline = environment_.clock->Steady() + kQuitPatience;
  while (!process_->Poll() && environment_.clock->Steady() < deadline) {
    // Not interruptible: the cancellation is probably why we are here.
    environment_.clock->Sleep(kPoll, nullptr);
  }
  process_.reset();
}

Status DrillServer::StartForGood() {
  // The server must be able to create its socket again.
  if (socket_.valid() && fchmod(socket_.get(), S_IRWXU) != 0) {
    return ErrnoError(errno, "could not make the directory of the socket writable again");
  }
  ASSIGN_OR_RETURN(ChildProcess process, StartPostgres(CleanEnvironment(), 0, -1));
  const SteadyTime deadline = environment_.clock->Steady() + kStartPatience;
  while (!SaysItIsReady()) {
    if (const std::optional<int> exit_code = process.Poll()) {
      return EndedError(*exit_code);
    }
    if (environment_.clock->Steady() >= deadline) {
      return MakeError(ErrorCode::kDeadlineExceeded,
                       "the server to be kept was not ready after {} s", kStartPatience.count());
    }
    if (!environment_.clock->Sleep(kPoll, environment_.cancellation.get())) {
      return Cancelled();
    }
  }
  // Before the first client again, because a person will use the path of the socket.
  RETURN_IF_ERROR(HoldSocket());
  kept_start_ = StartOf(process.pid());
  if (kept_start_.empty()) {
    return MakeError(ErrorCode::kFailedPrecondition, "the server to be kept has ended");
  }
  kept_ = process.Release();
  return Ok();
}

std::string DrillServer::HowToConnect() const {
  return fmt::format("{} -h {} -p {} -U {} -d {}", QuoteForShell(Program("psql")),
                     QuoteForShell(In("socket")), kPort, QuoteForShell(options_.role),
                     QuoteForShell(DatabaseForPsql(database_)));
}

// The command gives the write permission back first, so that the directory can be removed even when
// the server has ended by itself. It compares the start time of the process, because after the
// server's end its id may belong to another process. A process can change its own name (prctl) and
// so shift the fields, but not those of another process.
std::string DrillServer::HowToStop() const {
  return fmt::format(
      "chmod u+w {2} {3}; [ \"$(cut -d' ' -f22 /proc/{0}/stat)\" = {1} ] && kill -QUIT {0} && "
      "timeout 10 tail --pid={0} -f /dev/null",
      kept_, kept_start_, QuoteForShell(options_.directory), QuoteForShell(In("socket")));
}

}  // namespace veza::cli
