#include "core/restore/original.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <filesystem>
#include <sstream>
#include <system_error>
#include <vector>

#include "core/postgres/data_directory.h"
#include "core/restore/existing_directory.h"
#include "core/storage/file_io.h"

namespace veza {

namespace {

constexpr std::size_t kLongestNote = 64 << 10;

// Parses what CreateOptsFile() in postmaster.c writes: the program, then each argument in double
// quotes after a space. A quote in an argument is not escaped. nullopt for other text.
std::optional<std::vector<std::string>> ParseArguments(std::string_view text) {
  if (text.ends_with('\n')) {
    text.remove_suffix(1);
  }
  std::vector<std::string> arguments;
  text.remove_prefix(std::min(text.find(" \""), text.size()));
  while (!text.empty()) {
    const std::size_t end = text.find('"', 2);
    if (!text.starts_with(" \"") || end == std::string_view::npos) {
      return std::nullopt;
    }
    arguments.emplace_back(text.substr(2, end - 2));
    text.remove_prefix(end + 1);
  }
  return arguments;
}

// Whether "name=value" sets data_directory.
bool SetsDataDirectory(std::string_view setting) {
  std::string name(setting.substr(0, setting.find('=')));
  std::ranges::transform(name, name.begin(), [](unsigned char c) {
    return c == '-' ? '_' : static_cast<char>(std::tolower(c));
  });
  return name == "data_directory";
}

// Whether the file was copied together with its times: it was then created later than it was last
// written. False if the file system does not record the creation time.
bool IsCopiedWithTimes(const std::string& path) {
  constexpr std::int64_t kSlack = 1;  // seconds
  struct statx info {};
  return statx(AT_FDCWD, path.c_str(), 0, STATX_BTIME | STATX_MTIME, &info) == 0 &&
         (info.stx_mask & STATX_BTIME) != 0 &&
         info.stx_btime.tv_sec > info.stx_mtime.tv_sec + kSlack;
}

// Whether the directory has a note that names it. The path is on the note's second line.
bool HasOwnNote(const std::string& target) {
  const Result<std::optional<std::string>> note =
      ReadRegularFile(fmt::format("{}/{}", target, kDirectoryNote), kLongestNote);
  if (!note || !*note) {
    return false;
  }
  std::istringstream lines(**note);
  std::string path;
  if (!std::getline(std::getline(lines, path), path) || !IsSameFile(path, target)) {
    return false;
  }
  const Result<std::string> own = MakeDirectoryNote(path);
  return own && **note == *own;
}

}  // namespace

std::optional<std::string> StartedDirectory(std::string_view options) {
  // The options with a value, from getopt() in postmaster.c.
  constexpr std::string_view kWithValue = "BCcDdfhkNprStW-";
  const std::optional<std::vector<std::string>> arguments = ParseArguments(options);
  if (!arguments) {
    return std::nullopt;
  }
  std::string directory;
  for (auto argument = arguments->begin(); argument != arguments->end(); ++argument) {
    if (argument->size() < 2 || !argument->starts_with('-')) {
      return std::nullopt;
    }
    const std::size_t at = argument->find_first_of(kWithValue, 1);
    if (at == std::string::npos) {
      continue;
    }
    const char option = (*argument)[at];
    std::string value = argument->substr(at + 1);
    if (value.empty()) {
      if (++argument == arguments->end()) {
        return std::nullopt;
      }
      value = *argument;
    }
    if (option == 'D') {
      directory = std::move(value);
    } else if ((option == 'c' || option == '-') && SetsDataDirectory(value)) {
      return std::nullopt;
    }
  }
  return directory.starts_with('/') ? std::optional(directory) : std::nullopt;
}

Result<std::string> MakeDirectoryNote(const std::string& target) {
  struct stat info {};
  if (stat(target.c_str(), &info) != 0) {
    return ErrnoError(errno, fmt::format("could not stat directory \"{}\"", target));
  }
  return fmt::format(
      "A restore has filled this directory:\n{}\n{}\nA copy has another path or inode, and its "
      "links lead to what is the original's.\n",
      CanonicalPath(target), info.st_ino);
}

std::string WhyMaybeCopy(const std::string& target) {
  if (HasOwnNote(target)) {
    return "";
  }
  const std::string path = target + "/postmaster.opts";
  const Result<std::optional<std::string>> options = ReadRegularFile(path, kLongestNote);
  if (!options) {
    return fmt::format("Its postmaster.opts cannot be read: {}.", options.error().message);
  }
  if (!*options) {
    return "It has no postmaster.opts, which would say where its server was started last.";
  }
  const std::optional<std::string> started = StartedDirectory(**options);
  if (!started) {
    return "Its postmaster.opts does not say where its server was started last: without -D, or "
           "with a relative path.";
  }
  if (!IsSameFile(*started, target)) {
    return fmt::format("Its postmaster.opts says that its server was started last in \"{}\".",
                       *started);
  }
  if (IsCopiedWithTimes(path)) {
    return "Its postmaster.opts is a copy: the file was written before it was created.";
  }
  return "";
}

}  // namespace veza
