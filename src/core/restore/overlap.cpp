#include "core/restore/overlap.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>
#include <system_error>
#include <utility>

#include "core/postgres/relation_names.h"

namespace veza {

namespace {

namespace fs = std::filesystem;

fs::path Canonical(const std::string& path) {
  std::error_code error;
  fs::path canonical = fs::weakly_canonical(path, error);
  if (error) {
    return path;
  }
  // "/a/" has an empty last part.
  return canonical.has_filename() ? canonical : canonical.parent_path();
}

// A mount that this process sees: the directory `root` of the file system `device` is at `point`.
struct Mount {
  std::string device;
  fs::path root;
  fs::path point;
};

// proc(5): blanks, line feeds and backslashes are written as three octal digits.
std::string Unescape(std::string_view text) {
  constexpr std::size_t kDigits = 3;
  std::string plain;
  for (std::size_t i = 0; i < text.size(); ++i) {
    int code = 0;
    const char* const first = text.data() + i + 1;
    if (text[i] == '\\' && i + kDigits < text.size() &&
        std::from_chars(first, first + kDigits, code, 8).ptr == first + kDigits) {
      plain += static_cast<char>(code);
      i += kDigits;
    } else {
      plain += text[i];
    }
  }
  return plain;
}

// The mounts in the order in which they were made. None if /proc cannot be read.
std::vector<Mount> ReadMounts() {
  std::vector<Mount> mounts;
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream fields(line);
    std::string id;
    std::string parent;
    std::string device;
    std::string root;
    std::string point;
    if (fields >> id >> parent >> device >> root >> point) {
      mounts.push_back({device, Unescape(root), Unescape(point)});
    }
  }
  return mounts;
}

// The relative path from `outer` to `path`. nullopt if `path` is not `outer` or below it. Compares
// the parts of the paths only.
std::optional<fs::path> Behind(const fs::path& path, const fs::path& outer) {
  const auto [rest, behind] = std::mismatch(outer.begin(), outer.end(), path.begin(), path.end());
  if (rest != outer.end()) {
    return std::nullopt;
  }
  fs::path way;
  for (auto part = behind; part != path.end(); ++part) {
    way /= *part;
  }
  return way;
}

fs::path Existing(fs::path path) {
  std::error_code error;
  while (path.has_relative_path() && !fs::exists(path, error)) {
    path = path.parent_path();
  }
  return path;
}

// A canonical path, and the other paths that lead to the same place through other mounts of its
// file system. Each is verified with the file system, because on NFS every root is called "/".
std::vector<fs::path> PathsOf(const fs::path& path) {
  std::vector<fs::path> paths{path};
  const std::vector<Mount> mounts = ReadMounts();
  const Mount* own = nullptr;
  for (const Mount& mount : mounts) {
    const bool is_nearer =
        own == nullptr || Behind(mount.point, own->point);  // the last mount at a point wins
    if (is_nearer && Behind(path, mount.point)) {
      own = &mount;
    }
  }
  if (own == nullptr) {
    return paths;
  }
  const fs::path below = *Behind(path, own->point);
  const fs::path inner = below.empty() ? own->root : own->root / below;
  const fs::path existing = Existing(path);
  for (const Mount& mount : mounts) {
    const std::optional<fs::path> way = Behind(inner, mount.root);
    if (mount.device != own->device || !way) {
      continue;
    }
    fs::path other = way->empty() ? mount.point : mount.point / *way;
    const fs::path there = Existing(other);
    std::error_code error;
    if (other != path && Behind(there, mount.point) && fs::equivalent(there, existing, error)) {
      paths.push_back(std::move(other));
    }
  }
  return paths;
}

}  // namespace

std::vector<Around> DirectoriesAround(const std::string& directory) {
  std::vector<Around> all;
  for (fs::path path : PathsOf(Canonical(directory))) {
    fs::path below;
    for (;;) {
      all.push_back({path, below});
      if (!path.has_relative_path()) {
        break;
      }
      below = below.empty() ? path.filename() : path.filename() / below;
      path = path.parent_path();
    }
  }
  return all;
}

std::optional<fs::path> WayTo(const std::string& path, const std::string& directory) {
  const fs::path outer = Canonical(directory);
  for (const Around& around : DirectoriesAround(path)) {
    std::error_code error;
    if (around.path == outer || fs::equivalent(around.path, outer, error)) {
      return around.below;
    }
  }
  return std::nullopt;
}

bool IsWithin(const std::string& path, const std::string& directory) {
  return WayTo(path, directory).has_value();
}

bool IsSamePlace(const std::string& one, const std::string& other) {
  const std::optional<fs::path> way = WayTo(one, other);
  return way && way->empty();
}

bool Overlap(const std::string& one, const std::string& other) {
  return IsWithin(one, other) || IsWithin(other, one);
}

bool IsVersionDirectory(std::string_view name) {
  constexpr std::string_view kPrefix = "PG_";
  if (!name.starts_with(kPrefix)) {
    return false;
  }
  name.remove_prefix(kPrefix.size());
  const std::size_t underscore = name.find('_');
  return underscore != std::string_view::npos && IsDigits(name.substr(0, underscore)) &&
         IsDigits(name.substr(underscore + 1));
}

bool IsWithinTablespace(const std::string& path, const std::string& location) {
  const std::optional<fs::path> way = WayTo(path, location);
  return way && !way->empty() && IsVersionDirectory(way->begin()->string());
}

bool IsInPlaceTablespace(std::string_view name) {
  constexpr std::string_view kPrefix = "pg_tblspc/";
  const std::size_t slash = name.rfind('/');
  return name.starts_with(kPrefix) && slash > kPrefix.size() &&
         IsDigits(name.substr(kPrefix.size(), slash - kPrefix.size()));
}

}  // namespace veza
