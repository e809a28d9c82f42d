#include "core/verify/data_files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <optional>
#include <tuple>
#include <utility>

#include "core/backup/file_reader.h"
#include "core/postgres/page.h"
#include "core/storage/unique_fd.h"
#include "core/work_queue.h"

namespace veza {

namespace {

using Kind = DataFileFinding::Kind;

constexpr std::size_t kMapHeader = 24;  // MAXALIGN(SizeOfPageHeaderData)
constexpr std::uint32_t kBlocksPerMapByte = 4;
constexpr std::uint8_t kAllVisible = 0x01;
constexpr std::uint8_t kAllVisibleOfByte = 0x55;
constexpr std::string_view kMapSuffix = "_vm";
constexpr std::size_t kReadSize = 1U << 20;
constexpr std::size_t kWaitingFiles = 1000;

std::string WithSegment(const std::string& path, std::uint32_t segment) {
  return segment == 0 ? path : fmt::format("{}.{}", path, segment);
}

// Removes ".<segment>" from a path.
std::string_view WithoutSegment(std::string_view path, std::uint32_t segment) {
  return segment == 0 ? path : path.substr(0, path.rfind('.'));
}

bool IsMap(std::string_view path, std::uint32_t segment) {
  return WithoutSegment(path, segment).ends_with(kMapSuffix);
}

// Returns an invalid descriptor when the file does not exist.
Result<UniqueFd> OpenIfThere(const std::string& path) {
  UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file.valid() && errno != ENOENT) {
    return ErrnoError(errno, fmt::format("could not open file \"{}\"", path));
  }
  return file;
}

Result<std::uint64_t> SizeOf(int file, const std::string& path) {
  struct stat info {};
  if (fstat(file, &info) != 0) {
    return ErrnoError(errno, fmt::format("could not stat file \"{}\"", path));
  }
  return static_cast<std::uint64_t>(info.st_size);
}

// Reads the visibility map of one relation, one page at a time.
class VisibilityMap {
 public:
  VisibilityMap(std::string path, const DataFilesOptions& options)
      : path_(std::move(path)), options_(options), page_(options.block_size) {}

  std::uint64_t blocks_per_page() const {
    return std::uint64_t{options_.block_size - kMapHeader} * kBlocksPerMapByte;
  }

  // A bit that the map file does not contain counts as not set.
  Result<bool> IsAllVisible(std::uint64_t block) {
    const std::uint64_t number = block / blocks_per_page();
    if (number_ != number) {
      RETURN_IF_ERROR(Read(number));
    }
    const std::uint64_t in_page = block % blocks_per_page();
    const std::uint8_t byte = page_[kMapHeader + in_page / kBlocksPerMapByte];
    return ((byte >> (in_page % kBlocksPerMapByte * 2)) & kAllVisible) != 0;
  }

 private:
  Status Read(std::uint64_t number) {
    const auto segment = static_cast<std::uint32_t>(number / options_.segment_blocks);
    if (segment_ != segment) {
      ASSIGN_OR_RETURN(file_, OpenIfThere(WithSegment(path_, segment)));
      segment_ = segment;
    }
    std::fill(page_.begin(), page_.end(), std::uint8_t{0});
    if (file_.valid()) {
      RETURN_IF_ERROR(ReadForBackup(
          file_.get(), number % options_.segment_blocks * options_.block_size, page_, path_));
    }
    number_ = number;
    return Ok();
  }

  const std::string path_;
  const DataFilesOptions& options_;
  Bytes page_;
  std::optional<std::uint64_t> number_;  // of the page
  std::optional<std::uint32_t> segment_;
  UniqueFd file_;
};

// Thread-safe.
class Report {
 public:
  void Add(const DataFilesReport& part) {
    const std::lock_guard lock(mutex_);
    total_.pages += part.pages;
    total_.bad_checksums += part.bad_checksums;
    total_.mapped += part.mapped;
    total_.bad_maps += part.bad_maps;
    const std::size_t room = kMostDataFileFindings - total_.findings.size();
    std::copy_n(part.findings.begin(), std::min(room, part.findings.size()),
                std::back_inserter(total_.findings));
  }

  DataFilesReport Take() {
    std::ranges::sort(total_.findings, [](const DataFileFinding& a, const DataFileFinding& b) {
      return std::tie(a.kind, a.path, a.block) < std::tie(b.kind, b.path, b.block);
    });
    return std::move(total_);
  }

 private:
  std::mutex mutex_;
  DataFilesReport total_;
};

// Checks one file of a relation, of any fork.
class FileCheck {
 public:
  FileCheck(const DataFilesOptions& options, const Environment& environment,
            const DirectoryEntry& file)
      : options_(options),
        environment_(environment),
        file_(file),
        first_block_(std::uint64_t{file.relation.segment} * options.segment_blocks),
        is_map_(IsMap(file.path, file.relation.segment)),
        relation_(WithoutSegment(file.path, file.relation.segment)),
        relation_source_(WithoutSegment(file.source_path, file.relation.segment)) {
    if (is_map_) {
      relation_.resize(relation_.size() - kMapSuffix.size());
      relation_source_.resize(relation_source_.size() - kMapSuffix.size());
    }
  }

  Result<DataFilesReport> Run() {
    ASSIGN_OR_RETURN(const UniqueFd file, OpenIfThere(file_.source_path));
    if (!file.valid()) {
      return ErrnoError(ENOENT, fmt::format("could not open file \"{}\"", file_.source_path));
    }
    ASSIGN_OR_RETURN(const std::uint64_t size, SizeOf(file.get(), file_.source_path));
    const std::uint64_t blocks = size / options_.block_size;
    if (is_map_) {
      ASSIGN_OR_RETURN(relation_blocks_, BlocksOfRelation());
    }
    std::optional<VisibilityMap> map;
    if (file_.relation.is_main_fork) {
      map.emplace(relation_source_ + std::string(kMapSuffix), options_);
    }
    const std::size_t step = std::max<std::size_t>(kReadSize / options_.block_size, 1);
    Bytes pages;
    std::vector<bool> all_visible;
    for (std::uint64_t block = 0; block < blocks; block += step) {
      RETURN_IF_ERROR(environment_.cancellation->Check());
      const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(step, blocks - block));
      all_visible.assign(count, false);
      bool wanted = options_.has_checksums || is_map_;
      for (std::size_t i = 0; map && i < count; ++i) {
        ASSIGN_OR_RETURN(const bool bit, map->IsAllVisible(first_block_ + block + i));
        all_visible[i] = bit;
        wanted = wanted || bit;
      }
      if (!wanted) {
        continue;
      }
      pages.resize(count * options_.block_size);
      RETURN_IF_ERROR(
          ReadForBackup(file.get(), block * options_.block_size, pages, file_.source_path));
      for (std::size_t i = 0; i < count; ++i) {
        CheckPage(pages.data() + i * options_.block_size, first_block_ + block + i, all_visible[i]);
      }
    }
    return std::move(report_);
  }

 private:
  // Counts as mdnblocks() does: the first file that is not full is the last one.
  Result<std::uint64_t> BlocksOfRelation() const {
    std::uint64_t blocks = 0;
    for (std::uint32_t segment = 0;; ++segment) {
      const std::string path = WithSegment(relation_source_, segment);
      ASSIGN_OR_RETURN(const UniqueFd file, OpenIfThere(path));
      if (!file.valid()) {
        return blocks;
      }
      ASSIGN_OR_RETURN(const std::uint64_t size, SizeOf(file.get(), path));
      const std::uint64_t of_file =
          std::min<std::uint64_t>(size / options_.block_size, options_.segment_blocks);
      blocks += of_file;
      if (of_file < options_.segment_blocks) {
        return blocks;
      }
    }
  }

  void CheckPage(const std::uint8_t* page, std::uint64_t block, bool all_visible) {
    if (options_.has_checksums) {
      ++report_.pages;
      if (!IsSound(page, static_cast<std::uint32_t>(block))) {
        ++report_.bad_checksums;
        Add(Kind::kChecksum, file_.path, block);
      }
    }
    if (is_map_) {
      CheckMapPage(page, block);
    } else if (all_visible) {
      ++report_.mapped;
      if (!PageIsMarkedAllVisible(page)) {
        ++report_.bad_maps;
        Add(Kind::kNotAllVisible, relation_, block);
      }
    }
  }

  // The same check as in PageIsVerifiedExtended().
  bool IsSound(const std::uint8_t* page, std::uint32_t block) const {
    return PageIsNew(page)
               ? IsAllZero({page, options_.block_size})
               : StoredPageChecksum(page) == ComputePageChecksum(page, options_.block_size, block);
  }

  // Checks only bits past the end of the relation. The others are checked with the relation's
  // pages.
  void CheckMapPage(const std::uint8_t* page, std::uint64_t number) {
    const std::uint64_t bytes = options_.block_size - kMapHeader;
    const std::uint64_t first = number * bytes * kBlocksPerMapByte;
    for (std::uint64_t at = 0; at < bytes; ++at) {
      const std::uint8_t byte = page[kMapHeader + at] & kAllVisibleOfByte;
      for (std::uint32_t i = 0; byte != 0 && i < kBlocksPerMapByte; ++i) {
        const std::uint64_t block = first + at * kBlocksPerMapByte + i;
        if (((byte >> (i * 2)) & kAllVisible) != 0 && block >= relation_blocks_) {
          ++report_.mapped;
          ++report_.bad_maps;
          Add(Kind::kBeyondRelation, relation_, block);
        }
      }
    }
  }

  void Add(Kind kind, const std::string& path, std::uint64_t block) {
    if (report_.findings.size() < kMostDataFileFindings) {
      report_.findings.push_back({kind, path, static_cast<std::uint32_t>(block)});
    }
  }

  const DataFilesOptions& options_;
  const Environment& environment_;
  const DirectoryEntry& file_;
  const std::uint64_t first_block_;
  const bool is_map_;
  std::string relation_;         // path of the relation's main fork, for messages
  std::string relation_source_;  // the same, to open it
  std::uint64_t relation_blocks_ = 0;
  DataFilesReport report_;
};

}  // namespace

std::string DescribeFinding(const DataFileFinding& finding) {
  switch (finding.kind) {
    case Kind::kChecksum:
      return fmt::format("page checksum verification failed in file \"{}\", block {}", finding.path,
                         finding.block);
    case Kind::kNotAllVisible:
      return fmt::format(
          "the visibility map of relation \"{}\" marks block {} as all-visible, but the page does "
          "not",
          finding.path, finding.block);
    case Kind::kBeyondRelation:
      return fmt::format(
          "the visibility map of relation \"{}\" marks block {} as all-visible, which is past the "
          "end of the relation",
          finding.path, finding.block);
  }
  return "";
}

Result<DataFilesReport> CheckDataFiles(const DataFilesOptions& options,
                                       const Environment& environment) {
  Report report;
  WorkQueue<DirectoryEntry> files(kWaitingFiles);
  RETURN_IF_ERROR(files.Start(options.jobs, [&] {
    return [&](DirectoryEntry& file) -> Status {
      ASSIGN_OR_RETURN(const DataFilesReport part, FileCheck(options, environment, file).Run());
      report.Add(part);
      return Ok();
    };
  }));
  const WalkVisitor visitor{[&](const DirectoryEntry& entry) -> Status {
                              const bool is_relation = entry.kind == DirectoryEntry::Kind::kFile &&
                                                       entry.relation.is_relation;
                              return is_relation ? files.Push(entry) : Ok();
                            },
                            [](const SkippedItem&, bool) {}, [](const FollowedLink&) {}};
  RETURN_IF_ERROR(WalkDataDirectory(options.walk, visitor));
  RETURN_IF_ERROR(files.Finish());
  return report.Take();
}

}  // namespace veza
