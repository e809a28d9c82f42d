// Which directories the PostgreSQL servers of this machine use.
#pragma once

#include <string>
#include <vector>

#include "core/error.h"

namespace veza {

// kFailedPrecondition when a server runs in the data directory `target`, or when one uses one of
// `directories` for its WAL or as a tablespace. postmaster.pid tells only of `target`, and only
// while nobody removes it. A copy of a data directory has the links of the original, so they lead
// to what the original uses.
//
// By the working directory of each process named "postgres", which is its data directory. Those of
// other accounts cannot be looked into, unless by root.
Status RequireUnused(const std::string& target, const std::vector<std::string>& directories);

}  // namespace veza
