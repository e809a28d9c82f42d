#include "core/storage/local_tree.h"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <utility>

#include "core/storage/local_directories.h"

namespace veza {

namespace {

enum class EntryKind { kFile, kDirectory, kNone };

EntryKind KindOf(const std::string& directory, const dirent& entry) {
  if (entry.d_type == DT_REG || entry.d_type == DT_DIR) {
    return entry.d_type == DT_REG ? EntryKind::kFile : EntryKind::kDirectory;
  }
  if (entry.d_type != DT_LNK && entry.d_type != DT_UNKNOWN) {
    return EntryKind::kNone;
  }
  struct stat info {};
  if (stat((directory + '/' + entry.d_name).c_str(), &info) != 0) {
    return EntryKind::kNone;
  }
  if (S_ISREG(info.st_mode)) {
    return EntryKind::kFile;
  }
  return S_ISDIR(info.st_mode) ? EntryKind::kDirectory : EntryKind::kNone;
}

// What ForEachEntry's callback wants next.
enum class Next { kContinue, kStop };

using EntryVisitor = std::function<Next(const char* name, EntryKind kind)>;

// Every entry that is a file or a directory and has a name that `is_wanted`, in no order. A
// directory that does not exist has none.
Status ForEachEntryNamed(const std::string& directory, const Cancellation& cancellation,
                         bool (*is_wanted)(const char* name), const EntryVisitor& each) {
  RETURN_IF_ERROR(cancellation.Check());
  DIR* stream = opendir(directory.c_str());
  if (stream == nullptr) {
    if (errno == ENOENT || errno == ENOTDIR) {
      return Ok();
    }
    return ErrnoError(errno, fmt::format("could not open directory \"{}\"", directory));
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> closer(stream, closedir);
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(stream);
    if (entry == nullptr) {
      if (errno != 0 && errno != ENOENT) {
        return ErrnoError(errno, fmt::format("could not read directory \"{}\"", directory));
      }
      return Ok();
    }
    if (!is_wanted(entry->d_name)) {
      continue;
    }
    const EntryKind kind = KindOf(directory, *entry);
    if (kind != EntryKind::kNone && each(entry->d_name, kind) == Next::kStop) {
      return Ok();
    }
  }
}

// Of those that can be part of an object's name.
Status ForEachEntry(const std::string& directory, const Cancellation& cancellation,
                    const EntryVisitor& each) {
  return ForEachEntryNamed(
      directory, cancellation,
      [](const char* name) { return ValidateObjectName(name).has_value(); }, each);
}

bool IsTemporary(std::string_view name) {
  return name.starts_with(kTemporaryPrefix);
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

  // `base` is empty or ends with '/'; only entries whose name begins with `filter` are of interest.
  Status Directory(const std::string& base, std::string_view filter) {
    std::string done;
    for (;;) {
      ASSIGN_OR_RETURN(const std::vector<std::string> keys, NextKeys(base, filter, done));
      for (const std::string& key : keys) {
        RETURN_IF_ERROR(cancellation_.Check());
        if (key.ends_with('/')) {
          RETURN_IF_ERROR(Directory(base + key, {}));
        } else {
          RETURN_IF_ERROR(Visit(base + key));
        }
      }
      if (keys.size() < batch_) {
        return Ok();
      }
      done = keys.back();
    }
  }

 private:
  // Nothing below `name` (a directory if it ends with '/') comes after start_after_.
  bool Skipped(const std::string& name) const {
    return name.ends_with('/') ? name < start_after_ && !start_after_.starts_with(name)
                               : name <= start_after_;
  }

  // The smallest `batch_` keys of the directory after `done`, sorted. The key of a directory ends
  // with '/', which puts "a-b" before "a/b" and that before "a0", as the order of the full names
  // demands.
  Result<std::vector<std::string>> NextKeys(const std::string& base, std::string_view filter,
                                            const std::string& done) {
    std::vector<std::string> heap;  // the largest on top, to be thrown out first
    const auto keep = [&](const char* name, EntryKind kind) {
      std::string key(name);
      if (kind == EntryKind::kDirectory) {
        key += '/';
      }
      if (!key.starts_with(filter) || key <= done || Skipped(base + key) ||
          // No object has a name this long; also what ends a cycle of symbolic links.
          !ValidateObjectName(base + name)) {
        return Next::kContinue;
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
    RETURN_IF_ERROR(ForEachEntry(root_ + '/' + base, cancellation_, keep));
    std::sort_heap(heap.begin(), heap.end());
    return heap;
  }

  Status Visit(const std::string& name) {
    const std::string path = root_ + '/' + name;
    struct stat info {};
    if (stat(path.c_str(), &info) != 0) {
      if (errno == ENOENT || errno == ENOTDIR) {
        return Ok();
      }
      return ErrnoError(errno, fmt::format("could not stat file \"{}\"", path));
    }
    return each_(
        ObjectInfo{name, static_cast<std::uint64_t>(info.st_size), FromTimespec(info.st_mtim)});
  }

  const std::string& root_;
  std::string_view start_after_;
  const Cancellation& cancellation_;
  const Store::ObjectVisitor& each_;
  std::size_t batch_;
};

Result<bool> HoldsObject(const std::string& directory, const Cancellation& cancellation) {
  bool found = false;
  std::vector<std::string> below;
  RETURN_IF_ERROR(
      ForEachEntry(directory, cancellation, [&](const char* name, EntryKind kind) -> Next {
        if (kind == EntryKind::kFile) {
          found = true;
          return Next::kStop;
        }
        below.push_back(directory + '/' + name);
        return Next::kContinue;
      }));
  for (auto child = below.begin(); !found && child != below.end(); ++child) {
    ASSIGN_OR_RETURN(found, HoldsObject(*child, cancellation));
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
    // A prefix that no name can have, "../" above all, has no objects.
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
  std::vector<std::string> directories{""};  // empty, or ending with '/'
  while (!directories.empty()) {
    const std::string base = std::move(directories.back());
    directories.pop_back();
    std::vector<std::string> fragments;
    RETURN_IF_ERROR(ForEachEntryNamed(
        fmt::format("{}/{}", root, base), cancellation,
        [](const char* name) { return IsTemporary(name) || ValidateObjectName(name); },
        [&](const char* name, EntryKind kind) {
          if (kind == EntryKind::kFile && IsTemporary(name)) {
            fragments.push_back(base + name);
          } else if (kind == EntryKind::kDirectory && ValidateObjectName(base + name)) {
            directories.push_back(base + name + '/');
          }
          return Next::kContinue;
        }));
    for (const std::string& name : fragments) {
      struct stat info {};
      // One that has become an object meanwhile is none.
      if (lstat(fmt::format("{}/{}", root, name).c_str(), &info) == 0 && S_ISREG(info.st_mode)) {
        RETURN_IF_ERROR(each(ObjectInfo{name, static_cast<std::uint64_t>(info.st_size),
                                        FromTimespec(info.st_mtim)}));
      }
    }
  }
  return Ok();
}

Result<std::vector<std::string>> DirectoriesWithObjects(const std::string& directory,
                                                        const Cancellation& cancellation) {
  std::vector<std::string> candidates;
  RETURN_IF_ERROR(ForEachEntry(directory, cancellation, [&](const char* name, EntryKind kind) {
    if (kind == EntryKind::kDirectory) {
      candidates.emplace_back(name);
    }
    return Next::kContinue;
  }));
  std::sort(candidates.begin(), candidates.end());
  std::vector<std::string> found;
  for (std::string& name : candidates) {
    ASSIGN_OR_RETURN(const bool holds,
                     HoldsObject(fmt::format("{}/{}", directory, name), cancellation));
    if (holds) {
      found.push_back(std::move(name));
    }
  }
  return found;
}

}  // namespace veza
