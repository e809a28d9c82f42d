#include "core/repository/json_fields.h"

#include <algorithm>
#include <charconv>

namespace veza {

namespace {

bool IsUtf8(const std::string& text) {
  if (std::all_of(text.begin(), text.end(),
                  [](char c) { return static_cast<signed char>(c) > 0; })) {
    return true;
  }
  try {
    [[maybe_unused]] const std::string dumped = nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

}  // namespace

void PutPath(nlohmann::json& object, const std::string& path) {
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
