// Finds out whether directories lie within each other.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace veza {

// A directory, or one of those that contain it.
struct Around {
  std::filesystem::path path;  // canonical
  // The path from there to the directory; empty for the directory itself.
  std::filesystem::path below;
};

// `directory` and all directories that contain it, up to the root, and the same for each other path
// that bind mounts give it. Trailing parts of the path need not exist.
std::vector<Around> DirectoriesAround(const std::string& directory);

// Whether `path` is `directory`, or is inside it. Links and ".." are resolved as opening the paths
// would do. Device and inode are compared, too, and bind mounts are considered. Trailing parts need
// not exist. On NFS, a bind mount of a directory inside `directory` is not recognised.
bool IsWithin(const std::string& path, const std::string& directory);
// The relative path from `directory` to `path`. Empty when they are the same; nullopt when `path`
// is not inside it.
std::optional<std::filesystem::path> WayTo(const std::string& path, const std::string& directory);
bool IsSamePlace(const std::string& one, const std::string& other);
// Whether one is inside the other.
bool Overlap(const std::string& one, const std::string& other);

// Whether the name is that of a version's directory, such as "PG_15_202209061". PostgreSQL, and so
// a restore, uses only such directories in a tablespace's location.
bool IsVersionDirectory(std::string_view name);
// Whether `path` is inside a version's directory directly below `location`.
bool IsWithinTablespace(const std::string& path, const std::string& location);

// Whether `name`, relative to a data directory, is a version's directory of a tablespace inside the
// data directory (allow_in_place_tablespaces).
bool IsInPlaceTablespace(std::string_view name);

}  // namespace veza
