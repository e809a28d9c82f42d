// The part `events` of a segment's index: one line of JSON for each event (FORMAT.md section 15).
#pragma once

#include "core/bytes.h"
#include "core/wal_index/segment_index.h"

namespace veza {

// Whether the fact is an event. What is not known is a doubt instead, and the end of a transaction
// that drops nothing is not here.
bool IsIndexedEvent(const WalFact& fact);
// Appends the line. False, and nothing is appended, if a reader would refuse it: it drops too much.
bool PutEvent(const IndexedEvent& event, Bytes& lines);

}  // namespace veza
