// The PostgreSQL of a drill: recovers what was restored into a throw-away directory, opens it to
// this account alone, and is gone afterwards.
//
// The directory holds data/ (what was restored), conf/ (settings of the drill's own: nothing of the
// restored configuration is used), socket/, wal/, spool/, tablespaces/ and server.log.
//
// Settings alone do not keep the server in there. The WAL names locations of tablespaces by their
// full paths: replay of a CREATE TABLESPACE from after the backup links to the original's, if it is
// on this machine, and would go on to overwrite, truncate and remove files there. And functions,
// triggers and the like are the code of whoever owns the databases. So the server, and all that it
// starts, is confined (confinement.h): it writes and reads in there only, but for programs and
// libraries, has no network and calls no other server, and its environment is a list of ours. Its
// WAL it is given (drill_wal.h). Our client programs see no more files than it does.
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

// Where PostgreSQL's programs of that major version are: `wanted`, if it is not empty, otherwise
// the usual places, pg_config's and those of PATH. kNotFound when they are not, or lack one of
// `programs`.
Result<std::string> FindServerPrograms(int major, const std::string& wanted,
                                       const std::vector<std::string>& programs,
                                       const Cancellation& cancellation);

// For whoever meets the confinement.
inline constexpr const char* kReadableHint =
    "A drill's server reads only its own directory and where the system has programs and "
    "libraries. Name other files that it needs with --readable.";

struct DrillServerOptions {
  std::string directory;  // the throw-away one
  std::string programs;   // FindServerPrograms()
  std::string preload;    // shared_preload_libraries
  std::string role = "postgres";
  int lock = -1;  // a descriptor that the server inherits, throw_away.h says why
  // Of confinement.h; they stay the caller's. -1, null: none.
  int confinement = -1;               // for the server and all programs
  const CallFilter* calls = nullptr;  // for the server
  int wal_confinement = -1;           // for wal-get
  std::vector<std::string> wal_get;   // DrillWalOptions has it
};

class DrillServer {
 public:
  // Everything is kept by reference but the options.
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
  // kInvalidArgument when sockets cannot have so long a path.
  static Status RequireUsable(const std::string& directory);

  Status Start();
  // Recovery has reached its target and the server was promoted; until then it is given WAL. An
  // error tells with the server's words why it has ended before; it is kUnsupported when the WAL
  // leads out of the directory.
  Status WaitUntilOpen();
  // What wal-get has said last, if it is still trying. For one who was stopped while recovery
  // waited for WAL. Empty: it does not wait.
  std::string WhatItWaitsFor() const;

  // What is asked, and by whom. Nothing that ALTER ROLE and ALTER DATABASE have set changes what it
  // means or whether it ends: the search path is ours, no library is loaded, and so on.
  enum class Asker { kDrill, kOperator };
  // The rows' columns end with a zero byte each. `asker` kDrill: a superuser, for whom names that
  // stand alone are pg_catalog's. kOperator: a statement of the operator's, who may mean what is in
  // the schema public; the reader runs it.
  Result<ChildOutput> Query(const std::string& database, const std::string& sql,
                            Asker asker = Asker::kDrill) const;
  // One of PostgreSQL's client programs, connected to this server.
  Result<ChildOutput> Run(const std::string& program, std::vector<std::string> arguments) const;

  // The database to connect to where it does not matter which.
  const std::string& database() const { return database_; }
  void UseDatabase(std::string name) { database_ = std::move(name); }
  const std::string& role() const { return options_.role; }
  // The role that runs the operator's statements.
  const std::string& reader() const { return reader_; }
  void UseReader(std::string role) { reader_ = std::move(role); }

  // With a last checkpoint.
  Status StopCleanly();
  void StopAtOnce();
  bool running() const { return process_.has_value(); }

  // Starts it again after StopCleanly(), as a server that outlives us. Nobody else can come to its
  // socket, in two directories of mode 0700 at most, and it cannot put another in its place: the
  // caller takes the right to write away from the throw-away directory, too.
  Status StartForGood();
  // Commands for a person, unconfined. They believe nothing that the server could have written:
  // pg_ctl would signal whatever process its postmaster.pid names.
  std::string HowToConnect() const;
  std::string HowToStop() const;

  // Where the links in pg_tblspc lead.
  std::vector<Tablespace> Tablespaces() const;
  int major() const { return plan_.backup.postgres_version_num / 10000; }
  // Line of `pg_controldata`, for example "Data page checksum version".
  Result<std::string> ControlData(std::string_view name) const;

 private:
  Status WriteConfiguration() const;
  Result<ChildProcess> StartPostgres(std::vector<std::string> environment, int death_signal,
                                     int lock) const;
  // What it says itself, which is no more than its word.
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
  UniqueFd socket_;         // its directory, once the server is open
  pid_t kept_ = 0;          // what StartForGood() has started
  std::string kept_start_;  // StartOf() it
  std::string database_ = "postgres";
  std::string reader_;
  mutable std::string control_data_;
};

}  // namespace veza::cli
