#include "core/postgres/empty_databases.h"

#include "core/codec/json.h"
#include "core/codec/json_fields.h"

namespace veza {

namespace {

constexpr const char* kWriter = "vezactl restore --databases";

}  // namespace

std::string FormatEmptyDatabases(const EmptyDatabases& empty) {
  Json databases = Json::Array();
  for (const EmptyDatabase& database : empty.databases) {
    databases.push_back({{"oid", database.oid}, {"name", ValidUtf8(database.name)}});
  }
  const Json document{{"written_by", kWriter},
                      {"system_identifier", std::to_string(empty.system_identifier)},
                      {"backup", empty.backup},
                      {"databases", std::move(databases)}};
  return document.Print(2) + "\n";
}

Result<EmptyDatabases> ParseEmptyDatabases(std::string_view text) {
  const std::string name(kEmptyDatabasesFile);
  const auto document = ParseJsonObject(text);
  if (!document) {
    return MakeError(ErrorCode::kDataCorrupted, "\"{}\" is not a JSON object", name);
  }
  EmptyDatabases empty;
  std::string writer;
  JsonFields fields(*document, name);
  fields.Read("written_by", writer);
  ReadSystemIdentifier(fields, empty.system_identifier);
  fields.Read("backup", empty.backup);
  if (writer != kWriter) {
    fields.Fail(fmt::format("was not written by \"{}\"", kWriter));
  }
  const Json* const databases = document->Find("databases");
  if (databases == nullptr || !databases->is_array()) {
    fields.Fail("member \"databases\" is not an array");
    return std::move(fields.status().error());
  }
  for (const Json& element : *databases) {
    JsonFields members(element, name);
    EmptyDatabase& database = empty.databases.emplace_back();
    members.Read("oid", database.oid);
    members.Read("name", database.name);
    if (database.oid < kFirstNormalOid) {
      members.Fail(fmt::format("database {} cannot be one that was left empty", database.oid));
    }
    RETURN_IF_ERROR(members.status());
  }
  RETURN_IF_ERROR(fields.status());
  return empty;
}

}  // namespace veza
