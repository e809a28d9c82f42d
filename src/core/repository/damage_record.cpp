#include "core/repository/damage_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <utility>

#include "core/codec/document.h"
#include "core/codec/json.h"
#include "core/codec/json_fields.h"
#include "core/limits.h"
#include "core/repository/names.h"

namespace veza {

namespace {

constexpr std::size_t kLongestNode = 255;  // host names have at most 64

bool IsControl(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
}

Result<DamageRecord> ParseDamage(std::string_view text, const std::string& name,
                                 const SealPolicy& policy) {
  ASSIGN_OR_RETURN(const Json document, OpenDocument(text, policy, name));
  JsonFields fields(document, name);
  DamageRecord record;
  std::string digest;
  fields.Read("manifest_sha256", digest);
  fields.Read("node", record.node);
  // People read it in messages and in logs.
  if (record.node.size() > kLongestNode || std::ranges::any_of(record.node, IsControl)) {
    fields.FailOf("node", "is longer than 255 bytes, or has control characters");
  }
  fields.Read("created", record.created);
  fields.Read("count", record.objects.count);
  if (const std::optional<Sha256Digest> read = Sha256FromHex(digest)) {
    record.manifest_sha256 = *read;
  } else {
    fields.FailOf("manifest_sha256", "is not a SHA-256 digest");
  }
  const Json* const objects = document.Find("objects");
  if (objects == nullptr || !objects->is_array() || objects->size() == 0 ||
      objects->size() > DamagedObjects::kMostNamed) {
    fields.FailOf("objects", "is not an array of 1 to 100 names");
    return fields.status().error();
  }
  const std::string label = ParseDamageName(name).value_or("");
  for (const Json& object : *objects) {
    const std::string* const part = object.AsText();
    if (part == nullptr || (*part != ManifestName(label) && !ParsePackName(label, *part))) {
      fields.FailOf("objects", "names something that is no part of the backup");
      break;
    }
    record.objects.names.push_back(*part);
  }
  RETURN_IF_ERROR(fields.status());
  return record;
}

std::string DescribeDamage(const DamageRecord& record) {
  const std::string others =
      record.objects.count > 1 ? fmt::format(" (and {} more)", record.objects.count - 1) : "";
  return fmt::format(
      "object \"{}\"{} is damaged, as \"vezactl verify --full\" found on \"{}\" at {}",
      record.objects.names.front(), others, record.node,
      FormatUtc(std::chrono::floor<std::chrono::seconds>(record.created)));
}

}  // namespace

void DamagedObjects::Add(const std::string& name) {
  ++count;
  names.insert(std::ranges::lower_bound(names, name), name);
  if (names.size() > kMostNamed) {
    names.pop_back();
  }
}

bool StoredDamage::IsSameAs(const StoredDamage& other) const {
  return object.name == other.object.name && object.size == other.object.size &&
         object.modified == other.object.modified && content == other.content;
}

Result<std::vector<StoredDamage>> ReadDamageRecords(const Repository& repository,
                                                    std::span<const BackupSummary> backups,
                                                    std::vector<std::string>* labels) {
  Store& store = repository.store();
  std::map<std::string, const BackupSummary*, std::less<>> by_label;
  for (const BackupSummary& backup : backups) {
    by_label[backup.label] = &backup;
  }
  ASSIGN_OR_RETURN(const std::vector<ObjectInfo> objects,
                   ListAtMost(store, kDamagePrefix, limits::kDirectories));
  std::vector<StoredDamage> damage;
  for (const ObjectInfo& object : objects) {
    const std::optional<std::string> label = ParseDamageName(object.name);
    if (label && labels != nullptr) {
      labels->push_back(*label);
    }
    const auto backup = label ? by_label.find(*label) : by_label.end();
    if (backup == by_label.end()) {
      continue;
    }
    if (damage.size() >= limits::kDamageRecords) {
      damage.push_back({*label,
                        MakeError(ErrorCode::kDataCorrupted,
                                  "object \"{}\" was not read: there are more than {}", object.name,
                                  limits::kDamageRecords),
                        object});
      continue;
    }
    std::optional<Sha256Digest> content;
    Result<DamageRecord> record = [&]() -> Result<DamageRecord> {
      ASSIGN_OR_RETURN(const Bytes text, GetListed(store, object, limits::kDamageRecord));
      content = Sha256Of(text);
      return ParseDamage(AsText(text), object.name, repository.seal_policy());
    }();
    if (!record && IsOfTheStore(record.error())) {
      return std::move(record.error());
    }
    if (!record && record.error().code == ErrorCode::kNotFound) {
      continue;  // a verification has removed it since
    }
    if (record && record->manifest_sha256 != backup->second->manifest_sha256) {
      record = MakeError(ErrorCode::kDataCorrupted, "object \"{}\" is about another manifest",
                         object.name);
    }
    damage.push_back({*label, std::move(record), object, content});
  }
  return damage;
}

Result<LostParts> ReadKnownDamage(const Repository& repository,
                                  std::span<const BackupSummary> backups,
                                  std::vector<std::string>* labels) {
  LostParts known;
  if (backups.empty() && labels == nullptr) {
    return known;
  }
  const Result<std::vector<StoredDamage>> damage = ReadDamageRecords(repository, backups, labels);
  if (!damage && IsOfTheStore(damage.error())) {
    return damage.error();
  }
  if (!damage) {
    for (const BackupSummary& backup : backups) {
      known[backup.label] = {.name = {},
                             .reason = fmt::format("it may be known as damaged, but \"{}\" cannot "
                                                   "be listed: {}",
                                                   kDamagePrefix, damage.error().message),
                             .by = LostPart::By::kDoubt};
    }
    return known;
  }
  for (const StoredDamage& one : *damage) {
    known[one.label] =
        one.record
            ? LostPart{.name = {},
                       .reason = DescribeDamage(*one.record),
                       .by = LostPart::By::kRecord}
            : LostPart{.name = {},
                       .reason = fmt::format("it may be known as damaged, but the record of that "
                                             "cannot be used: {}",
                                             one.record.error().message),
                       .by = LostPart::By::kDoubt};
  }
  return known;
}

Result<bool> StoreDamage(const Repository& repository, const std::string& label,
                         const DamageRecord& record) {
  Store& store = repository.store();
  const std::string name = DamageName(label);
  ASSIGN_OR_RETURN(const std::string text,
                   SignDocument({{"format", 1},
                                 {"manifest_sha256", ToHex(record.manifest_sha256)},
                                 {"node", ValidUtf8(record.node)},
                                 {"created", FormatUtc(record.created)},
                                 {"objects", record.objects.names},
                                 {"count", record.objects.count}},
                                repository.seal_policy(), name));
  // The verification holds no lock, so an expiry may remove the backup at any moment. What comes
  // too late for it, the next one removes.
  ASSIGN_OR_RETURN(const bool before, IsStillThere(repository, label));
  if (!before) {
    return false;
  }
  RETURN_IF_ERROR(PutSmallOnce(store, name, AsBytes(text)));
  ASSIGN_OR_RETURN(const bool after, IsStillThere(repository, label));
  if (!after) {
    RETURN_IF_ERROR(store.Delete(name));
  }
  return after;
}

}  // namespace veza
