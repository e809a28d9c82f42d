// The databases of a restored cluster: which there are, whether each can be entered, and how the
// drill prepares them before it queries them.
//
// They belong to others, who may be hostile or just do unusual things, and a drill queries as a
// superuser. Nothing that their owners have left there may run before the drill's first statement,
// or change what it means: see DrillServer::Query() and ForgetSettings().
#pragma once

#include <string>
#include <vector>

#include "cli/drill/checks.h"
#include "cli/drill/server.h"
#include "core/error.h"

namespace veza::cli {

struct FirstAnswer {
  std::string database;             // the database that answered
  std::vector<std::string> values;  // the values of all rows
};

// Asks the databases in turn until one answers. kUnsupported when the drill's role may not ask,
// which says nothing about the backup.
Result<FirstAnswer> AskAny(const DrillServer& server, const std::vector<std::string>& databases,
                           const std::string& sql);

// Deletes all settings of roles and databases, so that later sessions start without them. The
// statement needs no name, operator or function that a user could have defined.
Status ForgetSettings(const DrillServer& server);

// The names of the databases that allow connections, from pg_database.
Result<std::vector<std::string>> ListDatabases(const DrillServer& server);

// Creates a role that may read everything and is no superuser, and returns its name. It is needed
// because even planning a SELECT runs code that the table's owner has declared immutable, for
// example in the predicate of an index.
Result<std::string> MakeReader(const DrillServer& server, Random& random);

// Connects to each database. The outcome fails when one of them cannot be entered. Also disables
// the event triggers there, for which there is no setting before 17, and lets the reader connect.
Result<CheckOutcome> EnterDatabases(const DrillServer& server,
                                    const std::vector<std::string>& databases);

// Rolls back all prepared transactions. Nobody else would end them, and a check that needs their
// locks would wait for ever.
Status RollBackPrepared(const DrillServer& server);

// Renames databases whose name has a line break. pg_dumpall passes names to a shell and refuses
// those, so without this anybody who may create a database could make every drill fail.
Status RenameForDump(const DrillServer& server, const std::vector<std::string>& databases,
                     Random& random);

}  // namespace veza::cli
