#include "core/repository/backup_summary.h"

#include <algorithm>
#include <bit>
#include <concepts>
#include <iterator>
#include <set>
#include <type_traits>

#include "core/codec/document.h"
#include "core/codec/json.h"
#include "core/codec/json_fields.h"
#include "core/limits.h"

namespace veza {

namespace {

constexpr std::uint32_t kLargestBlock = 32U << 10;  // that PostgreSQL supports

// `T`, or `const T`.
template <typename T, typename Plain>
concept PossiblyConst = std::same_as<std::remove_const_t<T>, Plain>;

// A key wrap is stored as text, so that it is read back unchanged, whatever members it has.
Json KeyWrapsToJson(const std::vector<NamedText>& wraps) {
  Json array = Json::Array();
  for (const NamedText& wrap : wraps) {
    if (wrap.text.size() <= limits::kKeyWrap) {
      array.push_back({{"name", wrap.name}, {"text", wrap.text}});
    }
  }
  return array;
}

// Skips what is not a key wrap: a backup can be restored without these copies.
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

// The members of backup.json and of what it holds, for both directions: `Members` is MemberWriter
// or MemberReader, which have the same functions. Optional members are left out when they are
// empty. Both ignore the order. Names() are texts of the server, in whatever encoding it has.

template <typename Members, PossiblyConst<Tablespace> Item>
void Describe(Members& members, Item& tablespace) {
  members.Value("oid", tablespace.oid);
  members.Path(tablespace.path);
  members.Value("size", tablespace.size);
}

template <typename Members, PossiblyConst<ChecksumFailure> Item>
void Describe(Members& members, Item& failure) {
  members.Value("path", failure.path);
  members.Value("block", failure.block);
}

template <typename Members, PossiblyConst<DatabaseSummary> Item>
void Describe(Members& members, Item& database) {
  members.Value("oid", database.oid);
  members.Name("name", database.name);
  members.Value("row_xid", database.row_xid);
  members.Value("size", database.size);
}

template <typename Members, PossiblyConst<ExtensionSummary> Item>
void Describe(Members& members, Item& extension) {
  members.Name("database", extension.database);
  members.Name("name", extension.name);
  members.Name("version", extension.version);
}

template <typename Members, PossiblyConst<SkippedItem> Item>
void Describe(Members& members, Item& skipped) {
  members.Path(skipped.path);
  members.Name("reason", skipped.reason);
}

template <typename Members, PossiblyConst<FollowedLink> Item>
void Describe(Members& members, Item& link) {
  members.Path(link.path);
  members.Name("target", link.target);
}

template <typename Members, PossiblyConst<SourceBackup> Item>
void Describe(Members& members, Item& source) {
  members.Value("label", source.label);
  members.Value("manifest_sha256", source.manifest_sha256);
}

template <typename Members, PossiblyConst<BackupSummary> Summary>
void Describe(Members& members, Summary& summary) {
  members.Value("label", summary.label);
  members.Value("type", summary.type);
  members.SystemIdentifier(summary.system_identifier);
  members.Value("postgres_version_num", summary.postgres_version_num);
  members.Value("postgres_version", summary.postgres_version);
  members.Value("timeline", summary.timeline);
  members.Value("start_lsn", summary.start_lsn);
  members.Value("stop_lsn", summary.stop_lsn);
  members.Value("start_wal", summary.start_wal);
  members.Value("stop_wal", summary.stop_wal);
  members.Value("start_time", summary.start_time);
  members.Value("stop_time", summary.stop_time);
  members.Optional("duration", summary.duration);
  members.Value("wal_segment_size", summary.wal_segment_size);
  members.Value("block_size", summary.block_size);
  members.Value("data_checksum_version", summary.data_checksum_version);
  members.Value("from_standby", summary.from_standby);
  members.Value("node", summary.node);
  members.Value("size", summary.size);
  members.Value("stored_size", summary.stored_size);
  members.Value("files", summary.files);
  members.Value("packs", summary.packs);
  members.Value("cipher", summary.cipher);
  members.Optional("key_id", summary.key_id);
  members.KeyWraps(summary.key_wraps);
  members.Value("manifest_size", summary.manifest_size);
  members.Value("manifest_sha256", summary.manifest_sha256);
  members.List("tablespaces", summary.tablespaces);
  members.Value("checksum_failures", summary.checksum_failures);
  members.List("checksum_failure_pages", summary.checksum_failure_pages);
  members.Value("backup_label", summary.backup_label);
  members.List("databases", summary.databases);
  members.List("extensions", summary.extensions);
  members.Settings(summary.settings);
  members.OptionalList("skipped", "skipped_count", summary.notes.skipped,
                       summary.notes.skipped_count);
  members.OptionalList("links", "links_count", summary.notes.links, summary.notes.links_count);
  if (summary.type == BackupType::kDiff) {
    members.Full(summary.full_label(), summary.sources);
  }
  if (summary.type == BackupType::kIncr) {
    members.Value("parent", summary.parent);
    members.List("sources", summary.sources);
  }
  if (summary.type != BackupType::kFull) {
    members.Optional("changes_by", summary.changes_by);
    members.Optional("changes_doubt", summary.changes_doubt);
  }
}

class MemberWriter {
 public:
  // Adds to `object`, which outlives the writer.
  explicit MemberWriter(Json& object) : object_(object) {}

  template <typename T>
  void Value(const char* name, const T& value) {
    object_[name] = value;
  }
  void Value(const char* name, BackupType type) { object_[name] = BackupTypeName(type); }
  void Value(const char* name, Lsn lsn) { object_[name] = FormatLsn(lsn); }
  void Value(const char* name, TimePoint time) { object_[name] = FormatUtc(time); }
  void Value(const char* name, const Sha256Digest& digest) { object_[name] = ToHex(digest); }
  // Of a diff: the label is a part of its own.
  void Full(const std::string&, const std::vector<SourceBackup>& sources) {
    if (!sources.empty()) {
      Value("full_manifest_sha256", sources.front().manifest_sha256);
    }
  }
  void Optional(const char* name, const std::string& value) {
    if (!value.empty()) {
      Value(name, value);
    }
  }
  void Optional(const char* name, const std::optional<std::uint64_t>& value) {
    if (value) {
      Value(name, *value);
    }
  }
  void Name(const char* name, const std::string& value) { object_[name] = ValidUtf8(value); }
  void Path(const std::string& path) { PutPath(object_, path); }
  void SystemIdentifier(std::uint64_t value) {
    object_["system_identifier"] = std::to_string(value);
  }

  template <typename Item>
  void List(const char* name, const std::vector<Item>& items) {
    Json& array = object_[name] = Json::Array();
    for (const Item& item : items) {
      MemberWriter members(array.push_back(Json::Object()));
      Describe(members, item);
    }
  }
  template <typename Item>
  void OptionalList(const char* name, const char* count_name, const std::vector<Item>& items,
                    std::uint64_t count) {
    if (count > 0) {
      List(name, items);
      Value(count_name, count);
    }
  }

  void Settings(const std::map<std::string, std::string>& settings) {
    Json& object = object_["settings"] = Json::Object();
    for (const auto& [name, value] : settings) {
      object[ValidUtf8(name)] = ValidUtf8(value);
    }
  }
  void KeyWraps(const std::vector<NamedText>& wraps) {
    if (!wraps.empty()) {
      object_["key_wraps"] = KeyWrapsToJson(wraps);
    }
  }

 private:
  Json& object_;
};

class MemberReader {
 public:
  // `where` names the object for messages; both outlive the reader.
  MemberReader(const Json& object, const std::string& where)
      : object_(object), where_(where), fields_(object, where) {}

  Status status() const { return fields_.status(); }
  void Fail(const std::string& what) { fields_.Fail(what); }

  template <typename T>
  void Value(const char* name, T& value) {
    fields_.Read(name, value);
  }
  void Value(const char* name, BackupType& type) {
    std::string text;
    fields_.Read(name, text);
    for (const BackupType known : {BackupType::kFull, BackupType::kDiff, BackupType::kIncr}) {
      if (text == BackupTypeName(known)) {
        type = known;
        return;
      }
    }
    fields_.FailOf(name, "is not a type of backup");
  }
  void Value(const char* name, Lsn& lsn) { ReadLsn(fields_, name, lsn); }
  void Value(const char* name, Sha256Digest& digest) {
    std::string text;
    fields_.Read(name, text);
    if (const std::optional<Sha256Digest> read = Sha256FromHex(text)) {
      digest = *read;
    } else {
      fields_.FailOf(name, "is not a SHA-256 digest");
    }
  }
  void Full(const std::string& label, std::vector<SourceBackup>& sources) {
    sources.push_back({label});
    Value("full_manifest_sha256", sources.front().manifest_sha256);
  }
  void Optional(const char* name, std::string& value) {
    if (fields_.Has(name)) {
      Value(name, value);
    }
  }
  void Optional(const char* name, std::optional<std::uint64_t>& value) {
    if (fields_.Has(name)) {
      Value(name, value.emplace());
    }
  }
  void Name(const char* name, std::string& value) { Value(name, value); }
  void Path(std::string& path) { ReadPath(fields_, path); }
  void SystemIdentifier(std::uint64_t& value) { ReadSystemIdentifier(fields_, value); }

  template <typename Item>
  void List(const char* name, std::vector<Item>& items) {
    const Json* const array = object_.Find(name);
    if (array == nullptr || !array->is_array()) {
      fields_.FailOf(name, "is not an array");
      return;
    }
    for (const Json& element : *array) {
      const std::string place = fmt::format("{}[{}]", name, items.size());
      MemberReader members(element, place);
      Item item;
      Describe(members, item);
      if (const Status status = members.status(); !status) {
        Fail(status.error().message);
        return;
      }
      items.push_back(std::move(item));
    }
  }
  template <typename Item>
  void OptionalList(const char* name, const char* count_name, std::vector<Item>& items,
                    std::uint64_t& count) {
    if (fields_.Has(name)) {
      Value(count_name, count);
      List(name, items);
    }
  }

  void Settings(std::map<std::string, std::string>& settings) {
    const Json* const object = object_.Find("settings");
    if (object == nullptr || !object->is_object()) {
      fields_.FailOf("settings", "is not an object");
      return;
    }
    for (const auto& [name, value] : object->members()) {
      if (!value.is_text()) {
        Fail(fmt::format("setting \"{}\" is not a string", name));
        return;
      }
      settings[name] = *value.AsText();
    }
  }
  void KeyWraps(std::vector<NamedText>& wraps) { wraps = KeyWrapsFrom(object_); }

 private:
  const Json& object_;
  const std::string& where_;
  JsonFields fields_;
};

// An incr names only backups that were begun before it, and that build on the same full. So no
// backup needs itself, by whatever way.
bool MayName(const BackupSummary& incr, const std::string& label) {
  const auto parts = ParseLabel(label);
  return parts && parts->full_label == incr.full_label() &&
         LabelTimeText(label) < LabelTimeText(incr.label);
}

void CheckSources(const BackupSummary& incr, MemberReader& members) {
  std::set<std::string_view> labels;
  for (const SourceBackup& source : incr.sources) {
    if (!MayName(incr, source.label) || !labels.insert(source.label).second) {
      members.Fail(fmt::format("cannot name packs of backup \"{}\"", ValidUtf8(source.label)));
      return;
    }
  }
  if (incr.sources.size() > limits::kSources) {
    members.Fail(fmt::format("names packs of more than {} backups", limits::kSources));
  }
  if (!MayName(incr, incr.parent)) {
    members.Fail("member \"parent\" is not a backup that it can build on");
  }
}

Result<BackupSummary> SummaryFrom(const Json& document, std::string_view label,
                                  const std::string& name) {
  MemberReader members(document, name);
  BackupSummary summary;
  Describe(members, summary);
  const auto parts = ParseLabel(summary.label);
  if (!parts || summary.label != label || summary.type != parts->type) {
    members.Fail(fmt::format("does not describe backup \"{}\"", label));
  }
  if (summary.type == BackupType::kIncr) {
    CheckSources(summary, members);
  }
  if (!std::has_single_bit(summary.block_size) || summary.block_size > kLargestBlock) {
    members.Fail("member \"block_size\" is not the size of a block");
  }
  if (!IsWalSegmentSize(summary.wal_segment_size)) {
    members.Fail("member \"wal_segment_size\" is not the size of a WAL segment");
  }
  RETURN_IF_ERROR(members.status());
  return summary;
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
         summary->databases, summary->extensions, summary->key_wraps, summary->sources,
         summary->notes.skipped, summary->notes.links);
}

std::size_t MemoryOf(const BackupSummary& summary) {
  constexpr std::size_t kBlock = 16;  // overhead of an allocation
  constexpr std::size_t kNode = 48;   // of a map node, without its content
  std::size_t total = sizeof(BackupSummary);
  const auto add = [&](const auto&... texts) {
    // Short texts are stored inside the object.
    ((total += texts.capacity() > 15 ? texts.capacity() + kBlock : 0), ...);
  };
  const auto add_list = [&](const auto& list, auto... members) {
    total += list.capacity() * sizeof(list[0]) + kBlock;
    for (const auto& item : list) {
      add(item.*members...);
    }
  };
  add(summary.label, summary.postgres_version, summary.start_wal, summary.stop_wal, summary.node,
      summary.cipher, summary.key_id, summary.backup_label, summary.changes_by,
      summary.changes_doubt, summary.parent);
  add_list(summary.key_wraps, &NamedText::name, &NamedText::text);
  add_list(summary.sources, &SourceBackup::label);
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

std::chrono::duration<double> DurationOf(const BackupSummary& summary) {
  using Seconds = std::chrono::duration<double>;
  return summary.duration
             ? Seconds(static_cast<double>(*summary.duration))
             : std::max(Seconds(summary.stop_time - summary.start_time), Seconds::zero());
}

std::string BackupSummary::full_label() const {
  const auto parts = ParseLabel(label);
  return parts ? parts->full_label : label;
}

const std::string& BackupSummary::LabelOf(std::uint32_t source) const {
  return source == 0 ? label : sources.at(source - 1).label;
}

Result<std::string> SerializeSummary(const BackupSummary& summary, const SealPolicy& policy) {
  Json document{{"format", 1}};
  MemberWriter members(document);
  Describe(members, summary);
  const std::string name = BackupDocumentName(summary.label);
  Result<std::string> text = SignDocument(document, policy, name);
  // finished.json holds the same text with more blanks.
  constexpr std::size_t kLargest = limits::kBackupDocument / 4 * 3;
  const bool is_too_large =
      text ? text->size() > kLargest : text.error().code == ErrorCode::kInvalidArgument;
  if (!is_too_large) {
    return text;
  }
  // There are many thousands of databases. The extensions of each take the most room, and only
  // people read them.
  document["extensions"] = Json::Array();
  return SignDocument(std::move(document), policy, name);
}

Result<BackupSummary> ParseSummary(std::string_view text, std::string_view label,
                                   const SealPolicy& policy) {
  const std::string name = BackupDocumentName(label);
  ASSIGN_OR_RETURN(const Json document, OpenDocument(text, policy, name));
  return SummaryFrom(document, label, name);
}

Result<BackupSummary> ParseUnverifiedSummary(std::string_view text, std::string_view label) {
  const std::string name = BackupDocumentName(label);
  ASSIGN_OR_RETURN(const Json document, OpenUnverifiedDocument(text, name));
  return SummaryFrom(document, label, name);
}

std::vector<NamedText> UnverifiedKeyWraps(std::string_view text) {
  return KeyWrapsFrom(ParseJsonObject(text).value_or(Json::Object()));
}

}  // namespace veza
