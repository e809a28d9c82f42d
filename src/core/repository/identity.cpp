#include "core/repository/identity.h"

#include <utility>

#include "core/codec/document.h"
#include "core/codec/json.h"
#include "core/codec/json_fields.h"
#include "core/limits.h"
#include "core/postgres/lsn.h"
#include "core/repository/identity_list.h"
#include "core/repository/names.h"

namespace veza {

namespace {

Result<Identity> IdentityFrom(const Json& document, const std::string& name) {
  JsonFields fields(document, name);
  std::uint64_t format = 0;
  fields.Read("format", format);
  if (fields.status() && format != 1) {
    // Checked before the other members, because another format may have others.
    return MakeError(ErrorCode::kUnsupported, "object \"{}\" has unknown format {}", name, format)
        .WithHint("A newer version of veza_backup may have written it; use that version.");
  }
  Identity identity;
  ReadSystemIdentifier(fields, identity.system_identifier);
  fields.Read("postgres_version_num", identity.postgres_version_num);
  fields.Read("wal_segment_size", identity.wal_segment_size);
  fields.Read("block_size", identity.block_size);
  fields.Read("cipher", identity.cipher);
  if (fields.Has("key_id")) {
    fields.Read("key_id", identity.key_id);
  }
  fields.Read("node", identity.node);
  fields.Read("created", identity.created);
  if (IdentityName(identity.system_identifier) != name) {
    fields.Fail("names another system");
  }
  if (!IsWalSegmentSize(identity.wal_segment_size)) {
    fields.Fail("member \"wal_segment_size\" is not the size of a WAL segment");
  }
  RETURN_IF_ERROR(fields.status());
  return identity;
}

// Nobody can put back the object of a system that never was there.
std::string HowToMend(std::string_view name) {
  return fmt::format(
      "Something has damaged object \"{}\", or somebody has put it there. A server of that system "
      "that had the repository open puts it back within minutes, or writes into its log why it "
      "does not. Otherwise run \"vezactl key restore\". Only if no server of system {} has ever "
      "archived here, delete the object.",
      name, name.substr(kIdentityPrefix.size()));
}

template <typename T>
Result<T> WithHint(Result<T> read, std::string_view name) {
  if (!read && read.error().code == ErrorCode::kDataCorrupted) {
    return std::move(read.error()).WithHint(HowToMend(name));
  }
  return read;
}

}  // namespace

std::string KeyInWords(const std::string& key_id) {
  return key_id.empty() ? "no key" : fmt::format("key \"{}\"", key_id);
}

Result<std::string> SerializeIdentity(const Identity& identity, const SealPolicy& policy) {
  Json document{{"format", 1},
                {"system_identifier", std::to_string(identity.system_identifier)},
                {"postgres_version_num", identity.postgres_version_num},
                {"wal_segment_size", identity.wal_segment_size},
                {"block_size", identity.block_size},
                {"cipher", identity.cipher},
                {"node", identity.node},
                {"created", FormatUtc(identity.created)}};
  if (!identity.key_id.empty()) {
    document["key_id"] = identity.key_id;
  }
  return SignDocument(std::move(document), policy, IdentityName(identity.system_identifier));
}

Result<Identity> ParseUnverifiedIdentity(const NamedText& object) {
  return WithHint(IdentityFrom(ParseJsonObject(object.text).value_or(Json()), object.name),
                  object.name);
}

Result<Identity> ParseIdentity(const NamedText& object, const SealPolicy& policy) {
  const Result<Json> verified = OpenDocument(object.text, policy, object.name);
  return WithHint<Identity>(
      verified ? IdentityFrom(*verified, object.name) : Result<Identity>(verified.error()),
      object.name);
}

Result<std::vector<Identity>> ParseUnverifiedIdentities(const std::vector<NamedText>& objects) {
  std::vector<Identity> identities;
  for (const NamedText& object : objects) {
    ASSIGN_OR_RETURN(Identity identity, ParseUnverifiedIdentity(object));
    identities.push_back(std::move(identity));
  }
  return identities;
}

Result<std::vector<NamedText>> ReadIdentityObjects(Store& store) {
  ASSIGN_OR_RETURN(std::vector<ObjectInfo> listed, ListIdentities(store));
  std::vector<NamedText> objects;
  for (ObjectInfo& object : listed) {
    ASSIGN_OR_RETURN(const Bytes content,
                     WithHint(GetListed(store, object, limits::kIdentity), object.name));
    objects.push_back({std::move(object.name), std::string(AsText(content))});
  }
  return objects;
}

}  // namespace veza
