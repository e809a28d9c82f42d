#include "core/codec/json_fields.h"

#include <charconv>

namespace veza {

JsonFields::JsonFields(const Json& object, const std::string& where)
    : object_(object), where_(where) {
  if (!object.is_object()) {
    Fail("is not a JSON object");
  }
}

void JsonFields::Read(const char* name, std::string& value) {
  const Json* const member = Find(name);
  if (member == nullptr) {
    return;
  }
  if (member->is_text()) {
    value = *member->AsText();
  } else {
    FailOf(name, "is not a string");
  }
}

void JsonFields::Read(const char* name, bool& value) {
  const Json* const member = Find(name);
  if (member == nullptr) {
    return;
  }
  if (const auto boolean = member->AsBoolean()) {
    value = *boolean;
  } else {
    FailOf(name, "is not a boolean");
  }
}

void JsonFields::Read(const char* name, TimePoint& value) {
  std::string text;
  Read(name, text);
  if (!status_.has_value()) {
    return;
  }
  if (auto time = ParseUtc(text)) {
    value = *time;
  } else {
    FailOf(name, "is not a time");
  }
}

void JsonFields::Fail(const std::string& what) {
  if (status_.has_value()) {
    status_ = MakeError(ErrorCode::kDataCorrupted, "\"{}\": {}", where_, what);
  }
}

void JsonFields::FailOf(const char* name, const char* what) {
  Fail(fmt::format("member \"{}\" {}", name, what));
}

const Json* JsonFields::Find(const char* name) {
  if (!status_.has_value()) {
    return nullptr;
  }
  const Json* const found = object_.Find(name);
  if (found == nullptr) {
    FailOf(name, "is missing");
  }
  return found;
}

void PutPath(Json& object, const std::string& path) {
  if (IsUtf8(path)) {
    object["path"] = path;
  } else {
    object["path_base64"] = ToBase64(AsBytes(path));
  }
}

void ReadPath(JsonFields& fields, std::string& path) {
  if (!fields.Has("path_base64")) {
    fields.Read("path", path);
    return;
  }
  std::string coded;
  fields.Read("path_base64", coded);
  if (const auto bytes = FromBase64(coded)) {
    path = AsText(*bytes);
  } else {
    fields.Fail("member \"path_base64\" is not base64");
  }
}

void ReadLeaseSeconds(JsonFields& fields, std::chrono::seconds& lease) {
  std::int64_t seconds = 0;
  fields.Read("lease_seconds", seconds);
  if (seconds < 1 || seconds > kLongestLease.count()) {
    fields.Fail("member \"lease_seconds\" is out of range");
    return;
  }
  lease = std::chrono::seconds(seconds);
}

void ReadSystemIdentifier(JsonFields& fields, std::uint64_t& system_identifier) {
  std::string text;
  fields.Read("system_identifier", text);
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), system_identifier);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) {
    fields.Fail("member \"system_identifier\" is not a system identifier");
  }
}

}  // namespace veza
