// The databases of a restored cluster: which there are, whether each can be entered, and what is
// done before anything else is asked in them.
//
// They belong to others, who may be hostile or merely odd, and a drill asks as a superuser. What
// their owners have left there must neither run before the first statement nor change what it
// means: see DrillServer::Query() and ForgetSettings().
#pragma once

#include <string>
#include <vector>

#include "cli/drill/checks.h"
#include "cli/drill/server.h"
#include "core/error.h"

namespace veza::cli {

struct FirstAnswer {
  std::string database;             // that has answered
  std::vector<std::string> values;  // of all rows
};

// Asks one of the databases, the first that answers. kUnsupported when the drill's role is none
// that may: this says nothing about the backup.
Result<FirstAnswer> AskAny(const DrillServer& server, const std::vector<std::string>& databases,
                           const std::string& sql);

// From now on a session has no settings of its role or database. By a statement that needs no name,
// operator or function of a user's.
Status ForgetSettings(const DrillServer& server);

// Those that allow connections, by pg_database.
Result<std::vector<std::string>> ListDatabases(const DrillServer& server);

// A role that may read everything and is no superuser. To plan a SELECT is to run what the table's
// owner has made immutable: the predicate of an index, for example.
Result<std::string> MakeReader(const DrillServer& server, Random& random);

// Connects to each; where that fails the outcome does. Event triggers are switched off there, which
// before 17 no setting does, and the reader may connect.
Result<CheckOutcome> EnterDatabases(const DrillServer& server,
                                    const std::vector<std::string>& databases);

// Nobody will end them, and who waits for their locks would wait for ever.
Status RollBackPrepared(const DrillServer& server);

// Gives databases another name whose name has a line break: pg_dumpall hands names to a shell, and
// refuses those. Whoever may create a database could fail every drill otherwise.
Status RenameForDump(const DrillServer& server, const std::vector<std::string>& databases,
                     Random& random);

}  // namespace veza::cli
