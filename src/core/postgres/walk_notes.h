// What a walk over a data directory meets that is neither a plain file nor a plain directory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace veza {

// Something in the data directory that the backup does not have, and why.
struct SkippedItem {
  std::string path;  // relative to the data directory
  std::string reason;
  bool operator==(const SkippedItem&) const = default;
};

// A symbolic link in the data directory. The backup has what it leads to in its place.
struct FollowedLink {
  std::string path;    // relative to the data directory
  std::string target;  // as the link says it
  bool operator==(const FollowedLink&) const = default;
};

inline constexpr std::size_t kMaxListedItems = 100;

// What a walk over the data directory met that is neither a plain file nor a plain directory. Of
// each kind the first kMaxListedItems are listed, and all are counted.
struct WalkNotes {
  std::uint64_t skipped_count = 0;
  std::vector<SkippedItem> skipped;
  std::uint64_t links_count = 0;
  std::vector<FollowedLink> links;

  void Skip(const SkippedItem& item);
  void Follow(const FollowedLink& link);
};

// "not copied: log/x (a FIFO); symbolic links followed: base/5 to /srv/5": for people, the first
// few of each. Empty when there is nothing to tell.
std::string DescribeNotes(const WalkNotes& notes);

}  // namespace veza
