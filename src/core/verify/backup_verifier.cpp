#include "core/verify/backup_verifier.h"

#include <fmt/format.h>

#include <utility>

#include "core/repository/names.h"

namespace veza {

Status BackupVerifier::Verify(const BackupSummary& backup) {
  std::vector<std::shared_ptr<PackContents>> sources;
  for (const SourceBackup& source : backup.sources) {
    ASSIGN_OR_RETURN(std::shared_ptr<PackContents> contents, Source(backup, source));
    sources.push_back(std::move(contents));
  }
  Verified& own = verified_[backup.label];
  own.manifest_sha256 = backup.manifest_sha256;
  own.is_usable = true;
  ManifestVerifier verifier(session_, backup, own.contents, named_.contains(backup.label),
                            std::move(sources));
  RETURN_IF_ERROR(verifier.Run());
  if (!verifier.other_packs().empty()) {
    references_.push_back({backup.label, backup.sources, verifier.other_packs()});
  }
  return Ok();
}

// What is known of a backup that `backup` names. If it is not the one, that is a problem of
// `backup`.
Result<std::shared_ptr<PackContents>> BackupVerifier::Source(const BackupSummary& backup,
                                                             const SourceBackup& source) {
  const auto add_problem = [&](std::string message) {
    session_.findings().AddProblem(
        {BackupDocumentName(source.label), backup.label, std::move(message)});
  };
  Verified& there = verified_[source.label];
  if (!there.is_usable) {
    add_problem(fmt::format("{}, which backup \"{}\" refers to, is not usable",
                            NameBackup(source.label), backup.label));
    RETURN_IF_ERROR(ListUnusable(source.label, *there.contents));
  } else if (there.manifest_sha256 != source.manifest_sha256) {
    add_problem(fmt::format("{} is not the one that backup \"{}\" refers to",
                            NameBackup(source.label), backup.label));
  }
  return there.contents;
}

// Lists the packs of a backup that does not exist, because another one needs them.
Status BackupVerifier::ListUnusable(const std::string& label, PackContents& contents) {
  if (!contents.stored.empty()) {
    return Ok();
  }
  return session_.repository().store().List(
      BackupDirectory(label), "", [&](const ObjectInfo& object) {
        if (const auto number = ParsePackName(label, object.name)) {
          contents.stored[*number] = object.size;
        }
        return Ok();
      });
}

void BackupVerifier::ReportDamage(const Reference& reference) {
  std::set<std::uint32_t> unread;  // sources whose manifest could not be read
  for (const auto& [source, number] : reference.packs) {
    const std::string& label = reference.sources[source - 1].label;
    const Verified& there = verified_.at(label);
    const std::lock_guard lock(there.contents->mutex);
    if (const auto damaged = there.contents->damaged.find(number);
        damaged != there.contents->damaged.end()) {
      session_.findings().AddProblem({PackName(label, number), reference.label, damaged->second});
    }
    if (there.is_usable && !there.contents->manifest_read && unread.insert(source).second) {
      const std::string manifest = ManifestName(label);
      session_.findings().AddProblem(
          {manifest, reference.label,
           fmt::format("the packs that backup \"{}\" needs of {} could not be verified without "
                       "\"{}\"",
                       reference.label, NameBackup(label), manifest)});
    }
  }
}

Status BackupVerifier::Finish() {
  RETURN_IF_ERROR(session_.WaitUntilIdle());
  for (const Reference& reference : references_) {
    ReportDamage(reference);
  }
  return Ok();
}

}  // namespace veza
