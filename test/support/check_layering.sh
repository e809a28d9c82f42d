#!/usr/bin/env bash
# The borders that no test of behaviour would see: what the library exports, that the core cannot reach
# the server's headers, and which room includes which (src/ROOMS).
#
#   check_layering.sh LIBRARY
set -euo pipefail
library=$1
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# Only what PostgreSQL looks up by name.
allowed='^(Pg_magic_func|_PG_init|_PG_archive_module_init|Veza[A-Za-z]+Main|(pg_finfo_)?veza_backup_[a-z_]+)$'
exported=$(nm -D --defined-only "$library" | awk '{ print $3 }')
[[ $exported == *_PG_init* ]] || {
  echo "check_layering.sh: $library does not export _PG_init" >&2
  exit 1
}
if strangers=$(grep -vE "$allowed" <<<"$exported"); then
  echo "check_layering.sh: $library exports more than PostgreSQL's entry points:" >&2
  head -n 20 <<<"$strangers" >&2
  exit 1
fi

# A worker of ours is a superuser in databases that belong to others: it runs no SQL there, in which names
# and operators would mean what the owner wants (src/pg/backup/database_connection.h).
if nm -D --undefined-only "$library" | grep -E ' (SPI_(exec|prepare|cursor|saveplan|keepplan)|pg_parse_query|raw_parser|ExecuteCallStmt|ProcessUtility|standard_ProcessUtility|DirectFunctionCall)'; then
  echo "check_layering.sh: $library runs SQL" >&2
  exit 1
fi
if grep -rn 'BackgroundWorkerInitializeConnection' "$top/src" --include='*.cpp' |
  grep -vE '/pg/backup/database_connection\.cpp:|\(nullptr, nullptr, 0\)'; then
  echo "check_layering.sh: a worker connects to a database by itself" >&2
  exit 1
fi

if grep -rn 'PG_FUNCTION_INFO_V1' "$top/src" --include='*.cpp'; then
  echo "check_layering.sh: a function is exported to SQL without VEZA_SQL_FUNCTION (src/pg/sql/sql_function.h)" >&2
  exit 1
fi

# What others have written is parsed in two places, within the limits of src/core/limits.h, and what is
# read into memory names one of them.
parsers='\b(sax_parse|from_(cbor|msgpack|ubjson|bson|bjdata)|load_(buffer|string|file)[a-z_]*)\('
parsers+='|json::(parse|accept)\(|>> *(document|json)\b|"_json\b'
if grep -rnE "$parsers" "$top/src" --include='*.cpp' --include='*.h' |
  grep -vE '/core/codec/json\.cpp:|/core/s3/s3_xml\.cpp:'; then
  echo "check_layering.sh: JSON or XML is parsed without limits (src/core/limits.h)" >&2
  exit 1
fi
# One object is no limit: it is how to ask whether there is any.
if grep -rnE '\b(GetSmall|GetListed|ReadObjects|ListAtMost|ListFirst)\(.*, *([02-9]|1[0-9])' "$top/src" --include='*.cpp'; then
  echo "check_layering.sh: a limit of what others have written is not in src/core/limits.h" >&2
  exit 1
fi

# The whole of the shared memory is for the files that write a part of it. What reads a part includes the
# header of that part.
if grep -rl '"pg/shared/shared_state.h"' "$top/src" --include='*.cpp' --include='*.h' |
  grep -vE '/pg/shared/[a-z_]+\.cpp$|/pg/backup/backup_slot\.cpp$'; then
  echo "check_layering.sh: shared_state.h is included where the header of a part would do (src/pg/shared)" >&2
  exit 1
fi

# Such an iterator throws when the file cannot be read, has no limit, and of a file that cannot be opened makes an empty
# one.
if grep -rn 'istreambuf_iterator<' "$top/src" --include='*.cpp' --include='*.h'; then
  echo "check_layering.sh: a file is read without ReadTextFile() (src/core/storage/file_io.h)" >&2
  exit 1
fi

# As the Makefile compiles the core: the server's headers are not found, and ours for them refuses.
for header in postgres.h pg/postgres.h; do
  if printf '#include "%s"\n' "$header" |
    g++ -std=c++20 -DVEZA_CORE -I"$top/src" -fsyntax-only -x c++ - 2>/dev/null; then
    echo "check_layering.sh: a source of the core could include \"$header\"" >&2
    exit 1
  fi
done
if grep -rnE '#include [<"](postgres|libpq)' "$top/src/core" "$top/src/cli"; then
  echo "check_layering.sh: the server's headers are included outside of src/pg" >&2
  exit 1
fi
python3 "$top/test/support/check_rooms.py" "$top" >&2
echo "layering: the library exports $(wc -l <<<"$exported") entry points, the core stands alone"
