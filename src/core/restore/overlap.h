// Whether directories lie within each other.
#pragma once

#include <string>
#include <string_view>

namespace veza {

// Whether `path` is `directory`, or below it. By whatever links and "..": the way they would be
// opened. What is absent may be part of both.
bool IsWithin(const std::string& path, const std::string& directory);
// Either within the other.
bool Overlap(const std::string& one, const std::string& other);

// In a tablespace's location PostgreSQL, and so a restore, uses only directories of this kind:
// "PG_15_202209061".
bool IsVersionDirectory(std::string_view name);
// Whether `path` is within a directory of that kind right below `location`.
bool IsWithinTablespace(const std::string& path, const std::string& location);

}  // namespace veza
