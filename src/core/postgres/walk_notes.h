// What a walk over a data directory found that is neither a plain file nor a plain directory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace veza {

// Something in the data directory that the backup does not contain, and why.
struct SkippedItem {
  std::string path;  // relative to the data directory
  std::string reason;
  bool operator==(const SkippedItem&) const = default;
};

// A symbolic link in the data directory. The backup contains what it leads to in its place.
struct FollowedLink {
  std::string path;    // relative to the data directory
  std::string target;  // as written in the link
  bool operator==(const FollowedLink&) const = default;
};

inline constexpr std::size_t kMaxListedItems = 100;

// Everything that the walk has skipped or followed. All are counted; of each kind, the first
// kMaxListedItems are listed.
struct WalkNotes {
  std::uint64_t skipped_count = 0;
  std::vector<SkippedItem> skipped;
  std::uint64_t links_count = 0;
  std::vector<FollowedLink> links;

  void Skip(const SkippedItem& item);
  void Follow(const FollowedLink& link);
};

// A text for people that names the first few of each kind: "not copied: log/x (a FIFO); symbolic
// links followed: base/5 to /srv/5". Empty when there is nothing to tell.
std::string DescribeNotes(const WalkNotes& notes);

}  // namespace veza
