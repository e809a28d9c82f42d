#include "core/verify/manifest_verifier.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/repository/manifest_rules.h"
#include "core/repository/names.h"
#include "core/verify/backup_verifier.h"

namespace veza {

ManifestVerifier::ManifestVerifier(VerifySession& session, const BackupSummary& backup,
                                   std::shared_ptr<PackContents> own, bool keep_index,
                                   std::vector<std::shared_ptr<PackContents>> sources)
    : session_(session),
      backup_(backup),
      own_(std::move(own)),
      keep_index_(keep_index),
      sources_(std::move(sources)),
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
    RETURN_IF_ERROR(session_.Judge(read, manifest_name_, {backup_.label}));
    if (!session_.full()) {
      return Ok();
    }
    return session_.NoteDamaged(manifest_name_, backup_.label, backup_.manifest_size, [this] {
      return ReadWithRules(session_.repository(), backup_,
                           [](ManifestRecord&&) -> Status { return Ok(); });
    });
  }
  session_.progress().bytes_read += backup_.manifest_size;
  if (!packs_.empty()) {
    AddProblem(manifest_name_, fmt::format("\"{}\" does not describe pack {} completely",
                                           manifest_name_, packs_.begin()->first));
  }
  for (const auto& [source, count] : strange_references_) {
    AddProblem(manifest_name_,
               fmt::format("\"{}\" refers to {} extents that {} does not have", manifest_name_,
                           count, NameBackup(backup_.LabelOf(source))));
  }
  for (const std::uint32_t number : unnamed_) {
    session_.findings().AddOrphan(PackName(backup_.label, number));
  }
  own_->manifest_read = true;
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
  own_->stored = stored_;
  return Ok();
}

Status ManifestVerifier::Take(ManifestRecord&& record) {
  RETURN_IF_ERROR(session_.repository().environment().cancellation->Check());
  if (const auto* pack = std::get_if<PackRecord>(&record)) {
    if (pack->source != 0) {
      records_of_others_[{pack->source, pack->number}] = *pack;
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
  if (extent.source != 0) {
    TakeReference(extent);
    return Ok();
  }
  ++session_.progress().extents;
  if (keep_index_) {
    own_->extents.Add(extent);
  }
  packs_[extent.pack].extents.push_back(extent);
  return OpenWhenComplete(extent.pack);
}

Status ManifestVerifier::TakePack(const PackRecord& record) {
  if (keep_index_) {
    own_->packs[record.number] = record;
  }
  OpenPack& pack = packs_[record.number];
  pack.record = record;
  pack.announced = true;
  return OpenWhenComplete(record.number);
}

void ManifestVerifier::TakeReference(const Extent& extent) {
  const OtherPack pack{extent.source, extent.pack};
  if (other_packs_.insert(pack).second) {
    CheckOtherPack(pack);
  }
  const PackContents& source = *sources_[extent.source - 1];
  if (source.manifest_read && !source.extents.Contains(extent)) {
    ++strange_references_[extent.source];
  }
}

void ManifestVerifier::CheckOtherPack(const OtherPack& pack) {
  const auto& [source, number] = pack;
  const std::string& label = backup_.LabelOf(source);
  const std::string name = PackName(label, number);
  const auto record = records_of_others_.find(pack);
  if (record == records_of_others_.end()) {
    AddProblem(manifest_name_, fmt::format("\"{}\" does not describe pack {} of {}", manifest_name_,
                                           number, NameBackup(label)));
    return;
  }
  const PackContents& contents = *sources_[source - 1];
  if (!IsStored(contents.stored, name, record->second) || !contents.manifest_read) {
    return;
  }
  const auto there = contents.packs.find(number);
  if (there == contents.packs.end() || there->second.header != record->second.header ||
      there->second.size != record->second.size || there->second.frames != record->second.frames ||
      there->second.digest != record->second.digest) {
    AddProblem(manifest_name_, fmt::format("\"{}\" and \"{}\" describe pack {} differently",
                                           manifest_name_, ManifestName(label), number));
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
  return session_.Push([session = &session_, own = own_, label = backup_.label,
                        name = std::move(name),
                        pack = std::move(pack)](PackReader& reader) mutable -> Status {
    std::ranges::sort(pack.extents, {}, &Extent::frame);
    session->BeforeReading(pack.record.size);
    const auto read_all = [&] {
      return reader.Read(name, pack.record, pack.extents,
                         [](std::size_t, ByteView) -> Status { return Ok(); });
    };
    const Status read = read_all();
    RETURN_IF_ERROR(session->Judge(read, name, {label}));
    if (!read) {
      RETURN_IF_ERROR(session->NoteDamaged(name, label, pack.record.size, read_all));
      const std::lock_guard lock(own->mutex);
      own->damaged[pack.record.number] = read.error().message;
    }
    return Ok();
  });
}

void ManifestVerifier::AddProblem(const std::string& object, std::string message) {
  session_.findings().AddProblem({object, backup_.label, std::move(message)});
}

}  // namespace veza
