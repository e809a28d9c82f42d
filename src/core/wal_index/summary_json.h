// What the directory of an index object says of a segment, as JSON (FORMAT.md section 15).
#pragma once

#include "core/codec/json.h"
#include "core/wal_index/segment_index.h"

namespace veza {

// Without timeline and segment size, which are those of the whole object.
Json SummaryToJson(const SegmentSummary& summary);
// `where` names the object in errors. timeline and segment_size are left as they are.
Status SummaryFromJson(const Json& json, const std::string& where, SegmentSummary& summary);

}  // namespace veza
