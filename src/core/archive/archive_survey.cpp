#include "core/archive/archive_survey.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <system_error>
#include <utility>

#include "core/archive/wal_archive.h"
#include "core/repository/backup_catalog.h"
#include "core/storage/file_io.h"

namespace veza {
namespace {

// The newest backup on `history`; null when there is none.
const BackupSummary* NewestOn(const TimelineHistory& history, const BackupCatalog& catalog,
                              std::uint64_t system_identifier) {
  const BackupSummary* newest = nullptr;
  for (const BackupSummary& backup : catalog.backups) {
    if (backup.system_identifier == system_identifier &&
        history.Contains(backup.timeline, backup.stop_lsn) &&
        (newest == nullptr || backup.start_lsn > newest->start_lsn)) {
      newest = &backup;
    }
  }
  return newest;
}

// Whether `ancestor` does not contradict `history`. The history of an ancestor must be the
// beginning of `history`. A higher timeline does not contradict it; a lower one that is no ancestor
// does.
bool LeadsOnTo(const TimelineHistory& ancestor, const TimelineHistory& history) {
  if (ancestor.timeline == history.timeline) {
    return true;
  }
  const auto found =
      std::ranges::find(history.ancestors, ancestor.timeline, &TimelineSwitch::timeline);
  if (found == history.ancestors.end()) {
    return ancestor.timeline > history.timeline;
  }
  return std::equal(ancestor.ancestors.begin(), ancestor.ancestors.end(), history.ancestors.begin(),
                    found);
}

}  // namespace

Result<ArchiveSurvey> SurveyArchive(const Repository& repository, std::uint64_t system_identifier,
                                    const TimelineHistory& history, Lsn end, std::size_t limit) {
  ArchiveSurvey survey;
  ASSIGN_OR_RETURN(const Identity identity, repository.IdentityOf(system_identifier));
  const std::uint64_t segment_size = identity.wal_segment_size;
  const WalArchive archive(repository, system_identifier);
  ASSIGN_OR_RETURN(const BackupCatalog catalog, ReadBackupCatalog(repository));
  const BackupSummary* const backup = NewestOn(history, catalog, system_identifier);
  if (backup == nullptr) {
    return survey;
  }
  survey.backup = backup->label;
  survey.backup_start = backup->start_lsn;

  // Each timeline has the segments from `next` to the one before that in which it was left.
  SegmentNumber next = SegmentOf(backup->start_lsn, segment_size);
  std::vector<TimelineSwitch> path = history.ancestors;
  path.push_back({history.timeline, end});
  for (const TimelineSwitch& part : path) {
    const SegmentNumber stop = SegmentOf(std::min(part.switch_point, end), segment_size);
    if (part.timeline < backup->timeline || stop <= next) {
      continue;
    }
    if (survey.missing.size() < limit) {
      ASSIGN_OR_RETURN(std::vector<std::string> missing,
                       archive.Missing(part.timeline, next, stop - 1, segment_size,
                                       limit - survey.missing.size()));
      std::ranges::move(missing, std::back_inserter(survey.missing));
    }
    next = stop;
  }
  return survey;
}

Result<std::vector<std::string>> FindUnstoredHistories(const WalArchive& archive,
                                                       const std::string& wal_directory,
                                                       const TimelineHistory& history) {
  std::vector<std::string> files;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(wal_directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string file = entry->path().filename().string();
    const auto name = ParseWalFileName(file);
    if (!name || name->kind != WalFileKind::kTimelineHistory) {
      continue;
    }
    const Result<std::string> text = ReadTextFile(entry->path().string());
    if (!text && text.error().code != ErrorCode::kNotFound) {
      return text.error();
    }
    const Result<TimelineHistory> read = ParseTimelineHistory(name->timeline, text.value_or(""));
    // A file without ancestors is no history file.
    if (!read || read->ancestors.empty() || !LeadsOnTo(*read, history)) {
      continue;
    }
    ASSIGN_OR_RETURN(const bool taken, archive.IsTaken(file));
    if (!taken) {
      files.push_back(file);
    }
  }
  if (error) {
    return MakeError(ErrorCode::kIo, "could not read directory \"{}\": {}", wal_directory,
                     error.message());
  }
  std::ranges::sort(files);
  return files;
}

std::vector<WalGap> JoinGaps(const std::vector<std::string>& names, std::uint64_t segment_size) {
  std::vector<WalGap> gaps;
  for (const std::string& name : names) {
    // The timeline is the first third of a name.
    if (!gaps.empty() && gaps.back().last.substr(0, 8) == name.substr(0, 8) &&
        SegmentNumberOf(gaps.back().last, segment_size) + 1 ==
            SegmentNumberOf(name, segment_size)) {
      gaps.back().last = name;
    } else {
      gaps.push_back({name, name});
    }
  }
  return gaps;
}

}  // namespace veza
