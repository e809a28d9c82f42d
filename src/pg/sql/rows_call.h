// SQL functions that ask the repository and return rows: the slow part in a thread, the rows in the
// end.
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

// Rows as text; PostgreSQL's input functions make values of them. A missing value is NULL. New
// columns come last: an older definition of the function takes the first ones (sql_function.h).
using Row = std::vector<std::optional<std::string>>;

// A call that produces rows, with what it needs to know of the server.
class RowsCall : public BackgroundCall {
 public:
  // Main thread. False: the settings cannot be used; `report` says why.
  bool Prepare(ErrorReport* report);

  const std::vector<Row>& rows() const { return rows_; }

 protected:
  // In the thread. Retries no longer than somebody waits at a prompt.
  Result<std::shared_ptr<Store>> Connect();
  RepositoryOptions Options() const;
  // What has been initialised; of this server's system or not.
  Result<std::unique_ptr<Repository>> Open();

  Config config_;
  ServerFacts facts_;
  std::vector<Row> rows_;
};

void PrepareOrRaise(RowsCall* call);

// The result of a set-returning function. `call` belongs to the memory context, so errors on the
// way are safe.
Datum EmitRows(FunctionCallInfo fcinfo, const RowsCall* call);

// What pg_stat_activity shows while a function waits for its thread.
uint32 FunctionWaitEvent();

// All of a function that needs no arguments: the rows of a Call, made with its default constructor.
template <typename Call>
Datum ReturnRowsOf(FunctionCallInfo fcinfo) {
  auto* const call = NewInContext<Call>();
  PrepareOrRaise(call);
  RunCall(call, FunctionWaitEvent());
  return EmitRows(fcinfo, call);
}

}  // namespace veza::pg
