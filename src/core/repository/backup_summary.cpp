#include "core/repository/backup_summary.h"

#include <algorithm>
#include <bit>
#include <iterator>

#include "core/codec/document.h"
#include "core/codec/json.h"
#include "core/codec/json_fields.h"
#include "core/limits.h"

namespace veza {

namespace {

constexpr std::uint32_t kLargestBlock = 32U << 10;  // that PostgreSQL can be built with

void ReadLsn(JsonFields& fields, const char* name, Lsn& lsn) {
  std::string text;
  fields.Read(name, text);
  if (auto parsed = ParseLsn(text)) {
    lsn = *parsed;
  } else {
    fields.Fail(fmt::format("member \"{}\" is not an LSN", name));
  }
}

void ReadDigest(JsonFields& fields, const char* name, Sha256Digest& digest) {
  std::string text;
  fields.Read(name, text);
  const auto bytes = FromHex(text);
  if (bytes && bytes->size() == digest.size()) {
    std::copy(bytes->begin(), bytes->end(), digest.begin());
  } else {
    fields.Fail(fmt::format("member \"{}\" is not a SHA-256 digest", name));
  }
}

template <typename Item, typename ReadItem>
void ReadArray(JsonFields& fields, const Json& document, const char* name, const std::string& where,
               std::vector<Item>& items, ReadItem read_item) {
  const Json* const array = document.Find(name);
  if (array == nullptr || !array->is_array()) {
    fields.Fail(fmt::format("member \"{}\" is not an array", name));
    return;
  }
  for (const Json& element : *array) {
    JsonFields element_fields(element, where);
    Item item;
    read_item(element_fields, item);
    if (const Status status = element_fields.status(); !status) {
      fields.Fail(status.error().message);
      return;
    }
    items.push_back(std::move(item));
  }
}

void ReadSettings(JsonFields& fields, const Json& document,
                  std::map<std::string, std::string>& settings) {
  const Json* const object = document.Find("settings");
  if (object == nullptr || !object->is_object()) {
    fields.Fail("member \"settings\" is not an object");
    return;
  }
  for (const auto& [name, value] : object->members()) {
    if (!value.is_text()) {
      fields.Fail(fmt::format("setting \"{}\" is not a string", name));
      return;
    }
    settings[name] = *value.AsText();
  }
}

// They are stored as text, so that what comes back is what was there, whatever members it has.
Json KeyWrapsToJson(const std::vector<NamedText>& wraps) {
  Json array = Json::Array();
  for (const NamedText& wrap : wraps) {
    if (wrap.text.size() <= limits::kKeyWrap) {
      array.push_back({{"name", wrap.name}, {"text", wrap.text}});
    }
  }
  return array;
}

// What is no key wrap is passed over: a copy that cannot be used is no reason not to restore.
std::vector<NamedText> KeyWrapsFrom(const Json& document) {
  std::vector<NamedText> wraps;
  const Json* const array = document.Find("key_wraps");
  if (array == nullptr || !array->is_array()) {
    return wraps;
  }
  for (const Json& element : *array) {
    const auto name = StringMember(element, "name");
    auto text = StringMember(element, "text");
    if (name && text && text->size() <= limits::kKeyWrap && name->starts_with(kKeyPrefix) &&
        ValidateObjectName(*name)) {
      wraps.push_back({*name, std::move(*text)});
    }
  }
  return wraps;
}

// Optional: the writer leaves out what is empty.
void WriteNotes(const WalkNotes& notes, Json& document) {
  if (notes.skipped_count > 0) {
    Json& skipped = document["skipped"] = Json::Array();
    for (const SkippedItem& item : notes.skipped) {
      PutPath(skipped.push_back(Json{{"reason", ValidUtf8(item.reason)}}), item.path);
    }
    document["skipped_count"] = notes.skipped_count;
  }
  if (notes.links_count > 0) {
    Json& links = document["links"] = Json::Array();
    for (const FollowedLink& link : notes.links) {
      PutPath(links.push_back(Json{{"target", ValidUtf8(link.target)}}), link.path);
    }
    document["links_count"] = notes.links_count;
  }
}

void ReadNotes(JsonFields& fields, const Json& document, const std::string& where,
               WalkNotes& notes) {
  if (fields.Has("skipped")) {
    fields.Read("skipped_count", notes.skipped_count);
    ReadArray(fields, document, "skipped", where, notes.skipped,
              [](JsonFields& element, SkippedItem& item) {
                ReadPath(element, item.path);
                element.Read("reason", item.reason);
              });
  }
  if (fields.Has("links")) {
    fields.Read("links_count", notes.links_count);
    ReadArray(fields, document, "links", where, notes.links,
              [](JsonFields& element, FollowedLink& link) {
                ReadPath(element, link.path);
                element.Read("target", link.target);
              });
  }
}

}  // namespace

std::vector<DatabaseSummary> DatabasesWithoutFiles(const BackupSummary& summary) {
  std::vector<DatabaseSummary> without;
  std::ranges::copy_if(summary.databases, std::back_inserter(without),
                       [](const DatabaseSummary& database) { return database.size == 0; });
  return without;
}

void KeepOnly(SummaryParts parts, BackupSummary* summary) {
  if (parts != SummaryParts::kAll) {
    summary->databases = DatabasesWithoutFiles(*summary);
    summary->extensions = {};
    summary->settings = {};
    summary->key_wraps = {};
    summary->backup_label = std::string();
  }
  if (parts == SummaryParts::kFacts) {
    summary->notes = {};
  }
  const auto shrink = [](auto&... lists) { (lists.shrink_to_fit(), ...); };
  shrink(summary->backup_label, summary->tablespaces, summary->checksum_failure_pages,
         summary->databases, summary->extensions, summary->key_wraps, summary->notes.skipped,
         summary->notes.links);
}

std::size_t MemoryOf(const BackupSummary& summary) {
  constexpr std::size_t kBlock = 16;  // of the allocator
  constexpr std::size_t kNode = 48;   // of a map, without what it holds
  std::size_t total = sizeof(BackupSummary);
  const auto add = [&](const auto&... texts) {
    // Short ones lie within the object.
    ((total += texts.capacity() > 15 ? texts.capacity() + kBlock : 0), ...);
  };
  const auto add_list = [&](const auto& list, auto... members) {
    total += list.capacity() * sizeof(list[0]) + kBlock;
    for (const auto& item : list) {
      add(item.*members...);
    }
  };
  add(summary.label, summary.postgres_version, summary.start_wal, summary.stop_wal, summary.node,
      summary.cipher, summary.key_id, summary.backup_label, summary.changes_by);
  add_list(summary.key_wraps, &NamedText::name, &NamedText::text);
  add_list(summary.tablespaces, &Tablespace::path);
  add_list(summary.checksum_failure_pages, &ChecksumFailure::path);
  add_list(summary.databases, &DatabaseSummary::name);
  add_list(summary.extensions, &ExtensionSummary::database, &ExtensionSummary::name,
           &ExtensionSummary::version);
  for (const auto& [name, value] : summary.settings) {
    total += kNode + 2 * sizeof(std::string);
    add(name, value);
  }
  add_list(summary.notes.skipped, &SkippedItem::path, &SkippedItem::reason);
  add_list(summary.notes.links, &FollowedLink::path, &FollowedLink::target);
  return total;
}

std::string BackupSummary::full_label() const {
  const auto parts = ParseLabel(label);
  return parts ? parts->full_label : label;
}

Result<std::string> SerializeSummary(const BackupSummary& summary, const SealPolicy& policy) {
  Json tablespaces = Json::Array();
  for (const Tablespace& tablespace : summary.tablespaces) {
    Json item{{"oid", tablespace.oid}, {"size", tablespace.size}};
    PutPath(item, tablespace.path);
    tablespaces.push_back(std::move(item));
  }
  Json databases = Json::Array();
  for (const DatabaseSummary& database : summary.databases) {
    databases.push_back({{"oid", database.oid},
                         {"name", ValidUtf8(database.name)},
                         {"row_xid", database.row_xid},
                         {"size", database.size}});
  }
  Json extensions = Json::Array();
  for (const ExtensionSummary& extension : summary.extensions) {
    extensions.push_back({{"database", ValidUtf8(extension.database)},
                          {"name", ValidUtf8(extension.name)},
                          {"version", ValidUtf8(extension.version)}});
  }
  Json settings = Json::Object();
  for (const auto& [name, value] : summary.settings) {
    settings[ValidUtf8(name)] = ValidUtf8(value);
  }
  Json failures = Json::Array();
  for (const ChecksumFailure& failure : summary.checksum_failure_pages) {
    failures.push_back({{"path", failure.path}, {"block", failure.block}});
  }
  Json document{
      {"format", 1},
      {"label", summary.label},
      {"type", BackupTypeName(summary.type)},
      {"system_identifier", std::to_string(summary.system_identifier)},
      {"postgres_version_num", summary.postgres_version_num},
      {"postgres_version", summary.postgres_version},
      {"timeline", summary.timeline},
      {"start_lsn", FormatLsn(summary.start_lsn)},
      {"stop_lsn", FormatLsn(summary.stop_lsn)},
      {"start_wal", summary.start_wal},
      {"stop_wal", summary.stop_wal},
      {"start_time", FormatUtc(summary.start_time)},
      {"stop_time", FormatUtc(summary.stop_time)},
      {"wal_segment_size", summary.wal_segment_size},
      {"block_size", summary.block_size},
      {"data_checksum_version", summary.data_checksum_version},
      {"from_standby", summary.from_standby},
      {"node", summary.node},
      {"size", summary.size},
      {"stored_size", summary.stored_size},
      {"files", summary.files},
      {"packs", summary.packs},
      {"cipher", summary.cipher},
      {"manifest_size", summary.manifest_size},
      {"manifest_sha256", ToHex(summary.manifest_sha256)},
      {"tablespaces", std::move(tablespaces)},
      {"checksum_failures", summary.checksum_failures},
      {"checksum_failure_pages", std::move(failures)},
      {"backup_label", summary.backup_label},
      {"databases", std::move(databases)},
      {"extensions", std::move(extensions)},
      {"settings", std::move(settings)},
  };
  if (summary.full_manifest_sha256) {
    document["full_manifest_sha256"] = ToHex(*summary.full_manifest_sha256);
  }
  if (!summary.changes_by.empty()) {
    document["changes_by"] = summary.changes_by;
  }
  WriteNotes(summary.notes, document);
  if (!summary.key_id.empty()) {
    document["key_id"] = summary.key_id;
  }
  if (!summary.key_wraps.empty()) {
    document["key_wraps"] = KeyWrapsToJson(summary.key_wraps);
  }
  const std::string name = BackupDocumentName(summary.label);
  Result<std::string> text = SignDocument(document, policy, name);
  // finished.json holds the same text, with more blanks.
  constexpr std::size_t kLargest = limits::kBackupDocument / 4 * 3;
  const bool is_too_large =
      text ? text->size() > kLargest : text.error().code == ErrorCode::kInvalidArgument;
  if (!is_too_large) {
    return text;
  }
  // Of many thousands of databases: the extensions of each are the most, and for people.
  document["extensions"] = Json::Array();
  return SignDocument(std::move(document), policy, name);
}

Result<BackupSummary> ParseSummary(std::string_view text, std::string_view label,
                                   const SealPolicy& policy) {
  const std::string name = BackupDocumentName(label);
  ASSIGN_OR_RETURN(const Json document, OpenDocument(text, policy, name));
  JsonFields fields(document, name);
  BackupSummary summary;
  std::string type;
  fields.Read("label", summary.label);
  fields.Read("type", type);
  ReadSystemIdentifier(fields, summary.system_identifier);
  fields.Read("postgres_version_num", summary.postgres_version_num);
  fields.Read("postgres_version", summary.postgres_version);
  fields.Read("timeline", summary.timeline);
  ReadLsn(fields, "start_lsn", summary.start_lsn);
  ReadLsn(fields, "stop_lsn", summary.stop_lsn);
  fields.Read("start_wal", summary.start_wal);
  fields.Read("stop_wal", summary.stop_wal);
  fields.Read("start_time", summary.start_time);
  fields.Read("stop_time", summary.stop_time);
  fields.Read("wal_segment_size", summary.wal_segment_size);
  fields.Read("block_size", summary.block_size);
  fields.Read("data_checksum_version", summary.data_checksum_version);
  fields.Read("from_standby", summary.from_standby);
  fields.Read("node", summary.node);
  fields.Read("size", summary.size);
  fields.Read("stored_size", summary.stored_size);
  fields.Read("files", summary.files);
  fields.Read("packs", summary.packs);
  fields.Read("cipher", summary.cipher);
  if (fields.Has("key_id")) {
    fields.Read("key_id", summary.key_id);
  }
  summary.key_wraps = KeyWrapsFrom(document);
  fields.Read("manifest_size", summary.manifest_size);
  ReadDigest(fields, "manifest_sha256", summary.manifest_sha256);
  ReadArray(fields, document, "tablespaces", name, summary.tablespaces,
            [](JsonFields& element, Tablespace& tablespace) {
              element.Read("oid", tablespace.oid);
              ReadPath(element, tablespace.path);
              element.Read("size", tablespace.size);
            });
  fields.Read("checksum_failures", summary.checksum_failures);
  ReadArray(fields, document, "checksum_failure_pages", name, summary.checksum_failure_pages,
            [](JsonFields& element, ChecksumFailure& failure) {
              element.Read("path", failure.path);
              element.Read("block", failure.block);
            });
  fields.Read("backup_label", summary.backup_label);
  ReadArray(fields, document, "databases", name, summary.databases,
            [](JsonFields& element, DatabaseSummary& database) {
              element.Read("oid", database.oid);
              element.Read("name", database.name);
              element.Read("row_xid", database.row_xid);
              element.Read("size", database.size);
            });
  ReadArray(fields, document, "extensions", name, summary.extensions,
            [](JsonFields& element, ExtensionSummary& extension) {
              element.Read("database", extension.database);
              element.Read("name", extension.name);
              element.Read("version", extension.version);
            });
  ReadSettings(fields, document, summary.settings);
  ReadNotes(fields, document, name, summary.notes);

  const auto parts = ParseLabel(summary.label);
  if (!parts || summary.label != label || type != BackupTypeName(parts->type)) {
    fields.Fail(fmt::format("does not describe backup \"{}\"", label));
  } else {
    summary.type = parts->type;
  }
  if (summary.type == BackupType::kDiff) {
    ReadDigest(fields, "full_manifest_sha256", summary.full_manifest_sha256.emplace());
    if (fields.Has("changes_by")) {
      fields.Read("changes_by", summary.changes_by);
    }
  }
  if (!std::has_single_bit(summary.block_size) || summary.block_size > kLargestBlock) {
    fields.Fail("member \"block_size\" is not the size of a block");
  }
  if (!IsWalSegmentSize(summary.wal_segment_size)) {
    fields.Fail("member \"wal_segment_size\" is not the size of a WAL segment");
  }
  RETURN_IF_ERROR(fields.status());
  return summary;
}

std::vector<NamedText> UnverifiedKeyWraps(std::string_view text) {
  return KeyWrapsFrom(ParseJsonObject(text).value_or(Json::Object()));
}

}  // namespace veza
