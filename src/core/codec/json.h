// Reading JSON that somebody else wrote, and writing what may not be UTF-8.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "core/limits.h"

namespace veza {

// How much a text may make of itself (core/limits.h).
struct JsonLimits {
  std::size_t size = limits::kBackupDocument;
  std::size_t values = limits::kJsonValues;
};

// The only parser of JSON in the program: everything goes through it, whoever wrote the text.
// Nothing when it is not JSON, is longer or holds more values than the limits say, or is nested
// deeper than limits::kJsonDepth. It stops where a limit is passed, so that its memory is bounded
// by the limits. Does not throw.
std::optional<nlohmann::json> ParseJson(std::string_view text, const JsonLimits& limits = {});

// The same, of an object only.
std::optional<nlohmann::json> ParseJsonObject(std::string_view text, const JsonLimits& limits = {});

// A member of an object, or nothing when it is absent or of another type.
std::optional<std::string> StringMember(const nlohmann::json& object, const char* name);
std::optional<std::uint64_t> UnsignedMember(const nlohmann::json& object, const char* name);

// Names and messages of a server come in its own encoding, and JSON is UTF-8. They are there to be
// read by people, so what is not UTF-8 becomes U+FFFD.
std::string ValidUtf8(const std::string& text);

}  // namespace veza
