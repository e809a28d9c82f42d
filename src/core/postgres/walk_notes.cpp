#include "core/postgres/walk_notes.h"

#include <fmt/format.h>

#include <algorithm>

namespace veza {

void WalkNotes::Skip(const SkippedItem& item) {
  if (skipped_count++ < kMaxListedItems) {
    skipped.push_back(item);
  }
}

void WalkNotes::Follow(const FollowedLink& link) {
  if (links_count++ < kMaxListedItems) {
    links.push_back(link);
  }
}

std::string DescribeNotes(const WalkNotes& notes) {
  constexpr std::size_t kShown = 10;
  std::string text;
  const auto list = [&](const char* what, std::uint64_t count, const auto& items, auto describe) {
    for (std::size_t i = 0; i < std::min(items.size(), kShown); ++i) {
      const char* const separator = i > 0 ? ", " : text.empty() ? "" : "; ";
      text += fmt::format("{}{}{}", separator, i == 0 ? what : "", describe(items[i]));
    }
    if (count > kShown) {
      text += fmt::format(" and {} more", count - kShown);
    }
  };
  list("not copied: ", notes.skipped_count, notes.skipped,
       [](const SkippedItem& item) { return fmt::format("{} ({})", item.path, item.reason); });
  list("symbolic links followed: ", notes.links_count, notes.links,
       [](const FollowedLink& link) { return fmt::format("{} to {}", link.path, link.target); });
  return text;
}

}  // namespace veza
