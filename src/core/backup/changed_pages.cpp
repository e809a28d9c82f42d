#include "core/backup/changed_pages.h"

#include <cstring>
#include <utility>

#include "core/postgres/page.h"
#include "core/repository/pack.h"

namespace veza {

ChangesByLsn FindChangesByLsn(ByteView region, std::size_t page_size, Lsn since, Lsn first_lsn) {
  ChangesByLsn changes;
  for (std::size_t at = 0; at + page_size <= region.size(); at += page_size) {
    const std::uint8_t* const page = region.data() + at;
    const auto index = static_cast<std::uint32_t>(at / page_size);
    if (PageIsNew(page) || PageLsn(page) >= since) {
      changes.changed.push_back(index);
    } else if (PageLsn(page) < first_lsn) {
      changes.unknown.push_back(index);
    }
  }
  return changes;
}

PageIndexes FindDifferingPages(ByteView region, ByteView other, std::size_t page_size) {
  PageIndexes differing;
  for (std::size_t at = 0; at + page_size <= region.size(); at += page_size) {
    if (std::memcmp(region.data() + at, other.data() + at, page_size) != 0) {
      differing.push_back(static_cast<std::uint32_t>(at / page_size));
    }
  }
  return differing;
}

std::optional<PageCollector::Batch> PageCollector::Add(std::uint32_t page_number, ByteView page) {
  const std::lock_guard lock(mutex_);
  if (batch_.content.empty()) {
    batch_.content.reserve(kExtentSize);
  }
  batch_.content.insert(batch_.content.end(), page.begin(), page.end());
  if (!batch_.runs.empty() && batch_.runs.back().first + batch_.runs.back().count == page_number) {
    ++batch_.runs.back().count;
  } else {
    batch_.runs.push_back({page_number, 1});
  }
  if (batch_.content.size() + page.size() > kExtentSize) {
    return std::exchange(batch_, {});
  }
  return std::nullopt;
}

std::optional<PageCollector::Batch> PageCollector::TakeRest() {
  const std::lock_guard lock(mutex_);
  if (batch_.runs.empty()) {
    return std::nullopt;
  }
  return std::exchange(batch_, {});
}

}  // namespace veza
