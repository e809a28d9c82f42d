// Converts between nlohmann's values and ours. Tests use nlohmann's library as a second,
// independent reader and writer.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "core/codec/document.h"
#include "core/codec/json.h"
#include "core/error.h"

namespace veza {

// Converts without printing, so that values that cannot be printed can be converted, too.
inline Json Ours(const nlohmann::json& theirs) {
  switch (theirs.type()) {
    case nlohmann::json::value_t::boolean:
      return theirs.get<bool>();
    case nlohmann::json::value_t::number_integer:
      return theirs.get<std::int64_t>();
    case nlohmann::json::value_t::number_unsigned:
      return theirs.get<std::uint64_t>();
    case nlohmann::json::value_t::number_float:
      return theirs.get<double>();
    case nlohmann::json::value_t::string:
      return theirs.get<std::string>();
    case nlohmann::json::value_t::array: {
      Json array = Json::Array();
      for (const nlohmann::json& element : theirs) {
        array.push_back(Ours(element));
      }
      return array;
    }
    case nlohmann::json::value_t::object: {
      Json object = Json::Object();
      for (const auto& [name, value] : theirs.items()) {
        object[name] = Ours(value);
      }
      return object;
    }
    default:
      return {};
  }
}

inline nlohmann::json Theirs(const Json& ours) {
  if (ours.is_object()) {
    nlohmann::json object = nlohmann::json::object();
    for (const auto& [name, value] : ours.members()) {
      object[name] = Theirs(value);
    }
    return object;
  }
  if (ours.is_array()) {
    nlohmann::json array = nlohmann::json::array();
    for (const Json& element : ours) {
      array.push_back(Theirs(element));
    }
    return array;
  }
  if (ours.is_text()) {
    return *ours.AsText();
  }
  if (const auto boolean = ours.AsBoolean()) {
    return *boolean;
  }
  if (const auto number = ours.AsUnsigned()) {
    return *number;
  }
  if (const auto number = ours.AsSigned()) {
    return *number;
  }
  const auto number = ours.AsDouble();
  return number ? nlohmann::json(*number) : nlohmann::json();
}

inline Result<std::string> SignTheirs(const nlohmann::json& document, const SealPolicy& policy,
                                      std::string_view object_name) {
  return SignDocument(Ours(document), policy, object_name);
}

inline Result<nlohmann::json> OpenTheirs(std::string_view text, const SealPolicy& policy,
                                         std::string_view object_name) {
  ASSIGN_OR_RETURN(const Json document, OpenDocument(text, policy, object_name));
  return Theirs(document);
}

}  // namespace veza
