#include "core/verify/backup_verifier.h"

#include <fmt/format.h>

#include "core/repository/names.h"
#include "core/verify/manifest_verifier.h"

namespace veza {

Status BackupVerifier::VerifyFull(const BackupSummary& full) {
  full_summary_ = full;
  return ManifestVerifier(session_, full, full_, keep_index_).Run();
}

Status BackupVerifier::VerifyDiff(const BackupSummary& diff) {
  const std::string document = BackupDocumentName(diff.full_label());
  const auto add_problem = [&](std::string message) {
    session_.findings().AddProblem({document, diff.label, std::move(message)});
  };
  if (!full_summary_) {
    add_problem(fmt::format("full backup \"{}\", which backup \"{}\" refers to, is not usable",
                            diff.full_label(), diff.label));
    RETURN_IF_ERROR(ListUnusableFull(diff.full_label()));
  } else if (full_summary_->manifest_sha256 != diff.full_manifest_sha256) {
    add_problem(fmt::format("full backup \"{}\" is not the one that backup \"{}\" refers to",
                            diff.full_label(), diff.label));
  }
  ManifestVerifier verifier(session_, diff, full_, false);
  RETURN_IF_ERROR(verifier.Run());
  diffs_.push_back({diff.label, diff.full_label(), verifier.packs_of_full()});
  return Ok();
}

// Lists the packs of the full, because the diff needs them.
Status BackupVerifier::ListUnusableFull(const std::string& label) {
  if (!full_->stored.empty()) {
    return Ok();
  }
  return session_.repository().store().List(
      BackupDirectory(label), "", [&](const ObjectInfo& object) {
        if (const auto number = ParsePackName(label, object.name)) {
          full_->stored[*number] = object.size;
        }
        return Ok();
      });
}

Status BackupVerifier::Finish() {
  RETURN_IF_ERROR(session_.WaitUntilIdle());
  const std::lock_guard lock(full_->mutex);
  for (const ReferringDiff& diff : diffs_) {
    for (const std::uint32_t number : diff.packs) {
      if (const auto damaged = full_->damaged.find(number); damaged != full_->damaged.end()) {
        session_.findings().AddProblem(
            {PackName(diff.full_label, number), diff.label, damaged->second});
      }
    }
    if (full_summary_ && !full_->manifest_read && !diff.packs.empty()) {
      const std::string manifest = ManifestName(diff.full_label);
      session_.findings().AddProblem({manifest, diff.label,
                                      fmt::format("the packs that backup \"{}\" needs of its full "
                                                  "backup could not be verified without \"{}\"",
                                                  diff.label, manifest)});
    }
  }
  return Ok();
}

}  // namespace veza
