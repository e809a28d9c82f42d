// How a function is exported to SQL, and the check that its SQL definition fits this library.
//
// Library and definition change at different times: the library when the server is restarted, the
// definition by ALTER EXTENSION veza_backup UPDATE. A library must serve every older definition. So
// new arguments and new result columns are only ever appended. An argument that the definition
// lacks takes its default (HasArgument()), and a column that it lacks is not returned. A definition
// that is newer than the library, or does not belong to the extension, is refused before anything
// is done.
#pragma once

#include "pg/postgres.h"

namespace veza::pg {

// Raises ERROR unless the function belongs to the extension, in a version that this library knows.
void RequireKnownDefinition(FunctionCallInfo fcinfo);

// Returns false when the definition is older than the argument.
inline bool HasArgument(FunctionCallInfo fcinfo, int number) {
  return number < PG_NARGS();
}

// Raises ERROR when the definition has more result columns than `made`.
void RequireColumns(const ReturnSetInfo* result, std::size_t made);

}  // namespace veza::pg

// The head of every function that SQL calls. The body follows it. The name begins with
// "veza_backup_".
#define VEZA_SQL_FUNCTION(name)                           \
  static Datum name##_unguarded(FunctionCallInfo fcinfo); \
  extern "C" {                                            \
  PG_FUNCTION_INFO_V1(name);                              \
  PGDLLEXPORT Datum name(PG_FUNCTION_ARGS) {              \
    veza::pg::RequireKnownDefinition(fcinfo);             \
    return name##_unguarded(fcinfo);                      \
  }                                                       \
  }                                                       \
  static Datum name##_unguarded([[maybe_unused]] FunctionCallInfo fcinfo)
