#include "core/backup/directory_survey.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace veza {

namespace {

// Longer files are not configuration. A secret in one is found when the file is copied. Every check
// of the repository surveys, so a survey must not read gigabytes.
constexpr std::uint64_t kLongestScanned = 1U << 20;

Status RequireReadable(const DirectoryEntry& entry) {
  if (faccessat(AT_FDCWD, entry.source_path.c_str(), R_OK, AT_EACCESS) == 0 || errno == ENOENT) {
    return Ok();
  }
  return ErrnoError(errno, fmt::format("could not open file \"{}\"", entry.source_path));
}

Status RequireNoSecret(const DirectoryEntry& entry, const SecretScan& secrets,
                       const Cancellation& cancellation) {
  if (entry.size > kLongestScanned || !secrets.Concerns(entry.path, entry.source_path)) {
    return Ok();
  }
  ASSIGN_OR_RETURN(const std::optional<std::string> found,
                   secrets.FindInFile(entry.path, entry.source_path, cancellation));
  return found ? Status(SecretInClear(entry.path, *found)) : Ok();
}

Error WithHint(Error error, const std::string& data_directory) {
  if (error.code != ErrorCode::kPermissionDenied || !error.hint.empty()) {
    return error;
  }
  return std::move(error).WithHint(fmt::format(
      "A backup reads everything in the data directory. Let PostgreSQL's account read "
      "it, or move it elsewhere. To list what it cannot read, run \"find -L '{}' ! -readable\" "
      "as that account.",
      data_directory));
}

// `is_abandoned` ends it as well; null if nothing sets it.
Result<DirectorySurvey> SurveyUnless(const std::atomic<bool>* is_abandoned, WalkOptions options,
                                     const Cancellation& cancellation, const SecretScan* secrets) {
  ASSIGN_OR_RETURN(options.tablespaces, ReadTablespaceLinks(options.data_directory));
  options.looks_again_for_init_forks = false;
  DirectorySurvey survey;
  const WalkVisitor visitor{
      [&](const DirectoryEntry& entry) -> Status {
        RETURN_IF_ERROR(cancellation.Check());
        if (is_abandoned != nullptr && *is_abandoned) {
          return Cancelled();
        }
        if (entry.kind == DirectoryEntry::Kind::kDirectory) {
          return Ok();
        }
        survey.bytes += entry.size;
        ++survey.files;
        RETURN_IF_ERROR(RequireReadable(entry));
        return secrets == nullptr ? Ok() : RequireNoSecret(entry, *secrets, cancellation);
      },
      [&](const SkippedItem& item, bool) { survey.notes.Skip(item); },
      [&](const FollowedLink& link) { survey.notes.Follow(link); }};
  if (Status walked = WalkDataDirectory(options, visitor); !walked) {
    return WithHint(std::move(walked.error()), options.data_directory);
  }
  return survey;
}

}  // namespace

Result<DirectorySurvey> SurveyDataDirectory(WalkOptions options, const Cancellation& cancellation,
                                            const SecretScan* secrets) {
  return SurveyUnless(nullptr, std::move(options), cancellation, secrets);
}

SurveyAhead::SurveyAhead(WalkOptions options, std::shared_ptr<const Cancellation> cancellation,
                         std::shared_ptr<const SecretScan> secrets)
    : options_(std::move(options)),
      cancellation_(std::move(cancellation)),
      secrets_(std::move(secrets)) {
  [[maybe_unused]] const Status started = thread_.Start([this] { Work(); });
}

SurveyAhead::~SurveyAhead() {
  is_abandoned_ = true;
  thread_.Join();
}

Result<DirectorySurvey> SurveyAhead::Finish() {
  thread_.Join();
  if (!found_) {
    Work();
  }
  return std::move(*found_);
}

void SurveyAhead::Work() {
  const Status done = CatchExceptions([this]() -> Status {
    found_ = SurveyUnless(&is_abandoned_, options_, *cancellation_, secrets_.get());
    return Ok();
  });
  if (!done) {
    found_ = done.error();
  }
}

}  // namespace veza
