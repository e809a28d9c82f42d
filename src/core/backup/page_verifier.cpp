#include "core/backup/page_verifier.h"

#include <algorithm>
#include <tuple>

#include "core/backup/file_reader.h"
#include "core/postgres/page.h"

namespace veza {

namespace {

constexpr int kReadAttempts = 5;
constexpr std::chrono::milliseconds kReadPause{20};

}  // namespace

bool PageVerifier::IsGood(const std::uint8_t* page, std::uint32_t block) const {
  // New pages have no checksum yet.
  return PageIsNew(page) || PageLsn(page) >= start_lsn_ ||
         StoredPageChecksum(page) == ComputePageChecksum(page, block_size_, block);
}

Status PageVerifier::Verify(const PageSource& source, std::uint64_t offset, MutableByteView pages) {
  for (std::size_t at = 0; at + block_size_ <= pages.size(); at += block_size_) {
    const std::uint64_t file_offset = offset + at;
    const auto block = static_cast<std::uint32_t>(
        std::uint64_t{source.relation.segment} * segment_blocks_ + file_offset / block_size_);
    const MutableByteView page = pages.subspan(at, block_size_);
    for (int attempt = 1; !IsGood(page.data(), block); ++attempt) {
      if (attempt == kReadAttempts) {
        Record(source.path, block);
        break;
      }
      environment_.clock->Sleep(kReadPause, environment_.cancellation.get());
      RETURN_IF_ERROR(ReadForBackup(source.fd, file_offset, page, source.source_path));
    }
  }
  return Ok();
}

void PageVerifier::Record(const std::string& path, std::uint32_t block) {
  {
    const std::lock_guard lock(mutex_);
    ++failures_;
    if (failed_pages_.size() >= kMaxChecksumFailurePages) {
      return;
    }
    failed_pages_.push_back({path, block});
  }
  warn_(fmt::format("page checksum verification failed in file \"{}\", block {}", path, block));
}

void PageVerifier::Report(BackupSummary& summary) {
  const std::lock_guard lock(mutex_);
  summary.checksum_failures = failures_;
  summary.checksum_failure_pages = failed_pages_;
  std::sort(summary.checksum_failure_pages.begin(), summary.checksum_failure_pages.end(),
            [](const ChecksumFailure& a, const ChecksumFailure& b) {
              return std::tie(a.path, a.block) < std::tie(b.path, b.block);
            });
}

}  // namespace veza
