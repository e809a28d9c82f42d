// PostgreSQL's headers for C++. Include it after every C++ and core header: it includes libintl.h
// and replaces printf() and others by macros, which breaks headers that follow. core/ must not
// include it (the build checks that).
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

// elog.h and port.h define macros with these names. C++ code needs the names themselves.
#undef printf
#undef fprintf
#undef sprintf
#undef snprintf
#undef vsnprintf
#undef strerror
#undef _
