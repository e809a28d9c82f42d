// Whether directories lie within each other.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace veza {

// A directory, or one around it.
struct Around {
  std::filesystem::path path;   // canonical
  std::filesystem::path below;  // the way from there to the directory; empty for itself
};

// `directory` and what is around it, up to the root; then the same for each other path that bind
// mounts give it. What is absent may be part of all of them.
std::vector<Around> DirectoriesAround(const std::string& directory);

// Whether `path` is `directory`, or below it. By whatever links and "..": the way they would be
// opened. By device and inode, too, and by whatever bind mounts. What is absent may be part of
// both. On NFS a bind mount of what is below `directory` is not seen.
bool IsWithin(const std::string& path, const std::string& directory);
// The way from `directory` to `path`; empty when they are the same, nothing when `path` is not
// within.
std::optional<std::filesystem::path> WayTo(const std::string& path, const std::string& directory);
bool IsSamePlace(const std::string& one, const std::string& other);
// Either within the other.
bool Overlap(const std::string& one, const std::string& other);

// In a tablespace's location PostgreSQL, and so a restore, uses only directories of this kind:
// "PG_15_202209061".
bool IsVersionDirectory(std::string_view name);
// Whether `path` is within a directory of that kind right below `location`.
bool IsWithinTablespace(const std::string& path, const std::string& location);

// Whether `name`, in a data directory, is that of a version's directory in a tablespace that is in
// the data directory itself (allow_in_place_tablespaces).
bool IsInPlaceTablespace(std::string_view name);

}  // namespace veza
