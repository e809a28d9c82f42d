// Which index objects go with their WAL (FORMAT.md section 9). The part of retention.cpp that
// compares the names of index objects with the WAL that stays.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/environment.h"
#include "core/postgres/lsn.h"
#include "core/retention/retention.h"
#include "core/storage/store.h"

namespace veza {

// How long ago an index object must have been written before it is removed. The WAL that it
// describes may be newer than the listing of WAL that a decision is made on.
inline constexpr std::chrono::hours kIndexAgeBeforeRemoval{1};

class IndexRules {
 public:
  // `objects` are those below the system's prefix, in the order of their names. `now` is by the
  // store's clock. Objects whose names say nothing are left alone.
  IndexRules(const std::vector<ObjectInfo>& objects, std::uint64_t segment_size, TimePoint now);

  // A WAL file that stays. Call it in the order of the names of WAL objects.
  void NoteKept(TimelineId timeline, SegmentNumber segment);
  // One decision for each run of objects that are removed, with their names in `objects`. None on
  // objects that stay.
  std::vector<RetentionDecision> Decide() const;

 private:
  struct Object {
    ObjectInfo info;
    TimelineId timeline = 0;
    SegmentNumber first = 0;
    SegmentNumber last = 0;
    bool stays = false;
  };

  std::vector<Object> objects_;
  std::size_t next_ = 0;  // the first object that is not decided yet
};

}  // namespace veza
