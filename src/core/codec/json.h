// Reading JSON that somebody else wrote.
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

}  // namespace veza
