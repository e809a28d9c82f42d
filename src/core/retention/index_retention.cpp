#include "core/retention/index_retention.h"

#include <algorithm>
#include <tuple>

#include "core/wal_index/index_catalog.h"

namespace veza {

IndexRules::IndexRules(const std::vector<ObjectInfo>& objects, std::uint64_t segment_size,
                       TimePoint now) {
  for (const ObjectInfo& info : objects) {
    const std::optional<IndexName> name = ParseIndexName(info.name);
    objects_.push_back({.info = info});
    Object& object = objects_.back();
    if (!name) {
      // It sorts wherever it likes, but nothing is decided about it.
      object.stays = true;
      continue;
    }
    object.timeline = name->timeline;
    object.first = SegmentNumberOf(name->first, segment_size);
    object.last = SegmentNumberOf(name->last, segment_size);
    object.stays = now - info.modified <= kIndexAgeBeforeRemoval;
  }
}

// Both orders are by timeline and segment. So the first WAL that stays at or behind the beginning
// of an object decides about it.
void IndexRules::NoteKept(TimelineId timeline, SegmentNumber segment) {
  for (; next_ < objects_.size(); ++next_) {
    Object& object = objects_[next_];
    if (std::tie(object.timeline, object.first) > std::tie(timeline, segment)) {
      return;
    }
    object.stays = object.stays || (object.timeline == timeline && object.last >= segment);
  }
}

std::vector<RetentionDecision> IndexRules::Decide() const {
  std::vector<RetentionDecision> decisions;
  bool goes_on = false;
  for (const Object& object : objects_) {
    if (object.stays) {
      goes_on = false;
      continue;
    }
    if (!goes_on) {
      decisions.push_back({.kind = RetentionKind::kIndex,
                           .name = object.info.name,
                           .keep = false,
                           .reason = "the WAL that it describes goes, or is gone",
                           .bytes = 0});
      goes_on = true;
    }
    RetentionDecision& decision = decisions.back();
    decision.last = object.info.name;
    *decision.bytes += object.info.size;
    decision.objects.push_back(object.info.name);
  }
  return decisions;
}

}  // namespace veza
