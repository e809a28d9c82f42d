#include "core/archive/gap_record.h"

#include <utility>

#include "core/codec/document.h"
#include "core/codec/json_fields.h"
#include "core/limits.h"
#include "core/repository/names.h"

namespace veza {

namespace {

constexpr std::string_view kMinimalSuffix = ".minimal";

// Whether the fault is in the object, so that to read it again would not help.
bool IsOfTheObject(ErrorCode code) {
  return code == ErrorCode::kDataCorrupted || code == ErrorCode::kWrongKey ||
         code == ErrorCode::kUnsupported || code == ErrorCode::kInvalidArgument;
}

// The segment in a name "<segment>-<segment>.minimal". Empty for any other name.
std::string SegmentOfMinimal(const std::string& object) {
  std::string base = object.substr(object.rfind('/') + 1);
  if (!base.ends_with(kMinimalSuffix)) {
    return "";
  }
  base = base.substr(0, base.find('-'));
  const auto name = ParseWalFileName(base);
  return name && name->kind == WalFileKind::kSegment ? base : "";
}

}  // namespace

Status RecordGap(const Repository& repository, std::uint64_t system_identifier, const WalGap& gap) {
  // The same segment may have a record of each kind: it may have been lost, and found again.
  const std::string name = GapName(system_identifier, gap.first, gap.last) +
                           std::string(gap.minimal ? kMinimalSuffix : "");
  Json document = {{"format", 1},
                   {"first", gap.first},
                   {"last", gap.last},
                   {"node", repository.options().node},
                   {"created", FormatUtc(repository.environment().clock->Now())}};
  if (gap.minimal) {
    document["minimal_from"] = FormatLsn(*gap.minimal);
  }
  ASSIGN_OR_RETURN(const std::string text,
                   SignDocument(std::move(document), repository.seal_policy(), name));
  return PutSmallOnce(repository.store(), name, AsBytes(text));
}

Status RecordMinimal(const Repository& repository, std::uint64_t system_identifier,
                     const std::string& segment, Lsn lsn) {
  return RecordGap(repository, system_identifier, {segment, segment, lsn});
}

Result<WalGap> ReadGap(const Repository& repository, const std::string& object) {
  ASSIGN_OR_RETURN(const Bytes text, GetSmall(repository.store(), object, limits::kGapRecord));
  ASSIGN_OR_RETURN(const Json document,
                   OpenDocument(AsText(text), repository.seal_policy(), object));
  JsonFields fields(document, object);
  WalGap gap;
  fields.Read("first", gap.first);
  fields.Read("last", gap.last);
  if (document.contains("minimal_from")) {
    std::string lsn;
    fields.Read("minimal_from", lsn);
    const Result<Lsn> parsed = ParseLsn(lsn);
    if (!parsed) {
      return DamagedObject(object, "\"minimal_from\" is not an LSN");
    }
    gap.minimal = *parsed;
  }
  RETURN_IF_ERROR(fields.status());
  for (const std::string& segment : {gap.first, gap.last}) {
    const auto name = ParseWalFileName(segment);
    if (!name || name->kind != WalFileKind::kSegment) {
      return DamagedObject(object, "it names no WAL segments");
    }
  }
  return gap;
}

Result<std::vector<MinimalWal>> ReadMinimalWal(const Repository& repository,
                                               std::uint64_t system_identifier) {
  ASSIGN_OR_RETURN(
      const std::vector<ObjectInfo> listed,
      ListAtMost(repository.store(), GapPrefix(system_identifier), limits::kGapRecords));
  std::vector<std::string> objects;
  for (const ObjectInfo& object : listed) {
    if (!SegmentOfMinimal(object.name).empty()) {
      objects.push_back(object.name);
    }
  }
  std::vector<MinimalWal> found;
  if (objects.empty()) {
    return found;
  }
  ASSIGN_OR_RETURN(const Identity identity, repository.IdentityOf(system_identifier));
  const std::uint64_t size = identity.wal_segment_size;
  for (const std::string& object : objects) {
    const Result<WalGap> gap = ReadGap(repository, object);
    if (!gap && gap.error().code == ErrorCode::kNotFound) {
      continue;  // retention has removed it
    }
    if (!gap && !IsOfTheObject(gap.error().code)) {
      return gap.error();
    }
    const std::string segment = SegmentOfMinimal(object);
    if (gap && gap->first == segment && gap->minimal) {
      found.push_back({.timeline = ParseWalFileName(segment)->timeline, .lsn = *gap->minimal});
      continue;
    }
    const SegmentNumber number = SegmentNumberOf(segment, size);
    found.push_back({.timeline = ParseWalFileName(segment)->timeline,
                     .lsn = Lsn{number * size},
                     .doubt = gap ? DamagedObject(object, "it is not about the segment of its name")
                                  : gap.error(),
                     .end = Lsn{(number + 1) * size},
                     .object = object});
  }
  return found;
}

}  // namespace veza
