#include "pg/sql/rows_call.h"

#include <chrono>
#include <utility>

#include "core/repository/connect.h"
#include "pg/settings.h"
//
#include "pg/postgres.h"
#include "pg/sql/sql_function.h"

extern "C" {
#include <mb/pg_wchar.h>
}

namespace veza::pg {

namespace {

// Short, because a person waits for the answer.
constexpr RetryPolicy kInteractiveRetries{.budget = std::chrono::seconds(15), .max_attempts = 5};

// What the repository holds may come from a database of another encoding: the name of a restore
// point does. What cannot be a text of this one is shown without its letters beyond ASCII.
char* InServerEncoding(const std::string& text) {
  char* const copy = pstrdup(text.c_str());
  if (!pg_verifymbstr(copy, static_cast<int>(strlen(copy)), true)) {
    for (char* at = copy; *at != '\0'; ++at) {
      *at = IS_HIGHBIT_SET(*at) ? '?' : *at;
    }
  }
  return copy;
}

// Adds one row to the result, which copies it. Allocates in the current context. The input
// functions of the column types convert the texts.
void EmitRow(ReturnSetInfo* result, AttInMetadata* attributes, const Row& row) {
  RequireColumns(result, row.size());
  auto** const values = static_cast<char**>(palloc(sizeof(char*) * row.size()));
  for (std::size_t column = 0; column < row.size(); ++column) {
    values[column] = row[column] ? InServerEncoding(*row[column]) : nullptr;
  }
  tuplestore_puttuple(result->setResult, BuildTupleFromCStrings(attributes, values));
}

}  // namespace

bool RowsCall::Prepare(ErrorReport* report) {
  const Status status = CatchExceptions([this]() -> Status {
    facts_ = GetServerFacts();
    ASSIGN_OR_RETURN(config_, CurrentConfig());
    return Ok();
  });
  return !Failed(status, report);
}

Result<std::shared_ptr<Store>> RowsCall::Connect() {
  return ConnectStore(config_, environment_, kInteractiveRetries);
}

RepositoryOptions RowsCall::Options() const {
  return MakeRepositoryOptions(config_, facts_.node, facts_.data_directory);
}

Result<std::unique_ptr<Repository>> RowsCall::Open() {
  ASSIGN_OR_RETURN(std::shared_ptr<Store> store, Connect());
  return Repository::Open(std::move(store), Options(), environment_);
}

void PrepareOrRaise(RowsCall* call) {
  ErrorReport report;
  if (!call->Prepare(&report)) {
    Raise(ERROR, &report);
  }
}

Datum EmitRows(FunctionCallInfo fcinfo, const RowsCall* call) {
  InitMaterializedSRF(fcinfo, 0);
  auto* const result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
  AttInMetadata* const attributes = TupleDescGetAttInMetadata(result->setDesc);
  MemoryContext per_row =
      AllocSetContextCreate(CurrentMemoryContext, "veza_backup row", ALLOCSET_DEFAULT_SIZES);
  for (const Row& row : call->rows()) {
    MemoryContext caller = MemoryContextSwitchTo(per_row);
    EmitRow(result, attributes, row);
    MemoryContextSwitchTo(caller);
    MemoryContextReset(per_row);
  }
  MemoryContextDelete(per_row);
  return static_cast<Datum>(0);
}

uint32 FunctionWaitEvent() {
  static const uint32 wait_event = WaitEvent("VezaBackupFunction");
  return wait_event;
}

}  // namespace veza::pg
