#include "core/wal_index/event_lines.h"

#include <algorithm>
#include <charconv>
#include <set>
#include <utility>

#include "core/codec/json.h"
#include "core/codec/json_fields.h"

namespace veza {
namespace {

// The most relations that one transaction may drop, so that its line keeps the limits of JSON.
constexpr std::size_t kMostDropped = limits::kJsonValues / 4;
constexpr std::size_t kMostTablespaces = limits::kJsonValues / 4;

// Fields ------------------------------------------------------------------------------------
// Each kind of event says its members once, for the writer and for the reader.

class Writer {
 public:
  explicit Writer(Json& json) : json_(json) {}

  void operator()(const char* name, std::uint32_t value) { json_[name] = value; }
  void operator()(const char* name, std::uint8_t value) { json_[name] = value; }
  void operator()(const char* name, std::int32_t value) { json_[name] = value; }
  void operator()(const char* name, bool value) { json_[name] = value; }
  void operator()(const char* name, Lsn value) { json_[name] = FormatLsn(value); }
  void operator()(const char* name, TimePoint value) {
    json_[name] = static_cast<std::int64_t>(value.time_since_epoch().count());
  }
  void operator()(const char* name, WalLevel value) { json_[name] = static_cast<int>(value); }
  void operator()(const char* name, const std::optional<WalLevel>& value) {
    if (value) {
      (*this)(name, *value);
    }
  }
  // In any encoding.
  void operator()(const char* name, const std::string& value) {
    if (value.empty()) {
      return;
    }
    if (IsUtf8(value)) {
      json_[name] = value;
    } else {
      json_[std::string(name) + "_base64"] = ToBase64(AsBytes(value));
    }
  }
  void operator()(const RelationFile& file) {
    (*this)("tablespace", file.tablespace);
    (*this)("database", file.database);
    (*this)("relation", file.relation);
  }
  void operator()(const char* name, const std::vector<std::uint32_t>& values) {
    Json list = Json::Array();
    for (const std::uint32_t value : values) {
      list.push_back(value);
    }
    json_[name] = std::move(list);
  }
  // By "tablespace/database", the numbers of the relations.
  void operator()(const char* name, const std::vector<RelationFile>& files) {
    Json groups = Json::Object();
    for (const RelationFile& file : files) {
      groups[fmt::format("{}/{}", file.tablespace, file.database)].push_back(file.relation);
    }
    json_[name] = std::move(groups);
  }

 private:
  Json& json_;
};

class Reader {
 public:
  Reader(const Json& json, const std::string& where) : json_(json), fields_(json, where) {}

  void operator()(const char* name, std::uint32_t& value) { fields_.Read(name, value); }
  void operator()(const char* name, std::uint8_t& value) {
    fields_.Read(name, value);
    if (value > kInitFork) {
      fields_.FailOf(name, "is not a fork");
    }
  }
  void operator()(const char* name, std::int32_t& value) { fields_.Read(name, value); }
  void operator()(const char* name, bool& value) { fields_.Read(name, value); }
  void operator()(const char* name, Lsn& value) { ReadLsn(fields_, name, value); }
  void operator()(const char* name, TimePoint& value) {
    std::int64_t time = 0;
    fields_.Read(name, time);
    value = TimePoint(std::chrono::microseconds(time));
  }
  void operator()(const char* name, WalLevel& value) {
    int level = 0;
    fields_.Read(name, level);
    if (level < 0 || level > 2) {
      fields_.FailOf(name, "is not a level");
      return;
    }
    value = static_cast<WalLevel>(level);
  }
  void operator()(const char* name, std::optional<WalLevel>& value) {
    if (fields_.Has(name)) {
      (*this)(name, value.emplace());
    }
  }
  void operator()(const char* name, std::string& value) {
    const std::string encoded = std::string(name) + "_base64";
    if (fields_.Has(name)) {
      fields_.Read(name, value);
    } else if (fields_.Has(encoded.c_str())) {
      std::string text;
      fields_.Read(encoded.c_str(), text);
      const std::optional<Bytes> bytes = FromBase64(text);
      if (!bytes) {
        fields_.FailOf(encoded.c_str(), "is not base64");
        return;
      }
      value = AsText(*bytes);
    }
  }
  void operator()(RelationFile& file) {
    (*this)("tablespace", file.tablespace);
    (*this)("database", file.database);
    (*this)("relation", file.relation);
  }
  void operator()(const char* name, std::vector<std::uint32_t>& values) {
    const Json* const list = json_.Find(name);
    if (list == nullptr || !list->is_array()) {
      fields_.FailOf(name, "is not a list");
      return;
    }
    for (const Json& number : *list) {
      TakeNumber(name, number, values.emplace_back());
    }
  }
  void operator()(const char* name, std::vector<RelationFile>& files) {
    const Json* const groups = json_.Find(name);
    if (groups == nullptr || !groups->is_object()) {
      fields_.FailOf(name, "is not an object");
      return;
    }
    for (const auto& [place, relations] : groups->members()) {
      RelationFile file;
      if (!ParsePlace(place, file) || !relations.is_array()) {
        fields_.FailOf(name, "has an invalid member");
        return;
      }
      for (const Json& number : relations) {
        TakeNumber(name, number, file.relation);
        files.push_back(file);
      }
    }
  }
  Status status() const { return fields_.status(); }

 private:
  void TakeNumber(const char* name, const Json& number, std::uint32_t& value) {
    if (!JsonFields::IntegerFrom(number, value)) {
      fields_.FailOf(name, "has something that is not a number in range");
    }
  }
  static bool ParsePlace(const std::string& place, RelationFile& file) {
    const char* const end = place.data() + place.size();
    const auto [slash, error] = std::from_chars(place.data(), end, file.tablespace);
    if (error != std::errc() || slash == end || *slash != '/') {
      return false;
    }
    const auto [behind, second] = std::from_chars(slash + 1, end, file.database);
    return second == std::errc() && behind == end;
  }

  const Json& json_;
  JsonFields fields_;
};

// `Fact` is const for Writer. Subtransactions are elsewhere.
template <typename Visitor, typename Fact>
void Members(Visitor& visit, Fact& fact) {
  using F = std::remove_const_t<Fact>;
  if constexpr (std::is_same_v<F, TransactionEnd>) {
    visit("committed", fact.committed);
    visit("prepared", fact.prepared);
    visit("time", fact.time);
    visit("ended", fact.xid);
    visit("database", fact.database);
    visit("dropped", fact.dropped);
    visit("gid", fact.gid);
  } else if constexpr (std::is_same_v<F, TransactionPrepared>) {
    visit("time", fact.time);
    visit("ended", fact.xid);
    visit("database", fact.database);
    visit("gid", fact.gid);
  } else if constexpr (std::is_same_v<F, RelationCreated>) {
    visit(fact.file);
    visit("fork", fact.fork);
  } else if constexpr (std::is_same_v<F, RelationTruncated>) {
    visit(fact.file);
    visit("blocks", fact.blocks);
    visit("main", fact.main);
    visit("visibility_map", fact.visibility_map);
    visit("free_space_map", fact.free_space_map);
  } else if constexpr (std::is_same_v<F, DatabaseCopied>) {
    visit("database", fact.database);
    visit("tablespace", fact.tablespace);
    visit("source_database", fact.source_database);
    visit("source_tablespace", fact.source_tablespace);
  } else if constexpr (std::is_same_v<F, DatabaseCreated>) {
    visit("database", fact.database);
    visit("tablespace", fact.tablespace);
  } else if constexpr (std::is_same_v<F, DatabaseDropped>) {
    visit("database", fact.database);
    visit("tablespaces", fact.tablespaces);
  } else if constexpr (std::is_same_v<F, TablespaceCreated>) {
    visit("tablespace", fact.tablespace);
    visit("location", fact.location);
  } else if constexpr (std::is_same_v<F, TablespaceDropped>) {
    visit("tablespace", fact.tablespace);
  } else if constexpr (std::is_same_v<F, RestorePointMade>) {
    visit("name", fact.name);
    visit("time", fact.time);
  } else if constexpr (std::is_same_v<F, CheckpointMade>) {
    visit("shutdown", fact.shutdown);
    visit("redo", fact.redo);
    visit("timeline", fact.timeline);
    visit("previous_timeline", fact.previous_timeline);
    visit("full_page_writes", fact.full_page_writes);
    visit("time", fact.time);
    visit("wal_level", fact.wal_level);
  } else if constexpr (std::is_same_v<F, CheckpointBegun>) {
    visit("wal_level", fact.wal_level);
  } else if constexpr (std::is_same_v<F, ParametersChanged>) {
    visit("wal_level", fact.wal_level);
    visit("wal_log_hints", fact.wal_log_hints);
    visit("track_commit_timestamp", fact.track_commit_timestamp);
    visit("max_connections", fact.max_connections);
    visit("max_worker_processes", fact.max_worker_processes);
    visit("max_wal_senders", fact.max_wal_senders);
    visit("max_prepared_transactions", fact.max_prepared_transactions);
    visit("max_locks_per_transaction", fact.max_locks_per_transaction);
  } else if constexpr (std::is_same_v<F, FullPageWritesChanged>) {
    visit("on", fact.on);
  } else if constexpr (std::is_same_v<F, ChecksumsChanged>) {
    visit("state", fact.state);
  } else if constexpr (std::is_same_v<F, RecoveryEnded>) {
    visit("time", fact.time);
    visit("timeline", fact.timeline);
    visit("previous_timeline", fact.previous_timeline);
    visit("wal_level", fact.wal_level);
  } else if constexpr (std::is_same_v<F, RecordOverwritten>) {
    visit("overwritten", fact.overwritten);
    visit("time", fact.time);
  }
}

// In the order of WalFact. Null: no event.
constexpr const char* kKinds[] = {nullptr,
                                  nullptr,
                                  "transaction_ended",
                                  "transaction_prepared",
                                  "relation_created",
                                  "relation_truncated",
                                  "database_copied",
                                  "database_created",
                                  "database_dropped",
                                  "tablespace_created",
                                  "tablespace_dropped",
                                  "restore_point",
                                  "checkpoint",
                                  "checkpoint_begun",
                                  "parameters",
                                  "full_page_writes",
                                  "checksums",
                                  "recovery_ended",
                                  "switch",
                                  "overwritten"};
static_assert(std::size(kKinds) == std::variant_size_v<WalFact>);

// A fact of the kind with this number.
template <std::size_t... kNumbers>
WalFact MakeFact(std::size_t number, std::index_sequence<kNumbers...> /*all*/) {
  WalFact fact;
  ((number == kNumbers ? static_cast<void>(fact.emplace<kNumbers>()) : void()), ...);
  return fact;
}

Result<IndexedEvent> ParseEvent(std::string_view line) {
  static const std::string where = "an event of the index of WAL";
  const std::optional<Json> json = ParseJsonObject(line);
  if (!json) {
    return MakeError(ErrorCode::kDataCorrupted, "{} is not a JSON object", where);
  }
  const std::string kind = StringMember(*json, "event").value_or("");
  const auto* const known = std::ranges::find_if(
      kKinds, [&](const char* name) { return name != nullptr && name == kind; });
  if (known == std::end(kKinds)) {
    return MakeError(ErrorCode::kDataCorrupted, "{} has an unknown kind", where);
  }
  IndexedEvent event;
  Reader reader(*json, where);
  reader("begin", event.begin);
  reader("end", event.end);
  reader("xid", event.xid);
  event.fact = MakeFact(static_cast<std::size_t>(known - std::begin(kKinds)),
                        std::make_index_sequence<std::variant_size_v<WalFact>>());
  std::visit([&](auto& fact) { Members(reader, fact); }, event.fact);
  RETURN_IF_ERROR(reader.status());
  return event;
}

}  // namespace

bool IsIndexedEvent(const WalFact& fact) {
  if (const auto* const end = std::get_if<TransactionEnd>(&fact)) {
    return !end->dropped.empty();
  }
  return kKinds[fact.index()] != nullptr;
}

bool PutEvent(const IndexedEvent& event, Bytes& lines) {
  const auto* const end = std::get_if<TransactionEnd>(&event.fact);
  const auto* const dropped = std::get_if<DatabaseDropped>(&event.fact);
  if ((end != nullptr && end->dropped.size() > kMostDropped) ||
      (dropped != nullptr && dropped->tablespaces.size() > kMostTablespaces)) {
    return false;
  }
  Json json = {{"event", kKinds[event.fact.index()]},
               {"begin", FormatLsn(event.begin)},
               {"end", FormatLsn(event.end)},
               {"xid", event.xid}};
  Writer writer(json);
  std::visit([&](const auto& fact) { Members(writer, fact); }, event.fact);
  const std::string text = json.Print() + "\n";
  lines.insert(lines.end(), text.begin(), text.end());
  return true;
}

Result<std::vector<IndexedEvent>> ReadIndexedEvents(ByteView events) {
  std::vector<IndexedEvent> read;
  std::string_view left = AsText(events);
  while (!left.empty()) {
    const std::size_t end = left.find('\n');
    if (end == std::string_view::npos) {
      return MakeError(ErrorCode::kDataCorrupted, "the index's list of events is cut off");
    }
    ASSIGN_OR_RETURN(IndexedEvent event, ParseEvent(left.substr(0, end)));
    if (!read.empty() && event.begin <= read.back().begin) {
      return MakeError(ErrorCode::kDataCorrupted, "the events of the index are not in order");
    }
    read.push_back(std::move(event));
    left.remove_prefix(end + 1);
  }
  return read;
}

}  // namespace veza
