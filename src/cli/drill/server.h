// The PostgreSQL server of a drill. It recovers what was restored into a throw-away directory, and
// is open to this account only. It is stopped at the end.
//
// The directory holds data/ (what was restored), conf/ (the drill's own settings: nothing of the
// restored configuration is used), socket/, wal/, spool/, tablespaces/ and server.log.
//
// Settings alone do not keep the server in its directory. WAL names the locations of tablespaces by
// absolute paths. When it replays a CREATE TABLESPACE from after the backup, it links to the
// original's directory, if that is on this machine, and would overwrite, truncate and remove files
// there. And functions, triggers and the like are code of whoever owns the databases.
//
// So the server and everything that it starts are confined (confinement.h). It reads and writes
// only in its directory, but for programs and libraries. It has no network, and cannot call other
// servers. Its environment contains only what we put there. The drill hands it its WAL (wal.h). Our
// client programs see no more files than the server does.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/child_process.h"
#include "cli/confinement.h"
#include "cli/drill/wal.h"
#include "core/environment.h"
#include "core/error.h"
#include "core/restore/plan.h"
#include "core/storage/unique_fd.h"

namespace veza::cli {

// The directory of PostgreSQL's programs of that major version: `wanted` if it is not empty,
// otherwise the first match among the usual places, pg_config's and those in PATH. kNotFound when
// there is none, or when one of `programs` is missing.
Result<std::string> FindServerPrograms(int major, const std::string& wanted,
                                       const std::vector<std::string>& programs,
                                       const Cancellation& cancellation);

// The hint when the confinement may be the cause of a failure.
inline constexpr const char* kReadableHint =
    "The server of a drill can read only its own directory and the system's programs and "
    "libraries. Use --readable to name other files that it needs.";

struct DrillServerOptions {
  std::string directory;  // the throw-away directory
  std::string programs;   // FindServerPrograms()
  std::string preload;    // shared_preload_libraries
  std::string role = "postgres";
  int lock = -1;  // a descriptor that the server inherits (see throw_away.h)
  // See confinement.h. The caller keeps owning them. -1 and null mean none.
  int confinement = -1;               // for the server and all programs
  const CallFilter* calls = nullptr;  // for the server
  int wal_confinement = -1;           // for wal-get
  std::vector<std::string> wal_get;   // as in DrillWalOptions
};

class DrillServer {
 public:
  // Everything but the options is kept by reference, and must outlive the server.
  DrillServer(DrillServerOptions options, const RestorePlan& plan, const Environment& environment)
      : options_(std::move(options)),
        plan_(plan),
        environment_(environment),
        wal_({.directory = options_.directory,
              .data = DataDirectory(options_.directory),
              .log = In("server.log"),
              .wal_get = options_.wal_get,
              .confinement = options_.wal_confinement},
             environment) {}
  ~DrillServer() { StopAtOnce(); }
  DrillServer(const DrillServer&) = delete;
  DrillServer& operator=(const DrillServer&) = delete;

  static std::string DataDirectory(const std::string& directory) { return directory + "/data"; }
  // kInvalidArgument when the path is too long for a socket in the directory.
  static Status RequireUsable(const std::string& directory);

  // Writes the configuration and starts the server. Does not wait for it.
  Status Start();
  // Returns when recovery has reached its target and the server was promoted. Hands it WAL until
  // then. When the server ends before, the error tells why in the server's words. It is
  // kUnsupported when the WAL leads out of the directory.
  Status WaitUntilOpen();
  // The last message of wal-get, if recovery still waits for WAL; otherwise empty. Tells what a
  // drill that was stopped waited for.
  std::string WhatItWaitsFor() const;

  // Who asks. In both cases nothing that ALTER ROLE or ALTER DATABASE has set changes what a
  // statement means or whether it ends: the search path is ours, no library is loaded, and so on.
  enum class Asker { kDrill, kOperator };
  // Runs a statement. In the output each column ends with a zero byte. kDrill runs it as a
  // superuser with only pg_catalog in the search path. kOperator is for statements of the operator,
  // which may mean objects in the schema public: the reader runs them.
  Result<ChildOutput> Query(const std::string& database, const std::string& sql,
                            Asker asker = Asker::kDrill) const;
  // Runs one of PostgreSQL's client programs, connected to this server.
  Result<ChildOutput> Run(const std::string& program, std::vector<std::string> arguments) const;

  // The database to connect to when it does not matter which.
  const std::string& database() const { return database_; }
  void UseDatabase(std::string name) { database_ = std::move(name); }
  const std::string& role() const { return options_.role; }
  // The role that runs the operator's statements.
  const std::string& reader() const { return reader_; }
  void UseReader(std::string role) { reader_ = std::move(role); }

  // Stops the server with a shutdown checkpoint.
  Status StopCleanly();
  // Stops it without a checkpoint (SIGQUIT), and kills it if that takes too long.
  void StopAtOnce();
  bool running() const { return process_.has_value(); }

  // Starts it again after StopCleanly(), as a server that outlives this process. No other account
  // can reach its socket, because its directories have at most mode 0700. The server cannot replace
  // the socket: the caller must make the throw-away directory read-only, too.
  Status StartForGood();
  // Shell commands for a person, who is not confined. They trust nothing that the server could have
  // written: pg_ctl, for example, would signal any process that postmaster.pid names.
  std::string HowToConnect() const;
  std::string HowToStop() const;

  // The tablespaces that the links in pg_tblspc lead to.
  std::vector<Tablespace> Tablespaces() const;
  int major() const { return plan_.backup.postgres_version_num / 10000; }
  // The value of a line of pg_controldata, for example "Data page checksum version".
  Result<std::string> ControlData(std::string_view name) const;

 private:
  Status WriteConfiguration() const;
  Result<ChildProcess> StartPostgres(std::vector<std::string> environment, int death_signal,
                                     int lock) const;
  // Whether postmaster.pid says so. The server could write anything there, so nothing may depend on
  // it being true.
  bool SaysItIsReady() const;
  Status HoldSocket();
  std::string SocketDirectory() const;
  Result<std::string> Settings() const;
  std::string Program(const std::string& name) const { return options_.programs + "/" + name; }
  std::string In(const std::string& name) const { return options_.directory + "/" + name; }
  std::string ClientOptions(Asker asker) const;
  std::vector<std::string> ClientEnvironment(Asker asker) const;
  std::vector<std::string> ServerEnvironment() const;
  bool HasInPlaceTablespaces() const;
  Status RequireOwnTablespaces() const;
  Error EndedError(int exit_code) const;

  const DrillServerOptions options_;
  const RestorePlan& plan_;
  const Environment& environment_;
  DrillWal wal_;
  std::optional<ChildProcess> process_;
  UniqueFd socket_;         // the directory of the socket, once the server is open
  pid_t kept_ = 0;          // the process that StartForGood() has started
  std::string kept_start_;  // StartOf() that process
  std::string database_ = "postgres";
  std::string reader_;
  mutable std::string control_data_;
};

}  // namespace veza::cli
