#include <cstdio>
//
#include "pg/compat.h"
#include "pg/sql/sql_function.h"

extern "C" {
#include <access/genam.h>
#include <access/htup_details.h>
#include <access/table.h>
#include <catalog/dependency.h>
#include <catalog/pg_extension.h>
#include <catalog/pg_proc.h>
#include <commands/extension.h>
#include <utils/fmgroids.h>
#include <utils/lsyscache.h>
#include <utils/rel.h>
}

namespace veza::pg {

namespace {

constexpr const char* kExtension = "veza_backup";

// The version of the extension in this database. Null when there is no such extension.
const char* VersionOf(Oid extension) {
  const char* version = nullptr;
  ScanKeyData key;
  ScanKeyInit(&key, Anum_pg_extension_oid, BTEqualStrategyNumber, F_OIDEQ,
              ObjectIdGetDatum(extension));
  Relation relation = table_open(ExtensionRelationId, AccessShareLock);
  SysScanDesc scan = systable_beginscan(relation, ExtensionOidIndexId, true, nullptr, 1, &key);
  HeapTuple const tuple = systable_getnext(scan);
  if (HeapTupleIsValid(tuple)) {
    bool is_null = false;
    const Datum value =
        heap_getattr(tuple, Anum_pg_extension_extversion, RelationGetDescr(relation), &is_null);
    version = is_null ? nullptr : TextDatumGetCString(value);
  }
  systable_endscan(scan);
  table_close(relation, AccessShareLock);
  return version;
}

// Major and minor version of "0.2" or "0.2.1" as one number. Negative when it cannot be parsed.
int NumberOf(const char* version) {
  int major = 0;
  int minor = 0;
  return sscanf(version, "%d.%d", &major, &minor) == 2 ? major * 1000 + minor : -1;
}

}  // namespace

void RequireKnownDefinition(FunctionCallInfo fcinfo) {
  const Oid function = fcinfo->flinfo != nullptr ? fcinfo->flinfo->fn_oid : InvalidOid;
  const Oid extension = getExtensionOfObject(ProcedureRelationId, function);
  const char* const name = OidIsValid(extension) ? get_extension_name(extension) : nullptr;
  if (name == nullptr || strcmp(name, kExtension) != 0) {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("function %u does not belong to extension \"%s\"", function, kExtension),
                    errhint("Use CREATE EXTENSION %s to create the functions of this library.",
                            kExtension)));
  }
  const char* const version = VersionOf(extension);
  const int number = version != nullptr ? NumberOf(version) : -1;
  if (number < 0 || number > NumberOf(VEZA_VERSION)) {
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("extension \"%s\" has version \"%s\" in this database, which the loaded "
                           "library of version %s does not support",
                           kExtension, version != nullptr ? version : "", VEZA_VERSION),
                    errhint("Restart the server to load the library of this version.")));
  }
}

void RequireColumns(const ReturnSetInfo* result, std::size_t made) {
  const int defined = result->setDesc->natts;
  if (defined < 0 || static_cast<std::size_t>(defined) > made) {
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("the function is defined with %d columns, but the loaded library returns "
                    "%zu",
                    defined, made),
             errhint("Restart the server, and run ALTER EXTENSION %s UPDATE.", kExtension)));
  }
}

}  // namespace veza::pg
