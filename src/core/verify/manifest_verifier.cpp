#include "core/verify/manifest_verifier.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/repository/manifest_rules.h"
#include "core/repository/names.h"
#include "core/verify/backup_verifier.h"

namespace veza {

ManifestVerifier::ManifestVerifier(VerifySession& session, const BackupSummary& backup,
                                   std::shared_ptr<FullContents> full, bool keep_index)
    : session_(session),
      backup_(backup),
      is_full_(backup.type == BackupType::kFull),
      full_(std::move(full)),
      keep_index_(keep_index),
      manifest_name_(ManifestName(backup.label)) {}

Status ManifestVerifier::Run() {
  RETURN_IF_ERROR(ListObjects());
  if (!stored_manifest_) {
    AddProblem(manifest_name_, fmt::format("object \"{}\" is missing", manifest_name_));
    return Ok();
  }
  if (*stored_manifest_ != backup_.manifest_size) {
    AddProblem(manifest_name_,
               fmt::format("object \"{}\" has {} bytes instead of {}", manifest_name_,
                           *stored_manifest_, backup_.manifest_size));
    return Ok();
  }
  session_.BeforeReading(backup_.manifest_size);
  const Status read =
      ReadWithRules(session_.repository(), backup_,
                    [this](ManifestRecord&& record) { return Take(std::move(record)); });
  if (!read) {
    return session_.Judge(read, manifest_name_, {backup_.label});
  }
  session_.progress().bytes_read += backup_.manifest_size;
  if (!packs_.empty()) {
    AddProblem(manifest_name_, fmt::format("\"{}\" does not describe pack {} completely",
                                           manifest_name_, packs_.begin()->first));
  }
  if (strange_references_ > 0) {
    AddProblem(manifest_name_,
               fmt::format("\"{}\" refers to {} extents that full backup \"{}\" does not have",
                           manifest_name_, strange_references_, backup_.full_label()));
  }
  for (const std::uint32_t number : unnamed_) {
    session_.findings().AddOrphan(PackName(backup_.label, number));
  }
  if (is_full_) {
    full_->manifest_read = true;
  }
  return Ok();
}

Status ManifestVerifier::ListObjects() {
  RETURN_IF_ERROR(session_.repository().store().List(
      BackupDirectory(backup_.label), "", [this](const ObjectInfo& object) {
        ++session_.progress().objects;
        if (object.name == manifest_name_) {
          stored_manifest_ = object.size;
        } else if (const auto number = ParsePackName(backup_.label, object.name)) {
          stored_[*number] = object.size;
          unnamed_.insert(*number);
        } else if (object.name != BackupDocumentName(backup_.label)) {
          session_.findings().AddOrphan(object.name);
        }
        return Ok();
      }));
  if (is_full_) {
    full_->stored = stored_;
  }
  return Ok();
}

Status ManifestVerifier::Take(ManifestRecord&& record) {
  RETURN_IF_ERROR(session_.repository().environment().cancellation->Check());
  if (const auto* pack = std::get_if<PackRecord>(&record)) {
    if (pack->of_full) {
      records_of_full_[pack->number] = *pack;
      return Ok();
    }
    return TakePack(*pack);
  }
  if (const auto* file = std::get_if<FileRecord>(&record)) {
    for (const Extent& extent : file->extents) {
      RETURN_IF_ERROR(TakeExtent(extent));
    }
    for (const PageExtent& pages : file->pages) {
      RETURN_IF_ERROR(TakeExtent(pages.extent));
    }
  }
  return Ok();
}

Status ManifestVerifier::TakeExtent(const Extent& extent) {
  if (extent.pack == 0) {
    return Ok();
  }
  if (extent.of_full) {
    TakeReference(extent);
    return Ok();
  }
  ++session_.progress().extents;
  if (is_full_ && keep_index_) {
    full_->extents.Add(extent);
  }
  packs_[extent.pack].extents.push_back(extent);
  return OpenWhenComplete(extent.pack);
}

Status ManifestVerifier::TakePack(const PackRecord& record) {
  if (is_full_ && keep_index_) {
    full_->packs[record.number] = record;
  }
  OpenPack& pack = packs_[record.number];
  pack.record = record;
  pack.announced = true;
  return OpenWhenComplete(record.number);
}

void ManifestVerifier::TakeReference(const Extent& extent) {
  if (packs_of_full_.insert(extent.pack).second) {
    CheckPackOfFull(extent.pack);
  }
  if (full_->manifest_read && !full_->extents.Contains(extent)) {
    ++strange_references_;
  }
}

void ManifestVerifier::CheckPackOfFull(std::uint32_t number) {
  const std::string name = PackName(backup_.full_label(), number);
  const auto record = records_of_full_.find(number);
  if (record == records_of_full_.end()) {
    AddProblem(manifest_name_, fmt::format("\"{}\" does not describe pack {} of the full backup",
                                           manifest_name_, number));
    return;
  }
  if (!IsStored(full_->stored, name, record->second) || !full_->manifest_read) {
    return;
  }
  const auto there = full_->packs.find(number);
  if (there == full_->packs.end() || there->second.header != record->second.header ||
      there->second.size != record->second.size || there->second.frames != record->second.frames ||
      there->second.digest != record->second.digest) {
    AddProblem(manifest_name_,
               fmt::format("\"{}\" and \"{}\" describe pack {} of the full backup differently",
                           manifest_name_, ManifestName(backup_.full_label()), number));
  }
}

bool ManifestVerifier::IsStored(const std::map<std::uint32_t, std::uint64_t>& stored,
                                const std::string& name, const PackRecord& record) {
  const auto there = stored.find(record.number);
  if (there == stored.end()) {
    AddProblem(name, fmt::format("object \"{}\" is missing", name));
    return false;
  }
  if (there->second != record.size) {
    AddProblem(name, fmt::format("object \"{}\" has {} bytes instead of {}", name, there->second,
                                 record.size));
    return false;
  }
  return true;
}

Status ManifestVerifier::OpenWhenComplete(std::uint32_t number) {
  const auto found = packs_.find(number);
  if (!found->second.complete()) {
    return Ok();
  }
  OpenPack pack = std::move(found->second);
  packs_.erase(found);
  unnamed_.erase(number);
  std::string name = PackName(backup_.label, number);
  if (!IsStored(stored_, name, pack.record) || !session_.full()) {
    return Ok();
  }
  return session_.Push([session = &session_, full = is_full_ ? full_ : nullptr,
                        label = backup_.label, name = std::move(name),
                        pack = std::move(pack)](PackReader& reader) mutable -> Status {
    std::ranges::sort(pack.extents, {}, &Extent::frame);
    session->BeforeReading(pack.record.size);
    const Status read = reader.Read(name, pack.record, pack.extents,
                                    [](std::size_t, ByteView) -> Status { return Ok(); });
    RETURN_IF_ERROR(session->Judge(read, name, {label}));
    if (!read && full != nullptr) {
      const std::lock_guard lock(full->mutex);
      full->damaged[pack.record.number] = read.error().message;
    }
    return Ok();
  });
}

void ManifestVerifier::AddProblem(const std::string& object, std::string message) {
  session_.findings().AddProblem({object, backup_.label, std::move(message)});
}

}  // namespace veza
