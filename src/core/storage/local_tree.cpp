#include "core/storage/local_tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "core/storage/local_directories.h"
#include "core/storage/unique_fd.h"

namespace veza {

namespace {

enum class EntryKind { kFile, kDirectory, kOther };

EntryKind KindOf(mode_t mode) {
  return S_ISREG(mode)   ? EntryKind::kFile
         : S_ISDIR(mode) ? EntryKind::kDirectory
                         : EntryKind::kOther;
}

// Returns the kind of an entry, or nothing when it has vanished. Does not follow links.
Result<std::optional<EntryKind>> KindOf(int directory, const std::string& path,
                                        const dirent& entry) {
  if (entry.d_type == DT_REG || entry.d_type == DT_DIR) {
    return entry.d_type == DT_REG ? EntryKind::kFile : EntryKind::kDirectory;
  }
  struct stat info {};
  if (fstatat(directory, entry.d_name, &info, AT_SYMLINK_NOFOLLOW) == 0) {
    return KindOf(info.st_mode);
  }
  if (errno == ENOENT) {
    return std::optional<EntryKind>();
  }
  return ErrnoError(errno, fmt::format("could not stat file \"{}/{}\"", path, entry.d_name));
}

// The visitor returns whether to continue.
enum class Next { kContinue, kStop };

using EntryVisitor = std::function<Result<Next>(const char* name, EntryKind kind)>;

std::string PathOf(const std::string& root, std::string_view relative) {
  return relative.empty() ? root : fmt::format("{}/{}", root, relative);
}

// Calls `each` for every entry of directory `relative` below `root` whose name `is_wanted`, in no
// order. A directory that does not exist has no entries.
Status ForEachEntryNamed(const std::string& root, std::string_view relative,
                         const Cancellation& cancellation, bool (*is_wanted)(const char* name),
                         const EntryVisitor& each) {
  RETURN_IF_ERROR(cancellation.Check());
  ASSIGN_OR_RETURN(const std::optional<UniqueFd> found, OpenDirectoryIfThere(root, relative));
  if (!found) {
    return Ok();
  }
  const std::string path = PathOf(root, relative);
  UniqueFd fd(openat(found->get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  DIR* stream = fd.valid() ? fdopendir(fd.get()) : nullptr;
  if (stream == nullptr) {
    return errno == ENOENT
               ? Ok()
               : ErrnoError(errno, fmt::format("could not open directory \"{}\"", path));
  }
  fd.Release();
  const std::unique_ptr<DIR, int (*)(DIR*)> closer(stream, closedir);
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(stream);
    if (entry == nullptr) {
      if (errno != 0 && errno != ENOENT) {
        return ErrnoError(errno, fmt::format("could not read directory \"{}\"", path));
      }
      return Ok();
    }
    if (!is_wanted(entry->d_name)) {
      continue;
    }
    ASSIGN_OR_RETURN(const std::optional<EntryKind> kind, KindOf(dirfd(stream), path, *entry));
    if (!kind) {
      continue;
    }
    ASSIGN_OR_RETURN(const Next next, each(entry->d_name, *kind));
    if (next == Next::kStop) {
      return Ok();
    }
  }
}

// The same for entries whose name can be a part of an object's name.
Status ForEachEntry(const std::string& root, std::string_view relative,
                    const Cancellation& cancellation, const EntryVisitor& each) {
  return ForEachEntryNamed(
      root, relative, cancellation,
      [](const char* name) { return ValidateObjectName(name).has_value(); }, each);
}

// The error for an entry that has an object's name and is neither a file nor a directory. A listing
// without it would hide what a link leads to, or that an object was replaced.
Error Refused(const std::string& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0
             ? NotOurs(ErrorCode::kDataCorrupted, path, info.st_mode)
             : ErrnoError(errno, fmt::format("could not stat file \"{}\"", path));
}

bool IsTemporary(std::string_view name) {
  return name.starts_with(kTemporaryPrefix);
}

std::string_view WithoutSlash(std::string_view base) {
  return base.substr(0, base.empty() ? 0 : base.size() - 1);
}

class Walk {
 public:
  Walk(const std::string& root, std::string_view start_after, const Cancellation& cancellation,
       const Store::ObjectVisitor& each, std::size_t batch)
      : root_(root),
        start_after_(start_after),
        cancellation_(cancellation),
        each_(each),
        batch_(batch) {}

  // `base` is empty or ends with '/'. Only entries whose name begins with `filter` are visited.
  Status Directory(const std::string& base, std::string_view filter) {
    std::string done;
    for (;;) {
      ASSIGN_OR_RETURN(const std::vector<std::string> keys, NextKeys(base, filter, done));
      for (const std::string& key : keys) {
        RETURN_IF_ERROR(cancellation_.Check());
        if (key.ends_with('/')) {
          RETURN_IF_ERROR(Directory(base + key, {}));
        } else {
          RETURN_IF_ERROR(Visit(base, key));
        }
      }
      if (keys.size() < batch_) {
        return Ok();
      }
      done = keys.back();
    }
  }

 private:
  // True when neither `name` nor anything below it comes after start_after_. A name that ends with
  // '/' is a directory.
  bool Skipped(const std::string& name) const {
    return name.ends_with('/') ? name < start_after_ && !start_after_.starts_with(name)
                               : name <= start_after_;
  }

  // Returns the smallest `batch_` keys of the directory after `done`, sorted. The key of a
  // directory ends with '/'. This sorts "a-b" before "a/b" and "a/b" before "a0", which is the
  // order of the full names.
  Result<std::vector<std::string>> NextKeys(const std::string& base, std::string_view filter,
                                            const std::string& done) {
    std::vector<std::string> heap;  // the largest is on top and is dropped first
    const auto keep = [&](const char* name, EntryKind kind) -> Result<Next> {
      std::string key(name);
      if (kind == EntryKind::kDirectory) {
        key += '/';
      }
      if (!key.starts_with(filter) || key <= done || Skipped(base + key) ||
          !ValidateObjectName(base + name)) {  // too long for an object's name
        return Next::kContinue;
      }
      if (kind == EntryKind::kOther) {
        return Refused(PathOf(root_, base + name));
      }
      if (heap.size() == batch_) {
        if (key >= heap.front()) {
          return Next::kContinue;
        }
        std::pop_heap(heap.begin(), heap.end());
        heap.pop_back();
      }
      heap.push_back(std::move(key));
      std::push_heap(heap.begin(), heap.end());
      return Next::kContinue;
    };
    RETURN_IF_ERROR(ForEachEntry(root_, WithoutSlash(base), cancellation_, keep));
    std::sort_heap(heap.begin(), heap.end());
    return heap;
  }

  Status Visit(const std::string& base, const std::string& name) {
    if (!directory_.valid() || directory_base_ != base) {
      ASSIGN_OR_RETURN(std::optional<UniqueFd> opened,
                       OpenDirectoryIfThere(root_, WithoutSlash(base)));
      if (!opened) {
        return Ok();
      }
      directory_ = std::move(*opened);
      directory_base_ = base;
    }
    const std::string path = PathOf(root_, base + name);
    struct stat info {};
    if (fstatat(directory_.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) {
        return Ok();
      }
      return ErrnoError(errno, fmt::format("could not stat file \"{}\"", path));
    }
    if (KindOf(info.st_mode) != EntryKind::kFile) {  // it was replaced since its directory was read
      return NotOurs(ErrorCode::kDataCorrupted, path, info.st_mode);
    }
    return each_(ObjectInfo{base + name, static_cast<std::uint64_t>(info.st_size),
                            FromTimespec(info.st_mtim)});
  }

  const std::string& root_;
  std::string_view start_after_;
  const Cancellation& cancellation_;
  const Store::ObjectVisitor& each_;
  std::size_t batch_;
  UniqueFd directory_;  // the directory of the last object visited
  std::string directory_base_;
};

Result<bool> HoldsObject(const std::string& root, const std::string& relative,
                         const Cancellation& cancellation) {
  bool found = false;
  std::vector<std::string> below;
  RETURN_IF_ERROR(ForEachEntry(root, relative, cancellation,
                               [&](const char* name, EntryKind kind) -> Result<Next> {
                                 std::string child = relative + '/' + name;
                                 if (kind == EntryKind::kOther) {
                                   return Refused(PathOf(root, child));
                                 }
                                 if (kind == EntryKind::kFile) {
                                   found = true;
                                   return Next::kStop;
                                 }
                                 if (ValidateObjectName(child)) {
                                   below.push_back(std::move(child));
                                 }
                                 return Next::kContinue;
                               }));
  for (auto child = below.begin(); !found && child != below.end(); ++child) {
    ASSIGN_OR_RETURN(found, HoldsObject(root, *child, cancellation));
  }
  return found;
}

}  // namespace

TimePoint FromTimespec(const timespec& time) {
  return TimePoint(std::chrono::seconds(time.tv_sec) +
                   std::chrono::microseconds(time.tv_nsec / 1000));
}

Status WalkTree(const std::string& root, std::string_view prefix, std::string_view start_after,
                const Cancellation& cancellation, const Store::ObjectVisitor& each,
                std::size_t batch) {
  const std::size_t slash = prefix.rfind('/');
  std::string base;
  if (slash != std::string_view::npos) {
    // A prefix that no name can have has no objects. This matters most for "../".
    if (!ValidateObjectName(prefix.substr(0, slash))) {
      return Ok();
    }
    base = prefix.substr(0, slash + 1);
    prefix.remove_prefix(slash + 1);
  }
  return Walk(root, start_after, cancellation, each, batch).Directory(base, prefix);
}

Status WalkFragments(const std::string& root, const Cancellation& cancellation,
                     const Store::ObjectVisitor& each) {
  std::vector<std::string> directories{""};  // each is empty or ends with '/'
  while (!directories.empty()) {
    const std::string base = std::move(directories.back());
    directories.pop_back();
    std::vector<std::string> fragments;
    RETURN_IF_ERROR(ForEachEntryNamed(
        root, WithoutSlash(base), cancellation,
        [](const char* name) { return IsTemporary(name) || ValidateObjectName(name); },
        [&](const char* name, EntryKind kind) {
          if (kind == EntryKind::kFile && IsTemporary(name)) {
            fragments.push_back(name);
          } else if (kind == EntryKind::kDirectory && ValidateObjectName(base + name)) {
            directories.push_back(base + name + '/');
          }
          return Next::kContinue;
        }));
    if (fragments.empty()) {
      continue;
    }
    ASSIGN_OR_RETURN(const std::optional<UniqueFd> directory,
                     OpenDirectoryIfThere(root, WithoutSlash(base)));
    if (!directory) {
      continue;
    }
    for (const std::string& name : fragments) {
      struct stat info {};
      // A temporary file that has become an object meanwhile is left out.
      if (fstatat(directory->get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 &&
          S_ISREG(info.st_mode)) {
        RETURN_IF_ERROR(each(ObjectInfo{base + name, static_cast<std::uint64_t>(info.st_size),
                                        FromTimespec(info.st_mtim)}));
      }
    }
  }
  return Ok();
}

Result<std::vector<std::string>> DirectoriesWithObjects(const std::string& root,
                                                        std::string_view relative,
                                                        const Cancellation& cancellation) {
  const std::string base = relative.empty() ? "" : std::string(relative) + '/';
  std::vector<std::string> candidates;
  RETURN_IF_ERROR(ForEachEntry(root, relative, cancellation,
                               [&](const char* name, EntryKind kind) -> Result<Next> {
                                 if (kind == EntryKind::kOther) {
                                   return Refused(PathOf(root, base + name));
                                 }
                                 if (kind == EntryKind::kDirectory) {
                                   candidates.emplace_back(name);
                                 }
                                 return Next::kContinue;
                               }));
  std::sort(candidates.begin(), candidates.end());
  std::vector<std::string> found;
  for (std::string& name : candidates) {
    ASSIGN_OR_RETURN(const bool holds, HoldsObject(root, base + name, cancellation));
    if (holds) {
      found.push_back(std::move(name));
    }
  }
  return found;
}

}  // namespace veza
