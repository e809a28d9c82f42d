// Support for SQL functions that ask the repository and return rows: a thread does the slow part,
// and the main thread then returns the rows.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/config/config.h"
#include "core/repository/repository.h"
#include "pg/server_repository.h"
//
#include "pg/boundary.h"
#include "pg/compat.h"

namespace veza::pg {

// A row as texts, which PostgreSQL's input functions convert. A missing value is NULL. New columns
// must come last: an older definition of the function takes only the first ones (sql_function.h).
using Row = std::vector<std::optional<std::string>>;

// A call that produces rows, with the settings and the facts of the server that it needs.
class RowsCall : public BackgroundCall {
 public:
  // Main thread only. Returns false when the settings cannot be used; `report` says why.
  bool Prepare(ErrorReport* report);

  const std::vector<Row>& rows() const { return rows_; }

 protected:
  // The following are called in the thread. Connect() retries for a few seconds only, because a
  // person waits.
  Result<std::shared_ptr<Store>> Connect();
  RepositoryOptions Options() const;
  // Opens a repository that exists, also one of another system.
  Result<std::unique_ptr<Repository>> Open();

  Config config_;
  ServerFacts facts_;
  std::vector<Row> rows_;
};

// Calls Prepare(), and raises its error.
void PrepareOrRaise(RowsCall* call);

// Returns the rows as the result of a set-returning function. May raise ERROR. `call` must belong
// to a memory context, so that it is freed then.
Datum EmitRows(FunctionCallInfo fcinfo, const RowsCall* call);

// The wait event that pg_stat_activity shows while a function waits for its thread.
uint32 FunctionWaitEvent();

// The whole body of a function without arguments: returns the rows of a Call, which is made with
// its default constructor.
template <typename Call>
Datum ReturnRowsOf(FunctionCallInfo fcinfo) {
  auto* const call = NewInContext<Call>();
  PrepareOrRaise(call);
  RunCall(call, FunctionWaitEvent());
  return EmitRows(fcinfo, call);
}

}  // namespace veza::pg
