// How a function is exported to SQL, and the guard between the library and the SQL definition by
// which it is called.
//
// Library and definition change at different times: the library when the server is restarted, the
// definition by ALTER EXTENSION veza_backup UPDATE. A library serves every older definition: new
// arguments and new columns of a result are only ever appended, so what it does not find it does
// without (HasArgument()), and what nobody asked for it leaves away. A definition that is newer
// than the library, or that is not the extension's, is an error before anything is read or done.
#pragma once

#include "pg/postgres.h"

namespace veza::pg {

// Raises ERROR unless the function belongs to the extension, in a version that this library knows.
void RequireKnownDefinition(FunctionCallInfo fcinfo);

// False: the definition is older than the argument.
inline bool HasArgument(FunctionCallInfo fcinfo, int number) {
  return number < PG_NARGS();
}

// Raises ERROR when the definition has more columns than `made`.
void RequireColumns(const ReturnSetInfo* result, std::size_t made);

}  // namespace veza::pg

// The head of every function that SQL calls; its body follows. Its name begins with "veza_backup_".
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
