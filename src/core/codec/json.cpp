#include "core/codec/json.h"

namespace veza {

std::optional<nlohmann::json> ParseJsonObject(std::string_view text) {
  using Event = nlohmann::json::parse_event_t;
  static constexpr int kDeepest = 16;
  bool too_deep = false;
  // `depth` counts the levels around what begins or ends.
  const auto limit = [&](int depth, Event event, const nlohmann::json&) {
    const bool begins = event == Event::object_start || event == Event::array_start;
    too_deep = too_deep || (begins && depth >= kDeepest);
    return !too_deep;
  };
  nlohmann::json object = nlohmann::json::parse(text, limit, /*allow_exceptions=*/false);
  if (too_deep || !object.is_object()) {
    return std::nullopt;
  }
  return object;
}

std::optional<std::string> StringMember(const nlohmann::json& object, const char* name) {
  const auto member = object.find(name);
  if (member == object.end() || !member->is_string()) {
    return std::nullopt;
  }
  return member->get<std::string>();
}

std::optional<std::uint64_t> UnsignedMember(const nlohmann::json& object, const char* name) {
  const auto member = object.find(name);
  // A document made by us holds signed numbers where a literal was signed; only parsed ones do not.
  if (member == object.end() || !member->is_number_integer() ||
      (!member->is_number_unsigned() && member->get<std::int64_t>() < 0)) {
    return std::nullopt;
  }
  return member->get<std::uint64_t>();
}

std::string ValidUtf8(const std::string& text) {
  using nlohmann::json;
  return json::parse(json(text).dump(-1, ' ', false, json::error_handler_t::replace))
      .get<std::string>();
}

}  // namespace veza
