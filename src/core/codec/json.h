// Reading JSON that somebody else wrote, and writing what may not be UTF-8.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace veza {

// The object that `text` holds. Nothing when it is not JSON, not an object, or nested deeper than
// 16 levels: nlohmann::json recurses when it copies and prints, and hostile input must not choose
// how deep. Does not throw.
std::optional<nlohmann::json> ParseJsonObject(std::string_view text);

// A member of an object, or nothing when it is absent or of another type.
std::optional<std::string> StringMember(const nlohmann::json& object, const char* name);
std::optional<std::uint64_t> UnsignedMember(const nlohmann::json& object, const char* name);

// Names and messages of a server come in its own encoding, and JSON is UTF-8. They are there to be
// read by people, so what is not UTF-8 becomes U+FFFD.
std::string ValidUtf8(const std::string& text);

}  // namespace veza
