#include "core/repository/changed_pages.h"

#include <utility>

#include "core/repository/pack.h"
#include "core/repository/page.h"

namespace veza {

std::vector<std::uint32_t> FindChangedPages(ByteView region, std::size_t page_size, Lsn since) {
  std::vector<std::uint32_t> changed;
  for (std::size_t at = 0; at + page_size <= region.size(); at += page_size) {
    const std::uint8_t* const page = region.data() + at;
    if (PageIsNew(page) || PageLsn(page) >= since) {
      changed.push_back(static_cast<std::uint32_t>(at / page_size));
    }
  }
  return changed;
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
