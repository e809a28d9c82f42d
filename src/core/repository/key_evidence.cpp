#include "core/repository/key_evidence.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "core/codec/frame_reader.h"
#include "core/repository/names.h"

namespace veza {

namespace {

// The object header and the attributes frame take about 300 bytes.
constexpr std::uint64_t kHeadSize = 4096;
// A few pages of a listing.
constexpr std::size_t kNamesLookedAt = 10'000;
// At each end. What an older key has sealed is among the oldest, and what a newer key has sealed is
// among the newest.
constexpr std::size_t kObjectsLookedAt = 8;

Result<std::vector<ObjectInfo>> OldestAndNewest(Store& store, const std::string& prefix) {
  ASSIGN_OR_RETURN(FirstObjects listed, ListFirst(store, prefix, kNamesLookedAt));
  std::vector<ObjectInfo> objects = std::move(listed.objects);
  std::ranges::stable_sort(objects, {}, &ObjectInfo::modified);
  if (objects.size() > 2 * kObjectsLookedAt) {
    objects.erase(objects.begin() + kObjectsLookedAt, objects.end() - kObjectsLookedAt);
  }
  return objects;
}

// The beginning of the object. nullopt when there is nothing to read.
Result<std::optional<Bytes>> ReadHead(Store& store, const std::string& name) {
  Bytes head;
  const Status read = store.Get(name, {0, kHeadSize}, [&](ByteView piece) {
    head.insert(head.end(), piece.begin(), piece.end());
    return Ok();
  });
  if (read) {
    return std::optional(std::move(head));
  }
  // The object is empty, or was removed since it was listed.
  if (read.error().code == ErrorCode::kNotFound ||
      read.error().code == ErrorCode::kInvalidArgument) {
    return std::optional<Bytes>();
  }
  return read.error();
}

bool Opens(const SealPolicy& policy, const std::string& name, ByteView head) {
  FrameReader reader(policy, ObjectKind::kStream, name);
  const Status fed = reader.Feed(head, [](auto&&...) { return Ok(); });
  return fed && reader.attributes();
}

}  // namespace

Result<WalEvidence> LookAtWal(Store& store, std::uint64_t system_identifier,
                              const std::map<std::string, SealPolicy>& keys,
                              const Cancellation& cancellation) {
  ASSIGN_OR_RETURN(const std::vector<ObjectInfo> objects,
                   OldestAndNewest(store, WalSystemPrefix(system_identifier)));
  WalEvidence evidence;
  for (const ObjectInfo& object : objects) {
    RETURN_IF_ERROR(cancellation.Check());
    ASSIGN_OR_RETURN(const std::optional<Bytes> head, ReadHead(store, object.name));
    const auto key = std::ranges::find_if(keys, [&](const auto& candidate) {
      return head && Opens(candidate.second, object.name, *head);
    });
    (key == keys.end() ? evidence.unopened : evidence.opened[key->first]).push_back(object.name);
  }
  return evidence;
}

}  // namespace veza
