// PostgreSQL's headers for C++. Include it after every C++ and core header: libintl.h and the
// printf macros that come with it break what follows. Not for anything below core/ (the build
// checks).
#pragma once

#ifdef VEZA_CORE
#error "core/ must not include PostgreSQL's headers"
#endif

extern "C" {
#include <postgres.h>
//
#include <access/xlog.h>
#include <catalog/pg_control.h>
#include <fmgr.h>
#include <funcapi.h>
#include <miscadmin.h>
#include <pgstat.h>
#include <port/atomics.h>
#include <postmaster/bgworker.h>
#include <postmaster/interrupt.h>
#include <storage/ipc.h>
#include <storage/latch.h>
#include <storage/lwlock.h>
#include <storage/proc.h>
#include <storage/shmem.h>
#include <utils/builtins.h>
#include <utils/guc.h>
#include <utils/memutils.h>
#include <utils/timestamp.h>
}

// elog.h and port.h take these names; C++ wants them back.
#undef printf
#undef fprintf
#undef sprintf
#undef snprintf
#undef vsnprintf
#undef strerror
#undef _
